"""The example of each metric in docs/metrics.md, computed by the function that the evaluation calls."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from socsci_jax.evaluation.alternatives import Alternatives
from socsci_jax.evaluation.groups import _r2
from socsci_jax.evaluation.intervals import lower_quantile
from socsci_jax.evaluation.metric import (
    Answers,
    CellMetric,
    DistributionMetric,
    EffectMetric,
    IndividualMetric,
    Pair,
)
from socsci_jax.evaluation.metrics import BY_NAME, calibration, classification, effects, robustness
from socsci_jax.evaluation.metrics.calibration import reliability, winkler
from socsci_jax.evaluation.metrics.decisions import choose
from socsci_jax.evaluation.metrics.effect_tests import equivalent
from socsci_jax.evaluation.metrics.groups import disparity
from socsci_jax.evaluation.metrics.humans import SIZES, equivalent_sample, sampling_spread
from socsci_jax.evaluation.metrics.moments import moments
from socsci_jax.evaluation.metrics.summaries import simbench_scores

MANY = 10**9


def of_shares(name: str, predicted, human, *, levels=None, n: int = MANY) -> float:
    metric = BY_NAME[name]
    assert isinstance(metric, DistributionMetric)
    predicted, human = np.array(predicted, float), np.array(human, float)
    levels = np.arange(1.0, human.shape[-1] + 1) if levels is None else np.array(levels, float)
    return float(np.mean(metric.of(Pair(predicted=predicted, human=human, levels_l=levels, n=n))))


def of_answers(name: str, probs, codes, *, levels: int) -> float:
    metric = BY_NAME[name]
    assert isinstance(metric, IndividualMetric | CellMetric)
    answers = Answers(
        probs_nl=np.array(probs, float), codes_n=np.array(codes), levels_l=np.arange(1.0, levels + 1)
    )
    return float(np.mean(metric.of(answers)))


def of_effects(name: str, h, l, *, se2: float = 0.0) -> float:  # noqa: E741
    metric = BY_NAME[name]
    assert isinstance(metric, EffectMetric)
    h, l = np.array(h, float), np.array(l, float)  # noqa: E741
    if metric.centered:
        h, l = h - h.mean(), l - l.mean()  # noqa: E741
    terms = metric.terms(h, l, np.full(h.shape, se2), np.zeros(h.shape, bool))
    return float(metric.of(terms.mean(axis=0) if metric.aggregation == "clusters" else terms.sum(axis=0)))


def of_sums(
    name: str, *, n: int = 11, ll: float = 0, hh: float = 0, lh: float = 0, error: float = 0
) -> float:
    """A centered metric, or one of effects whose means are 0, from Σ l², Σ h², Σ l h and the sum of squared errors."""
    metric = BY_NAME[name]
    assert isinstance(metric, EffectMetric)
    return float(metric.of(np.array([n, 0, 0, ll, hh, lh, error], float)))


def at(*levels: int, size: int = 5) -> list[float]:
    """Equal shares at these levels of 1 to `size`."""
    shares = np.zeros(size)
    np.add.at(shares, np.array(levels) - 1, 1 / len(levels))
    return shares.tolist()


CHOSEN = choose(np.array([0.0, 1.0, 0.0]), *(np.array([[0.60], [0.55], [0.35]]),) * 2)
RIGHT = choose(np.array([1.0, 0.0, 0.0]), *(np.array([[0.60], [0.55], [0.35]]),) * 2)
OUTSIDE = Alternatives(
    codes_a=np.array([8.0]),
    labels=("don't know",),
    observed_a=np.array([0.1]),
    predicted_a=np.array([0.3]),
    people=20,
)
RATIOS = np.array([0.4, 0.6, 0.8, 1.0, 1.4])
# Two groups of equal size with means 0.5 ± √0.02 in a variance of 0.10 of all answers.
GROUPS = [
    [0.5 - 0.3 - np.sqrt(0.02), 0.6, 0.2 + np.sqrt(0.02)],
    [0.2 + np.sqrt(0.02), 0.6, 0.2 - np.sqrt(0.02)],
]
SHUFFLED = [
    effects.correlation(moments(np.array(order), np.array([-1.0, 1.0, 0.0])).sum(axis=0))
    for order in itertools.permutations((-1.0, 0.0, 1.0))
]
COUNTS = np.array([[4.0, 1.0], [1.0, 4.0]])
FIVE = np.arange(1.0, 6.0)

EXAMPLES = {
    "wasserstein": (of_shares("wasserstein", at(2), at(4)), 0.5),
    "total_variation": (of_shares("total_variation", [0.5, 0.5, 0], [0, 0.5, 0.5]), 0.5),
    "overlap": (of_shares("overlap", [0.5, 0.5, 0], [0, 0.5, 0.5]), 0.5),
    "jensen_shannon": (of_shares("jensen_shannon", [1, 0], [0, 1]), 1),
    "kl_divergence": (of_shares("kl_divergence", [0.5, 0.5], [1, 0]), 0.693),
    "kolmogorov_smirnov": (of_shares("kolmogorov_smirnov", [0.5, 0.5, 0], [0, 0.5, 0.5]), 0.5),
    "mean_error": (of_shares("mean_error", at(3, 3, 3, 4, 4), at(3)), 0.1),
    "entropy_ratio": (of_shares("entropy_ratio", [0.5, 0.5], [0.5, 0.5]), 1),
    "sd_ratio": (of_shares("sd_ratio", at(2, 3), at(1, 4)), 0.333),
    "mode_share": (of_shares("mode_share", [0.9, 0.1], [0.6, 0.4]), 0.3),
    "without_variance": (
        of_shares("without_variance", [at(3), at(1, 2), at(3, 4), at(2, 5)], at(1, 2)),
        0.25,
    ),
    "entropy_ratio_q1": (lower_quantile(RATIOS, 0.25), 0.6),
    "entropy_ratio_q3": (lower_quantile(RATIOS, 0.75), 1),
    "sd_ratio_q1": (lower_quantile(RATIOS, 0.25), 0.6),
    "sd_ratio_q3": (lower_quantile(RATIOS, 0.75), 1),
    "individual_accuracy_draw": (of_answers("individual_accuracy_draw", [at(4, 2)], [3], levels=5), 0.75),
    "individual_accuracy_median": (of_answers("individual_accuracy_median", [at(3)], [4], levels=5), 0.5),
    "individual_accuracy_normalized": (0.72 / 0.8, 0.9),
    "individual_r": (of_answers("individual_r", [at(1), at(2), at(3)], [1, 3, 2], levels=5), 0.5),
    "effect_sign_agreement": (of_effects("effect_sign_agreement", [0.2, -0.1, 0.1], [0.1, 0.1, 0]), 0.5),
    "effect_r": (of_effects("effect_r", [0, 1, 2], [0, 2, 1]), 0.5),
    "effect_r_adjusted": (of_sums("effect_r_adjusted", ll=10, hh=20, lh=8, error=11), 0.8),
    "effect_rmse": (of_effects("effect_rmse", [0.1, 0.0], [0.0, 0.1]), 0.1),
    "effect_rmse_adjusted": (of_effects("effect_rmse_adjusted", [0.1, 0.0], [0.0, 0.1], se2=0.0064), 0.06),
    "effect_slope": (of_effects("effect_slope", [0, 2, 4], [0, 1, 2]), 2),
    "effect_intercept": (of_effects("effect_intercept", [0.1, 1.1], [0, 1]), 0.1),
    "condition_sensitivity_r": (of_effects("condition_sensitivity_r", [1, 2, 3], [2, 2, 5]), 0.866),
    "condition_sensitivity_r_adjusted": (
        of_sums("condition_sensitivity_r_adjusted", lh=4, ll=5, hh=7, error=2),
        0.8,
    ),
    "condition_sensitivity_slope": (of_effects("condition_sensitivity_slope", [-2, 2], [-1, 1]), 2),
    "condition_sensitivity_spread_ratio": (
        of_effects("condition_sensitivity_spread_ratio", [-2, 2], [-1, 1]),
        0.5,
    ),
    "condition_sensitivity_spread_ratio_adjusted": (
        of_sums("condition_sensitivity_spread_ratio_adjusted", ll=2, hh=8, error=6),
        1,
    ),
    "reliable_sign_agreement": (
        effects.sign_agreement(np.array([1.0, 1, 1, 1]), np.array([0.5, 0.2, 0.1, -0.3])).mean(),
        0.75,
    ),
    "effect_equivalence": (
        0.01 + 1.645 * 0.02
        if equivalent(np.zeros(1), np.full(1, 0.01), np.full(1, 0.02**2), margin=0.05).all()
        else np.nan,
        0.043,
    ),
    "best_arm_hit": ((CHOSEN.hit + RIGHT.hit) / 2, 0.5),
    "best_arm_in_two": (
        np.mean(
            [
                choose(np.array([0.3, 0.2, 0.1]), best, best).hit_of_two
                for best in np.eye(3)[[0, 0, 1, 2], :, None]
            ]
        ),
        0.75,
    ),
    "decision_regret": (CHOSEN.regret, 0.05),
    "captured_gain": (CHOSEN.gained / CHOSEN.gainable, 0.5),
    "parity_wasserstein": (disparity(np.array([0.10, 0.12, 0.15])), 0.05),
    "parity_individual_accuracy_draw": (disparity(np.array([0.10, 0.12, 0.15])), 0.05),
    "parity_mean_error": (disparity(np.array([0.10, 0.12, 0.15])), 0.05),
    "group_gap_r": (of_effects("group_gap_r", [-0.1, 0.1], [-0.2, 0.2]), 1),
    "group_gap_slope": (of_effects("group_gap_slope", [-0.1, 0.1], [-0.2, 0.2]), 0.5),
    "stereotyping": (of_sums("stereotyping", ll=0.08, hh=0.03, error=0.01), 2),
    "group_r2_difference": (_r2(np.array(GROUPS), np.array([50, 50]), np.array([0, 0.5, 1])) - 0.05, 0.15),
    "brier_score": (of_answers("brier_score", [[0.7, 0.3]], [0], levels=2), 0.18),
    "log_score": (of_answers("log_score", [[0.5, 0.5]], [0], levels=2), 0.693),
    "ranked_probability_score": (
        of_answers("ranked_probability_score", [[0.5, 0.5, 0]], [2], levels=3),
        0.625,
    ),
    "interval_coverage": (of_answers("interval_coverage", [at(3)] * 10, [2] * 9 + [4], levels=5), 0.9),
    "winkler_score": (winkler(0.2, 0.6, 0.7, alpha=1 - calibration.INTERVAL), 2.4),
    "calibration_error_width": (
        reliability(np.full(10, 0.2), np.array([1.0] * 3 + [0.0] * 7), equal_mass=False).error,
        0.1,
    ),
    "calibration_error_mass": (
        reliability(
            np.repeat([0.2, 0.7], 50),
            np.repeat([1.0, 0.0, 1.0, 0.0], [15, 35, 20, 30]),
            equal_mass=True,
            bins=2,
        ).error,
        0.2,
    ),
    "mean_interval_coverage": (19 / 20, 0.95),
    "mean_interval_winkler": (winkler(0.4, 0.5, 0.51, alpha=0.05), 0.5),
    "variant_spread": (robustness.spread(np.array([at(3), at(3, 3, 3, 4, 4)]), levels_l=FIVE), 0.0707),
    "variant_distance": (
        robustness.distance(np.array([[0.5, 0.5], [0.3, 0.7]]), levels_l=np.array([1.0, 2.0])),
        0.2,
    ),
    "variant_person_distance": (
        robustness.distance(
            np.array([[[0.5, 0.5], [0.5, 0.5]], [[0.4, 0.6], [0.2, 0.8]]]), levels_l=np.array([1.0, 2.0])
        ).mean(),
        0.2,
    ),
    "variant_effect_survival": (
        robustness.survival(robustness.survival_terms(np.array([[0.1, 0.3]])).sum(axis=0)),
        0.6,
    ),
    "variant_sign_agreement": (robustness.same_sign(np.array([[0.1, 0.2], [0.1, -0.1]])).mean(), 0.5),
    "equivalent_people": (
        equivalent_sample(
            0.0399,
            sampling_spread(np.array([0.5, 0.5]), people=MANY, levels_l=np.array([1.0, 2.0]))
            / np.sqrt(SIZES),
        ).item(),
        100,
    ),
    "simbench_score": (
        simbench_scores(np.array([0.2, 0.4]), np.array([0.3, 0.5]), np.zeros(2, int)).mean(),
        25,
    ),
    "condition_sensitivity_r_null": (np.mean(SHUFFLED), 0),
    "condition_sensitivity_p": ((1 + 49) / (1 + 999), 0.05),
    "true_effect_correlation": (of_effects("condition_sensitivity_r", [0.4, 0.6, 0.5], [0.4, 0.5, 0.6]), 0.5),
    "mass_on_levels": (0.6 + 0.3, 0.9),
    "parse_rate": (17 / 20, 0.85),
    "alternatives_share": (OUTSIDE.share(OUTSIDE.observed_a, None), 0.1),
    "alternatives_error": (OUTSIDE.error, 0.2),
    "accuracy": (classification.accuracy(COUNTS), 0.8),
    "macro_f1": (classification.macro_f1(np.array([[2.0, 1.0], [1.0, 1.0]])), 0.583),
    "cohen_kappa": (classification.cohen_kappa(COUNTS), 0.6),
    "krippendorff_alpha": (classification.krippendorff_alpha(np.array([[2.1, 0.9], [0.9, 5.1]])), 0.6),
}


def test_every_metric_has_formula_source_trap_and_an_example_that_is_computed_here():
    assert set(EXAMPLES) == set(BY_NAME)
    for metric in BY_NAME.values():
        assert all(text.strip() for text in (metric.formula, metric.citation, metric.trap, metric.example))


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_is_what_the_metric_gives(name):
    computed, written = EXAMPLES[name]
    digits = max(len(f"{written:g}".partition(".")[2]), 2)
    # A curve over a grid of sizes is read to a percent.
    assert computed == pytest.approx(
        written, abs=0.51 * 10**-digits, rel=0.01 if name == "equivalent_people" else 0
    )
    assert f"{written:g}" in BY_NAME[name].example
