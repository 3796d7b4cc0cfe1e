"""Intervals by resampling whole clusters (studies), vectorised over the resamples.

Answers of one study share its topic, people and wording: intervals over answers or simulated people would be
absurdly narrow.  Every statistic below is a function of how often each cluster was drawn, so that all figures
of a part, and their differences, rest on the very same resamples.
"""

from __future__ import annotations

import dataclasses

import numpy as np

RESAMPLES = 2_000


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % percentile interval; lo and hi are None where there is no interval."""

    value: float | None
    lo: float | None = None
    hi: float | None = None


def resample_counts(clusters: int, *, rng: np.random.Generator, resamples: int = RESAMPLES) -> np.ndarray:
    """How often each cluster was drawn [1 + B, S]; the first row is all ones: the sample itself."""
    drawn = rng.integers(clusters, size=(resamples, clusters)) + clusters * np.arange(resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=resamples * clusters).reshape(resamples, clusters)
    return np.vstack([np.ones((1, clusters), dtype=counts.dtype), counts])


def mean_over(counts_bs: np.ndarray, values_s: np.ndarray) -> np.ndarray:
    """Mean [1 + B] of one value per cluster; clusters with NaN take no part."""
    known = np.isfinite(values_s)
    weight = counts_bs[:, known].sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (counts_bs[:, known] @ values_s[known]) / weight


def estimate(replicates_b: np.ndarray, *, clusters: int) -> Estimate:
    """The first replicate, with the 2.5 and 97.5 % points of the others; no interval below two clusters.

    Resamples in which the statistic is undefined are left out.
    """
    value = float(replicates_b[0])
    if not np.isfinite(value):
        return Estimate(None)
    resampled = replicates_b[1:][np.isfinite(replicates_b[1:])]
    if clusters < 2 or resampled.size == 0:
        return Estimate(value)
    lo, hi = np.quantile(resampled, [0.025, 0.975])
    return Estimate(value, float(lo), float(hi))


def mean_estimate(counts_bs: np.ndarray, values_s: np.ndarray) -> Estimate:
    """Mean over clusters with its interval."""
    if not np.isfinite(values_s).any():
        return Estimate(None)
    return estimate(mean_over(counts_bs, values_s), clusters=int(np.isfinite(values_s).sum()))
