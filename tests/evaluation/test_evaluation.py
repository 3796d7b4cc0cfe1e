"""The evaluation as a whole, in a made-up world whose true distributions are known."""

from __future__ import annotations

import dataclasses
import io
import itertools
import math
import re

import numpy as np
import polars as pl
import pytest
from evaluation_example import (
    World,
    drawn_predictions,
    exact_predictions,
    filled,
    label,
    make_world,
    shape,
)
from rich.console import Console
from small import rehash, small_store

from socsci_jax.errors import InputError
from socsci_jax.evaluation import sentences, verdicts
from socsci_jax.evaluation.cells import level_codes
from socsci_jax.evaluation.compare import Comparison, paired
from socsci_jax.evaluation.effect_verdicts import effects_verdict
from socsci_jax.evaluation.evaluate import evaluate, label_without_split, read_truth
from socsci_jax.evaluation.evaluate_files import evaluate_files
from socsci_jax.evaluation.intervals import Estimate
from socsci_jax.evaluation.report import page as report
from socsci_jax.evaluation.report.files import write_report
from socsci_jax.evaluation.report.terminal import summary_table
from socsci_jax.evaluation.result import Evaluation, MetricValue
from socsci_jax.evaluation.table import EVALUATION_SCHEMA
from socsci_jax.studies.predictions import Predictions, write_predictions
from socsci_jax.studies.schema import Item, Scale
from socsci_jax.studies.split_making import split_of_units
from socsci_jax.studies.store import StudyStore
from socsci_jax.studies.store_builder import StoreBuilder

PART = "unseen_studies"
TRAINING = {"s00": "train", "s01": "train"}


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return make_world(tmp_path_factory.mktemp("world") / "store", studies=6, conditions=5, effect=0.15)


def ignoring_conditions(world: World) -> dict[str, np.ndarray]:
    """Each outcome's mean distribution over its conditions."""
    items = world.store.items
    known = {}
    for _, rows in items.group_by("study_id", "outcome", maintain_order=True):
        ids = rows["item_id"].to_list()
        known |= dict.fromkeys(ids, np.mean([world.truth[i] for i in ids], axis=0))
    return known


@pytest.fixture(scope="module")
def knows_truth(world) -> Evaluation:
    return evaluate(exact_predictions(world, world.truth), world.store, label(world.store, **TRAINING))


@pytest.fixture(scope="module")
def ignores_conditions(world) -> Evaluation:
    predictions = exact_predictions(world, ignoring_conditions(world))
    return evaluate(predictions, world.store, label(world.store, **TRAINING))


@pytest.fixture(scope="module")
def guesses(world) -> Evaluation:
    uniform = dict.fromkeys(world.truth, np.full(7, 1 / 7))
    return evaluate(exact_predictions(world, uniform), world.store, label(world.store, **TRAINING))


def value(evaluation: Evaluation, metric: str, *, part=PART, **where) -> MetricValue:
    found = evaluation.metric(metric, part=part, **where)
    assert found is not None, f"{metric} was not computed"
    return found


def item_value(
    evaluation: Evaluation,
    item: Item,
    *,
    predictor="model",
    normalization="scale",
    source="exact",
    metric="wasserstein",
) -> float:
    rows = evaluation.table.filter(
        metric=metric,
        normalization=normalization,
        source=source,
        predictor=predictor,
        study=item.study_id,
        condition=item.condition,
        outcome=item.outcome,
    )
    return rows["value"].item()


ONE_TO_SEVEN = range(1, 8)


def one_item(tmp_path, answers: list[int], *, levels: range = ONE_TO_SEVEN) -> tuple[World, str]:
    """A store of one item and these answers, by participants p0, p1, ..."""
    builder = StoreBuilder(attributes=("age",), source="made up", license="CC0-1.0", command="test")
    builder.add_study("s")
    item_id = builder.add_item(
        Item(
            study_id="s",
            condition="c",
            outcome="o",
            stimulus="",
            question="?",
            answer_format="",
            scale=Scale.of_levels(levels, origin="stated"),
        )
    )
    for k, answer in enumerate(answers):
        builder.add_participant("s", f"p{k}", {"age": 30})
        builder.add_response(item_id, f"p{k}", answer, sample_id=k)
    return World(builder.write(tmp_path / "store"), {}), item_id


def draws(item_id: str, values: list[float | None], *, people: list[str | None]) -> Predictions:
    rows = {"item_id": item_id, "participant_id": people, "draw": 0, "value": values}
    schema = {"participant_id": pl.String, "value": pl.Float64}
    return Predictions(frame=filled(pl.DataFrame(rows, schema_overrides=schema, strict=False)))


# ---- how good and how bad predictors come out ----


