"""What R and SPSS read: rows of `rectify` for its packages, and labeled tables of predictions with answers."""

from __future__ import annotations

import re
import shutil
import subprocess

import numpy as np
import polars as pl
import pytest
from conftest import REPOSITORY
from evaluation_example import filled
from typer.testing import CliRunner

from socsci_jax.cli import app
from socsci_jax.errors import InputError
from socsci_jax.evaluation.elsewhere import people_tables, silicon_sample
from socsci_jax.evaluation.elsewhere.people_tables import long_table, sav_names, wide_table
from socsci_jax.rectification.rectify import rectify
from socsci_jax.studies.predictions import Predictions
from socsci_jax.studies.schema import Item, Scale
from socsci_jax.studies.store_builder import StoreBuilder

TRUST = Scale.of_levels(
    {1: "not at all", 2: "", 3: "fully"}, origin="codebook", alternatives={9: "don't know"}
)
QUESTION = "How much do you trust the council?"


def run(*words: object) -> str:
    found = CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output


def script(name: str) -> str:
    page = (REPOSITORY / "docs" / "r.md").read_text()
    return re.search(rf"<!-- tested: {name} -->\n```r\n(.*?)```", page, re.S)[1]


def in_r(name: str, folder) -> str:
    if shutil.which("Rscript") is None:
        pytest.skip("R is not installed")
    if "haven" in script(name):
        there = subprocess.run(["Rscript", "-e", "stopifnot(requireNamespace('haven'))"], capture_output=True)
        if there.returncode:
            pytest.skip("R's package haven is not installed")
    (folder / "script.R").write_text(script(name))
    done = subprocess.run(["Rscript", "script.R"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- rectify ----


@pytest.fixture(scope="module")
def arms() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Both arms predicted for 90 personas, of whom 40 were asked in one arm each."""
    rng = np.random.default_rng(3)
    s0 = rng.normal(size=90)
    both = pl.DataFrame(
        {"participant_id": [f"p{k}" for k in range(90)], "S0": s0, "S1": s0 + 0.4 + 0.1 * rng.normal(size=90)}
    )
    d = np.arange(40) % 2
    gold = pl.DataFrame(
        {
            "participant_id": both["participant_id"][:40],
            "y": s0[:40] + 0.6 * d + rng.normal(size=40),
            "treatment": d,
        }
    )
    return both, gold


def test_base_r_finds_the_same_difference_in_predictions(arms, tmp_path):
    both, gold = arms
    both.write_csv(tmp_path / "predictions.csv")
    gold.write_csv(tmp_path / "answers.csv")
    run("rectify", tmp_path / "predictions.csv", tmp_path / "answers.csv", "--formula", "y ~ treatment", "--lam", 1,
        "-o", tmp_path / "estimates.csv", "--for-r", tmp_path / "people.csv")  # fmt: skip
    people = pl.read_csv(tmp_path / "people.csv")
    assert people.columns == ["participant_id", "Y", "D", "S0", "S1"]
    assert people["Y"].count() == people["D"].count() == 40
    estimate, error = map(float, in_r("dip", tmp_path).split())
    ours = pl.read_csv(tmp_path / "estimates.csv").filter(method="DiP").row(0, named=True)
    assert estimate == pytest.approx(ours["estimate"], abs=1e-9)
    assert error == pytest.approx(ours["se"], abs=1e-9)


def test_one_prediction_a_person_is_written_with_who_was_asked():
    frame = pl.DataFrame(
        {"participant_id": ["a", "b", "c", "d"], "prediction": [1.0, 2, 3, 4], "age": [20, 30, 40, 50]}
    )
    gold = pl.DataFrame({"participant_id": ["a", "b", "c"], "y": [1.0, 3, 2]})
    people = rectify(frame, gold, "y ~ 1").people
    assert people.columns == ["participant_id", "Y", "prediction", "labeled", "age"]
    assert people["labeled"].to_list() == [1, 1, 1, 0] and people["Y"].to_list() == [1, 3, 2, None]


# ---- labeled tables ----


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two arms with a question that has labels and a code for don't know, and one without."""
    folder = tmp_path_factory.mktemp("world")
    builder = StoreBuilder(
        attributes=("age", "Party ID"), source="made up", license="CC0-1.0", command="test"
    )
    builder.add_study("s")
    rows = []
    for arm in ("none", "letter"):
        for outcome, scale in (("trust", TRUST), ("share", Scale.of_levels(range(0, 11), origin="stated"))):
            item = Item(
                study_id="s", condition=arm, outcome=outcome, stimulus=f"{arm}. ", question=QUESTION, answer_format="",
                scale=scale, is_control=arm == "none",
            )  # fmt: skip
            item_id = builder.add_item(item)
            for k in range(12):
                person = f"{arm}{k}"
                builder.add_participant(
                    "s", person, {"age": 17 + 4 * k, "Party ID": "blue" if k % 2 else None}
                )
                answer = [1, 2, 3, 9][k % 4] if outcome == "trust" else k % 11
                builder.add_response(item_id, person, answer, sample_id=k)
                probs = [0.25, 0.25, 0.25, 0.25] if outcome == "trust" else [0.1] * 10 + [0]
                levels = [1.0, 2, 3, 9] if outcome == "trust" else list(map(float, range(11)))
                rows.append({"item_id": item_id, "participant_id": person, "levels": levels, "probs": probs})
    store = builder.write(folder / "store")
    predictions = Predictions(frame=filled(pl.DataFrame(rows)))
    return folder, store, predictions


def test_predicted_means_leave_out_what_is_outside_the_order(world):
    _, store, predictions = world
    long = long_table(predictions, store)
    trust = long.filter(outcome="trust")
    assert trust["predicted"].unique().to_list() == [2.0]
    assert set(trust["drawn"].unique()) <= {1.0, 2.0, 3.0, 9.0} and trust["drawn"].n_unique() > 2
    assert trust.filter(participant_id="letter3")["answer"].item() == 9
    assert long.columns[-2:] == ["age", "Party ID"]


def test_a_wide_table_has_a_row_a_person_and_three_columns_an_outcome(world):
    _, store, predictions = world
    wide = wide_table(long_table(predictions, store))
    assert wide.height == 24
    assert wide.columns == ["study", "condition", "participant_id", "age", "Party ID", "trust", "trust_predicted",
                            "trust_drawn", "share", "share_predicted", "share_drawn"]  # fmt: skip


def test_the_same_seed_draws_the_same_answers(world):
    _, store, predictions = world
    one, same, other = (long_table(predictions, store, seed=seed)["drawn"] for seed in (1, 1, 2))
    assert one.equals(same) and not one.equals(other)


def test_a_labeled_file_is_read_with_its_labels_and_missing_codes(world, tmp_path):
    pyreadstat = pytest.importorskip("pyreadstat")
    _, store, predictions = world
    wide = wide_table(long_table(predictions, store))
    people_tables.write_sav(wide, people_tables.labels_of(wide, store.item_by_id), tmp_path / "people.sav")
    frame, about = pyreadstat.read_sav(str(tmp_path / "people.sav"), user_missing=True)
    assert about.column_names_to_labels["trust"] == QUESTION
    assert about.variable_value_labels["trust"] == {1: "not at all", 3: "fully", 9: "don't know"}
    assert about.missing_ranges["trust"] == [{"lo": 9, "hi": 9}]
    assert frame["trust"].tolist() == wide["trust"].to_list()
    assert "Party_ID" in frame.columns
    told = in_r("sav", tmp_path)
    assert f"trust | {QUESTION} | not at all=1, fully=3" in told
    answers = wide.filter(pl.col("trust") != 9)
    gap = (answers["trust"] - answers["trust_predicted"]).mean()
    assert float(told.splitlines()[-1]) == pytest.approx(gap, abs=1e-9)


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        (["1st", "a b", "A_B", "and"], ["v_1st", "a_b", "A_B_2", "v_and"]),
        (["é", "x" * 80, "x" * 90], ["v", "x" * 40, "x" * 40 + "_2"]),
    ],
)
def test_names_are_ones_that_spss_takes(columns, names):
    assert list(sav_names(columns).values()) == names


