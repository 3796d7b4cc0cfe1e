"""SimBench's published form: its score as its own script computes it, and invalid rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from socsci_jax.cli import app
from socsci_jax.errors import InputError
from socsci_jax.evaluation.elsewhere.simbench import evaluate_simbench

SIZES = {"opinions": 12, "lotteries": 5, "morals": 8, "ratings": 3}


def records(seed: int = 0) -> list[dict]:
    rng = np.random.default_rng(seed)
    rows = []
    for dataset, size in SIZES.items():
        for _ in range(size):
            options = "ABCDEF"[: rng.integers(2, 7)]
            people, model = rng.dirichlet(np.ones(len(options)), size=2)
            rows.append(
                {
                    "dataset_name": dataset,
                    "human_answer": dict(zip(options, people.tolist(), strict=True)),
                    "Response_Distribution": model.tolist(),
                    "Model": "m",
                    "group_size": 500,
                }
            )
    return rows


def written(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def published_score(rows: list[dict]) -> float:
    """The published script's steps: norms of each data set, a score for each question, their mean."""
    variation = [
        0.5 * np.abs(np.array(list(r["human_answer"].values())) - r["Response_Distribution"]).sum()
        for r in rows
    ]
    uniform = [
        np.abs(np.array(list(r["human_answer"].values())) - 1 / len(r["human_answer"])).sum() / 2
        for r in rows
    ]
    norms = {name: np.mean([u for u, r in zip(uniform, rows) if r["dataset_name"] == name]) for name in SIZES}
    return float(np.mean([100 * (1 - v / norms[r["dataset_name"]]) for v, r in zip(variation, rows)]))


def test_the_score_is_that_of_the_published_script(tmp_path):
    rows = records()
    found = evaluate_simbench(written(tmp_path / "r.jsonl", rows)).evaluation
    score = found.metric("simbench_score")
    assert score.value == pytest.approx(published_score(rows), abs=1e-10)
    assert score.lo < score.value < score.hi and score.resampled == "studies"
    assert found.metric("simbench_score", predictor="uniform").value == pytest.approx(0, abs=1e-10)
    by_dataset = [
        np.mean([0.5 * np.abs(np.array(list(r["human_answer"].values())) - r["Response_Distribution"]).sum()
                 for r in rows if r["dataset_name"] == name])
        for name in SIZES
    ]  # fmt: skip
    assert found.metric("total_variation").value == pytest.approx(np.mean(by_dataset))


@pytest.mark.parametrize("name", ["r.json", "r.parquet", "r.csv"])
def test_every_file_form_gives_the_same_table(tmp_path, name):
    rows = records()
    expected = evaluate_simbench(written(tmp_path / "r.jsonl", rows)).evaluation.table
    if name == "r.json":
        (tmp_path / name).write_text(json.dumps(rows))
    else:
        frame = pl.DataFrame(rows)
        if name == "r.csv":
            frame = pl.DataFrame(
                [{k: v if isinstance(v, (str, int)) else json.dumps(v) for k, v in r.items()} for r in rows]
            )
        frame.write_parquet(tmp_path / name) if name == "r.parquet" else frame.write_csv(tmp_path / name)
    found = evaluate_simbench(tmp_path / name).evaluation.table
    # Without the group's size in a CSV, entropy has no correction.
    assert found.filter(metric="simbench_score").equals(expected.filter(metric="simbench_score"))


def test_one_data_set_has_its_interval_over_questions(tmp_path):
    rows = [row for row in records() if row["dataset_name"] == "opinions"]
    score = evaluate_simbench(written(tmp_path / "r.jsonl", rows)).evaluation.metric("simbench_score")
    assert score.resampled == "outcomes" and score.lo < score.hi


def test_a_distance_along_a_scale_is_not_computed_where_options_have_no_order(tmp_path):
    assert (
        evaluate_simbench(written(tmp_path / "r.jsonl", records())).evaluation.metric("wasserstein") is None
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Response_Distribution": [0.5]}, "1 of the model"),
        ({"Response_Distribution": [0.9, 0.9]}, "sums to 1.8"),
        ({"Response_Distribution": ["a", "b"]}, "no share"),
        ({"Response_Distribution": None}, "no list"),
        ({"Response_Distribution": {"A": 0.5, "C": 0.5}}, "different options"),
        ({"human_answer": [0.5, 0.5]}, "no mapping"),
        ({"human_answer": {"A": -1.0, "B": 2.0}}, "no share"),
    ],
)
def test_a_row_that_is_none_is_rejected_with_its_reason(tmp_path, change, reason):
    good = {"dataset_name": "d", "human_answer": {"A": 0.4, "B": 0.6}, "Response_Distribution": [0.5, 0.5]}
    found = evaluate_simbench(written(tmp_path / "r.jsonl", [good, {**good, **change}]))
    assert found.rejected["row"].to_list() == [2] and reason in found.rejected["reason"][0]
    assert found.evaluation.counts["all"]["items"] == 1


def test_predictions_of_several_models_are_refused(tmp_path):
    rows = records()
    rows[0]["Model"] = "other"
    with pytest.raises(InputError, match="of 2 models"):
        evaluate_simbench(written(tmp_path / "r.jsonl", rows))


def test_one_command_scores_a_file_and_writes_its_report(tmp_path):
    path = written(tmp_path / "r.jsonl", records())
    words = ["evaluate", str(path), "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0 and "SimBench score" in done.output and "earlier" not in done.output
    assert (tmp_path / "out" / "report.html").stat().st_size > 1000
    again = CliRunner().invoke(app, words, catch_exceptions=False)
    assert again.output.endswith("report.html, in place of an earlier one\n")


CELLS = st.one_of(
    st.none(),
    st.floats(),
    st.text(max_size=4),
    st.lists(st.floats(0, 1), max_size=4),
    st.dictionaries(st.text(max_size=2), st.floats(0, 1), max_size=4),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=6))
def test_whatever_stands_in_it_gives_a_sentence_or_rejected_rows_and_no_number_outside_its_bounds(
    tmp_path, cells
):
    rows = [{"human_answer": a, "Response_Distribution": b, "dataset_name": c} for a, b, c in cells]
    try:
        found = evaluate_simbench(written(tmp_path / "r.jsonl", rows))
    except InputError as error:
        assert str(error).strip()
        return
    assert found.rejected.height + found.evaluation.counts["all"]["items"] == len(rows)
    assert not found.evaluation.table["value"].is_nan().any()
    variation = found.evaluation.table.filter(metric="total_variation")["value"].drop_nulls()
    assert variation.is_between(0, 1 + 1e-9).all()
