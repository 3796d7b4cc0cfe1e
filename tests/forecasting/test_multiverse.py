"""What variants say of effects, with planted models: curve, survival, drift, swaps, negative controls, and the error of a
balanced assignment."""

import dataclasses

import numpy as np
import polars as pl
import pytest
from forecast_world import invented_collection

from benchmarks.multiverse import people, varied_study
from socsci_jax.errors import InputError
from socsci_jax.forecasting.composites import Composite
from socsci_jax.forecasting.files import read_forecast, write_forecast
from socsci_jax.forecasting.forecast import forecast
from socsci_jax.forecasting.model_checks import drift
from socsci_jax.forecasting.multiverse import decisive, specification_curve
from socsci_jax.forecasting.partial_answers import everybodys_means
from socsci_jax.forecasting.population import population
from socsci_jax.forecasting.tiers import tiers
from socsci_jax.simulation.assignment import asking_of, assign, in_turn
from socsci_jax.studies.predictions import Predictions
from socsci_jax.studies.schema import VARIANT
from socsci_jax.studies.specification_files import parse_specification
from socsci_jax.studies.variants import CHECKED, VariantPredictions

DECLARED = "{orders: reversed, persona_formats: [sentences, reversed], swaps: [gender, age], drift: gender, assignment: ASSIGNED}"
TOPICS = ("parks", "taxes")


def study_of(assigned="full", *, controls=(), declared=DECLARED):
    study = varied_study(declared.replace("ASSIGNED", assigned), topics=TOPICS)
    return dataclasses.replace(study, controls=frozenset(controls))


def shares(mean):
    """A distribution over four levels with this mean, in points of the scale's range."""
    low = 1 - mean / 100
    return [low * 0.75 + 0.125, 0.0, 0.0, 0.75 * (1 - low) + 0.125]


def planted(effect, *, reads_persona=True, drifts=False):
    """Predicts means of 40 points and a planted effect(outcome, variant) of the second arm."""

    def predict(study, personas):
        asking = asking_of(study, personas, seed=0)
        plan = assign(asking, cost=lambda rows: rows.height)
        frame, checks = [], []
        for row in plan.rows.iter_rows(named=True):
            item = asking.items[row["asked"]]
            persona = asking.personas[row["person"]]
            woman = reads_persona and persona["gender"] == "Female"
            treated = item.condition == "costs"
            if row["purpose"] == "drift":
                checks.append((row, [0.5 + 0.2 * treated * drifts, 0.5 - 0.2 * treated * drifts]))
                continue
            variant = study.of_item[row["item_id"]][row["variant"]]
            probs = shares(40 + 4 * woman + treated * effect(item.outcome, variant))
            if row["purpose"] == "variant":
                frame.append(
                    (row["item_id"], row["participant_id"], [1.0, 2.0, 3.0, 4.0], probs, 0.9, variant.name)
                )
            else:
                checks.append((row, probs))
        columns = ["item_id", "participant_id", "levels", "probs", "mass_on_levels", VARIANT]
        return VariantPredictions(
            predictions=Predictions(frame=pl.DataFrame(frame, schema=columns, orient="row"), metadata={}),
            checks=pl.DataFrame(
                [(*(row[name] for name in list(CHECKED)[:4]), probs) for row, probs in checks],
                schema=CHECKED,
                orient="row",
            ),
            cost=plan.cost,
            one_pass=plan.one_pass,
        )

    return predict


def made(effect, *, study=None, number=12, composites=(), **changes):
    study = study or study_of()
    return forecast(
        study.items,
        predict=lambda pairs: pytest.fail("everything is asked in variants"),
        population=population(people(number).drop("participant_id")),
        collection=invented_collection(np.random.default_rng(0)),
        variants=[study],
        composites=composites,
        predict_variants=planted(effect, **changes),
    )


# What is planted in points is 0.75 of it in the mean of `shares`.
def turned_by_order(outcome, variant):
    """Eight points, or minus four where options are reversed."""
    return 8 if variant.order == "1 2 3 4" else -4


@pytest.fixture(scope="module")
def turned():
    return made(turned_by_order)


def flagged(found, check):
    return found.multiverse.checks.filter(pl.col("check") == check, "flagged")


def test_the_curve_has_each_variant_sorted_by_its_effect(turned):
    curve = turned.multiverse.variants.filter(outcome="parks")
    assert curve["rank"].to_list() == [1, 2, 3, 4, 5, 6]
    assert curve["predicted"].to_list() == pytest.approx([-3, -3, -3, 6, 6, 6])
    assert curve["order"].to_list() == ["4 3 2 1"] * 3 + ["1 2 3 4"] * 3
    assert curve.filter("is_base").select("order", "wording", "persona_format").rows() == [
        ("1 2 3 4", "", "list")
    ]
    assert (curve["se"] == 0).all() and (curve["personas"] == 12).all()