def test_a_perfect_model_is_as_far_from_people_as_their_sampling_makes_it(world, knows_truth):
    """With 60 answers an item: the expected distance between the truth and 60 draws from it."""
    rng = np.random.default_rng(0)
    studies = dict(zip(world.store.items["item_id"], world.store.items["study_id"], strict=True))
    truths = [p for item_id, p in world.truth.items() if studies[item_id] not in TRAINING]
    noise = [
        np.abs(np.cumsum(p - rng.multinomial(60, p, size=200) / 60, axis=-1)).sum(axis=-1).mean() / 6
        for p in truths
    ]
    assert value(knows_truth, "wasserstein").value == pytest.approx(np.mean(noise), rel=0.12)


def test_a_perfect_model_beats_every_baseline_and_half_of_the_people(knows_truth):
    for predictor in ("uniform", "training_marginal", "condition_pooled", "split_half"):
        difference = sentences.difference(knows_truth, PART, predictor)
        assert verdicts.beats(difference), predictor


def test_draws_are_noisier_than_probabilities_by_about_the_root_of_two(world, knows_truth):
    sampled = evaluate(drawn_predictions(world, world.truth), world.store, label(world.store, **TRAINING))
    assert sampled.source(PART) == "sampled"
    ratio = value(sampled, "wasserstein", source="sampled").value / value(knows_truth, "wasserstein").value
    assert ratio == pytest.approx(2**0.5, rel=0.15)


def test_a_uniform_model_is_no_better_than_the_uniform_baseline_by_rounding(guesses):
    difference = sentences.difference(guesses, PART, "uniform")
    assert (difference.value, difference.lo, difference.hi) == (0, 0, 0)
    assert not verdicts.beats(difference)


def test_every_value_is_a_row_of_the_evaluation_table_that_says_how_it_was_computed(knows_truth):
    table = knows_truth.table
    assert table.columns == EVALUATION_SCHEMA.names
    for column in ("metric", "part", "predictor", "n"):
        assert table[column].null_count() == 0
    assert not table["value"].is_nan().any()
    assert table.filter(pl.col("lo").is_not_null() & pl.col("resampled").is_null()).is_empty()
    distances = table.filter(metric="wasserstein")
    assert set(distances["normalization"]) == {"scale", "observed"}
    assert set(distances["source"]) == {"exact", "sampled"}


def test_the_same_seed_gives_the_same_table(world, knows_truth):
    again = evaluate(exact_predictions(world, world.truth), world.store, label(world.store, **TRAINING))
    assert again.table.equals(knows_truth.table)


def test_an_items_figures_do_not_depend_on_which_others_are_predicted(world, knows_truth):
    ids = world.store.items.filter(pl.col("study_id") == "s04")["item_id"].to_list()
    alone = evaluate(
        exact_predictions(world, {i: world.truth[i] for i in ids}),
        world.store,
        label(world.store, **TRAINING),
    )
    for predictor in ("model", "condition_pooled", "split_half"):
        for source in ("exact", "sampled"):
            item = world.store.item_by_id[ids[0]]
            one, other = (
                item_value(e, item, predictor=predictor, source=source) for e in (alone, knows_truth)
            )
            assert one == other


# ---- averages and intervals ----


def test_figures_are_averaged_within_studies_first(knows_truth):
    rows = knows_truth.table.filter(
        pl.col("reference").is_null(),
        metric="wasserstein",
        normalization="scale",
        source="exact",
        part=PART,
        predictor="model",
    )
    items = rows.filter(pl.col("outcome").is_not_null())
    by_study = items.group_by("study").agg(pl.col("value").mean()).sort("study")["value"]
    reported = rows.filter(pl.col("study").is_not_null() & pl.col("outcome").is_null()).sort("study")["value"]
    np.testing.assert_allclose(reported, by_study)
    assert value(knows_truth, "wasserstein").value == pytest.approx(by_study.mean())
    assert value(knows_truth, "wasserstein").n == 4


def test_one_study_of_few_arms_has_intervals_over_its_people_and_says_so(world):
    kept = label(world.store, **dict.fromkeys(["s00", "s01", "s02", "s03", "s04"], "train"))
    alone = evaluate(exact_predictions(world, world.truth), world.store, kept)
    for found in (value(alone, "wasserstein"), value(alone, "effect_r")):
        assert found.resampled == "participants"
        assert found.lo < found.value < found.hi
    sentences = [s.text for s in verdicts.verdict(alone, PART)]
    assert sentences[0].startswith("In this study the model does better than a uniform guess")
    assert "in other unseen studies cannot be told" in sentences[0]
    assert any("other people in these very studies" in s for s in sentences)


def test_a_difference_is_paired_its_interval_is_narrower_than_that_of_either_side(ignores_conditions):
    """The model and the pooled answers are near and far in the same studies."""

    def width(found: dict) -> float:
        return found.hi - found.lo

    model = value(ignores_conditions, "wasserstein")
    pooled = value(ignores_conditions, "wasserstein", predictor="condition_pooled")
    difference = sentences.difference(ignores_conditions, PART, "condition_pooled")
    assert difference.value == pytest.approx(model.value - pooled.value)
    assert width(difference) < 0.5 * min(width(model), width(pooled))


