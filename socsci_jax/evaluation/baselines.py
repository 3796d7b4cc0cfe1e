"""Predictors that need no model.  A figure means little until it stands beside theirs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from socsci_jax.evaluation.distances import histogram


def uniform(levels: int) -> np.ndarray:
    """Every level equally likely."""
    return np.full(levels, 1 / levels)


def training_shapes(training_items: Iterable[tuple[np.ndarray, int]]) -> Mapping[int, np.ndarray]:
    """Mean histogram of training items by number of levels, each item counting once, oriented as it is.

    `training_items` are (level indices of the training answers [N], number of levels).
    """
    sums: dict[int, np.ndarray] = {}
    counts: dict[int, int] = {}
    for codes_n, levels in training_items:
        sums[levels] = sums.get(levels, np.zeros(levels)) + histogram(codes_n, levels=levels)
        counts[levels] = counts.get(levels, 0) + 1
    return {levels: total / counts[levels] for levels, total in sums.items()}


def pooled(all_counts_l: np.ndarray, own_counts_l: np.ndarray) -> np.ndarray | None:
    """Answers to the same (study, outcome, levels) in all conditions, without the answers to be predicted.

    It knows the study's people and nothing of the treatment.  None where no other answer exists.
    """
    others = all_counts_l - own_counts_l
    total = others.sum()
    return others / total if total > 0 else None


def half_histograms(
    codes_n: np.ndarray, *, levels: int, splits: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Two disjoint random halves of N // 2 answers each, `splits` times: histograms [R, L], [R, L]."""
    half = codes_n.size // 2
    order = np.argsort(rng.random((splits, codes_n.size)), axis=1)
    shuffled = codes_n[order[:, : 2 * half]] + levels * np.arange(splits)[:, None]

    def count(part: np.ndarray) -> np.ndarray:
        return np.bincount(part.ravel(), minlength=splits * levels).reshape(splits, levels) / half

    return count(shuffled[:, :half]), count(shuffled[:, half:])


def sample_histogram(q_l: np.ndarray, *, n: int, rng: np.random.Generator) -> np.ndarray:
    """Histogram of n draws from one distribution."""
    return rng.multinomial(n, q_l / q_l.sum()) / n


def sample_rows(probs_nl: np.ndarray, *, rng: np.random.Generator) -> np.ndarray:
    """One draw (level index) from each row of `probs_nl` [N, L]."""
    cumulative = np.cumsum(probs_nl, axis=1)
    at = rng.random((probs_nl.shape[0], 1)) * cumulative[:, -1:]
    return (cumulative <= at).sum(axis=1).clip(max=probs_nl.shape[1] - 1)
