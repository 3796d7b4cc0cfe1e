"""The law of data scaling: W(n) = a + b n^-c, fitted, with an interval for its limit a."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.optimize import minimize_scalar

from socsci_jax.evaluation import intervals
from socsci_jax.evaluation.intervals import Estimate

RESAMPLES = 1_000

# Three parameters pass through any three points.
FEWEST_SIZES = 4

# A fall by less, from the fewest to the most data, is what rounding leaves.
LEAST_FALL = 1e-6

# Below the first the law is next to level, beyond the last a step: a fit that ends there has no exponent to tell.
EXPONENTS = np.geomspace(0.02, 5.0, 60)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Saturation:
    """The fitted law; where none could be fitted, no numbers and the reason."""

    a: Estimate | None = None
    b: float | None = None
    c: float | None = None
    reason: str | None = None


def fit_saturation(
    units_r: np.ndarray,
    w_rs: np.ndarray,
    *,
    share_r: np.ndarray,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Saturation:
    """Least squares for W(n) = a + b n^-c over runs; W of a run is the mean over its studies (NaN: no value).

    `units_r` [R] (as floats) is n, `w_rs` [R, S] the distances, `share_r` [R] tells which runs differ by nothing but their
    seed.  The interval of a is that of the 2.5 and 97.5 % points over resamples, in each of which the studies are
    drawn anew, the same for all runs, and the seeds of each share; there is none below two studies.
    """
    known = np.isfinite(w_rs).any(axis=0)
    w_rs, studies = w_rs[:, known], int(known.sum())
    if studies == 0:
        return Saturation(reason="no run has a distance here")
    sizes = min(len(np.unique(share_r)), len(np.unique(units_r)))
    if sizes < FEWEST_SIZES:
        return Saturation(
            reason=f"its three parameters need at least {FEWEST_SIZES} different amounts of data, here are {sizes}"
        )
    counts_bs = intervals.resample_counts(studies, rng=rng, resamples=resamples)
    w_br = np.stack([intervals.mean_over(counts_bs, w_s) for w_s in w_rs], axis=1)
    run_br = _resampled_seeds(share_r, resamples=resamples, rng=rng)
    fits = [_fit(units_r[run_r], w_r[run_r]) for w_r, run_r in zip(w_br, run_br, strict=True)]
    _, b, c = fits[0]
    if b * (units_r.min() ** -c - units_r.max() ** -c) < LEAST_FALL:
        return Saturation(reason="the distance does not fall with more data")
    if c == EXPONENTS[0]:
        return Saturation(reason="the distance falls too little with more data to say where it levels off")
    if c == EXPONENTS[-1]:
        return Saturation(reason="the distance is level from the second amount of data on")
    a = intervals.estimate(np.array([a for a, _, _ in fits]), clusters=studies, resampled="studies", low=0.0)
    return Saturation(a=a, b=b, c=c)


def _resampled_seeds(share_r: np.ndarray, *, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Which run stands in for each run [1 + B, R]: another seed of its share, or itself; first, all themselves."""
    run_br = np.tile(np.arange(share_r.size), (1 + resamples, 1))
    for share in np.unique(share_r):
        members = np.flatnonzero(share_r == share)
        run_br[1:, members] = rng.choice(members, size=(resamples, members.size))
    return run_br


def _fit(n_r: np.ndarray, w_r: np.ndarray) -> tuple[float, float, float]:
    """a, b, c of the best law; c is an end of EXPONENTS where the best lies there or beyond."""
    x_r = n_r / n_r.max()
    best = int(np.argmin(_profile(EXPONENTS, x_r, w_r)[2]))
    c = EXPONENTS[best]
    if 0 < best < EXPONENTS.size - 1:
        # The best exponent of a grid, then the best between its neighbors.
        minimum = minimize_scalar(
            lambda log_c: _profile(np.exp([log_c]), x_r, w_r)[2][0],
            bounds=tuple(np.log(EXPONENTS[[best - 1, best + 1]])),
            method="bounded",
            options={"xatol": 1e-6},
        )
        c = float(np.exp(minimum.x))
    a_c, b_c, _ = _profile(np.array([c]), x_r, w_r)
    return float(a_c[0]), float(b_c[0] * n_r.max() ** c), float(c)


def _profile(c_c: np.ndarray, x_r: np.ndarray, w_r: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For given exponents the best a, b >= 0 of w = a + b x^-c, and the sum of squares left [C] each."""
    z_cr = x_r ** -c_c[:, None]
    centered_cr = z_cr - z_cr.mean(axis=1, keepdims=True)
    b_c = np.maximum(0.0, centered_cr @ w_r / (centered_cr**2).sum(axis=1))
    a_c = w_r.mean() - b_c * z_cr.mean(axis=1)
    # Where the floor would lie below zero, the best law has none.
    through_zero = z_cr @ w_r / (z_cr**2).sum(axis=1)
    a_c, b_c = np.where(a_c < 0, 0.0, a_c), np.where(a_c < 0, through_zero, b_c)
    left_cr = w_r - a_c[:, None] - b_c[:, None] * z_cr
    return a_c, b_c, (left_cr**2).sum(axis=1)
