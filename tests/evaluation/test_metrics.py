"""Each metric against an independent reference on random data, and the traps that other people's scorers fell into."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import fairlearn.metrics
import numpy as np
import pytest
import sklearn.metrics
import statsmodels.api as sm
from scipy import stats
from scipy.spatial.distance import jensenshannon

from socsci_jax.evaluation.metric import Answers, DistributionMetric, EffectMetric, Pair
from socsci_jax.evaluation.metrics import (
    BY_NAME,
    FAMILIES,
    calibration,
    decisions,
    distributions,
    effects,
    groups,
    humans,
)
from socsci_jax.evaluation.metrics.effect_tests import benjamini_hochberg, equivalent
from socsci_jax.evaluation.metrics.moments import moments_with_error

RNG = np.random.default_rng(12)
EXACT = {"rel": 1e-10, "abs": 1e-10}


def random_pair(levels: int = 7) -> Pair:
    p, q = RNG.dirichlet(np.ones(levels), size=2)
    return Pair(predicted=p, human=q, levels_l=np.sort(RNG.choice(100, levels, replace=False)), n=500)


def value(name: str, pair: Pair) -> float:
    return float(BY_NAME[name].of(pair))


@pytest.mark.parametrize("case", range(20))
def test_distances_are_scipys(case):
    pair = random_pair(2 + case % 10)
    at = distributions.positions(pair.levels_l)
    reference = {
        "wasserstein": stats.wasserstein_distance(at, at, pair.predicted, pair.human),
        "total_variation": 0.5 * np.abs(pair.predicted - pair.human).sum(),
        "overlap": np.minimum(pair.predicted, pair.human).sum(),
        "jensen_shannon": jensenshannon(pair.predicted, pair.human, base=2),
        "kl_divergence": stats.entropy(pair.human, pair.predicted),
        "kolmogorov_smirnov": np.abs(np.cumsum(pair.predicted) - np.cumsum(pair.human)).max(),
        "mean_error": pair.predicted @ at - pair.human @ at,
        "sd_ratio": np.sqrt(
            np.cov(at, aweights=pair.predicted, ddof=0) / np.cov(at, aweights=pair.human, ddof=0)
        ),
        "mode_share": pair.predicted.max() - pair.human.max(),
    }
    for name, expected in reference.items():
        assert value(name, pair) == pytest.approx(expected, **EXACT), name
    # Miller and Madow's correction of the plug-in entropy of people's answers.
    human = stats.entropy(pair.human) + (pair.human.size - 1) / (2 * pair.n)
    assert value("entropy_ratio", pair) == pytest.approx(stats.entropy(pair.predicted) / human, **EXACT)


def test_scores_of_single_answers_are_those_of_scikit_learn():
    probs, codes = RNG.dirichlet(np.ones(5), size=300), RNG.integers(5, size=300)
    answers = Answers(probs_nl=probs, codes_n=codes, levels_l=np.arange(5))
    hits = np.eye(5)[codes]
    assert BY_NAME["brier_score"].of(answers).mean() == pytest.approx(
        ((probs - hits) ** 2).sum(1).mean(), **EXACT
    )
    binary = sklearn.metrics.brier_score_loss(hits[:, 0], probs[:, 0])
    two = Answers(
        probs_nl=np.c_[probs[:, 0], 1 - probs[:, 0]],
        codes_n=1 - hits[:, 0].astype(int),
        levels_l=np.arange(2),
    )
    assert BY_NAME["brier_score"].of(two).mean() == pytest.approx(2 * binary, **EXACT)
    assert BY_NAME["log_score"].of(answers).mean() == pytest.approx(
        sklearn.metrics.log_loss(codes, probs, labels=range(5)), **EXACT
    )


@pytest.mark.slow
def test_the_ranked_probability_and_the_winkler_score_are_those_of_scoringrules():
    import scoringrules  # compiles itself for seconds when it is imported

    probs, codes = RNG.dirichlet(np.ones(5), size=300), RNG.integers(5, size=300)
    answers = Answers(probs_nl=probs, codes_n=codes, levels_l=np.arange(5))
    rps = [scoringrules.rps_score(c + 1, p) for c, p in zip(codes, probs, strict=True)]
    assert BY_NAME["ranked_probability_score"].of(answers) == pytest.approx(np.array(rps) / 4, **EXACT)
    lo, hi, y = RNG.random((3, 200))
    lo, hi = np.minimum(lo, hi), np.maximum(lo, hi)
    expected = scoringrules.interval_score(y, lo, hi, 0.1)
    assert calibration.winkler(lo, hi, y, alpha=0.1) == pytest.approx(expected, **EXACT)


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_reliability_is_scikit_learns_calibration_curve(strategy):
    from sklearn.calibration import calibration_curve

    p = RNG.random(2_000)
    hit = (RNG.random(2_000) < p**1.3).astype(float)
    observed, predicted = calibration_curve(hit, p, n_bins=10, strategy=strategy)
    found = calibration.reliability(p, hit, equal_mass=strategy == "quantile")
    assert found.observed == pytest.approx(observed, **EXACT)
    assert found.predicted == pytest.approx(predicted, **EXACT)
    expected = (found.n * np.abs(predicted - observed)).sum() / found.n.sum()
    assert found.error == pytest.approx(expected, **EXACT)


def sums_of(h: np.ndarray, l: np.ndarray, se2: np.ndarray | None = None) -> np.ndarray:  # noqa: E741
    se2 = np.zeros_like(h) if se2 is None else se2
    return moments_with_error(h, l, se2, np.zeros(h.size, dtype=bool)).sum(axis=0)


def test_effect_correlation_slope_and_intercept_are_those_of_statsmodels():
    h, l = RNG.normal(size=(2, 40))  # noqa: E741
    fit = sm.OLS(h, sm.add_constant(l)).fit()
    sums = sums_of(h, l)
    assert effects.correlation(sums) == pytest.approx(stats.pearsonr(h, l).statistic, **EXACT)
    assert effects.slope(sums) == pytest.approx(fit.params[1], **EXACT)
    assert effects.intercept(sums) == pytest.approx(fit.params[0], **EXACT)


def test_false_discoveries_are_controlled_as_by_scipy():
    p = RNG.random(60) ** 3
    assert (benjamini_hochberg(p) == (stats.false_discovery_control(p) <= 0.05)).all()


def test_equivalence_is_two_one_sided_tests():
    h, l, se = 0.03, 0.02, 0.01  # noqa: E741
    p = max(stats.norm.sf((0.05 + (l - h)) / se), stats.norm.cdf(((l - h) - 0.05) / se))
    assert bool(equivalent(np.array(h), np.array(l), np.array(se**2), margin=0.05)) == (p < 0.05)


def test_disparity_is_fairlearns_difference_between_groups():
    y, predicted, group = RNG.integers(2, size=300), RNG.integers(2, size=300), RNG.integers(3, size=300)
    frame = fairlearn.metrics.MetricFrame(
        metrics=sklearn.metrics.accuracy_score, y_true=y, y_pred=predicted, sensitive_features=group
    )
    assert groups.disparity(frame.by_group.to_numpy()) == pytest.approx(frame.difference(), **EXACT)


# ---- unbiasedness and traps ----


def test_the_noise_corrected_correlation_is_unbiased():
    """True r 0.893, reliability of people's effects one half: over 500 runs the mean is within 0.01."""
    rng = np.random.default_rng(3)
    runs, contrasts, se = 500, 400, 1.0
    true = rng.normal(size=(runs, contrasts))
    l = 0.893 * true + np.sqrt(1 - 0.893**2) * rng.normal(size=true.shape)  # noqa: E741
    h = true + se * rng.normal(size=true.shape)
    terms = moments_with_error(h, l, np.full(h.shape, se**2), np.zeros(h.shape, dtype=bool))
    sums = terms.sum(axis=1)
    assert effects.correlation(sums).mean() == pytest.approx(0.893 * np.sqrt(0.5), abs=0.01)
    assert np.nanmean(effects.corrected_correlation(sums)) == pytest.approx(0.893, abs=0.01)


