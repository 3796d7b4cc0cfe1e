"""Validation during training: its own part of the split, metrics by their formulas, the best kept, an early stop."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import wasserstein_distance
from small import small_config, small_item, small_recipe, small_store, small_tokenizer

from socsci_jax.errors import InputError
from socsci_jax.model_io import find_checkpoint, model_metadata, open_model
from socsci_jax.models.modules import init
from socsci_jax.models.sharding import make_mesh
from socsci_jax.simulation.model import SimulationModel
from socsci_jax.simulation.simulate import simulate
from socsci_jax.studies.layouts import STUDY_FIRST
from socsci_jax.studies.predictions import read_predictions
from socsci_jax.studies.scale import Scale
from socsci_jax.studies.split_making import make_split
from socsci_jax.studies.store_builder import StoreBuilder
from socsci_jax.training.checkpoint_reader import CheckpointReader
from socsci_jax.training.loop import train
from socsci_jax.training.recipe_files import parse_recipe
from socsci_jax.training.run import RunFolder
from socsci_jax.training.validation import BestSoFar
from socsci_jax.training.validator import Validator, entropy_ratio


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("validation")
    store = small_store(folder / "store", studies=2, people=12)
    split = make_split(store, name="validated", seed=0, participants=0.2, validation=0.25)
    split.save()
    return store, split, small_tokenizer(store, folder / "tokenizer")


def test_the_validation_part_is_neither_trained_on_nor_tested_on(world):
    _store, split, _ = world
    labeled = split.label()
    people = {
        part: set(labeled.filter(part=part).select("study_id", "participant_id").iter_rows())
        for part in ("train", "validation", "unseen_participants")
    }
    assert people["validation"]
    assert not people["validation"] & (people["train"] | people["unseen_participants"])
    assert set(split.pairs().frame["part"]) == {"unseen_participants"}
    assert set(split.pairs("validation").frame["part"]) == {"validation"}


def validator(world, *, responses: int) -> Validator:
    store, split, tokenizer = world
    settings = {"layout": STUDY_FIRST, "tokenizer": tokenizer, "seed": 0, "longest": 512}
    return Validator(
        store, split, validation=split.label().filter(part="validation"), responses=responses, **settings
    )


def test_figures_are_those_of_the_predictions_table(world, tmp_path):
    store, split, tokenizer = world
    config = small_config(tokenizer)
    mesh = make_mesh(data=1, fsdp=1, tensor=1, devices=jax.devices()[:1])
    model = SimulationModel(
        config=config,
        params=jax.tree.map(lambda w: 4 * w, init(config, key=jax.random.key(0))),
        mesh=mesh,
        tokenizer=tokenizer,
        layout=STUDY_FIRST,
        compute_dtype=jnp.float32,
        metadata={"name": "random"},
    )
    metrics = validator(world, responses=10_000)(model)

    out = tmp_path / "predictions.parquet"
    simulate(model, store, split, out=out, layout=STUDY_FIRST, parts=("validation",))
    frame = read_predictions(out, store).frame
    answers = split.label().filter(part="validation").select("item_id", "participant_id", answer="value")
    losses, distances, accuracies = [], [], []
    for _, item in frame.drop("value").join(answers, on=["item_id", "participant_id"]).group_by("item_id"):
        levels = np.array(item["levels"][0])
        width = levels[-1] - levels[0]
        for probs, mass, answer in item.select("probs", "mass_on_levels", "answer").iter_rows():
            losses.append(-np.log(probs[levels.tolist().index(answer)] * mass))
            accuracies.append(sum(p * (1 - abs(v - answer) / width) for p, v in zip(probs, levels)))
        predicted = np.mean(item["probs"].to_list(), axis=0)
        distances.append(wasserstein_distance(levels, item["answer"], predicted) / width)
    np.testing.assert_allclose(metrics["validation_loss"], np.mean(losses), rtol=1e-4)
    np.testing.assert_allclose(metrics["validation_wasserstein"], np.mean(distances), rtol=1e-4)
    np.testing.assert_allclose(metrics["validation_accuracy"], np.mean(accuracies), rtol=1e-4)
    assert 0.3 < metrics["validation_entropy_ratio"] < 3


def test_whole_items_are_chosen_until_there_are_answers_enough(world):
    _store, split, _ = world
    counts = split.label().filter(part="validation").group_by("item_id").len()["len"]
    few = validator(world, responses=10)
    assert 10 <= len(few._codes) <= 10 + counts.max()


def test_a_split_without_a_validation_part_is_refused(world):
    store, _, tokenizer = world
    split = make_split(store, name="none", seed=0, participants=0.2)
    with pytest.raises(InputError, match=r"no validation part .* --validation"):
        validator((store, split, tokenizer), responses=10)


def test_the_entropy_ratio_of_few_people_is_one_where_the_prediction_is_right_and_less_where_it_collapses():
    rng = np.random.default_rng(0)
    truth = np.array([0.1, 0.2, 0.4, 0.2, 0.1])
    narrow = np.array([0.0, 0.1, 0.8, 0.1, 0.0])
    for people in (5, 200):
        samples = rng.multinomial(people, truth, size=2000) / people
        right = [entropy_ratio(truth, sample, people=people) for sample in samples]
        assert abs(np.nanmedian(right) - 1) < 0.06
        assert np.nanmedian([entropy_ratio(narrow, s, people=people) for s in samples]) < 0.6
    assert np.isnan(entropy_ratio(truth, np.array([0, 0, 1.0, 0, 0]), people=9))


def test_the_best_is_the_lowest_loss_or_the_highest_accuracy():
    losses = BestSoFar("loss")
    assert [losses.add({"validation_loss": v}) for v in (3.0, 2.0, 2.5, 2.0, 1.0)] == [1, 1, 0, 0, 1]
    accuracies = BestSoFar("accuracy", history=[{"step": 1, "validation_accuracy": 0.5}, {"step": 2}])
    assert not accuracies.add({"validation_accuracy": 0.4})
    assert accuracies.without_better == 1
    assert accuracies.add({"validation_accuracy": 0.6})


@pytest.mark.slow
def test_a_run_keeps_its_best_step_stops_early_and_stays_stopped(world, tmp_path):
    store, _, _ = world
    recipe = small_recipe(store, tmp_path / "run") | {
        "data": {"store": str(store.path), "split": "validated"},
        "objective": {"kind": "dpo"},
        # Ten times too fast: after a good first step it gets worse.
        "optimizer": {"epochs": 40, "learning_rate": 0.1, "warmup_ratio": 0.0},
        "validation": {"every_steps": 1, "responses": 20, "patience": 2},
    }
    run = RunFolder(train(parse_recipe(recipe, where="test")))
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    losses = [line["validation_loss"] for line in lines]
    best = int(np.argmin(losses))
    assert len(losses) == best + 3
    assert model_metadata(run, find_checkpoint(run, None))["step"] == lines[best]["step"]
    newest = CheckpointReader(run.checkpoints)
    assert newest.metadata(newest.latest())["stopped_early"]

    model = open_model(str(run.path))
    split = make_split(store, name="validated", seed=0, participants=0.2, validation=0.25)
    metrics = validator((store, split, model.tokenizer), responses=20)(model)
    np.testing.assert_allclose(metrics["validation_loss"], losses[best], rtol=1e-5)
    train(parse_recipe(recipe, where="test"))
    assert len(run.metrics.read_text().splitlines()) == len(lines)
    assert run.reference.is_file()


@pytest.mark.parametrize("alternatives", ["offered", "withheld"])
def test_answers_outside_the_order_have_no_part_in_validation(world, tmp_path, alternatives):
    scale = Scale.of_levels((1, 2, 3), origin="codebook", alternatives={8: "Don't know"})
    builder = StoreBuilder(attributes=("age",), source="made up", license="CC0", command="test")
    builder.add_study("s")
    item_id = builder.add_item(small_item("s", "c", "o", scale))
    for person in range(20):
        builder.add_participant("s", f"p{person}", {"age": str(person)})
        builder.add_response(
            item_id, f"p{person}", 8 if person % 4 == 0 else 1 + person % 3, sample_id=person
        )
    store = builder.write(tmp_path / "store")
    split = make_split(store, name="validated", seed=0, participants=0.2, validation=0.5)
    layout = dataclasses.replace(STUDY_FIRST, alternatives=alternatives)
    settings = {"layout": layout, "tokenizer": world[2], "seed": 0, "longest": 512}
    judge = Validator(
        store, split, validation=split.label().filter(part="validation"), responses=100, **settings
    )
    answers = split.label().filter(part="validation")
    assert (answers["value"] == 8).any()
    assert len(judge._codes) == (answers["value"] != 8).sum()
    assert [len(trie.path) for trie in judge._tries] == [4 if alternatives == "offered" else 3]
