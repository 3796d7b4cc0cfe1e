"""What calibration learns: how much of a prediction to believe, how wide to be, and where to be silent."""

import numpy as np
import polars as pl
import pytest
import scipy.stats

from benchmarks.forecast_coverage import archive_tables, invented_effects, invented_table
from socsci_jax.errors import InputError
from socsci_jax.forecasting.calibration import Calibration, calibrate
from socsci_jax.forecasting.intervals import draw_effects, expected_effects, quantile, ranks
from socsci_jax.forecasting.judging import judgment, leaving_studies_out, without_people
from socsci_jax.forecasting.mixture import GRID, UNKNOWN, Rows, fit_mixture, rotate
from socsci_jax.forecasting.table import calibration_table, with_study_size

KEY = {"study": "new", "outcome": "o", "reference": "control"}


def learned(kind: str, *, seed: int = 0, **changes) -> Calibration:
    return calibrate(invented_effects(np.random.default_rng(seed), kind=kind, **changes))


def asked(predicted, **features) -> pl.DataFrame:
    rows = [
        KEY | {"condition": f"c{k}", "predicted": float(x), "undirected": False}
        for k, x in enumerate(predicted)
    ]
    unknown = {"spread": None, "distance": 0.5, "options": None, "mass": None}
    return with_study_size(pl.DataFrame(rows)).with_columns(
        pl.lit(value, dtype=pl.Float64).alias(name) for name, value in (unknown | features).items()
    )


def test_good_predictions_are_believed():
    # Half of every effect is predicted, with an error of 1.5 points: little where effects are small, much where large.
    assert 0.5 < learned("good").slope < 1.5


@pytest.mark.parametrize("kind", ["useless", "misleading"])
def test_predictions_that_give_nothing_are_not_believed(kind):
    found = learned(kind)
    told = expected_effects(found, asked([-4.0, 0.0, 4.0]))
    assert np.ptp(told["expected"].to_numpy()) < 0.15 * 8


def test_useless_predictions_have_intervals_as_wide_as_human_effects():
    rng = np.random.default_rng(5)
    true = pl.concat([invented_effects(rng, kind="useless", studies=200)])["true"]
    told = expected_effects(learned("useless"), asked([0.0]))
    width = (told["hi_90"] - told["lo_90"]).item()
    assert width == pytest.approx(true.quantile(0.95) - true.quantile(0.05), rel=0.35)


def test_a_prediction_is_never_turned_round():
    calibration = learned("good")
    told = calibration.expected(asked([5.0, -5.0], distance=0.69)) - calibration.mean_effect
    assert told[0] >= 0 >= told[1]


def test_a_study_of_unknown_scale_is_added_to_those_seen():
    """So few studies leave more weight to effects larger than seen."""
    few, many = (learned("useless", studies=n).weights for n in (10, 50))
    assert (few >= UNKNOWN / 11 - 1e-12).all() and (many >= UNKNOWN / 51 - 1e-12).all()
    assert few[GRID > 20].sum() > 2 * many[GRID > 20].sum()


def test_far_texts_and_predictions_larger_than_known_are_refused_with_the_reason():
    calibration = learned("good")
    told = expected_effects(
        calibration, pl.concat([asked([1.0]), asked([1.0], distance=0.95), asked([400.0])])
    )
    assert told["abstains"].to_list()[0] == ""
    assert told["abstains"][1].startswith("distance of the text beyond 0.3")
    assert told["abstains"][2].startswith("predicted effect beyond")
    assert told["expected"].is_null().to_list() == [False, True, True]


def test_what_differs_within_studies_was_seen_from_its_least_to_its_most():
    """Every study asks on scales of 2 and of 101 answers: an outcome of either is like what calibration knows."""
    table = invented_effects(np.random.default_rng(0), kind="good")
    options = np.where(np.arange(table.height) % 2, 101.0, 2.0)
    calibration = calibrate(table.with_columns(options=pl.Series(options)))
    told = expected_effects(
        calibration, pl.concat([asked([1.0], options=n) for n in (2.0, 7.0, 101.0, 1001.0)])
    )
    assert told["abstains"].to_list()[:3] == ["", "", ""]
    assert told["abstains"][3] == "number of response options beyond 2 to 101"


def test_calibration_comes_back_from_json():
    calibration = learned("good")
    again = Calibration.of_json(calibration.to_json())
    table = asked([1.0, -2.0])
    assert expected_effects(again, table).equals(expected_effects(calibration, table))


def test_a_table_without_its_columns_is_refused():
    with pytest.raises(InputError, match="lacks column 'human_se'"):
        calibration_table(invented_effects(np.random.default_rng(0), kind="good").drop("human_se"))


# --- the statistics -----------------------------------------------------------------------------------------------


