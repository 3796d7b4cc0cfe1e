"""The steps that `real_size` measures, over one working folder: each takes the folder, a tokenizer and the scale."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

RECIPE = Path("recipes/qwen2.5-0.5b-sft.yaml")
SPLIT = "published_studies"
PREDICTIONS = "predictions.parquet"
PROGRAM = (sys.executable, "-c", "from socsci_jax.cli import main; main()")
Step = Callable[[Path, Path, float], None]


def deposit(folder: Path, tokenizer: Path, scale: float) -> None:
    from benchmarks.real_size_deposit import write_deposit

    shutil.rmtree(folder / "deposit", ignore_errors=True)
    print(write_deposit(folder / "deposit", scale=scale))


def build(folder: Path, tokenizer: Path, scale: float) -> None:
    from data_pipelines import build as build_store

    store = build_store(
        "socsci210", str(folder / "deposit"), folder / "store", command="benchmark", replace=True
    )
    print(store.manifest["rows"], store.content_hash)


def pandas(folder: Path, tokenizer: Path, scale: float) -> None:
    """Items, participants and answers as somebody would write them in ten minutes; everything in memory at once."""
    import pandas as pd

    from data_pipelines.scales.sentences import read_scale, split_text

    out = folder / "pandas"
    out.mkdir(exist_ok=True)
    files = sorted((folder / "deposit" / "data").glob("*.parquet"))
    rows = pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
    rows = rows.drop_duplicates(["study_id", "sample_id"])
    key = ["study_id", "condition_num", "task_num", "stimuli"]
    rows["item_id"] = rows.groupby(key, sort=False).ngroup()
    items = rows.drop_duplicates("item_id")[["item_id", *key]].copy()
    parts = [split_text(text) for text in items["stimuli"]]
    for name in ("stimulus", "question", "answer_format"):
        items[name] = [getattr(part, name) for part in parts]
    items["scale"] = [json.dumps(read_scale(text).to_dict()) for text in items["stimuli"]]
    people = rows.drop_duplicates(["study_id", "participant"])[["study_id", "participant", "demographic"]]
    attributes = pd.json_normalize(people["demographic"].tolist()).astype("string")
    people = pd.concat([people.drop(columns="demographic").reset_index(drop=True), attributes], axis=1)
    items.drop(columns="stimuli").to_parquet(out / "items.parquet")
    people.to_parquet(out / "participants.parquet")
    rows[["item_id", "participant", "response", "sample_id"]].to_parquet(out / "responses.parquet")
    print(len(items), len(people), len(rows))


def _recipe(folder: Path, tokenizer: Path, **changes: object):
    """The 0.5B recipe over the store, with a folder that holds the tokenizer and the published shape, without weights."""
    from socsci_jax.training.recipe_files import load_recipe

    model = folder / "model"
    if not model.exists():
        shutil.copytree(tokenizer, model)
        (model / "config.json").write_text(json.dumps(_SHAPE))
    settings = {"data.store": folder / "store", "data.split": SPLIT, "model.init_from": model, **changes}
    return load_recipe(RECIPE, [f"{name}={value}" for name, value in settings.items()])


# Of Qwen2.5-0.5B-Instruct.
_SHAPE = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1_000_000.0,
    "tie_word_embeddings": True,
    "hidden_act": "silu",
    "eos_token_id": 151645,
}


def shards(folder: Path, tokenizer: Path, scale: float) -> None:
    from socsci_jax.data.tokenizer_loading import load_tokenizer
    from socsci_jax.training.inputs import load_inputs

    shutil.rmtree(folder / "store" / "shards", ignore_errors=True)
    inputs = load_inputs(_recipe(folder, tokenizer))
    metadata = inputs.shards(load_tokenizer(tokenizer)).metadata
    print({name: metadata[name] for name in ("prefixes", "branches", "responses")})


def batch_plan(folder: Path, tokenizer: Path, scale: float) -> None:
    from socsci_jax.data.shards import TreeShards
    from socsci_jax.training.program import batch_plan as plan_of

    [made] = (folder / "store" / "shards").glob("shards-*")
    print(plan_of(_recipe(folder, tokenizer), TreeShards(made).lengths).steps(1), "steps")


def plan(folder: Path, tokenizer: Path, scale: float) -> None:
    """`socsci-jax plan --store`, which compiles the step for the machine and finds the shards made."""
    recipe = _recipe(folder, tokenizer)
    command = [*PROGRAM, "plan", str(RECIPE), "--store", str(folder / "store")]
    changes = [f"data.split={SPLIT}", f"model.init_from={recipe.model.init_from}"]
    if (status := subprocess.run([*command, *changes], check=False).returncode) not in (0, 1):
        raise SystemExit(status)


# The weights' time is not the data's: random ones of the smallest shape, under Qwen's tokenizer and vocabulary.
_NARROW = {
    "model_type": "qwen2",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}
TRAINED_STEPS = 50
SIMULATED_DEVICES = 8
PREDICTED_ROWS = 1000


def _narrow_recipe(folder: Path, tokenizer: Path, **changes: object):
    architecture = {f"model.architecture.{name}": value for name, value in _NARROW.items()}
    named = {"model.init_from": "random", "model.tokenizer": folder / "model", "output": folder / "run"}
    return _recipe(folder, tokenizer, **named, **architecture, **changes)


def first_step(folder: Path, tokenizer: Path, scale: float) -> None:
    """All of `train` before a step is compiled: data, shards, plan, what is trained on, the run's folder."""
    from socsci_jax.training.prepare import prepare

    shutil.rmtree(folder / "run", ignore_errors=True)
    print(prepare(_narrow_recipe(folder, tokenizer)).plan.steps(1), "steps")


