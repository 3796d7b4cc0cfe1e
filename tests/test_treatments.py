"""Objectives that see treatments: batches of all arms with the same people, and losses equal to brute force over prompts."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from scipy.optimize import minimize
from small import AGES, GENDERS, small_config, small_item, small_recipe, small_tokenizer

from socsci_jax.data.contrast_plan import ContrastPlan, MixedPlan
from socsci_jax.data.contrasts import ContrastTargets, contrast_table
from socsci_jax.data.loader import PlannedRows
from socsci_jax.data.plan import BatchPlan
from socsci_jax.data.shards import TreeShards, build_shards
from socsci_jax.data.targets import Targets
from socsci_jax.data.trees import Path, RowShape, empty_rows, put_row
from socsci_jax.errors import InputError
from socsci_jax.models.modules import init
from socsci_jax.models.sharding import make_mesh, micro_batch_sharding
from socsci_jax.models.slots import answer_log_probs, tree_log_probs
from socsci_jax.simulation.model import SimulationModel
from socsci_jax.simulation.predict import predict
from socsci_jax.simulation.two_parts import learn_kappa, simulate_two_parts
from socsci_jax.studies.pairs import Pairs
from socsci_jax.studies.predictions import read_predictions
from socsci_jax.studies.prompts import PERSONA_FIRST, STUDY_FIRST
from socsci_jax.studies.scale import Scale
from socsci_jax.studies.splits import Split, make_split
from socsci_jax.studies.store import StoreBuilder
from socsci_jax.training.effect_metrics import effect_metrics
from socsci_jax.training.loop import train
from socsci_jax.training.objectives import Objective
from socsci_jax.training.recipe_files import parse_recipe
from socsci_jax.training.step import loss_and_gradients
from socsci_jax.training.treatments import Effects

SETTINGS = {"compute_dtype": jnp.float32, "remat": "none"}
SCALE = 2.0  # of random weights: large enough that people and arms differ
STIMULI = (
    "Study {} is about money: everybody pays more from next year on.\n\n",
    "You meet an old friend, number {}, who tells a long story of trees and birds.\n\n",
    "Nothing happens here. {} people wait.\n\n",
)
SCALES = {
    "taxes": Scale.of_levels(range(1, 6), origin="stated"),
    "parks": Scale.of_levels(range(8, 13), origin="stated"),  # answers of one and of two tokens
    "topic": Scale.of_levels({1: "Traffic", 2: "Parks", 3: "Schools"}, origin="codebook", nominal=True),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Studies of three arms, and one of a single arm."""
    folder = tmp_path_factory.mktemp("treatments")
    rng = np.random.default_rng(0)
    builder = StoreBuilder(attributes=("age", "gender"), source="small", license="CC0", command="test")
    for s in range(4):
        builder.add_study(f"s{s}", title=f"Study number {s}")
        for c in range(1 if s == 3 else 3):
            # Arms of different words: what they have in common would cancel in gradients, and leave rounding errors.
            ids = {
                name: builder.add_item(
                    dataclasses.replace(
                        small_item(f"s{s}", f"c{c}", name, scale), stimulus=STIMULI[c].format(s)
                    )
                )
                for name, scale in SCALES.items()
            }
            for p in range(6):
                persona = {"age": AGES[rng.integers(3)], "gender": GENDERS[rng.integers(2)]}
                builder.add_participant(f"s{s}", f"{c}-{p}", persona)
                for name, item_id in ids.items():
                    value = int(rng.choice(SCALES[name].levels))
                    builder.add_response(item_id, f"{c}-{p}", value, sample_id=len(SCALES) * p)
    store = builder.write(folder / "store")
    make_split(store, name="main", seed=0, participants=0.2).save(store)
    tokenizer = small_tokenizer(store, folder / "tokenizer")
    return store, Split.load(store, "main"), tokenizer, small_config(tokenizer)


def contrast_shards(world, *, kind="nothing", layout=STUDY_FIRST, **changes) -> TreeShards:
    store, split, tokenizer, _ = world
    settings = {"personas": 5, "in_order": True, **changes}
    folder = build_shards(
        store,
        split,
        split.training_responses(store),
        tokenizer=tokenizer,
        layout=layout,
        root=store.path / "shards",
        sharing="all",
        max_tokens=512,
        targets=Targets(kind=kind, contrasts=ContrastTargets(**settings)),
    )
    return TreeShards(folder)


