"""What is asked of each branch of a prompt tree, and what such targets are made of."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
import polars as pl

from socsci_jax.data.contrasts import ContrastTargets
from socsci_jax.data.refusals import Refusal
from socsci_jax.data.tries import AnswerTrie

Kind = Literal["answers", "pairs", "distributions", "nothing"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Targets:
    """Which targets training shards hold.

    pairs: for each response `pairs_per_response` others' different answers to the same item, drawn with `seed`.
    distributions: for each response the histogram over its item's levels of all trained people who are alike in the
    attributes `condition_on` (none: all who answered the item); with `in_order` only of scales whose levels have one.
    nothing: none but those of `contrasts`, which stand alongside any kind.
    """

    kind: Kind = "answers"
    pairs_per_response: int = 1
    condition_on: tuple[str, ...] = ()
    in_order: bool = False
    seed: int = 0
    contrasts: ContrastTargets | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Comparisons:
    """C sets of up to L answers that a prompt's objective weighs against each other, answer l of set c being the
    target slots path[c, l] of the branch (padded with -1; nothing but padding is no answer).

    target[c, l]: the share that an answer should get; of a pair 1 for the chosen, which stands first.
    gap[c, l]: how far the next answer is on the scale, whose range is 1 (0 for the last).
    weight[c]: responses that the set stands for.
    """

    path: np.ndarray
    target: np.ndarray
    gap: np.ndarray
    weight: np.ndarray

    @property
    def count(self) -> int:
        return len(self.weight)


NO_COMPARISONS = Comparisons(
    path=np.zeros((0, 0, 0), np.int32),
    target=np.zeros((0, 0), np.float32),
    gap=np.zeros((0, 0), np.float32),
    weight=np.zeros(0, np.float32),
)


@dataclasses.dataclass(frozen=True, eq=False)
class BranchTargets:
    """Answers of a branch: distinct texts, how often each was given, and for comparisons what stands in each set.

    answers[c] are indices into texts; target[c] and gap[c] go with them.
    """

    texts: tuple[str, ...]
    counts: tuple[float, ...]
    answers: tuple[tuple[int, ...], ...] = ()
    target: tuple[tuple[float, ...], ...] = ()
    gap: tuple[tuple[float, ...], ...] = ()
    weight: tuple[float, ...] = ()

    def comparisons(self, trie: AnswerTrie) -> Comparisons:
        """The sets as paths in the trie of `texts`."""
        if not self.answers:
            return NO_COMPARISONS
        shape = (len(self.answers), max(map(len, self.answers)))
        path = np.full((*shape, trie.path.shape[1]), -1, np.int32)
        target, gap = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        for c, answers in enumerate(self.answers):
            path[c, : len(answers)] = trie.path[list(answers)]
            target[c, : len(answers)] = self.target[c]
            gap[c, : len(answers)] = self.gap[c]
        return Comparisons(path, target, gap, np.array(self.weight, np.float32))


@dataclasses.dataclass(frozen=True, eq=False)
class TargetTable:
    """One row a branch, sorted by (prefix, rank), with its targets; and responses that have none, with reasons.

    `branches` has columns prefix and rank; `refused` item_id, reason and responses.
    """

    branches: pl.DataFrame
    targets: list[BranchTargets]
    refused: pl.DataFrame


def no_rows() -> pl.DataFrame:
    return refused_rows([])


def refused_rows(rows: list[Refusal]) -> pl.DataFrame:
    return pl.DataFrame(
        rows, schema={"item_id": pl.String, "reason": pl.String, "responses": pl.Int64}, orient="row"
    )
