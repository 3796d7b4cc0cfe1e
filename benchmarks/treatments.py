"""Objectives that see treatments compared with those that do not, on invented studies with known effects.

python -m benchmarks.treatments --studies 200 --people 40 60 --epochs 3 --seeds 0 1 2     # the full comparison: hours
python -m benchmarks.treatments --studies 12 --people 6 8 --epochs 1 --seeds 0            # a look, in minutes
python -m benchmarks.treatments --studies 200 --people 16 24 --epochs 2 --effects 0       # nothing is to be found

What each side and seed achieved is a file below results/, and is not measured again.

Random weights, the quickstart's decoder.  Every side takes as many steps of as many rows as sft.  "permuted" trains on
answers whose arms are shuffled within each outcome: it must learn no effect; its r is what chance gives.  True means come from the generator; both sides are centered within outcomes.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from benchmarks.objectives import of_steps, planned
from benchmarks.options import options_of
from benchmarks.table import measured_once
from data_pipelines.synthetic.designs import SyntheticConfig
from data_pipelines.synthetic.studies import build
from socsci_jax.compilation import set_up_compiler
from socsci_jax.model_io import open_model
from socsci_jax.quickstart import RECIPE
from socsci_jax.simulation.simulate import simulate
from socsci_jax.simulation.two_parts import simulate_two_parts
from socsci_jax.studies.split_making import make_split
from socsci_jax.studies.splits import Split
from socsci_jax.studies.store import StudyStore
from socsci_jax.studies.store_builder import StoreBuilder
from socsci_jax.training.effect_metrics import effect_metrics
from socsci_jax.training.loop import train
from socsci_jax.training.prepare import prepare
from socsci_jax.training.program import batch_plan
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.recipe_files import parse_recipe

PARTS = ("unseen_conditions", "unseen_studies")
# Of every side, so that all see equally many tokens a step.
BATCH = {"rows": 4, "tokens_per_row": 4096, "branches_per_tree": 8}


def _mixed(kind: str, weight: float) -> dict:
    return {"kind": kind, "mixed_with": "sft", "effects": {"weight": weight}}


# Side -> block `objective` of its recipe.
SIDES: dict[str, dict] = {
    "sft": {"kind": "sft"},
    "soft": {"kind": "soft"},
    "sft + 10 contrast": _mixed("contrast", 10.0),
    "sft + 100 profiled": _mixed("profiled", 100.0),
    "profiled alone": {"kind": "profiled"},
    "permuted, sft + 10 contrast": _mixed("contrast", 10.0),
}
# Levels of sft, effects of the other; kappa from validation.
TWO_PARTS = {
    "two parts: sft, profiled alone": "profiled alone",
    "two parts: sft, sft + 10 contrast": "sft + 10 contrast",
}
SHOWN = {
    "r": "r",
    "rmse": "RMSE / no effect",
    "spread": "spread",
    "invented": "SD of effects",
    "wasserstein": "W to truth",
}


def main() -> None:
    options = options_of(__doc__)
    options.add_argument("--studies", type=int, default=200)
    options.add_argument("--people", type=int, nargs=2, default=(40, 60), help="fewest and most in an arm")
    options.add_argument(
        "--effects", type=float, default=1.0, help="factor on all effects; 0 for none at all"
    )
    options.add_argument("--epochs", type=float, default=3)
    options.add_argument("--seeds", type=int, nargs="+", default=[0])
    options.add_argument("--only", nargs="+", choices=[*SIDES, *TWO_PARTS], default=[*SIDES, *TWO_PARTS])
    options.add_argument("--work", type=Path, default=Path("runs/benchmarks/treatments"))
    a = options.parse_args()
    set_up_compiler()
    rows = [row for seed in a.seeds for side in a.only for row in _of_side(a, side, seed)]
    for part in PARTS:
        table = Table(*("", *SHOWN.values(), "seeds"), title=f"{part}: means over seeds, and each seed's")
        for (side,), of in pl.DataFrame(rows).filter(part=part).group_by("side", maintain_order=True):
            cells = (f"{of[key].mean():.3f} ({', '.join(f'{v:.3f}' for v in of[key])})" for key in SHOWN)
            table.add_row(side, *cells, str(of.height))
        Console(width=200).print(table)


def _of_side(a: argparse.Namespace, side: str, seed: int) -> list[dict]:
    """What a side of one seed achieved, a row a part: from results/ if it is there."""
    settings = {"people": list(a.people), "effects": a.effects, "epochs": a.epochs, "side": SIDES.get(side)}
    name = f"treatments-{a.studies}-{a.effects:g}/seed{seed}-{side_folder(side)}"
    measured = measured_once(name, settings, lambda: {"parts": _measured(a, side, seed)})
    return [{"side": side, "seed": seed, **row} for row in measured["parts"]]


def _measured(a: argparse.Namespace, side: str, seed: int) -> list[dict]:
    work = a.work / f"{a.studies}-{a.people[0]}-{a.people[1]}-{a.effects:g}-{a.epochs:g}-{seed}"
    store = _store(work / "store", a, seed)
    split = Split.load(store, "main")
    predictions = work / f"{side_folder(side)}.parquet"
    begun = time.monotonic()
    if not predictions.is_file():
        if side in TWO_PARTS:
            models = [open_model(str(_trained(a, work, store, of, seed))) for of in ("sft", TWO_PARTS[side])]
            kappa = simulate_two_parts(*models, store, split, out=predictions, kappa=None, parts=PARTS)
            print(f"seed {seed}, {side}: kappa {kappa:.2f}", file=sys.stderr, flush=True)
        else:
            model = open_model(str(_trained(a, work, store, side, seed)))
            simulate(model, store, split, out=predictions, parts=PARTS)
    print(f"seed {seed}, {side}: {(time.monotonic() - begun) / 60:.1f} minutes", file=sys.stderr, flush=True)
    return _metrics(predictions, store, split, pl.read_parquet(store.path / "truth.parquet"))


def _trained(a: argparse.Namespace, work: Path, store: StudyStore, side: str, seed: int) -> Path:
    """The run of a side, of as many steps as sft takes; trained now unless it is there."""
    sft = _recipe(a, store, work / side_folder("sft"), seed, SIDES["sft"])
    steps = batch_plan(sft, prepare(planned(sft)).shards.lengths).steps(a.epochs)
    if side.startswith("permuted"):
        store = permuted_answers(store, work / "permuted", seed)
        _split(store, seed)
    output = work / side_folder(side)
    train(of_steps(_recipe(a, store, output, seed, SIDES[side]), steps))
    return output


def side_folder(side: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in side)


def _store(folder: Path, a: argparse.Namespace, seed: int) -> StudyStore:
    if not (folder / "store.json").is_file():
        config = SyntheticConfig(
            n_studies=a.studies, participants_per_condition=tuple(a.people), seed=seed, effects=a.effects
        )
        build(folder, config=config, command="benchmark")
    store = StudyStore(folder)
    _split(store, seed)
    return store


def _split(store: StudyStore, seed: int) -> None:
    if not (store.path / "splits" / "main.parquet").is_file():
        make_split(store, name="main", seed=seed, studies=0.2, conditions=0.25, validation=0.1).save()


def permuted_answers(store: StudyStore, folder: Path, seed: int) -> StudyStore:
    """The same store, where the people of an outcome answered arms drawn at random."""
    if not (folder / "store.json").is_file():
        rng = np.random.default_rng([seed, 7])
        builder = StoreBuilder(
            attributes=store.attributes, source="permuted", license="CC0", command="benchmark"
        )
        for study_id, title in store.studies.select("study_id", "title").iter_rows():
            builder.add_study(study_id, title=title)
        for item in store.item_by_id.values():
            builder.add_item(item)
        for row in store.participants.select("study_id", "participant_id", "attributes").iter_rows():
            builder.add_participant(*row)
        answers = store.responses.join(store.items.select("item_id", "study_id", "outcome"), on="item_id")
        for _, of in answers.sort("study_id", "outcome", "item_id", "sample_id").group_by(
            "study_id", "outcome", maintain_order=True
        ):
            values = of["value"].to_numpy()[rng.permutation(of.height)]
            keys = of.select("item_id", "participant_id", "sample_id").iter_rows()
            for (item_id, person, sample), value in zip(keys, values):
                builder.add_response(item_id, person, float(value), sample_id=sample)
        builder.write(folder)
    return StudyStore(folder)


def _recipe(a: argparse.Namespace, store: StudyStore, output: Path, seed: int, objective: dict) -> Recipe:
    contrasts = {"contrast_rows": BATCH["rows"] // 2} if "mixed_with" in objective else {}
    recipe = RECIPE | {
        "output": str(output.resolve()),
        "seed": seed,
        "data": {"store": str(store.path.resolve()), "split": "main"},
        "batch": BATCH | contrasts,
        "optimizer": RECIPE["optimizer"] | {"epochs": a.epochs},
        "objective": objective,
    }
    return parse_recipe(recipe, where="benchmark")


def _metrics(predictions: Path, store: StudyStore, split: Split, truth: pl.DataFrame) -> list[dict]:
    """Of each part: r and RMSE of arms' means against the truth, SD of predicted effects (on the scale's range) and that
    over the true ones', W to the truth."""
    frame = pl.read_parquet(predictions).select("item_id", "participant_id", "levels", "probs")
    parts = split.pairs(*PARTS).frame.select("item_id", "participant_id", "part")
    true = {row[0]: row[1:] for row in truth.select("item_id", "outcome", "study_id", "probs").iter_rows()}
    rows = []
    for (part, item_id), of in frame.join(parts, on=["item_id", "participant_id"]).group_by(
        "part", "item_id"
    ):
        levels = np.array(of["levels"][0])
        position = (levels - levels[0]) / (levels[-1] - levels[0])
        predicted = np.array(of["probs"].to_list()).mean(axis=0)
        outcome, study, probs = true[item_id]
        gap = np.abs(np.cumsum(predicted - np.array(probs)))[:-1] @ np.diff(position)
        rows.append((part, f"{study}/{outcome}", predicted @ position, np.array(probs) @ position, gap))
    columns = ["part", "outcome", "predicted", "true", "wasserstein"]
    items = pl.DataFrame(rows, schema=columns, orient="row")
    measures = []
    for part in PARTS:
        of = items.filter(part=part)
        arrays = [of[name].to_numpy() for name in ("predicted", "true", "outcome")]
        metrics = effect_metrics(*arrays)
        deviations = of.select(
            (pl.col(name) - pl.col(name).mean()).over("outcome").alias(name) for name in ("predicted", "true")
        )
        true_sd = float(deviations["true"].std())
        spread = float(deviations["predicted"].std()) / true_sd if true_sd > 1e-9 else float("nan")
        measures.append(
            {
                "part": part,
                "r": metrics.get("effect_r", float("nan")),
                "rmse": metrics.get("effect_rmse", float("nan")),
                "invented": float(deviations["predicted"].std()),
                "spread": spread,
                "wasserstein": float(of["wasserstein"].mean()),
            }
        )
    return measures


if __name__ == "__main__":
    main()
