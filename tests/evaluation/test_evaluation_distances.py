"""Distances between distributions, accuracies of single answers, effects, baselines and intervals."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from evaluation_example import shape
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from socsci_jax.evaluation import baselines, intervals
from socsci_jax.evaluation.answer_codes import AnswerCodes
from socsci_jax.evaluation.contrasts import centered, contrast_pairs
from socsci_jax.evaluation.items import Samples
from socsci_jax.evaluation.metrics import distributions as distances
from socsci_jax.evaluation.metrics import effects, individuals
from socsci_jax.evaluation.metrics.condition_sensitivity import slope_of_human, spread_ratio
from socsci_jax.evaluation.metrics.moments import moments
from socsci_jax.evaluation.recovery import recovered_effects
from socsci_jax.studies.scale import Scale

SCALES = st.lists(st.integers(-50, 1000), min_size=2, max_size=12, unique=True).map(
    lambda levels: np.array(sorted(levels))
)


@st.composite
def two_distributions(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Levels and two distributions over them, often with levels that nobody chose."""
    levels = draw(SCALES)
    counts = st.lists(st.integers(0, 9), min_size=levels.size, max_size=levels.size).filter(any)
    p, q = (np.array(draw(counts), dtype=float) for _ in range(2))
    return levels, p / p.sum(), q / q.sum()


def wasserstein_observed(model, human, *, levels_l, range_of=None):
    """As the evaluation computes it: on the range of the levels that people chose."""
    width = distances.observed_width(human if range_of is None else range_of, levels_l=levels_l)
    return distances.wasserstein(model, human, levels_l=levels_l) / width


def mean_estimate(counts, values):
    return intervals.estimate(
        intervals.mean_over(counts, values), clusters=int(np.isfinite(values).sum()), resampled="studies"
    )


def one_level(at: int, *, levels: int) -> np.ndarray:
    return np.eye(levels)[at]


# ---- Wasserstein and total variation ----


@settings(deadline=None, max_examples=60)
@given(two_distributions())
def test_stated_wasserstein_is_scipys_on_levels_rescaled_by_the_scales_range(example):
    levels, p, q = example
    at = (levels - levels[0]) / (levels[-1] - levels[0])
    expected = stats.wasserstein_distance(at, at, p, q)
    assert distances.wasserstein(p, q, levels_l=levels) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(two_distributions())
def test_observed_wasserstein_is_scipys_on_levels_rescaled_by_the_peoples_range(example):
    levels, model, human = example
    chosen = levels[human > 0]
    found = wasserstein_observed(model, human, levels_l=levels)
    if chosen.size == 1:
        assert np.isnan(found)
        return
    at = (levels - chosen[0]) / (chosen[-1] - chosen[0])
    assert found == pytest.approx(stats.wasserstein_distance(at, at, model, human), abs=1e-9)


def test_observed_wasserstein_does_not_rescale_each_side_by_its_own_range():
    levels = np.arange(1, 10)
    eights, ones = one_level(7, levels=9), one_level(0, levels=9)
    assert distances.wasserstein(eights, ones, levels_l=levels) == pytest.approx(7 / 8)
    ones_and_a_two = np.array([0.5, 0.5, 0, 0, 0, 0, 0, 0, 0])
    assert wasserstein_observed(eights, ones_and_a_two, levels_l=levels) == pytest.approx(6.5)


def test_observed_wasserstein_has_no_value_where_everybody_answered_alike():
    levels = np.arange(1, 8)
    alike = one_level(3, levels=7)
    assert np.isnan(wasserstein_observed(shape(0.5, levels=7), alike, levels_l=levels))
    assert np.isnan(wasserstein_observed(alike, alike, levels_l=levels))


def test_opposite_ends_are_at_distance_one_and_equal_distributions_at_zero():
    levels = np.array([0, 1, 7, 100])
    ends = one_level(0, levels=4), one_level(3, levels=4)
    assert distances.wasserstein(*ends, levels_l=levels) == pytest.approx(1)
    assert distances.total_variation(*ends) == pytest.approx(1)
    assert distances.wasserstein(ends[0], ends[0], levels_l=levels) == 0
    assert distances.total_variation(ends[0], ends[0]) == 0


