"""Predicted means or effects with intervals, as the Silicon Sample Benchmark's tiers T2 and T3 have them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.evaluation.background import background
from socsci_jax.evaluation.cells import PredictionIndex
from socsci_jax.evaluation.classification import judge
from socsci_jax.evaluation.condition_means import ConditionMeans, condition_means, contrast_table, mean_table
from socsci_jax.evaluation.effects import clusters_of, contrast_rows, sensitivity_rows
from socsci_jax.evaluation.elsewhere import incomplete
from socsci_jax.evaluation.elsewhere.columns import (
    CONDITION,
    LOWER,
    MEAN,
    OUTCOME,
    SPREAD,
    STANDARD_ERROR,
    STUDY,
    UPPER,
    Rejected,
    find,
    rejected,
    whole_ids,
)
from socsci_jax.evaluation.elsewhere.long import PLACE
from socsci_jax.evaluation.elsewhere.people import TablePeople
from socsci_jax.evaluation.elsewhere.spreads import spread_rows
from socsci_jax.evaluation.evaluate import settings_of
from socsci_jax.evaluation.items import ItemPredictions, human_histogram
from socsci_jax.evaluation.metrics import BY_NAME
from socsci_jax.evaluation.metrics.calibration import winkler
from socsci_jax.evaluation.parts import Part, excluded_table, find_parts
from socsci_jax.evaluation.result import Evaluation
from socsci_jax.evaluation.table import EXACT, MODEL, SCALE, row, table_of
from socsci_jax.studies.predictions import Predictions
from socsci_jax.studies.scale import LARGEST_ANSWER
from socsci_jax.studies.schema import PREDICTIONS_SCHEMA
from socsci_jax.wording import counted

ALPHA = 0.05


def evaluate_means(
    frame: pl.DataFrame,
    people: TablePeople,
    *,
    path: Path,
    seed: int,
    minimum_n: int,
    resample: str | None,
    only: pl.DataFrame | None = None,
) -> tuple[Evaluation, Rejected]:
    """Judges predicted condition means (column mean), or effects against the control (column ate).

    Only what needs no distribution is computed: effects, condition means, the intervals' coverage and Winkler score,
    where intervals are given (taken for 95 %), and the ratio of standard deviations, where column sd is given.  With `only` (study, condition, outcome) nothing else is judged.
    """
    given, bad = given_means(frame, people, path)
    given = given if only is None else given.join(only, on=list(PLACE), how="semi", maintain_order="left")
    are_effects = find(frame, ("ate",)) is not None
    part = _part(people, minimum_n=minimum_n, seed=seed, resample=resample)
    items = [
        ItemPredictions(
            human_l=human_histogram(cell),
            single={EXACT: {MODEL: human_histogram(cell)}},
            samples={},
            baselines={},
        )
        for cell in part.cells
    ]
    means = condition_means(part, part.cells, items)
    if means.frame.is_empty():
        raise InputError(
            f"{people.path}: no outcome has two conditions of {counted(minimum_n, 'answer')}, so effects cannot be judged."
        )
    means = _with_model(means, given, ate=are_effects)
    if means.frame.is_empty():
        raise InputError(
            f"{path}: of no question are two conditions predicted that people answered in, so effects cannot be judged; "
            f"{counted(bad.frame.height, 'row')} could not be used."
        )
    rows = contrast_rows(part, means)
    if not are_effects:
        rows += sensitivity_rows(part, means)
        rows += _interval_rows(part, means, given) if given["lo"].count() else []
        rows += spread_rows(part, items, given) if given["sd"].count() else []
    notes = (
        *(() if are_effects else _off_scale(given)),
        *_unused_spread(frame, judged="sd_ratio" in {str(one["metric"]) for one in rows}),
        "Means were predicted, no distributions: distances and single people cannot be judged.",
    )
    settings = settings_of(people, seed=seed, minimum_n=minimum_n)
    return _evaluation(part, people, means, rows, notes=notes, settings=settings), bad


def _evaluation(
    part: Part,
    people: TablePeople,
    means: ConditionMeans,
    rows: list[dict[str, object]],
    *,
    notes: tuple[str, ...],
    settings: Mapping[str, Any],
) -> Evaluation:
    """The evaluation of predicted means; what needs distributions or single people is empty."""
    counts = incomplete.counts(
        studies=len(part.studies),
        items=len(part.cells),
        answers=int(part.n_c.sum()),
        median_answers_per_item=int(np.median(part.n_c)),
    )
    return Evaluation(
        table=table_of(rows),
        counts={part.name: counts},
        notes=notes,
        metadata={"predictions": {}, "evaluation": settings},
        distributions=incomplete.no_distributions(),
        condition_means=mean_table(part, means),
        contrasts=contrast_table(part, means),
        excluded=excluded_table([part], people),
        reliability=incomplete.part_table(),
        coding=judge([], people.labeled.clear()),
        background=background([part], people),
        replicates=part.replicates,
    )


def given_means(frame: pl.DataFrame, people: TablePeople, path: Path) -> tuple[pl.DataFrame, Rejected]:
    """study, condition, outcome, value, lo, hi in units of the scale, and the scale's ends; what is not a number is rejected."""
    study, condition, outcome = (find(frame, names) for names in (STUDY, CONDITION, OUTCOME))
    value, lower, upper = (find(frame, names) for names in (MEAN, LOWER, UPPER))
    if condition is None or outcome is None or value is None:
        raise InputError(
            f"{path}: columns condition, outcome and mean (or ate) are needed; found {frame.columns[:20]}."
        )

    def numbers(name: str | None) -> pl.Expr:
        return pl.col(name).cast(pl.Float64, strict=False) if name else pl.lit(None, pl.Float64)

    rows = frame.with_row_index("row", offset=1).select(
        "row",
        (whole_ids(study) if study else pl.lit(people.item_ids["study"][0])).alias("study"),
        whole_ids(condition).alias("condition"),
        pl.col(outcome).alias("outcome"),
        pl.col(value).alias("raw"),
        numbers(value).alias("value"),
        numbers(lower).alias("lo"),
        numbers(upper).alias("hi"),
        numbers(find(frame, SPREAD)).alias("sd"),
    )
    lo, hi = rows["lo"], rows["hi"]
    ends = lo.is_null() | hi.is_null() | ((lo <= hi) & (lo >= -LARGEST_ANSWER) & (hi <= LARGEST_ANSWER))
    usable = (rows["value"].abs() <= LARGEST_ANSWER).fill_null(False) & ends
    twice = ~rows.select(pl.struct("study", "condition", "outcome").is_first_distinct()).to_series()
    bad = rejected(str(path), rows.filter(~usable), reason="no mean with an interval around it")
    bad = bad + rejected(str(path), rows.filter(usable & twice), reason="given twice")
    rows = rows.filter(usable & ~twice)
    if rows["study"].n_unique() == 1 and people.item_ids["study"].n_unique() == 1:
        rows = rows.with_columns(study=pl.lit(people.item_ids["study"][0]))
    missing = rows.join(people.item_ids, on=list(PLACE), how="anti", maintain_order="left")
    reason = "people have no answers to this question"
    bad = bad + rejected(str(path), missing, reason=reason, value="outcome")
    return rows.join(_ends_of_scales(people), on=list(PLACE), maintain_order="left"), bad


