"""Tries of answers: several token sequences that continue one prompt, laid out so that each token stands once.

The end of an answer is part of it: every answer closes with the tokenizer's end-of-answer id, so that the
probability of "1" is not that of the beginning of "10".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from socsci_jax.errors import InputError
from socsci_jax.wording import counted


@dataclasses.dataclass(frozen=True, eq=False)
class AnswerTrie:
    """A set of answers as a trie in depth-first preorder.

    Nodes are the tokens that are fed to the model (n of them); node 0 is the first after the prompt.
      node_id[n], node_depth[n] (0 = directly after the prompt), node_end[n]: node j is an ancestor of node i, or
      i itself, iff j <= i < node_end[j].
    Edges are what is predicted (e of them): `edge_id[e]` is predicted at read `edge_read[e]`, where read 0 is the
      last token of the prompt and read i + 1 is node i.
    path[a, d] lists the edges of answer a, padded with -1.
    """

    node_id: np.ndarray
    node_depth: np.ndarray
    node_end: np.ndarray
    edge_read: np.ndarray
    edge_id: np.ndarray
    path: np.ndarray

    @property
    def num_nodes(self) -> int:
        return len(self.node_id)

    def edge_weights(self, answer_weights: Sequence[float]) -> np.ndarray:
        """Weight of each edge [e]: the summed weights of the answers that run through it.

        The sum over edges of weight x log-probability equals the sum over answers of weight x log-probability.
        """
        weights = np.zeros(len(self.edge_id), np.float64)
        for path, weight in zip(self.path, answer_weights, strict=True):
            weights[path[path >= 0]] += weight
        return weights.astype(np.float32)

    def answer_log_probs(self, edge_log_probs: np.ndarray) -> np.ndarray:
        """Log-probabilities of whole answers [..., a] from those of the edges [..., e]."""
        padded = np.concatenate([edge_log_probs, np.zeros_like(edge_log_probs[..., :1])], axis=-1)
        return padded[..., self.path].sum(axis=-1)


def _nothing() -> np.ndarray:
    return np.zeros(0, np.int32)


# For a prompt whose answers are not known: only its last token is read.
NO_ANSWERS = AnswerTrie(*(_nothing() for _ in range(5)), path=np.zeros((0, 0), np.int32))


def build_trie(answers: Sequence[Sequence[int]], *, end_id: int) -> AnswerTrie:
    """The trie of token sequences (without the closing id, which is added here).

    Raises InputError if two answers are the same tokens or one is empty: they could not be told apart.
    """
    closed = [(*answer, end_id) for answer in answers]
    if len(set(closed)) != len(closed) or any(len(answer) < 2 for answer in closed):
        raise InputError(
            f"the {counted(len(closed), 'answer')} of an item are not distinct non-empty token sequences under this tokenizer."
        )
    node_id: list[int] = []
    node_depth: list[int] = []
    node_end: list[int] = []
    edge_read: list[int] = []
    edge_id: list[int] = []
    paths: list[list[int]] = [[] for _ in closed]

    def grow(members: list[int], depth: int, read: int) -> None:
        children: dict[int, list[int]] = {}
        for member in members:
            children.setdefault(closed[member][depth], []).append(member)
        for token, below in children.items():
            for member in below:
                paths[member].append(len(edge_id))
            edge_read.append(read)
            edge_id.append(token)
            deeper = [member for member in below if len(closed[member]) > depth + 1]
            if deeper:
                node = len(node_id)
                node_id.append(token)
                node_depth.append(depth)
                node_end.append(0)
                grow(deeper, depth + 1, node + 1)
                node_end[node] = len(node_id)

    grow(list(range(len(closed))), 0, 0)
    longest = max(map(len, paths))
    path = np.full((len(paths), longest), -1, np.int32)
    for row, edges in zip(path, paths):
        row[: len(edges)] = edges
    return AnswerTrie(
        node_id=np.array(node_id, np.int32),
        node_depth=np.array(node_depth, np.int32),
        node_end=np.array(node_end, np.int32),
        edge_read=np.array(edge_read, np.int32),
        edge_id=np.array(edge_id, np.int32),
        path=path,
    )
