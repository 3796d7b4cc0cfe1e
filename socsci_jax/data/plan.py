"""The batch plan: which branches form step t, as a pure function of (lengths, seed, t).

Nothing here knows how many hosts there are, so the whole state of the data is one integer and any number of
hosts may resume any run.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from socsci_jax.data.trees import TreeShape
from socsci_jax.errors import InputError


@dataclasses.dataclass(frozen=True, eq=False)
class Lengths:
    """Lengths of all prompt trees: prefix_tokens[p]; and per branch its prefix, tokens, reads and slots."""

    prefix_tokens: np.ndarray
    branch_prefix: np.ndarray
    branch_tokens: np.ndarray
    branch_reads: np.ndarray
    branch_slots: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class PlannedBatch:
    """One step: its shape, and the prefix [G] and branches [G, B] of each tree; -1 is padding."""

    shape: TreeShape
    prefix: np.ndarray
    branch: np.ndarray


class BatchPlan:
    """Random access to planned batches.

    Branches are put into buckets by length, so that the number of steps is the same in every epoch and a whole
    run compiles at most `prefix_buckets` x `branch_buckets` programs.  Within each epoch a tree's branches are
    shuffled and cut into trees of `branches_per_tree`; the trees of a bucket are shuffled into batches of
    `trees`, and the batches of all buckets are shuffled.
    """

    def __init__(
        self,
        lengths: Lengths,
        *,
        trees: int,
        branches_per_tree: int,
        seed: int,
        prefix_buckets: int = 4,
        branch_buckets: int = 3,
        multiple: int = 8,
    ):
        if len(lengths.branch_tokens) == 0:
            raise InputError("the training data hold no answer: nothing to plan.")
        self.lengths = lengths
        self.trees = trees
        self.branches_per_tree = branches_per_tree
        self.seed = seed
        # A prefix counts as often as it will be computed, once per tree.
        per_prefix = np.bincount(lengths.branch_prefix, minlength=len(lengths.prefix_tokens))
        prefix_edges = bucket_edges(
            lengths.prefix_tokens,
            counts=-(-per_prefix // branches_per_tree),
            buckets=prefix_buckets,
            multiple=multiple,
        )
        branch_edges = bucket_edges(
            lengths.branch_tokens,
            counts=np.ones_like(lengths.branch_tokens),
            buckets=branch_buckets,
            multiple=multiple,
        )
        prefix_bucket = np.searchsorted(prefix_edges, lengths.prefix_tokens)
        branch_bucket = np.searchsorted(branch_edges, lengths.branch_tokens)
        self._bucket = prefix_bucket[lengths.branch_prefix] * len(branch_edges) + branch_bucket
        self.shapes: dict[int, TreeShape] = {}
        for bucket in np.unique(self._bucket):
            members = self._bucket == bucket
            self.shapes[int(bucket)] = TreeShape(
                prefix=int(prefix_edges[bucket // len(branch_edges)]),
                branch=int(branch_edges[bucket % len(branch_edges)]),
                reads=_round_up(int(lengths.branch_reads[members].max()), 2),
                slots=_round_up(int(lengths.branch_slots[members].max()), 2),
            )
        # A group is what may share a tree: the branches of one prefix in one bucket.
        group = lengths.branch_prefix.astype(np.int64) * (int(self._bucket.max()) + 1) + self._bucket
        self._group_ids, self._group = np.unique(group, return_inverse=True)
        sizes = np.bincount(self._group)
        trees_of_group = -(-sizes // branches_per_tree)
        group_bucket = self._group_ids % (int(self._bucket.max()) + 1)
        self.steps_per_epoch = sum(
            -(-int(trees_of_group[group_bucket == bucket].sum()) // trees) for bucket in self.shapes
        )
        self._epoch = functools.lru_cache(maxsize=2)(self._plan_epoch)

    def batch(self, step: int) -> PlannedBatch:
        epoch, index = divmod(step, self.steps_per_epoch)
        return self._epoch(epoch)[index]

    def _plan_epoch(self, epoch: int) -> list[PlannedBatch]:
        rng = np.random.default_rng([self.seed, epoch])
        order = np.lexsort((rng.random(len(self._group)), self._group))
        sizes = np.bincount(self._group)
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        rank = np.arange(len(order)) - np.repeat(starts, sizes)
        # Number of the tree that each branch belongs to, and its place there.
        trees_of_group = -(-sizes // self.branches_per_tree)
        first_tree = np.concatenate([[0], np.cumsum(trees_of_group)[:-1]])
        tree = np.repeat(first_tree, sizes) + rank // self.branches_per_tree
        members = np.full((int(trees_of_group.sum()), self.branches_per_tree), -1, np.int64)
        members[tree, rank % self.branches_per_tree] = order
        tree_prefix = self.lengths.branch_prefix[members[:, 0]]
        tree_bucket = self._bucket[members[:, 0]]
        batches = []
        for bucket, shape in self.shapes.items():
            chosen = rng.permutation(np.flatnonzero(tree_bucket == bucket))
            for start in range(0, len(chosen), self.trees):
                rows = chosen[start : start + self.trees]
                prefix = np.full(self.trees, -1, np.int64)
                branch = np.full((self.trees, self.branches_per_tree), -1, np.int64)
                prefix[: len(rows)] = tree_prefix[rows]
                branch[: len(rows)] = members[rows]
                batches.append(PlannedBatch(shape, prefix, branch))
        return [batches[i] for i in rng.permutation(len(batches))]

    def padding_share(self) -> float:
        """Share of the processed tokens of an epoch that are padding."""
        processed = used = 0
        for step in range(self.steps_per_epoch):
            batch = self.batch(step)
            processed += self.trees * (batch.shape.prefix + self.branches_per_tree * batch.shape.branch)
            used += int(self.lengths.prefix_tokens[batch.prefix[batch.prefix >= 0]].sum())
            used += int(self.lengths.branch_tokens[batch.branch[batch.branch >= 0]].sum())
        return 1 - used / processed


def bucket_edges(lengths: np.ndarray, *, counts: np.ndarray, buckets: int, multiple: int) -> np.ndarray:
    """At most `buckets` ascending upper edges, multiples of `multiple`, that waste the fewest tokens.

    Exact: dynamic programming over the distinct rounded lengths, where a length in a bucket costs its edge.
    """
    rounded = _round_up(np.maximum(lengths, 1), multiple)
    values, inverse = np.unique(rounded, return_inverse=True)
    weight = np.bincount(inverse, weights=counts)
    if len(values) <= buckets:
        return values
    cumulative = np.concatenate([[0.0], np.cumsum(weight)])
    # cost[j] after k buckets: least processed tokens for the first j values.
    cost = np.full(len(values) + 1, np.inf)
    cost[0] = 0
    choices = []
    for _ in range(buckets):
        # candidate[i, j]: values i..j-1 form the last bucket.
        span = (cumulative[None, :] - cumulative[:, None]) * np.concatenate([[0], values])[None, :]
        candidate = np.where(
            np.arange(len(cost))[:, None] < np.arange(len(cost))[None, :], cost[:, None] + span, np.inf
        )
        choices.append(candidate.argmin(axis=0))
        cost = candidate.min(axis=0)
    edges = []
    j = len(values)
    for choice in reversed(choices):
        edges.append(values[j - 1])
        j = int(choice[j])
    return np.unique(edges)


def _round_up(value, multiple: int):
    return -(-value // multiple) * multiple