def test_several_studies_in_one_wide_table_are_refused():
    long = pl.DataFrame({"study": ["a", "b"], "outcome": "o", "condition": "c"})
    with pytest.raises(InputError, match="of 2 studies; name one"):
        wide_table(long)


# ---- the Silicon Sample Benchmark's tiers ----


def test_profiles_have_the_benchmarks_columns_and_pass_its_rules(world):
    _, store, predictions = world
    wide = wide_table(long_table(predictions, store)).with_columns(
        condition=pl.col("condition").replace("none", "control")
    )
    table = silicon_sample.profiles_table(wide)
    assert table.columns == [*silicon_sample.COLUMNS["T1"], "trust", "share"]
    bands = dict(table.select("profile_id", "age_band").iter_rows())
    assert [bands[f"none{k}"] for k in (0, 1, 3, 4, 7, 11)] == [
        None,
        "18-29",
        "18-29",
        "30-44",
        "45-59",
        "60+",
    ]
    assert table["party"].drop_nulls().unique().to_list() == ["blue"]
    assert silicon_sample.problems(table.with_columns(pl.all().cast(pl.String))) == []


@pytest.mark.parametrize("form", ["long", "wide", "T1", "T2", "T3"])
def test_every_form_is_written_at_the_command_line(world, tmp_path, form):
    folder, _, predictions = world
    predictions.frame.write_parquet(tmp_path / "p.parquet")
    out = run("convert", tmp_path / "p.parquet", folder / "store", "--form", form, "-o", tmp_path / "out.csv")
    assert "written" in out
    table = pl.read_csv(tmp_path / "out.csv", infer_schema=False)
    if form.startswith("T"):
        assert silicon_sample.tier_of(table) == form and "would refuse" not in out