def test_wasserstein_counts_how_far_answers_move_and_total_variation_only_how_many():
    levels = np.arange(5)
    here, near, far = (one_level(k, levels=5) for k in (0, 1, 4))
    assert distances.wasserstein(here, near, levels_l=levels) == pytest.approx(0.25)
    assert distances.total_variation(here, near) == distances.total_variation(here, far) == 1


@settings(deadline=None, max_examples=40)
@given(two_distributions())
def test_total_variation_is_the_largest_difference_that_any_set_of_levels_has(example):
    _, p, q = example
    assert distances.total_variation(p, q) == pytest.approx((p - q)[p > q].sum(), abs=1e-12)


def test_distances_work_on_many_pairs_at_once():
    rng = np.random.default_rng(0)
    levels = np.array([1, 2, 5, 9])
    models, human = rng.dirichlet(np.ones(4), size=(2, 3)), np.array([0, 0.5, 0.5, 0])
    for distance in (distances.wasserstein, wasserstein_observed):
        found = distance(models, human, levels_l=levels)
        assert found.shape == (2, 3)
        assert found[1, 2] == pytest.approx(distance(models[1, 2], human, levels_l=levels))


def test_the_observed_range_is_that_of_all_people_when_only_half_of_them_are_compared():
    levels = np.arange(1, 6)
    everybody = np.array([0.25, 0.25, 0.5, 0, 0])
    one, other = np.array([[0.5, 0.5, 0, 0, 0]]), np.array([[0, 0, 1.0, 0, 0]])
    found = wasserstein_observed(one, other, levels_l=levels, range_of=everybody)
    np.testing.assert_allclose(found, [1.5 / 2])


@pytest.mark.parametrize(("n", "expected"), [(20, 0.063), (50, 0.040), (100, 0.030), (500, 0.013)])
def test_distance_between_the_truth_and_n_samples_of_it(n, expected):
    rng = np.random.default_rng(n)
    truth = shape(0.5, levels=7, spread=0.28)
    samples = rng.multinomial(n, truth, size=4_000) / n
    found = distances.wasserstein(truth, samples, levels_l=np.arange(1, 8)).mean()
    assert found == pytest.approx(expected, rel=0.06)


def test_the_histogram_of_no_answers_is_undefined_not_zero():
    assert np.isnan(distances.histogram(np.array([], dtype=int), levels=3)).all()


# ---- single answers ----


def test_draw_accuracy_is_the_mean_accuracy_of_many_draws():
    rng = np.random.default_rng(1)
    levels = np.array([0, 10, 40, 100])
    probs, answer = np.array([0.1, 0.2, 0.3, 0.4]), 2
    draws = rng.choice(levels, size=200_000, p=probs)
    found = individuals.draw_accuracy(probs[None], np.array([answer]), levels_l=levels)
    assert found == pytest.approx(1 - np.abs(draws - levels[answer]).mean() / 100, abs=2e-3)


def test_median_accuracy_judges_the_median_of_each_row():
    levels = np.array([1, 2, 3, 5])
    probs = np.array([[0.4, 0.2, 0.4, 0], [0, 0, 0.4, 0.6]])
    found = individuals.median_accuracy(probs, np.array([0, 3]), levels_l=levels)
    np.testing.assert_allclose(found, [1 - 1 / 4, 1])


def test_the_median_is_the_lower_one_despite_rounding():
    assert individuals.median_codes(np.full((1, 10), 0.1)) == 4


# ---- effects ----


def test_sign_agreement_gives_half_credit_where_an_effect_is_exactly_zero():
    h = np.array([0.2, -0.2, 0.2, 0.0, 0.2, 0.0])
    l = np.array([0.1, -0.5, -0.1, 0.3, 0.0, 0.0])  # noqa: E741
    np.testing.assert_array_equal(effects.sign_agreement(h, l), [1, 1, 0, 0.5, 0.5, 0.5])


def test_rounding_does_not_turn_no_effect_into_a_sign():
    rounding = np.array([(0.1 + 0.2) - 0.3])
    assert effects.sign_agreement(np.array([0.4]), rounding) == 0.5


def test_conditions_are_contrasted_with_their_control_where_one_is_known():
    pairs = contrast_pairs(np.array([0, 0, 0, 1, 1, 1]), np.array([False, True, False, False, False, False]))
    found = list(
        zip(pairs.treated.tolist(), pairs.reference.tolist(), pairs.undirected.tolist(), strict=True)
    )
    assert found == [(0, 1, False), (2, 1, False), (3, 4, True), (3, 5, True), (4, 5, True)]