def test_items_with_few_answers_are_listed_with_their_distance_and_enter_no_average(world, tmp_path):
    labeled = label(world.store, **TRAINING)
    few = labeled.filter(pl.col("study_id") == "s05")["item_id"][0]
    labeled = labeled.filter((pl.col("item_id") != few) | (pl.col("sample_id") < 9))
    found = evaluate(exact_predictions(world, world.truth), world.store, labeled)
    assert found.distributions.filter(item_id=few)["wasserstein"].is_finite().all()
    assert found.counts[PART]["items_below_minimum_n"] == 1
    assert found.counts[PART]["items"] == 4 * 10 - 1
    assert found.excluded["item_id"].to_list() == [few]
    found.write(tmp_path / "made")
    listed = pl.read_csv(tmp_path / "made" / "items.csv").filter(item_id=few).row(0, named=True)
    assert listed["excluded"] == "9 answers, fewer than 10: in no average" and listed["wasserstein"] > 0
    # For spreadsheets without single items; what enters averages is in the Parquet file.
    whole = pl.read_parquet(tmp_path / "made" / "evaluation.parquet")
    short = pl.read_csv(tmp_path / "made" / "evaluation.csv", infer_schema_length=None)
    assert short.height == whole.filter(pl.col("outcome").is_null()).height < whole.height
    assert few not in pl.read_csv(tmp_path / "made" / "distributions.csv")["item_id"]
    assert few in pl.read_parquet(tmp_path / "made" / "distributions.parquet")["item_id"]


# ---- baselines ----


def test_pooled_answers_exclude_those_being_predicted(world, knows_truth):
    item = world.store.item_by_id[world.store.items.filter(pl.col("study_id") == "s03")["item_id"][0]]
    columns = world.store.items.select("item_id", "study_id", "condition", "outcome")
    answers = world.store.responses.join(columns, on="item_id").filter(
        pl.col("study_id") == item.study_id, pl.col("outcome") == item.outcome
    )
    own = answers.filter(pl.col("condition") == item.condition)["value"].to_numpy()
    others = answers.filter(pl.col("condition") != item.condition)["value"].to_numpy()

    def shares(values):
        return np.bincount(values.astype(int) - 1, minlength=7) / values.size

    expected = np.abs(np.cumsum(shares(own) - shares(others)))[:-1].sum() / 6
    assert item_value(knows_truth, item, predictor="condition_pooled") == pytest.approx(expected)


def test_the_training_marginal_rests_on_training_items_alone(world, knows_truth):
    training = label(world.store, **TRAINING).filter(pl.col("part") == "train")
    histograms = [
        np.bincount(rows["value"].to_numpy().astype(int) - 1, minlength=7) / rows.height
        for _, rows in training.group_by("item_id")
    ]
    expected = np.mean(histograms, axis=0)
    item_id = world.store.items.filter(pl.col("study_id") == "s03")["item_id"][0]
    own = world.store.responses.filter(pl.col("item_id") == item_id)["value"].to_numpy().astype(int) - 1
    own = np.bincount(own, minlength=7) / own.size
    distance = np.abs(np.cumsum(own - expected))[:-1].sum() / 6
    found = item_value(knows_truth, world.store.item_by_id[item_id], predictor="training_marginal")
    assert found == pytest.approx(distance)
    assert knows_truth.counts[PART]["items_without_training_marginal"] == 0


def test_without_training_items_of_as_many_levels_uniform_stands_in_and_is_counted(tmp_path):
    builder = StoreBuilder(attributes=("age",), source="made up", license="CC0-1.0", command="test")
    ids = {}
    for study, levels in (("a", 5), ("b", 7)):
        builder.add_study(study)
        scale = Scale.of_levels(range(1, levels + 1), origin="stated")
        ids[study] = builder.add_item(
            Item(
                study_id=study,
                condition="c",
                outcome="o",
                stimulus="",
                question=study,
                answer_format="",
                scale=scale,
            )
        )
        for k in range(12):
            builder.add_participant(study, f"p{k}", {})
            builder.add_response(ids[study], f"p{k}", 1 + k % levels, sample_id=k)
    world = World(builder.write(tmp_path / "store"), {})
    predictions = exact_predictions(world, {ids["b"]: shape(0.5, levels=7)})
    found = evaluate(predictions, world.store, label(world.store, a="train"))
    assert (
        value(found, "wasserstein", predictor="training_marginal").value
        == value(found, "wasserstein", predictor="uniform").value
    )
    assert found.counts[PART]["items_without_training_marginal"] == 1


def test_nothing_is_compared_with_a_training_marginal_where_nothing_was_trained_on(world):
    found = evaluate(exact_predictions(world, world.truth), world.store, label(world.store))
    assert found.metric("wasserstein", part=PART, predictor="training_marginal") is None


