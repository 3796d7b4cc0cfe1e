"""Losses that see treatments equal brute force over separate prompts, alone, mixed, sharded and in micro-batches."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arms import SETTINGS, contrast_shards, params, plan_of, studies_with_arms
from scipy.optimize import minimize

from socsci_jax.data.contrast_plan import MixedPlan
from socsci_jax.data.loader import PlannedRows
from socsci_jax.data.plan import BatchPlan
from socsci_jax.data.trees import PromptPath, RowShape, empty_rows, put_row
from socsci_jax.models.sharding import make_mesh, micro_batch_sharding
from socsci_jax.models.slots import answer_log_probs, tree_log_probs
from socsci_jax.training.objectives import Objective
from socsci_jax.training.step import loss_and_gradients
from socsci_jax.training.treatments import Effects


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return studies_with_arms(tmp_path_factory.mktemp("arms"))


# --- losses -----------------------------------------------------------------------------------------------------------


def batch_of(shards, plan, *, micro_batches=1, reference=None, step=0):
    source = PlannedRows(
        shards,
        plan,
        steps=plan.steps(1),
        micro_batches=micro_batches,
        own=slice(0, plan.rows // micro_batches),
        reference=reference,
    )
    return source[step]


def separate_prompts(shards, plan, *, micro_batches=1, step=0):
    """The step's prompts, each for itself in a row, and (micro-batch, group, cell, half) of each."""
    paths, places = [], []
    size = plan.rows // micro_batches
    for number, row in enumerate(plan.batch(step)):
        c = row.contrasted
        for prefix, branch, group, cell, half in zip(row.prefix, row.branch, c.group, c.cell, c.half):
            paths.append(PromptPath(shards.prefix(int(prefix)), shards.branch(int(branch)), 0))
            places.append((number // size, int(group), int(cell), int(half)))
    shape = RowShape(
        tokens=512,
        reads=64,
        slots=64,
        comparisons=1,
        answers=plan.shape.answers,
        path=plan.shape.path,
        contrasts=True,
    )
    rows = empty_rows(rows=len(paths), shape=shape)
    for g, path in enumerate(paths):
        put_row(rows, g, [path])
    return rows.arrays(), places


def members_of_groups(places):
    """Prompts of each group, and its cells."""
    for group in sorted({place[:2] for place in places}):
        members = [n for n, place in enumerate(places) if place[:2] == group]
        yield members, sorted({places[n][2] for n in members})


def brute_contrast(shards, rows, places, effects, probs, before):
    """By loops over groups, cells and halves; probs and before [prompts, L] under the model and under the start."""
    position = np.cumsum(rows["answer_gap"][:, 0], axis=1) - rows["answer_gap"][:, 0]
    groups = list(members_of_groups(places))
    terms = [
        contrast_of_group(
            shards, places, effects, (probs * position).sum(1), (before * position).sum(1), *group
        )
        for group in groups
    ]
    return sum(terms) / sum(len(cells) for _, cells in groups)


def contrast_of_group(shards, places, effects, means, means_before, members, cells):
    statistics = shards.cell_statistics
    v = np.array([statistics.error[cell] ** 2 + effects.tau**2 for cell in cells])
    omega = (1 / v) / (1 / v).sum()
    e = statistics.mean[cells] - omega @ statistics.mean[cells]

    def contrasts(of, half):
        mu = []
        for cell in cells:
            people = np.array([n for n in members if places[n][2:] == (cell, half)])
            mu.append(of[people].mean())
        return jnp.stack(mu) - omega @ jnp.stack(mu)

    d = [contrasts(means, half) for half in (0, 1)]
    d_start = [contrasts(means_before, half) for half in (0, 1)]
    residual = jax.lax.stop_gradient(jnp.abs((d[0] + d[1]) / 2 - e) / np.sqrt(v))
    loss = 0.5 * jnp.sum(jnp.minimum(1.0, effects.huber / residual) * (d[0] - e) * (d[1] - e) / v)
    away = (d[0] + d[1]) / 2 - effects.prior_slope * (d_start[0] + d_start[1]) / 2
    return loss + 0.5 * effects.prior * jnp.sum(away**2) / effects.tau**2


def brute_profiled(shards, rows, places, probs, fixed):
    """By loops, with offsets that an optimizer finds on `fixed`, the same probabilities in float64."""
    groups = [profiled_of_group(shards, rows, places, probs, fixed, *g) for g in members_of_groups(places)]
    return sum(loss for loss, _ in groups) / sum(answers for _, answers in groups)


def profiled_of_group(shards, rows, places, probs, fixed, members, cells):
    levels = int((rows["answer_path"][members[0], 0, :, 0] >= 0).sum())
    first = [next(n for n in members if places[n][2] == cell) for cell in cells]
    counts = rows["answer_target"][first, 0, :levels].astype(float)
    counts *= shards.cell_statistics.answers[cells][:, None]
    chosen = counts.sum(axis=0) > 0
    people = [np.array([m for m, n in enumerate(members) if places[n][2] == cell]) for cell in cells]

    def loss(b, p, module):
        shifted = p * module.exp(b)
        shifted = shifted / shifted.sum(axis=-1, keepdims=True)
        mean = module.stack([shifted[of_cell].mean(axis=0) for of_cell in people])
        return -(counts * module.log(module.maximum(mean, 1e-30))).sum()

    def whole(b):
        offsets = np.full(levels, -15.0)
        offsets[chosen] = b
        return offsets

    p = np.asarray(fixed, float)[members][:, :levels]

    def slope(b):
        shifted = p * np.exp(whole(b))
        shifted /= shifted.sum(axis=1, keepdims=True)
        found = -counts.sum(axis=0)
        for of_cell, h in zip(people, counts):
            one = shifted[of_cell]
            found += np.einsum("k,ik,il->l", h / one.mean(axis=0), one, one) / len(one)
        return found[chosen]

    fitted = minimize(
        lambda b: loss(whole(b), p, np), np.zeros(chosen.sum()), jac=slope, method="BFGS", tol=1e-10
    )
    assert np.abs(slope(fitted.x)).max() < 1e-5  # it has found the optimum
    return loss(whole(fitted.x), probs[jnp.array(members)][:, :levels], jnp), counts.sum()


def assert_trees_close(a, b, tolerance):
    """Within so much of the largest gradient."""
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(b))
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance * largest)


