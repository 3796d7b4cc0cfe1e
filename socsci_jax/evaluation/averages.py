"""From the figures of items to rows of the table: each item, the mean of each study, the mean over studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from socsci_jax.evaluation import effects, intervals
from socsci_jax.evaluation.intervals import point
from socsci_jax.evaluation.items import FigureName, ItemFigures
from socsci_jax.evaluation.parts import Part
from socsci_jax.evaluation.table import MODEL, row


def by_figure(items: Sequence[ItemFigures]) -> dict[FigureName, np.ndarray]:
    """The values [C] of each figure, NaN where undefined; figures in the order of their names."""
    names = sorted({name for item in items for name in item.values})
    return {name: np.array([item.values.get(name, np.nan) for item in items]) for name in names}


def figure_rows(part: Part, values: Mapping[FigureName, np.ndarray]) -> list[tuple]:
    """Rows of all figures, with the model's paired difference from each other predictor."""
    rows = []
    for (metric, convention, predictor), values_c in values.items():
        rows += _item_rows(part, metric, convention, predictor, values_c)
        rows += _mean_rows(part, metric, convention, predictor, values_c)
        if predictor != MODEL:
            paired = values[metric, convention, MODEL] - values_c
            # Nobody is better than their equal by what rounding leaves.
            paired[np.abs(paired) < effects.ZERO] = 0.0
            rows += _mean_rows(part, f"{metric}_difference", convention, f"{MODEL}-{predictor}", paired)
    return rows


def validity_rows(part: Part) -> list[tuple]:
    """What the model gave to valid answers before renormalizing, and the share of its draws that are valid."""
    rows = []
    mass = np.array([cell.mass_on_levels for cell in part.cells])
    if np.isfinite(mass).any():
        rows += _mean_rows(part, "mass_on_levels", "exact", MODEL, mass)
    draws = np.array([cell.draws for cell in part.cells])
    if draws.any():
        valid = np.array([cell.draws_valid for cell in part.cells])
        share = np.where(draws > 0, valid / np.maximum(draws, 1), np.nan)
        rows += _mean_rows(part, "parse_rate", "draws", MODEL, share)
    return rows


def _item_rows(part: Part, metric: str, convention: str, predictor: str, values: np.ndarray) -> list[tuple]:
    return [
        row(
            metric,
            convention,
            part.name,
            predictor,
            point(value),
            n=cell.codes_n.size // (2 if predictor == "split_half" else 1),
            study=cell.item.study_id,
            condition=cell.item.condition,
            outcome=cell.item.outcome,
        )
        for cell, value in zip(part.cells, values, strict=True)
    ]


def _mean_rows(part: Part, metric: str, convention: str, predictor: str, values: np.ndarray) -> list[tuple]:
    used = part.averaged_c & np.isfinite(values)
    studies = len(part.studies)
    per_study = intervals.mean_by(values[used], part.study_c[used], studies)
    items = np.bincount(part.study_c[used], minlength=studies)
    rows = [
        row(metric, convention, part.name, predictor, point(value), n=int(n), study=study)
        for study, value, n in zip(part.studies, per_study, items, strict=True)
    ]
    overall = intervals.mean_estimate(part.counts_bs, per_study)
    return [*rows, row(metric, convention, part.name, predictor, overall, n=int((items > 0).sum()))]


def distribution_table(
    part: Part, items: Sequence[ItemFigures], values: Mapping[FigureName, np.ndarray]
) -> pl.DataFrame:
    """The distributions of people and model at each item, with their distance, for the report to draw."""
    return pl.DataFrame(
        {
            "scope": part.name,
            "item_id": [cell.item_id for cell in part.cells],
            "study": [cell.item.study_id for cell in part.cells],
            "condition": [cell.item.condition for cell in part.cells],
            "outcome": [cell.item.outcome for cell in part.cells],
            "n": part.n_c,
            "averaged": part.averaged_c,
            "wasserstein": values["wasserstein", f"stated/{part.source}", MODEL],
            "levels": [cell.levels_l.astype(float).tolist() for cell in part.cells],
            "human": [item.human_l.tolist() for item in items],
            "model": [item.model_l.tolist() for item in items],
        }
    )
