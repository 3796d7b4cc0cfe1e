"""Alternatives outside the order of a scale: their shares are kept, and no distance runs through them."""

import dataclasses

import numpy as np
import polars as pl
import pytest
from evaluation_example import filled

from socsci_jax.evaluation.alternatives import alternatives_of
from socsci_jax.evaluation.cells import PredictionIndex
from socsci_jax.evaluation.evaluate import evaluate
from socsci_jax.evaluation.evaluate_files import label_without_split
from socsci_jax.studies.predictions import Predictions
from socsci_jax.studies.scale import Scale
from socsci_jax.studies.schema import Item
from socsci_jax.studies.store_builder import StoreBuilder

SCALE = Scale.of_levels((1, 2, 3), origin="codebook", alternatives={8: "Don't know", 9: "Refused"})
ITEM = Item(
    study_id="s", condition="c", outcome="o", stimulus="", question="?", answer_format="", scale=SCALE
)
ANSWERS = pl.DataFrame({"participant_id": ["a", "b", "c", "d"], "value": [1.0, 3.0, 8.0, 8.0]})
EXACT = pl.DataFrame(
    {
        "item_id": ["i"],
        "participant_id": [None],
        "levels": [[1.0, 2.0, 3.0, 8.0]],
        "probs": [[0.2, 0.1, 0.1, 0.6]],
    }
)
DRAWN = pl.DataFrame(
    {
        "item_id": ["i"] * 4,
        "participant_id": ["a", "b", "c", "d"],
        "draw": [0] * 4,
        "value": [1.0, 9.0, 8.0, 55.0],
    }
)


@pytest.mark.parametrize(
    ("exact", "drawn", "observed", "predicted", "people"),
    [(EXACT, None, [0.5, 0], [0.6, 0], 4), (None, DRAWN, [1 / 3, 0], [1 / 3, 1 / 3], 3)],
    ids=["exact", "drawn"],
)
def test_shares_are_those_of_the_people_who_have_a_prediction(exact, drawn, observed, predicted, people):
    found = alternatives_of(SCALE, ANSWERS, exact=exact, drawn=drawn)
    np.testing.assert_allclose(found.observed_a, observed)
    np.testing.assert_allclose(found.predicted_a, predicted)
    assert found.people == people


def test_a_scale_without_alternatives_has_no_shares():
    scale = Scale.of_levels((1, 2, 3), origin="codebook")
    assert alternatives_of(scale, ANSWERS, exact=EXACT, drawn=None) is None


def test_distributions_are_renormalized_over_the_levels():
    cell = PredictionIndex(Predictions(frame=filled(EXACT))).cell("i", ITEM, ANSWERS)
    np.testing.assert_allclose(cell.probs_nl, [[0.5, 0.25, 0.25]] * 2)
    assert cell.codes_n.tolist() == [0, 2]


def test_answers_beside_the_scale_are_not_counted_as_off_it():
    cell = PredictionIndex(Predictions(frame=filled(DRAWN))).cell("i", ITEM, ANSWERS)
    assert (cell.answers_off_scale, cell.draws, cell.draws_valid) == (0, 1, 1)


def test_a_prediction_that_gives_all_to_alternatives_says_nothing_of_the_levels():
    everything = EXACT.with_columns(probs=pl.Series([[0.0, 0.0, 0.0, 1.0]]))
    assert PredictionIndex(Predictions(frame=filled(everything))).cell("i", ITEM, ANSWERS) is None


@pytest.fixture(scope="module", params=["ordered", "nominal", "one of each"])
def kinds(request):
    """Whether the levels of the two items have an order."""
    return {"ordered": (True, True), "nominal": (False, False), "one of each": (True, False)}[request.param]


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory, kinds):
    """Two arms of 20 people, of whom 4 and 8 say don't know; predicted are 0.6 and none refused."""
    builder = StoreBuilder(attributes=("age",), source="made up", license="CC0", command="test")
    builder.add_study("s")
    rows = []
    for (arm, unsure), ordered in zip((("a", 4), ("b", 8)), kinds, strict=True):
        scale = dataclasses.replace(SCALE, nominal=not ordered)
        item_id = builder.add_item(dataclasses.replace(ITEM, condition=arm, scale=scale))
        rows.append(EXACT.with_columns(item_id=pl.lit(item_id)))
        for k in range(20):
            person = f"{arm}{k}"
            builder.add_participant("s", person, {})
            builder.add_response(item_id, person, 8 if k < unsure else 1 + k % 3, sample_id=k)
    store = builder.write(tmp_path_factory.mktemp("alternatives") / "store")
    predictions = Predictions(frame=filled(pl.concat(rows)))
    return evaluate(predictions, store, label_without_split(store), minimum_n=5)


def value(evaluation, metric: str, predictor: str, group: str | None = None) -> float:
    rows = evaluation.table.filter(
        (pl.col("metric") == metric)
        & (pl.col("predictor") == predictor)
        & pl.col("reference").is_null()
        & pl.col("study").is_null()
        & pl.col("group").eq_missing(pl.lit(group, pl.String))
    )
    return rows["value"].item()


def test_the_table_holds_observed_and_predicted_shares(evaluation):
    assert value(evaluation, "alternatives_share", "human") == pytest.approx(0.3)
    assert value(evaluation, "alternatives_share", "model") == pytest.approx(0.6)
    assert value(evaluation, "alternatives_share", "human", "Refused") == 0
    assert value(evaluation, "alternatives_error", "model") == pytest.approx(0.3)


def test_distances_and_counts_rest_on_the_levels_alone(evaluation, kinds):
    if kinds != (True, True):
        pytest.skip("of items with an order")
    assert evaluation.counts["all"]["answers"] == 28
    assert evaluation.counts["all"]["answers_off_scale"] == 0