def _ends_of_scales(people: TablePeople) -> pl.DataFrame:
    """study, condition, outcome, and the least and the greatest answer."""
    ends = [
        (
            item.study_id,
            item.condition,
            item.outcome,
            float(item.scale.levels[0]),
            float(item.scale.levels[-1]),
        )
        for item in people.item_by_id.values()
    ]
    return pl.DataFrame(ends, schema=[*PLACE, "least", "most"], orient="row")


def _off_scale(given: pl.DataFrame) -> tuple[str, ...]:
    """A sentence if predicted means lie outside their scale, as means of shares or of another coding do."""
    off = given.filter((pl.col("value") < pl.col("least")) | (pl.col("value") > pl.col("most")))
    if off.is_empty():
        return ()
    first = off.row(0, named=True)
    return (
        f"{off.height:,} of {given.height:,} predicted means lie outside the scale, the first {first['value']:g} for "
        f"{first['outcome']!r}, {first['least']:g} to {first['most']:g}: they may be on another scale.",
    )


def _unused_spread(frame: pl.DataFrame, *, judged: bool) -> tuple[str, ...]:
    """A sentence if a column of standard deviations or standard errors is there and nothing could be made of it."""
    sd, se = find(frame, SPREAD), find(frame, STANDARD_ERROR)
    found = []
    if sd is not None and not judged:
        found.append(
            f"Column {sd!r} is not used: it holds no standard deviation of answers to what is judged."
        )
    if se is not None:
        found.append(f"Column {se!r} is not used; give intervals (pi_lower, pi_upper) to have them judged.")
    return tuple(found)