def test_split_half_says_that_it_rests_on_half_of_the_answers(knows_truth):
    rows = knows_truth.table.filter(
        pl.col("outcome").is_not_null(), metric="wasserstein", part=PART, predictor="split_half"
    )
    assert set(rows["n"]) == {30}


def test_split_half_is_twice_the_noise_of_a_perfect_model(knows_truth):
    """Two samples of n/2 against one of n: the variances add up to four times as much."""
    ratio = (
        value(knows_truth, "wasserstein", predictor="split_half").value
        / value(knows_truth, "wasserstein").value
    )
    assert ratio == pytest.approx(2, rel=0.15)


# ---- effects ----


def test_a_model_that_knows_the_truth_moves_with_the_conditions(knows_truth):
    assert value(knows_truth, "condition_sensitivity_r").lo > 0.6
    assert value(knows_truth, "condition_sensitivity_p").value < 0.01
    assert value(knows_truth, "effect_sign_agreement").lo > 0.5
    assert verdicts.beats(value(knows_truth, "effect_rmse", reference="no_effect"))
    assert any(
        s.kind == "claim" and "Predictions move with" in s.text for s in verdicts.verdict(knows_truth, PART)
    )


def test_a_model_that_ignores_conditions_earns_half_credit_and_no_correlation(ignores_conditions):
    signs = value(ignores_conditions, "effect_sign_agreement")
    assert (signs.value, signs.lo, signs.hi) == (0.5, 0.5, 0.5)
    assert value(ignores_conditions, "condition_sensitivity_r").value is None
    assert value(ignores_conditions, "condition_sensitivity_p").value is None
    warned = [s.text for s in verdicts.verdict(ignores_conditions, PART) if s.kind == "warning"]
    assert any("blind to the treatment" in text for text in warned)


def test_conditions_that_are_moved_at_random_are_not_significant(world):
    """It knows the outcomes, and shifts them by noise: on distances it looks well, on effects it must not."""
    rng = np.random.default_rng(8)
    known = ignoring_conditions(world)
    at = np.linspace(0, 1, 7)
    moved = {i: shape(float(p @ at) + rng.normal(0, 0.05), levels=7) for i, p in known.items()}
    found = evaluate(exact_predictions(world, moved), world.store, label(world.store, **TRAINING))
    assert sentences.difference(found, PART, "uniform").value < 0
    null = value(found, "condition_sensitivity_r_null")
    assert null.lo < value(found, "condition_sensitivity_r").value < null.hi
    assert value(found, "condition_sensitivity_p").value > 0.05
    assert any(
        s.kind == "undecided" and "move with the conditions" in s.text for s in verdicts.verdict(found, PART)
    )


def test_a_model_that_turns_effects_round_is_worse_than_guessing_signs(world):
    known = ignoring_conditions(world)
    at = np.linspace(0, 1, 7)
    turned = {i: shape(float(2 * known[i] @ at - p @ at), levels=7) for i, p in world.truth.items()}
    found = evaluate(exact_predictions(world, turned), world.store, label(world.store, **TRAINING))
    assert value(found, "effect_sign_agreement").hi < 0.5
    assert value(found, "condition_sensitivity_r").hi < 0
    assert value(found, "condition_sensitivity_p").value > 0.95


def test_effects_too_small_by_half_have_a_slope_of_two(world):
    known = ignoring_conditions(world)
    halved = {i: 0.5 * (known[i] + p) for i, p in world.truth.items()}
    found = evaluate(exact_predictions(world, halved), world.store, label(world.store, **TRAINING))
    assert value(found, "condition_sensitivity_slope").value == pytest.approx(2, rel=0.2)
    assert value(found, "condition_sensitivity_spread_ratio").value == pytest.approx(0.5, rel=0.2)


def test_effects_are_taken_against_the_control(knows_truth):
    assert set(knows_truth.contrasts["reference"]) == {"c0"}
    assert not knows_truth.contrasts["undirected"].any()
    assert value(knows_truth, "effect_rmse").n == 4 * 2 * 4


# ---- what must not blow up ----


def test_levels_have_codes_and_nothing_else_has():
    values = np.array([1, 7, 3.5, 1997, 2e97, np.nan, np.inf, -4, 0])
    assert level_codes(values, np.arange(1, 8)).tolist() == [0, 6, -1, -1, -1, -1, -1, -1, -1]


def test_one_absurd_draw_is_counted_and_changes_no_mean(tmp_path):
    world, item_id = one_item(tmp_path, [4] * 10 + [5] * 10)
    people = [f"p{k}" for k in range(20)]
    values: list[float | None] = [4.0] * 8 + [1997.0, None] + [5.0] * 9 + [2e97]
    found = evaluate(draws(item_id, values, people=people), world.store, label_without_split(world.store))
    distance = value(found, "wasserstein", part="all", source="sampled").value
    assert distance == pytest.approx((9 / 17 - 0.5) / 6)
    assert value(found, "individual_accuracy_draw", part="all").value == 1
    assert value(found, "parse_rate", part="all").value == pytest.approx(17 / 20)
    assert found.counts["all"]["draws"] == 20
    assert found.counts["all"]["draws_off_scale"] == 3


