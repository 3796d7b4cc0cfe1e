"""Training steps of published shapes with random weights, on rows of real prompt trees."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.workload import workload
from socsci_jax.data.loader import PlannedRows
from socsci_jax.data.plan import BatchPlan
from socsci_jax.models.attention_choice import CHOICE
from socsci_jax.models.catalog import CATALOG
from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.sharding import make_mesh, micro_batch_sharding
from socsci_jax.training.flops import step_flops
from socsci_jax.training.optimizer import make_optimizer
from socsci_jax.training.prepare import Prepared, prepare
from socsci_jax.training.program import step_program
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.recipe_files import load_recipe, parse_recipe
from socsci_jax.training.start import first_state, start_params

WORK = Path("runs/benchmarks")
WARMUP, TIMED = 2, 8
# Instead of a published shape where only the way is tried.
TINY = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": 8192}
TINY |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One step: a row of 8,192 tokens, unless a recipe of the project says otherwise."""

    model: str
    remat: str = "none"
    lora: int = 0
    flat: bool = False  # nothing is shared: a tree a person
    lean: bool = False  # as the recipe for one device has it: bfloat16 throughout, factored second moment
    attention: str = ""  # another way than the device's own
    recipe: str = ""


def measured(case: Case, *, tiny: bool) -> dict[str, Any]:
    """Milliseconds a step, tokens and responses a second, share of the peak's formula, and bytes at the peak."""
    if case.attention:
        os.environ[CHOICE] = case.attention
    prepared, recipe, config = case_of(case, tiny=tiny)
    plan, source = planned(prepared, recipe, case, steps=WARMUP + (2 if tiny else TIMED))
    taken = take(recipe, config, source)
    timed = float(np.median(taken.seconds[WARMUP:]))
    responses = np.mean([_responses(prepared, plan, step) for step in range(WARMUP, len(taken.seconds))])
    tokens = recipe.batch.rows * recipe.batch.tokens_per_row
    statistics = jax.devices()[0].memory_stats() or {}
    return {
        "ms_per_row": timed * 1e3 / recipe.batch.rows,
        "tokens_per_second": tokens / timed,
        "responses_per_second": responses / timed,
        "tflops_by_formula": step_flops(recipe, config, plan.shape, keys=_keys(source)) / timed / 1e12,
        "first_step_seconds": taken.seconds[0],
        "peak_bytes": statistics.get("peak_bytes_in_use"),
        **({"planned_bytes": _planned_bytes(case.recipe)} if case.recipe else {}),
        "losses": taken.losses,
    }


@dataclasses.dataclass(frozen=True)
class Taken:
    """Some steps from the seed's start: the parameters after them, the loss and the seconds of each."""

    params: Any
    losses: list[float]
    seconds: list[float]


def take(recipe: Recipe, config: DecoderConfig, source: PlannedRows) -> Taken:
    """Takes every step of the source on one device, as training does, waiting for each."""
    mesh = make_mesh(data=1, fsdp=1, tensor=1, devices=jax.devices()[:1])
    optimizer = make_optimizer(recipe.optimizer, total_steps=1000)
    step = step_program(recipe, config, optimizer)
    losses, seconds = [], []
    with jax.set_mesh(mesh):
        start = start_params(recipe, config, mesh)
        state = first_state(recipe, config, optimizer, mesh, start)
        frozen = start if config.adapter is not None else None
        del start
        begun = time.perf_counter()
        for arrays in _batches(source, mesh, recipe):
            state, metrics = step(state, arrays, frozen)
            losses.append(float(metrics["loss"]))
            seconds.append(time.perf_counter() - begun)
            begun = time.perf_counter()
    return Taken(state.params, losses, seconds)


def case_of(case: Case, *, tiny: bool) -> tuple[Prepared, Recipe, DecoderConfig]:
    """The data of the workload, the recipe of the case, and the decoder's shape."""
    folder = workload(WORK, shape="tiny", source="synthetic", tokenizer=None)
    prepared = prepare(_data_recipe(folder, tokens=1024 if tiny else 8192))
    recipe = _recipe(case, folder, tokens=1024 if tiny else 8192)
    config = CATALOG[case.model]
    if tiny:
        config = dataclasses.replace(config, **TINY)
    return prepared, recipe, dataclasses.replace(config, adapter=recipe.adapter)


