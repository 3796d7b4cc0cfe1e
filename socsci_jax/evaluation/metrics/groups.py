"""Do predictions serve groups of people alike, and do they exaggerate how groups differ?"""

from __future__ import annotations

import math

import numpy as np

from socsci_jax.evaluation.metric import EffectMetric, Metric
from socsci_jax.evaluation.metrics.condition_sensitivity import (
    centered_corrected_correlation,
    corrected_spread_ratio,
    slope_of_human,
)
from socsci_jax.evaluation.metrics.moments import moments_with_error

# A group of fewer answers has no value of its own in a difference between groups.
LEAST_ANSWERS = 30


def disparity(by_group: np.ndarray) -> np.ndarray:
    """Worst minus best group [...] of values [..., G] (for signed errors their sizes); NaN below two groups."""
    known = np.isfinite(by_group)
    with np.errstate(invalid="ignore"):
        highest = np.where(known, by_group, -np.inf).max(axis=-1)
        lowest = np.where(known, by_group, np.inf).min(axis=-1)
    return np.where(known.sum(axis=-1) >= 2, highest - lowest, np.nan)


def _parity(of: str, title: str, unit: str) -> Metric:
    return Metric(
        name=f"parity_{of}",
        title=f"Demographic parity difference of {title}",
        unit=unit,
        better="lower",
        aggregation="items",
        citation="Agarwal et al. 2018, ICML (fairlearn)",
        formula="max over groups − min over groups, groups of at least 30 answers",
        trap="Above zero even for a perfect model: look at that of the human half. Grows with the number of groups.",
        example="Groups at 0.10, 0.12 and 0.15: 0.05.",
    )


METRICS: tuple[Metric, ...] = (
    _parity("wasserstein", "the Wasserstein distance", "range"),
    _parity("individual_accuracy_draw", "individual accuracy", "1 − range"),
    _parity("mean_error", "the size of the mean error", "range"),
    EffectMetric(
        name="group_gap_r",
        title="Correlation of gaps between groups, corrected for people's sampling error",
        unit="r",
        low=-1.0,
        high=1.0,
        better="higher",
        transform="fisher_z",
        centered=True,
        digits=2,
        citation="Spearman 1904",
        formula="r of group means less the item's mean of groups, as condition_sensitivity_r_adjusted",
        trap="Undefined where people's groups differ no more than by chance.",
        example="l = (−0.2, 0.2), h = (−0.1, 0.1), no error: 0.04 / √(0.08 · 0.02) = 1.",
        terms=moments_with_error,
        of=centered_corrected_correlation,
    ),
    EffectMetric(
        name="group_gap_slope",
        title="Slope of people's gaps between groups on predicted ones",
        unit="ratio",
        low=-math.inf,
        better="target",
        target=1.0,
        centered=True,
        digits=2,
        citation="–",
        formula="Σ l h / Σ l² of group means less the item's mean of groups",
        trap="Below 1 predicted gaps are too wide, which is stereotyping; also below 1 where gaps are wrong.",
        example="l = (−0.2, 0.2), h = (−0.1, 0.1): 0.04 / 0.08 = 0.5.",
        terms=moments_with_error,
        of=slope_of_human,
    ),
    EffectMetric(
        name="stereotyping",
        title="Spread of predicted gaps between groups over people's (above 1: stereotyping)",
        unit="ratio",
        better="target",
        target=1.0,
        centered=True,
        digits=2,
        citation="Cheng et al. 2023, ACL (CoMPosT), on exaggeration",
        formula="√(Σ l² / (Σ h² − Σ var(error of h))) of group means less the item's mean of groups",
        trap="From draws the predicted gaps contain the sampling error of the draws.",
        example="Σ l² = 0.08, Σ h² = 0.03, error 0.01: √(0.08/0.02) = 2.",
        terms=moments_with_error,
        of=corrected_spread_ratio,
    ),
    Metric(
        name="group_r2_difference",
        title="Share of variance between groups, predicted − human",
        unit="share of variance",
        low=-1.0,
        high=1.0,
        better="target",
        target=0.0,
        aggregation="items",
        citation="Adjusted R²: Wherry 1931, Annals of Mathematical Statistics 2(4)",
        formula="R² of answers drawn from the prediction on the attribute − adjusted R² of people's answers on it",
        trap="Second to the gaps themselves: it is also above 0 where predictions have too little spread within groups.",
        example="Predicted: between groups 0.02 of a variance of 0.10, so 0.2; people 0.05: 0.15.",
    ),
)