def test_correlation_and_slope_are_numpys():
    rng = np.random.default_rng(2)
    predicted = rng.normal(size=50)
    human = 0.5 * predicted + rng.normal(size=50)
    sums = moments(predicted, human).sum(axis=0)
    assert effects.correlation(sums) == pytest.approx(np.corrcoef(predicted, human)[0, 1])
    predicted, human = predicted - predicted.mean(), human - human.mean()
    sums = moments(predicted, human).sum(axis=0)
    assert slope_of_human(sums) == pytest.approx(np.polyfit(predicted, human, 1)[0])
    assert spread_ratio(sums) == pytest.approx(predicted.std() / human.std())


def test_the_correlation_of_undirected_effects_does_not_depend_on_their_direction():
    h, l = np.array([0.1, 0.3, -0.2]), np.array([0.2, 0.1, 0.1])  # noqa: E741
    flipped = np.array([1, -1, -1])
    one, other = (
        effects.correlation(moments(l * way, h * way, undirected=True).sum(axis=0)) for way in (1, flipped)
    )
    assert one == pytest.approx(other)


def test_a_side_that_does_not_vary_has_no_correlation():
    constant = np.full(5, 0.1) * 3
    sums = moments(constant, np.arange(5) / 5).sum(axis=0)
    assert np.isnan(effects.correlation(sums))


def test_the_permutation_null_keeps_predictions_within_their_outcome():
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(40), 3)
    human = rng.normal(size=group.size)
    human_centered = centered(human, group)
    null = effects.permutation_null(human_centered, human_centered, group, permutations=300, rng=rng)
    assert abs(null.mean()) < 0.05
    # Where conditions do not differ within an outcome, shuffling within it changes nothing.
    outcome_only = np.repeat(rng.normal(size=40), 3)
    null = effects.permutation_null(outcome_only, outcome_only, group, permutations=5, rng=rng)
    np.testing.assert_allclose(null, 1)


def test_the_permutation_null_is_the_same_some_permutations_at_a_time(monkeypatch):
    def null(at_a_time: int) -> np.ndarray:
        monkeypatch.setattr(effects, "PERMUTATIONS_AT_A_TIME", at_a_time)
        rng = np.random.default_rng(5)
        group = np.repeat(np.arange(20), 3)
        human, model = (centered(rng.normal(size=group.size), group) for _ in range(2))
        return effects.permutation_null(model, human, group, permutations=25, rng=rng)

    assert null(7).shape == (25,)
    np.testing.assert_array_equal(null(7), null(100))


def test_recovered_effects_are_judged_within_outcomes():
    positions = pl.DataFrame(
        {
            "item_id": ["a", "b", "c", "d"],
            "study_id": ["s"] * 4,
            "outcome": ["x", "x", "y", "y"],
            "predicted": [0.9, 0.8, 0.2, 0.1],
        }
    )
    wrong = pl.DataFrame({"item_id": ["a", "b", "c", "d"], "mean_position": [0.8, 0.9, 0.1, 0.2]})
    assert recovered_effects(positions, wrong) == pytest.approx(-1)
    assert recovered_effects(positions, wrong.head(0)) is None


# ---- baselines ----


def test_pooled_answers_leave_out_those_to_be_predicted():
    found = baselines.condition_pooled(np.array([5, 3, 2]), np.array([5, 1, 0]))
    np.testing.assert_allclose(found, [0, 0.5, 0.5])


def test_there_are_no_pooled_answers_where_nobody_else_answered():
    assert baselines.condition_pooled(np.array([5, 1]), np.array([5, 1])) is None


def test_training_marginals_count_each_item_once_and_keep_numbers_of_levels_apart():
    sizes = {"few": 2, "many": 2, "other": 3}
    items = {
        name: SimpleNamespace(scale=Scale.of_levels(range(1, size + 1), origin="stated"))
        for name, size in sizes.items()
    }
    answered = (
        [("few", 1.0)] + [("many", 2.0)] * 99 + [("other", 3.0), ("other", 7.0)]
    )  # the last off the scale
    labeled = pl.DataFrame(answered, schema=["item_id", "value"], orient="row").with_columns(
        study_id=pl.lit("s"), outcome=pl.lit("o"), participant_id=pl.lit("p")
    )
    codes = AnswerCodes.of(labeled, items)
    assert codes.counts()["s", "o", (1, 2)].tolist() == [1, 99]
    marginals = codes.mean_shares()
    np.testing.assert_allclose(marginals[2], [0.5, 0.5])
    np.testing.assert_allclose(marginals[3], [0, 0, 1])
    assert set(marginals) == {2, 3}


