"""Metrics that are computed of a part as a whole: chance, validity of predictions, known truth, a score of a benchmark."""

from __future__ import annotations

import numpy as np

from socsci_jax.evaluation.metric import Metric


def simbench_scores(model: np.ndarray, uniform: np.ndarray, dataset_c: np.ndarray) -> np.ndarray:
    """100 · (1 − TV / mean TV of uniform guesses over the item's data set) of each item, from total variations.

    Items [C], or [B, C] for B resamples, each judged by its own uniform guesses.  NaN where a data set's uniform guesses are
    right, and where a value is missing.
    """
    model_bc, uniform_bc = np.atleast_2d(model), np.atleast_2d(uniform)
    known = np.isfinite(model_bc) & np.isfinite(uniform_bc)
    datasets = int(dataset_c.max(initial=-1)) + 1
    cell = (np.arange(len(known))[:, None] * datasets + dataset_c)[known]
    shape = (len(known), datasets)
    n = np.bincount(cell, minlength=known.shape[0] * datasets).reshape(shape)
    sums = np.bincount(cell, weights=uniform_bc[known], minlength=n.size).reshape(shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_bc = (sums / n)[:, dataset_c]
        scores = np.where(known & (mean_bc > 0), 100 * (1 - model_bc / mean_bc), np.nan)
    return scores.reshape(model.shape)


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
        formula="mean over items of 100 · (1 − TV / mean TV of uniform guesses over the item's data set)",
        trap="0 is a uniform guess over the whole data set, not on each item; negative is worse than that. Every item counts "
        "the same, so large data sets weigh more; a data set is a study here.",
        example="One data set, TV 0.2 and 0.4, of uniform 0.3 and 0.5: mean 0.4, scores 50 and 0, so 25.",
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
        example="3 conditions: over the 6 orders of predictions (−1, 0, 1), Σ l h and so r is 0 on average.",
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
        example="One outcome, predicted means (0.4, 0.5, 0.6), true (0.4, 0.6, 0.5): departures (−1, 0, 1), (−1, 1, 0), r = 0.5.",
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