def plan_of(shards: TreeShards, *, rows=4, micro_batches=1, tokens_per_row=1024, seed=0) -> ContrastPlan:
    return ContrastPlan(
        shards.lengths,
        rows=rows,
        micro_batches=micro_batches,
        tokens_per_row=tokens_per_row,
        personas=4,
        seed=seed,
    )


def params(world, *, seed=0):
    return jax.tree.map(lambda w: SCALE * w, init(world[3], key=jax.random.key(seed)))


# --- human statistics -------------------------------------------------------------------------------------------------


def test_statistics_are_those_of_the_training_answers_alone(world):
    store, split, *_ = world
    train = split.training_responses(store)
    table = contrast_table(train, store, ContrastTargets(personas=5))
    for item_id, answers, mean, error, histogram, number in table.cells.select(
        "item_id", "answers", "mean", "error", "histogram", "set"
    ).iter_rows():
        item = store.item_by_id[item_id]
        levels = np.array(item.scale.levels)
        arms = [i for i in table.cells.filter(set=number)["item_id"]]
        positions = {
            i: (train.filter(item_id=i)["value"].to_numpy() - levels[0]) / (levels[-1] - levels[0])
            for i in arms
        }
        freedom = sum(len(x) - 1 for x in positions.values())
        pooled = sum(((x - x.mean()) ** 2).sum() for x in positions.values()) / freedom
        assert answers == len(positions[item_id])
        np.testing.assert_allclose([mean, error], [positions[item_id].mean(), np.sqrt(pooled / answers)])
        np.testing.assert_allclose(
            np.array(histogram) @ (levels - levels[0]) / (levels[-1] - levels[0]), mean
        )


def test_held_out_answers_do_not_touch_the_statistics(world):
    store, split, *_ = world
    labeled = split.label(store)
    changed = labeled.with_columns(
        value=pl.when(pl.col("part") == "train").then(pl.col("value")).otherwise(pl.lit(1.0))
    )
    targets = ContrastTargets(personas=5)
    found = [
        contrast_table(split.training_responses(store, labeled=frame), store, targets)
        for frame in (labeled, changed)
    ]
    assert found[0].cells.equals(found[1].cells) and found[0].people.equals(found[1].people)


def test_outcomes_with_one_arm_and_nominal_scales_are_refused_and_counted(world):
    store, split, *_ = world
    train = split.training_responses(store)
    refused = pl.DataFrame(
        contrast_table(train, store, ContrastTargets(personas=5)).refused,
        schema=["item_id", "reason", "responses"],
        orient="row",
    ).join(store.items.select("item_id", "study_id", "outcome"), on="item_id")
    alone = refused.filter(pl.col("reason").str.contains("no other arm"))
    assert set(alone.select("study_id", "outcome").iter_rows()) == {("s3", "taxes"), ("s3", "parks")}
    nominal = refused.filter(pl.col("reason").str.contains("no order"))
    assert set(nominal["outcome"]) == {"topic"}
    assert nominal["responses"].sum() == train.filter(outcome="topic").height
    with_nominal = contrast_table(train, store, ContrastTargets(personas=5, in_order=False))
    assert {"topic", "taxes", "parks"} == {store.item_by_id[i].outcome for i in with_nominal.cells["item_id"]}


def test_statistics_of_groups_are_asked_of_people_of_the_group(world):
    store, split, *_ = world
    train = split.training_responses(store)
    table = contrast_table(train, store, ContrastTargets(personas=50, condition_on=("gender",)))
    gender = {
        key: attributes["gender"]
        for *key, attributes in store.participants.select(
            "study_id", "participant_id", "attributes"
        ).iter_rows()
        for key in [tuple(key)]
    }
    for (number,), people in table.people.group_by("set"):
        [of_group] = {gender[key] for key in people.select("study_id", "participant_id").iter_rows()}
        for item_id, answers in table.cells.filter(set=number).select("item_id", "answers").iter_rows():
            keys = train.filter(item_id=item_id).select("study_id", "participant_id").iter_rows()
            assert answers == sum(gender[key] == of_group for key in keys)


