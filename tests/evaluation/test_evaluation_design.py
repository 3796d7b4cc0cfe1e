"""Designs: one study, controls that were trained on, survey weights, what was seen, and two predictors compared."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from evaluation_example import World, exact_predictions, label, make_world, shape

from socsci_jax.errors import InputError
from socsci_jax.evaluation import verdicts
from socsci_jax.evaluation.baselines import Baselines
from socsci_jax.evaluation.compare import compare
from socsci_jax.evaluation.demographics import Demographics
from socsci_jax.evaluation.evaluate import evaluate
from socsci_jax.evaluation.evaluate_files import label_without_split
from socsci_jax.studies.predictions import Predictions
from socsci_jax.studies.scale import Scale
from socsci_jax.studies.schema import Item
from socsci_jax.studies.store_builder import StoreBuilder


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return make_world(tmp_path_factory.mktemp("world") / "store", studies=6, conditions=3, effect=0.15, n=40)


# ---- one study ----


@pytest.mark.parametrize(
    ("conditions", "outcomes", "unit"), [(8, 1, "conditions"), (2, 8, "outcomes"), (3, 2, "participants")]
)
def test_one_study_resamples_arms_outcomes_or_people_as_its_design_allows(
    tmp_path, conditions, outcomes, unit
):
    one = make_world(tmp_path / "store", studies=1, conditions=conditions, outcomes=outcomes, n=24)
    found = evaluate(exact_predictions(one, one.truth), one.store, label_without_split(one.store))
    for name in ("wasserstein", "effect_rmse"):
        value = found.metric(name)
        assert (value.resampled, value.lo < value.value < value.hi) == (unit, True), name


def test_what_is_resampled_can_be_asked_for(world, tmp_path):
    predictions, labeled = exact_predictions(world, world.truth), label(world.store)
    found = evaluate(predictions, world.store, labeled, resample="participants")
    assert found.metric("wasserstein").resampled == "participants"
    with pytest.raises(InputError, match="'outcomes': outcomes are resampled within one study"):
        evaluate(predictions, world.store, labeled, resample="outcomes")
    with pytest.raises(InputError, match="one of studies"):
        evaluate(predictions, world.store, labeled, resample="people")


def test_nothing_is_said_of_training_where_nothing_was_trained_on(tmp_path):
    one = make_world(tmp_path / "store", studies=1, conditions=3, outcomes=1, n=24)
    found = evaluate(exact_predictions(one, one.truth), one.store, label_without_split(one.store))
    assert "training_marginal" not in set(found.table["predictor"])
    assert "training" not in " ".join(s.text for s in verdicts.verdict(found, "all"))


def test_people_of_one_item_are_correlated_with_their_predictions(tmp_path):
    one = make_world(tmp_path / "store", studies=1, conditions=2, outcomes=1, n=60)
    responses = one.store.responses
    levels = list(map(float, range(1, 8)))
    probs = [(0.9 * np.eye(7)[int(v) - 1] + 0.1 / 7).tolist() for v in responses["value"]]
    frame = exact_predictions(one, one.truth).frame
    knowing = responses.select("item_id", "participant_id").with_columns(
        levels=pl.Series([levels] * len(probs)), probs=pl.Series(probs)
    )
    frame = (
        frame.drop("levels", "probs").join(knowing, on=["item_id", "participant_id"]).select(frame.columns)
    )
    found = evaluate(Predictions(frame=frame), one.store, label_without_split(one.store))
    assert found.metric("individual_r").value > 0.99
    lift = found.metric("individual_accuracy_draw", reference="cell_marginal")
    assert lift.lo > 0


# ---- controls ----


def held_out_arm(world: World) -> pl.DataFrame:
    """Condition c1 is held out; the control and c2 were trained on."""
    return label(world.store).with_columns(
        part=pl.when(pl.col("condition") == "c1").then(pl.lit("unseen_conditions")).otherwise(pl.lit("train"))
    )


@pytest.mark.parametrize("control_is_predicted", [True, False])
def test_a_held_out_arm_has_an_effect_against_the_control_that_was_trained_on(world, control_is_predicted):
    items = world.store.item_by_id
    wanted = {"c1", "c0"} if control_is_predicted else {"c1"}
    probs = {i: p for i, p in world.truth.items() if items[i].condition in wanted}
    found = evaluate(exact_predictions(world, probs), world.store, held_out_arm(world))
    contrasts = found.contrasts.filter(part="unseen_conditions")
    assert contrasts.height == 6 * 2
    assert contrasts["reference_in_training"].all()
    assert set(contrasts["reference"]) == {"c0"}
    assert found.metric("effect_r", part="unseen_conditions").value > 0.6
    assert found.metric("condition_sensitivity_r", part="unseen_conditions") is None


def test_people_who_stand_for_a_control_on_both_sides_are_not_the_same(world):
    """A model that predicts no difference between its arms must not earn a correlation from common people."""
    flat = {i: shape(0.5, levels=7) for i in world.truth if world.store.item_by_id[i].condition == "c1"}
    found = evaluate(exact_predictions(world, flat), world.store, held_out_arm(world))
    contrasts = found.contrasts.filter(part="unseen_conditions")
    means = found.condition_means.filter(part="unseen_conditions")
    assert means.is_empty()
    assert (contrasts["n_reference"] == 20).all()


# ---- weights ----


def test_survey_weights_weigh_people(tmp_path):
    builder = StoreBuilder(attributes=("age",), source="made up", license="CC0-1.0", command="test")
    builder.add_study("s")
    scale = Scale.of_levels(range(1, 3), origin="stated")
    item = Item(
        study_id="s", condition="c", outcome="o", stimulus="", question="?", answer_format="", scale=scale
    )
    item_id = builder.add_item(item)
    for k in range(20):
        builder.add_participant("s", f"p{k}", {"age": 30}, weight=3.0 if k < 10 else 1.0)
        builder.add_response(item_id, f"p{k}", 1 if k < 10 else 2, sample_id=k)
    made = World(builder.write(tmp_path / "store"), {})
    predictions = exact_predictions(made, {item_id: np.array([0.5, 0.5])})
    found = evaluate(predictions, made.store, label_without_split(made.store))
    assert found.metric("wasserstein").value == pytest.approx(0.25)


# ---- two predictors ----


def test_the_truth_is_better_than_its_blurred_self_on_the_same_answers(world):
    blurred = {i: 0.6 * p + 0.4 / 7 for i, p in world.truth.items()}
    truth = exact_predictions(world, world.truth)
    found = compare(truth, exact_predictions(world, blurred), world.store, label(world.store))
    row = found.table.filter(metric="wasserstein", normalization="scale", source="exact").row(0, named=True)
    assert row["difference"] == pytest.approx(row["a"] - row["b"])
    assert row["hi"] < 0
    assert any("A is better than B" in sentence for sentence in found.sentences())
    same = compare(truth, truth, world.store, label(world.store)).table
    known = same.filter(pl.col("difference").is_not_null())
    assert (known["difference"] == 0).all()


def test_only_answers_that_both_predict_are_compared(world):
    half = {i: p for k, (i, p) in enumerate(world.truth.items()) if k % 2}
    found = compare(
        exact_predictions(world, world.truth), exact_predictions(world, half), world.store, label(world.store)
    )
    assert found.answers == found.excluded
    assert found.a.counts == found.b.counts
    none = {i: p for i, p in world.truth.items() if i not in half}
    with pytest.raises(InputError, match="predicted by both"):
        compare(
            exact_predictions(world, none), exact_predictions(world, half), world.store, label(world.store)
        )


# ---- groups ----


def test_exaggerated_gaps_between_groups_are_called_stereotyping(tmp_path):
    rng = np.random.default_rng(0)
    builder = StoreBuilder(attributes=("party",), source="made up", license="CC0-1.0", command="test")
    scale = Scale.of_levels(range(1, 8), origin="stated")
    predicted = {}
    for s in range(6):
        builder.add_study(f"s{s}")
        item = Item(
            study_id=f"s{s}",
            condition="c",
            outcome="o",
            stimulus="",
            question="?",
            answer_format="",
            scale=scale,
        )
        item_id = builder.add_item(item)
        for k in range(120):
            party, gap = ("left", -0.1) if k % 2 else ("right", 0.1)
            builder.add_participant(f"s{s}", f"p{k}", {"party": party})
            builder.add_response(
                item_id, f"p{k}", int(rng.choice(7, p=shape(0.5 + gap, levels=7)) + 1), sample_id=k
            )
            predicted[item_id, f"p{k}"] = shape(0.5 + 2 * gap, levels=7)
    store = builder.write(tmp_path / "store")
    made = World(store, {})
    frame = exact_predictions(made, {i: shape(0.5, levels=7) for i, _ in predicted}).frame
    probs = [predicted[key].tolist() for key in frame.select("item_id", "participant_id").iter_rows()]
    found = evaluate(
        Predictions(frame=frame.with_columns(probs=pl.Series(probs))), store, label_without_split(store)
    )
    spread = found.metric("stereotyping", group="party")
    assert spread.lo > 1.2
    assert found.metric("group_gap_slope", group="party").value == pytest.approx(0.55, abs=0.15)
    groups = [found.metric("wasserstein", group=f"party={party}") for party in ("left", "right")]
    assert found.metric("parity_wasserstein", group="party").value == pytest.approx(
        abs(groups[0].value - groups[1].value)
    )
    assert found.metric("parity_wasserstein", group="party", predictor="split_half").value >= 0


# ---- demographics alone ----


def test_a_regression_on_demographics_is_that_of_statsmodels_and_knows_people(tmp_path):
    from statsmodels.miscmodels.ordinal_model import OrderedModel

    rng = np.random.default_rng(1)
    builder = StoreBuilder(attributes=("party",), source="made up", license="CC0-1.0", command="test")
    scale = Scale.of_levels(range(1, 6), origin="stated")
    answers, parties = [], []
    for study in ("trained", "new"):
        builder.add_study(study)
        item = Item(
            study_id=study,
            condition="c",
            outcome="o",
            stimulus="",
            question="?",
            answer_format="",
            scale=scale,
        )
        item_id = builder.add_item(item)
        for k in range(600):
            party = "right" if k % 2 else "left"
            latent = rng.logistic() + (1.0 if party == "right" else 0.0)
            answer = 1 + int(np.searchsorted([-1.0, 0.0, 1.0, 2.0], latent))
            builder.add_participant(study, f"p{k}", {"party": party})
            builder.add_response(item_id, f"p{k}", answer, sample_id=k)
            if study == "trained":
                answers.append(answer)
                parties.append(float(party == "right"))
    store = builder.write(tmp_path / "store")
    labeled = label(store, trained="train")
    people = Demographics.of(store.participants)
    beta = Baselines.of(labeled, store, people).regression.beta
    reference = OrderedModel(np.array(answers), np.array(parties)[:, None], distr="logit").fit(
        method="bfgs", disp=False
    )
    # The cuts are those of everybody rather than fitted along, which moves the slope a little.
    assert beta[0] == pytest.approx(reference.params[0], rel=0.1)
    uniform = {i: np.full(5, 0.2) for i in store.item_by_id}
    found = evaluate(exact_predictions(World(store, {}), uniform), store, labeled)
    known = found.metric("individual_r", part="unseen_studies", predictor="demographics")
    assert known.value > 0.15
