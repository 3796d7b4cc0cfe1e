"""Experiments in which both arms are predicted for every persona."""

import numpy as np
import polars as pl
import pytest
from rectify_example import row

from socsci_jax.errors import InputError
from socsci_jax.estimation.dip import Experiment, dip
from socsci_jax.rectification.rectify import rectify


@pytest.fixture(scope="module")
def arms():
    """Both arms predicted for 400 personas, of whom 100 were asked in one arm each."""
    rng = np.random.default_rng(8)
    s0 = rng.normal(size=400)
    s1 = s0 + 0.3 + 0.2 * rng.normal(size=400)
    d = np.arange(100) % 2
    y = s0[:100] + d * 0.5 + 0.5 * rng.normal(size=100)
    wide = pl.DataFrame({"participant_id": np.arange(400), "S0": s0, "S1": s1})
    gold = pl.DataFrame({"participant_id": np.arange(100), "y": y, "d": d})
    return wide, gold, dip(Experiment(y, d, s0[:100], s1[:100], s0[100:], s1[100:]))


def test_difference_in_predictions_where_both_arms_are_predicted(arms):
    wide, gold, expected = arms
    ours = row(rectify(wide, gold, "y ~ d"), "DiP", "d")
    assert ours["estimate"] == pytest.approx(expected.estimates.estimate[0])
    assert ours["se"] == pytest.approx(expected.estimates.se[0])
    assert (ours["n_labeled"], ours["n_predicted"], ours["lambda"]) == (100, 400, expected.lam)


def test_one_file_with_both_arms_may_be_given_twice(arms):
    wide, gold, expected = arms
    whole = wide.join(gold, on="participant_id", how="left")
    found = rectify(whole, whole, "y ~ d")
    assert found.table["method"].unique(maintain_order=True).to_list() == ["naive", "labels only", "DiP"]
    assert row(found, "DiP", "d")["estimate"] == pytest.approx(expected.estimates.estimate[0])
    # Nobody but those who answered has an arm: the naive estimate is everybody's difference.
    naive = row(found, "naive", "d")
    assert naive["estimate"] == pytest.approx((wide["S1"] - wide["S0"]).mean())
    assert naive["n_predicted"] == 400


def test_both_arms_may_be_two_rows_a_person(arms):
    wide, gold, expected = arms
    long = pl.concat(
        [wide.select("participant_id", d=pl.lit(arm), prediction=pl.col(f"S{arm}")) for arm in (1, 0)]
    )
    ours = row(rectify(long, gold, "y ~ d"), "DiP", "d")
    assert ours["estimate"] == pytest.approx(expected.estimates.estimate[0])


def test_a_prediction_of_no_arm_among_those_of_both_is_refused(arms):
    """It would be lost: the person's other two are taken."""
    wide, gold, _ = arms
    long = pl.concat(
        [wide.select("participant_id", d=pl.lit(arm), prediction=pl.col(f"S{arm}")) for arm in (1, 0)]
    )
    with pytest.raises(InputError, match="'d' is not 0 or 1 in all rows"):
        rectify(pl.concat([long, long.head(1).with_columns(d=pl.lit(None, pl.Int32))]), gold, "y ~ d")


def test_a_treatment_is_zero_or_one_whatever_its_type(arms):
    wide, gold, expected = arms
    for written in (gold.with_columns(pl.col("d").cast(pl.Float64)), gold.with_columns(pl.col("d") == 1)):
        ours = row(rectify(wide, written, "y ~ d"), "DiP", "d")
        assert ours["estimate"] == pytest.approx(expected.estimates.estimate[0])
    with pytest.raises(InputError, match="'d' must be 0 or 1"):
        rectify(wide, gold.with_columns(d=pl.lit("treated")), "y ~ d")
