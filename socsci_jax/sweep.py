"""The data-scaling curve: one recipe trained on growing shares of the training part, each run evaluated.

DIR/share-S-seed-K/ holds one run: `run/` (training), `predictions.parquet`, `evaluation/`; DIR itself the table
and the plot of all of them.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.evaluation.evaluate_files import evaluate_files
from socsci_jax.evaluation.sweep_report import write_sweep
from socsci_jax.evaluation.sweep_table import Point, distances_of, sweep_table
from socsci_jax.model_io import open_model
from socsci_jax.simulation.simulate import simulate
from socsci_jax.studies.predictions import read_metadata
from socsci_jax.studies.splits import Split, Subset, SubsetUnit
from socsci_jax.studies.store import StudyStore
from socsci_jax.training.loop import train
from socsci_jax.training.prepare import recipe_mesh
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.recipe_files import parse_recipe
from socsci_jax.wording import counted

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Run:
    """One run that is to be made; `units` and `responses` count what it is trained on."""

    folder: Path
    recipe: Recipe
    subset: Subset
    units: int
    responses: int

    @property
    def predictions(self) -> Path:
        return self.folder / "predictions.parquet"


def sweep(
    recipe: Recipe,
    *,
    of: str,
    shares: Sequence[float],
    seeds: Sequence[int],
    out: Path,
    minimum_n: int = 10,
    command: str,
) -> pl.DataFrame:
    """Trains, simulates and evaluates every share with every seed; returns the table that is written to `out`.

    A seed is that of the subset and of the training.  Runs whose predictions are there already are not trained
    again, one that was stopped resumes.  Evaluations rest on the same resamples in all runs.
    Raises InputError, before anything is trained, for what cannot be swept, and as `train` does.
    """
    store = StudyStore(recipe.data.store)
    split = Split.load(store, recipe.data.split)
    split.pairs()  # fails before anything is trained
    runs = _planned(recipe, store, split, of=of, shares=shares, seeds=seeds, out=out)
    points = []
    for number, run in enumerate(runs, start=1):
        logger.info(
            f"{number}/{len(runs)}  share {run.subset.share:g}, seed {run.subset.seed}: {run.units:,} {of}, "
            f"{counted(run.responses, 'response')}"
        )
        if _has_predictions(run, store, split):
            logger.info(f"     predictions are there already: {run.predictions}")
        else:
            _train_and_simulate(run, store, split, command=command)
        evaluation = evaluate_files(
            run.predictions, store.path, run.folder / "evaluation", minimum_n=minimum_n
        )
        points.append(
            Point(
                share=run.subset.share,
                seed=run.subset.seed,
                units=run.units,
                responses=run.responses,
                distances=distances_of(evaluation),
            )
        )
    table = sweep_table(points, of=of)
    write_sweep(table, out)
    return table


def _planned(
    recipe: Recipe,
    store: StudyStore,
    split: Split,
    *,
    of: str,
    shares: Sequence[float],
    seeds: Sequence[int],
    out: Path,
) -> list[_Run]:
    if of not in get_args(SubsetUnit):
        raise InputError(f"shares are taken of {', '.join(get_args(SubsetUnit))}, not of {of!r}.")
    if recipe.data.subset is not None:
        raise InputError("data.subset: a sweep sets it for each of its runs; remove it from the recipe.")
    for name, values in (("shares", shares), ("seeds", seeds)):
        if len(set(values)) < max(1, len(values)):
            raise InputError(f"{name} {' '.join(map(str, values))}: give at least one, and each once.")
    for share in shares:
        if not 0 < share <= 1:
            raise InputError(f"shares: {share:g} is not allowed; a share lies above 0 and is at most 1.")
    training = split.training_responses(exclude=recipe.data.exclude_studies)
    runs = []
    for share in sorted(shares):
        for seed in seeds:
            subset = Subset(of=of, share=share, seed=seed)
            taken = subset.take(training)
            folder = out / f"share-{share:g}-seed-{seed}"
            tree = recipe.model_dump(mode="json")
            tree |= {"name": f"{recipe.name}-{folder.name}", "output": str(folder / "run"), "seed": seed}
            tree["data"]["subset"] = dataclasses.asdict(subset)
            runs.append(
                _Run(
                    folder=folder,
                    recipe=parse_recipe(tree, where=str(folder)),
                    subset=subset,
                    units=taken.select(subset.columns).n_unique(),
                    responses=taken.height,
                )
            )
    return runs


def _has_predictions(run: _Run, store: StudyStore, split: Split) -> bool:
    """Whether this very recipe has been trained and simulated on this store and split."""
    if not run.predictions.is_file():
        return False
    metadata = read_metadata(run.predictions)
    made_from = (metadata["training"]["recipe_hash"], metadata["store_hash"], metadata["split_hash"])
    return made_from == (run.recipe.digest, store.content_hash, split.content_hash)


def _train_and_simulate(run: _Run, store: StudyStore, split: Split, *, command: str) -> None:
    train(run.recipe)
    model = open_model(str(run.recipe.output), mesh=recipe_mesh(run.recipe.parallelism))
    simulate(
        model,
        store,
        split,
        out=run.predictions,
        metadata={"command": command},
    )