def _data_recipe(folder: Path, *, tokens: int) -> Recipe:
    return parse_recipe(
        {
            "name": "accelerator",
            "hardware": "1xcpu",
            "output": str(folder / "runs" / f"accelerator-{tokens}"),
            "model": {"init_from": str(folder / "model")},
            "data": {"store": str(folder / "store"), "split": "main"},
            "batch": {"rows": 1, "tokens_per_row": tokens, "branches_per_tree": 64},
            "optimizer": {"epochs": 1, "learning_rate": 1e-5},
            "checkpoints": {"every_steps": 1_000_000},
        },
        where="benchmark",
    )


def _recipe(case: Case, folder: Path, *, tokens: int) -> Recipe:
    """With the start `random`: its shape is given apart."""
    if case.recipe:
        given = load_recipe(Path("recipes") / f"{case.recipe}.yaml", [f"batch.tokens_per_row={tokens}"])
    else:
        lean = {"param_dtype": "bfloat16", "gradient_dtype": "bfloat16", "stochastic_rounding": True}
        frozen = {"param_dtype": "bfloat16"}
        model = {"compute_dtype": "bfloat16", "remat": case.remat}
        model |= lean if case.lean else frozen if case.lora else {}
        optimizer = {"second_moment": "factored", "momentum_dtype": "bfloat16"} if case.lean else {}
        base = _data_recipe(folder, tokens=tokens).model_dump(mode="json", exclude_none=True)
        base["model"] |= model
        base["optimizer"] |= optimizer
        base |= {"lora": {"rank": case.lora, "alpha": 2 * case.lora}} if case.lora else {}
        given = parse_recipe(base, where="benchmark")
    batch = given.batch.model_copy(update={"rows": 1, "micro_batches": 1})
    return given.model_copy(
        update={"model": given.model.model_copy(update={"init_from": "random"}), "batch": batch}
    )


def planned(prepared: Prepared, recipe: Recipe, case: Case, *, steps: int) -> tuple[BatchPlan, PlannedRows]:
    batch = recipe.batch
    plan = BatchPlan(
        prepared.shards.lengths.plain,
        rows=batch.rows,
        tokens_per_row=batch.tokens_per_row,
        branches_per_tree=1 if case.flat else batch.branches_per_tree,
        seed=0,
    )
    return plan, PlannedRows(prepared.shards, plan, steps=steps, micro_batches=1, own=slice(0, batch.rows))


def _batches(source: PlannedRows, mesh: jax.sharding.Mesh, recipe: Recipe) -> Iterator[dict[str, jax.Array]]:
    sharding = micro_batch_sharding(mesh, rows=recipe.batch.rows)
    for step in range(len(source)):
        yield jax.device_put(source[step], sharding)


def _responses(prepared: Prepared, plan: BatchPlan, step: int) -> int:
    of_branch = prepared.shards.branch_index["responses"].to_numpy()
    return sum(int(of_branch[row.branch].sum()) for row in plan.batch(step))


def _planned_bytes(recipe: str) -> int:
    """What `plan` says that the recipe holds at its peak, from processors alone."""
    code = (
        "from socsci_jax.feasibility.plan import make_plan, simulate_devices; "
        "from socsci_jax.training.recipe_files import load_recipe; "
        f"recipe = load_recipe('recipes/{recipe}.yaml'); simulate_devices(recipe.machine.devices); "
        "print(make_plan(recipe, recipe.machine).memory.peak)"
    )
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return int(done.stdout.split()[-1])


def _keys(source: PlannedRows) -> float:
    """Mean number of tokens that a token of the first row sees."""
    end = source[0]["end"].reshape(-1, source[0]["end"].shape[-1])
    seen = np.maximum(end - np.arange(end.shape[-1]), 0)
    return float(seen.sum() / end.size)


def trl(model: str, *, tiny: bool) -> dict[str, Any]:
    """TRL's SFTTrainer on the same prompts, set up as for GPUs: bfloat16, flash attention if it is installed."""
    from benchmarks.accelerator.simulated import peer_folder
    from benchmarks.table import peer

    folder = peer_folder(model, tiny=tiny)
    dtype, device = ("float32", "cpu") if jax.default_backend() == "cpu" else ("bfloat16", "cuda")
    options = ["--dtype", dtype, "--device", device, "--gradient-checkpointing"]
    options += ["--batch-size", 4 if tiny else 16, "--steps", 2 if tiny else 10]
    data = ["--model", folder, "--data", folder.parent / "train.npz"]
    return peer(sys.executable, "train.py", *data, *options, "--mode", "trl")
