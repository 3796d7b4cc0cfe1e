"""Estimates from predictions and few answers, against other implementations of the same definitions."""

import importlib

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.coverage import DESIGNS, measure
from socsci_jax.errors import InputError
from socsci_jax.estimation.dsl import dsl, dsl_over_splits, median_of_splits, pseudo_outcomes, recalibrate
from socsci_jax.estimation.linear import fit, wald
from socsci_jax.estimation.ppi import Sample, ppi, ppi_mean

EXACT = 1e-10


@pytest.fixture(scope="module")
def people():
    """200 labeled and 600 other rows of a regression on a treatment and a covariate, with weights and clusters."""
    rng = np.random.default_rng(7)
    rows = 800
    X = np.column_stack([np.ones(rows), rng.integers(0, 2, rows), rng.normal(size=rows)])
    taste = rng.normal(size=rows)
    return {
        "X": X,
        "y": X @ [1, 0.5, 0.2] + taste,
        "prediction": X @ [1.4, 0.1, 0.2] + 0.7 * taste + 0.4 * rng.normal(size=rows),
        "labeled": np.arange(rows) < 200,
        "weights": rng.uniform(0.5, 2, rows),
        "clusters": rng.integers(0, 60, rows),
    }


@pytest.fixture
def ppi_py():
    """Takes seconds to import, of which fast tests have none."""
    return importlib.import_module("ppi_py")


def samples(people, *, weights=False, clusters=False, binary=False):
    """The labeled and the unlabeled sample."""
    y, prediction = people["y"], people["prediction"]
    if binary:
        y, prediction = (y > 1).astype(float), 1 / (1 + np.exp(1 - prediction))

    def part(rows, answers):
        return Sample(
            people["X"][rows], prediction[rows], answers, people["weights"][rows] if weights else None,
            people["clusters"][rows] if clusters else None,
        )  # fmt: skip

    on = people["labeled"]
    return part(on, y[on]), part(~on, None)


