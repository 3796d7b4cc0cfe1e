"""From the values of items to rows of the table: each item, the mean of each study, the mean over studies."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
import pyarrow as pa

from socsci_jax.evaluation import intervals
from socsci_jax.evaluation.cells import Cell
from socsci_jax.evaluation.intervals import point
from socsci_jax.evaluation.item_values import Key, item_replicates, item_values
from socsci_jax.evaluation.items import ItemPredictions
from socsci_jax.evaluation.metric import QUANTILE_OF, Metric
from socsci_jax.evaluation.metrics import BY_NAME
from socsci_jax.evaluation.metrics.distributions import QUARTILES_OF, wasserstein
from socsci_jax.evaluation.metrics.moments import ZERO
from socsci_jax.evaluation.parts import Part
from socsci_jax.evaluation.table import (
    HUMAN,
    MODEL,
    SCALE,
    SPLIT_HALF,
    TEST_RETEST,
    columns_of,
    row,
    table_of,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PartValues:
    """Values [C] of each metric at each item, NaN where undefined; by people resampled also [B, C]."""

    values: Mapping[Key, np.ndarray]
    replicates: Mapping[Key, np.ndarray] | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Averaged:
    """Means of each study [S] and of the part in each resample [1 + B], over so many clusters."""

    by_study: np.ndarray
    items: np.ndarray
    overall: np.ndarray
    clusters: int


def part_values(part: Part, items: Sequence[ItemPredictions]) -> PartValues:
    """The values of all items that enter averages, keys in the order of their names.

    Of real experiments most items have a handful of answers; values of single ones would be noise, and most of the work.
    """
    # Without any to average, one tells which metrics there are.
    judged = part.averaged_c if part.averaged_c.any() else np.arange(len(items)) == 0
    at = np.flatnonzero(judged)
    of_items = [item_values(part.cells[c], items[c], source=part.source) for c in at.tolist()]
    keys = sorted({key for one in of_items for key in one}, key=lambda key: tuple(map(str, key)))
    values = {key: np.full(len(items), np.nan) for key in keys}
    for key, values_c in values.items():
        values_c[at] = [one.get(key, np.nan) for one in of_items]
    replicates = None
    if part.resampling.by_participants:
        weights = part.person_weights()
        by_item = [
            item_replicates(cell, item, w_bn.astype(float), source=part.source) if is_judged else {}
            for cell, item, w_bn, is_judged in zip(part.cells, items, weights, judged, strict=True)
        ]
        known = {key for one in by_item for key in one}
        undefined = np.full(weights[0].shape[0], np.nan)
        replicates = {
            key: np.stack([one.get(key, undefined) for one in by_item], axis=1)
            for key in keys
            if key in known
        }
    return PartValues(values=values, replicates=replicates)


def averaged(part: Part, metric: Metric, values_c: np.ndarray, replicates_bc: np.ndarray | None) -> Averaged:
    """Averages values over the items of each study, then over studies, in every resample."""
    q = QUANTILE_OF.get(metric.aggregation)
    used = part.averaged_c & (np.isfinite(values_c) if q is None else ~np.isnan(values_c))
    study, studies = part.study_c[used], len(part.studies)
    if q is None:
        by_study = intervals.mean_by(values_c[used], study, studies)
    else:
        by_study = intervals.quantile_by(values_c[used], study, studies, q=q)
    items = np.bincount(study, minlength=studies)
    resampling = part.resampling
    if resampling.by_participants:
        overall = intervals.mean_over(resampling.counts_bs[:1], by_study)
        if replicates_bc is not None:
            own = replicates_bc[:, used]
            columns = [own[:, study == s] for s in range(studies) if (study == s).any()]
            means = [x.mean(axis=1) if q is None else intervals.lower_quantile(x, q) for x in columns]
            with np.errstate(invalid="ignore"):
                others = np.mean(means, axis=0) if means else np.full(len(own), np.nan)
            overall = np.concatenate([overall, others])
        return Averaged(by_study=by_study, items=items, overall=overall, clusters=resampling.people)
    cluster = part.cluster_c[used]
    if resampling.unit == "studies":
        overall = intervals.mean_over(resampling.counts_bs, by_study)
    elif q is not None:
        overall = (
            intervals.weighted_quantiles(resampling.counts_bs, values_c[used], cluster, q=q)
            if used.any()
            else np.array([np.nan])
        )
        overall[0] = mean_of_defined(by_study)
    else:
        terms = np.stack([values_c[used], np.ones(int(used.sum()))], axis=1)
        sums = resampling.sums(terms, cluster)
        with np.errstate(invalid="ignore", divide="ignore"):
            overall = sums[:, 0] / sums[:, 1]
    return Averaged(by_study=by_study, items=items, overall=overall, clusters=len(np.unique(cluster)))


def mean_of_defined(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else np.nan


def metric_rows(part: Part, part_values: PartValues) -> list[pl.DataFrame]:
    """Rows of all metrics of items, with the model's paired difference from each other predictor."""
    rows: list[dict[str, object]] = []
    replicates = part_values.replicates
    for key, values_c in part_values.values.items():
        rows += mean_rows(part, key, values_c, None if replicates is None else replicates.get(key))
        model = key._replace(predictor=MODEL)
        if key.predictor == MODEL or model not in part_values.values:
            continue
        with np.errstate(invalid="ignore"):
            paired = part_values.values[model] - values_c
        # Nobody is better than their equal by what rounding leaves.
        paired[np.abs(paired) < ZERO] = 0.0
        both = None
        if replicates is not None and key in replicates and model in replicates:
            with np.errstate(invalid="ignore"):
                both = replicates[model] - replicates[key]
            both[np.abs(both) < ZERO] = 0.0
        rows += mean_rows(part, model, paired, both, reference=key.predictor)
    return [_item_rows(part, part_values.values), table_of(rows)]


