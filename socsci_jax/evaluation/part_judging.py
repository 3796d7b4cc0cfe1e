"""One part of a split judged: the rows of every metric, and the tables that pictures are drawn from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from socsci_jax.evaluation.averaging import (
    PartValues,
    distribution_table,
    metric_rows,
    normalized_rows,
    part_values,
    quartile_rows,
    validity_rows,
)
from socsci_jax.evaluation.baselines import Baselines
from socsci_jax.evaluation.calibration import calibration
from socsci_jax.evaluation.cells import PredictionIndex
from socsci_jax.evaluation.choices import choice_rows
from socsci_jax.evaluation.condition_means import condition_means, contrast_table, mean_table
from socsci_jax.evaluation.controls import trained_controls, with_controls
from socsci_jax.evaluation.demographics import Demographics
from socsci_jax.evaluation.effects import contrast_rows, sensitivity_rows, true_effect_rows
from socsci_jax.evaluation.equivalents import equivalent_rows
from socsci_jax.evaluation.groups import group_rows
from socsci_jax.evaluation.items import ItemPredictions, brief_predictions, item_predictions
from socsci_jax.evaluation.parts import Part
from socsci_jax.evaluation.robustness import robustness_rows
from socsci_jax.evaluation.simbench_score import simbench_rows
from socsci_jax.evaluation.table import CONDITION_POOLED, table_of
from socsci_jax.studies.schema import Item
from socsci_jax.studies.splits import TRAIN


@dataclasses.dataclass(frozen=True, kw_only=True)
class Context:
    """What all parts are judged with."""

    labeled: pl.DataFrame
    item_by_id: Mapping[str, Item]
    index: PredictionIndex
    baselines: Baselines
    people: Demographics
    truth: pl.DataFrame | None
    variants: Mapping[str, PredictionIndex]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judged:
    """What one part gives."""

    frames: list[pl.DataFrame]
    counts: Mapping[str, int]
    distributions: pl.DataFrame
    condition_means: pl.DataFrame
    contrasts: pl.DataFrame
    reliability: pl.DataFrame


def judge(part: Part, context: Context) -> Judged:
    baselines = context.baselines
    items = [
        item_predictions(
            cell, baselines, rng=part.rng(cell.item_id), pilot_rng=part.rng(f"pilots of {cell.item_id}")
        )
        if used or not part.averaged_c.any()
        else brief_predictions(cell, baselines, rng=part.rng(cell.item_id))
        for cell, used in zip(part.cells, part.averaged_c.tolist(), strict=True)
    ]
    values: PartValues = part_values(part, items)
    means = condition_means(part, part.cells, items, others=baselines.of_models)
    compared = means
    if part.name != TRAIN:
        controls = trained_controls(part, context.labeled, context.item_by_id, context.index, baselines)
        if controls.cells:
            both = with_controls(part, items, controls)
            compared = condition_means(part, *both, borrowed=len(controls.cells), others=baselines.of_models)
    calibrated = calibration(part)
    rows = sensitivity_rows(part, means) + contrast_rows(part, compared) + choice_rows(part, means)
    rows += group_rows(part, context.people) + equivalent_rows(part, items, values) + calibrated.rows
    rows += normalized_rows(part, values) + simbench_rows(part, values) + quartile_rows(part, values)
    rows += robustness_rows(part, context.variants, means)
    if context.truth is not None:
        rows += true_effect_rows(part, items, context.truth)
    return Judged(
        frames=[*metric_rows(part, values), *validity_rows(part), table_of(rows)],
        counts={**part.counts, **_counts(part, items, baselines)},
        distributions=distribution_table(part, items),
        condition_means=mean_table(part, means),
        contrasts=contrast_table(part, compared),
        reliability=calibrated.bins,
    )


def _counts(part: Part, items: Sequence[ItemPredictions], baselines: Baselines) -> dict[str, int]:
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
        "items_without_training_marginal": sum(c.levels_l.size not in baselines.marginals for c in part.cells)
        if baselines.marginals
        else 0,
        "items_without_pooled_answers": sum(CONDITION_POOLED not in item.baselines for item in items),
        "answers_without_prediction": part.counts["answers_without_prediction"],
        "answers_off_scale": part.counts["answers_off_scale"],
        "draws": sum(cell.draws for cell in part.cells),
        "draws_off_scale": sum(cell.draws - cell.draws_valid for cell in part.cells),
    }
