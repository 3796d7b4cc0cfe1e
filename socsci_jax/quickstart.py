"""The main job, whole, on the built-in demonstration: what `make quickstart` runs."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import data_pipelines
from socsci_jax.errors import InputError
from socsci_jax.evaluation.evaluate_files import evaluate_files
from socsci_jax.evaluation.result import Evaluation
from socsci_jax.model_export import export_run
from socsci_jax.model_io import open_model
from socsci_jax.simulation.simulate import simulate
from socsci_jax.studies.split_making import make_split
from socsci_jax.training.loop import train
from socsci_jax.training.recipe_files import parse_recipe
from socsci_jax.wording import counted

logger = logging.getLogger(__name__)

# Small enough for two cores and a few minutes; recipes/tiny.yaml is the same for data of one's own.
RECIPE = {
    "name": "quickstart",
    "hardware": "1xcpu",
    "model": {
        "init_from": "random",
        "tokenizer": "train",
        "vocab_size": 2048,
        "architecture": {
            "model_type": "qwen3",
            "hidden_size": 96,
            "intermediate_size": 256,
            "num_hidden_layers": 2,
            "num_attention_heads": 3,
            "num_key_value_heads": 1,
            # Narrow layers and few steps: at the usual 0.02 a third of the run would go into growing the weights.
            "initializer_range": 0.08,
        },
    },
    "batch": {"rows": 1, "tokens_per_row": 2048, "branches_per_tree": 8},
    "optimizer": {"epochs": 3, "learning_rate": 2e-3},
    "checkpoints": {"every_steps": 200},
}


def run(out: Path, *, seed: int = 0) -> Evaluation:
    """Builds, splits, trains, simulates, evaluates and exports; everything is written below `out`.

    A training that was stopped is taken up again; the rest is quick and made anew.
    """
    store_path, run_path = out / "store", out / "run"
    if out.exists() and not (store_path / "store.json").is_file() and any(out.iterdir()):
        raise InputError(f"{out}: this folder holds something else; choose an empty one.")
    logger.info("1/6  build: synthetic survey experiments with known effects")
    store = data_pipelines.build(
        "synthetic", "demonstration", store_path, command="socsci-jax quickstart", replace=True
    )
    logger.info("2/6  split: hold out some studies, some conditions and some participants")
    split = make_split(store, name="main", seed=seed, studies=0.15, conditions=0.25, participants=0.15)
    split.save(replace=True)
    for part, count in split.label()["part"].value_counts().sort("part").iter_rows():
        logger.info(f"       {part}: {counted(count, 'response')}")
    logger.info("3/6  train: a small decoder from random weights")
    recipe = {**RECIPE, "output": str(run_path), "seed": seed}
    train(parse_recipe(recipe | {"data": {"store": str(store_path), "split": "main"}}, where="quickstart"))
    logger.info("4/6  simulate: exact distributions for every held-out person")
    model = open_model(str(run_path))
    predictions = out / "predictions.parquet"
    simulate(
        model,
        store,
        split,
        out=predictions,
        metadata={"command": "socsci-jax quickstart"},
    )
    logger.info(
        "5/6  evaluate: against uniform guesses, human answers pooled over conditions, and other humans"
    )
    evaluation = evaluate_files(predictions, store_path, out / "evaluation", split_name=None, seed=seed)
    logger.info("6/6  export: a folder that transformers loads")
    shutil.rmtree(out / "exported", ignore_errors=True)
    export_run(run_path, out / "exported")
    return evaluation
