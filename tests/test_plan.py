"""The batch plan: every branch once an epoch, a few shapes, and a pure function of lengths, seed and step."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from socsci_jax.data.plan import BatchPlan, Lengths, bucket_edges


def lengths(rng: np.random.Generator, *, prefixes: int, branches: int) -> Lengths:
    tokens = rng.integers(3, 60, branches)
    return Lengths(
        prefix_tokens=rng.integers(20, 400, prefixes),
        branch_prefix=rng.integers(0, prefixes, branches),
        branch_tokens=tokens,
        branch_reads=rng.integers(1, 4, branches),
        branch_slots=rng.integers(1, 6, branches),
    )


@pytest.fixture
def plan():
    data = lengths(np.random.default_rng(0), prefixes=30, branches=1000)
    return BatchPlan(data, trees=8, branches_per_tree=4, seed=7)


def test_every_branch_is_planned_once_in_every_epoch(plan):
    for epoch in range(2):
        steps = range(epoch * plan.steps_per_epoch, (epoch + 1) * plan.steps_per_epoch)
        planned = np.concatenate([plan.batch(step).branch.reshape(-1) for step in steps])
        assert sorted(planned[planned >= 0]) == list(range(1000))


def test_a_tree_holds_branches_of_its_own_prefix_that_fit_its_shape(plan):
    data = plan.lengths
    for step in range(plan.steps_per_epoch):
        batch = plan.batch(step)
        for prefix, members in zip(batch.prefix, batch.branch):
            members = members[members >= 0]
            assert (prefix < 0) == (len(members) == 0)
            assert all(data.branch_prefix[members] == prefix)
            assert all(data.branch_tokens[members] <= batch.shape.branch)
            assert all(data.branch_reads[members] <= batch.shape.reads)
            assert all(data.branch_slots[members] <= batch.shape.slots)
            assert prefix < 0 or data.prefix_tokens[prefix] <= batch.shape.prefix


def test_any_step_can_be_asked_for_on_its_own(plan):
    again = BatchPlan(plan.lengths, trees=8, branches_per_tree=4, seed=7)
    step = 2 * plan.steps_per_epoch + 3
    for other in (0, step):
        plan.batch(other)
    assert np.array_equal(plan.batch(step).branch, again.batch(step).branch)


def test_epochs_and_seeds_differ(plan):
    other = BatchPlan(plan.lengths, trees=8, branches_per_tree=4, seed=8)

    def first(p, epoch):
        return [p.batch(epoch * p.steps_per_epoch + i).branch.tolist() for i in range(3)]

    assert first(plan, 0) != first(plan, 1)
    assert first(plan, 0) != first(other, 0)


def test_a_run_compiles_at_most_as_many_programs_as_there_are_buckets(plan):
    shapes = {plan.batch(step).shape for step in range(3 * plan.steps_per_epoch)}
    assert shapes == set(plan.shapes.values())
    assert len(shapes) <= 4 * 3


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.integers(1, 3))
def test_bucket_edges_waste_the_fewest_tokens(values, buckets):
    found = bucket_edges(np.array(values), counts=np.ones(len(values)), buckets=buckets, multiple=4)

    def cost(edges):
        edges = np.sort(edges)
        return edges[np.searchsorted(edges, values)].sum()

    import itertools

    candidates = sorted({-(-v // 4) * 4 for v in values})
    best = min(
        cost(np.array([*chosen, candidates[-1]]))
        for k in range(min(buckets, len(candidates)))
        for chosen in itertools.combinations(candidates[:-1], k)
    )
    assert len(found) <= buckets
    assert cost(found) == best
