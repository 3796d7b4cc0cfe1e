"""Rows of the evaluation table about variants of the same predictions (a column `variant`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from socsci_jax.evaluation.averaging import mean_rows
from socsci_jax.evaluation.cells import Cell, PredictionIndex
from socsci_jax.evaluation.condition_means import ConditionMeans
from socsci_jax.evaluation.contrasts import contrast_pairs
from socsci_jax.evaluation.effects import clusters_of
from socsci_jax.evaluation.item_values import Key
from socsci_jax.evaluation.items import weighted_mean
from socsci_jax.evaluation.metrics import BY_NAME, robustness
from socsci_jax.evaluation.metrics.distributions import positions
from socsci_jax.evaluation.parts import Part
from socsci_jax.evaluation.table import MODEL, SCALE, row
from socsci_jax.studies.predictions import Predictions
from socsci_jax.studies.schema import VARIANT

# The variant of rows that name none.
BASE = "base"


def variants_of(predictions: Predictions) -> dict[str, PredictionIndex]:
    """The predictions of each variant; empty where there are not two."""
    if VARIANT not in predictions.frame.columns:
        return {}
    frame = predictions.frame.with_columns(pl.col(VARIANT).fill_null(BASE))
    parts = frame.partition_by(VARIANT, as_dict=True, include_key=False)
    if len(parts) < 2:
        return {}
    return {
        str(name): PredictionIndex(dataclasses.replace(predictions, frame=own))
        for (name,), own in sorted(parts.items())
    }


def over_variants(predictions: Predictions) -> Predictions:
    """One prediction an item and person: the mean of the variants' probabilities, and the draws of all of them."""
    frame = predictions.frame
    if VARIANT not in frame.columns:
        return predictions
    key = ["item_id", "participant_id"]
    exact = frame.filter(pl.col("probs").is_not_null())
    draws = frame.filter(pl.col("probs").is_null()).drop(VARIANT)
    draws = draws.with_columns(draw=pl.int_range(pl.len()).over(key).cast(pl.Int32))
    number = exact.group_by(key).agg(_variants=pl.len())
    rest = [name for name in exact.columns if name not in (*key, VARIANT, "levels", "probs")]
    first = exact.group_by(key, maintain_order=True).agg(pl.col(rest).first())
    mean = (
        exact.select(*key, "levels", "probs")
        .explode("levels", "probs")
        .group_by(*key, "levels", maintain_order=True)
        .agg(pl.col("probs").sum())
        .join(number, on=key, nulls_equal=True)
        .with_columns(probs=pl.col("probs") / pl.col("_variants"))
        .sort("levels", maintain_order=True)
        .group_by(key, maintain_order=True)
        .agg("levels", "probs")
    )
    pooled = first.join(mean, on=key, nulls_equal=True).select(draws.columns)
    return dataclasses.replace(predictions, frame=pl.concat([pooled, draws]))


def kinds_of(names: Sequence[str]) -> dict[str | None, list[str]]:
    """Variants by what they vary, the text before a colon, each with those that have none; under None all of them."""
    plain = [name for name in names if ":" not in name]
    kinds = sorted({name.partition(":")[0].strip() for name in names if ":" in name})
    by_kind = {
        kind: plain + [n for n in names if ":" in n and n.partition(":")[0].strip() == kind] for kind in kinds
    }
    by_name: dict[str | None, list[str]] = {None: list(names)}
    if len(kinds) > 1:
        by_name |= {kind: own for kind, own in by_kind.items() if len(own) >= 2}
    return by_name


def robustness_rows(
    part: Part, variants: Mapping[str, PredictionIndex], means: ConditionMeans
) -> list[dict[str, object]]:
    """How far predicted means, distributions, people and effects move over variants; items with all variants count."""
    if not variants:
        return []
    told = [_of_variants(cell, variants) for cell in part.cells]
    rows: list[dict[str, object]] = []
    for kind, names in kinds_of(list(variants)).items():
        at = [list(variants).index(name) for name in names]
        rows += _item_rows(part, told, at, kind) + _effect_rows(part, told, at, means, kind)
    return rows