def test_an_item_to_which_everybody_answered_alike_has_no_observed_distance_and_is_counted(tmp_path):
    world, item_id = one_item(tmp_path, [3] * 20)
    exact = exact_predictions(world, {item_id: shape(0.5, levels=7)})
    found = evaluate(exact, world.store, label_without_split(world.store))
    item = world.store.item_by_id[item_id]
    assert item_value(found, item, normalization="observed", source="exact") is None
    assert item_value(found, item, source="exact") > 0
    assert found.counts["all"]["items_where_all_answered_alike"] == 1


def test_a_model_of_which_no_draw_could_be_read_has_no_figure_and_no_crash(tmp_path):
    world, item_id = one_item(tmp_path, [1, 2] * 10)
    predictions = draws(item_id, [None] * 20, people=[f"p{k}" for k in range(20)])
    found = evaluate(predictions, world.store, label_without_split(world.store))
    assert value(found, "wasserstein", part="all", source="sampled").value is None
    assert value(found, "parse_rate", part="all").value == 0
    assert verdicts.verdict(found, "all")[0].text.startswith("Nothing can be said")
    assert "–" in report.render(report.values(found))


# ---- predictions from elsewhere ----


def test_a_null_participant_stands_for_everybody_who_answered(world, knows_truth):
    personal = exact_predictions(world, world.truth).frame
    anonymous = personal.unique("item_id", maintain_order=True).with_columns(
        participant_id=pl.lit(None, pl.String)
    )
    found = evaluate(Predictions(frame=anonymous), world.store, label(world.store, **TRAINING))
    assert found.table.equals(knows_truth.table)


def test_draws_for_nobody_in_particular_are_all_used(tmp_path):
    world, item_id = one_item(tmp_path, [1, 7] * 10)
    frame = pl.concat(
        [draws(item_id, [v], people=[None]).frame.with_columns(draw=pl.lit(k, pl.Int32))
         for k, v in enumerate([1.0, 1.0, 1.0, 7.0])]
    )  # fmt: skip
    found = evaluate(Predictions(frame=frame), world.store, label_without_split(world.store))
    assert value(found, "wasserstein", part="all", source="sampled").value == pytest.approx(0.25)


def test_answers_without_a_prediction_are_counted_and_judged_for_no_predictor(world):
    ids = [i for i in world.truth if i.startswith(("s02", "s03"))]
    predictions = exact_predictions(world, {i: world.truth[i] for i in ids[1:]})
    found = evaluate(predictions, world.store, label(world.store, **TRAINING))
    counts = found.counts[PART]
    assert (counts["studies"], counts["items"]) == (2, len(ids) - 1)
    assert counts["items_without_prediction"] == 21
    assert counts["answers_without_prediction"] == 21 * 60
    assert value(found, "wasserstein", predictor="uniform").n == 2


def test_predictions_for_people_who_did_not_answer_are_mentioned_and_not_used(world, knows_truth):
    predictions = exact_predictions(world, world.truth)
    stranger = predictions.frame.head(1).with_columns(
        participant_id=pl.lit("p1_0" if predictions.frame["participant_id"][0] != "p1_0" else "p2_0")
    )
    extended = Predictions(frame=pl.concat([predictions.frame, stranger]))
    found = evaluate(extended, world.store, label(world.store, **TRAINING))
    assert found.table.equals(knows_truth.table)
    assert found.notes[-1] == "Not used, because the person did not answer the item: 1 prediction."


def test_predictions_that_meet_no_answer_are_refused(world):
    known = label(world.store).filter(pl.col("study_id") == "s00")
    others = {i: p for i, p in world.truth.items() if not i.startswith("s00")}
    with pytest.raises(InputError, match=r"not one answer .* has a prediction"):
        evaluate(exact_predictions(world, others), world.store, known)


# ---- files and report ----


