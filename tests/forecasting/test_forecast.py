"""A forecast from end to end, with a planted model."""

import dataclasses

import numpy as np
import polars as pl
import pytest
from forecast_world import PEOPLE, experiment_items, invented_collection, planted_predict

from socsci_jax.errors import InputError
from socsci_jax.forecasting.collecting import screening
from socsci_jax.forecasting.files import read_forecast, write_forecast
from socsci_jax.forecasting.forecast import forecast
from socsci_jax.forecasting.judging import checked_on
from socsci_jax.forecasting.population import population


def make(items=None, **changes):
    given = {
        "predict": planted_predict,
        "population": population(PEOPLE),
        "collection": invented_collection(np.random.default_rng(0)),
        "subgroups": ("gender",),
    }
    return forecast(experiment_items() if items is None else items, **(given | changes))


@pytest.fixture(scope="module")
def made():
    return make()


def test_every_arm_is_compared_with_the_control(made):
    assert made.effects.select("outcome", "condition", "reference").rows() == [
        (f"outcome {o}", f"arm {a}", "control") for o in range(2) for a in (1, 2)
    ]
    assert (made.effects["predicted"] > 0).all()


def test_intervals_are_nested_around_what_is_expected(made):
    ordered = ["lo_90", "lo_50", "expected", "hi_50", "hi_90"]
    values = made.effects.select(ordered).to_numpy()
    assert (np.diff(values, axis=1) > 0).all()


def test_intervals_do_not_depend_on_how_many_people_are_simulated(made):
    more = make(population=population(PEOPLE * 10))
    assert np.allclose(more.effects["hi_90"], made.effects["hi_90"])


def test_ranks_count_the_control_and_sum_to_one(made):
    sums = made.ranks.group_by("outcome").agg(pl.col("p_highest", "p_lowest").sum(), pl.len())
    assert np.allclose(sums["p_highest"], 1) and np.allclose(sums["p_lowest"], 1)
    assert (sums["len"] == 3).all()


def test_subgroups_move_as_predicted_and_have_no_intervals_where_nothing_has_taught_any(made):
    women = made.groups.filter(pl.col("group") == "Female", pl.col("condition") == "arm 2")["expected"]
    men = made.groups.filter(pl.col("group") == "Male", pl.col("condition") == "arm 2")["expected"]
    assert (women > men).all()
    assert made.groups["lo_90"].is_null().all() and (made.groups["studies"] == 0).all()


def test_subgroups_have_intervals_that_past_effects_on_groups_have_taught(made):
    """Effects on groups are twice as large in the past as everybody's: so are their intervals."""
    past = made.collection.effects
    wide = past.with_columns(pl.col("human", "human_se", "reference_se") * 2)
    found = make(collection=dataclasses.replace(made.collection, groups={"gender": wide})).groups
    assert found.height == 2 * made.effects.height and (found["studies"] == past["study"].n_unique()).all()
    men = found.filter(group="Male").select(pl.col("hi_90") - pl.col("lo_90")).to_series().to_numpy()
    everybody = made.effects.select(pl.col("hi_90") - pl.col("lo_90")).to_series().to_numpy()
    assert (men > 1.5 * everybody).all()
    few = past.filter(pl.col("study").is_in(past["study"].unique().sort().head(9)))
    alone = make(collection=dataclasses.replace(made.collection, groups={"gender": few})).groups
    assert alone.equals(made.groups)


def test_weights_of_people_change_what_is_predicted(made):
    women = make(population=population(PEOPLE, margins={"gender": {"Female": 0.999, "Male": 0.001}}))
    of_women = made.groups.filter(pl.col("group") == "Female")["predicted"].to_numpy()
    assert np.allclose(women.effects["predicted"].to_numpy(), of_women, atol=0.01)


