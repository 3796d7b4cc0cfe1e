"""What each objective gives on held-out people: distance, accuracy and spread, compared with sft at equal steps.

python -m benchmarks.objectives [--source TESS_ARCHIVE] [--epochs 3]

All sides start from the same random weights and take the same number of steps of the same number of tokens (soft and
wasserstein, whose trees hold all levels, see less of the data in them); dpo starts from sft's result for as many.  Differences to sft are paired by item, averaged within studies and then over them, with intervals over studies.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from benchmarks.branches import demonstration_or_archive
from benchmarks.options import options_of
from benchmarks.table import save
from socsci_jax.evaluation.intervals import estimate, mean_over, resample_counts
from socsci_jax.evaluation.metrics.distributions import histogram, wasserstein
from socsci_jax.evaluation.metrics.individuals import draw_accuracy, median_accuracy
from socsci_jax.model_export import export_run
from socsci_jax.model_io import open_model
from socsci_jax.quickstart import RECIPE
from socsci_jax.simulation.simulate import simulate
from socsci_jax.studies.layouts import STUDY_FIRST
from socsci_jax.studies.splits import Split
from socsci_jax.studies.store import StudyStore
from socsci_jax.training.loop import train
from socsci_jax.training.prepare import prepare
from socsci_jax.training.program import batch_plan
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.recipe_files import parse_recipe
from socsci_jax.training.validator import entropy_ratio

PARTS = ("unseen_participants", "unseen_conditions")


def main() -> None:
    options = options_of(__doc__)
    options.add_argument("--source", default="synthetic", help="a TESS archive, or synthetic")
    options.add_argument("--work", type=Path, default=Path("runs/benchmarks/objectives"))
    options.add_argument("--epochs", type=float, default=3)
    options.add_argument("--seed", type=int, default=0)
    a = options.parse_args()
    store = demonstration_or_archive(a.source, a.work)
    sides = {
        "sft": {},
        "soft": {"objective": {"kind": "soft"}},
        "wasserstein + sft": {"objective": {"kind": "wasserstein", "sft_share": 0.5}},
    }
    results = {name: _results(a, store, name, changes) for name, changes in sides.items()}
    started = a.work / f"{store.path.name}-{a.epochs}-{a.seed}-sft-exported"
    if not started.is_dir():
        export_run(_run_folder(a, store, "sft"), started)
    for beta in (0.1, 0.5):
        name = f"sft, then dpo (beta {beta})"
        changes = {
            "model": {"init_from": str(started)},
            "objective": {"kind": "dpo", "beta": beta},
            "optimizer": {"epochs": a.epochs, "learning_rate": 2e-4},
        }
        results[name] = _results(a, store, name, changes)
    found = []
    for part in PARTS:
        table = Table(
            "",
            "W",
            "W - sft's",
            "accuracy (draw)",
            "- sft's",
            "accuracy (median)",
            "- sft's",
            "entropy ratio",
        )
        base = results["sft"].filter(part=part)
        for name, frame in results.items():
            row = _compare(frame.filter(part=part), base, seed=a.seed)
            found.append({"part": part, "objective": name, **row})
            table.add_row(
                name,
                f"{row['wasserstein']:.4f}",
                _interval(row["wasserstein_difference"]),
                f"{row['accuracy']:.4f}",
                _interval(row["accuracy_difference"]),
                f"{row['median_accuracy']:.4f}",
                _interval(row["median_accuracy_difference"]),
                f"{row['entropy_ratio']:.3f}",
            )
        table.title = f"{part}, {base.height} items of {base['study_id'].n_unique()} studies"
        Console(width=150).print(table)
    save(f"objectives-{store.path.name}", {"results": found})


def _run_folder(a: argparse.Namespace, store: StudyStore, name: str) -> Path:
    plain = "".join(c if c.isalnum() else "-" for c in name)
    return a.work / f"{store.path.name}-{a.epochs}-{a.seed}-{plain}"


def _results(a: argparse.Namespace, store: StudyStore, name: str, changes: dict) -> pl.DataFrame:
    """One row an item and part: distance, accuracies, entropies."""
    output = _run_folder(a, store, name)
    recipe = RECIPE | {
        "output": str(output.resolve()),
        "seed": a.seed,
        "data": {"store": str(store.path.resolve()), "split": "main"},
        "optimizer": RECIPE["optimizer"] | {"epochs": a.epochs},
        **changes,
    }
    parsed = parse_recipe(recipe, where="benchmark")
    if name != "sft":
        steps = json.loads((_run_folder(a, store, "sft") / "metrics.jsonl").read_text().splitlines()[-1])[
            "step"
        ]
        parsed = of_steps(parsed, steps)
    train(parsed)
    predictions = output / "predictions.parquet"
    split = Split.load(store, "main")
    if not predictions.is_file():
        simulate(open_model(str(output)), store, split, out=predictions, layout=STUDY_FIRST, parts=PARTS)
    frame = pl.read_parquet(predictions).select("item_id", "participant_id", "levels", "probs")
    answers = split.label().select("item_id", "study_id", "participant_id", "part", answer="value")
    rows = []
    for (part, item_id), item in answers.join(frame, on=["item_id", "participant_id"]).group_by(
        "part", "item_id"
    ):
        levels = np.array(item["levels"][0])
        codes = np.searchsorted(levels, item["answer"].to_numpy())
        probs = np.array(item["probs"].to_list())
        human = histogram(codes, levels=len(levels))
        rows.append(
            {
                "part": part,
                "item_id": item_id,
                "study_id": item["study_id"][0],
                "wasserstein": float(wasserstein(probs.mean(axis=0), human, levels_l=levels)),
                "accuracy": float(draw_accuracy(probs, codes, levels_l=levels).mean()),
                "median_accuracy": float(median_accuracy(probs, codes, levels_l=levels).mean()),
                "entropy_ratio": entropy_ratio(probs.mean(axis=0), human, people=len(codes)),
            }
        )
    found = pl.DataFrame(rows).sort("part", "item_id")
    print(json.dumps({"objective": name, "items": found.height}), file=sys.stderr, flush=True)
    return found


def planned(recipe: Recipe) -> Recipe:
    """The same, to be prepared in another folder: what a run's folder is prepared for is what it trains."""
    return recipe.model_copy(update={"output": recipe.output.with_name(recipe.output.name + "-plan")})


