"""With few answers, predictions cost an estimate next to nothing where they are worth nothing, and gain where they are."""

import numpy as np
import pytest

from benchmarks.few_answers import PREDICTORS, estimates, measure
from socsci_jax.estimation.dip import Experiment, dip
from socsci_jax.estimation.ppi import Sample, ppi

RUNS = 150


@pytest.mark.parametrize(
    ("sizes", "predictor"),
    [((10, 10), "nearly constant"), ((75, 10), "nearly constant"), ((10, 10), "useless")],
)
def test_predictions_worth_nothing_are_not_much_worse_than_answers_alone(sizes, predictor):
    for gain in measure(RUNS, sizes=sizes, predictor=predictor)[1:]:
        assert gain.error < 1.12, gain
        assert gain.covered > 0.88, gain


def test_good_predictions_halve_the_error_of_few_answers():
    _, together, both_arms = measure(RUNS, sizes=(10, 10), predictor="good")
    assert together.error < 0.6
    assert together.covered > 0.9
    assert both_arms.error < 0.6


def _samples(*, clustered=False):
    rng = np.random.default_rng(3)
    arm = np.repeat([0.0, 1.0, 0.0, 1.0], [31, 12, 100, 60])
    taste = rng.normal(size=len(arm))
    y = arm + taste + rng.normal(size=len(arm))
    f = 0.5 * taste + 0.8 * rng.normal(size=len(arm))
    X = np.column_stack([np.ones(len(arm)), arm])
    clusters = np.arange(len(arm)) // 2 if clustered else np.array([None] * len(arm))
    chosen = (slice(None, 43), slice(43, None))
    on, off = (
        Sample(X[at], f[at], y[at] if n == 0 else None, None, clusters[at] if clustered else None)
        for n, at in enumerate(chosen)
    )
    return on, off


@pytest.mark.parametrize("clustered", [False, True])
def test_what_the_design_says_of_predictions_changes_no_estimate(clustered):
    """A level, or an effect of the treatment, added to all predictions: weights fitted by fold cannot turn it into one."""
    plain, shifted = _samples(clustered=clustered), _samples(clustered=clustered)
    shifted = tuple(
        Sample(one.X, one.prediction + one.X @ [100.0, 30.0], one.y, None, one.clusters) for one in shifted
    )
    ours, theirs = ppi(*plain, coefficient=1), ppi(*shifted, coefficient=1)
    assert 0 < ours.lam < 1
    assert theirs.lam == pytest.approx(ours.lam, abs=1e-9)
    np.testing.assert_allclose(theirs.estimates.estimate, ours.estimates.estimate, atol=1e-9)
    np.testing.assert_allclose(theirs.estimates.se, ours.estimates.se, atol=1e-9)


@pytest.mark.parametrize("clustered", [False, True])
def test_a_level_of_both_arms_changes_no_difference_in_predictions(clustered):
    rng = np.random.default_rng(4)
    taste = rng.normal(size=120)
    s0, s1 = taste + rng.normal(size=120), taste + rng.normal(size=120)
    arm = (np.arange(33) % 3 == 0).astype(float)
    y = taste[:33] + arm + rng.normal(size=33)
    ids = np.arange(120) // 2

    def found(zero, one):
        clusters = (ids[:33], ids[33:]) if clustered else (None, None)
        predicted = (s0[:33] + zero, s1[:33] + one, s0[33:] + zero, s1[33:] + one)
        return dip(Experiment(y, arm, *predicted, clusters=clusters[0], clusters_unlabeled=clusters[1]))

    ours, theirs = found(0.0, 0.0), found(100.0, 130.0)
    assert 0 < ours.lam < 1
    assert theirs.estimates.estimate[0] == pytest.approx(ours.estimates.estimate[0], abs=1e-9)
    assert theirs.estimates.se[0] == pytest.approx(ours.estimates.se[0], abs=1e-9)


def test_every_predictor_is_drawn_for_the_same_people():
    first, second = (
        estimates((10, 10), PREDICTORS[name], np.random.default_rng(0)) for name in ("weak", "good")
    )
    assert first["answers alone"]["x1"] == second["answers alone"]["x1"]