def test_factors_levels_are_averaged_over_the_others():
    """Two by two: arm numbers 0 to 3, of which each adds as much; the first factor adds one step, the second two."""
    items = [
        dataclasses.replace(item, factors={"first": ["no", "yes"][k % 2], "second": ["no", "yes"][k // 2]})
        for k, item in enumerate(experiment_items(arms=4, outcomes=1))
    ]
    found = make(items).components
    assert found["condition"].to_list() == ["first: yes", "second: yes"]
    by_hand = make(items).effects["predicted"].to_numpy()  # of arms 1, 2, 3 against 0
    assert found["predicted"].to_list() == pytest.approx(
        [(by_hand[0] + by_hand[2] - by_hand[1]) / 2, (by_hand[1] + by_hand[2] - by_hand[0]) / 2]
    )


def test_variants_of_the_prompt_give_a_spread():
    def predict(pairs):
        made = planted_predict(pairs)
        shifted = made.frame.with_columns(variant=pl.lit("reversed"), probs=pl.col("probs").list.reverse())
        frames = [
            made.frame.with_columns(variant=pl.lit("plain")),
            shifted.select(*made.frame.columns, "variant"),
        ]
        return dataclasses.replace(made, frame=pl.concat(frames))

    found = make(predict=predict).effects
    alone = make().effects["predicted"].to_numpy()
    # Reversed answers turn every effect round: the mean is none, and two values x and -x have a deviation of sqrt(2) |x|.
    assert found["predicted"].to_numpy() == pytest.approx(0, abs=1e-9)
    assert found["spread"].to_numpy() == pytest.approx(np.sqrt(2) * np.abs(alone))


def test_power_rises_with_people_and_assurance_stays_below_certainty(made):
    one = made.power.filter(pl.col("condition") == "arm 2", pl.col("outcome") == "outcome 0")
    assert (one["power_expected"].diff().drop_nulls() > 0).all()
    assert (one["assurance"] < 1).all()


def test_hundreds_of_arms_are_screened():
    found = make(experiment_items(arms=300, outcomes=1), subgroups=())
    kept = screening(found.ranks, found.effects, keep=20)
    assert kept.height == 20
    assert kept["p_highest"].is_sorted(descending=True)


def test_an_experiment_that_calibration_knows_is_refused():
    items = experiment_items()
    collection = dataclasses.replace(invented_collection(np.random.default_rng(0)), items=tuple(items))
    with pytest.raises(InputError, match=r"'planned' has the same texts.*exclude=\[planned\]"):
        make(items, collection=collection)


def test_too_few_studies_are_refused():
    with pytest.raises(InputError, match="calibration has 9 studies; 10 are needed"):
        make(collection=invented_collection(np.random.default_rng(0), studies=9))


def test_one_arm_is_refused():
    with pytest.raises(InputError, match="one arm; an effect needs two"):
        make(experiment_items(arms=1))


def test_draws_among_exact_predictions_are_refused():
    def one_drawn(pairs):
        exact = planted_predict(pairs)
        first = pl.int_range(pl.len()) == 0
        drawn = exact.frame.with_columns(probs=pl.when(~first).then("probs"))
        return dataclasses.replace(exact, frame=drawn)

    with pytest.raises(
        InputError, match=r"1 of 36 predictions are draws, such as of 'outcome 0' in 'control'"
    ):
        make(predict=one_drawn)


def test_past_studies_are_forecast_once_however_often_a_forecast_is_written(made, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "socsci_jax.forecasting.forecast.checked_on", lambda *given: asked.append(given) or checked_on(*given)
    )
    again = dataclasses.replace(made)
    for name in ("one", "two"):
        write_forecast(again, tmp_path / name)
    assert len(asked) == 1
    assert read_forecast(tmp_path / "two").table("past").equals(again.past)


def test_a_forecast_comes_back_from_its_folder(made, tmp_path):
    saved = read_forecast(write_forecast(made, tmp_path / "forecast"))
    assert saved.table("effects").equals(made.effects)
    assert np.allclose(saved.calibration.coefficients, made.calibration.coefficients)
    assert saved.levels == made.levels
    assert [item["outcome"] for item in saved.items] == [item.outcome for item in made.items]