def train_50(folder: Path, tokenizer: Path, scale: float) -> None:
    """The first 50 steps over eight simulated devices, weights split over all: a narrow model, rows of 2,048 tokens."""
    import yaml

    from socsci_jax.data.shards import TreeShards
    from socsci_jax.training.program import batch_plan as plan_of

    shutil.rmtree(folder / "run", ignore_errors=True)
    rows = {"batch.rows": SIMULATED_DEVICES, "batch.micro_batches": 1, "batch.tokens_per_row": 2048}
    changes = {**rows, "parallelism.fsdp": SIMULATED_DEVICES}
    recipe = _narrow_recipe(folder, tokenizer, **changes)
    made = max((folder / "store" / "shards").glob("shards-*"), key=lambda path: path.stat().st_mtime)
    steps = plan_of(recipe, TreeShards(made).lengths).steps(1)
    tree = recipe.model_dump(mode="json", exclude_none=True)
    # A little less than 50 of an epoch's steps, which are counted up.
    tree["optimizer"]["epochs"] = (TRAINED_STEPS - 0.5) / steps
    path = folder / "train_50.yaml"
    path.write_text(yaml.safe_dump(tree))
    devices = f"--xla_force_host_platform_device_count={SIMULATED_DEVICES}"
    environment = {**os.environ, "XLA_FLAGS": devices, "JAX_PLATFORMS": "cpu"}
    subprocess.run([*PROGRAM, "train", str(path)], check=True, env=environment)


def simulation(folder: Path, tokenizer: Path, scale: float) -> None:
    """Every answer of the 40 unseen studies planned, and the first 1,000 rows computed, by a narrow model."""
    import jax
    import jax.numpy as jnp

    from socsci_jax.data.tokenizer_loading import load_tokenizer
    from socsci_jax.models.config import DecoderConfig
    from socsci_jax.models.modules import init
    from socsci_jax.models.sharding import make_mesh
    from socsci_jax.simulation.chunks import PAIRS_PER_CHUNK, chunks_of
    from socsci_jax.simulation.model import SimulationModel
    from socsci_jax.simulation.predict import prepare_prediction
    from socsci_jax.studies.layouts import STUDY_FIRST
    from socsci_jax.studies.store import StudyStore

    shape = {
        name: value
        for name, value in (_SHAPE | _NARROW).items()
        if name in DecoderConfig.__dataclass_fields__
    }
    config = DecoderConfig(head_dim=32, **shape)
    model = SimulationModel(
        config=config,
        params=init(config, key=jax.random.key(0)),
        mesh=make_mesh(data=1, fsdp=1, tensor=1),
        tokenizer=load_tokenizer(tokenizer),
        layout=STUDY_FIRST,
        compute_dtype=jnp.float32,
        metadata={"name": "narrow"},
    )
    started = time.perf_counter()
    prepared = prepare_prediction(model, StudyStore(folder / "store").split(SPLIT).pairs())
    chunks = chunks_of(prepared.table, pairs_per_chunk=PAIRS_PER_CHUNK)
    print(len(prepared), "rows in", len(chunks), "chunks, planned in", time.perf_counter() - started, "s")
    started = time.perf_counter()
    rows = prepared.compute(chunks[0][:PREDICTED_ROWS])
    print(rows.height, "rows computed in", time.perf_counter() - started, "s, compilation included")