def test_halves_are_disjoint_and_of_equal_size():
    codes = np.arange(9) % 5
    one, other = baselines.half_counts(codes, levels=5, splits=30, rng=np.random.default_rng(0))
    assert one.shape == other.shape == (30, 5)
    assert (one.sum(axis=1) == 4).all() and (other.sum(axis=1) == 4).all()
    assert (one + other <= np.bincount(codes)).all()
    assert len(np.unique(one, axis=0)) > 1


@pytest.mark.parametrize(("people", "n"), [(1, 1), (200, 300), (5, 70_000)])
def test_samples_kept_as_small_counts_give_the_histograms_of_the_counts(people, n):
    counts = np.array([[people, 0], [0, people]]), np.array([[n - 1, 1], [1, n - 1]])
    samples = Samples.of(counts, people=people, n=n)
    assert samples.one_counts.itemsize <= 4
    np.testing.assert_array_equal(samples.one, counts[0] / people)
    np.testing.assert_array_equal(samples.other, counts[1] / n)


def test_rows_are_sampled_by_their_own_probabilities():
    rows = np.repeat([[0.0, 0.25, 0.75], [1.0, 0.0, 0.0]], 20_000, axis=0)
    drawn = baselines.sample_rows(rows, rng=np.random.default_rng(0))
    shares = np.bincount(drawn[:20_000], minlength=3) / 20_000
    np.testing.assert_allclose(shares, [0, 0.25, 0.75], atol=0.015)
    assert (drawn[20_000:] == 0).all()


# ---- intervals ----


@pytest.mark.parametrize("clusters", [1, 2, 3])
def test_too_few_clusters_have_a_value_no_interval_and_a_flag(clusters):
    counts = intervals.resample_counts(clusters, rng=np.random.default_rng(0))
    found = mean_estimate(counts, np.linspace(0.1, 0.5, clusters))
    assert (found.lo, found.hi) == (None, None)
    assert found.flag == f"no interval: {clusters} studies"


def test_clusters_without_a_value_take_no_part():
    counts = intervals.resample_counts(3, rng=np.random.default_rng(0))
    assert mean_estimate(counts, np.array([0.1, np.nan, np.nan])).value == 0.1
    assert mean_estimate(counts, np.full(3, np.nan)).value is None


@pytest.mark.parametrize("clusters", [5, 12, 60])
def test_the_interval_of_a_mean_over_few_clusters_is_that_of_students_t(clusters):
    rng = np.random.default_rng(clusters)
    values = rng.normal(size=clusters)
    counts = intervals.resample_counts(clusters, rng=rng, resamples=20_000)
    found = mean_estimate(counts, values)
    expected = stats.t.interval(0.95, clusters - 1, values.mean(), stats.sem(values))
    assert (found.lo, found.hi) == pytest.approx(expected, abs=0.02)


def test_a_correlation_near_one_has_an_interval_that_ends_below_one():
    replicates = np.concatenate(
        [[0.97], np.random.default_rng(0).normal(0.95, 0.03, size=999).clip(max=0.999)]
    )
    found = intervals.estimate(replicates, clusters=8, resampled="studies", transform="fisher_z")
    assert found.lo < 0.97 < found.hi < 1


def test_the_interval_of_a_mean_over_many_clusters_is_the_classical_one():
    rng = np.random.default_rng(4)
    values = rng.normal(size=200)
    found = mean_estimate(intervals.resample_counts(200, rng=rng), values)
    error = values.std() / np.sqrt(200)
    assert found.lo == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert found.hi == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_a_constant_paired_difference_has_an_interval_of_no_width():
    values = np.random.default_rng(5).normal(size=12)
    counts = intervals.resample_counts(12, rng=np.random.default_rng(6))
    difference = intervals.mean_over(counts, values + 0.1) - intervals.mean_over(counts, values)
    np.testing.assert_allclose(difference, 0.1)
