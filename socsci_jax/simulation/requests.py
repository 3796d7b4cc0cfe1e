"""What is to be simulated: distinct prompts with the answers they allow, and the people each stands for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from socsci_jax.data.plan import bucket_edges
from socsci_jax.data.prompt_table import PromptTable
from socsci_jax.data.trees import Branch, TreeBatch, TreeShape, empty_batch, put_tree

# Tokens and logits that one batch may hold; small batches keep the scores of attention near the processor.
TOKENS_PER_BATCH = 8192
LOGITS_PER_BATCH = 1 << 27
BRANCHES_PER_TREE = 16


@dataclasses.dataclass(frozen=True, eq=False)
class Requests:
    """Distinct (prefix, branch) requests, and which of them answers each pair (of_pair[n])."""

    prefix: np.ndarray
    prompt: np.ndarray
    kind: np.ndarray  # what else tells requests apart: the index of the answer trie
    of_pair: np.ndarray


def distinct_requests(table: PromptTable, kind_of_pair: np.ndarray) -> Requests:
    """Equal prompts with equal allowed answers are computed once."""
    frame = pl.DataFrame({"prefix": table.pair_prefix, "prompt": table.pair_prompt, "kind": kind_of_pair})
    unique = frame.unique().sort(frame.columns).with_row_index("request")
    of_pair = frame.join(unique, on=frame.columns, how="left", maintain_order="left")["request"]
    return Requests(
        prefix=unique["prefix"].to_numpy(),
        prompt=unique["prompt"].to_numpy(),
        kind=unique["kind"].to_numpy(),
        of_pair=of_pair.to_numpy(),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class RequestBatch:
    """A batch of trees, and the request that stands at each branch [G, B]; -1 is padding."""

    trees: TreeBatch
    request: np.ndarray


def batches_of_requests(
    prefixes: Sequence[np.ndarray],
    prefix_of_request: np.ndarray,
    branches: Sequence[Branch],
    *,
    vocab_size: int,
    multiple_of_trees: int = 1,
) -> Iterator[RequestBatch]:
    """Trees of requests that share a prefix, in batches of a few static shapes."""
    prefix_tokens = np.array([len(ids) for ids in prefixes])[prefix_of_request]
    branch_tokens = np.array([len(branch.ids) for branch in branches])
    reads = np.array([len(branch.read) for branch in branches])
    slots = np.array([len(branch.slot_id) for branch in branches])
    ones = np.ones(len(branches))
    prefix_edges = bucket_edges(prefix_tokens, counts=ones, buckets=4, multiple=8)
    branch_edges = bucket_edges(branch_tokens, counts=ones, buckets=4, multiple=8)
    bucket = np.searchsorted(prefix_edges, prefix_tokens) * len(branch_edges) + np.searchsorted(
        branch_edges, branch_tokens
    )
    for chosen in np.unique(bucket):
        members = np.flatnonzero(bucket == chosen)
        shape = TreeShape(
            prefix=int(prefix_edges[chosen // len(branch_edges)]),
            branch=int(branch_edges[chosen % len(branch_edges)]),
            reads=int(reads[members].max()),
            slots=int(slots[members].max()),
        )
        groups: dict[int, list[int]] = {}
        for member in members:
            groups.setdefault(int(prefix_of_request[member]), []).append(int(member))
        width = min(BRANCHES_PER_TREE, max(len(group) for group in groups.values()))
        trees = [group[i : i + width] for group in groups.values() for i in range(0, len(group), width)]
        per_batch = min(
            TOKENS_PER_BATCH // (shape.prefix + width * shape.branch),
            LOGITS_PER_BATCH // (width * shape.reads * vocab_size),
            len(trees),
        )
        per_batch = -(-max(1, per_batch) // multiple_of_trees) * multiple_of_trees
        for start in range(0, len(trees), per_batch):
            batch = empty_batch(trees=per_batch, branches=width, shape=shape)
            request = np.full((per_batch, width), -1, np.int64)
            for g, tree in enumerate(trees[start : start + per_batch]):
                put_tree(batch, g, prefixes[prefix_of_request[tree[0]]], [branches[i] for i in tree])
                request[g, : len(tree)] = tree
            yield RequestBatch(batch, request)
