"""From a predictions table and a study store to the evaluation table.

Each part of the split is evaluated by itself.  Figures are computed per item, averaged within a study, then
over studies, and their intervals resample studies.  Beside the model stand predictors that need none.
Items whose levels have no order go to `classification.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from socsci_jax import __version__
from socsci_jax.errors import InputError
from socsci_jax.evaluation import classification
from socsci_jax.evaluation.averages import by_figure, distribution_table, figure_rows, validity_rows
from socsci_jax.evaluation.baselines import Baselines
from socsci_jax.evaluation.cells import PredictionIndex
from socsci_jax.evaluation.conditions import (
    PERMUTATIONS,
    condition_mean_table,
    condition_means,
    contrast_table,
    effect_rows,
    true_effect_rows,
)
from socsci_jax.evaluation.intervals import RESAMPLES, Estimate
from socsci_jax.evaluation.items import HALVES, ItemFigures, item_figures
from socsci_jax.evaluation.parts import Part, find_parts, left_out_table
from socsci_jax.evaluation.table import Evaluation, frame_of, row
from socsci_jax.studies.predictions import Predictions, read_predictions
from socsci_jax.studies.splits import TRAIN, Split
from socsci_jax.studies.store import StudyStore


def evaluate_files(
    predictions_path: str | Path,
    store_path: str | Path,
    out_dir: str | Path,
    *,
    split_name: str | None = None,
    seed: int = 0,
    minimum_n: int = 10,
) -> Evaluation:
    """Evaluates a predictions file and writes tables and report to `out_dir`; nothing is left on failure.

    The split is `split_name`, else the one named in the file's metadata, else none: then all answers are one
    part called "all".  Raises InputError for whatever cannot be read or does not fit together.
    """
    from socsci_jax.evaluation.report import write_report  # matplotlib is slow to import

    store = StudyStore(store_path)
    predictions = read_predictions(predictions_path, store)
    named = predictions.metadata.get("split")
    if split_name is None and named is not None and not isinstance(named, str):
        raise InputError(
            f"{predictions_path}: the metadata's 'split' is {named!r}, not a name; pass the split's name instead."
        )
    name = split_name or named
    notes = []
    if name is None:
        labeled = label_without_split(store)
        notes.append(
            "No split was named: all answers are judged together, and nothing here says whether the model "
            "had seen them."
        )
    else:
        labeled = Split.load(store, name).label(store)
        if named not in (None, name):
            notes.append(
                f"The predictions were made under split {named!r} and are judged under {name!r}: answers that "
                "count as unseen here may have been used in training."
            )
    evaluation = evaluate(predictions, store, labeled, seed=seed, minimum_n=minimum_n)
    settings = {**evaluation.metadata["evaluation"], "predictions": str(predictions_path), "split": name}
    evaluation = dataclasses.replace(
        evaluation,
        notes=(*notes, *evaluation.notes),
        metadata={**evaluation.metadata, "evaluation": settings},
    )
    write_report(evaluation, out_dir)
    return evaluation


def label_without_split(store: StudyStore) -> pl.DataFrame:
    """The responses with study_id, condition, outcome and one part, "all"."""
    columns = store.items.select("item_id", "study_id", "condition", "outcome")
    return store.responses.join(columns, on="item_id", how="left").with_columns(part=pl.lit("all"))


def evaluate(
    predictions: Predictions,
    store: StudyStore,
    labeled: pl.DataFrame,
    *,
    seed: int = 0,
    minimum_n: int = 10,
) -> Evaluation:
    """Judges predictions against the answers in `labeled`, as `Split.label` gives them, part by part.

    Only answers that have a prediction are used, for the model and for every other predictor.  Items with
    fewer than `minimum_n` of them stay in the table but enter no average.  Raises InputError if no answer has
    a prediction.
    """
    is_nominal = pl.col("item_id").is_in([i for i, item in store.item_by_id.items() if item.scale.nominal])
    ordered, nominal = labeled.filter(~is_nominal), labeled.filter(is_nominal)
    index = PredictionIndex(predictions)
    found = find_parts(ordered, store, index, minimum_n=minimum_n, seed=seed)
    coded = find_parts(nominal, store, index, minimum_n=minimum_n, seed=seed)
    parts = [part for part in found if part.cells]
    coding = classification.judge(coded, nominal.filter(pl.col("part") == TRAIN))
    if not parts and not coding.parts:
        raise InputError(
            f"not one answer of {store.path} has a prediction on a scale of levels; predict items and participants "
            "of this store that have answers."
        )
    baselines = Baselines.of(ordered, store)
    truth_path = store.path / "truth.parquet"
    truth = pl.read_parquet(truth_path) if truth_path.is_file() else None

    rows, counts = [], {}
    distributions, means_of_conditions, contrasts = [], [], []
    for part in parts:
        items = [item_figures(cell, baselines, rng=part.rng(cell.item_id)) for cell in part.cells]
        values = by_figure(items)
        means = condition_means(part, items)
        rows += figure_rows(part, values) + validity_rows(part) + effect_rows(part, items, means)
        if truth is not None:
            rows += true_effect_rows(part, items, truth)
        # Also the order of their rows: what was met while the cells were joined comes first.
        counts[part.name] = {**part.counts, **_counts(part, items, baselines)}
        distributions.append(distribution_table(part, items, values))
        means_of_conditions.append(condition_mean_table(part, means))
        contrasts.append(contrast_table(part, means))
    rows += [
        row(f"count_{what}", "count", name, "all", Estimate(float(number)), n=number)
        for name, numbers in counts.items()
        for what, number in numbers.items()
    ]
    unused = _predictions_without_answer(predictions.frame, labeled)
    note = f"Not used, because the person did not answer the item: {unused:,} predictions."
    return Evaluation(
        frame=pl.concat([frame_of(rows), coding.frame]),
        counts=counts,
        notes=(note,) if unused else (),
        metadata={
            "predictions": dict(predictions.metadata),
            "evaluation": {
                "store": str(store.path),
                "store_hash": store.content_hash,
                "seed": seed,
                "minimum_n": minimum_n,
                "resamples": RESAMPLES,
                "halves": HALVES,
                "permutations": PERMUTATIONS,
                "software": f"socsci_jax {__version__}",
            },
        },
        distributions=_stacked(distributions),
        condition_means=_stacked(means_of_conditions),
        contrasts=_stacked(contrasts),
        left_out=left_out_table(found + coded, store),
        coding=coding,
    )


def _stacked(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """One table of all parts; without columns where there is none."""
    return pl.concat(frames) if frames else pl.DataFrame()


def _counts(part: Part, items: Sequence[ItemFigures], baselines: Baselines) -> dict[str, int]:
    averaged = part.averaged_c
    return {
        "studies": len(np.unique(part.study_c[averaged])),
        "items": int(averaged.sum()),
        "answers": int(part.n_c[averaged].sum()),
        "median_answers_per_item": int(np.median(part.n_c[averaged])) if averaged.any() else 0,
        "items_below_minimum_n": part.counts["items_below_minimum_n"],
        "items_not_levels": part.counts["items_not_levels"],
        "items_without_prediction": part.counts["items_without_prediction"],
        "items_without_probabilities": sum(cell.probs_nl is None for cell in part.cells),
        "items_where_all_answered_alike": sum(int((item.human_l > 0).sum() == 1) for item in items),
        "items_without_training_shape": sum(c.levels_l.size not in baselines.shapes for c in part.cells),
        "items_without_pooled_answers": sum("pooled" not in item.baselines for item in items),
        "answers_without_prediction": part.counts["answers_without_prediction"],
        "answers_off_scale": part.counts["answers_off_scale"],
        "draws": sum(cell.draws for cell in part.cells),
        "draws_off_scale": sum(cell.draws - cell.draws_valid for cell in part.cells),
    }


def _predictions_without_answer(frame: pl.DataFrame, labeled: pl.DataFrame) -> int:
    personal = frame.filter(pl.col("participant_id").is_not_null())
    key = ["item_id", "participant_id"]
    return personal.join(labeled.select(key).unique(), on=key, how="anti").height
