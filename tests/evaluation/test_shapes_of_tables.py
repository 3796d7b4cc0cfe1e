"""Tables as strangers bring them: every shape gives the values of an independent computation, or one helpful sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pyreadstat
import pytest

import socsci_jax as sj
from socsci_jax.errors import InputError
from socsci_jax.evaluation.elsewhere.scales import observed_scale

QUESTIONS = ("trust", "help", "share")
LABELS = ["never", "rarely", "sometimes", "often", "always"]
PEOPLE = 60


def table(seed: int, *, people: int = PEOPLE) -> pl.DataFrame:
    """One row a person, answers 1 to 5, two conditions; the first two people use both ends of every scale."""
    rng = np.random.default_rng(seed)
    answers = {name: rng.integers(1, 6, people) for name in QUESTIONS}
    for column in answers.values():
        column[0], column[1], column[2], column[3] = 1, 1, 5, 5
    return pl.DataFrame(
        {
            "participant_id": np.arange(100, 100 + people),
            "condition": ["control", "b"] * (people // 2),
            **answers,
        }
    )


HUMAN, PREDICTED = table(0), table(1)
LONG = PREDICTED.unpivot(QUESTIONS, index=["participant_id", "condition"], variable_name="outcome")
HUMAN_LONG = HUMAN.unpivot(QUESTIONS, index=["participant_id", "condition"], variable_name="outcome")


def expected_accuracy(predicted: pl.DataFrame = LONG, human: pl.DataFrame = HUMAN_LONG) -> float:
    """1 - mean |y - x| / 4 over people, then over the cells of condition and question."""
    both = human.join(predicted, on=["participant_id", "condition", "outcome"], suffix="_p")
    error = (pl.col("value") - pl.col("value_p")).abs().mean() / 4
    return 1 - both.group_by("condition", "outcome").agg(e=error)["e"].mean()


def as_csv(frame: pl.DataFrame, path: Path) -> Path:
    frame.write_csv(path.with_suffix(".csv"))
    return path.with_suffix(".csv")


def with_semicolons(frame: pl.DataFrame, path: Path) -> Path:
    frame.write_csv(path.with_suffix(".csv"), separator=";")
    return path.with_suffix(".csv")


def in_latin(frame: pl.DataFrame, path: Path) -> Path:
    text = frame.with_columns(city=pl.lit("Köln, Orléans, Málaga, São Paulo")).write_csv()
    path.with_suffix(".csv").write_bytes(text.encode("cp1252"))
    return path.with_suffix(".csv")


def as_stata(frame: pl.DataFrame, path: Path) -> Path:
    labels = {name: dict(enumerate(LABELS, start=1)) for name in QUESTIONS}
    pyreadstat.write_dta(frame.to_pandas(), str(path.with_suffix(".dta")), variable_value_labels=labels)
    return path.with_suffix(".dta")


def as_spss(frame: pl.DataFrame, path: Path) -> Path:
    labels = {name: dict(enumerate(LABELS, start=1)) for name in QUESTIONS}
    pyreadstat.write_sav(frame.to_pandas(), str(path.with_suffix(".sav")), variable_value_labels=labels)
    return path.with_suffix(".sav")


def as_excel(frame: pl.DataFrame, path: Path) -> Path:
    frame.to_pandas().to_excel(path.with_suffix(".xlsx"), index=False)
    return path.with_suffix(".xlsx")


def with_index(frame: pl.DataFrame, path: Path) -> Path:
    frame.to_pandas().to_csv(path.with_suffix(".csv"))
    return path.with_suffix(".csv")


def with_float_ids(frame: pl.DataFrame, path: Path) -> Path:
    return as_csv(frame.with_columns(pl.col("participant_id").cast(pl.Float64)), path)


def in_another_order(frame: pl.DataFrame, path: Path) -> Path:
    return as_csv(frame.sample(fraction=1, shuffle=True, seed=7).select(reversed(frame.columns)), path)


def under_another_name(frame: pl.DataFrame, path: Path) -> Path:
    """An index first, and people under a name that no list holds."""
    renamed = frame.rename({"participant_id": "respondentID"}).with_row_index("Unnamed: 0")
    return as_csv(renamed.select("Unnamed: 0", *QUESTIONS, "condition", "respondentID"), path)


def with_demographics(frame: pl.DataFrame, path: Path) -> Path:
    """Numbers that are the same in both tables, and are no answers."""
    rng = np.random.default_rng(5)
    more = {"age": rng.integers(18, 80, PEOPLE), "gender": rng.integers(1, 3, PEOPLE)}
    return as_csv(frame.with_columns(pl.Series(name, values) for name, values in more.items()), path)


WIDE_FORMS = (
    as_csv,
    with_semicolons,
    in_latin,
    as_stata,
    as_spss,
    as_excel,
    with_index,
    with_float_ids,
    in_another_order,
    under_another_name,
    with_demographics,
)


@pytest.mark.parametrize("write", WIDE_FORMS)
def test_one_row_a_person_in_any_file(tmp_path, write):
    answers, human = write(PREDICTED, tmp_path / "answers"), write(HUMAN, tmp_path / "human")
    found = sj.evaluate_tables(answers, human).evaluation
    assert found.metric("individual_accuracy_draw").value == pytest.approx(expected_accuracy(), abs=1e-10)
    assert set(found.table["outcome"].drop_nulls()) == set(QUESTIONS)


def labeled(frame: pl.DataFrame) -> pl.DataFrame:
    codes = dict(enumerate(LABELS, start=1))
    return frame.with_columns(
        pl.col(name).replace_strict(codes, return_dtype=pl.String) for name in QUESTIONS
    )


@pytest.mark.parametrize("who", ["both", "predicted"])
def test_labels_that_are_declared_in_their_order_are_answers(tmp_path, who):
    scales = tmp_path / "scales.yaml"
    scales.write_text(f'"*": [{", ".join(label.title() for label in LABELS)}]\n')
    answers = as_csv(labeled(PREDICTED), tmp_path / "answers")
    human = as_csv(labeled(HUMAN) if who == "both" else HUMAN, tmp_path / "human")
    found = sj.evaluate_tables(answers, human, scales=scales).evaluation
    assert found.metric("individual_accuracy_draw").value == pytest.approx(expected_accuracy(), abs=1e-10)


def test_labels_of_a_stata_file_are_those_of_the_predictions(tmp_path):
    answers, human = as_csv(labeled(PREDICTED), tmp_path / "answers"), as_stata(HUMAN, tmp_path / "human")
    found = sj.evaluate_tables(answers, human).evaluation
    assert found.metric("individual_accuracy_draw").value == pytest.approx(expected_accuracy(), abs=1e-10)


def test_texts_in_both_tables_are_not_passed_over_in_silence(tmp_path):
    frames = [
        frame.with_columns(labeled(frame)["trust"], participant_id=pl.col("participant_id"))
        for frame in (PREDICTED, HUMAN)
    ]
    paths = [as_csv(frame, tmp_path / name) for frame, name in zip(frames, ("answers", "human"), strict=True)]
    notes = sj.evaluate_tables(*paths).evaluation.notes
    assert any("hold texts: 'trust'" in note and "`scales=`" in note for note in notes)


def test_a_sheet_is_named_after_its_file(tmp_path):
    import pandas as pd

    book = tmp_path / "book.xlsx"
    with pd.ExcelWriter(book) as writer:
        PREDICTED.to_pandas().to_excel(writer, sheet_name="model", index=False)
        HUMAN.to_pandas().to_excel(writer, sheet_name="people", index=False)
    found = sj.evaluate_tables(f"{book}#model", f"{book}#people").evaluation
    assert found.metric("individual_accuracy_draw").value == pytest.approx(expected_accuracy(), abs=1e-10)
    with pytest.raises(InputError, match=r"2 sheets hold cells \('model', 'people'\).*book\.xlsx#NAME"):
        sj.evaluate_tables(book, book)


def test_several_draws_a_person_are_averaged(tmp_path):
    rng = np.random.default_rng(2)
    draws = pl.concat([LONG.with_columns(value=pl.Series(rng.integers(1, 6, LONG.height))) for _ in range(3)])
    found = sj.evaluate_tables(
        as_csv(draws, tmp_path / "answers"), as_csv(HUMAN, tmp_path / "human")
    ).evaluation
    assert found.metric("individual_accuracy_draw").value == pytest.approx(
        expected_accuracy(draws), abs=1e-10
    )


SHARES = {
    (arm, name): np.random.default_rng(k).dirichlet(np.ones(5))
    for k, (arm, name) in enumerate((a, q) for a in ("control", "b") for q in QUESTIONS)
}


@pytest.mark.parametrize("form", ["columns", "record", "list", "labels", "parquet"])
def test_probabilities_in_any_form(tmp_path, form):
    rows = [{"condition": arm, "outcome": name} for arm, name in SHARES]
    for row, shares in zip(rows, SHARES.values(), strict=True):
        if form == "columns":
            row |= {f"p_{k}": float(p) for k, p in enumerate(shares, start=1)}
        elif form == "labels":
            row["probs"] = json.dumps(dict(zip(LABELS, map(float, shares), strict=True)))
        elif form == "record":
            row["probs"] = json.dumps({str(k): float(p) for k, p in enumerate(shares, start=1)})
        else:
            row["probs"] = shares.tolist() if form == "parquet" else json.dumps(shares.tolist())
    answers = tmp_path / ("answers.parquet" if form == "parquet" else "answers.csv")
    frame = pl.DataFrame(rows)
    frame.write_parquet(answers) if form == "parquet" else frame.write_csv(answers)
    scales = tmp_path / "scales.yaml"
    scales.write_text(f'"*": [{", ".join(LABELS)}]\n')
    found = sj.evaluate_tables(answers, as_csv(HUMAN, tmp_path / "human"), scales=scales).evaluation
    expected = []
    for (arm, name), shares in SHARES.items():
        answered = HUMAN.filter(condition=arm)[name].to_numpy()
        human = np.bincount(answered - 1, minlength=5) / answered.size
        expected.append(np.abs(np.cumsum(human - shares))[:-1].sum() / 4)
    assert found.metric("wasserstein").value == pytest.approx(np.mean(expected), abs=1e-10)


def test_a_list_of_another_length_than_the_scale_is_named(tmp_path):
    frame = pl.DataFrame({"condition": ["b"], "outcome": ["trust"], "probs": ["[0.5, 0.5]"]})
    with pytest.raises(InputError, match=r"row 1.*2 probabilities for 'trust', whose scale has 5 levels"):
        sj.evaluate_tables(as_csv(frame, tmp_path / "answers"), as_csv(HUMAN, tmp_path / "human"))


def test_people_as_counts_of_answers(tmp_path):
    counts = HUMAN_LONG.group_by("condition", "outcome", pl.col("value").alias("level")).agg(count=pl.len())
    found = sj.evaluate_tables(as_csv(LONG, tmp_path / "answers"), as_csv(counts, tmp_path / "human"))
    by_person = sj.evaluate_tables(
        as_csv(LONG.with_columns(participant_id=pl.col("participant_id") + 1000), tmp_path / "others"),
        as_csv(HUMAN_LONG, tmp_path / "people"),
    )
    assert found.evaluation.metric("wasserstein").value == by_person.evaluation.metric("wasserstein").value


def test_people_as_shares_are_refused_with_a_sentence(tmp_path):
    shares = pl.DataFrame({"outcome": ["trust"] * 2, "level": [1, 2], "share": [0.4, 0.6]})
    with pytest.raises(InputError, match="shares, which do not say how many answered; give counts"):
        sj.evaluate_tables(as_csv(LONG, tmp_path / "answers"), as_csv(shares, tmp_path / "human"))


def test_people_as_a_json_of_counts_and_predictions_with_questions_in_rows(tmp_path):
    counts = {
        name: {"question": "?", "choice_counts": {str(k): int((HUMAN[name] == k).sum()) for k in range(1, 6)}}
        for name in QUESTIONS
    }
    (tmp_path / "human.json").write_text(json.dumps(counts))
    turned = PREDICTED.select(QUESTIONS).transpose(
        include_header=True, header_name="", column_names=[f"pid_{k}" for k in range(PEOPLE)]
    )
    found = sj.evaluate_tables(as_csv(turned, tmp_path / "answers"), tmp_path / "human.json").evaluation
    assert any("turned round" in note for note in found.notes)
    expected = []
    for name in QUESTIONS:
        one, other = (
            np.bincount(frame[name].to_numpy() - 1, minlength=5) / PEOPLE for frame in (HUMAN, PREDICTED)
        )
        expected.append(np.abs(np.cumsum(one - other))[:-1].sum() / 4)
    assert found.metric("wasserstein", source="sampled").value == pytest.approx(np.mean(expected), abs=1e-10)


def test_half_steps_are_levels_and_not_quantities(tmp_path):
    assert observed_scale(pl.Series([0.5, 5.0, 3.5, 1.0])).scale.levels == tuple(np.arange(0.5, 5.1, 0.5))
    assert observed_scale(pl.Series([0.1, 0.3, 0.2])).scale.levels == (0.1, 0.2, 0.3)
    assert observed_scale(pl.Series([0.5, 1.7183, 2.2])).rounded
    rng = np.random.default_rng(0)
    frames = [
        pl.DataFrame({"userId": np.arange(PEOPLE) * 7, **{str(m): rng.integers(1, 11, PEOPLE) / 2 for m in (2, 6)}})
        for _ in range(2)
    ]  # fmt: skip
    answers, human = (as_csv(frame, tmp_path / name) for frame, name in zip(frames, "ah", strict=True))
    found = sj.evaluate_tables(answers, human).evaluation
    expected = np.mean([1 - np.abs(frames[0][m] - frames[1][m]).mean() / 4.5 for m in ("2", "6")])
    assert found.metric("individual_accuracy_draw").value == pytest.approx(expected, abs=1e-10)


def test_means_with_standard_deviations_are_judged_by_both(tmp_path):
    means = HUMAN_LONG.group_by("condition", "outcome").agg(
        mean=pl.col("value").mean(), sd=pl.col("value").std()
    )
    found = sj.evaluate_tables(
        as_csv(means, tmp_path / "answers"), as_csv(HUMAN, tmp_path / "human")
    ).evaluation
    assert found.metric("effect_rmse").value == pytest.approx(0, abs=1e-12)
    # People's own standard deviations: everywhere as wide as people are.
    ratio = found.metric("sd_ratio")
    assert ratio.value == pytest.approx(1.0, abs=0.05)
    assert found.metric("sd_ratio_q1").value <= ratio.value <= found.metric("sd_ratio_q3").value


def test_identifiers_are_no_questions(tmp_path):
    frames = [
        frame.with_columns(timestamp=pl.Series(np.arange(PEOPLE) * 37 + 5)) for frame in (PREDICTED, HUMAN)
    ]
    found = sj.evaluate_tables(
        as_csv(frames[0], tmp_path / "a"), as_csv(frames[1], tmp_path / "h")
    ).evaluation
    assert set(found.table["outcome"].drop_nulls()) == set(QUESTIONS)
    assert any("'timestamp' has another whole number in every row" in note for note in found.notes)


def test_the_mean_of_several_tables_is_a_predictor(tmp_path):
    other = table(2)
    paths = [
        as_csv(frame, tmp_path / name)
        for frame, name in ((PREDICTED, "answers"), (other, "other"), (HUMAN, "human"))
    ]
    found = sj.evaluate_tables(paths[0], paths[2], also=[paths[1]]).evaluation
    human, one, two = (
        frame.unpivot(QUESTIONS, index=["participant_id", "condition"], variable_name="outcome")["value"]
        for frame in (HUMAN, PREDICTED, other)
    )
    # The expected error of one draw from the mean of both is the mean of their errors.
    errors = HUMAN_LONG.with_columns(e=((human - one).abs() + (human - two).abs()) / 8)
    expected = 1 - errors.group_by("condition", "outcome").agg(pl.col("e").mean())["e"].mean()
    mean = found.metric("individual_accuracy_draw", predictor="mean_of_predictors")
    assert mean.value == pytest.approx(expected, abs=1e-10)