ROWS = 4  # of a micro-batch, as many as groups of devices
CONTRAST = Effects(kind="contrast", tau=0.05, huber=1.5)
PRIOR = Effects(kind="contrast", tau=0.05, huber=1.5, prior=0.7, prior_slope=0.8)
PROFILED = Effects(kind="profiled")


@pytest.fixture(scope="module")
def case(world):
    """Shards, plan, batch, and loss and gradients of its first step by brute force."""

    @functools.cache
    def of(effects: Effects, micro_batches: int):
        shards = contrast_shards(world, in_order=effects.kind == "contrast")
        plan = plan_of(shards, rows=ROWS * micro_batches, micro_batches=micro_batches)
        rows, places = separate_prompts(shards, plan, micro_batches=micro_batches)

        @jax.jit
        def probs_of(weights):
            """[prompts, L] over the levels, 0 where there are fewer."""
            log_probs = tree_log_probs(weights, rows, config=world[3], **SETTINGS)
            answers, real = answer_log_probs(log_probs, rows["answer_path"])
            probs = jnp.where(real, jnp.exp(answers), 0.0)[:, 0]
            return probs / probs.sum(axis=1, keepdims=True)

        reference = np.zeros((int(plan.lengths.branch_comparisons.sum()), plan.shape.answers), np.float32)
        if effects.kind == "profiled":
            fixed = np.asarray(probs_of(params(world)))
            value = functools.partial(brute_profiled, shards, rows, places, fixed=fixed)
        else:
            before = np.asarray(probs_of(params(world, seed=1)))
            value = functools.partial(brute_contrast, shards, rows, places, effects, before=before)
            branches = np.concatenate([row.branch for row in plan.batch(0)])
            reference[plan.lengths.comparisons_of(branches)] = np.log(np.maximum(before, 1e-30))
        # The loops become one program: operation by operation each would be compiled alone.
        loss, gradients = jax.jit(jax.value_and_grad(lambda w: value(probs_of(w))))(params(world))
        batch = batch_of(shards, plan, micro_batches=micro_batches, reference=reference)
        return batch, loss, gradients

    return of