def test_the_noise_corrected_correlation_is_undefined_where_people_vary_no_more_than_their_errors():
    h = np.array([0.1, -0.1, 0.0])
    assert np.isnan(effects.corrected_correlation(sums_of(h, h, np.full(3, 1.0))))


def test_a_negative_corrected_mean_square_is_zero_and_flagged():
    metric = BY_NAME["effect_rmse_adjusted"]
    assert isinstance(metric, EffectMetric)
    means = np.array([0.01, 0.02])
    assert metric.of(means) == 0
    assert metric.flag_at_zero


def test_rescaling_each_side_by_its_own_range_would_hide_that_all_eights_are_not_all_ones():
    eights, ones = np.eye(8)[7], np.eye(8)[0]
    pair = Pair(predicted=eights, human=ones, levels_l=np.arange(1, 9), n=9)
    assert value("wasserstein", pair) == 1


def test_probabilities_are_not_samples():
    """Given to scipy as values, these two would be at distance 0: they hold the same numbers."""
    pair = Pair(
        predicted=np.array([0.7, 0.2, 0.1]), human=np.array([0.1, 0.2, 0.7]), levels_l=np.arange(3), n=9
    )
    assert stats.wasserstein_distance(pair.predicted, pair.human) == pytest.approx(0)
    assert value("wasserstein", pair) == pytest.approx(0.6)


