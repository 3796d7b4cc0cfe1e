"""Do predicted condition means move with people's, within an outcome?"""

from __future__ import annotations

import math

import numpy as np

from socsci_jax.evaluation.metric import EffectMetric, Metric
from socsci_jax.evaluation.metrics.effects import FEWEST_CONTRASTS, correlation
from socsci_jax.evaluation.metrics.moments import ZERO, moments_with_error


def centered_corrected_correlation(sums: np.ndarray) -> np.ndarray:
    """As `corrected_correlation` for values whose means were taken out before: only second moments count."""
    _, _, _, xx, yy, xy, se2 = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        r = xy / np.sqrt(xx * (yy - se2))
        return np.where((xx > ZERO**2) & (yy - se2 > 0), np.clip(r, -1, 1), np.nan)


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


METRICS: tuple[Metric, ...] = (
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
        fewest=FEWEST_CONTRASTS,
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
        fewest=FEWEST_CONTRASTS,
        terms=moments_with_error,
        of=centered_corrected_correlation,
    ),
    EffectMetric(
        name="condition_sensitivity_slope",
        title="Slope of people's condition means on predicted ones, within outcomes (above 1 differences are predicted too small)",
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
        fewest=FEWEST_CONTRASTS,
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
)