# --- the plan ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [STUDY_FIRST, PERSONA_FIRST], ids=lambda layout: layout.name)
@pytest.mark.parametrize("micro_batches", [1, 2])
def test_all_arms_of_an_outcome_stand_in_one_micro_batch_with_the_same_people(world, layout, micro_batches):
    shards = contrast_shards(world, layout=layout)
    plan = plan_of(shards, micro_batches=micro_batches)
    lengths = shards.lengths
    seen = []
    for step in range(plan.steps(1)):
        rows = plan.batch(step)
        size = plan.rows // micro_batches
        for start in range(0, len(rows), size):
            found: dict[int, dict[int, dict[int, int]]] = {}
            for row in rows[start : start + size]:
                c = row.contrasted
                for branch, group, cell, half in zip(row.branch, c.group, c.cell, c.half):
                    found.setdefault(group, {}).setdefault(cell, {})[int(lengths.branch_person[branch])] = (
                        half
                    )
                    seen.append(branch)
            for arms in found.values():
                [number] = {lengths.cell_set[cell] for cell in arms}
                assert set(arms) == set(np.flatnonzero(lengths.cell_set == number))
                people = list(arms.values())
                assert all(of_arm == people[0] for of_arm in people)
                assert {0, 1} == set(people[0].values())
    # In an epoch every person is asked about every arm once.
    assert sorted(seen) == list(range(len(lengths.branch_cell)))


def test_a_step_is_a_function_of_seed_and_number(world):
    shards = contrast_shards(world)
    steps = plan_of(shards).steps(3)

    def branches(plan, step):
        return [row.branch.tolist() for row in plan.batch(step)]

    forward = plan_of(shards)
    in_order = [branches(forward, step) for step in range(steps)]
    assert [branches(plan_of(shards), step) for step in reversed(range(steps))] == in_order[::-1]
    assert [branches(plan_of(shards, seed=1), step) for step in range(steps)] != in_order


def test_rows_hold_what_was_planned_in_one_shape(world):
    shards = contrast_shards(world)
    plan = plan_of(shards)
    for step in range(plan.steps(1)):
        for row in plan.batch(step):
            length = plan.lengths.branch_whole[row.branch] - row.shared
            assert length.sum() <= plan.shape.tokens
            assert (plan.lengths.branch_needs[row.branch].sum(axis=0) <= plan.shape.needs).all()
    assert 0 <= plan.padding_share() < 1


def test_an_outcome_that_no_micro_batch_holds_is_named_with_what_to_change(world):
    with pytest.raises(InputError, match=r"an outcome with 3 arms takes for \d people .* raise batch.rows"):
        plan_of(contrast_shards(world), rows=1, tokens_per_row=256)


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
            paths.append(Path(shards.prefix(int(prefix)), shards.branch(int(branch)), 0))
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


def level_probs(world, weights, rows):
    """[prompts, L] over the levels, 0 where there are fewer."""
    log_probs = tree_log_probs(weights, rows, config=world[3], **SETTINGS)
    answers, real = answer_log_probs(log_probs, rows["answer_path"])
    probs = jnp.where(real, jnp.exp(answers), 0.0)[:, 0]
    return probs / probs.sum(axis=1, keepdims=True)


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
            people = [n for n in members if places[n][2:] == (cell, half)]
            mu.append(sum(of[n] for n in people) / len(people))
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


CONTRAST = Effects(kind="contrast", tau=0.05, huber=1.5)
PRIOR = Effects(kind="contrast", tau=0.05, huber=1.5, prior=0.7, prior_slope=0.8)
PROFILED = Effects(kind="profiled")


