"""Runs whose checkpoint holds given weights, as if they had been trained."""

from __future__ import annotations

import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
from small import tokenizer_folder, write_run_metadata

from socsci_jax.models.huggingface import load_checkpoint
from socsci_jax.models.sharding import make_mesh
from socsci_jax.training.checkpoint_writer import CheckpointWriter
from socsci_jax.training.recipe_files import parse_recipe
from socsci_jax.training.run import RunFolder


def one_device():
    return make_mesh(data=1, fsdp=1, tensor=1, devices=jax.devices()[:1])


def eight_devices():
    return make_mesh(data=2, fsdp=2, tensor=2)


def as_run(
    path: Path, params, *, start: Path | str, config_json: bytes, tokenizer: Path | None = None, **changes
) -> RunFolder:
    """A run whose checkpoint of step 3 holds `params`."""
    run = RunFolder(path)
    shutil.copytree(tokenizer or tokenizer_folder(), run.tokenizer)
    write_run_metadata(path)
    recipe = {
        "name": "exported",
        "hardware": "1xcpu",
        "output": str(path),
        "model": {"init_from": str(start)},
        "data": {"store": "store", "split": "main"},
        "batch": {"rows": 1, "tokens_per_row": 64, "branches_per_tree": 1},
        "optimizer": {"epochs": 1, "learning_rate": 1e-3},
        "checkpoints": {"every_steps": 1},
    }
    (path / "recipe.yaml").write_text(parse_recipe(recipe | changes, where="test").rendered())
    run.model_config.write_bytes(config_json)
    save_step(run, 3, params)
    return run


def save_step(run: RunFolder, step: int, params) -> None:
    checkpoints = CheckpointWriter(run.checkpoints, keep=9)
    state = {"params": params, "optimizer": {"mu": params}, "step": jnp.int32(step)}
    checkpoints.save(step, state=state, metadata={"total_steps": 9, "metrics": {}})
    checkpoints.close()


def run_of_folder(source: Path, path: Path, *, mesh=None, tokenizer: Path | None = None) -> RunFolder:
    """A run that holds the weights of a Hugging Face folder."""
    loaded = load_checkpoint(source, mesh=mesh or one_device())
    return as_run(path, loaded.params, start=source, config_json=loaded.config_json, tokenizer=tokenizer)
