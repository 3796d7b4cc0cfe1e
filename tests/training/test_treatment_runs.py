"""Runs that train on treatments, metrics of effects, and predictions in two parts."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from arms import SCALES, studies_with_arms
from small import small_recipe
from typer.testing import CliRunner

from socsci_jax.cli import app
from socsci_jax.data.loader import PlannedRows
from socsci_jax.errors import InputError
from socsci_jax.models.modules import init
from socsci_jax.models.sharding import make_mesh
from socsci_jax.simulation import two_parts
from socsci_jax.simulation.model import SimulationModel
from socsci_jax.simulation.predict import predict
from socsci_jax.simulation.two_parts import TwoParts, learn_kappa, simulate_two_parts
from socsci_jax.studies.layouts import STUDY_FIRST
from socsci_jax.studies.pairs import Pairs
from socsci_jax.studies.predictions import read_predictions
from socsci_jax.studies.split_making import make_split, split_of_units
from socsci_jax.studies.splits import Split
from socsci_jax.training.effect_metrics import effect_metrics
from socsci_jax.training.loop import train
from socsci_jax.training.recipe_files import parse_recipe


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return studies_with_arms(tmp_path_factory.mktemp("arms"))


# --- runs -------------------------------------------------------------------------------------------------------------


def run_recipe(world, output, **changes) -> dict:
    recipe = small_recipe(world[0], output, **changes)
    recipe["batch"] |= {"rows": 4, "tokens_per_row": 1024}
    recipe["optimizer"] = {"epochs": 1, "learning_rate": 1e-2}
    return recipe


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["contrast", pytest.param("profiled", marks=pytest.mark.slow)])
def test_a_run_that_is_stopped_sees_the_same_contrasts_again(world, tmp_path, monkeypatch, kind):
    objective = {"kind": kind, "effects": {"personas": 4, "personas_per_study": 8}}

    def run(name):
        recipe = run_recipe(world, tmp_path / name, objective=objective)
        return parse_recipe(recipe | {"checkpoints": {"every_steps": 1}}, where="test")

    train(run("whole"))
    original = PlannedRows.__getitem__

    def fails_at_one(self, step):
        if step == 1:
            raise RuntimeError("stopped")
        return original(self, step)

    monkeypatch.setattr(PlannedRows, "__getitem__", fails_at_one)
    with pytest.raises(RuntimeError, match="stopped"):
        train(run("stopped"))
    monkeypatch.undo()
    train(run("stopped"))
    lines = [
        (tmp_path / name / "metrics.jsonl").read_text().splitlines()[-1] for name in ("whole", "stopped")
    ]
    assert json.loads(lines[0])["loss"] == json.loads(lines[1])["loss"]


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"objective": {"kind": "contrast", "mixed_with": "sft"}}, "`batch.contrast_rows` is missing"),
        ({"objective": {"kind": "sft", "effects": {}}}, "`effects` goes with kind: contrast or profiled"),
        (
            {"objective": {"kind": "profiled", "effects": {"prior": 1}}},
            "`effects.prior` goes with kind: contrast",
        ),
    ],
)
def test_keys_that_do_not_go_together_are_named(world, tmp_path, changes, sentence):
    with pytest.raises(InputError, match=sentence):
        parse_recipe(run_recipe(world, tmp_path / "run", **changes), where="test")


# --- metrics ----------------------------------------------------------------------------------------------------------


def test_effect_metrics_look_at_differences_within_outcomes_only():
    human = np.array([0.2, 0.4, 0.9, 0.7])
    outcome = np.array(["a", "a", "b", "b"])
    levels_off = human + np.array([0.3, 0.3, -0.4, -0.4])
    assert effect_metrics(levels_off, human, outcome) == pytest.approx({"effect_r": 1.0, "effect_rmse": 0.0})
    no_effect = np.array([0.5, 0.5, 0.1, 0.1])
    assert effect_metrics(no_effect, human, outcome) == {"effect_r": 0.0, "effect_rmse": 1.0}
    assert effect_metrics(human[:1], human[:1], outcome[:1]) == {}


def test_effect_r_weighs_outcomes_by_their_spread():
    human = np.array([0.0, 0.02, 0.0, 0.8])
    predicted = np.array([0.0, 0.02, 0.4, 0.0])
    outcome = np.array(["small", "small", "large", "large"])
    weight = 1 / (np.array([0.01, 0.4]) ** 2 + 0.02**2)
    p, h = np.array([0.01, -0.2]), np.array([0.01, 0.4])
    wanted = (weight @ (p * h)) / np.sqrt((weight @ p**2) * (weight @ h**2))
    assert effect_metrics(predicted, human, outcome)["effect_r"] == pytest.approx(wanted)


# --- two parts --------------------------------------------------------------------------------------------------------


def random_model(world, *, seed, scale) -> SimulationModel:
    _, _, tokenizer, config = world
    return SimulationModel(
        config=config,
        params=jax.tree.map(lambda w: scale * w, init(config, key=jax.random.key(seed))),
        mesh=make_mesh(data=1, fsdp=1, tensor=1, devices=jax.devices()[:1]),
        tokenizer=tokenizer,
        layout=STUDY_FIRST,
        compute_dtype=jnp.float32,
        metadata={"name": f"random {seed}"},
    )


def test_two_parts_are_levels_of_one_model_and_effects_of_the_other(world, tmp_path):
    store, split, *_ = world
    levels, effects = random_model(world, seed=0, scale=4.0), random_model(world, seed=1, scale=4.0)
    out = tmp_path / "predictions.parquet"
    simulate_two_parts(levels, effects, store, split, out=out, kappa=0.5)
    frame = read_predictions(out, store).frame
    assert set(frame.select("item_id", "participant_id").iter_rows()) == set(
        split.pairs().frame.select("item_id", "participant_id").iter_rows()
    )
    item_id, person, probs = next(
        row
        for row in frame.select("item_id", "participant_id", "probs").iter_rows()
        if store.item_by_id[row[0]].study_id == "s0"
    )
    item = store.item_by_id[item_id]
    arms = [
        i for i, other in store.item_by_id.items() if (other.study_id, other.outcome) == ("s0", item.outcome)
    ]
    pairs = pl.DataFrame({"item_id": arms, "study_id": "s0", "participant_id": person})
    of_levels, of_effects = (
        np.log(
            np.array(predict(model, Pairs.of_store(store, pairs)).frame.sort("item_id")["probs"].to_list())
        )
        for model in (levels, effects)
    )
    c = sorted(arms).index(item_id)
    logits = of_levels.mean(axis=0) + 0.5 * (of_effects[c] - of_effects.mean(axis=0))
    np.testing.assert_allclose(probs, np.exp(logits) / np.exp(logits).sum(), rtol=1e-4)


def test_two_parts_resume_and_spread_over_processes(world, tmp_path, monkeypatch):
    store, split, *_ = world
    models = random_model(world, seed=0, scale=4.0), random_model(world, seed=1, scale=4.0)
    simulate_two_parts(*models, store, split, out=tmp_path / "whole.parquet", kappa=0.5)

    def fails(*_):
        raise RuntimeError("stopped")

    monkeypatch.setattr(two_parts, "learn_kappa", fails)
    out = tmp_path / "stopped.parquet"
    monkeypatch.setattr(two_parts.TwoParts, "of_tables", fails)
    with pytest.raises(RuntimeError, match="stopped"):
        simulate_two_parts(*models, store, split, out=out, kappa=0.5)
    monkeypatch.undo()
    # Nothing is computed again: what each model predicted is there.
    monkeypatch.setattr(two_parts, "predict_to_file", fails)
    simulate_two_parts(*models, store, split, out=out, kappa=0.5)
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["stopped.parquet", "whole.parquet"]


def test_kappa_is_learned_on_people_who_validate(world, tmp_path):
    store, _, *_ = world
    split = make_split(store, name="validated", seed=0, participants=0.2, validation=0.3)
    levels = random_model(world, seed=0, scale=1.0)

    def learned(effects):
        out = tmp_path / "predictions.parquet"
        return simulate_two_parts(levels, effects, store, split, out=out, kappa=None)

    assert 0 <= learned(random_model(world, seed=1, scale=4.0)) <= 1
    # A model without effects has nothing to offer: every kappa is as good, and the least is taken.
    assert learned(random_model(world, seed=1, scale=0.0)) == 0


@pytest.mark.slow
def test_kappa_equals_brute_force_over_arms_and_people(world):
    store, _, *_ = world
    split = make_split(store, name="validated", seed=0, participants=0.2, validation=0.3)
    answers = split.label().filter(part="validation")
    people = answers.select("study_id", "participant_id").unique()
    frame = people.join(store.items.select("item_id", "study_id"), on="study_id").sort("item_id")
    rng = np.random.default_rng(0)
    means = dict(answers.group_by("item_id").agg(pl.col("value").mean()).iter_rows())

    def table(tilt):
        """Random distributions; those of an arm lean by `tilt` to the side where people's mean of it lies."""
        rows = []
        for item_id, _, person in frame.select("item_id", "study_id", "participant_id").iter_rows():
            levels = store.item_by_id[item_id].scale.levels
            position = np.linspace(-1, 1, len(levels))
            lean = np.interp(means.get(item_id, levels[0]), (levels[0], levels[-1]), (-1, 1))
            logits = rng.normal(size=len(levels)) + tilt * lean * position
            probs = np.exp(logits) / np.exp(logits).sum()
            rows.append((item_id, person, [float(level) for level in levels], probs.tolist()))
        schema = {"item_id": str, "participant_id": str, "levels": pl.List(float), "probs": pl.List(float)}
        beside = {"mass_on_levels": 1.0, "draw": None, "value": None, "seen": False, "unseen": None}
        return pl.DataFrame(rows, schema=schema, orient="row").with_columns(
            pl.lit(value).alias(name) for name, value in beside.items()
        )

    tables = [table(0.0), table(20.0)]
    logs = [
        {
            (item, person): np.log(probs)
            for item, person, probs in t["item_id", "participant_id", "probs"].iter_rows()
        }
        for t in tables
    ]

    kappas = np.linspace(0, 1, 101)
    best = kappas[np.argmin([_error_of_arms(kappa, answers, store.item_by_id, logs) for kappa in kappas])]
    assert 0 < best < 1
    assert learn_kappa(TwoParts.of_tables(*tables, store), split) == pytest.approx(best)


