"""Intervals by resampling whole clusters (studies), vectorized over the resamples.

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


def point(value: float) -> Estimate:
    """A figure without an interval; None where it is not finite."""
    return Estimate(float(value) if np.isfinite(value) else None)


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


def sum_by(terms: np.ndarray, cluster: np.ndarray, clusters: int) -> np.ndarray:
    """Sums [S, ...] of rows by cluster."""
    sums = np.zeros((clusters, *terms.shape[1:]))
    np.add.at(sums, cluster, terms)
    return sums


def mean_by(values: np.ndarray, cluster: np.ndarray, clusters: int) -> np.ndarray:
    """Means [S] by cluster, NaN for a cluster without values."""
    n = np.bincount(cluster, minlength=clusters)
    with np.errstate(invalid="ignore"):
        return np.where(n > 0, np.bincount(cluster, weights=values, minlength=clusters) / n, np.nan)


@dataclasses.dataclass(frozen=True)
class Clusters:
    """The cluster of each row [K] of what is resampled, and how often each cluster was drawn [1 + B, S].

    `said` is what the convention of a figure adds where clusters are not studies.
    """

    of_row: np.ndarray
    counts_bs: np.ndarray
    said: str = ""

    def rows(self, chosen: np.ndarray) -> Clusters:
        return dataclasses.replace(self, of_row=self.of_row[chosen])

    def sums(self, terms: np.ndarray) -> np.ndarray:
        """Sums [1 + B, ...] over the rows of `terms` [K, ...]."""
        return self.counts_bs @ sum_by(terms, self.of_row, self.counts_bs.shape[1])

    def means(self, values: np.ndarray) -> np.ndarray:
        """Means [1 + B] over clusters of the means of their rows; `values` [K]."""
        return mean_over(self.counts_bs, mean_by(values, self.of_row, self.counts_bs.shape[1]))

    def estimate(self, replicates_b: np.ndarray) -> Estimate:
        return estimate(replicates_b, clusters=len(np.unique(self.of_row)))