def test_one_impossible_answer_makes_kl_infinite_and_nothing_else():
    pair = Pair(predicted=np.array([1.0, 0.0]), human=np.array([0.5, 0.5]), levels_l=np.arange(2), n=9)
    assert value("kl_divergence", pair) == np.inf
    assert all(np.isfinite(value(m.name, pair)) for m in distributions.METRICS if m.name != "kl_divergence")


def test_a_blind_predictor_chooses_at_random():
    rng = np.random.default_rng(0)
    worth = rng.normal(size=(4, 500))
    blind = decisions.choose(np.zeros(4), worth, worth)
    assert blind.hit == pytest.approx(0.25)
    assert blind.gained == pytest.approx(0)


@pytest.mark.parametrize(
    ("predicted", "hit"),
    [([0.0, 0.0, 0.0, 0.0], 0.5), ([3.0, 1.0, 1.0, 0.0], 0.5), ([1.0, 2.0, 0.0, 0.0], 1.0)],
)
def test_the_best_arm_is_among_two_by_chance_where_predictions_are_tied(predicted, hit):
    best = np.array([[0.1], [0.9], [0.2], [0.3]])
    assert decisions.choose(np.array(predicted), best, best).hit_of_two == pytest.approx(hit)


def test_the_best_arm_of_the_same_answers_would_look_better_than_it_is():
    rng = np.random.default_rng(1)
    one, other = rng.normal(size=(2, 5, 4_000))
    honest = decisions.choose(np.arange(5.0), one, other)
    naive = decisions.choose(np.arange(5.0), one, one)
    assert abs(honest.regret) < 0.06 < naive.regret


@pytest.mark.parametrize("n", [20, 50, 100])
def test_a_sample_of_n_people_is_worth_n_people(n):
    rng = np.random.default_rng(n)
    truth = rng.dirichlet(np.full(7, 2.0), size=60)
    levels, people = np.arange(1, 8), 2_000
    human = np.stack([rng.multinomial(people, p) / people for p in truth])
    drawn = np.stack([rng.multinomial(n, p, size=40) / n for p in truth])
    distance = distributions.wasserstein(drawn, human[:, None], levels_l=levels).mean()
    spread = np.mean([humans.sampling_spread(h, people=people, levels_l=levels) for h in human])
    found = humans.equivalent_sample(distance, spread * np.sqrt(1 / humans.SIZES + 1 / people))
    assert found[0] == pytest.approx(n, rel=0.12)


# ---- every metric says what it is ----


def test_names_are_unique_and_every_metric_is_described():
    assert sum(map(len, FAMILIES.values())) == len(BY_NAME)
    for metric in BY_NAME.values():
        for text in (metric.title, metric.unit, metric.citation, metric.formula, metric.trap, metric.example):
            assert text.strip(), metric.name
        assert metric.low < metric.high
        assert (metric.target is not None) == (metric.better == "target")


def test_which_of_two_values_is_better_follows_the_direction():
    assert BY_NAME["wasserstein"].is_better(0.1, 0.2)
    assert BY_NAME["effect_r"].is_better(0.5, 0.2)
    assert BY_NAME["effect_slope"].is_better(1.1, 0.5)
    assert not BY_NAME["condition_sensitivity_p"].is_better(0.1, 0.2)


def test_the_page_of_metrics_is_made_of_their_objects():
    from socsci_jax.evaluation.metric_pages import metrics_page

    page = Path(__file__).parent.parent.parent / "docs" / "metrics.md"
    assert page.read_text(encoding="utf-8") == metrics_page()


@pytest.mark.parametrize("side", ["predicted", "human"])
@pytest.mark.parametrize(
    "name", [name for name, one in BY_NAME.items() if isinstance(one, DistributionMetric)]
)
def test_shares_that_are_not_known_give_no_value(name, side):
    """No draw of a model could be read, or nobody answered: comparisons and argmax would make a number of it."""
    if (name, side) == ("without_variance", "human"):
        pytest.skip("it is about predictions alone")
    pair = dataclasses.replace(random_pair(), **{side: np.full(7, np.nan)})
    assert np.isnan(value(name, pair))
