"""How many answers buy which interval."""

import numpy as np
import pytest

from benchmarks.coverage import draw_experiment
from socsci_jax.errors import InputError
from socsci_jax.estimation.dip import Experiment, dip
from socsci_jax.estimation.power import Worth, curve, labels_needed, worth_of_experiment, worth_of_regression
from socsci_jax.estimation.ppi import Sample, ppi_mean


def people(rng, n, *, others=4_000):
    """Answers with variance 1.36 of n people, and predictions that know 0.64 / 0.73 of what can be known."""
    taste = rng.normal(size=n + others)
    y = taste[:n] + 0.6 * rng.normal(size=n)
    return y, *np.split(0.8 * taste + 0.3 * rng.normal(size=n + others), [n])


def test_the_least_variance_depends_on_the_correlation_alone():
    worth = Worth(answers=4.0, mixed=3.0, labeled=9.0, unlabeled=9.0)
    n, others = 100.0, 400.0
    assert worth.correlation == 0.5
    assert worth.se(n, others) ** 2 == pytest.approx(4 / 100 * (1 - 0.25 / (1 + n / others)))


def test_a_pilot_foretells_the_interval_of_a_larger_study():
    rng = np.random.default_rng(0)
    y, f, f_others = people(rng, 3_000)
    labeled = Sample(np.ones((3_000, 1)), f, y)
    worth = worth_of_regression(labeled, Sample(np.ones((4_000, 1)), f_others), coefficient=0)
    assert worth.answers == pytest.approx(y.var())
    seen = [ppi_mean(*people(rng, 200)).estimates.se[0] for _ in range(40)]
    assert worth.se(200, 4_000) == pytest.approx(np.mean(seen), rel=0.03)


def test_a_pilot_foretells_the_interval_of_an_experiment():
    rng = np.random.default_rng(1)
    pilots = [draw_experiment(rng) for _ in range(20)]
    joined = Experiment(
        *(
            np.concatenate([getattr(one, name) for one in pilots])
            for name in ("y", "arm", "s0", "s1", "u0", "u1")
        )
    )
    seen = np.mean([dip(one).estimates.se[0] for one in pilots])
    assert worth_of_experiment(joined).se(150, 1_350) == pytest.approx(seen, rel=0.05)


def test_predictions_replace_answers():
    worth = Worth(answers=1.0, mixed=0.8, labeled=1.0, unlabeled=1.0)
    found = curve(worth, n=np.array([100, 400]), others=1e9, effect=0.25)
    # rho = 0.8 saves 64 %: 100 answers are worth 278.
    np.testing.assert_allclose(found.equivalent, [100 / 0.36, 400 / 0.36], rtol=1e-6)
    np.testing.assert_allclose(found.half_width / found.half_width_alone, 0.6, rtol=1e-6)
    assert (found.power > found.power_alone).all()


def test_power_against_no_effect_is_the_false_alarm_rate():
    worth = Worth(answers=1.0, mixed=0.0, labeled=1.0, unlabeled=1.0)
    np.testing.assert_allclose(curve(worth, n=np.array([50]), others=100, effect=0.0).power, 0.05)


def test_labels_needed_is_the_fewest_that_are_enough():
    worth = Worth(answers=1.0, mixed=0.6, labeled=1.0, unlabeled=1.0)
    needed = labels_needed(worth, half_width=0.1, others=2_000)
    widths = curve(worth, n=np.array([needed - 1, needed]), others=2_000).half_width
    assert widths[0] > 0.1 >= widths[1]
    assert needed < labels_needed(worth, half_width=0.1, others=20)


def test_a_width_of_nothing_is_refused():
    with pytest.raises(InputError, match="above 0"):
        labels_needed(Worth(1, 0, 1, 1), half_width=0.0, others=10)
