"""Tests of single effects: which of people's are reliable, which predicted ones are equivalent to people's."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri

from socsci_jax.evaluation.metric import Metric

# Effects are equivalent where they differ by less than this share of the scale's range.
MARGIN = 0.05


def p_values(effect: np.ndarray, se2: np.ndarray) -> np.ndarray:
    """Two-sided normal p-values of effects with squared standard errors."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return 2 * ndtr(-np.abs(effect) / np.sqrt(se2))


def benjamini_hochberg(p_k: np.ndarray, *, level: float = 0.05) -> np.ndarray:
    """Which p-values are rejected at a false discovery rate (Benjamini and Hochberg 1995); NaN never is."""
    p = np.where(np.isnan(p_k), 1.0, p_k)
    order = np.argsort(p)
    below = p[order] <= level * np.arange(1, p.size + 1) / max(p.size, 1)
    rejected = np.zeros(p.size, dtype=bool)
    if below.any():
        rejected[order[: int(np.flatnonzero(below)[-1]) + 1]] = True
    return rejected


def equivalent(h: np.ndarray, l: np.ndarray, se2: np.ndarray, *, margin: float) -> np.ndarray:  # noqa: E741
    """Whether the difference l − h lies within ± margin by two one-sided tests at 5 % (Schuirmann 1987)."""
    return np.abs(l - h) + ndtri(0.95) * np.sqrt(se2) < margin


METRICS: tuple[Metric, ...] = (
    Metric(
        name="reliable_sign_agreement",
        title="Sign agreement on effects that people show reliably",
        unit="share of reliable contrasts",
        high=1.0,
        better="higher",
        aggregation="clusters",
        digits=2,
        citation="Benjamini and Hochberg 1995, JRSS B 57(1)",
        formula="sign agreement over contrasts whose p-value is rejected at a false discovery rate of 0.05",
        trap="Reliable effects are the large ones: it says nothing of the others. Not a headline metric.",
        example="Of 4 reliable contrasts 3 have the right sign: 0.75.",
    ),
    Metric(
        name="effect_equivalence",
        title=f"Effects predicted within ± {MARGIN:g} of the range, as two one-sided tests say",
        unit="share of contrasts",
        high=1.0,
        better="higher",
        aggregation="clusters",
        digits=2,
        citation="Schuirmann 1987, Journal of Pharmacokinetics and Biopharmaceutics 15(6)",
        formula="mean of 1[|l − h| + 1.645 · se_h < margin]",
        trap="Where people's errors exceed the margin nothing is equivalent, whatever the model. Not a headline metric.",
        example="|l − h| = 0.01, se = 0.02, margin 0.05: 0.043 < 0.05, so yes.",
    ),
)
