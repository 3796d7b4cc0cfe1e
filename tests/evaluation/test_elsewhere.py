"""Predictions and answers as plain tables: long, wide, probabilities, means with intervals, and malformed ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from conftest import REPOSITORY
from evaluation_example import exact_predictions, long_answers, make_world

from socsci_jax.errors import InputError
from socsci_jax.evaluation.elsewhere import silicon_sample
from socsci_jax.evaluation.elsewhere.columns import read_table
from socsci_jax.evaluation.elsewhere.long import as_long
from socsci_jax.evaluation.elsewhere.scales import codes_of_no_answer, declared_for, read_scales
from socsci_jax.evaluation.elsewhere.tables import TableEvaluation
from socsci_jax.plain_tables import evaluate_tables


def wide(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.pivot("outcome", index=["participant_id", "condition"], values="value")


def judged(folder: Path, answers: pl.DataFrame, human: pl.DataFrame, **settings) -> TableEvaluation:
    answers.write_csv(folder / "answers.csv")
    human.write_csv(folder / "human.csv")
    return evaluate_tables(folder / "answers.csv", folder / "human.csv", **settings)


@pytest.fixture(scope="module")
def long_result(tmp_path_factory) -> TableEvaluation:
    return judged(tmp_path_factory.mktemp("long"), long_answers(seed=1), long_answers())


def test_long_tables_are_evaluated_without_a_store(long_result):
    evaluation = long_result.evaluation
    human, predicted = long_answers(), long_answers(seed=1)
    both = human.join(predicted, on=["participant_id", "condition", "outcome"], suffix="_predicted")
    error = (both["value"] - both["value_predicted"]).abs() / 4
    per_item = both.with_columns(e=error).group_by("condition", "outcome").agg(pl.col("e").mean())["e"].mean()
    assert evaluation.metric("individual_accuracy_draw").value == pytest.approx(1 - per_item)
    assert long_result.rejected.is_empty()


def test_notes_on_scales_name_only_questions_that_are_judged(tmp_path):
    human = wide(long_answers())
    known = human.with_columns(age=pl.int_range(pl.len()) % 50 + 20, sex=pl.int_range(pl.len()) % 2)
    found = judged(tmp_path, wide(long_answers(seed=1)), known)
    (note,) = (note for note in found.evaluation.notes if note.startswith("Scales are"))
    assert "1 to 5 for 'q1', 'q2'" in note
    assert "age" not in note and "sex" not in note


def test_what_is_judged_has_the_table_at_hand(long_result):
    assert long_result.table is long_result.evaluation.table


def test_wide_and_long_tables_give_the_same_table(tmp_path, long_result):
    other = judged(tmp_path, wide(long_answers(seed=1)), wide(long_answers()))
    names = ["metric", "normalization", "source", "predictor", "reference", "study", "condition", "outcome"]
    one, two = (r.evaluation.table.drop("group").sort(names) for r in (long_result, other))
    assert one.equals(two)


def test_parquet_is_read_as_csv_is(tmp_path, long_result):
    for name, frame in (("a", long_answers(seed=1)), ("h", long_answers())):
        frame.write_parquet(tmp_path / f"{name}.parquet")
    found = evaluate_tables(tmp_path / "a.parquet", tmp_path / "h.parquet")
    assert found.evaluation.table.equals(long_result.evaluation.table)


def test_probabilities_in_columns_and_in_rows_are_the_same_prediction(tmp_path):
    shares = pl.DataFrame(
        [(arm, q, 0.1, 0.2, 0.3, 0.2, 0.2) for arm in ("control", "b") for q in ("q1", "q2")],
        schema=["condition", "outcome", *(f"p_{k}" for k in range(1, 6))],
        orient="row",
    )
    rows = shares.unpivot(
        [f"p_{k}" for k in range(1, 6)], index=["condition", "outcome"], value_name="prob"
    ).with_columns(level=pl.col("variable").str.slice(2))
    columns = judged(tmp_path, shares, long_answers()).evaluation
    assert columns.source("all") == "exact"
    assert judged(tmp_path, rows.drop("variable"), long_answers()).evaluation.table.equals(columns.table)
    expected = long_answers().filter(condition="control", outcome="q1")["value"].to_numpy()
    human = np.bincount(expected - 1, minlength=5) / expected.size
    w = np.abs(np.cumsum(human - np.array([0.1, 0.2, 0.3, 0.2, 0.2])))[:-1].sum() / 4
    item = columns.table.filter(
        pl.col("reference").is_null(), metric="wasserstein", normalization="scale", source="exact", predictor="model",
        condition="control", outcome="q1",
    )  # fmt: skip
    assert item["value"].item() == pytest.approx(w)


def test_means_with_intervals_are_judged_by_effects_and_coverage(tmp_path):
    human = long_answers()
    means = human.group_by("condition", "outcome", maintain_order=True).agg(mean=pl.col("value").mean())
    exact = means.with_columns(pi_lower=pl.col("mean") - 0.1, pi_upper=pl.col("mean") + 0.1)
    found = judged(tmp_path, exact, human).evaluation
    assert found.metric("effect_rmse").value == pytest.approx(0, abs=1e-12)
    assert found.metric("mean_interval_coverage").value == 1
    assert found.metric("mean_interval_winkler").value == pytest.approx(0.2 / 4)
    assert found.metric("wasserstein") is None
    assert found.write(tmp_path / "out").stat().st_size > 1000


def test_effects_against_the_control_are_read_as_such(tmp_path):
    human = long_answers()
    means = (
        human.group_by("condition", "outcome")
        .agg(pl.col("value").mean())
        .pivot("condition", index="outcome", values="value")
    )
    ate = means.select("outcome", condition=pl.lit("b"), ate=pl.col("b") - pl.col("control"))
    found = judged(tmp_path, ate, human).evaluation
    assert found.metric("effect_rmse").value == pytest.approx(0, abs=1e-12)
    assert found.metric("effect_rmse", predictor="no_effect").value > 0.1


def test_predictions_for_other_people_stand_for_everybody(tmp_path):
    others = long_answers(seed=1).with_columns(participant_id=pl.lit("sim") + pl.col("participant_id"))
    found = judged(tmp_path, others, long_answers())
    assert any("stand for everybody alike" in note for note in found.evaluation.notes)
    assert found.evaluation.metric("wasserstein").value is not None


def test_scales_are_declared_by_name_or_pattern(tmp_path):
    path = tmp_path / "scales.yaml"
    path.write_text("q1: 1 to 7\n'q*': 0 to 10 by 5\nnames: {levels: [1, 2], nominal: true}\n")
    scales = read_scales(path)
    assert declared_for("q1", scales).scale.levels == tuple(range(1, 8))
    assert declared_for("q9", scales).scale.levels == (0, 5, 10)
    assert declared_for("names", scales).scale.nominal
    assert declared_for("other", scales) is None


def test_a_declared_scale_is_the_one_that_distances_are_divided_by(tmp_path):
    (tmp_path / "scales.yaml").write_text("'q*': 1 to 9\n")
    narrow = judged(tmp_path, long_answers(seed=1), long_answers()).evaluation.metric("wasserstein").value
    wide_scale = judged(tmp_path, long_answers(seed=1), long_answers(), scales=tmp_path / "scales.yaml")
    assert wide_scale.evaluation.metric("wasserstein").value == pytest.approx(narrow / 2)


def test_brackets_in_a_name_are_brackets_and_a_scale_of_no_question_is_reported(tmp_path):
    path = tmp_path / "scales.yaml"
    path.write_text("'q1[a]*': 1 to 7\nq*: 1 to 9\nmood: 1 to 3\n")
    scales = read_scales(path)
    assert declared_for("q1[a]_2", scales).scale.levels[-1] == 7
    assert declared_for("q1a", scales).scale.levels[-1] == 9
    notes = judged(tmp_path, long_answers(seed=1), long_answers(), scales=path).evaluation.notes
    assert any("declared for 'q1[a]*', 'mood', but no question" in note for note in notes)


@pytest.mark.parametrize(
    "scale", ["5 to 1", "a lot", "0 to 100000", "[1]", "{values: [1, 2]}", "1 to 5 by 3"]
)
def test_a_scale_that_is_none_is_named(tmp_path, scale):
    (tmp_path / "scales.yaml").write_text(f"q1: {scale}\n")
    with pytest.raises(InputError, match="q1"):
        read_scales(tmp_path / "scales.yaml")


# ---- malformed tables ----


def test_what_cannot_be_used_is_listed_with_its_row_and_reason(tmp_path):
    answers = long_answers(seed=1).with_columns(pl.col("value").cast(pl.String))
    broken = answers.with_row_index().with_columns(
        value=pl.when(pl.col("index") == 3).then(pl.lit("often")).otherwise("value"),
        participant_id=pl.when(pl.col("index") == 5).then(None).otherwise("participant_id"),
        outcome=pl.when(pl.col("index") == 7).then(pl.lit("q9")).otherwise("outcome"),
    )
    found = judged(tmp_path, broken.drop("index"), long_answers())
    reasons = {(row["row"], row["reason"]) for row in found.rejected.iter_rows(named=True)}
    assert reasons == {
        (4, "not a number"),
        (6, "nobody is named"),
        (8, "people have no answers to this question"),
    }
    assert any("3 rows or cells could not be used" in note for note in found.evaluation.notes)
    found.write(tmp_path / "out")
    assert pl.read_csv(tmp_path / "out" / "rejects.csv").height == 3


def test_a_mean_that_no_answers_have_is_rejected(tmp_path):
    means = pl.DataFrame(
        {"condition": ["control", "b", "b"], "outcome": ["q1", "q1", "q2"], "mean": [2.0, 3.0, 1e308]}
    )
    found = judged(tmp_path, means, long_answers())
    assert found.rejected["reason"].to_list() == ["no mean with an interval around it"]


def test_probabilities_that_do_not_sum_to_one_are_rejected_and_not_renormalized(tmp_path):
    shares = pl.DataFrame(
        {"condition": ["control", "b"], "outcome": ["q1", "q1"], "p_1": [0.5, 0.5], "p_2": [0.5, 0.9]}
    )
    found = judged(tmp_path, shares, long_answers())
    assert found.rejected["reason"].to_list() == ["the probabilities do not sum to 1"]
    assert found.evaluation.counts["all"]["items"] == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "the file is empty"),
        ("participant_id,outcome,value\n", "no rows"),
        ("a,b\nx,y\n", "no column is a question"),
        ("outcome,value\nq1,3\n", "no column says who answered"),
        ("participant_id,outcome,value\np,q1,x\n", "not one answer is a number"),
        ("participant_id,outcome,value,value\np,q1,1,2\n", "twice"),
    ],
)
def test_a_table_that_is_none_gets_one_sentence(tmp_path, content, words):
    (tmp_path / "human.csv").write_text(content)
    long_answers().write_csv(tmp_path / "answers.csv")
    with pytest.raises(InputError, match=words):
        evaluate_tables(tmp_path / "answers.csv", tmp_path / "human.csv")


def test_tables_without_a_common_question_are_refused_with_an_example_of_each(tmp_path):
    with pytest.raises(InputError, match="no prediction is of a question"):
        judged(tmp_path, long_answers().with_columns(outcome=pl.lit("other")), long_answers())


# ---- published files ----


@pytest.mark.parametrize(
    "setting", ["demographics_only", pytest.param("text_persona", marks=pytest.mark.slow)]
)
def test_a_published_simulator_is_scored_from_its_files_as_an_independent_computation_does(
    shared_data, setting
):
    folder = shared_data / "syn_digits" / setting
    scales = REPOSITORY / "docs" / "scales" / "syn_digits.yaml"
    found = evaluate_tables(
        folder / "LLM.csv.gz", folder / "real.csv.gz", id_column="TWIN_ID", scales=scales
    ).evaluation
    # Every question has a scale there, and every scale a question.
    assert not any("Scales are" in note for note in found.notes)
    declared = read_scales(scales)
    real, model = (
        pl.read_csv(folder / name, infer_schema_length=None).cast(pl.Float64)
        for name in ("real.csv.gz", "LLM.csv.gz")
    )
    assert real["TWIN_ID"].equals(model["TWIN_ID"])
    accuracy, correlation = [], []
    for question in real.columns[1:]:
        x, y = real[question].to_numpy(), model[question].to_numpy()
        levels = declared_for(question, declared).scale.levels
        lo, hi = levels[0], levels[-1]
        known = np.isfinite(x) & np.isfinite(y) & (y >= lo) & (y <= hi)
        x, y = x[known], y[known]
        accuracy.append(1 - np.abs(x - y).mean() / (hi - lo))
        if x.std() > 0 and y.std() > 0:
            correlation.append(np.corrcoef(x, y)[0, 1])
    assert found.metric("individual_accuracy_draw").value == pytest.approx(np.mean(accuracy), abs=1e-10)
    assert found.metric("individual_r").value == pytest.approx(np.mean(correlation), abs=1e-10)


# ---- the Silicon Sample Benchmark's form ----


@pytest.mark.parametrize(
    ("name", "tier"),
    [("example_T1_first60.csv", "T1"), ("example_T2_cells_main.csv", "T2"), ("example_T3.csv", "T3")],
)
def test_the_benchmarks_own_examples_are_in_order(shared_data, name, tier):
    folder = shared_data / "silicon_sample"
    frame = read_table(folder / name)
    ranges = silicon_sample.Ranges.of_codebook(folder / "codebook.csv")
    assert len(ranges.by_outcome) > 30
    assert silicon_sample.tier_of(frame) == tier
    assert silicon_sample.problems(frame, ranges=ranges) == []


@pytest.mark.parametrize("name", ["example_T1_first60.csv", "example_T2_cells_main.csv", "example_T3.csv"])
def test_every_tier_is_judged_by_people_in_the_form_of_t1(shared_data, tmp_path, name):
    rng = np.random.default_rng(0)
    people = read_table(shared_data / "silicon_sample" / "example_T1_first60.csv")
    arms = ["control", "Consensus", "Funding"]
    rows = pl.concat([people] * 3).with_columns(
        profile_id=pl.Series([f"human{k}" for k in range(3 * people.height)]),
        condition=pl.Series(arms * people.height),
        trust_post=pl.Series(rng.integers(0, 101, 3 * people.height).astype(str)),
    )
    rows.write_csv(tmp_path / "human.csv")
    answers = shared_data / "silicon_sample" / name
    if name.startswith("example_T1"):
        read_table(answers).with_columns(condition=pl.Series((arms * 20)[: people.height])).write_csv(
            tmp_path / "T1.csv"
        )
        answers = tmp_path / "T1.csv"
    found = evaluate_tables(answers, tmp_path / "human.csv").evaluation
    assert found.metric("effect_rmse").value is not None


T2_ROWS = [("control", "q", "3", "2", "4"), ("a", "q", "4", "3", "5")]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([*T2_ROWS, T2_ROWS[0]], "given twice"),
        ([T2_ROWS[1]], "is missing"),
        ([("control", "q", "9", "2", "4"), T2_ROWS[1]], "does not hold its mean"),
        ([("control", "q", "x", "2", "4"), T2_ROWS[1]], "is not a number"),
        ([*T2_ROWS, ("a", "r", "1", "0", "2")], "need 4 rows"),
    ],
)
def test_what_the_validator_would_refuse_is_said(rows, words):
    frame = pl.DataFrame(rows, schema=["condition", "outcome", "mean", "pi_lower", "pi_upper"], orient="row")
    assert any(words in problem for problem in silicon_sample.problems(frame))
    assert silicon_sample.problems(pl.DataFrame(T2_ROWS, schema=frame.columns, orient="row")) == []


def test_predictions_are_written_as_means_and_effects_in_units_of_the_scale(tmp_path):
    world = make_world(tmp_path / "store", studies=1, conditions=3, outcomes=1, n=30)
    made = exact_predictions(world, world.truth)
    means = silicon_sample.means_table(made, world.store.item_by_id)
    truth = {world.store.item_by_id[i].condition: p @ np.arange(1, 8) for i, p in world.truth.items()}
    assert dict(means.select("condition", "mean").iter_rows()) == pytest.approx(truth)
    named = means.with_columns(condition=pl.col("condition").replace("c0", "control"))
    ates = silicon_sample.effects_table(named)
    assert ates.filter(condition="c1")["ate"].item() == pytest.approx(truth["c1"] - truth["c0"])
    for table in (named, ates):
        assert silicon_sample.problems(table.with_columns(pl.all().cast(pl.String))) == []


# ---- tables that would give a wrong number ----


def test_a_person_who_answers_a_question_twice_counts_once(tmp_path):
    human = long_answers()
    once = judged(tmp_path, human, human)
    twice = judged(tmp_path, human, pl.concat([human, human.with_columns(value=pl.lit(1, pl.Int64))]))
    assert twice.evaluation.counts["all"]["answers"] == once.evaluation.counts["all"]["answers"]
    assert twice.rejected["reason"].str.contains("in an earlier row").sum() == human.height


@pytest.mark.parametrize("which", ["answers", "human"])
def test_a_first_column_of_answers_is_not_taken_for_people(tmp_path, which):
    tables = {"answers": wide(long_answers()), "human": wide(long_answers())}
    tables[which] = tables[which].select("q1", "q2", "condition")
    with pytest.raises(InputError, match=r"the first, 'q1', holds '.' in several rows"):
        judged(tmp_path, **tables)


def test_a_first_column_of_any_name_may_tell_people(tmp_path):
    table = wide(long_answers()).rename({"participant_id": "who"})
    assert judged(tmp_path, table, table).evaluation.counts["all"]["answers"] == long_answers().height


def test_codes_of_no_answer_do_not_stretch_the_scale(tmp_path):
    human = long_answers()
    coded = human.with_columns(value=pl.when(pl.int_range(pl.len()) % 9 == 0).then(-99).otherwise("value"))
    found = judged(tmp_path, human, coded)
    assert found.rejected["reason"].str.contains("codes of no answer").all() and found.rejected.height == 18
    assert any("1 to 5 for 'q1', 'q2'" in note for note in found.evaluation.notes)
    (tmp_path / "scales.yaml").write_text("q*: [-99, 1, 2, 3, 4, 5]\n")
    assert judged(tmp_path, human, coded, scales=tmp_path / "scales.yaml").rejected.is_empty()


@pytest.mark.parametrize(
    "values", [[1, 2, 99, 50], [18, 60, 99], [-9, -5, 5, 9], [1.0, 99.0], [99, 100, 101]]
)
def test_answers_among_others_are_no_codes(values):
    assert codes_of_no_answer(pl.Series(values, dtype=pl.Float64)) == []


def test_a_control_that_is_no_condition_is_refused(tmp_path):
    with pytest.raises(InputError, match="no condition 'kontrol'; found \\['b', 'control'\\]"):
        judged(tmp_path, long_answers(), long_answers(), controls=["kontrol"])


@pytest.mark.parametrize("yes", ["1.0", "1", "TRUE", "yes"])
def test_controls_are_marked_as_other_programs_write_yes(tmp_path, yes):
    human = long_answers().with_columns(
        is_control=pl.when(pl.col("condition") == "b").then(pl.lit(yes)).otherwise(pl.lit("0"))
    )
    human.write_csv(tmp_path / "human.csv")
    assert as_long(read_table(tmp_path / "human.csv"), table="t").controls == {"b"}


@pytest.mark.parametrize(("column", "cell"), [("weight", "1,5"), ("weight", "-2"), ("is_control", "perhaps")])
def test_a_weight_or_control_that_is_none_is_refused(tmp_path, column, cell):
    with pytest.raises(InputError, match=f"column '{column}' holds '{cell}'"):
        judged(tmp_path, long_answers(), long_answers().with_columns(pl.lit(cell).alias(column)))


@pytest.mark.parametrize("form", ["{}%", "{},5"])
def test_columns_of_percent_or_decimal_commas_are_named_as_not_used(tmp_path, form):
    table = wide(long_answers()).with_columns(q2=pl.format(form, "q2"))
    found = judged(tmp_path, table, table)
    assert set(found.rejected["column"]) == {"q2"}
    assert any("% or a decimal comma" in note for note in found.evaluation.notes)


def test_answers_of_people_without_a_weight_are_counted_in_a_note(tmp_path):
    human = long_answers().with_columns(
        weight=pl.when(pl.col("participant_id") == "b3").then(None).otherwise(1.5)
    )
    notes = judged(tmp_path, long_answers(), human).evaluation.notes
    assert any(note.startswith("2 answers are of people without a survey weight") for note in notes)


@pytest.mark.parametrize(
    ("column", "cell"), [("seen", "True"), ("seen", "1.0"), ("seen", " yes"), ("unseen", "nothing")]
)
def test_predictions_that_say_that_they_were_trained_on_are_refused(tmp_path, column, cell):
    with pytest.raises(InputError, match="160 of 160 rows are marked as seen in training"):
        judged(tmp_path, long_answers().with_columns(pl.lit(cell).alias(column)), long_answers())


def test_of_tables_without_marks_one_sentence_says_that_nothing_is_known(long_result):
    notes = long_result.evaluation.notes
    assert (
        sum(
            "No split is known" in note or "not known what the model was trained on" in note for note in notes
        )
        == 1
    )


def test_predictions_of_another_condition_are_not_judged_by_the_only_one_of_people(tmp_path):
    control, other = (long_answers().filter(condition=name) for name in ("control", "b"))
    with pytest.raises(InputError, match="no prediction is of a question"):
        judged(tmp_path, other, control)
    unnamed = other.drop("condition")
    assert judged(tmp_path, unnamed, control).evaluation.counts["all"]["answers"] == control.height


def cell_means(value: float) -> pl.DataFrame:
    return (
        long_answers()
        .select("condition", "outcome")
        .unique(maintain_order=True)
        .with_columns(mean=pl.lit(value))
    )


def test_means_on_another_scale_are_noted(tmp_path):
    notes = judged(tmp_path, cell_means(0.7), long_answers()).evaluation.notes
    assert any(
        note.startswith("4 of 4 predicted means lie outside the scale, the first 0.7") for note in notes
    )
    assert not any(
        "outside the scale" in note
        for note in judged(tmp_path, cell_means(3), long_answers()).evaluation.notes
    )


def test_means_that_nobody_answered_are_rejected(tmp_path):
    means = pl.concat([cell_means(3.0), cell_means(3.0).head(1).with_columns(outcome=pl.lit("q9"))])
    rejects = judged(tmp_path, means, long_answers()).rejected
    assert rejects.rows() == [
        (str(tmp_path / "answers.csv"), 5, "q9", "people have no answers to this question", "q9")
    ]


def test_whole_numbers_are_the_same_identifier_in_whichever_way_a_table_writes_them(tmp_path):
    arm = (pl.col("condition") == "b").cast(pl.Int64).alias("condition")
    number = pl.col("participant_id").rank("dense").cast(pl.Int64)
    human, predicted = (frame.with_columns(number, arm) for frame in (long_answers(), long_answers(seed=1)))
    floats = predicted.with_columns(pl.col("participant_id", "condition").cast(pl.Float64))
    same = judged(tmp_path, predicted, human, controls=["0"])
    found = judged(tmp_path, floats, human, controls=["0"])
    assert found.evaluation.table.equals(same.evaluation.table)
    assert not any("stand for everybody" in note for note in found.evaluation.notes)


def test_a_second_weight_of_one_person_is_rejected_and_counted(tmp_path):
    weighted = wide(long_answers()).with_columns(weight=pl.int_range(1, pl.len() + 1))
    again = weighted[:2].with_columns(weight=pl.lit(9, pl.Int64), q1=None, q2=None)
    found = judged(tmp_path, long_answers(seed=1), pl.concat([weighted, again], how="vertical_relaxed"))
    rejects = found.rejected
    assert rejects["column"].to_list() == ["weight"] * 2 and rejects["value"].to_list() == ["9", "9"]
    assert rejects["reason"].unique().to_list() == [
        "the person has another weight in an earlier row, which is taken"
    ]
    assert any("2 rows or cells could not be used" in note for note in found.evaluation.notes)
    once = judged(tmp_path, long_answers(seed=1), weighted)
    assert found.evaluation.table.equals(once.evaluation.table)