def test_files_give_tables_and_a_page_that_loads_nothing(world, tmp_path):
    predictions, out = tmp_path / "predictions.parquet", tmp_path / "made" / "here"
    write_predictions(predictions, exact_predictions(world, world.truth).frame, metadata={"model": "<b>tiny"})
    evaluate_files(predictions, world.store.path, out)
    tables = (
        "items",
        "contrasts",
        "condition_means",
        "distributions",
        "reliability",
        "people",
        "counts",
        "evaluation",
    )
    assert {p.name for p in out.iterdir()} == {
        *(f"{name}.{ending}" for name in tables for ending in ("csv", "parquet")),
        *("report.html", "report.md", "figures", "studies"),
    }
    assert len(list((out / "studies").iterdir())) == 6 and len(list((out / "figures").iterdir())) > 12
    assert [p.name for p in out.parent.iterdir()] == ["here"]
    assert pl.read_parquet(out / "evaluation.parquet").columns == EVALUATION_SCHEMA.names
    page = (out / "report.html").read_text(encoding="utf-8")
    addresses = re.findall(r"""\b(?:src|href)\s*=\s*["']([^"']*)""", page)
    assert all(address.startswith(("#", "studies/study-")) for address in addresses)
    assert page.count("<script>") == 1 and not re.search(r"<link|<iframe|url\(|@import", page)
    assert "default-src &#39;none&#39;" in page
    assert "<b>tiny" not in page
    assert "&lt;b&gt;tiny" in page
    assert "No split was named" in page
    assert re.search(r"\d+ studies, \d+ items, [\d,]+ answers in the averages", page)
    assert "not stated in the predictions file" in page
    evaluate_files(predictions, world.store.path, out)  # over an earlier one
    (out / "studies" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="notes"):
        evaluate_files(predictions, world.store.path, out)


