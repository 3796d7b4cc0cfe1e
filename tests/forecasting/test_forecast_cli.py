"""The commands from an experiment's file to a score, with a model of random weights."""

import dataclasses
import html

import numpy as np
import polars as pl
import pytest
from random_model import random_model
from small import SCALE_1_5, small_item, small_tokenizer
from typer.testing import CliRunner

import socsci_jax as sj
from socsci_jax.cli import app
from socsci_jax.errors import InputError
from socsci_jax.forecasting.files import read_forecast
from socsci_jax.studies.store_builder import StoreBuilder
from socsci_jax.studies.trained_on import TrainedOn

EXPERIMENT = """
study: council
factors:
  frame:
    levels:
      plain: {text: The town council music evening letter garden., control: true}
      praise: The town council honest work prize school bridge.
      blame: The town council members theft money winter train.
outcomes:
  trust:
    question: How do you feel about mood?
    scale: {lo: 1, hi: 5, labels: {1: not at all, 5: completely}}
"""
WORDS = [
    "council",
    "town",
    "evening",
    "prize",
    "honest",
    "work",
    "members",
    "theft",
    "money",
    "school",
    "river",
    "bridge",
    "doctor",
    "farmer",
    "letter",
    "garden",
    "winter",
    "market",
    "train",
    "island",
    "music",
]
PEOPLE = "age,gender\n18-34,Female\n35-64,Male\n65 or older,Female\n"


def varied_store(folder):
    """Twelve studies of two arms, in words of their own each."""
    rng = np.random.default_rng(0)
    builder = StoreBuilder(attributes=("age", "gender"), source="small", license="CC0", command="test")
    for s in range(12):
        builder.add_study(f"s{s}", title=f"Study {s}")
        for c in range(2):
            item = small_item(f"s{s}", f"c{c}", "mood", SCALE_1_5)
            text = f"The {' '.join(rng.choice(WORDS, size=8, replace=False))}.\n\n"
            item_id = builder.add_item(dataclasses.replace(item, stimulus=text, is_control=c == 0))
            for k in range(22):
                builder.add_participant(f"s{s}", f"{c}-{k}", {"age": "18-34", "gender": "Female"})
                builder.add_response(item_id, f"{c}-{k}", int(rng.integers(1, 6)), sample_id=100 * c + k)
    return builder.write(folder)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    store = varied_store(folder / "store")
    tokenizer = small_tokenizer(store, folder / "tokenizer")
    (folder / "experiment.yaml").write_text(EXPERIMENT)
    (folder / "people.csv").write_text(PEOPLE)
    (folder / "margins.yaml").write_text("gender: {Female: 0.51, Male: 0.49}\n")
    return folder, random_model((store, None, tokenizer))


@pytest.fixture
def shell(world, monkeypatch):
    folder, model = world
    monkeypatch.setattr(sj, "open_model", lambda name: model)
    monkeypatch.chdir(folder)

    def run(*arguments: str):
        return CliRunner().invoke(app, ["forecast", *arguments])

    return run


RUN = ("run", "experiment.yaml", "runs/none", "--calibration", "store", "--people", "people.csv")


def test_a_model_of_unknown_training_is_refused_before_it_is_believed(shell):
    found = shell(*RUN)
    assert isinstance(found.exception, InputError)
    assert "not known what this model was trained on" in str(found.exception)


@pytest.fixture
def trained_on(world):
    """A model that was trained on some studies of the calibration store."""
    folder, model = world
    store = sj.open_store(folder / "store")
    labeled = store.responses.join(store.items.select("item_id", "study_id"), on="item_id")

    def of(*studies: str):
        return dataclasses.replace(
            model, trained_on=TrainedOn.of(store, labeled.filter(pl.col("study_id").is_in(studies)))
        )

    return store, of


def test_studies_that_the_model_was_trained_on_teach_no_calibration(world, trained_on, caplog):
    store, of = trained_on
    made = sj.forecast(
        world[0] / "experiment.yaml", of("s3", "s4"), calibration=store, people=[{"age": "18-34"}]
    )
    assert "trained on 2 of the 12 calibration studies" in caplog.text
    assert not {"s3", "s4"} & set(made.collection.effects["study"])
    assert made.collection.effects["study"].n_unique() == 10


def test_a_model_that_saw_every_calibration_study_is_refused(world, trained_on):
    store, of = trained_on
    every = of(*store.studies["study_id"])
    with pytest.raises(InputError, match=r"trained on every calibration study \(12\)"):
        sj.forecast(world[0] / "experiment.yaml", every, calibration=store, people=[{"age": "18-34"}])