def _of_variants(cell: Cell, variants: Mapping[str, PredictionIndex]) -> list[Cell | None]:
    """The cell as each variant predicts it; None where a variant lacks one of its people."""
    answers = pl.DataFrame(
        {"participant_id": cell.people_n, "value": cell.levels_l[cell.codes_n].astype(float)}
    )
    predicted = [index.cell(cell.item_id, cell.item, answers) for index in variants.values()]
    return [own if own is not None and own.codes_n.size == cell.codes_n.size else None for own in predicted]


def _item_rows(
    part: Part, told: Sequence[Sequence[Cell | None]], at: Sequence[int], kind: str | None
) -> list[dict[str, object]]:
    names = ("variant_spread", "variant_distance", "variant_person_distance")
    values = {name: np.full(len(part.cells), np.nan) for name in names}
    for c, (cell, of) in enumerate(zip(part.cells, told, strict=True)):
        own = [one for k in at if (one := of[k]) is not None]
        if len(own) < len(at):
            continue
        people_vnl = np.stack([one.predicted_nl for one in own])
        shares_vl = np.stack([weighted_mean(rows_nl, cell.weights_n) for rows_nl in people_vnl])
        values["variant_spread"][c] = robustness.spread(shares_vl, levels_l=cell.levels_l)
        values["variant_distance"][c] = robustness.distance(shares_vl, levels_l=cell.levels_l)
        if all(one.probs_nl is not None for one in own):
            moved_n = robustness.distance(people_vnl, levels_l=cell.levels_l)
            values["variant_person_distance"][c] = weighted_mean(moved_n, cell.weights_n)
    rows: list[dict[str, object]] = []
    for name, values_c in values.items():
        rows += mean_rows(part, Key(name, SCALE, part.source, MODEL), values_c, None, group=kind)
    return rows


def _effect_rows(
    part: Part,
    told: Sequence[Sequence[Cell | None]],
    at: Sequence[int],
    means: ConditionMeans,
    kind: str | None,
) -> list[dict[str, object]]:
    if means.frame.is_empty():
        return []
    mean_cv = np.full((len(part.cells), len(at)), np.nan)
    for c, of in enumerate(told):
        for v, k in enumerate(at):
            if (own := of[k]) is not None:
                mean_cv[c, v] = weighted_mean(own.predicted_nl, own.weights_n) @ positions(own.levels_l)
    arms_mv = np.stack(
        [
            np.average(mean_cv[cells], axis=0, weights=part.n_c[cells])
            for cells in map(np.array, means.frame["cell"])
        ]
    )
    pairs = contrast_pairs(means.column("group"), means.column("is_control"))
    effects_kv = arms_mv[pairs.treated] - arms_mv[pairs.reference]
    known = np.isfinite(effects_kv).all(axis=1)
    if not known.any():
        return []
    cluster = clusters_of(part, means.frame[pairs.treated])[known]
    sums = part.resampling.sums(robustness.survival_terms(effects_kv[known]), cluster)
    signs = part.resampling.means(robustness.same_sign(effects_kv[known])[:, None], cluster)[:, 0]
    rows = []
    for name, values in (
        ("variant_effect_survival", robustness.survival(sums)),
        ("variant_sign_agreement", signs),
    ):
        # People are no part of it: where they are resampled there is nothing to resample.
        values = values[:1] if part.resampling.by_participants else values
        estimate = part.resampling.estimate(BY_NAME[name], values, clusters=len(np.unique(cluster)))
        rows.append(
            row(name, estimate, part=part.name, predictor=MODEL, n=int(known.sum()), normalization=SCALE,
                source=part.source, group=kind)
        )  # fmt: skip
    return rows
