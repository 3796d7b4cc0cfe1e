"""Do predictions move with the conditions as people do?

A predictor that ignores the treatment can win on every distance between distributions, so effects are judged
on their own.  h and l are human and predicted differences in mean position (0 to 1 on the item's scale).
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import polars as pl
from scipy.stats import norm

from socsci_jax.evaluation.metric import EffectMetric, Metric

# Below this a difference of means is nothing but rounding.
ZERO = 1e-12
# Effects are equivalent where they differ by less than this share of the scale's range.
MARGIN = 0.05


@dataclasses.dataclass(frozen=True)
class Contrasts:
    """Index pairs into the condition means: effect = mean[treated] − mean[reference], all arrays [K].

    `undirected` marks pairs without a control, whose direction is arbitrary.
    """

    treated: np.ndarray
    reference: np.ndarray
    undirected: np.ndarray


def contrasts(group_c: np.ndarray, is_control_c: np.ndarray) -> Contrasts:
    """Each condition against its control where one is known in the group, else all pairs of the group.

    `group_c` [C] numbers the (study, outcome) of each condition mean.
    """
    treated, reference, undirected = [], [], []
    for group in np.unique(group_c):
        members = np.flatnonzero(group_c == group)
        controls = members[is_control_c[members]]
        arms = members[~is_control_c[members]]
        directed = controls.size > 0 and arms.size > 0
        if directed:
            i, j = (side.ravel() for side in np.meshgrid(arms, controls, indexing="ij"))
        else:
            i, j = (members[side] for side in np.triu_indices(members.size, k=1))
        treated.append(i)
        reference.append(j)
        undirected.append(np.full(i.size, not directed))
    if not treated:
        return Contrasts(np.zeros(0, int), np.zeros(0, int), np.zeros(0, bool))
    return Contrasts(np.concatenate(treated), np.concatenate(reference), np.concatenate(undirected))


def sign_agreement(h: np.ndarray, l: np.ndarray) -> np.ndarray:  # noqa: E741
    """1 where both effects have the same sign, 0 where they differ, 1/2 where either is exactly zero."""
    sign_h = np.where(np.abs(h) < ZERO, 0, np.sign(h))
    sign_l = np.where(np.abs(l) < ZERO, 0, np.sign(l))
    return 0.5 + 0.5 * sign_h * sign_l


def moments(x: np.ndarray, y: np.ndarray, *, undirected: np.ndarray | bool = False) -> np.ndarray:
    """Terms [..., K, 6] whose sums give a correlation: 1, x, y, x², y², xy.

    A pair whose direction is arbitrary counts half in each direction, so its linear terms vanish: the
    correlation does not depend on the order in which conditions are named.
    """
    linear = np.where(undirected, 0.0, 1.0)
    return np.stack([np.ones_like(x), linear * x, linear * y, x * x, y * y, x * y], axis=-1)


def moments_with_error(h: np.ndarray, l: np.ndarray, se2: np.ndarray, undirected: np.ndarray) -> np.ndarray:  # noqa: E741
    """Terms [..., K, 7]: `moments` of predicted l and human h, and the squared standard error of h."""
    terms = moments(l, h, undirected=undirected)
    return np.concatenate([terms, np.broadcast_to(se2, h.shape)[..., None]], axis=-1)


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


def centered_corrected_correlation(sums: np.ndarray) -> np.ndarray:
    """As `corrected_correlation` for values whose means were taken out before: only second moments count."""
    _, _, _, xx, yy, xy, se2 = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        r = xy / np.sqrt(xx * (yy - se2))
        return np.where((xx > ZERO**2) & (yy - se2 > 0), np.clip(r, -1, 1), np.nan)


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


def slope_of_human(sums: np.ndarray) -> np.ndarray:
    """Slope of human on predicted, both centered: below 1 the model exaggerates, above 1 it shrinks effects."""
    _, _, _, predicted, _, product = np.moveaxis(sums[..., :6], -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(predicted > ZERO**2, product / predicted, np.nan)


def spread_ratio(sums: np.ndarray) -> np.ndarray:
    """Standard deviation of predicted over that of human condition means, both centered."""
    _, _, _, predicted, human, _ = np.moveaxis(sums[..., :6], -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(human > ZERO**2, np.sqrt(predicted / human), np.nan)


def corrected_spread_ratio(sums: np.ndarray) -> np.ndarray:
    """As `spread_ratio`, over the human spread without its sampling error; NaN where nothing of it remains."""
    _, _, _, predicted, human, _, se2 = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(human - se2 > 0, np.sqrt(predicted / (human - se2)), np.nan)


def rmse(means: np.ndarray) -> np.ndarray:
    """Root of the mean squared error, from means of squared errors [..., 1]."""
    return np.sqrt(means[..., 0])


def corrected_rmse(means: np.ndarray) -> np.ndarray:
    """√(mean (h − l)² − mean se²) from their means [..., 2]; 0 where that is negative."""
    return np.sqrt(np.maximum(means[..., 0] - means[..., 1], 0))


def p_values(effect: np.ndarray, se2: np.ndarray) -> np.ndarray:
    """Two-sided normal p-values of effects with squared standard errors."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return 2 * norm.sf(np.abs(effect) / np.sqrt(se2))


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
    return np.abs(l - h) + norm.ppf(0.95) * np.sqrt(se2) < margin