def of_steps(recipe: Recipe, steps: int) -> Recipe:
    """The recipe with so many epochs that it takes `steps` steps."""
    plan = batch_plan(recipe, prepare(planned(recipe)).shards.lengths)
    optimizer = recipe.optimizer.model_copy(update={"epochs": steps / plan.steps(1)})
    return recipe.model_copy(update={"optimizer": optimizer})


def _compare(frame: pl.DataFrame, base: pl.DataFrame, *, seed: int) -> dict:
    names = ("wasserstein", "accuracy", "median_accuracy")
    found = {name: frame[name].mean() for name in names}
    found["entropy_ratio"] = frame["entropy_ratio"].drop_nans().median()
    both = frame.join(base, on="item_id", suffix="_base")
    counts = resample_counts(both["study_id"].n_unique(), rng=np.random.default_rng(seed))
    for name in names:
        of_study = (
            both.group_by("study_id").agg((pl.col(name) - pl.col(f"{name}_base")).mean()).sort("study_id")
        )
        values = of_study[name].to_numpy()
        difference = estimate(mean_over(counts, values), clusters=len(values))
        found[f"{name}_difference"] = [difference.value, difference.lo, difference.hi]
    return found


def _interval(difference: list[float]) -> str:
    value, lo, hi = difference
    return f"{value:+.4f} [{lo:+.4f}, {hi:+.4f}]"


if __name__ == "__main__":
    main()