def test_rotation_keeps_the_likelihood():
    """The rotated rows have the density of the correlated ones, up to the factor that no parameter changes."""
    rng = np.random.default_rng(0)
    rows = Rows(
        human=rng.normal(size=5) * 4,
        design=rng.normal(size=(5, 2)),
        se=np.array([2.0, 2.5, 3.0, 1.5, 2.0]),
        reference_se=np.array([1.0, 1.0, 1.0, 1.2, 1.2]),
        study=np.zeros(5, int),
        outcome=np.array([0, 0, 0, 1, 1]),
    )
    scale = np.exp(rng.normal(size=5) * 0.3)
    rotated = rotate(rows, scale)

    def direct(tau):
        total = 0.0
        for at in (slice(0, 3), slice(3, 5)):
            size = len(rows.human[at])
            error = np.diag(rows.se[at] ** 2 - rows.reference_se[at] ** 2) + rows.reference_se[at][0] ** 2
            true = tau**2 * np.outer(scale[at], scale[at]) * (np.eye(size) + 1) / 2
            total += scipy.stats.multivariate_normal(cov=error + true).logpdf(rows.human[at])
        return total

    def independent(tau):
        variance = 1 + tau**2 * rotated.lam
        return -0.5 * (np.log(variance) + rotated.human**2 / variance).sum()

    assert direct(3.0) - direct(0.7) == pytest.approx(independent(3.0) - independent(0.7))


def test_the_distribution_of_scales_is_recovered():
    """Half of the studies have effects of 1 point, half of 10."""
    rng = np.random.default_rng(0)
    study, human = np.repeat(np.arange(200), 8), np.empty(1600)
    for s in range(200):
        deviation = rng.normal(size=9) * (1 if s % 2 else 10) / np.sqrt(2)
        human[8 * s : 8 * s + 8] = deviation[1:] - deviation[0]
    tiny = np.full(1600, 0.1)
    rows = Rows(human, np.zeros((1600, 1)), tiny, tiny / 2, study, study)
    found = fit_mixture(rotate(rows, np.ones(1600)), b=np.zeros(1), iterations=300)
    middle = GRID < 3
    assert found.weights[middle].sum() == pytest.approx(0.5, abs=0.08)
    assert found.weights[GRID > 20].sum() < 0.05


def test_quantiles_of_a_mixture():
    sd, weights = np.array([[1.0, 5.0]]), np.array([0.7, 0.3])
    q = quantile(0.95, sd, weights)[0]
    assert scipy.stats.norm.cdf(q / sd[0]) @ weights == pytest.approx(0.95)


def test_draws_have_the_quantiles_of_the_intervals():
    calibration = learned("good")
    table = asked([2.0, 1.0, -1.0])
    draws = draw_effects(calibration, table, rng=np.random.default_rng(0), draws=40_000)
    told = expected_effects(calibration, table)
    inside = (draws > told["lo_90"].to_numpy()) & (draws < told["hi_90"].to_numpy())
    assert inside.mean(axis=0) == pytest.approx(0.9, abs=0.01)


def test_equal_arms_are_equally_likely_to_be_highest():
    found = ranks(learned("useless"), asked([0.0] * 3), rng=np.random.default_rng(0), draws=20_000)
    arms = found.filter(pl.col("condition") != "control")["p_highest"].to_numpy()
    assert arms == pytest.approx(arms.mean(), abs=0.02)


# --- whether intervals cover --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_intervals_cover_whatever_the_model_is_worth():
    """Small: benchmarks/forecast_coverage.py draws 500 collections of each kind."""
    found = invented_table(12, new=15)
    near = found.filter(far=0.0)
    assert near["coverage_90"].to_numpy() == pytest.approx(0.92, abs=0.06)
    assert (near["rmse"] < 1.05 * near["rmse_none"]).all()
    assert (near["rmse"] < 1.05 * near["rmse_raw"]).all()
    far = found.filter(far=0.2)
    assert (far["coverage_90"] > far["coverage_90_all"] + 0.05).all()


@pytest.mark.slow
def test_intervals_cover_real_studies_that_are_left_out(shared_data, tmp_path):
    import data_pipelines

    store = data_pipelines.build(
        "tess_archive", str(shared_data / "tess_archive"), tmp_path / "store", command="test"
    )
    for name, table in archive_tables(store, random_model=False):
        if name in ("half of the people", "noise"):
            judged = leaving_studies_out(table.drop_nulls(["human", "human_se"]), folds=5)
            value = dict(judgment(judged).select("measure", "value").iter_rows())
            assert 0.84 < value["coverage_90"] < 0.96, name
            assert value["rmse_forecast_minus_no_effect"] < 0.1


def test_nothing_of_the_people_asked_reaches_their_own_forecast():
    """Changing what people of one fold answered changes no forecast of that fold."""
    table = calibration_table(invented_effects(np.random.default_rng(0), kind="good", studies=18))
    before = leaving_studies_out(table, folds=3)
    changed = table.with_columns(
        pl.when(pl.col("study") == "s3").then(50.0).otherwise("human").alias("human")
    )
    after = leaving_studies_out(changed, folds=3)
    own = pl.col("study") == "s3"
    assert before.filter(own)["expected"].equals(after.filter(own)["expected"])
    assert not before.filter(~own)["lo_90"].equals(after.filter(~own)["lo_90"])
    assert "human" not in without_people(table).columns
