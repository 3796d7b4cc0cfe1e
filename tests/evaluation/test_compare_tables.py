"""Two predictors that are plain tables, compared on the same people's answers."""

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import socsci_jax as sj
from socsci_jax.cli import app
from socsci_jax.errors import InputError

PEOPLE, QUESTIONS = 80, ("q1", "q2", "q3", "q4", "q5", "q6")


def answers(seed: int, *, noise: float) -> pl.DataFrame:
    """Wide: people's answers where there is no noise, from 1 to 5."""
    truth = np.random.default_rng(0).integers(1, 6, (PEOPLE, len(QUESTIONS)))
    rng = np.random.default_rng(seed)
    shifted = np.clip(np.round(truth * (1 - noise) + noise * rng.uniform(3, 6, truth.shape)), 1, 5)
    columns = {name: shifted[:, k].astype(int) for k, name in enumerate(QUESTIONS)}
    return pl.DataFrame(
        {
            "participant_id": [f"p{k}" for k in range(PEOPLE)],
            "condition": ["control" if k % 2 else "treated" for k in range(PEOPLE)],
            **columns,
        }
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    frames = {
        "human": answers(1, noise=0.0),
        "near": answers(2, noise=0.3),
        # Somebody else's, and one question fewer.
        "far": answers(3, noise=0.9).drop("q6"),
    }
    paths = {name: folder / f"{name}.csv" for name in frames}
    for name, frame in frames.items():
        frame.write_csv(paths[name])
    return paths


def test_rows_of_a_file_that_fit_no_table_are_counted(files, tmp_path):
    """Behind semicolons, since commas alone are read by a stricter reader."""
    lines = files["near"].read_text().replace(",", ";").splitlines()
    (tmp_path / "near.csv").write_text("\n".join([*lines, "p1;control"]) + "\n")
    found = sj.compare_tables(tmp_path / "near.csv", files["far"], files["human"])
    assert any(note.startswith("1 row or cell could not be used: ") for note in found.notes), found.notes


def test_a_difference_is_that_of_both_evaluations_of_the_common_answers(files, tmp_path):
    found = sj.compare_tables(files["near"], files["far"], files["human"])
    row = found.table.row(
        by_predicate=(pl.col("metric") == "wasserstein")
        & (pl.col("normalization") == "scale")
        & (pl.col("source") == "sampled"),
        named=True,
    )
    assert row["difference"] == pytest.approx(row["a"] - row["b"], abs=1e-12)
    assert row["lo"] < row["difference"] < row["hi"] < 0
    assert any("A is better than B" in sentence for sentence in found.sentences())
    assert found.answers == PEOPLE * 5 and found.excluded == PEOPLE
    pl.read_csv(files["near"]).drop("q6").write_csv(tmp_path / "near.csv")
    alone = sj.evaluate_tables(tmp_path / "near.csv", files["human"]).evaluation
    assert row["a"] == pytest.approx(alone.metric("wasserstein").value, abs=1e-12)


def test_a_table_is_as_good_as_itself(files):
    table = sj.compare_tables(files["near"], files["near"], files["human"]).table
    known = table.filter(pl.col("difference").is_not_null())
    assert known.height > 20 and set(known["difference"].to_list()) == {0.0}


def test_means_are_compared_by_effects_on_what_both_have(files, tmp_path):
    for name in ("near", "far"):
        long = pl.read_csv(files[name]).unpivot(
            index=["participant_id", "condition"], variable_name="outcome"
        )
        means = long.group_by("condition", "outcome").agg(mean=pl.col("value").mean())
        means.write_csv(tmp_path / f"{name}.csv")
    found = sj.compare_tables(tmp_path / "near.csv", tmp_path / "far.csv", files["human"])
    row = found.table.row(by_predicate=pl.col("metric") == "effect_rmse", named=True)
    assert row["difference"] == pytest.approx(row["a"] - row["b"], abs=1e-12)
    assert found.a.contrasts["outcome"].to_list() == found.b.contrasts["outcome"].to_list()
    assert "q6" not in set(found.a.contrasts["outcome"])
    assert any("error of effects" in sentence for sentence in found.sentences())
    with pytest.raises(InputError, match=r"holds means and .* answers"):
        sj.compare_tables(tmp_path / "near.csv", files["far"], files["human"])


def test_the_command_writes_the_table_and_takes_a_store_or_people(files, tmp_path):
    a, b, human = (str(files[name]) for name in ("near", "far", "human"))
    words = ["compare", a, b, "--human", human, "-o", str(tmp_path / "found.csv")]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0 and "A is better than B" in done.output
    assert f"A: {a}\nB: {b}\n" in done.output and "sampled: from one draw for each person" in done.output
    assert {"metric", "a", "b", "difference", "lo", "hi"} <= set(pl.read_csv(tmp_path / "found.csv").columns)
    with pytest.raises(InputError, match="give either STORE"):
        CliRunner().invoke(app, ["compare", a, b], catch_exceptions=False)


def test_ids_of_people_who_were_in_another_condition_are_doubted(files, tmp_path):
    """Simulated people who were numbered like those who answered, in arms of their own."""
    other = pl.col("condition").replace_strict({"control": "treated", "treated": "control"})
    near = pl.read_csv(files["near"])
    for name, frame in {
        "turned": near.with_columns(
            condition=pl.when(pl.int_range(PEOPLE) < 30).then(other).otherwise("condition")
        ),
        "both": pl.concat([near, near.with_columns(condition=other)]),
    }.items():
        frame.write_csv(tmp_path / f"{name}.csv")
        notes = sj.evaluate_tables(tmp_path / f"{name}.csv", files["human"]).evaluation.notes
        doubts = [note for note in notes if "do these ids mean the same people?" in note]
        expected = (
            ["30 of 80 predicted people have the ids of people who answered in another condition"]
            if name == "turned"
            else []
        )
        assert [doubt.partition(", and")[0] for doubt in doubts] == expected