def quartile_rows(part: Part, part_values: PartValues) -> list[dict[str, object]]:
    """The quartiles of ratios over items, each predictor's."""
    rows: list[dict[str, object]] = []
    for key, values_c in part_values.values.items():
        for name in QUARTILES_OF.get(key.metric, ()):
            replicates = None if part_values.replicates is None else part_values.replicates.get(key)
            rows += mean_rows(part, key._replace(metric=name), values_c, replicates)
    return rows


def validity_rows(part: Part) -> list[pl.DataFrame]:
    """What the model gave to valid answers before renormalizing, and the share of its draws that are valid."""
    rows: list[dict[str, object]] = []
    mass = np.array([cell.mass_on_levels for cell in part.cells])
    if np.isfinite(mass).any():
        rows += mean_rows(part, Key("mass_on_levels", None, "exact", MODEL), mass, None)
    draws = np.array([cell.draws for cell in part.cells])
    if draws.any():
        valid = np.array([cell.draws_valid for cell in part.cells])
        share = np.where(draws > 0, valid / np.maximum(draws, 1), np.nan)
        rows += mean_rows(part, Key("parse_rate", None, "sampled", MODEL), share, None)
    return [table_of(rows)]


def alternatives_rows(part: Part) -> list[pl.DataFrame]:
    """Observed and predicted shares of the alternatives outside scales, all together and each by its label."""
    beside = [cell.alternatives for cell in part.cells]
    if all(one is None for one in beside):
        return []
    labels = sorted({label for one in beside if one is not None for label in one.labels})
    human, model = (Key("alternatives_share", None, part.source, who) for who in (HUMAN, MODEL))
    of_items: dict[Key, np.ndarray] = {}
    rows: list[dict[str, object]] = []
    for group in (None, *labels):
        observed = np.array([np.nan if one is None else one.share(one.observed_a, group) for one in beside])
        predicted = np.array([np.nan if one is None else one.share(one.predicted_a, group) for one in beside])
        for key, values in ((human, observed), (model, predicted)):
            rows += mean_rows(part, key, values, None, group=group)
            if group is None:
                of_items[key] = values
        rows += mean_rows(part, model, predicted - observed, None, reference=HUMAN, group=group)
    errors = np.array([np.nan if one is None else one.error for one in beside])
    rows += mean_rows(part, Key("alternatives_error", None, part.source, MODEL), errors, None)
    return [_item_rows(part, of_items), table_of(rows)]