def test_what_survives_of_an_effect_and_which_choice_decides(turned):
    summary = turned.multiverse.summary.row(0, named=True)
    assert (summary["declared"], summary["asked"]) == (6, 6)
    expected = {"predicted": 1.5, "base": 6, "least": -3, "most": 6, "same_sign": 0.5, "survives": 0, "se": 0}
    for name, value in expected.items():
        assert summary[name] == pytest.approx(value, abs=1e-9)
    assert summary["spread"] == pytest.approx(np.std([-3] * 3 + [6] * 3, ddof=1))
    assert summary["decisive"] == "order"


def test_an_effect_that_every_variant_has_survives_as_far_as_its_least():
    found = made(lambda outcome, variant: 8 if variant.persona_format == "list" else 4)
    summary = found.multiverse.summary.row(0, named=True)
    assert summary["same_sign"] == 1
    assert summary["survives"] == pytest.approx(3 / 4)  # 4 of a mean of 16 / 3
    assert summary["decisive"] == "persona_format"


def test_the_spread_over_variants_stands_in_the_table_of_effects(turned):
    assert turned.effects["spread"].to_list() == pytest.approx(turned.multiverse.summary["spread"].to_list())
    assert turned.effects["predicted"].to_list() == pytest.approx(
        turned.multiverse.summary["predicted"].to_list()
    )


def test_a_composite_has_the_mean_of_its_parts_under_each_variant():
    """Parks by +8 or -4, taxes by none of it; taxes counted the other way round changes nothing of none."""
    whole = Composite("plan", "both", of=("parks", "taxes"), reversed=("taxes",))
    found = made(lambda o, v: turned_by_order(o, v) * (o == "parks"), composites=[whole])
    curve = found.multiverse.variants.filter(outcome="both")
    assert curve["predicted"].to_list() == pytest.approx([-1.5] * 3 + [3] * 3)
    effect = found.effects.filter(outcome="both").row(0, named=True)
    assert effect["predicted"] == pytest.approx(0.75) and effect["spread"] > 2


def test_a_choice_that_explains_no_more_than_chance_decides_nothing():
    variants = study_of().of_item[study_of().items[0].item_id]
    assert decisive(np.array([1.0, 2.0, 1.0, -1.0, -2.0, -1.0]), list(variants)) == ""


# --- what should move and does not, and the other way round ------------------------------------------------------------


def test_a_model_that_reads_personas_is_not_flagged(turned):
    assert flagged(turned, "persona swap").is_empty()
    swaps = (
        turned.multiverse.checks.filter(check="attribute swap")
        .group_by("attribute")
        .agg(pl.col("flagged").all())
    )
    assert dict(swaps.iter_rows()) == {"gender": False, "age": True}


def test_a_model_that_reads_no_persona_is_flagged_in_every_arm():
    found = made(turned_by_order, reads_persona=False)
    assert flagged(found, "persona swap").height == len(study_of().items)
    assert (
        flagged(found, "persona swap")["finding"][0]
        == "“parks”, “plain”: another persona moves answers by 0.0 points only."
    )


def test_an_arm_that_changes_the_implied_person_is_flagged(turned):
    drifting = flagged(made(turned_by_order, drifts=True), "drift")
    assert drifting.select("condition", "reference", "attribute").rows() == [("costs", "plain", "gender")]
    assert drifting["moved"][0] == pytest.approx(20)
    assert drifting["p"][0] < 0.05
    assert flagged(turned, "drift").is_empty()


def test_sign_flips_reject_no_drift_as_often_as_they_should():
    rng = np.random.default_rng(0)
    found = [drift(rng.normal(size=(12, 1)) * [0.1, -0.1], np.ones(12), rng)[1] for _ in range(200)]
    assert 0.01 < np.mean(np.array(found) < 0.05) < 0.1
    assert drift(np.full((5, 2), 0.1), np.ones(5), rng)[1] is None


def test_a_negative_control_that_moves_is_flagged():
    found = made(lambda outcome, variant: 8, study=study_of(controls=["taxes"]))
    moved = flagged(found, "negative control")
    assert moved["finding"].to_list() == ["“costs” moves “taxes” by +6.0 points, though no arm can."]
    still = made(lambda outcome, variant: 8 * (outcome != "taxes"), study=study_of(controls=["taxes"]))
    assert flagged(still, "negative control").is_empty()


# --- the error that a balanced assignment leaves -------------------------------------------------------------------------