def centered(values_c: np.ndarray, group_c: np.ndarray) -> np.ndarray:
    """Values [..., C] minus the mean of their group; `group_c` [C] holds numbers from 0."""
    size = np.bincount(group_c)
    if values_c.ndim == 1:
        with np.errstate(invalid="ignore"):
            means = np.bincount(group_c, weights=values_c) / size
        return values_c - means[group_c]
    member = np.zeros((group_c.size, size.size))
    member[np.arange(group_c.size), group_c] = 1
    return values_c - ((values_c @ member) / size)[..., group_c]


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
    shuffled = np.stack([predicted[np.lexsort((rng.random(group.size), group))] for _ in range(permutations)])
    return correlation(moments(shuffled, np.broadcast_to(human, shuffled.shape)).sum(axis=1))


def recovered_effects(positions: pl.DataFrame, truth: pl.DataFrame) -> float | None:
    """Correlation of predicted effects with known true ones, for data whose truth is known.

    `positions` has item_id, study_id, outcome and `predicted` (mean position, 0 to 1); `truth` has item_id and
    `mean_position`.  Effects are departures from the mean of the (study, outcome).  None where undefined.
    """
    pairs = effects_and_truth(positions, truth)
    if pairs.is_empty():
        return None
    terms = moments(pairs["predicted"].to_numpy(), pairs["true"].to_numpy())
    r = float(correlation(terms.sum(axis=0)))
    return r if np.isfinite(r) else None


def effects_and_truth(positions: pl.DataFrame, truth: pl.DataFrame) -> pl.DataFrame:
    """study_id, outcome, `predicted` and `true` of each item, centered within its (study, outcome)."""
    within = ["study_id", "outcome"]
    kept = [*within, *(name for name in ("condition",) if name in positions.columns)]
    return (
        positions.join(truth.select("item_id", "mean_position"), on="item_id", maintain_order="left")
        .filter(pl.col("predicted").is_finite())
        .select(
            *kept,
            predicted=pl.col("predicted") - pl.col("predicted").mean().over(within),
            true=pl.col("mean_position") - pl.col("mean_position").mean().over(within),
        )
    )


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
        terms=moments_with_error,
        of=intercept,
    ),
    EffectMetric(
        name="condition_sensitivity_r",
        title="Condition sensitivity, r within outcome",
        unit="r",
        low=-1.0,
        high=1.0,
        better="higher",
        transform="fisher_z",
        centered=True,
        digits=2,
        citation="–",
        formula="r of human and predicted condition means, each less the mean of its outcome",
        trap="Weighs outcomes by their spread: a few studies with large effects may carry it.",
        example="One outcome, people (1, 2, 3), model (2, 2, 5): departures (−1, 0, 1), (−1, −1, 2), r = 3/√(2 · 6) = 0.866.",
        terms=moments_with_error,
        of=correlation,
    ),
    EffectMetric(
        name="condition_sensitivity_r_adjusted",
        title="Condition sensitivity, corrected for people's sampling error",
        unit="r",
        low=-1.0,
        high=1.0,
        better="higher",
        transform="fisher_z",
        centered=True,
        digits=2,
        citation="Spearman 1904",
        formula="Σ l h / √(Σ l² · (Σ h² − Σ var(error of h))), centered within outcome, clipped to [−1, 1]",
        trap="Undefined where people's condition means vary no more than their errors.",
        example="Σ l h = 4, Σ l² = 5, Σ h² = 7, error 2: 4 / √25 = 0.8.",
        terms=moments_with_error,
        of=centered_corrected_correlation,
    ),
    EffectMetric(
        name="condition_sensitivity_slope",
        title="Slope of people on model within outcome (1 is right, above 1 effects are too small)",
        unit="ratio",
        low=-math.inf,
        better="target",
        target=1.0,
        centered=True,
        digits=2,
        citation="Calibration slope: Cox 1958, Biometrika 45",
        formula="Σ l h / Σ l², centered within outcome",
        trap="1 can be had with r near 0 and a tiny range of predictions.",
        example="l = (−1, 1), h = (−2, 2): 4 / 2 = 2.",
        terms=moments_with_error,
        of=slope_of_human,
    ),
    EffectMetric(
        name="condition_sensitivity_spread_ratio",
        title="Spread of condition means, model over people",
        unit="ratio",
        better="target",
        target=1.0,
        centered=True,
        digits=2,
        citation="–",
        formula="√(Σ l² / Σ h²), centered within outcome",
        trap="People's spread contains their sampling error: a right model comes out below 1.",
        example="l = (−1, 1), h = (−2, 2): √(2/8) = 0.5.",
        terms=moments_with_error,
        of=spread_ratio,
    ),
    EffectMetric(
        name="condition_sensitivity_spread_ratio_adjusted",
        title="Spread of condition means over people's without their sampling error",
        unit="ratio",
        better="target",
        target=1.0,
        centered=True,
        digits=2,
        citation="–",
        formula="√(Σ l² / (Σ h² − Σ var(error of h))), centered within outcome",
        trap="Undefined where people's condition means vary no more than their errors.",
        example="Σ l² = 2, Σ h² = 8, error 6: 1.",
        terms=moments_with_error,
        of=corrected_spread_ratio,
    ),
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
