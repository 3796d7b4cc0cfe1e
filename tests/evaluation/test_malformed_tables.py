"""Malformed plain tables, made at random: a sentence, or rejected cells and values within their bounds."""

from __future__ import annotations

import csv
import io

import polars as pl
import pytest
from evaluation_example import long_answers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from socsci_jax.errors import InputError
from socsci_jax.evaluation.elsewhere.columns import read_table
from socsci_jax.evaluation.metrics import BY_NAME
from socsci_jax.plain_tables import evaluate_tables

CELLS = st.sampled_from(
    ["1", "3", "5", "", "NA", "7", "-99", "2.5", "1e308", "inf", "nan", "often", "=1+1", "\ufeff", "é", "1,5"]
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=25), st.integers(0, 3))
def test_a_malformed_table_gives_a_sentence_or_rejected_cells_and_never_a_silent_number(
    tmp_path, rows, missing
):
    header = ["participant_id", "outcome", "value"]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([name for k, name in enumerate(header) if k != missing])
    for k, (who, what, answer) in enumerate(rows):
        cells = [f"control{k}" if who == "1" else who, "q1" if what in ("1", "3") else what, answer]
        writer.writerow([cell for j, cell in enumerate(cells) if j != missing])
    (tmp_path / "answers.csv").write_text(text.getvalue(), encoding="utf-8")
    long_answers(12).write_csv(tmp_path / "human.csv")
    try:
        found = evaluate_tables(tmp_path / "answers.csv", tmp_path / "human.csv", minimum_n=5)
    except InputError as error:
        assert str(error).strip()
        return
    given_cells = read_table(tmp_path / "answers.csv").select(pl.col("value").count()).item()
    used = sum(counts["draws"] for counts in found.evaluation.counts.values())
    assert used + found.rejected.height >= given_cells - long_answers(12).height
    assert not found.evaluation.table["value"].is_nan().any()
    w = found.evaluation.metric("wasserstein")
    assert w is None or w.value is None or 0 <= w.value <= 1


def test_how_long_something_took_is_read_as_a_text(tmp_path):
    took = pl.Series([90_000_000, None], dtype=pl.Duration("us"))
    pl.DataFrame({"condition": ["a", "b"], "took": took}).write_parquet(tmp_path / "answers.parquet")
    assert read_table(tmp_path / "answers.parquet")["took"].to_list() == ["PT1M30S", None]


FORMS = {
    "wide": ["participant_id", "condition", "q1", "q2"],
    "draws": ["participant_id", "condition", "outcome", "draw", "value"],
    "probabilities in columns": ["condition", "outcome", "p_1", "p_2", "p_5"],
    "probabilities in rows": ["condition", "outcome", "level", "prob"],
    "probabilities as JSON": ["condition", "outcome", "probs"],
    "means": ["condition", "outcome", "mean", "pi_lower", "pi_upper"],
    "effects": ["condition", "outcome", "ate", "pi_lower", "pi_upper"],
    "T1": ["profile_id", "condition", "gender", "age_band", "q1", "q2"],
}
NUMBERS = st.sampled_from(["1", "2", "3", "5", "0.5", "0.2", "0.3", "1", "4", "-1", "7", "", "NA", "nan", "inf", "1e308", "x", "=1"])  # fmt: skip
PLACES = {"participant_id": ["control0", "control1", "b0", "zz", ""], "profile_id": ["control0", "b1", "zz", ""],
          "condition": ["control", "b", "c", ""], "outcome": ["q1", "q2", "q9", ""], "gender": ["f", "m", ""],
          "age_band": ["18-29", ""],
          "probs": ['{"1": 0.4, "5": 0.6}', "[0.2, 0.2, 0.2, 0.2, 0.2]", '{"1": "x"}', '{"9": 1}', "[1]", "{", "[]", "3",
                    '{"1": NaN}', '{"1": [0.5], "2": 0.5}', '{"1": 1e308, "2": 1e308}', ""]}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_every_form_of_a_malformed_table_gives_a_sentence_or_values_within_their_bounds(tmp_path, form, data):
    header = FORMS[form]
    kept = [name for name in header if data.draw(st.integers(0, 12))] or header
    cells = [st.sampled_from(PLACES[name]) if name in PLACES else NUMBERS for name in kept]
    rows = data.draw(st.lists(st.tuples(*cells), min_size=1, max_size=16))
    text = io.StringIO()
    csv.writer(text).writerows([kept, *rows])
    (tmp_path / "answers.csv").write_text(text.getvalue(), encoding="utf-8")
    long_answers(12).write_csv(tmp_path / "human.csv")
    try:
        found = evaluate_tables(tmp_path / "answers.csv", tmp_path / "human.csv", minimum_n=5)
    except InputError as error:
        assert str(error).strip()
        return
    table = found.evaluation.table.filter(pl.col("reference").is_null(), pl.col("value").is_not_null())
    assert not table["value"].is_nan().any()
    for name, value in table.select("metric", "value").iter_rows():
        metric = BY_NAME[name]
        assert metric.low - 1e-9 <= value <= metric.high + 1e-9, (name, value)


COUNTED = st.tuples(
    st.sampled_from(["q1", "q2", ""]),
    st.sampled_from(["1", "2", "5", "", "x", "9", "1e308"]),
    st.sampled_from(["0", "3", "12", "2.0", "-1", "0.5", "", "x", "inf", "1e308", "99999999"]),
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=st.lists(COUNTED, min_size=1, max_size=12))
def test_malformed_counts_of_people_give_a_sentence_or_values_within_their_bounds(tmp_path, rows):
    text = io.StringIO()
    csv.writer(text).writerows([["outcome", "level", "count"], *rows])
    (tmp_path / "human.csv").write_text(text.getvalue(), encoding="utf-8")
    long_answers(12).drop("condition").write_csv(tmp_path / "answers.csv")
    try:
        found = evaluate_tables(tmp_path / "answers.csv", tmp_path / "human.csv", minimum_n=3)
    except InputError as error:
        assert str(error).strip()
        return
    w = found.evaluation.metric("wasserstein", source="sampled")
    assert w is None or w.value is None or 0 <= w.value <= 1