@pytest.fixture
def never_asked(monkeypatch):
    def predict(*args, **kwargs):
        raise AssertionError("the model was asked")

    monkeypatch.setattr("socsci_jax.simulation.predict.predict", predict)


def test_too_few_studies_are_refused_before_the_model_is_asked(world, trained_on, never_asked):
    store, of = trained_on
    with pytest.raises(
        InputError, match=r"9 of 12 studies can teach calibration, and 10 are needed \(1 were excluded, 2 the"
    ):
        sj.forecast(
            world[0] / "experiment.yaml",
            of("s3", "s4"),
            calibration=store,
            people=[{"age": "18-34"}],
            exclude=("s5",),
        )


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"subgroups": ("party",)}, "no attribute 'party'"),
        ({"margins": {"age": {"18-34": 0.5, "65 or older": 0.5}}}, "no persona has '65 or older'"),
    ],
)
def test_a_population_that_cannot_be_is_refused_before_the_model_is_asked(
    world, trained_on, never_asked, changes, message
):
    store, of = trained_on
    with pytest.raises(InputError, match=message):
        sj.forecast(
            world[0] / "experiment.yaml", of(), calibration=store, people=[{"age": "18-34"}], **changes
        )


def test_from_an_experiment_to_a_score(shell, world):
    folder, _ = world
    made = shell(
        *RUN, "--margins", "margins.yaml", "--subgroup", "gender", "--allow-unknown", "-o", "forecast"
    )
    assert made.exit_code == 0, made.output
    assert "effective sample size" in made.output and "12 studies" in made.output
    page = html.unescape((folder / "forecast" / "report.html").read_text())
    said = [
        line
        for line in made.output.splitlines()
        if line.startswith(("On “trust”, ", "A positive effect on "))
    ]
    assert len(said) == 2 and said[1].endswith("toward “completely (5)”.")
    assert all(sentence in page for sentence in said)
    locked = shell("lock", "forecast", "-o", "locked")
    assert locked.exit_code == 0, locked.output
    rows = [
        (arm, 1 + (k * (shift + 1)) % 5)
        for arm, shift in (("plain", 0), ("praise", 1), ("blame", 2))
        for k in range(40)
    ]
    answers = pl.DataFrame(rows, schema=["condition", "trust"], orient="row")
    answers.write_csv(folder / "answers.csv")
    scored = shell("score", "locked", "answers.csv", "-o", "score")
    assert scored.exit_code == 0, scored.output
    assert "rmse_forecast" in scored.output
    assert said[1] in scored.output and said[1] in html.unescape(
        (folder / "score" / "report.html").read_text()
    )
    assert {path.name for path in (folder / "score").iterdir()} == {
        "report.html", "effects.csv", "measures.csv", "coverage.csv", "coverage.png",
    }  # fmt: skip


@pytest.mark.slow
def test_variants_of_the_prompt_are_asked_of_the_experiment_and_of_past_studies(shell, world):
    folder, _ = world
    labels = "labels: {1: not at all, 5: completely}"
    text = EXPERIMENT.replace(
        labels, f"{labels}}}\n    negative_control: true\n    wordings: {{short: How is mood?"
    ).strip()
    multiverse = "{orders: all, persona_formats: [sentences], swaps: gender, drift: gender}"
    (folder / "varied.yaml").write_text(f"{text}\nmultiverse: {multiverse}\n")
    run = ["varied.yaml" if part == "experiment.yaml" else part for part in RUN]
    made = shell(*run, "--allow-unknown", "-o", "varied")
    assert made.exit_code == 0, made.output
    assert "Predicted effects over variants of the prompt" in made.output
    assert "of trust" in made.output or "though no arm can" in made.output
    saved = read_forecast(folder / "varied")
    choices = saved.table("variants").select(pl.col("order", "wording", "persona_format").n_unique())
    assert choices.row(0) == (2, 2, 2)
    assert saved.record["metadata"]["multiverse"]["council"]["assignment"] == "balanced"
    assert saved.table("calibration")["spread"].is_not_null().all()
    assert set(saved.table("checks")["check"]) == {
        "persona swap",
        "attribute swap",
        "drift",
        "negative control",
    }
    assert shell("lock", "varied", "-o", "varied-lock").exit_code == 0


def test_attributes_of_a_multiverse_that_personas_lack_are_refused_before_anything_is_predicted(shell, world):
    (world[0] / "drift.yaml").write_text(f"{EXPERIMENT.strip()}\nmultiverse: {{drift: party}}\n")
    run = ["drift.yaml" if part == "experiment.yaml" else part for part in RUN]
    found = shell(*run, "--allow-unknown", "-o", "none")
    assert "personas have no attribute 'party'" in str(found.exception)
