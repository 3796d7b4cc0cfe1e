"""What many branches a tree cost in quality: held-out loss after the same answers, for 1 to 64 branches per tree.

Every side trains recipes/tiny.yaml on the same share of an epoch with about the same number of answers in a step, so
that all take as many steps of the optimizer; they differ only in how many trees, and so how many items, a step holds.

python -m benchmarks.branches --source TESS_ARCHIVE [--epochs 0.25] [--branches 1 4 8 16 32 64]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table

import data_pipelines
from benchmarks.options import options_of
from benchmarks.table import save
from socsci_jax.compilation import set_up_compiler
from socsci_jax.data.plan import BatchPlan
from socsci_jax.model_io import open_model
from socsci_jax.simulation.simulate import simulate
from socsci_jax.studies.layouts import STUDY_FIRST
from socsci_jax.studies.split_making import make_split
from socsci_jax.studies.splits import Split
from socsci_jax.studies.store import StudyStore
from socsci_jax.training.loop import train
from socsci_jax.training.prepare import prepare
from socsci_jax.training.program import batch_plan
from socsci_jax.training.recipe_files import load_recipe

TOKENS_PER_ROW = 4096
PARTS = ("unseen_participants", "unseen_conditions")


def main() -> None:
    options = options_of(__doc__)
    options.add_argument("--source", default="synthetic", help="a TESS archive, or synthetic")
    options.add_argument("--work", type=Path, default=Path("runs/benchmarks/branches"))
    options.add_argument("--epochs", type=float, default=0.25)
    options.add_argument("--answers", type=int, default=256, help="answers in a step, about")
    options.add_argument("--branches", type=int, nargs="+", default=[1, 4, 8, 16, 32, 64])
    options.add_argument("--seeds", type=int, nargs="+", default=[0])
    a = options.parse_args()
    set_up_compiler()
    store = demonstration_or_archive(a.source, a.work)
    runs = []
    for seed in a.seeds:
        for branches in a.branches:
            runs.append(_trained(a, store, branches, seed))
            print(json.dumps(runs[-1]), file=sys.stderr, flush=True)
    columns = list(runs[0])
    table = Table(*columns, title="loss per answer (nats) on held-out parts")
    for row in runs:
        table.add_row(*(f"{v:.4f}" if isinstance(v, float) else str(v) for v in row.values()))
    Console(width=140).print(table)
    save(f"branches-{store.path.name}", {"runs": runs})


def demonstration_or_archive(source: str, work: Path) -> StudyStore:
    kind = "synthetic" if source == "synthetic" else "tess_archive"
    path = work / kind
    if (path / "store.json").is_file():
        return StudyStore(path)
    origin = "demonstration" if source == "synthetic" else source
    store = data_pipelines.build(kind, origin, path, command="benchmark")
    make_split(store, name="main", seed=0, studies=0.15, conditions=0.25, participants=0.1).save()
    return store


def _trained(a: argparse.Namespace, store: StudyStore, branches: int, seed: int) -> dict:
    output = a.work / f"{store.path.name}-{a.epochs}-{branches}-{seed}"

    def recipe(rows: int):
        settings = {
            "output": output.resolve(),
            "seed": seed,
            "data.store": store.path.resolve(),
            "data.sharing": "prefix",
            "batch.rows": rows,
            "batch.micro_batches": rows,
            "batch.tokens_per_row": TOKENS_PER_ROW,
            "batch.branches_per_tree": branches,
            "optimizer.epochs": a.epochs,
        }
        return load_recipe("recipes/tiny.yaml", [f"{key}={value}" for key, value in settings.items()])

    # How many answers a row holds is known once the prompts are tokenized.
    run_for_plan = recipe(1).model_copy(update={"output": output.with_name(output.name + "-plan").resolve()})
    shards = prepare(run_for_plan).shards
    plan = batch_plan(run_for_plan, shards.lengths)
    rows = max(1, round(a.answers * plan.steps(1) / shards.metadata["responses"]))
    clock = time.perf_counter()
    train(recipe(rows))
    seconds = time.perf_counter() - clock
    predictions = output / "predictions.parquet"
    split = Split.load(store, "main")
    simulate(open_model(str(output)), store, split, out=predictions, layout=STUDY_FIRST, parts=PARTS)
    return {
        "branches": branches,
        "seed": seed,
        "rows": rows,
        "steps": math.ceil(plan.steps(1) / rows * a.epochs),
        "trees in a step": round(rows * _trees_per_row(plan), 1),
        **held_out_loss(store, split, pl.read_parquet(predictions)),
        "training seconds": round(seconds),
    }


def _trees_per_row(plan: BatchPlan) -> float:
    steps = min(20, plan.steps(1))
    rows = [row for step in range(steps) for row in plan.batch(step)]
    return sum(int((row.shared == 0).sum()) for row in rows) / len(rows)


def held_out_loss(store: StudyStore, split: Split, predictions: pl.DataFrame) -> dict[str, float]:
    """Mean of -log P(answer), in nats, over the answers of each part."""
    probs = predictions.select("item_id", "participant_id", value="levels", prob="probs").explode(
        "value", "prob"
    )
    answers = split.label().select("item_id", "participant_id", "part", pl.col("value").cast(pl.Int64))
    scored = answers.join(probs, on=["item_id", "participant_id", "value"])
    means = scored.group_by("part").agg(loss=-pl.col("prob").log().mean()).sort("part")
    return dict(means.iter_rows())


if __name__ == "__main__":
    main()
