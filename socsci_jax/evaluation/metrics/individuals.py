"""How well single answers are predicted: accuracy = 1 − |ŷ − y| / (hi − lo), on the scale's own range."""

from __future__ import annotations

import numpy as np

from socsci_jax.evaluation.metric import CellMetric, IndividualMetric, Metric
from socsci_jax.evaluation.metrics.distributions import positions


def draw_accuracy(probs_nl: np.ndarray, codes_n: np.ndarray, *, levels_l: np.ndarray) -> np.ndarray:
    """Expected accuracy [N] of one draw from each row of `probs_nl` [N or 1, L]: exact, nothing is sampled.

    `codes_n` [N] are the level indices of the answers.
    """
    at = positions(levels_l)
    return 1 - (probs_nl * np.abs(at[None, :] - at[codes_n][:, None])).sum(axis=1)


def median_accuracy(probs_nl: np.ndarray, codes_n: np.ndarray, *, levels_l: np.ndarray) -> np.ndarray:
    """Accuracy [N] of answering the median of each row: the best single guess under absolute error."""
    at = positions(levels_l)
    return 1 - np.abs(at[median_codes(probs_nl)] - at[codes_n])


def median_codes(probs_nl: np.ndarray) -> np.ndarray:
    """Index of the lower median of each row: the first level at which half of the mass is reached."""
    # Half of a mass that was summed in floating point: 0.1 × 5 must count as half.
    return np.argmax(np.cumsum(probs_nl, axis=-1) >= 0.5 - 1e-9, axis=-1)


def within_item_correlation(probs_nl: np.ndarray, codes_n: np.ndarray, *, levels_l: np.ndarray) -> float:
    """Pearson r over the people of one item between predicted mean and answer; NaN where either does not vary."""
    at = positions(levels_l)
    predicted, answer = probs_nl @ at, at[codes_n]
    if predicted.size != answer.size or predicted.size < 3:
        return float("nan")
    x, y = predicted - predicted.mean(), answer - answer.mean()
    scale = np.sqrt((x @ x) * (y @ y))
    # Equal predictions differ in their last digits.
    return float(x @ y / scale) if (x @ x) > 1e-18 * x.size and (y @ y) > 1e-18 * y.size else float("nan")


METRICS: tuple[Metric, ...] = (
    IndividualMetric(
        name="individual_accuracy_draw",
        title="Individual accuracy, one draw",
        unit="1 − range",
        high=1.0,
        better="higher",
        citation="Kolluri et al. 2025, EMNLP (arXiv:2509.05830)",
        formula="1 − Σ_l p_l |x_l − y|: expected over one draw from the person's distribution",
        trap="High for anybody who knows the outcome's distribution: look at the lift over the item's other people.",
        example="Levels 1 to 5, answer 4, predicted half 4 and half 2: 1 − (0.5 · 0 + 0.5 · 0.5) = 0.75.",
        of=lambda a: draw_accuracy(a.probs_nl, a.codes_n, levels_l=a.levels_l),
    ),
    IndividualMetric(
        name="individual_accuracy_median",
        title="Individual accuracy, median",
        unit="1 − range",
        high=1.0,
        better="higher",
        citation="Kolluri et al. 2025, EMNLP (arXiv:2509.05830)",
        formula="1 − |median(p) − y|",
        trap="Rewards a narrow guess in the middle; spread is lost without a cost.",
        example="Levels 1 to 5, answer 5, predicted median 3: 1 − 2/4 = 0.5.",
        of=lambda a: median_accuracy(a.probs_nl, a.codes_n, levels_l=a.levels_l),
    ),
    Metric(
        name="individual_accuracy_normalized",
        title="Individual accuracy over people's own, asked again",
        unit="ratio",
        better="higher",
        aggregation="items",
        citation="Park et al. 2024, arXiv:2411.10109 (normalized accuracy)",
        formula="accuracy of the median guess / accuracy of the person's other answer, per item",
        trap="People's accuracy is of those who answered twice, the prediction's of everybody. May pass 1 where answers are "
        "noisy, and does so for a guess in the middle. Exists where people answered an item twice.",
        example="Accuracy 0.72, of people themselves 0.8: 0.9.",
    ),
    CellMetric(
        name="individual_r",
        title="Correlation over people within an item",
        unit="r",
        low=-1.0,
        high=1.0,
        better="higher",
        transform="fisher_z",
        citation="Pearson 1895",
        formula="r over the item's people between predicted mean and answer, mean over items",
        trap="Pooling items would count knowing which questions have high answers as knowing people. Undefined where "
        "everybody gets the same prediction.",
        example="Predictions 1, 2, 3 for answers 2, 4, 3: departures (−1, 0, 1) and (−1, 1, 0), r = 1/√(2 · 2) = 0.5.",
        of=lambda a: within_item_correlation(a.probs_nl, a.codes_n, levels_l=a.levels_l),
    ),
)