def normalized_rows(part: Part, part_values: PartValues) -> list[dict[str, object]]:
    """Accuracy as a share of how well people's first answer predicts their second, where they answered twice."""
    rows: list[dict[str, object]] = []
    asked = "individual_accuracy_median"
    again = part_values.values.get(Key(asked, SCALE, part.source, TEST_RETEST))
    if again is None:
        return rows
    for key, values in part_values.values.items():
        if key.metric == asked and key.predictor not in (TEST_RETEST, SPLIT_HALF):
            with np.errstate(invalid="ignore", divide="ignore"):
                ratio = np.where(again > 0, values / again, np.nan)
            rows += mean_rows(part, key._replace(metric="individual_accuracy_normalized"), ratio, None)
    return rows


def _item_rows(part: Part, values: Mapping[Key, np.ndarray]) -> pl.DataFrame:
    """A row of each metric for each item that enters averages; the table of items has the others."""
    used = part.averaged_c
    n = part.n_c[used]
    return columns_of(
        part.places,
        [values_c[used] for values_c in values.values()],
        [n // (2 if key.predictor == SPLIT_HALF else 1) for key in values],
        [{**key._asdict(), "part": part.name} for key in values],
    )


def mean_rows(
    part: Part,
    key: Key,
    values_c: np.ndarray,
    replicates_bc: np.ndarray | None,
    *,
    reference: str | None = None,
    group: str | None = None,
) -> list[dict[str, object]]:
    """A row for each study and one for the part."""
    metric = BY_NAME[key.metric]
    means = averaged(part, metric, values_c, replicates_bc)
    same = {**key._asdict(), "part": part.name, "reference": reference, "group": group}
    rows = [
        row(estimate=point(value), n=int(n), study=study, **same)
        for study, value, n in zip(part.studies, means.by_study, means.items, strict=True)
    ]
    estimate = part.resampling.estimate(
        metric, means.overall, clusters=means.clusters, difference=reference is not None
    )
    if reference is None and key.predictor == MODEL:
        part.keep(**key._asdict(), values_b=means.overall, clusters=means.clusters, group=group)
    return [*rows, row(estimate=estimate, n=int((means.items > 0).sum()), **same)]


def _lists(arrays: Sequence[np.ndarray]) -> pl.Series:
    """A column of lists of numbers; Python's own would take minutes for 80,000 items."""
    offsets = np.concatenate([[0], np.cumsum([array.size for array in arrays])])
    flat = pa.array(np.concatenate(arrays).astype(float))
    made = pl.from_arrow(pa.LargeListArray.from_arrays(pa.array(offsets), flat))
    assert isinstance(made, pl.Series)
    return made


def _distance(cell: Cell, item: ItemPredictions) -> float:
    return float(wasserstein(item.model_l, item.human_l, levels_l=cell.levels_l))


def distribution_table(part: Part, items: Sequence[ItemPredictions]) -> pl.DataFrame:
    """The distributions of people and model at each item, with their distance, for the report to draw."""
    return pl.DataFrame(
        {
            "part": part.name,
            "item_id": [cell.item_id for cell in part.cells],
            "study": [cell.item.study_id for cell in part.cells],
            "condition": [cell.item.condition for cell in part.cells],
            "outcome": [cell.item.outcome for cell in part.cells],
            "n": part.n_c,
            "averaged": part.averaged_c,
            "wasserstein": [_distance(cell, item) for cell, item in zip(part.cells, items, strict=True)],
            "levels": _lists([cell.levels_l for cell in part.cells]),
            "human": _lists([item.human_l for item in items]),
            "model": _lists([item.model_l for item in items]),
        }
    )
