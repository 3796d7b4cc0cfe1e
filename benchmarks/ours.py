"""Our side of the benchmarks, timed in a process of its own as the peers are; prints one JSON line."""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import time
from pathlib import Path

import jax
import numpy as np

from benchmarks.scoring import score_requests
from socsci_jax.compilation import set_up_compiler
from socsci_jax.data.loader import PlannedRows, batches
from socsci_jax.data.plan import Lengths
from socsci_jax.data.shards import TreeShards
from socsci_jax.training.optimizer import make_optimizer
from socsci_jax.training.prepare import prepare
from socsci_jax.training.program import batch_plan, step_program
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.recipe_files import parse_recipe
from socsci_jax.training.run import software_versions
from socsci_jax.training.start import first_state, start_params

WARMUP_STEPS = 2


def train(a: argparse.Namespace) -> dict:
    """Steps of a recipe as the training loop takes them: its plan, loader, program and donated state."""
    recipe = _recipe(a)
    # Of an earlier measurement, perhaps of another batch.
    shutil.rmtree(recipe.output, ignore_errors=True)
    prepared = prepare(recipe)
    shards, config, mesh = prepared.shards, prepared.config, prepared.mesh
    plan = batch_plan(recipe, shards.lengths)
    source = PlannedRows(
        shards,
        plan,
        steps=WARMUP_STEPS + a.steps,
        micro_batches=a.micro_batches,
        own=slice(0, a.rows // a.micro_batches),
    )
    optimizer = make_optimizer(recipe.optimizer, total_steps=10_000)
    step = step_program(recipe, config, optimizer)
    seconds, responses, compile_seconds = [], [], 0.0
    with jax.set_mesh(mesh):
        start = start_params(recipe, config, mesh)
        state = first_state(recipe, config, optimizer, mesh, start)
        del start
        clock = time.perf_counter()
        for batch in batches(source, first_step=0):
            number = batch.step
            state, metrics = step(state, jax.device_put(batch.arrays, prepared.batch_sharding))
            loss = float(metrics["loss"])
            now = time.perf_counter()
            if number == 0:
                compile_seconds = now - clock
            if number >= WARMUP_STEPS:
                seconds.append(now - clock)
                rows = plan.batch(number)
                responses.append(sum(int(_responses(shards)[row.branch].sum()) for row in rows))
            clock = time.perf_counter()
    # Of the whole epoch: single steps hold different numbers of responses.
    epoch = int(_responses(shards).sum())
    per_response = plan.steps(1) * a.rows * a.tokens_per_row / epoch
    least = least_tokens(shards.lengths) / epoch
    return {
        "peer": "socsci_jax",
        "mode": f"sharing {a.sharing}, {a.branches_per_tree} a tree",
        "seconds_per_step": round(float(np.median(seconds)), 4),
        "responses_per_step": round(float(np.mean(responses)), 1),
        "responses_per_second": round(sum(responses) / sum(seconds), 2),
        "first_step_seconds": round(compile_seconds, 1),
        "tokens_per_response": round(per_response, 2),
        "least_tokens_per_response": round(least, 2),
        "times_least": round(per_response / least, 3),
        "padding": round(plan.padding_share(), 4),
        "last_loss": round(loss, 4),
    }


def _recipe(a: argparse.Namespace) -> Recipe:
    folder = Path(a.workload)
    return parse_recipe(
        {
            "name": "benchmark",
            "hardware": "1xcpu",
            "output": str(folder / "runs" / "-".join(map(str, (a.sharing, a.branches_per_tree, a.rows)))),
            "model": {
                "init_from": str(folder / "model"),
                "param_dtype": a.dtype,
                "compute_dtype": a.dtype,
                "remat": a.remat,
            },
            "data": {"store": str(folder / "store"), "split": "main", "sharing": a.sharing},
            "batch": {
                "rows": a.rows,
                "micro_batches": a.micro_batches,
                "tokens_per_row": a.tokens_per_row,
                "branches_per_tree": a.branches_per_tree,
            },
            "optimizer": {"epochs": 1, "learning_rate": 1e-5, "weight_decay": 0.1, "warmup_ratio": 0.0},
            "checkpoints": {"every_steps": 1_000_000},
        },
        where="benchmark",
    )


def least_tokens(lengths: Lengths) -> int:
    """Every prefix once, every branch of it (with merging: every distinct person) whole and once, nothing padded."""
    return int(lengths.prefix_tokens.sum() + lengths.branch_tokens.sum())


def _responses(shards: TreeShards) -> np.ndarray:
    return shards.branch_index["responses"].to_numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=["train", "score"])
    parser.add_argument("--workload", required=True)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--sharing", default="all", choices=["all", "prefix"])
    parser.add_argument("--branches-per-tree", type=int, default=64)
    parser.add_argument("--tokens-per-row", type=int, default=8192)
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--micro-batches", type=int, default=1)
    parser.add_argument("--remat", default="none")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--data", default="score-few-400.npz")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--first-token", action="store_true", help="only the first token of the answers")
    parser.add_argument(
        "--distinct", action="store_true", help="of people with equal item and persona only the first"
    )
    parser.add_argument("--dump")
    a = parser.parse_args()
    set_up_compiler()
    measured = {"train": train, "score": score_requests}[a.task](a)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({**measured, "dtype": a.dtype, "peak_rss_mb": peak, "versions": software_versions()}))


if __name__ == "__main__":
    main()
