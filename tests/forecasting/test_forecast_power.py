"""Power of planned studies."""

import numpy as np
import polars as pl
import pytest

from socsci_jax.errors import InputError
from socsci_jax.forecasting.collecting import (
    allocation,
    answers_needed,
    check_purposes,
    purposes,
    screening,
)
from socsci_jax.forecasting.power import (
    nearest_to_zero,
    people_needed,
    power,
    sentence,
    standard_error,
)

Z = 1.6448536


@pytest.mark.parametrize("n", [50, 200, 800])
@pytest.mark.parametrize("shift", [0.0, 0.04, 0.08])
def test_power_by_formula_is_power_by_simulation(n, shift):
    """Studies of n people per arm, drawn from distributions over seven answers; each is tested by its own spread."""
    rng = np.random.default_rng([n, int(100 * shift)])
    at = np.linspace(0, 100, 7)
    control = np.array([0.05, 0.1, 0.2, 0.3, 0.2, 0.1, 0.05])
    treated = control + shift * np.array([-0.5, -0.5, -0.5, 0, 0.5, 0.5, 0.5])
    means, variances = [], []
    for probs in (treated, control):
        counts = rng.multinomial(n, probs, size=60_000)
        mean = counts @ at / n
        means.append(mean)
        variances.append((counts @ at**2 / n - mean**2) / (n - 1))
    found = (np.abs(means[0] - means[1]) > Z * np.sqrt(variances[0] + variances[1])).mean()
    sds = [np.sqrt(p @ at**2 - (p @ at) ** 2) for p in (treated, control)]
    formula = power(treated @ at - control @ at, standard_error(*sds, n))
    assert found == pytest.approx(float(formula), abs=0.01)


def test_so_many_people_have_the_power_wanted():
    n = people_needed(3.0, 25, 30)
    assert power(3.0, standard_error(25, 30, n)) >= 0.95 > power(3.0, standard_error(25, 30, n - 1))
    # By hand: (3.29 / 3)² (25² + 30²) = 1,834.
    assert n == pytest.approx(1834, abs=2)


def test_a_small_pilot_inflates_standard_errors():
    plain = standard_error(20, 20, 100)
    assert standard_error(20, 20, 100, pilot=25) == pytest.approx(1.2 * plain)
    assert people_needed(3, 20, 20, pilot=25) == pytest.approx(1.44 * people_needed(3, 20, 20), rel=1e-2)


def test_no_effect_is_never_found_more_often_than_the_level_says():
    assert power(0.0, 1.0) == pytest.approx(0.1)
    assert people_needed(0.0, 20, 20) is None


def test_the_end_nearer_to_zero():
    assert [nearest_to_zero(*ends) for ends in ((1, 3), (-3, -1), (-1, 2))] == [1, -1, 0]


def test_the_sentence_says_where_no_size_helps():
    effect = {"condition": "praise", "outcome": "trust", "expected": 1.0, "lo_90": -4.0, "hi_90": 6.0}
    assert "no sample size" in sentence(effect | {"lo_50": -1.0, "hi_50": 3.0}, 25, 25, 500)
    assert "people per arm." in sentence(effect | {"lo_50": 0.5, "hi_50": 3.0}, 25, 25, 500)


def test_predictions_that_correlate_save_answers():
    alone = answers_needed(25, correlation=0.0, half_width=2, predicted=10_000)
    assert alone == np.ceil((Z * 25 / 2) ** 2)
    assert answers_needed(25, correlation=0.6, half_width=2, predicted=10_000) == pytest.approx(
        alone * (1 - 0.36), rel=0.03
    )


def test_the_control_gets_more_people_and_nobody_is_lost():
    arms = pl.DataFrame({"condition": ["control", "a", "b", "c", "d"], "sd": [20.0] * 5})
    found = dict(allocation(arms, 1_001, control="control").select("condition", "people").iter_rows())
    assert sum(found.values()) == 1_001
    assert found["control"] == pytest.approx(2 * found["a"], rel=0.02)


def test_answers_that_tuned_cannot_rectify():
    people = [str(k) for k in range(2_000)]
    purpose = purposes(people, tuning=0.3)
    groups = {name: [p for p in people if purpose[p] == name] for name in set(purpose.values())}
    assert len(groups["tuning"]) == pytest.approx(600, abs=80)
    check_purposes(groups["tuning"], groups["rectification"])
    with pytest.raises(InputError, match=r"1 person .* used in tuning"):
        check_purposes(groups["tuning"], [*groups["rectification"], groups["tuning"][0]])


def test_screening_keeps_the_arms_that_may_be_best():
    key = {"study": "s", "outcome": "o"}
    ranks = pl.DataFrame(
        [{**key, "condition": c, "p_highest": p, "p_lowest": 0.0} for c, p in zip("abc", (0.2, 0.7, 0.1))]
    )
    effects = pl.DataFrame([{**key, "condition": c, "expected": 1.0} for c in "abc"])
    found = screening(ranks, effects, keep=2)
    assert found["condition"].to_list() == ["b", "a"]
    assert found["cumulative"].to_list() == pytest.approx([0.7, 0.9])