def _with_model(means: ConditionMeans, given: pl.DataFrame, *, ate: bool) -> ConditionMeans:
    """The condition means with what was predicted of them, on the scale's range; conditions without it are dropped."""
    told = given.select(*PLACE, "value", "least", range=pl.col("most") - pl.col("least"))
    frame = means.frame.join(told, on=list(PLACE), how="left", maintain_order="left")
    if ate:
        model = pl.when(pl.col("is_control")).then(0.0).otherwise(pl.col("value") / pl.col("range"))
    else:
        model = (pl.col("value") - pl.col("least")) / pl.col("range")
    frame = frame.with_columns(model=model)
    known = pl.col("model").is_not_null()
    # A condition alone has nothing to be compared with.
    kept = frame.select(known & (known.sum().over("study", "outcome", "scale") >= 2)).to_series().to_numpy()
    frame = frame.filter(pl.Series(kept)).with_columns(
        group=pl.struct("study", "outcome", "scale").rank("dense").cast(pl.Int64) - 1
    )
    human_bm = None if means.human_bm is None else means.human_bm[:, kept]
    # Where people are resampled, predicted means stay as they were given.
    model_bm = None if human_bm is None else np.broadcast_to(frame["model"].to_numpy(), human_bm.shape)
    return ConditionMeans(frame=frame, samples={}, people_ratio={}, human_bm=human_bm, model_bm=model_bm)


def _interval_rows(part: Part, means: ConditionMeans, given: pl.DataFrame) -> list[dict[str, object]]:
    """Coverage of people's condition means by the predicted intervals, and their Winkler score."""
    joined = means.frame.join(given.select(*PLACE, "lo", "hi"), on=list(PLACE), maintain_order="left").filter(
        pl.col("lo").is_not_null(), pl.col("hi").is_not_null()
    )
    if joined.is_empty():
        return []
    lo, hi = (((joined[name] - joined["least"]) / joined["range"]).to_numpy() for name in ("lo", "hi"))
    h = joined["human"].to_numpy()
    terms = np.stack([(lo <= h) & (h <= hi), winkler(lo, hi, h, alpha=ALPHA)], axis=1).astype(float)
    cluster = clusters_of(part, joined)
    values = part.resampling.means(terms, cluster)
    values = values[:1] if part.resampling.by_participants else values
    rows = []
    for k, name in enumerate(("mean_interval_coverage", "mean_interval_winkler")):
        estimate = part.resampling.estimate(BY_NAME[name], values[:, k], clusters=len(np.unique(cluster)))
        rows.append(
            row(
                name,
                estimate,
                part=part.name,
                predictor=MODEL,
                n=joined.height,
                normalization=SCALE,
                source=EXACT,
            )
        )
    return rows


def _part(people: TablePeople, *, minimum_n: int, seed: int, resample: str | None) -> Part:
    """The people's answers as a part; a prediction that nobody looks at stands in for distributions."""
    empty = pl.from_arrow(PREDICTIONS_SCHEMA.empty_table())
    assert isinstance(empty, pl.DataFrame)
    levels = [list(map(float, item.scale.levels)) for item in people.item_by_id.values()]
    rows = pl.DataFrame(
        {
            "item_id": list(people.item_by_id),
            "levels": levels,
            "probs": [[1 / len(of)] * len(of) for of in levels],
        }
    )
    frame = pl.concat([empty, rows.cast({n: empty.schema[n] for n in rows.columns})], how="diagonal")
    index = PredictionIndex(Predictions(frame=frame))
    parts = find_parts(people.labeled, people, index, minimum_n=minimum_n, seed=seed, resample=resample)
    return parts[0]
