"""What a stranger's tables may hold that cannot be judged, and how a person is found: nothing is silent."""

import numpy as np
import polars as pl
import pytest

import socsci_jax as sj
from socsci_jax.errors import InputError
from socsci_jax.evaluation.elsewhere.columns import without_empty

PEOPLE, QUESTIONS = 40, ("trust", "help", "share")


def table(seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    answers = {name: np.concatenate([[1, 1, 5, 5], rng.integers(1, 6, PEOPLE - 4)]) for name in QUESTIONS}
    return pl.DataFrame({"code": [f"person {k}" for k in range(PEOPLE)], **answers})


HUMAN, PREDICTED = table(0), table(1)


@pytest.fixture
def judge(tmp_path):
    def judged(predicted: pl.DataFrame, human: pl.DataFrame = HUMAN):
        predicted.write_csv(tmp_path / "answers.csv")
        human.write_csv(tmp_path / "human.csv")
        return sj.evaluate_tables(tmp_path / "answers.csv", tmp_path / "human.csv").evaluation

    return judged


def accuracy(found):
    return found.metric("individual_accuracy_draw").value


def test_people_are_found_by_the_name_that_their_column_has_in_the_table_of_answers(judge):
    expected = accuracy(judge(PREDICTED))
    long = PREDICTED.unpivot(QUESTIONS, index="code", variable_name="outcome")
    assert accuracy(judge(long)) == pytest.approx(expected, abs=1e-12)
    sure = long.select("code", "outcome", level="value", prob=pl.lit(1.0))
    assert accuracy(judge(sure)) == pytest.approx(expected, abs=1e-12)


def test_predicted_texts_and_answers_off_the_scale_are_named(judge):
    told = judge(PREDICTED.with_columns(pl.format("I would say {}", "trust").alias("trust"))).notes
    assert any("predictions are texts: 'trust' (the first is 'I would say 1')" in note for note in told)
    told = judge(PREDICTED.with_columns(pl.col("help") * 100)).notes
    assert any("most are to 'help': 40 of 40, for instance 100 on 1 to 5" in note for note in told)


def test_labels_without_an_order_are_asked_for(judge):
    yes = pl.when(pl.col(QUESTIONS) > 3).then(pl.lit("Yes")).otherwise(pl.lit("No")).name.keep()
    with pytest.raises(InputError, match=r"give their order in `scales=`: `trust: \[No, Yes\]`"):
        judge(PREDICTED, HUMAN.select("code", yes))


def test_what_is_wrong_with_probabilities_is_said(judge):
    shares = pl.DataFrame([{"outcome": q, **{f"p_{k}": 20.0 for k in range(1, 6)}} for q in QUESTIONS])
    with pytest.raises(InputError, match=r"Of 'trust': the probabilities do not sum to 1 \(found 100"):
        judge(shares)
    with pytest.raises(InputError, match="Of 'trust': a level is not on the scale"):
        judge(
            shares.rename({f"p_{k}": f"p_{k - 1}" for k in range(1, 6)}).with_columns(pl.col("^p_.$") / 100)
        )


def test_columns_beside_means_that_are_not_used_are_named(judge):
    human = HUMAN.with_columns(condition=pl.Series(["control", "b"] * (PEOPLE // 2)))
    long = human.unpivot(QUESTIONS, index=["code", "condition"], variable_name="outcome")
    means = long.group_by("condition", "outcome").agg(mean=pl.col("value").mean())
    found = judge(means.with_columns(sd=pl.lit(-1.0), se=pl.lit(0.1)), human)
    assert found.metric("sd_ratio") is None
    assert any("'sd' is not used" in note for note in found.notes)
    assert any("'se' is not used; give intervals" in note for note in found.notes)


def test_empty_cells_of_few_and_of_very_many_columns_are_read_alike():
    frame = pl.DataFrame({"a": [" x ", "NA", None], "b": ["", "y ", "-"], "ü,c": ["1", "2", " "]})
    few = without_empty(frame)
    many = without_empty(
        pl.DataFrame({f"{name} {n}": frame[name] for n in range(200) for name in frame.columns})
    )
    assert few["a"].to_list() == ["x", None, None] and few["b"].to_list() == [None, "y", "-"]
    assert many.width == 600
    assert all(
        many[f"{name} {n}"].to_list() == few[name].to_list() for n in range(200) for name in frame.columns
    )
