"""Do predictions move with the conditions as people do?

A predictor that ignores the treatment can win on every distance between distributions, so effects are judged
on their own.  h and l are human and predicted differences in mean position (0 to 1 on the item's scale).
"""

from __future__ import annotations

import math

import numpy as np

from socsci_jax.evaluation.metric import EffectMetric, Metric
from socsci_jax.evaluation.metrics.moments import ZERO, moments, moments_with_error

# A line goes through any two points: their r is ±1 and their slope anything, whatever was predicted.
FEWEST_CONTRASTS = 3
PERMUTATIONS_AT_A_TIME = 100


def sign_agreement(h: np.ndarray, l: np.ndarray) -> np.ndarray:  # noqa: E741
    """1 where both effects have the same sign, 0 where they differ, 1/2 where either is exactly zero."""
    sign_h = np.where(np.abs(h) < ZERO, 0, np.sign(h))
    sign_l = np.where(np.abs(l) < ZERO, 0, np.sign(l))
    return 0.5 + 0.5 * sign_h * sign_l


def correlation(sums: np.ndarray) -> np.ndarray:
    """Pearson r [...] from sums of `moments` [..., 6]; NaN where either side does not vary."""
    n, x, y, xx, yy, xy = np.moveaxis(sums[..., :6], -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        var_x, var_y = xx / n - (x / n) ** 2, yy / n - (y / n) ** 2
        r = (xy / n - x * y / n**2) / np.sqrt(var_x * var_y)
        # Equal means differ in their last digits: a variance of 1e-30 is none.
        return np.where((n >= 2) & (var_x > ZERO**2) & (var_y > ZERO**2), np.clip(r, -1, 1), np.nan)


def corrected_correlation(sums: np.ndarray) -> np.ndarray:
    """r corrected for the sampling error of human effects: cov / (sd(l) · √(var(h) − mean se²)), clipped to [−1, 1].

    Variances have n − 1 in their denominator, so that var(h) − mean se² is unbiased.  NaN where it is not positive
    (the Silicon Sample Benchmark's final preregistration).
    """
    n, x, y, xx, yy, xy, se2 = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        var_x = (xx - x * x / n) / (n - 1)
        true = (yy - y * y / n) / (n - 1) - se2 / n
        r = (xy - x * y / n) / (n - 1) / np.sqrt(var_x * true)
        return np.where((n >= 2) & (var_x > ZERO**2) & (true > 0), np.clip(r, -1, 1), np.nan)


def slope(sums: np.ndarray) -> np.ndarray:
    """Slope [...] of human on predicted effects, with an intercept; NaN where predictions do not vary."""
    n, x, y, xx, _, xy = np.moveaxis(sums[..., :6], -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        var_x = xx / n - (x / n) ** 2
        return np.where((n >= 2) & (var_x > ZERO**2), (xy / n - x * y / n**2) / var_x, np.nan)


def intercept(sums: np.ndarray) -> np.ndarray:
    """Human effect where the predicted one is zero, by the line whose slope is `slope`."""
    n, x, y = sums[..., 0], sums[..., 1], sums[..., 2]
    with np.errstate(invalid="ignore", divide="ignore"):
        return y / n - slope(sums) * x / n


def rmse(means: np.ndarray) -> np.ndarray:
    """Root of the mean squared error, from means of squared errors [..., 1]."""
    return np.sqrt(means[..., 0])


def corrected_rmse(means: np.ndarray) -> np.ndarray:
    """√(mean (h − l)² − mean se²) from their means [..., 2]; 0 where that is negative."""
    return np.sqrt(np.maximum(means[..., 0] - means[..., 1], 0))


def permutation_null(
    predicted_c: np.ndarray,
    human_c: np.ndarray,
    group_c: np.ndarray,
    *,
    permutations: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Correlations [P] of centered values after shuffling the predictions among the conditions of an outcome.

    What remains is what a model earns that knows the outcomes and nothing of the conditions.
    """
    order = np.argsort(group_c, kind="stable")
    group, predicted, human = group_c[order], predicted_c[order], human_c[order]
    correlations = []
    for first in range(0, permutations, PERMUTATIONS_AT_A_TIME):
        some = range(first, min(first + PERMUTATIONS_AT_A_TIME, permutations))
        shuffled = np.stack([predicted[np.lexsort((rng.random(group.size), group))] for _ in some])
        correlations.append(
            correlation(moments(shuffled, np.broadcast_to(human, shuffled.shape)).sum(axis=1))
        )
    return np.concatenate(correlations)


def _agreement_terms(h: np.ndarray, l: np.ndarray, se2: np.ndarray, undirected: np.ndarray) -> np.ndarray:  # noqa: E741
    return sign_agreement(h, l)[..., None]


def _error_terms(h: np.ndarray, l: np.ndarray, se2: np.ndarray, undirected: np.ndarray) -> np.ndarray:  # noqa: E741
    return np.stack([(h - l) ** 2, np.broadcast_to(se2, h.shape)], axis=-1)


METRICS: tuple[Metric, ...] = (
    EffectMetric(
        name="effect_sign_agreement",
        title="Sign agreement of effects (guessing: 0.50)",
        unit="share of contrasts",
        high=1.0,
        better="higher",
        aggregation="clusters",
        digits=2,
        citation="–",
        formula="mean of 1[sign h = sign l], ½ where either is exactly zero",
        trap="Counts effects that are nothing but noise: with true effects of zero it is 0.5 whatever the model.",
        example="h = (0.2, −0.1, 0.1), l = (0.1, 0.1, 0): (1 + 0 + ½) / 3 = 0.5.",
        terms=_agreement_terms,
        of=lambda means: means[..., 0],
    ),
    EffectMetric(
        name="effect_r",
        title="Correlation of effects, r",
        unit="r",
        low=-1.0,
        high=1.0,
        better="higher",
        transform="fisher_z",
        digits=2,
        citation="Pearson 1895",
        formula="r of human h and predicted l over contrasts",
        trap="Pooled over outcomes it also rewards knowing which outcomes move at all; noise in h pulls it toward 0.",
        example="h = (0, 1, 2), l = (0, 2, 1): r = 0.5.",
        fewest=FEWEST_CONTRASTS,
        terms=moments_with_error,
        of=correlation,
    ),
    EffectMetric(
        name="effect_r_adjusted",
        title="Correlation of effects, corrected for people's sampling error",
        unit="r",
        low=-1.0,
        high=1.0,
        better="higher",
        transform="fisher_z",
        digits=2,
        citation="Spearman 1904; Silicon Sample Benchmark preregistration",
        formula="cov(l, h) / (sd(l) · √(var(h) − mean se_h²)), clipped to [−1, 1]",
        trap="Undefined where people's effects vary no more than their errors; unstable just above that.",
        example="var(h) = 2, mean se² = 1, var(l) = 1, cov = 0.8: 0.8 / (1 · 1) = 0.8.",
        fewest=FEWEST_CONTRASTS,
        terms=moments_with_error,
        of=corrected_correlation,
    ),
    EffectMetric(
        name="effect_rmse",
        title="Error of effects, root mean square",
        unit="range",
        better="lower",
        aggregation="clusters",
        citation="–",
        formula="√ mean (h − l)²",
        trap="Contains people's own sampling error: predicting no effect is hard to beat where effects are small.",
        example="h − l = (0.1, −0.1): 0.1.",
        terms=_error_terms,
        of=rmse,
    ),
    EffectMetric(
        name="effect_rmse_adjusted",
        title="Error of effects without people's sampling error",
        unit="range",
        better="lower",
        aggregation="clusters",
        citation="Silicon Sample Benchmark preregistration",
        formula="√(mean (h − l)² − mean se_h²), 0 with a flag where negative",
        trap="Zero means: not larger than people's own error, not: perfect.",
        flag_at_zero="not larger than people's own sampling error",
        example="mean (h − l)² = 0.01, mean se² = 0.0064: √0.0036 = 0.06.",
        terms=_error_terms,
        of=corrected_rmse,
    ),
    EffectMetric(
        name="effect_slope",
        title="Slope of people's effects on predicted ones (above 1 effects are predicted too small)",
        unit="ratio",
        low=-math.inf,
        better="target",
        target=1.0,
        digits=2,
        citation="Calibration slope: Cox 1958, Biometrika 45",
        formula="cov(l, h) / var(l), pooled over contrasts",
        trap="1 can be had with r near 0 and a tiny range of predictions.",
        example="l = (0, 1, 2), h = (0, 2, 4): 2.",
        fewest=FEWEST_CONTRASTS,
        terms=moments_with_error,
        of=slope,
    ),
    EffectMetric(
        name="effect_intercept",
        title="People's effect where none is predicted",
        unit="range",
        low=-math.inf,
        better="target",
        target=0.0,
        citation="Calibration intercept: Cox 1958, Biometrika 45",
        formula="mean h − slope · mean l",
        trap="Means nothing for contrasts without a control, whose direction is arbitrary.",
        example="l = (0, 1), h = (0.1, 1.1): slope 1, intercept 0.1.",
        fewest=FEWEST_CONTRASTS,
        terms=moments_with_error,
        of=intercept,
    ),
)