# Fast are the same on eight devices, below.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("effects", "micro_batches"),
    [(PRIOR, 2), (PROFILED, 1), (PROFILED, 2)],
    ids=["prior-2", "profiled-1", "profiled-2"],
)
def test_loss_and_gradients_equal_brute_force_over_separate_prompts(world, case, effects, micro_batches):
    batch, wanted, gradients = case(effects, micro_batches)
    objective = Objective(kind="none", effects=effects)
    loss, _, found = jax.jit(
        functools.partial(loss_and_gradients, objective=objective, config=world[3], **SETTINGS)
    )(params(world), batch)
    np.testing.assert_allclose(loss, wanted, rtol=1e-5)
    assert_trees_close(found, gradients, 1e-5)


@pytest.mark.parametrize(
    ("effects", "micro_batches"),
    [(PRIOR, 2), (PROFILED, 1), pytest.param(CONTRAST, 1, marks=pytest.mark.slow)],
    ids=["prior-2", "profiled-1", "contrast-1"],
)
def test_eight_devices_compute_what_brute_force_does(world, case, effects, micro_batches):
    batch, wanted, gradients = case(effects, micro_batches)
    mesh = make_mesh(data=2, fsdp=2, tensor=2)
    objective = Objective(kind="none", effects=effects)
    with jax.set_mesh(mesh):
        placed = jax.device_put(batch, micro_batch_sharding(mesh, rows=ROWS))
        loss, _, found = jax.jit(
            functools.partial(loss_and_gradients, objective=objective, config=world[3], **SETTINGS)
        )(params(world), placed)
    np.testing.assert_allclose(loss, wanted, rtol=1e-5)
    assert_trees_close(jax.device_get(found), gradients, 1e-5)


@pytest.mark.slow
def test_a_mixture_is_the_sum_of_its_parts(world):
    shards = contrast_shards(world, kind="answers")
    plain = BatchPlan(shards.lengths.plain, rows=2, tokens_per_row=1024, branches_per_tree=4, seed=0)
    contrasts = plan_of(shards, rows=4)
    mixed = MixedPlan(plain, contrasts, micro_batches=1)
    batch = batch_of(shards, mixed)
    assert batch["ids"].shape[1] == 6 and (batch["slot_weight"] > 0).any()

    def gradients(objective):
        return jax.jit(
            functools.partial(loss_and_gradients, objective=objective, config=world[3], **SETTINGS)
        )(params(world), batch)

    effects = dataclasses.replace(CONTRAST, weight=10.0)
    alone = gradients(Objective()), gradients(Objective(kind="none", effects=effects))
    both = gradients(Objective(effects=effects))
    np.testing.assert_allclose(both[0], alone[0][0] + alone[1][0], rtol=1e-5)
    assert_trees_close(both[2], jax.tree.map(jnp.add, alone[0][2], alone[1][2]), 1e-5)


def test_a_mixture_holds_the_answers_that_a_plan_without_contrasts_holds(world):
    shards = contrast_shards(world, kind="answers")
    plain = BatchPlan(shards.lengths.plain, rows=2, tokens_per_row=1024, branches_per_tree=4, seed=0)
    mixed = MixedPlan(plain, plan_of(shards, rows=4, micro_batches=2), micro_batches=2)
    for step in range(mixed.steps(1)):
        rows = [row for row in mixed.batch(step) if row.contrasted is None and len(row.branch)]
        assert [row.branch.tolist() for row in rows] == [row.branch.tolist() for row in plain.batch(step)]
