"""Difference in predictions, compared with its formulas written out."""

import numpy as np
import pytest

from socsci_jax.estimation.dip import Experiment, best_lam, dip

EXACT = 1e-10


@pytest.fixture(scope="module")
def experiment():
    rng = np.random.default_rng(11)
    taste, own = rng.normal(size=(2, 500))
    s0 = taste + 0.3 * rng.normal(size=500)
    s1 = s0 + 0.2 + 0.5 * own
    arm = np.arange(120) % 2
    y = taste[:120] + arm * (0.5 + own[:120]) + 0.5 * rng.normal(size=120)
    return Experiment(y, arm, s0[:120], s1[:120], s0[120:], s1[120:])


def test_difference_in_predictions_by_its_formula(experiment):
    e, lam = experiment, 0.4
    one, zero = e.arm == 1, e.arm == 0
    effect = lam * (e.u1 - e.u0).mean() + (e.y - lam * e.s1)[one].mean() - (e.y - lam * e.s0)[zero].mean()
    variance = lam**2 * (e.u1 - e.u0).var(ddof=1) / 380
    for rows, s in ((one, e.s1), (zero, e.s0)):
        both = np.cov(e.y[rows], s[rows])
        variance += (both[0, 0] + lam**2 * both[1, 1] - 2 * lam * both[0, 1]) / rows.sum()
    ours = dip(experiment, lam=lam).estimates
    assert ours.estimate[0] == pytest.approx(effect, abs=EXACT)
    assert ours.se[0] == pytest.approx(np.sqrt(variance), abs=EXACT)


def test_the_weight_in_a_difference_in_predictions_by_its_formula(experiment):
    e = experiment
    top = bottom = 0.0
    for rows, s in ((e.arm == 1, e.s1), (e.arm == 0, e.s0)):
        both = np.cov(e.y[rows], s[rows]) / rows.sum()
        top, bottom = top + both[0, 1], bottom + both[1, 1]
    bottom += (e.u1 - e.u0).var(ddof=1) / 380
    assert best_lam(experiment) == pytest.approx(top / bottom, abs=EXACT)


def test_the_fitted_weight_of_a_difference_in_predictions_is_near_the_best(experiment):
    assert dip(experiment).lam == pytest.approx(best_lam(experiment), abs=0.1)


def test_clusters_of_one_person_change_little(experiment):
    e = experiment
    clustered = Experiment(
        e.y, e.arm, e.s0, e.s1, e.u0, e.u1, clusters=np.arange(120), clusters_unlabeled=200 + np.arange(380)
    )
    ours, plain = dip(clustered, lam=0.4).estimates, dip(experiment, lam=0.4).estimates
    assert ours.se[0] == pytest.approx(plain.se[0], rel=0.02)
    assert ours.df == 119


def test_weights_of_two_are_two_people_in_a_difference_in_predictions(experiment):
    e = experiment
    weights = 1 + (np.arange(120) < 40).astype(float)
    twice = np.concatenate([np.arange(120), np.arange(40)])
    weighted = Experiment(e.y, e.arm, e.s0, e.s1, e.u0, e.u1, weights=weights)
    repeated = Experiment(e.y[twice], e.arm[twice], e.s0[twice], e.s1[twice], e.u0, e.u1)
    assert dip(weighted, lam=0.4).estimates.estimate == pytest.approx(
        dip(repeated, lam=0.4).estimates.estimate
    )