@pytest.mark.parametrize("kind", ["HC0", "HC1", "HC2", "CR1"])
@pytest.mark.parametrize("weighted", [False, True])
def test_covariances_of_ols_are_those_of_statsmodels(people, kind, weighted):
    weights = people["weights"] if weighted else np.ones(800)
    model = sm.WLS(people["y"], people["X"], weights=weights)
    arguments = {"cov_type": kind}
    if kind == "CR1":
        arguments = {"cov_type": "cluster", "cov_kwds": {"groups": people["clusters"]}}
    ours = fit(people["X"], people["y"], weights=weights).covariance(kind, clusters=people["clusters"])
    np.testing.assert_allclose(ours, model.fit(**arguments).cov_params(), rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize("kind", ["HC0", "CR1"])
def test_logit_and_its_covariances_are_those_of_statsmodels(people, kind):
    y = (people["y"] > 1).astype(float)
    arguments = {"cov_type": kind}
    if kind == "CR1":
        arguments = {"cov_type": "cluster", "cov_kwds": {"groups": people["clusters"]}}
    theirs = sm.Logit(y, people["X"]).fit(disp=0, tol=1e-14, **arguments)
    ours = fit(people["X"], y, family="logit")
    np.testing.assert_allclose(ours.coefficients, theirs.params, atol=EXACT)
    covariance = ours.covariance(kind, clusters=people["clusters"])
    np.testing.assert_allclose(covariance, theirs.cov_params(), atol=EXACT)


def test_a_weighted_logit_is_that_of_statsmodels(people):
    y = (people["y"] > 1).astype(float)
    family = sm.families.Binomial()
    theirs = sm.GLM(y, people["X"], family=family, var_weights=people["weights"]).fit(
        tol=1e-14, cov_type="HC0"
    )
    ours = fit(people["X"], y, family="logit", weights=people["weights"])
    np.testing.assert_allclose(ours.coefficients, theirs.params, atol=EXACT)
    np.testing.assert_allclose(ours.covariance("HC0"), theirs.cov_params(), atol=EXACT)


@pytest.mark.slow
@pytest.mark.parametrize("lam", [0.0, 0.35, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_ppi_of_ols_is_that_of_ppi_python(people, ppi_py, lam, weighted):
    on, off = samples(people, weights=weighted)
    lo, hi = ppi_py.ppi_ols_ci(
        on.X,
        on.y,
        on.prediction,
        off.X,
        off.prediction,
        alpha=0.05,
        lam=lam,
        w=on.weights,
        w_unlabeled=off.weights,
    )
    ours = ppi(on, off, lam=lam, errors="gradients").estimates
    normal = wald(ours.estimate, ours.covariance)
    np.testing.assert_allclose(normal.lo, lo, atol=EXACT)
    np.testing.assert_allclose(normal.hi, hi, atol=EXACT)


@pytest.mark.parametrize("kind", ["HC0", "HC2"])
def test_ppi_of_ols_is_two_regressions_of_statsmodels(people, kind):
    on, off = samples(people, weights=True)
    rectifier = sm.WLS(on.y - 0.35 * on.prediction, on.X, weights=on.weights).fit(cov_type=kind)
    imputed = sm.WLS(0.35 * off.prediction, off.X, weights=off.weights).fit(cov_type=kind)
    ours = ppi(on, off, lam=0.35, errors=kind).estimates
    np.testing.assert_allclose(ours.estimate, rectifier.params + imputed.params, atol=EXACT)
    np.testing.assert_allclose(ours.covariance, rectifier.cov_params() + imputed.cov_params(), atol=EXACT)


def test_ppi_of_a_mean_is_its_formula(people):
    """λ · mean of all predictions + mean of y − λ · prediction, two samples that do not depend on each other."""
    on, off = samples(people)
    ours = ppi_mean(on.y, on.prediction, off.prediction, lam=0.6, errors="HC0").estimates
    parts = (0.6 * off.prediction, on.y - 0.6 * on.prediction)
    assert ours.estimate[0] == pytest.approx(sum(part.mean() for part in parts), abs=EXACT)
    variance = sum(part.var() / part.size for part in parts)
    assert ours.covariance[0, 0] == pytest.approx(variance, abs=EXACT)


@pytest.mark.slow
def test_ppi_of_a_mean_is_that_of_ppi_python(people, ppi_py):
    on, off = samples(people)
    ours = ppi_mean(on.y, on.prediction, off.prediction, lam=0.6, errors="HC0")
    theirs = ppi_py.ppi_mean_pointestimate(on.y, on.prediction, off.prediction, lam=0.6)
    assert ours.estimates.estimate[0] == pytest.approx(float(theirs[0]), abs=EXACT)
    lo, hi = ppi_py.ppi_mean_ci(on.y, on.prediction, off.prediction, alpha=0.05, lam=0.6)
    normal = wald(ours.estimates.estimate, ours.estimates.covariance)
    assert normal.lo[0] == pytest.approx(lo.item(), abs=EXACT)
    assert normal.hi[0] == pytest.approx(hi.item(), abs=EXACT)


@pytest.mark.slow
@pytest.mark.parametrize("lam", [0.0, 0.35, 1.0])
@pytest.mark.filterwarnings("ignore:'penalty' was deprecated:FutureWarning")
def test_ppi_of_a_logit_is_that_of_ppi_python(people, ppi_py, lam):
    on, off = samples(people, binary=True)
    precise = {"ftol": 1e-16, "gtol": 1e-13, "maxls": 1000, "maxiter": 10_000}
    lo, hi = ppi_py.ppi_logistic_ci(
        on.X, on.y, on.prediction, off.X, off.prediction, alpha=0.05, lam=lam, optimizer_options=precise
    )
    ours = ppi(on, off, lam=lam, family="logit").estimates
    normal = wald(ours.estimate, ours.covariance)
    # Theirs stops where L-BFGS no longer gains, at a gradient of about 1e-9; ours solves the equation to 1e-12.
    np.testing.assert_allclose(normal.lo, lo, atol=1e-7)
    np.testing.assert_allclose(normal.hi, hi, atol=1e-7)
    gradient = off.X.T @ (lam * (off.prediction - 1 / (1 + np.exp(-off.X @ ours.estimate)))) / len(off)
    gradient += (
        on.X.T @ (on.y - lam * on.prediction - (1 - lam) / (1 + np.exp(-on.X @ ours.estimate))) / len(on)
    )
    assert np.abs(gradient).max() < EXACT


def test_ppi_without_weight_of_the_predictions_is_the_answers_alone(people):
    on, off = samples(people)
    np.testing.assert_allclose(
        ppi(on, off, lam=0.0).estimates.estimate, fit(on.X, on.y).coefficients, atol=EXACT
    )


def test_the_fitted_weight_of_predictions_follows_their_worth(people):
    on, off = samples(people)
    noise = np.random.default_rng(0).normal(size=800)
    useless = Sample(on.X, noise[:200], on.y), Sample(off.X, noise[200:])
    perfect = Sample(on.X, on.y, on.y), Sample(off.X, people["y"][200:])
    assert ppi(*useless).lam < 0.15
    # The optimum of a perfect prediction is N / (N + n).
    assert ppi(*perfect).lam == pytest.approx(0.75, abs=0.05)


def test_the_fitted_weight_stays_between_none_and_full(people):
    on, off = samples(people)
    assert ppi(Sample(on.X, -on.prediction, on.y), Sample(off.X, -off.prediction)).lam == 0.0
    shrunk = Sample(on.X, 0.1 * on.prediction, on.y), Sample(off.X, 0.1 * off.prediction)
    assert ppi(*shrunk).lam == 1.0


def test_copies_of_rows_in_a_cluster_leave_a_clustered_error_as_it_was(people):
    on, off = samples(people)

    def copied(sample, first):
        clusters = np.repeat(first + np.arange(len(sample)), 3)
        rows = np.repeat(np.arange(len(sample)), 3)
        y = None if sample.y is None else sample.y[rows]
        return Sample(sample.X[rows], sample.prediction[rows], y, None, clusters)

    single = ppi(on, off, lam=0.5, errors="HC0").estimates.se
    tripled = ppi(copied(on, 0), copied(off, 1_000), lam=0.5).estimates
    np.testing.assert_allclose(tripled.se, single * np.sqrt(800 / 799), rtol=1e-8)
    assert tripled.df == 199


def test_dsl_of_a_linear_model_is_ols_on_pseudo_outcomes_with_hc0(people):
    known = {key: people[key] for key in ("prediction", "y", "labeled")}
    ours = dsl(people["X"], **known, probability=0.25)
    pseudo = pseudo_outcomes(**known, probability=0.25)
    theirs = sm.OLS(pseudo, people["X"]).fit(cov_type="HC0")
    np.testing.assert_allclose(ours.estimate, theirs.params, atol=EXACT)
    np.testing.assert_allclose(ours.se, theirs.bse, atol=EXACT)


def test_dsl_clustered_has_no_small_sample_factor(people):
    known = {key: people[key] for key in ("prediction", "y", "labeled")}
    ours = dsl(people["X"], **known, probability=0.25, clusters=people["clusters"])
    pseudo = pseudo_outcomes(**known, probability=0.25)
    groups = {"groups": people["clusters"], "use_correction": False}
    theirs = sm.OLS(pseudo, people["X"]).fit(cov_type="cluster", cov_kwds=groups)
    np.testing.assert_allclose(ours.se, theirs.bse, atol=EXACT)


def test_dsl_of_a_logit_solves_its_moment(people):
    y, labeled = (people["y"] > 1).astype(float), people["labeled"]
    prediction = 1 / (1 + np.exp(1 - people["prediction"]))
    ours = dsl(people["X"], prediction=prediction, y=y, labeled=labeled, probability=0.25, family="logit")
    pseudo = pseudo_outcomes(prediction, y, labeled, 0.25)
    moment = people["X"].T @ (pseudo - 1 / (1 + np.exp(-people["X"] @ ours.estimate)))
    assert np.abs(moment).max() < 1e-8


def test_dsl_needs_no_answer_where_nobody_is_labeled(people):
    hidden = np.where(people["labeled"], people["y"], np.nan)
    known = {"prediction": people["prediction"], "labeled": people["labeled"], "probability": 0.25}
    shown = dsl(people["X"], y=people["y"], **known)
    np.testing.assert_array_equal(dsl(people["X"], y=hidden, **known).estimate, shown.estimate)


def test_labeling_probabilities_undo_unequal_sampling():
    # Those with x = 1 are labeled nine times as often; the mean of all is 0.5 nevertheless.
    rng = np.random.default_rng(3)
    x = rng.integers(0, 2, 20_000)
    probability = np.where(x == 1, 0.9, 0.1)
    labeled = rng.random(20_000) < probability
    ours = dsl(
        np.ones((20_000, 1)), prediction=np.zeros(20_000), y=x, labeled=labeled, probability=probability
    )
    assert ours.estimate[0] == pytest.approx(0.5, abs=4 * ours.se[0])
    assert x[labeled].mean() > 0.8


def test_splits_are_combined_by_the_median_and_its_spread():
    fits = [wald(np.array([b]), np.array([[v]])) for b, v in ((1.0, 0.04), (1.2, 0.04), (1.5, 0.09))]
    combined = median_of_splits(fits)
    assert combined.estimate[0] == 1.2
    # Spreads: 0.04 + 0.2^2, 0.04, 0.09 + 0.3^2; their median is the first.
    assert combined.se[0] == pytest.approx(np.sqrt(0.08))


def test_a_recalibrated_prediction_does_not_know_its_own_answer(people):
    arguments = {key: people[key] for key in ("prediction", "labeled")} | {"probability": 0.25}
    one = people["y"].copy()
    one[5] += 100
    before, after = (
        recalibrate(people["X"], y=y, rng=np.random.default_rng(0), **arguments) for y in (people["y"], one)
    )
    assert before[5] == after[5]
    assert np.abs(before - after).max() > 0.1


def test_recalibration_makes_a_shifted_prediction_as_good_as_an_unshifted_one(people):
    known = {key: people[key] for key in ("y", "labeled")} | {"probability": 0.25}
    shifted = dsl_over_splits(people["X"], prediction=5 + 3 * people["prediction"], **known)
    plain = dsl_over_splits(people["X"], prediction=people["prediction"], **known)
    np.testing.assert_allclose(shifted.estimate, plain.estimate, atol=1e-8)
    assert (dsl(people["X"], prediction=5 + 3 * people["prediction"], **known).se > 1.3 * shifted.se).all()


@pytest.mark.slow
def test_intervals_cover_where_predictions_alone_never_do():
    """The small version of benchmarks/coverage.py: 200 studies of one design, and experiments."""
    for row in measure(200, designs=DESIGNS[1:2], seed=5):
        if row.method == "naive":
            assert row.covered < 0.05
        else:
            assert 0.91 <= row.covered <= 0.985, row
            assert abs(row.bias) < 0.2, row


def test_labels_that_answer_for_predictions_narrow_the_interval():
    width = {row.method: row.width for row in measure(40, designs=DESIGNS[:1], dips=False)}
    assert width["PPI++"] < 0.7 * width["labels"]
    assert width["DSL"] < 0.75 * width["labels"]


@pytest.mark.parametrize("probability", [0.0, -0.1, 1.5, np.nan])
def test_a_labeling_probability_outside_its_range_is_refused(people, probability):
    with pytest.raises(InputError, match="must be above 0 and at most 1"):
        pseudo_outcomes(people["prediction"], people["y"], people["labeled"], probability)


def test_columns_that_depend_on_each_other_are_refused(people):
    with pytest.raises(InputError, match="depend on each other"):
        fit(np.column_stack([people["X"], people["X"][:, 1]]), people["y"])


def test_answers_that_a_variable_separates_are_refused(people):
    with pytest.raises(InputError, match="separates"):
        fit(people["X"], people["X"][:, 1], family="logit")


@settings(max_examples=40)
@given(st.sampled_from(["y", "prediction", "X", "weights"]), st.sampled_from([np.nan, np.inf, -np.inf]))
def test_what_is_not_finite_is_refused_and_named(people_column, value):
    X = np.column_stack([np.ones(10), np.arange(10.0)])
    columns = {"y": np.arange(10.0), "prediction": np.arange(10.0), "X": X, "weights": np.ones(10)}
    columns[people_column].flat[7] = value
    with pytest.raises(InputError, match=r"finite|Weight"):
        Sample(columns["X"], columns["prediction"], columns["y"], columns["weights"])
