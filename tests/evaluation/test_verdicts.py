"""How often verdicts claim what is not there, and how often intervals hold what they should, by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from socsci_jax.evaluation import intervals
from socsci_jax.evaluation.contrasts import centered
from socsci_jax.evaluation.effect_verdicts import effects_state
from socsci_jax.evaluation.intervals import Estimate
from socsci_jax.evaluation.metrics import BY_NAME, effects
from socsci_jax.evaluation.metrics.condition_sensitivity import spread_ratio
from socsci_jax.evaluation.metrics.moments import moments_with_error
from socsci_jax.evaluation.verdicts import beats

RUNS = 300
# 95 % of the correlations of shuffled conditions.
SHUFFLED = Estimate(0.0, -0.4, 0.4)


def shuffled(null: np.ndarray) -> Estimate:
    return Estimate(float(null.mean()), *np.quantile(null, [0.025, 0.975]).tolist())


def few_resamples(clusters: int, rng: np.random.Generator) -> np.ndarray:
    return intervals.resample_counts(clusters, rng=rng, resamples=400)


@pytest.mark.parametrize("studies", [5, 10, 20, 40])
def test_intervals_of_a_paired_difference_cover_it_with_few_studies_too(studies):
    """Heavy-tailed differences between studies, true mean 0.02: 93 to 97 % over 1,500 runs."""
    rng = np.random.default_rng(studies)
    counts = few_resamples(studies, rng)
    covered = []
    for _ in range(1_500):
        values = 0.02 + 0.05 * rng.standard_t(6, size=studies)
        found = intervals.estimate(intervals.mean_over(counts, values), clusters=studies, resampled="studies")
        covered.append(found.lo <= 0.02 <= found.hi)
    assert 0.93 <= np.mean(covered) <= 0.97


@pytest.mark.parametrize("studies", [4, 8, 25, 60])
def test_better_is_claimed_of_equals_at_most_once_in_twenty_times(studies):
    rng = np.random.default_rng(studies)
    counts = few_resamples(studies, rng)
    claims = [
        beats(
            intervals.estimate(
                intervals.mean_over(counts, rng.normal(0, 0.05, size=studies)),
                clusters=studies,
                resampled="studies",
            )
        )
        for _ in range(1_000)
    ]
    assert np.mean(claims) <= 0.05


def null_state(studies: int, rng: np.random.Generator, *, seen: float = 0.0) -> str:
    """The state of a model whose condition means have nothing to do with people's, or a share `seen`."""
    outcomes, arms = 2, 4
    group = np.repeat(np.arange(studies * outcomes), arms)
    human = centered(
        rng.normal(size=group.size) * rng.gamma(1.0, size=studies).repeat(outcomes * arms), group
    )
    model = centered(seen * human + rng.normal(size=group.size), group)
    cluster = np.repeat(np.arange(studies), outcomes * arms)
    terms = moments_with_error(human, model, np.zeros(group.size), np.zeros(group.size, dtype=bool))
    counts = few_resamples(studies, rng)
    sums = counts @ intervals.sum_by(terms, cluster, studies)
    metric = BY_NAME["condition_sensitivity_r"]
    r = intervals.estimate(
        effects.correlation(sums),
        clusters=studies,
        resampled="studies",
        transform=metric.transform,
        low=-1,
        high=1,
    )
    null = effects.permutation_null(model, human, group, permutations=99, rng=rng)
    return effects_state(r, shuffled(null), Estimate(float(spread_ratio(sums)[0])))


@pytest.mark.parametrize("studies", [4, 12, 40])
def test_moving_with_the_conditions_is_claimed_of_noise_at_most_once_in_twenty_times(studies):
    rng = np.random.default_rng(studies)
    states = [null_state(studies, rng) for _ in range(RUNS)]
    assert states.count("moves") / RUNS <= 0.05
    assert states.count("against") / RUNS <= 0.05
    assert states.count("undecided") / RUNS > 0.8


def null_state_of_one_study(unit: str, rng: np.random.Generator) -> str:
    """The state of a model that knows nothing of one study: arms resampled, each with an effect of its own on all
    outcomes, or outcomes resampled, in each of which arms have other effects.
    """
    arms, outcomes = (8, 5) if unit == "conditions" else (4, 10)
    group = np.repeat(np.arange(outcomes), arms)
    arm = np.tile(np.arange(arms), outcomes)

    def answers() -> np.ndarray:
        shared = rng.normal(size=arms)[arm] if unit == "conditions" else 0.0
        return centered(shared + rng.normal(size=group.size), group)

    human, model = answers(), answers()
    cluster = arm if unit == "conditions" else group
    clusters = arms if unit == "conditions" else outcomes
    terms = moments_with_error(human, model, np.zeros(group.size), np.zeros(group.size, dtype=bool))
    sums = few_resamples(clusters, rng) @ intervals.sum_by(terms, cluster, clusters)
    metric = BY_NAME["condition_sensitivity_r"]
    r = intervals.estimate(
        effects.correlation(sums),
        clusters=clusters,
        resampled=unit,
        transform=metric.transform,
        low=-1,
        high=1,
    )
    null = effects.permutation_null(model, human, group, permutations=99, rng=rng)
    return effects_state(r, shuffled(null), Estimate(float(spread_ratio(sums)[0])))


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["conditions", "outcomes"])
def test_one_study_claims_moving_with_the_conditions_of_noise_at_most_once_in_twenty_times(unit):
    rng = np.random.default_rng(1)
    states = [null_state_of_one_study(unit, rng) for _ in range(800)]
    assert states.count("moves") / 800 <= 0.05
    assert states.count("against") / 800 <= 0.05


def test_moving_with_the_conditions_is_found_where_it_is():
    rng = np.random.default_rng(0)
    states = [null_state(20, rng, seen=1.0) for _ in range(60)]
    assert states.count("moves") / 60 > 0.8


def test_a_predictor_without_spread_is_blind_whatever_its_correlation():
    assert effects_state(Estimate(0.9, 0.8, 0.95), SHUFFLED, Estimate(0.001)) == "blind"
    assert effects_state(Estimate(None), None, None) == "blind"
    assert effects_state(None, None, None) == "nothing"
    assert effects_state(Estimate(None), None, Estimate(0.5)) == "undecided"


def test_either_direction_needs_the_interval_and_the_shuffles():
    spread = Estimate(1.0)
    assert effects_state(Estimate(0.5, 0.1, 0.8), SHUFFLED, spread) == "moves"
    assert effects_state(Estimate(-0.5, -0.8, -0.1), SHUFFLED, spread) == "against"
    for r in (Estimate(0.3, 0.1, 0.5), Estimate(-0.3, -0.5, -0.1)):  # no more than shuffles give
        assert effects_state(r, SHUFFLED, spread) == "undecided"
        assert effects_state(r, Estimate(None), spread) == "undecided"
    for r in (Estimate(0.5, -0.1, 0.8), Estimate(-0.5, -0.8, 0.1), Estimate(0.5)):
        assert effects_state(r, SHUFFLED, spread) == "undecided"
