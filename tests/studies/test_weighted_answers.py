"""Answers that count unequally: shares of whole groups, and what training and evaluation make of them."""

import numpy as np
import polars as pl
import pytest
from evaluation_example import filled

from socsci_jax.data.branch_targets import Targets
from socsci_jax.data.targets import target_table
from socsci_jax.errors import InputError
from socsci_jax.evaluation.cells import PredictionIndex
from socsci_jax.evaluation.evaluate import evaluate
from socsci_jax.evaluation.evaluate_files import label_without_split
from socsci_jax.evaluation.items import human_histogram
from socsci_jax.studies.predictions import Predictions
from socsci_jax.studies.scale import Scale
from socsci_jax.studies.schema import Item
from socsci_jax.studies.store import StudyStore
from socsci_jax.studies.store_builder import StoreBuilder

SHARES = {"young": (0.7, 0.2, 0.1), "old": (0.1, 0.3, 0.6)}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> StudyStore:
    """One question, asked of two groups: a row for each answer of each, with the share that gave it."""
    builder = StoreBuilder(attributes=("age",), source="made up", license="CC0-1.0", command="test")
    builder.add_study("s")
    item = Item(
        study_id="s",
        condition="all",
        outcome="o",
        stimulus="",
        question="How happy are you? ",
        answer_format="1 to 3",
        scale=Scale.of_levels(range(1, 4), origin="stated"),
    )
    item_id = builder.add_item(item)
    for group, shares in SHARES.items():
        builder.add_participant("s", group, {"age": group})
        for level, share in enumerate(shares, start=1):
            builder.add_response(item_id, group, level, sample_id=level, weight=share)
    return builder.write(tmp_path_factory.mktemp("shares") / "store")


def prompts(store: StudyStore) -> pl.DataFrame:
    return label_without_split(store).with_columns(
        prefix=pl.lit(0), rank=pl.col("participant_id").rank("dense").cast(pl.Int64)
    )


def predictions(store: StudyStore, shares: dict[str, tuple[float, ...]]) -> Predictions:
    (item_id,) = store.items["item_id"]
    rows = [
        {"item_id": item_id, "participant_id": group, "levels": [1.0, 2.0, 3.0], "probs": list(probs)}
        for group, probs in shares.items()
    ]
    return Predictions(frame=filled(pl.DataFrame(rows)))


def test_an_answer_is_trained_on_as_often_as_its_weight_says(store):
    table = target_table(prompts(store), store, Targets(), merged=True)
    (by_group,) = [dict(zip(t.texts, t.counts, strict=True)) for t in table.targets[:1]]
    assert by_group == pytest.approx(dict(zip("123", SHARES["old"], strict=True)))


def test_a_histogram_of_a_group_is_made_of_its_shares(store):
    targets = Targets(kind="distributions", condition_on=("age",))
    table = target_table(prompts(store), store, targets, merged=True)
    assert sorted(t.target[0] for t in table.targets) == [
        pytest.approx(SHARES["old"]),
        pytest.approx(SHARES["young"]),
    ]


def test_shares_of_a_group_have_no_pairs_of_people(store):
    table = target_table(prompts(store), store, Targets(kind="pairs"), merged=True)
    assert not table.targets
    assert "shares of groups" in table.refused["reason"].item()


def test_the_distribution_of_an_item_weighs_its_answers(store):
    (item_id,) = store.items["item_id"]
    cell = PredictionIndex(predictions(store, SHARES)).cell(
        item_id, store.item_by_id[item_id], label_without_split(store).with_columns(share=True)
    )
    assert cell is not None
    np.testing.assert_allclose(human_histogram(cell), np.mean(list(SHARES.values()), axis=0))


def test_who_predicts_the_shares_is_at_no_distance_and_nothing_is_said_of_halves(store):
    found = evaluate(predictions(store, SHARES), store, label_without_split(store), minimum_n=2)
    distance = found.table.filter(
        pl.col("reference").is_null(), metric="wasserstein", predictor="model", source="exact"
    )
    assert distance["value"].count() and distance["value"].drop_nulls().abs().max() < 1e-12
    assert "split_half" not in set(found.table.filter(pl.col("value").is_not_null())["predictor"])
    assert any("shares of groups" in note for note in found.notes)


@pytest.mark.parametrize("weight", [-1.0, 1e-320, 1e300, float("nan")])
@pytest.mark.parametrize("table", ["responses", "participants"])
def test_a_weight_that_none_can_be_is_refused(store, tmp_path, weight, table):
    builder = StoreBuilder(attributes=(), source="", license="", command="")
    builder.add_study("s")
    builder.add_participant("s", "p", {}, weight=weight if table == "participants" else None)
    item_id = builder.add_item(next(iter(store.item_by_id.values())))
    builder.add_response(item_id, "p", 1, sample_id=0, weight=weight if table == "responses" else None)
    with pytest.raises(InputError, match=rf"{table}.parquet: a weight is neither 0 nor a number from"):
        getattr(builder.write(tmp_path / "store"), table)


def test_a_later_answer_of_the_same_person_stands_apart(store, tmp_path):
    builder = StoreBuilder(attributes=(), source="", license="", command="")
    builder.add_study("s")
    builder.add_participant("s", "p", {})
    item_id = builder.add_item(next(iter(store.item_by_id.values())))
    builder.add_response(item_id, "p", 1, sample_id=0)
    builder.add_retest(item_id, "p", 2)
    found = builder.write(tmp_path / "store")
    assert found.retests.rows() == [(item_id, "p", 2, 2.0)]
    assert found.responses.height == 1
