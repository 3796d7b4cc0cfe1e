"""From an experiment's file to a data set of whole respondents, with a model of random weights."""

import dataclasses
import json

import polars as pl
import pyreadstat
import pytest
from random_model import random_model
from small import small_store, small_tokenizer
from typer.testing import CliRunner

import socsci_jax as sj
from socsci_jax.cli import app
from socsci_jax.errors import InputError
from socsci_jax.forecasting.respondent_statistics import STATISTICS

EXPERIMENT = """
study: council
factors:
  frame:
    levels:
      plain: {text: Plan A., control: true}
      praise: Plan B.
outcomes:
  happy: {question: How do you feel about parks?, scale: {lo: 1, hi: 3}}
  sad: {question: How do you feel about taxes?, scale: {lo: 1, hi: 3}}
  trust: {question: How do you feel?, scale: {lo: 1, hi: 4, labels: {1: not at all, 4: completely}}}
"""
# A persona that a spreadsheet would run.
PEOPLE = "age,@gender\n18-34,Female\n=1+1,Male\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("respondents")
    store = small_store(folder / "store", people=2)
    (folder / "experiment.yaml").write_text(EXPERIMENT)
    (folder / "people.csv").write_text(PEOPLE)
    model = random_model((store, None, small_tokenizer(store, folder / "tokenizer")))
    config = dataclasses.replace(model.config, max_position_embeddings=2048)
    return folder, dataclasses.replace(model, config=config)


@pytest.fixture
def shell(world, monkeypatch):
    folder, model = world
    monkeypatch.setattr(sj, "open_model", lambda name: model)
    monkeypatch.chdir(folder)

    def run(*arguments: str):
        ask = ["forecast", "respondents", "experiment.yaml", "runs/none", "--people", "people.csv", "-n", "6"]
        return CliRunner().invoke(app, [*ask, *arguments])

    return run


def test_from_an_experiment_to_rows_and_statistics(shell, world):
    folder, _ = world
    made = shell("--battery", "mood = happy, -sad", "--fit", "trust ~ happy", "-o", "rows.csv")
    assert made.exit_code == 0, made.output
    assert "Reliability" in made.output and "12 respondents" in made.output
    rows = pl.read_csv(folder / "rows.csv")
    assert rows.columns == [
        *("respondent_id", "study", "condition", "participant_id", "age", "'@gender"),
        *("happy", "sad", "trust", "mood"),
    ]
    assert rows.height == 12 and set(rows["condition"]) == {"plain", "praise"}
    assert set(rows["age"]) == {"18-34", "'=1+1"}, "no cell is a formula"
    statistics = pl.read_csv(folder / "rows_statistics.csv")
    assert statistics.columns == list(STATISTICS)
    assert statistics.filter(statistic="r", source="exact").height == 2 * 3
    told = json.loads((folder / "rows.json").read_text())
    assert told["elicitation"] == "chained" and told["seed"] == 0 and len(told["model_hash"]) == 64

    again = shell("-o", "rows.csv")
    assert isinstance(again.exception, InputError) and "`replace=True`" in str(again.exception)


def test_the_same_seed_gives_the_same_people_and_another_file_the_same_rows(shell, world):
    folder, _ = world
    for name, seed in (("a.parquet", "1"), ("b.sav", "1"), ("c.parquet", "2")):
        made = shell(
            "--no-exact-pairs", "--outcome", "trust", "--outcome", "happy", "--seed", seed, "-o", name
        )
        assert made.exit_code == 0, made.output
    one, other = (pl.read_parquet(folder / name) for name in ("a.parquet", "c.parquet"))
    assert one.columns[-2:] == ["trust", "happy"]
    labeled, labels = pyreadstat.read_sav(str(folder / "b.sav"))
    assert labeled["trust"].tolist() == one["trust"].to_list()
    assert labels.variable_value_labels["trust"] == {1.0: "not at all", 4.0: "completely"}
    assert not one.equals(other)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--battery", "mood"), "write a name and its outcomes"),
        (("-o", "rows.txt"), "a data set is written as .csv, .parquet, .sav"),
        (("--fit", "trust ~ happy + foo()"), "is not allowed"),
        (("--outcome", "happy", "--outcome", "anger"), "outcome 'anger' is not asked"),
    ],
)
def test_a_mistake_is_one_sentence(shell, arguments, sentence):
    made = shell("-o", "mistake.csv", *arguments)
    assert isinstance(made.exception, InputError) and sentence in str(made.exception)