def _error_of_arms(kappa, answers, items, logs):
    """Squared errors of arms' predicted means around their outcome's, weighed by their precision: sums over single people."""
    total = 0.0
    for (study, outcome), of in answers.group_by("study_id", "outcome"):
        scale = SCALES[outcome]
        if scale.nominal:
            continue
        arms = sorted(i for i, item in items.items() if (item.study_id, item.outcome) == (study, outcome))
        position = (np.array(scale.levels) - scale.levels[0]) / (scale.levels[-1] - scale.levels[0])
        on_range = dict(zip(scale.levels, position))
        human = {i: np.array([on_range[v] for v in of.filter(item_id=i)["value"]]) for i in arms}
        human = {i: x for i, x in human.items() if len(x)}
        freedom = sum(len(x) - 1 for x in human.values())
        if len(human) < 2 or not freedom:
            continue
        variance = sum(((x - x.mean()) ** 2).sum() for x in human.values()) / freedom
        predicted = dict.fromkeys(human, 0.0)
        for person in of["participant_id"].unique():
            s, e = (np.stack([log[i, person] for i in arms]) for log in logs)
            for i in human:
                p = np.exp(s.mean(axis=0) + kappa * (e[arms.index(i)] - e.mean(axis=0)))
                predicted[i] += p / p.sum() @ position / of["participant_id"].n_unique()
        gaps = np.array([predicted[i] - human[i].mean() for i in human])
        weights = np.array([1 / (variance / len(human[i]) + 0.03**2) for i in human])
        total += weights @ (gaps - np.average(gaps, weights=weights)) ** 2
    return total


