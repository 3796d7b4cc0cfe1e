"""Answers that a model was trained on cannot rectify it."""

import numpy as np
import polars as pl
import pytest
from rectify_example import LABELED, ROWS, row
from rectify_example import people as example_people

from socsci_jax.errors import InputError
from socsci_jax.rectification.prepare import Settings
from socsci_jax.rectification.rectify import rectify


@pytest.fixture(name="people", scope="module")
def _people():
    return example_people()


def test_answers_that_were_trained_on_are_refused(people):
    frame, gold = people
    seen = frame.with_columns(seen=pl.Series(np.arange(ROWS) == 7))
    with pytest.raises(InputError, match=r"1 of 600 predictions is marked as seen .*'p7'"):
        rectify(seen, gold, "y ~ 1")


def test_a_table_that_says_only_what_is_unseen_is_believed_as_well(people):
    frame, gold = people
    seen = frame.with_columns(
        unseen=pl.when(pl.int_range(ROWS) == 7).then(pl.lit("nothing")).otherwise(pl.lit("study"))
    )
    with pytest.raises(InputError, match=r"1 of 600 predictions is marked as seen .*'p7'"):
        rectify(seen, gold, "y ~ 1")


def test_answers_that_were_trained_on_may_be_left_out_and_are_listed(people):
    frame, gold = people
    seen = frame.with_columns(seen=pl.Series(np.arange(ROWS) < 10))
    found = rectify(seen, gold, "y ~ 1", Settings(exclude_seen=True))
    assert row(found, "DSL", "Intercept")["n_labeled"] == LABELED - 10
    assert found.rejects["reason"].to_list() == ["it was seen in training"] * 10
    rest = rectify(frame[10:], gold, "y ~ 1")
    assert row(found, "PPI++", "Intercept")["estimate"] == row(rest, "PPI++", "Intercept")["estimate"]


def test_predictions_that_do_not_say_what_was_trained_on_are_noted(people):
    frame, gold = people
    known = frame.with_columns(seen=pl.lit(False))
    holes = frame.with_columns(seen=pl.when(pl.int_range(ROWS) < 9).then(None).otherwise(False))
    draws = pl.concat([holes.with_columns(draw=pl.lit(draw), value=pl.col("prediction")) for draw in (0, 1)])
    assert any("of 600 predictions it is not known" in note for note in rectify(frame, gold, "y ~ 1").notes)
    assert any("of 9 predictions it is not known" in note for note in rectify(holes, gold, "y ~ 1").notes)
    assert any("of 9 predictions" in note for note in rectify(draws.drop("prediction"), gold, "y ~ 1").notes)
    assert not any("not known" in note for note in rectify(known, gold, "y ~ 1").notes)


def test_each_study_is_predicted_by_a_model_that_has_not_seen_it(people):
    frame, gold = people
    frame = frame.with_columns(study_id=pl.Series(np.where(np.arange(ROWS) % 2 == 0, "even", "odd")))
    gold = gold.join(frame.select("participant_id", "study_id"), on="participant_id")
    first = frame.with_columns(seen=(pl.col("study_id") == "even") & (pl.col("participant_id") < "p2"))
    second = frame.with_columns(seen=pl.col("study_id") == "odd", prediction=pl.col("prediction") + 100)
    found = rectify(first, gold, "y ~ 1", others=[second])
    expected = frame["prediction"].mean() + 50  # half of the people, from the second model
    assert row(found, "naive", "Intercept")["estimate"] == pytest.approx(expected, abs=1e-9)
    with pytest.raises(InputError, match="1 study was seen by every model, the first 'even'"):
        rectify(first, gold, "y ~ 1", others=[first])


@pytest.mark.parametrize("words", [("True", "False"), ("true", "false"), (" TRUE", "FALSE")])
def test_seen_may_be_written_as_text(people, words):
    frame, gold = people
    seen = frame.with_columns(seen=pl.Series([words[at >= 10] for at in range(ROWS)]))
    found = rectify(seen, gold, "y ~ 1", Settings(exclude_seen=True))
    assert found.rejects.height == 10 and row(found, "DSL", "Intercept")["n_labeled"] == LABELED - 10


@pytest.mark.parametrize("word", ["perhaps", ""])
def test_what_another_models_table_says_of_seen_is_checked(people, word):
    frame, gold = people
    known = frame.with_columns(study_id=pl.lit("s"), seen=pl.lit(True))
    other = known.with_columns(seen=pl.lit(word))
    with pytest.raises(InputError, match="'seen' of PREDICTIONS is not true or false"):
        rectify(known, gold, "y ~ 1", others=[other])


def test_answers_of_one_arm_alone_do_not_correct_the_effect(people):
    frame, gold = people
    apart = frame.with_columns(
        arm=(~pl.col("participant_id").is_in(gold["participant_id"].implode())).cast(pl.Int64)
    )
    found = rectify(apart, gold, "y ~ arm")
    assert set(found.table["method"]) == {"naive"}
    assert any("DSL is not computed" in note and "ask people of every group" in note for note in found.notes)


def test_as_many_answers_as_coefficients_correct_nothing(people):
    frame, gold = people
    found = rectify(frame, gold.head(1), "y ~ 1")
    assert "DSL" not in found.table["method"].to_list()


@pytest.mark.parametrize("form", ["nan", "null", "text"])
def test_people_of_the_gold_table_without_a_value_are_counted_and_listed(people, form):
    frame, gold = people
    nothing = {"nan": pl.lit(float("nan")), "null": pl.lit(None, pl.Float64), "text": pl.lit(" ")}[form]
    y = pl.col("y").cast(pl.String) if form == "text" else pl.col("y")
    holes = gold.with_columns(y=pl.when(pl.int_range(LABELED) < 4).then(nothing).otherwise(y))
    found = rectify(frame, holes, "y ~ 1")
    assert found.rejects["participant_id"].to_list() == ["p0", "p1", "p2", "p3"]
    assert found.rejects["reason"].unique().to_list() == [
        "GOLD has no value of y for it; it counts as not asked"
    ]
    assert any(note.startswith("4 of GOLD's rows have no value of y") for note in found.notes)
    without = rectify(frame, gold[4:], "y ~ 1")
    assert without.rejects.is_empty() and found.table.equals(without.table)


def drawn(frame, draws=(0, 1)):
    return pl.concat([frame.with_columns(draw=pl.lit(draw, pl.Int32)) for draw in draws])


def test_draws_of_several_items_are_not_averaged_as_those_of_one(people):
    frame, gold = people
    two = pl.concat([drawn(frame.with_columns(item_id=pl.lit(item))) for item in ("warm", "cold")])
    with pytest.raises(InputError, match=r"PREDICTIONS has .*'draw': 0.* twice; .*name more columns as keys"):
        rectify(two, gold, "y ~ treatment")


def test_draws_without_a_value_and_columns_that_differ_between_draws_are_noted(people):
    frame, gold = people
    draws = drawn(frame).with_columns(
        prediction=pl.when(pl.int_range(pl.len()) == 0).then(None).otherwise("prediction"),
        seconds=pl.int_range(pl.len()),
    )
    notes = rectify(draws, gold, "y ~ treatment").notes
    assert any(f"1 of {draws.height:,} draws is without a value" in note for note in notes)
    assert any("1 column of PREDICTIONS ('seconds') not used" in note for note in notes)
    with pytest.raises(InputError, match="Neither table has a column 'seconds'"):
        rectify(draws, gold, "y ~ seconds")