@pytest.fixture(scope="module")
def case(world):
    """Shards, plan, batch, and loss and gradients of its first step by brute force."""

    @functools.cache
    def of(effects: Effects, micro_batches: int):
        shards = contrast_shards(world, in_order=effects.kind == "contrast")
        plan = plan_of(shards, micro_batches=micro_batches)
        rows, places = separate_prompts(shards, plan, micro_batches=micro_batches)

        def probs_of(weights):
            """[prompts, L] over the levels, 0 where there are fewer."""
            log_probs = tree_log_probs(weights, rows, config=world[3], **SETTINGS)
            answers, real = answer_log_probs(log_probs, rows["answer_path"])
            probs = jnp.where(real, jnp.exp(answers), 0.0)[:, 0]
            return probs / probs.sum(axis=1, keepdims=True)

        probs, pull = jax.vjp(jax.jit(probs_of), params(world))
        if effects.kind == "profiled":
            value = functools.partial(brute_profiled, shards, rows, places, fixed=np.asarray(probs))
        else:
            before = jax.jit(probs_of)(params(world, seed=1))
            value = functools.partial(brute_contrast, shards, rows, places, effects, before=before)
        loss, of_probs = jax.value_and_grad(value)(probs)
        reference = np.zeros((int(plan.lengths.branch_comparisons.sum()), plan.shape.answers), np.float32)
        if effects.prior:
            branches = np.concatenate([row.branch for row in plan.batch(0)])
            reference[plan.lengths.comparisons_of(branches)] = np.log(np.maximum(before, 1e-30))
        batch = batch_of(shards, plan, micro_batches=micro_batches, reference=reference)
        return batch, loss, pull(of_probs)[0]

    return of


@pytest.mark.parametrize("micro_batches", [1, 2])
@pytest.mark.parametrize("effects", [CONTRAST, PRIOR, PROFILED], ids=["contrast", "prior", "profiled"])
def test_loss_and_gradients_equal_brute_force_over_separate_prompts(world, case, effects, micro_batches):
    batch, wanted, gradients = case(effects, micro_batches)
    objective = Objective(kind="none", effects=effects)
    loss, _, found = jax.jit(
        functools.partial(loss_and_gradients, objective=objective, config=world[3], **SETTINGS)
    )(params(world), batch)
    np.testing.assert_allclose(loss, wanted, rtol=1e-5)
    assert_trees_close(found, gradients, 1e-5)


@pytest.mark.parametrize("effects", [CONTRAST, PROFILED], ids=["contrast", "profiled"])
def test_eight_devices_compute_what_brute_force_does(world, case, effects):
    batch, wanted, gradients = case(effects, 1)
    mesh = make_mesh(data=2, fsdp=2, tensor=2)
    objective = Objective(kind="none", effects=effects)
    with jax.set_mesh(mesh):
        placed = jax.device_put(batch, micro_batch_sharding(mesh, rows=4))
        loss, _, found = jax.jit(
            functools.partial(loss_and_gradients, objective=objective, config=world[3], **SETTINGS)
        )(params(world), placed)
    np.testing.assert_allclose(loss, wanted, rtol=1e-5)
    assert_trees_close(jax.device_get(found), gradients, 1e-5)


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


# --- runs -------------------------------------------------------------------------------------------------------------


def run_recipe(world, output, **changes) -> dict:
    recipe = small_recipe(world[0], output, **changes)
    recipe["batch"] |= {"rows": 4, "tokens_per_row": 1024}
    recipe["optimizer"] = {"epochs": 1, "learning_rate": 1e-2}
    return recipe


@pytest.mark.parametrize("kind", ["contrast", "profiled"])
def test_a_run_that_is_stopped_sees_the_same_contrasts_again(world, tmp_path, monkeypatch, kind):
    objective = {"kind": kind, "effects": {"personas": 4, "personas_per_study": 8}}

    def run(name):
        recipe = run_recipe(world, tmp_path / name, objective=objective)
        return parse_recipe(recipe | {"checkpoints": {"every_steps": 1}}, where="test")

    train(run("whole"))
    original = PlannedRows.__getitem__

    def fails_at_one(self, step):
        if step == 1:
            raise RuntimeError("stopped")
        return original(self, step)

    monkeypatch.setattr(PlannedRows, "__getitem__", fails_at_one)
    with pytest.raises(RuntimeError, match="stopped"):
        train(run("stopped"))
    monkeypatch.undo()
    train(run("stopped"))
    lines = [
        (tmp_path / name / "metrics.jsonl").read_text().splitlines()[-1] for name in ("whole", "stopped")
    ]
    assert json.loads(lines[0])["loss"] == json.loads(lines[1])["loss"]


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"objective": {"kind": "contrast", "mixed_with": "sft"}}, "`batch.contrast_rows` is missing"),
        ({"objective": {"kind": "sft", "effects": {}}}, "`effects` goes with kind: contrast or profiled"),
        (
            {"objective": {"kind": "profiled", "effects": {"prior": 1}}},
            "`effects.prior` goes with kind: contrast",
        ),
    ],
)
def test_keys_that_do_not_go_together_are_named(world, tmp_path, changes, sentence):
    with pytest.raises(InputError, match=sentence):
        parse_recipe(run_recipe(world, tmp_path / "run", **changes), where="test")


