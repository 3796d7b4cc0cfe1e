"""Metrics that are computed of a part as a whole: chance, validity of predictions, known truth, a score of a benchmark."""

from __future__ import annotations

import numpy as np

from socsci_jax.evaluation.metric import Metric


def simbench_score(model: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """100 · (1 − total variation of the model / total variation of uniform guesses), from means over the data set."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(uniform > 0, 100 * (1 - model / uniform), np.nan)


METRICS = (
    Metric(
        name="simbench_score",
        title="SimBench score",
        unit="points",
        low=-np.inf,
        high=100.0,
        better="higher",
        aggregation="items",
        digits=1,
        citation="SimBench 2025 (arXiv:2510.17516)",
        formula="100 · (1 − mean TV / mean TV of uniform guesses)",
        trap="0 is a uniform guess over the whole data set, not on each item; negative is worse than that.",
        example="Mean TV 0.3, of uniform 0.4: 100 · (1 − 0.75) = 25.",
    ),
    Metric(
        name="condition_sensitivity_r_null",
        title="Condition sensitivity of shuffled conditions",
        unit="r",
        low=-1.0,
        high=1.0,
        better="none",
        aggregation="sums",
        digits=2,
        citation="Permutation test: Fisher 1935",
        formula="mean r after shuffling predictions among the conditions of an outcome; lo and hi are its 2.5 and 97.5 % points",
        trap="The band is of chance, not of uncertainty about the model.",
        example="Over many shuffles of 3 conditions r is 0 on average.",
    ),
    Metric(
        name="condition_sensitivity_p",
        title="p of condition sensitivity against shuffled conditions",
        unit="probability",
        high=1.0,
        better="none",
        aggregation="sums",
        citation="Phipson and Smyth 2010, Statistical Applications in Genetics and Molecular Biology 9(1)",
        formula="(1 + number of shuffles with r at least as high) / (1 + shuffles), one-sided",
        trap="Speaks of these studies; for other studies look at the interval over studies.",
        example="49 of 999 shuffles as high: 50 / 1000 = 0.05.",
    ),
    Metric(
        name="true_effect_correlation",
        title="Correlation with the known true effects",
        unit="r",
        low=-1.0,
        high=1.0,
        better="higher",
        transform="fisher_z",
        aggregation="sums",
        digits=2,
        citation="–",
        formula="r of predicted and true means, each less the mean of its outcome",
        trap="Exists for synthetic data only.",
        example="As condition sensitivity, with true means for people's.",
    ),
    Metric(
        name="mass_on_levels",
        title="Probability on allowed answers before renormalizing",
        unit="probability",
        high=1.0,
        better="higher",
        aggregation="items",
        citation="–",
        formula="Σ_l p(l) over the allowed answers",
        trap="Low values mean that the model wanted to say something else.",
        example="0.6 + 0.3 on two allowed answers: 0.9.",
    ),
    Metric(
        name="parse_rate",
        title="Share of draws that are allowed answers",
        unit="share of draws",
        high=1.0,
        better="higher",
        aggregation="items",
        citation="–",
        formula="valid draws / draws",
        trap="Draws that are not allowed are excluded from every other metric.",
        example="17 of 20: 0.85.",
    ),
    Metric(
        name="alternatives_share",
        title="Share of answers outside the order of the scale",
        unit="share of answers",
        high=1.0,
        better="none",
        aggregation="items",
        citation="–",
        formula="answers that are alternatives / answers that are levels or alternatives; `group` names one alternative",
        trap="Where alternatives were withheld from the model, its share is 0 and says nothing.",
        example="2 of 20 people said don't know: 0.1.",
    ),
    Metric(
        name="alternatives_error",
        title="Error of the shares of answers outside the order",
        unit="share of answers",
        high=1.0,
        better="lower",
        aggregation="items",
        citation="Total variation, restricted to the alternatives",
        formula="½ (Σ_a |p(a) − q(a)| + |Σ_a p(a) − Σ_a q(a)|) over the alternatives a",
        trap="Small wherever alternatives are rare; compare with alternatives_share of people.",
        example="Predicted 0.3, observed 0.1 for the only alternative: ½ (0.2 + 0.2) = 0.2.",
    ),
)
