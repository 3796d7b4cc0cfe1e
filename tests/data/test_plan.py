"""The batch plan: every branch once an epoch, one shape, and a pure function of lengths, seed and step."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from socsci_jax.data.plan import BatchPlan, Lengths
from socsci_jax.data.prompt_table import shared_tokens, sort_by_tokens
from socsci_jax.data.row_fitting import fit_into_rows, shared_with_previous
from socsci_jax.data.trees import RowShape
from socsci_jax.errors import InputError


def lengths(rng: np.random.Generator, *, prefixes: int, branches: int) -> Lengths:
    tokens = rng.integers(3, 60, branches)
    prefix = np.sort(np.concatenate([np.arange(prefixes), rng.integers(0, prefixes, branches - prefixes)]))
    first = np.concatenate([[True], prefix[1:] != prefix[:-1]])
    return Lengths(
        prefix_tokens=rng.integers(20, 400, prefixes),
        branch_prefix=prefix,
        branch_tokens=tokens,
        branch_shared=np.where(first, 0, rng.integers(0, tokens)),
        branch_reads=rng.integers(1, 4, branches),
        branch_slots=rng.integers(1, 6, branches),
        branch_comparisons=rng.integers(0, 3, branches),
        answers_of_comparison=2,
        slots_of_answer=3,
    )


def plan_of(data: Lengths, *, seed: int = 7, **changes) -> BatchPlan:
    return BatchPlan(
        data, **{"rows": 4, "tokens_per_row": 1024, "branches_per_tree": 8, "seed": seed, **changes}
    )


@pytest.fixture(scope="module")
def plan():
    return plan_of(lengths(np.random.default_rng(0), prefixes=30, branches=1000))


def planned(plan: BatchPlan, epoch: int) -> list:
    first, last = (plan.steps(epoch) if epoch else 0), plan.steps(epoch + 1)
    return [row for step in range(first, last) for row in plan.batch(step)]


def test_every_branch_is_planned_once_in_every_epoch(plan):
    for epoch in range(3):
        branches = np.concatenate([row.branch for row in planned(plan, epoch)])
        assert sorted(branches) == list(range(1000))


def test_rows_hold_what_fits_their_shape_and_trees_what_shares_a_prefix(plan):
    data = plan.lengths
    for epoch in range(3):
        for row in planned(plan, epoch):
            new = data.prefix_tokens[row.prefix] + data.branch_tokens[row.branch] - row.shared
            assert new.sum() <= plan.shape.tokens
            assert data.branch_reads[row.branch].sum() <= plan.shape.reads
            assert data.branch_slots[row.branch].sum() <= plan.shape.slots
            assert data.branch_comparisons[row.branch].sum() <= plan.shape.comparisons
            assert all(data.branch_prefix[row.branch] == row.prefix)
            trees = np.split(np.arange(len(row.branch)), np.flatnonzero(row.shared == 0)[1:])
            assert row.shared[0] == 0
            for tree in trees:
                assert len(tree) <= 8
                assert len(set(row.prefix[tree])) == 1
                assert all(row.shared[tree[1:]] >= data.prefix_tokens[row.prefix[tree[0]]])


def test_steps_hold_at_most_their_rows(plan):
    assert all(1 <= len(plan.batch(step)) <= 4 for step in range(plan.steps(2)))


def test_any_step_can_be_asked_for_on_its_own(plan):
    again = plan_of(plan.lengths)
    step = plan.steps(2) + 3
    for other in (0, step):
        plan.batch(other)
    for one, other in zip(plan.batch(step), again.batch(step), strict=True):
        assert np.array_equal(one.branch, other.branch)


def test_parts_of_epochs_are_counted(plan):
    assert plan.steps(1.5) == plan.steps(1) + -(-(plan.steps(2) - plan.steps(1)) // 2)
    assert plan.steps(0.0001) == 1


def test_epochs_and_seeds_differ(plan):
    def branches(p, epoch):
        return [row.branch.tolist() for row in planned(p, epoch)]

    assert branches(plan, 0) != branches(plan, 1)
    assert branches(plan, 0) != branches(plan_of(plan.lengths, seed=8), 0)


def test_all_steps_have_one_shape_and_little_padding(plan):
    # A tree is a fifth of a row here.
    assert plan.padding_share() < 0.15


def test_a_prompt_that_no_row_can_hold_is_refused_with_the_size_that_would():
    data = lengths(np.random.default_rng(0), prefixes=3, branches=20)
    with pytest.raises(
        InputError, match=r"batch.tokens_per_row = 64: the longest .* has \d+ tokens; set it to"
    ):
        plan_of(data, tokens_per_row=64)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.lists(st.integers(0, 2), min_size=1, max_size=6).map(tuple), min_size=2, max_size=12, unique=True
    ),
    st.integers(0, 2**32 - 1),
)
def test_what_chosen_sequences_share_follows_from_their_neighbors(sequences, seed):
    arrays = [np.array(sequence) for sequence in sequences]
    by_tokens = sort_by_tokens(arrays)
    chosen = np.flatnonzero(np.random.default_rng(seed).random(len(arrays)) < 0.6)
    found = shared_with_previous(by_tokens.shared, chosen)
    for n, (a, b) in enumerate(itertools.pairwise(chosen), start=1):
        assert found[n] == shared_tokens(arrays[by_tokens.order[a]], arrays[by_tokens.order[b]])


def fullest_row_by_row(tokens, needs, order, shape):
    """Best fit as it is defined: every row is looked at."""
    rows, left = [], []
    for tree in order:
        wanted = np.append(tokens[tree], needs[tree])
        able = [(room[0], row) for row, room in enumerate(left) if (room >= wanted).all()]
        row = min(able)[1] if able else len(rows)
        if row == len(rows):
            rows.append([])
            left.append(np.array([shape.tokens, *shape.needs]))
        rows[row].append(tree)
        left[row] = left[row] - wanted
    return rows


@pytest.mark.parametrize("comparisons", [0, 12])
def test_each_tree_goes_to_the_fullest_row_that_can_hold_it(comparisons):
    rng = np.random.default_rng(0)
    shape = RowShape(tokens=1000, reads=20, slots=30, comparisons=comparisons)
    count = 300
    tokens = rng.integers(20, 400, count)
    needs = np.stack(
        [rng.integers(1, 12, count), rng.integers(1, 20, count), rng.integers(0, comparisons // 2 + 1, count)], axis=1
    )  # fmt: skip
    order = rng.permutation(count)
    found = fit_into_rows(tokens, needs, order=order, shape=shape)
    assert found == fullest_row_by_row(tokens, needs, order.tolist(), shape)