def test_nothing_is_left_behind_on_failure(world, tmp_path, monkeypatch, knows_truth):
    def fail(evaluation):
        raise RuntimeError("no room for the page")

    monkeypatch.setattr(report, "render", fail)
    with pytest.raises(RuntimeError, match="no room"):
        write_report(knows_truth, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_predictions_that_are_refused_leave_nothing_behind(world, tmp_path):
    predictions = tmp_path / "predictions.parquet"
    frame = exact_predictions(world, world.truth).frame.with_columns(item_id=pl.lit("elsewhere"))
    write_predictions(predictions, frame, metadata={})
    with pytest.raises(InputError, match="'elsewhere' is not in the store"):
        evaluate_files(predictions, world.store.path, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [predictions]


def test_the_split_of_the_metadata_is_used_and_another_one_is_warned_of(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "render", lambda shown: "no page")
    world = make_world(tmp_path / "store", studies=3, conditions=2, outcomes=1, n=12)
    for name, study in (("trained", "s00"), ("other", "s01")):
        held_out = [{"part": PART, "study_id": study}]
        split_of_units(world.store, name=name, seed=0, rows=held_out).save()
    predictions = tmp_path / "predictions.parquet"
    frame = exact_predictions(world, world.truth).frame
    write_predictions(predictions, frame, metadata={"split": "trained"})
    found = evaluate_files(predictions, world.store.path, tmp_path / "out")
    assert found.parts == ("unseen_studies", "train")
    assert set(found.distributions.filter(part="unseen_studies")["study"]) == {"s00"}
    assert [note.startswith("It is not known what the model was trained on") for note in found.notes] == [
        True
    ]
    found = evaluate_files(predictions, world.store.path, tmp_path / "out", split_name="other")
    assert set(found.distributions.filter(part="unseen_studies")["study"]) == {"s01"}
    assert "may have been used in training" in found.notes[0]
    write_predictions(predictions, frame, metadata={"split": 3})
    with pytest.raises(InputError, match="the metadata's 'split' is 3"):
        evaluate_files(predictions, world.store.path, tmp_path / "out")


def test_the_report_says_plainly_when_the_model_does_not_beat_a_uniform_guess(guesses):
    page = report.render(report.values(guesses))
    assert "Whether the model does better than a uniform guess" in page
    assert "cannot be told from 4 studies" in page
    assert "Do not rely on this model for effects of conditions in unseen studies" in page


def test_a_model_that_does_worse_than_the_baselines_is_not_to_be_relied_on(world):
    lowest = dict.fromkeys(world.truth, np.eye(7)[0])
    found = evaluate(exact_predictions(world, lowest), world.store, label(world.store, **TRAINING))
    first = verdicts.verdict(found, PART)[0]
    assert first.kind == "warning"
    assert first.text.startswith(
        "Do not rely on this model for unseen studies: it does worse than a uniform guess"
    )


def test_where_nothing_can_be_said_for_want_of_answers_the_least_number_is_named(world):
    predictions = exact_predictions(world, world.truth)
    found = evaluate(predictions, world.store, label(world.store, **TRAINING), minimum_n=1_000)
    first = verdicts.verdict(found, PART)[0]
    assert first.kind == "warning" and "no item has enough answers (1000 are the least)" in first.text


def test_a_model_that_beats_both_is_said_to(knows_truth):
    first = verdicts.verdict(knows_truth, PART)[0]
    assert first.kind == "claim"
    assert first.text.startswith("For unseen studies the model does better than a uniform guess")
    assert "human answers pooled over conditions" in first.text


def test_fit_to_training_answers_is_called_fit(knows_truth):
    texts = [s.text for s in verdicts.verdict(knows_truth, "train")]
    assert "The model has seen these answers: this is fit, not prediction." in texts


def test_few_studies_are_warned_of(knows_truth):
    assert any(s.text.startswith("Only 4 studies") for s in verdicts.verdict(knows_truth, PART))


def test_the_same_evaluation_gives_the_same_page(tmp_path):
    world, item_id = one_item(tmp_path, [2, 3] * 8)
    exact = exact_predictions(world, {item_id: shape(0.5, levels=7)})
    found = evaluate(exact, world.store, label_without_split(world.store))
    assert report.render(report.values(found)) == report.render(report.values(found))


def test_the_summary_fits_a_terminal_of_eighty_columns(knows_truth):
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(summary_table(knows_truth))
    text = console.export_text()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    shown = value(knows_truth, "wasserstein")
    for number in (shown.value, shown.lo, shown.hi):
        assert f"{number:.3f}" in text
    for words in ("unseen studies", "training answers", "4 studies"):
        assert words in text


@pytest.mark.parametrize(("second", "named"), [("a", True), ("b", False)])
def test_the_summary_names_the_unseen_conditions_of_one_study_alone(knows_truth, second, named):
    rows = [("unseen_conditions", "a", "prize"), ("unseen_conditions", second, "audit")]
    held_out = pl.DataFrame(rows, schema=["part", "study", "condition"], orient="row")
    told = dataclasses.replace(
        knows_truth,
        counts={"unseen_conditions": knows_truth.counts[PART]},
        distributions=held_out,
    )
    assert ("unseen conditions: “audit”, “prize”" in summary_table(told).caption) == named


def test_the_page_has_a_paragraph_for_a_methods_section_with_its_numbers(knows_truth):
    page = report.render(report.values(knows_truth))
    text = verdicts.methods_paragraph(knows_truth, PART)
    assert text.replace("'", "&#39;") in page
    for words in (
        "2,400 human answers to 40 items",
        "4 studies",
        "at least 10 answers",
        "seed 0",
        "resample studies",
        "pilots of 5 and 20 people",
    ):
        assert words in text
    assert "survey weights" not in text
    settings = {**knows_truth.metadata["evaluation"], "weighted": True}
    weighted = dataclasses.replace(knows_truth, metadata={**knows_truth.metadata, "evaluation": settings})
    assert "weighted by people's survey weights" in verdicts.methods_paragraph(weighted, PART)


def test_findings_are_exploratory_unless_the_predictions_name_a_registration(knows_truth):
    assert verdicts.registration(knows_truth).text.startswith("Exploratory")
    metadata = {**knows_truth.metadata, "predictions": {"registered": "osf.io/abcde, W on unseen studies"}}
    registered = dataclasses.replace(knows_truth, metadata=metadata)
    assert "osf.io/abcde" in verdicts.registration(registered).text


def test_a_value_and_an_evaluation_show_what_they_say(knows_truth):
    found = knows_truth.metric("wasserstein", part=PART)
    shown = repr(found)
    assert shown.startswith(f"MetricValue(wasserstein {found.value:.3f} [{found.lo:.3f}, ")
    assert shown.endswith(f", model on {PART}, n={found.n})")
    whole = repr(knows_truth)
    assert f"{PART}: {knows_truth.counts[PART]['studies']} studies, wasserstein {found.value:.3f} [" in whole
    assert len(whole) < 400, "tables are not shown"
    page = knows_truth._repr_html_()
    assert page.count("<script") == 0 and "<table>" in page


@pytest.mark.parametrize(
    "table",
    [
        {"item_id": ["a"], "mean_position": ["high"]},
        {"item_id": ["a"], "mean_position": [math.nan]},
        {"item_id": ["a", "a"], "mean_position": [0.1, 0.2]},
        {"item_id": ["a"]},
    ],
)
def test_a_table_of_true_effects_that_is_none_is_refused(tmp_path, table):
    store = small_store(tmp_path / "store", studies=1, people=2)
    pl.DataFrame(table).write_parquet(store.path / "truth.parquet")
    rehash(store.path)
    with pytest.raises(InputError, match=r"truth\.parquet"):
        read_truth(StudyStore(store.path))


@pytest.fixture(scope="module")
def ignore_the_arm(tmp_path_factory) -> list[Evaluation]:
    """Simulators that draw 3, 4 or 5 for each person, whatever was read; of one question in four arms."""
    one = make_world(
        tmp_path_factory.mktemp("arms") / "store", studies=1, conditions=4, outcomes=1, levels=5, n=40, seed=1
    )
    same = {i: np.array([0, 0, 1, 1, 1]) / 3 for i in one.truth}
    return [
        evaluate(drawn_predictions(one, same, seed=seed), one.store, label(one.store)) for seed in range(6)
    ]


def test_the_noise_of_one_draw_per_person_is_in_intervals_over_people(ignore_the_arm):
    estimates = [value(found, "condition_sensitivity_r") for found in ignore_the_arm]
    assert all(estimate.resampled == "participants" for estimate in estimates)
    assert sum(estimate.excludes_zero for estimate in estimates) <= 1


def test_draws_that_ignore_the_arm_claim_no_direction(ignore_the_arm):
    said = [str(s) for found in ignore_the_arm for s in effects_verdict(found, PART)]
    assert said
    assert all("cannot be told" in text for text in said)


def test_an_interval_without_zero_claims_nothing_where_shuffles_give_as_much(ignore_the_arm):
    found = ignore_the_arm[0]
    r = pl.col("reference").is_null() & (pl.col("metric") == "condition_sensitivity_r")
    narrow = found.table.with_columns(
        value=pl.when(r).then(-0.4).otherwise("value"),
        lo=pl.when(r).then(-0.5).otherwise("lo"),
        hi=pl.when(r).then(-0.3).otherwise("hi"),
    )
    (sentence,) = effects_verdict(dataclasses.replace(found, table=narrow), PART)
    assert sentence.kind == "undecided"
    assert "shuffled conditions give as much by chance" in sentence.text
    assert "Draws are noisy" in sentence.text


def test_a_difference_of_two_that_ignore_the_arm_claims_nothing(ignore_the_arm, knows_truth):
    row = {"part": PART, "metric": "condition_sensitivity_r", "normalization": "scale", "source": "sampled"}
    table = pl.DataFrame(
        [row | {"group": None, "difference": -0.4, "lo": -0.74, "hi": -0.06}],
        schema_overrides={"group": pl.String},
    )
    a, b = ignore_the_arm[:2]
    (said,) = Comparison(table=table, a=a, b=b, answers=1, excluded=0).sentences()
    assert "nothing can be claimed" in said
    assert Comparison(table=table, a=knows_truth, b=b, answers=1, excluded=0).sentences() == []


def test_two_contrasts_have_no_correlation_and_no_slope(tmp_path):
    """A line goes through any two points: r would be 1 or -1, and the slope anything."""
    few = make_world(tmp_path / "store", studies=1, conditions=2, outcomes=2, n=20)
    found = evaluate(exact_predictions(few, few.truth), few.store, label(few.store))
    assert value(found, "effect_r").n == 2
    for name in ("effect_r", "effect_r_adjusted", "effect_slope", "effect_intercept"):
        assert value(found, name).value is None
        assert value(found, name, predictor="split_half").value is None
    assert value(found, "effect_rmse").value is not None
    assert value(found, "condition_sensitivity_r").value is not None  # four condition means


def test_two_condition_means_cannot_tell_whether_predictions_move(tmp_path):
    few = make_world(tmp_path / "store", studies=1, conditions=2, outcomes=1, n=20)
    found = evaluate(exact_predictions(few, few.truth), few.store, label(few.store))
    assert value(found, "condition_sensitivity_r").value is None
    assert value(found, "condition_sensitivity_p").value is None
    (sentence,) = effects_verdict(found, PART)
    assert sentence.kind == "undecided"
    assert "cannot be told from 2 condition means: 3 are the least" in sentence.text


def test_the_first_lines_name_a_blind_part_beside_a_good_one(world):
    """Truth where studies are unseen, no difference between conditions where people are."""
    known = world.truth | {
        item_id: probs
        for item_id, probs in ignoring_conditions(world).items()
        if world.store.item_by_id[item_id].study_id in TRAINING
    }
    labeled = label(world.store, **dict.fromkeys(TRAINING, "unseen_participants"))
    found = evaluate(exact_predictions(world, known), world.store, labeled)
    lines = report.values(found)["lead"]
    assert len(lines) == 2
    assert "its predictions move with the conditions" in lines[0].lower()
    assert "Of people whom the model has never seen" in lines[1]
    assert "does not know the treatment" in lines[1]


def test_of_two_draws_of_one_simulator_neither_is_better(ignore_the_arm):
    """Both draw from the same distribution, and intervals are as wide as draws make the distance differ."""
    differences = paired_of(ignore_the_arm)
    assert len(differences) == 15
    # Pairs of six are not independent: over 276 pairs of 24 draws it is 3 %, with the draws held fixed 76 %.
    assert sum(one.excludes_zero for one in differences) <= 3
    # As an independent simulation has it: 40 draws an arm, W from the differences of cumulative shares.
    human = np.array(ignore_the_arm[0].distributions["human"].to_list())
    shares = np.random.default_rng(0).multinomial(40, [0, 0, 1 / 3, 1 / 3, 1 / 3], size=(2_000, 4)) / 40
    distance = np.abs(np.cumsum(shares - human, axis=2))[..., :-1].sum(axis=2).mean(axis=1) / 4
    half_width = np.mean([(one.hi - one.lo) / 2 for one in differences])
    assert half_width == pytest.approx(1.96 * math.sqrt(2) * distance.std(), rel=0.25)


def paired_of(judged: list[Evaluation]) -> list[Estimate]:
    """The paired difference in distance of every two."""
    rows = [
        paired(a, b).filter(pl.col("group").is_null(), metric="wasserstein", normalization="scale")
        for a, b in itertools.combinations(judged, 2)
    ]
    return [Estimate(*row.select("difference", "lo", "hi").row(0)) for row in rows]