@pytest.mark.slow
def test_a_mixture_with_a_prior_trains_validates_by_effects_and_gives_its_effects_to_another(world, tmp_path):
    """The whole chain at the shell, answers and contrasts in one run on two devices."""
    store = world[0]
    if not (store.path / "splits" / "validated.parquet").is_file():
        make_split(store, name="validated", seed=0, participants=0.2, validation=0.3).save()
    effects = {"personas": 4, "personas_per_study": 8, "prior": 0.5}
    recipe = run_recipe(
        world,
        tmp_path / "mixed",
        objective={"kind": "contrast", "mixed_with": "sft", "effects": effects},
        parallelism={"data": 2},
        validation={"every_steps": 1, "responses": 100, "metric": "effect_rmse"},
        data={"store": str(store.path), "split": "validated"},
    )
    recipe["batch"] |= {"rows": 12, "micro_batches": 2, "contrast_rows": 8}
    train(parse_recipe(recipe, where="test"))
    last = json.loads((tmp_path / "mixed" / "metrics.jsonl").read_text().splitlines()[-1])
    assert {"validation_effect_r", "validation_effect_rmse"} <= last.keys() and np.isfinite(last["loss"])
    out = tmp_path / "predictions.parquet"
    command = ["simulate", str(tmp_path / "mixed"), str(store.path), "--split", "validated", "-o", str(out)]
    done = CliRunner().invoke(app, [*command, "--effects-from", str(tmp_path / "mixed"), "--kappa", "1"])
    assert done.exit_code == 0, done.output
    # Levels and effects of one model together: its own predictions, but for the geometric mean over arms.
    assert read_predictions(out, store).frame.height == Split.load(store, "validated").pairs().frame.height
    refused = CliRunner().invoke(
        app, [*command, "--replace", "--effects-from", str(tmp_path / "mixed"), "--kappa", "2"]
    )
    assert refused.exit_code != 0 and "give a number from 0 to 1" in str(refused.exception or refused.output)


def test_a_metric_of_effects_needs_outcomes_with_several_arms(world, tmp_path):
    store = world[0]
    if not (store.path / "splits" / "single.parquet").is_file():
        rows = [
            {"part": "validation", "study_id": "s3", "participant_id": person}
            for person in store.participants.filter(study_id="s3")["participant_id"].sort()[:3]
        ]
        split_of_units(store, name="single", seed=0, rows=rows).save()
    recipe = run_recipe(
        world,
        tmp_path / "run",
        validation={"every_steps": 1, "metric": "effect_r"},
        data={"store": str(store.path), "split": "single"},
    )
    with pytest.raises(InputError, match=r"validation.metric = effect_r: no outcome .* has two arms"):
        train(parse_recipe(recipe, where="test"))
