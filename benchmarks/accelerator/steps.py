"""Training steps of published shapes with random weights, on rows of real prompt trees."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.accelerator import planned, profiles
from benchmarks.accelerator.cases import Case, config_of, recipe_of
from benchmarks.accelerator.failures import failure
from benchmarks.workload import workload
from socsci_jax.data.loader import PlannedRows
from socsci_jax.data.plan import BatchPlan
from socsci_jax.data.shards import TreeShards
from socsci_jax.data.tokenizer_loading import load_tokenizer
from socsci_jax.models.attention_choice import CHOICE, Heads, attention_for
from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.sharding import make_mesh, micro_batch_sharding
from socsci_jax.training.flops import step_flops
from socsci_jax.training.inputs import load_inputs
from socsci_jax.training.optimizer import make_optimizer
from socsci_jax.training.program import step_program
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.start import first_state, start_params

WORK = Path("runs/benchmarks")
WARMUP, TIMED, PROFILED = 2, 8, 2


def measured(case: Case, *, tiny: bool) -> dict[str, Any]:
    """Milliseconds a step, tokens and responses a second, share of the peak's formula, bytes at the peak, and where the
    time goes."""
    if case.attention:
        os.environ[CHOICE] = case.attention
    folder = workload(WORK, shape="tiny", source="synthetic", tokenizer=None)
    recipe = recipe_of(case, folder, tiny=tiny)
    config = config_of(case, recipe, tiny=tiny)
    shards = load_inputs(recipe).shards(load_tokenizer(folder / "tokenizer"))
    timed = 2 if tiny else TIMED
    plan, source = planned_rows(shards, recipe, case, steps=WARMUP + timed + PROFILED)
    taken, same_bits = _taken(recipe, config, source)
    responses = np.mean([_responses(shards, plan, step) for step in range(WARMUP, WARMUP + timed)])
    flops = step_flops(recipe, config, plan.shape, keys=_keys(source))
    return {
        "ms_per_row": taken.seconds * 1e3,
        "tokens_per_second": recipe.batch.tokens_per_row / taken.seconds,
        "responses_per_second": responses / taken.seconds,
        "tflops_by_formula": flops / taken.seconds / 1e12,
        "attention": attention_for(Heads.of(config, recipe.model.compute_dtype)).name,
        "same_bits": same_bits,
        "compile_seconds": taken.compile_seconds,
        "begun_bytes": taken.begun_bytes,
        "peak_bytes": _peak_bytes(),
        "program_bytes": taken.program_bytes,
        **({"planned_bytes": planned.peak_of(case, plan.shape, folder, tiny=tiny)} if case.planned else {}),
        "losses": taken.losses,
        "profile": taken.profile,
    }


def _taken(recipe: Recipe, config: DecoderConfig, source: PlannedRows) -> tuple[Taken, bool | str]:
    """With the promise of the same bits if its program can be compiled and run here, else without, and why."""
    try:
        return take(recipe, config, source), recipe.same_bits
    except Exception as error:
        told = failure(error)
        if not recipe.same_bits or "failed" not in told:
            raise
    without = recipe.model_copy(update={"same_bits": False})
    return take(without, config, source), f"given up: {told['failed'][:300]}"


@dataclasses.dataclass(frozen=True)
class Taken:
    """Some steps from the seed's start: their losses, and seconds of a step once it is warm.

    `begun_bytes` is the device's peak before the first step is compiled, `program_bytes` the compiler's own account; None
    where the device does not say.
    """

    losses: list[float]
    seconds: float
    compile_seconds: float
    begun_bytes: int | None
    program_bytes: int | None
    profile: list[tuple[str, float, float]]


def take(recipe: Recipe, config: DecoderConfig, source: PlannedRows, *, profiled: int = PROFILED) -> Taken:
    """Takes every step of the source on one device: some to warm up, most without waiting in between, the last `profiled`
    of them watched."""
    mesh = make_mesh(data=1, fsdp=1, tensor=1, devices=jax.devices()[:1])
    optimizer = make_optimizer(recipe.optimizer, total_steps=1000)
    sharding = micro_batch_sharding(mesh, rows=recipe.batch.rows)
    losses = []
    with jax.set_mesh(mesh):
        start = start_params(recipe, config, mesh)
        state = first_state(recipe, config, optimizer, mesh, start)
        frozen = start if config.adapter is not None else None
        del start
        batches = jax.block_until_ready(
            [jax.device_put(source[step], sharding) for step in range(len(source))]
        )
        begun_bytes, begun = _peak_bytes(), time.perf_counter()
        step = step_program(recipe, config, optimizer).lower(state, batches[0], frozen).compile()
        compile_seconds = time.perf_counter() - begun

        def run(some: list[dict[str, jax.Array]]) -> float:
            nonlocal state
            begun = time.perf_counter()
            for arrays in some:
                state, metrics = step(state, arrays, frozen)
                losses.append(metrics["loss"])
            jax.block_until_ready(state)
            return (time.perf_counter() - begun) / len(some)

        last = len(batches) - profiled
        run(batches[:WARMUP])
        seconds = run(batches[WARMUP:last])
        profile = profiles.of(lambda: run(batches[last:]), times=profiled) if profiled else []
    return Taken(
        [float(loss) for loss in losses],
        seconds,
        compile_seconds,
        begun_bytes,
        _account(step),
        profile,
    )


def _peak_bytes() -> int | None:
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def _account(step: jax.stages.Compiled) -> int | None:
    """The bytes that the compiler says the program holds at its peak."""
    said = step.memory_analysis()
    if said is None:
        return None
    new = said.output_size_in_bytes - said.alias_size_in_bytes
    return int(said.argument_size_in_bytes + said.temp_size_in_bytes + new)


def planned_rows(
    shards: TreeShards, recipe: Recipe, case: Case, *, steps: int
) -> tuple[BatchPlan, PlannedRows]:
    batch = recipe.batch
    plan = BatchPlan(
        shards.lengths.plain,
        rows=batch.rows,
        tokens_per_row=batch.tokens_per_row,
        branches_per_tree=1 if case.flat else batch.branches_per_tree,
        seed=0,
    )
    return plan, PlannedRows(shards, plan, steps=steps, micro_batches=1, own=slice(0, batch.rows))


def _responses(shards: TreeShards, plan: BatchPlan, step: int) -> int:
    of_branch = shards.branch_index["responses"].to_numpy()
    return sum(int(of_branch[row.branch].sum()) for row in plan.batch(step))


def _keys(source: PlannedRows) -> float:
    """Mean number of tokens that a token of the first row sees."""
    end = source[0]["end"].reshape(-1, source[0]["end"].shape[-1])
    seen = np.maximum(end - np.arange(end.shape[-1]), 0)
    return float(seen.sum() / end.size)