@pytest.mark.parametrize("persons, variants, spread", [(40, 12, 2.0), (32, 35, 3.0), (32, 35, 0.3)])
def test_intervals_of_a_balanced_assignment_hold_what_all_would_have_given(persons, variants, spread):
    """Over 60 worlds 90 % intervals of variants cover 86 to 96 %, and those of means no less than 80.

    With more variants than persons hardly anything tells persons apart from what is left: had the estimated ratio of the two
    been taken for the true one, the second case would be covered 81 %.
    """
    rng = np.random.default_rng(0)
    variant, person = np.array(in_turn(range(persons), variants, 2)).T
    held, mean_held = [], []
    for _ in range(60):
        weights = rng.uniform(0.5, 1.5, persons)
        everything = rng.normal(size=(persons, 1)) * spread + rng.normal(size=(persons, variants))
        everything += rng.normal(size=variants)
        truth = weights @ everything / weights.sum()
        who = rng.permutation(persons)[person]
        found = everybodys_means(
            everything[who, variant], person=who, variant=variant, weights=weights, declared=variants
        )
        held.append(np.abs(found.values - truth) <= found.half)
        mean_held.append(abs(found.mean - truth.mean()) <= found.mean_half)
    assert 0.86 < np.mean(held) < 0.96
    assert 0.8 < np.mean(mean_held) <= 1


def test_a_spread_that_is_only_the_assignments_error_is_none():
    rng = np.random.default_rng(0)
    variant, person = np.array(in_turn(range(200), 10, 2)).T
    effects = rng.normal(size=200)[person] + 0.1 * rng.normal(size=400)
    found = everybodys_means(effects, person=person, variant=variant, weights=np.ones(200), declared=10)
    of_those_asked = [effects[variant == v].mean() for v in range(10)]
    assert found.spread < 0.05 < 0.1 < np.std(of_those_asked)


def test_with_all_answers_means_are_known_without_error():
    values = np.arange(12.0).reshape(4, 3)
    found = everybodys_means(
        values.ravel(),
        person=np.arange(4).repeat(3),
        variant=np.tile(np.arange(3), 4),
        weights=np.ones(4),
        declared=3,
    )
    assert found.values.tolist() == values.mean(axis=0).tolist()
    assert (found.se == 0).all() and found.mean_se == 0


def test_a_balanced_forecast_finds_the_effects_of_the_full_one():
    whole, part = (made(turned_by_order, study=study_of(how), number=60) for how in ("full", "balanced"))
    both = part.multiverse.variants.join(
        whole.multiverse.variants, on=["outcome", "condition", "variant"], suffix="_full"
    )
    assert (
        part.metadata["multiverse"]["plan"]["tokens"]
        < 3 * part.metadata["multiverse"]["plan"]["tokens_of_one_pass"]
    )
    assert (both["personas"] < 60).all()
    assert both["predicted"].to_list() == pytest.approx(both["predicted_full"].to_list(), abs=1e-6)


def test_the_folder_of_a_forecast_holds_the_tables(tmp_path, turned):
    saved = read_forecast(write_forecast(turned, tmp_path / "forecast"))
    assert saved.table("variants").equals(turned.multiverse.variants)
    assert saved.table("multiverse").equals(turned.multiverse.summary)
    assert saved.table("checks").equals(turned.multiverse.checks)


def test_simulated_answers_are_drawn_from_any_variant_that_a_person_was_asked_in(tmp_path, turned):
    """Here the order decides on the answer: both are drawn, one for each person and outcome of an arm."""
    by_order = [
        [1.0, 0, 0, 0] if "1 2 3 4" in name else [0, 0, 0, 1.0] for name in turned.predictions.frame[VARIANT]
    ]
    frame = turned.predictions.frame.with_columns(probs=pl.Series(by_order, dtype=pl.List(pl.Float64)))
    certain = dataclasses.replace(turned, predictions=dataclasses.replace(turned.predictions, frame=frame))
    answers = tiers(read_forecast(write_forecast(certain, tmp_path / "forecast")), seed=0)["T1"]
    assert answers.height == 12 * 2
    counts = [answers["parks"].eq(level).sum() for level in (1, 4)]
    assert sum(counts) == 24 and min(counts) > 4


def test_predictions_of_a_persona_that_weighs_nothing_are_left_out():
    study = study_of()
    personas = people(12)
    found = planted(turned_by_order)(study, personas)
    weights = dict.fromkeys(personas["participant_id"], 1.0) | {"0": 0.0}
    curve, _ = specification_curve(found.predictions, study, weights=weights)
    assert (curve["personas"] == 11).all()


@pytest.mark.parametrize("drift", ["[[]]", "[{a: b}]", "[[a, b]]"])
def test_attributes_to_ask_for_are_texts(drift):
    with pytest.raises(InputError, match="multiverse"):
        parse_specification(f"study: s\nmultiverse: {{drift: {drift}}}\noutcomes: {{}}\n", where="x.yaml")