def evaluate(folder: Path, tokenizer: Path, scale: float) -> None:
    """`socsci-jax evaluate` of one prediction for each answer of the unseen studies, with its report."""
    command = [*PROGRAM, "evaluate", str(folder / PREDICTIONS), str(folder / "store")]
    shutil.rmtree(folder / "evaluation", ignore_errors=True)
    subprocess.run([*command, "--out", str(folder / "evaluation"), "--split", SPLIT], check=True)


def predictions(folder: Path, tokenizer: Path, scale: float) -> None:
    """Invented ones for every answer of the unseen studies: a leaning of each item, and some noise for each person."""
    from socsci_jax.studies.predictions import write_predictions
    from socsci_jax.studies.schema import PREDICTIONS_SCHEMA
    from socsci_jax.studies.store import StudyStore

    pairs = StudyStore(folder / "store").split(SPLIT).pairs()
    rng = np.random.default_rng(0)
    leaning = {
        item_id: rng.uniform(0.2, 0.8) for item_id in pairs.frame["item_id"].unique(maintain_order=True)
    }
    empty = pl.from_arrow(PREDICTIONS_SCHEMA.empty_table())
    frames = []
    for frame in pairs.frame.iter_slices(16_384):
        levels = [list(map(float, pairs.items[i].scale.levels)) for i in frame["item_id"]]
        probs = []
        for item_id, of in zip(frame["item_id"], levels, strict=True):
            at = np.linspace(0, 1, len(of))
            weight = np.exp(-8 * (at - leaning[item_id] + rng.normal(0, 0.1)) ** 2)
            probs.append(weight / weight.sum())
        made = frame.select("item_id", "participant_id").with_columns(
            levels=pl.Series(levels, dtype=pl.List(pl.Float64)),
            probs=pl.Series([p.tolist() for p in probs], dtype=pl.List(pl.Float64)),
        )
        absent = [pl.lit(None, empty.schema[n]).alias(n) for n in empty.columns if n not in made.columns]
        frames.append(made.with_columns(absent).select(empty.columns))
    write_predictions(folder / PREDICTIONS, frames, metadata={})
    print(sum(frame.height for frame in frames), "predictions")


STEPS: dict[str, Step] = {
    step.__name__: step
    for step in (
        deposit,
        build,
        pandas,
        shards,
        batch_plan,
        plan,
        first_step,
        train_50,
        simulation,
        predictions,
        evaluate,
    )
}
# What a step leaves, below the working folder; "nothing" is no folder.
WRITES = {
    "deposit": "deposit",
    "build": "store",
    "pandas": "pandas",
    "shards": "store/shards",
    "batch_plan": "nothing",
    "plan": "nothing",
    "first_step": "run",
    "train_50": "run",
    "simulation": "nothing",
    "predictions": "nothing",
    "evaluate": "evaluation",
}
BOUND = {
    "deposit": "random draws and texts",
    "build": "reading scales from distinct texts, in Python",
    "pandas": "reading scales; all rows in memory",
    "shards": "texts and records, in Python",
    "batch_plan": "fitting trees into rows, in Python",
    "plan": "the compiler",
    "first_step": "hashing texts and answers for what is trained on",
    "train_50": "as before the first step; then the model",
    "simulation": "texts of items and personas, in Python; then the model",
    "predictions": "random draws and texts",
    "evaluate": "metrics of items",
}
