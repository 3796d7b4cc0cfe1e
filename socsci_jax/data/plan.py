"""The batch plan: which prompts stand in which row of step t, as a pure function of (lengths, seed, t).

Nothing here knows how many hosts there are, so the whole state of the data is one integer and any number of
hosts may resume any run.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np

from socsci_jax.data.row_fitting import fit_into_rows, round_up, shared_with_previous
from socsci_jax.data.trees import RowShape
from socsci_jax.errors import InputError

# Sizes of a row are multiples of this, as the blocks of attention are.
MULTIPLE = 64


@dataclasses.dataclass(frozen=True, eq=False)
class Lengths:
    """Lengths of all prompts: prefix_tokens[p]; and per branch its prefix, tokens, reads, slots and comparisons.

    Branches of one prefix stand together, sorted by their tokens; branch_shared[b] counts the first tokens of
    branch b that the branch before it has too (0 for the first of a prefix, or if they are not to be shared).
    """

    prefix_tokens: np.ndarray
    branch_prefix: np.ndarray
    branch_tokens: np.ndarray
    branch_shared: np.ndarray
    branch_reads: np.ndarray
    branch_slots: np.ndarray
    branch_comparisons: np.ndarray
    answers_of_comparison: int = 0
    slots_of_answer: int = 0
    # Of branches that belong to contrasts, which come last: the cell (-1 for the others) and the person; of cells the set.
    branch_cell: np.ndarray | None = None
    branch_person: np.ndarray | None = None
    cell_set: np.ndarray | None = None

    @functools.cached_property
    def plain(self) -> Lengths:
        """Those of the branches that belong to no contrast, under the same numbers."""
        if self.branch_cell is None:
            return self
        count = int((self.branch_cell < 0).sum())
        of_branches = {
            field.name: getattr(self, field.name)[:count]
            for field in dataclasses.fields(self)
            if field.name.startswith("branch_")
        }
        prefixes = int(of_branches["branch_prefix"].max(initial=-1)) + 1
        return dataclasses.replace(self, prefix_tokens=self.prefix_tokens[:prefixes], **of_branches)

    @property
    def branch_needs(self) -> np.ndarray:
        """What each branch takes of a row besides tokens [n, 3]: reads, slots, comparisons."""
        return np.stack([self.branch_reads, self.branch_slots, self.branch_comparisons], axis=1)

    @functools.cached_property
    def branch_whole(self) -> np.ndarray:
        """Tokens of each branch with its prefix."""
        return self.prefix_tokens[self.branch_prefix] + self.branch_tokens

    def comparisons_of(self, branches: np.ndarray) -> np.ndarray:
        """Numbers of the comparisons of these branches, one branch after the other, where all are counted through."""
        count = self.branch_comparisons[branches]
        first = np.cumsum(self.branch_comparisons)[branches] - count
        # Within each branch counted from 0.
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        return np.repeat(first, count) + within


@dataclasses.dataclass(frozen=True, eq=False)
class Contrasted:
    """Where the n prompts of a row belong: the cell among all, and counted within the micro-batch its cell and set; the half
    of the people; and the weight, 1 over the people of the cell."""

    cell: np.ndarray
    local_cell: np.ndarray
    group: np.ndarray
    half: np.ndarray
    weight: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class PlannedRow:
    """The prompts of a row in their order: prefix[n], branch[n], and the tokens shared[n] with the one before."""

    prefix: np.ndarray
    branch: np.ndarray
    shared: np.ndarray
    contrasted: Contrasted | None = None


class EpochPlan:
    """Random access to the rows of each step, of epochs that are planned as a whole."""

    shape: RowShape

    def __init__(self, lengths: Lengths, *, rows: int):
        self.lengths = lengths
        self.rows = rows
        self._epoch = functools.lru_cache(maxsize=2)(self._plan_epoch)
        self._steps: list[int] = []

    def _plan_epoch(self, epoch: int) -> list[PlannedRow]:
        raise NotImplementedError

    def steps(self, epochs: float) -> int:
        """Number of steps of so many epochs; the last one may be incomplete."""
        whole = math.floor(epochs)
        while len(self._steps) < math.ceil(epochs):
            self._steps.append(-(-len(self._epoch(len(self._steps))) // self.rows))
        rest = math.ceil((epochs - whole) * self._steps[whole]) if epochs > whole else 0
        return max(1, sum(self._steps[:whole]) + rest)

    def steps_of_all(self) -> int:
        """Steps from the first in which every prompt stands at least once."""
        return self.steps(1)

    def batch(self, step: int) -> list[PlannedRow]:
        """The rows of a step, at most `rows` of them."""
        epoch = 0
        while step >= self.steps(epoch + 1):
            epoch += 1
        start = (step - (self.steps(epoch) if epoch else 0)) * self.rows
        return self._epoch(epoch)[start : start + self.rows]

    def work(self, step: int) -> tuple[int, int]:
        """Tokens that step computes, without padding; and the tokens that these see, themselves included."""
        used = seen = 0
        whole = self.lengths.branch_whole
        for row in self.batch(step):
            length = whole[row.branch]
            used += int((length - row.shared).sum())
            # Token number i of a prompt, counted from 0, sees i + 1.
            seen += int((length * (length + 1) - row.shared * (row.shared + 1)).sum()) // 2
        return used, seen

    def padding_share(self) -> float:
        """Share of the processed tokens of the first epoch that are padding."""
        used = sum(self.work(step)[0] for step in range(self.steps(1)))
        return 1 - used / (self.steps(1) * self.rows * self.shape.tokens)


class BatchPlan(EpochPlan):
    """Random access to the rows of each step.

    In each epoch the branches of a prefix are shuffled and cut into trees of at most `branches_per_tree`, the
    trees are put in random order and fitted into rows of `tokens_per_row`, and every step takes `rows` rows.
    All steps have one shape, so a run compiles one program.
    """

    def __init__(
        self, lengths: Lengths, *, rows: int, tokens_per_row: int, branches_per_tree: int, seed: int
    ):
        """Raises InputError if there is nothing to plan, or a prompt that no row can hold."""
        if len(lengths.branch_tokens) == 0:
            raise InputError("the training data hold no answer: nothing to plan.")
        longest = int(lengths.branch_whole.max())
        if longest > tokens_per_row:
            raise InputError(
                f"batch.tokens_per_row = {tokens_per_row}: the longest prompt with its answers has {longest} tokens; "
                f"set it to at least {round_up(longest, MULTIPLE)}, or lower data.max_tokens."
            )
        super().__init__(lengths, rows=rows)
        self.seed = seed
        self.shape = _row_shape(lengths, tokens_per_row, branches_per_tree)
        self._tree_of_place = _even_trees(lengths, self.shape, branches_per_tree)

    def _plan_epoch(self, epoch: int) -> list[PlannedRow]:
        rng = np.random.default_rng([self.seed, epoch])
        trees = self._trees(rng)
        order = rng.permutation(len(trees.tokens))
        rows = fit_into_rows(trees.tokens, trees.needs, order=order, shape=self.shape)
        planned = []
        for row in rng.permutation(len(rows)):
            members = np.concatenate([np.arange(trees.start[t], trees.start[t + 1]) for t in rows[row]])
            branch = trees.branch[members]
            planned.append(PlannedRow(self.lengths.branch_prefix[branch], branch, trees.shared[members]))
        return planned

    def _trees(self, rng: np.random.Generator) -> _Trees:
        lengths = self.lengths
        n = len(lengths.branch_prefix)
        tree = np.empty(n, np.int64)
        # Branches of a prefix stand together, so shuffling within prefixes leaves each prefix its places.
        tree[np.lexsort((rng.random(n), lengths.branch_prefix))] = self._tree_of_place
        branch = np.lexsort((np.arange(n), tree))
        tree = tree[branch]
        first = np.concatenate([[True], tree[1:] != tree[:-1]])
        start = np.append(np.flatnonzero(first), n)
        prefix_tokens = lengths.prefix_tokens[lengths.branch_prefix[branch]]
        shared = np.where(first, 0, prefix_tokens + shared_with_previous(lengths.branch_shared, branch))
        new = prefix_tokens + lengths.branch_tokens[branch] - shared
        return _Trees(
            branch=branch,
            shared=shared,
            start=start,
            tokens=np.add.reduceat(new, start[:-1]),
            needs=np.add.reduceat(lengths.branch_needs[branch], start[:-1]),
        )


@dataclasses.dataclass(frozen=True, eq=False)
class _Trees:
    """Trees of an epoch: tree t holds branch[start[t]:start[t+1]]; and what each takes of a row."""

    branch: np.ndarray
    shared: np.ndarray
    start: np.ndarray
    tokens: np.ndarray
    needs: np.ndarray


def _row_shape(lengths: Lengths, tokens_per_row: int, branches_per_tree: int) -> RowShape:
    """Room for as many reads, slots and comparisons as the densest mixture of trees has, and for any single prompt."""
    trees = -(-np.bincount(lengths.branch_prefix) // branches_per_tree)
    fewest_tokens = (trees * lengths.prefix_tokens[: len(trees)]).sum()
    fewest_tokens += (lengths.branch_tokens - lengths.branch_shared).sum()
    rows = fewest_tokens / tokens_per_row
    needs = lengths.branch_needs
    reads, slots, comparisons = (
        round_up(max(int(1.1 * total / rows), int(most)), MULTIPLE)
        for total, most in zip(needs.sum(axis=0), needs.max(axis=0))
    )
    return RowShape(
        tokens_per_row,
        reads,
        slots,
        comparisons=comparisons,
        answers=lengths.answers_of_comparison,
        path=lengths.slots_of_answer,
    )


def _even_trees(lengths: Lengths, shape: RowShape, branches_per_tree: int) -> np.ndarray:
    """Number of the tree at each place of the branches, where each prefix is cut into trees of even size.

    Any choice of its branches fits a row, so that a shuffle never changes the number of trees.
    """
    sizes = np.bincount(lengths.branch_prefix)
    starts = np.cumsum(sizes) - sizes
    longest = np.maximum.reduceat(lengths.branch_tokens, starts)
    most = np.maximum.reduceat(lengths.branch_needs, starts)
    room = (shape.tokens - lengths.prefix_tokens) // longest
    # Where nothing is needed (no comparisons), nothing bounds the number of branches.
    fitting = (np.array(shape.needs) // np.maximum(most, 1)).min(
        axis=1, where=most > 0, initial=branches_per_tree
    )
    width = np.minimum(room, fitting)
    trees = -(-sizes // width)
    first = np.cumsum(trees) - trees
    prefix = lengths.branch_prefix
    rank = np.arange(len(prefix)) - starts[prefix]
    return first[prefix] + rank * trees[prefix] // sizes[prefix]