# --- metrics ----------------------------------------------------------------------------------------------------------


def test_effect_metrics_look_at_differences_within_outcomes_only():
    human = np.array([0.2, 0.4, 0.9, 0.7])
    outcome = np.array(["a", "a", "b", "b"])
    levels_off = human + np.array([0.3, 0.3, -0.4, -0.4])
    assert effect_metrics(levels_off, human, outcome) == pytest.approx({"effect_r": 1.0, "effect_rmse": 0.0})
    no_effect = np.array([0.5, 0.5, 0.1, 0.1])
    assert effect_metrics(no_effect, human, outcome) == {"effect_r": 0.0, "effect_rmse": 1.0}
    assert effect_metrics(human[:1], human[:1], outcome[:1]) == {}


def test_effect_r_weighs_outcomes_by_their_spread():
    human = np.array([0.0, 0.02, 0.0, 0.8])
    predicted = np.array([0.0, 0.02, 0.4, 0.0])
    outcome = np.array(["small", "small", "large", "large"])
    weight = 1 / (np.array([0.01, 0.4]) ** 2 + 0.02**2)
    p, h = np.array([0.01, -0.2]), np.array([0.01, 0.4])
    wanted = (weight @ (p * h)) / np.sqrt((weight @ p**2) * (weight @ h**2))
    assert effect_metrics(predicted, human, outcome)["effect_r"] == pytest.approx(wanted)


# --- two parts --------------------------------------------------------------------------------------------------------


def random_model(world, *, seed, scale) -> SimulationModel:
    _, _, tokenizer, config = world
    return SimulationModel(
        config=config,
        params=jax.tree.map(lambda w: scale * w, init(config, key=jax.random.key(seed))),
        mesh=make_mesh(data=1, fsdp=1, tensor=1, devices=jax.devices()[:1]),
        tokenizer=tokenizer,
        layout=STUDY_FIRST,
        compute_dtype=jnp.float32,
        metadata={"name": f"random {seed}"},
    )


def test_two_parts_are_levels_of_one_model_and_effects_of_the_other(world, tmp_path):
    store, split, *_ = world
    levels, effects = random_model(world, seed=0, scale=4.0), random_model(world, seed=1, scale=4.0)
    out = tmp_path / "predictions.parquet"
    simulate_two_parts(levels, effects, store, split, out=out, kappa=0.5)
    frame = read_predictions(out, store).frame
    assert set(frame.select("item_id", "participant_id").iter_rows()) == set(
        split.pairs().frame.select("item_id", "participant_id").iter_rows()
    )
    item_id, person, probs = next(
        row
        for row in frame.select("item_id", "participant_id", "probs").iter_rows()
        if store.item_by_id[row[0]].study_id == "s0"
    )
    item = store.item_by_id[item_id]
    arms = [
        i for i, other in store.item_by_id.items() if (other.study_id, other.outcome) == ("s0", item.outcome)
    ]
    pairs = pl.DataFrame({"item_id": arms, "study_id": "s0", "participant_id": person})
    of_levels, of_effects = (
        np.log(
            np.array(predict(model, Pairs.of_store(store, pairs)).frame.sort("item_id")["probs"].to_list())
        )
        for model in (levels, effects)
    )
    c = sorted(arms).index(item_id)
    logits = of_levels.mean(axis=0) + 0.5 * (of_effects[c] - of_effects.mean(axis=0))
    np.testing.assert_allclose(probs, np.exp(logits) / np.exp(logits).sum(), rtol=1e-4)


def test_kappa_is_learned_on_people_who_validate(world):
    store, _, *_ = world
    split = make_split(store, name="validated", seed=0, participants=0.2, validation=0.3)
    levels = random_model(world, seed=0, scale=1.0)
    found = learn_kappa(levels, random_model(world, seed=1, scale=4.0), store, split)
    assert 0 <= found <= 1
    # A model without effects has nothing to offer: every kappa is as good, and the least is taken.
    assert learn_kappa(levels, random_model(world, seed=1, scale=0.0), store, split) == 0
