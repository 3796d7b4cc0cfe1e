"""Prompt trees: one shared prefix and the branches that continue it.  All the model ever sees is one of these.

A branch is the rest of a prompt followed by a trie of answers; its targets are the edges of that trie.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from socsci_jax.data.tries import AnswerTrie


@dataclasses.dataclass(frozen=True, eq=False)
class Branch:
    """The tokens of a branch in depth-first preorder, and what is predicted from it.

    ids[s], depth[s] (position counted from the end of the prefix), end[s] (token j is visible to token i of the
    branch iff j <= i < end[j]).
    read[r]: tokens whose output is read.  Target slots: slot_row[a] (index into read), slot_id[a],
    slot_weight[a].
    """

    ids: np.ndarray
    depth: np.ndarray
    end: np.ndarray
    read: np.ndarray
    slot_row: np.ndarray
    slot_id: np.ndarray
    slot_weight: np.ndarray


def grow_branch(prompt: Sequence[int], trie: AnswerTrie, edge_weights: np.ndarray) -> Branch:
    """The branch of a prompt (at least one token: a prefix is never read) and its answers."""
    n = len(prompt)
    total = n + trie.num_nodes
    ids = np.empty(total, np.int32)
    ids[:n] = prompt
    ids[n:] = trie.node_id
    depth = np.arange(total, dtype=np.int32)
    depth[n:] = n + trie.node_depth
    end = np.full(total, total, np.int32)
    end[n:] = n + trie.node_end
    # Every node is read: it is fed only because something is predicted from it.
    read = np.arange(n - 1, total, dtype=np.int32)
    return Branch(
        ids=ids,
        depth=depth,
        end=end,
        read=read,
        slot_row=trie.edge_row,
        slot_id=trie.edge_id,
        slot_weight=edge_weights.astype(np.float32),
    )


@dataclasses.dataclass(frozen=True, order=True)
class TreeShape:
    """The static shape of a batch of trees: tokens of prefix and branch, rows read, target slots."""

    prefix: int
    branch: int
    reads: int
    slots: int


@dataclasses.dataclass(frozen=True, eq=False)
class TreeBatch:
    """G trees of B branches each, padded to one shape; the arrays that a step takes.

    prefix_ids[G,P], prefix_length[G]; branch_ids, branch_depth, branch_end [G,B,S]; read[G,B,R];
    slot_row, slot_id, slot_weight [G,B,A].  Padding: length 0, end 0, weight 0.
    """

    prefix_ids: np.ndarray
    prefix_length: np.ndarray
    branch_ids: np.ndarray
    branch_depth: np.ndarray
    branch_end: np.ndarray
    read: np.ndarray
    slot_row: np.ndarray
    slot_id: np.ndarray
    slot_weight: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def empty_batch(*, trees: int, branches: int, shape: TreeShape) -> TreeBatch:
    """A batch of padding, to be filled by `put_tree`."""

    def zeros(*size: int) -> np.ndarray:
        return np.zeros(size, np.int32)

    return TreeBatch(
        prefix_ids=zeros(trees, shape.prefix),
        prefix_length=zeros(trees),
        branch_ids=zeros(trees, branches, shape.branch),
        branch_depth=zeros(trees, branches, shape.branch),
        branch_end=zeros(trees, branches, shape.branch),
        read=zeros(trees, branches, shape.reads),
        slot_row=zeros(trees, branches, shape.slots),
        slot_id=zeros(trees, branches, shape.slots),
        slot_weight=np.zeros((trees, branches, shape.slots), np.float32),
    )


def put_tree(batch: TreeBatch, g: int, prefix: np.ndarray, branches: Sequence[Branch]) -> None:
    """Writes one tree at position g; every part must fit the batch's shape."""
    batch.prefix_ids[g, : len(prefix)] = prefix
    batch.prefix_length[g] = len(prefix)
    for b, branch in enumerate(branches):
        s, r, a = len(branch.ids), len(branch.read), len(branch.slot_id)
        batch.branch_ids[g, b, :s] = branch.ids
        batch.branch_depth[g, b, :s] = branch.depth
        batch.branch_end[g, b, :s] = branch.end
        batch.read[g, b, :r] = branch.read
        batch.slot_row[g, b, :a] = branch.slot_row
        batch.slot_id[g, b, :a] = branch.slot_id
        batch.slot_weight[g, b, :a] = branch.slot_weight
