"""Intervals by resampling whole clusters, vectorized over the resamples.

Answers of one study share its topic, people and wording: intervals over answers or simulated people would be
absurdly narrow.  Every statistic below is a function of how often each cluster was drawn, so that all values
of a part, and their differences, rest on the very same resamples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from scipy.special import ndtri, stdtrit

from socsci_jax.evaluation.metric import Transform

RESAMPLES = 2_000
# With fewer clusters no interval is given: a t interval over three of them is honest and says nothing.
FEWEST_CLUSTERS = 4
# From here on percentiles of the resamples; below, they undercover, and the resamples give only a standard error.
PERCENTILES_FROM = 100


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; lo and hi are None where there is no interval."""

    value: float | None
    lo: float | None = None
    hi: float | None = None
    resampled: str | None = None
    flag: str | None = None

    @property
    def excludes_zero(self) -> bool:
        return self.lo is not None and self.hi is not None and (self.lo > 0 or self.hi < 0)


def point(value: float) -> Estimate:
    """A value without an interval; None where it is not finite."""
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


def estimate(
    replicates_b: np.ndarray,
    *,
    clusters: int,
    resampled: str | None = None,
    transform: Transform = "identity",
    low: float = -np.inf,
    high: float = np.inf,
) -> Estimate:
    """The first replicate, with a 95 % interval from the others.

    Below FEWEST_CLUSTERS there is none, and the flag says so.  Below PERCENTILES_FROM it is value ± t(S − 1) · se, the
    standard error being that of the resamples times √(S / (S − 1)), which for a mean is the usual one; the interval
    is made on the scale of `transform` and ends at `low` and `high`.  From there on it is the 2.5 and 97.5 %
    points.  Resamples in which the statistic is undefined are excluded; where they are most, there is no interval.
    """
    value = float(replicates_b[0])
    if not np.isfinite(value):
        return Estimate(None)
    others = replicates_b[1:]
    defined = others[np.isfinite(others)]
    if clusters < FEWEST_CLUSTERS:
        return Estimate(value, flag=f"no interval: {clusters} {resampled or 'clusters'}")
    if 2 * defined.size <= others.size:
        return Estimate(value, flag="no interval: undefined in most resamples")
    if clusters >= PERCENTILES_FROM and resampled != "participants":
        lo, hi = np.quantile(defined, [0.025, 0.975])
        return Estimate(value, float(lo), float(hi), resampled)
    forth, back = _TRANSFORMS[transform]
    factor = np.sqrt(clusters / (clusters - 1))
    with np.errstate(all="ignore"):
        middle, spread = forth(np.array(value)), np.std(forth(defined)) * factor
    quantile = ndtri(0.975) if resampled == "participants" else stdtrit(clusters - 1, 0.975)
    lo, hi = back(middle - quantile * spread), back(middle + quantile * spread)
    # Rounding on the way there and back must not move an interval past its own value.
    lo, hi = min(max(float(lo), low), value), max(min(float(hi), high), value)
    return Estimate(value, lo, hi, resampled)


def _identity(x: np.ndarray) -> np.ndarray:
    return x


def _fisher(r: np.ndarray) -> np.ndarray:
    return np.arctanh(np.clip(r, -0.999999, 0.999999))


def _log(x: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(x, 1e-12))


_Function = Callable[[np.ndarray], np.ndarray]
_TRANSFORMS: dict[Transform, tuple[_Function, _Function]] = {
    "identity": (_identity, _identity),
    "fisher_z": (_fisher, np.tanh),
    "log": (_log, np.exp),
}


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


def quantile_by(values: np.ndarray, cluster: np.ndarray, clusters: int, *, q: float) -> np.ndarray:
    """Lower quantiles [S] by cluster, NaN for a cluster without values."""
    return np.array(
        [lower_quantile(own, q) if (own := values[cluster == s]).size else np.nan for s in range(clusters)]
    )


def lower_quantile(values: np.ndarray, q: float = 0.5) -> np.ndarray:
    """Lower quantile [...] over the last axis: always one of the values, so infinite ones do no harm."""
    return np.sort(values, axis=-1)[..., int((values.shape[-1] - 1) * q)]


def weighted_quantiles(
    counts_bs: np.ndarray, values: np.ndarray, cluster: np.ndarray, *, q: float = 0.5
) -> np.ndarray:
    """Lower quantiles [1 + B] of values of which each counts as often as its cluster was drawn."""
    order = np.argsort(values)
    weight = np.cumsum(counts_bs[:, cluster[order]], axis=1)
    at = np.argmax(weight >= q * weight[:, -1:], axis=1)
    return values[order][at]
