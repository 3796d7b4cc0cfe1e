"""People's means by arm, from a plain table of their answers; what cannot be used is counted by its reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import polars as pl

from socsci_jax import bounds
from socsci_jax.errors import InputError
from socsci_jax.forecasting.composites import Composite, incomplete_answers, with_composite_columns
from socsci_jax.forecasting.human import ARM, weighted_mean

PERSON = "participant_id"
# Columns of a table with a row an answer.
_IN_ROWS = {"outcome", "value"}


def arms_of_table(
    data: pl.DataFrame,
    arms: pl.DataFrame,
    composites: Sequence[Composite] = (),
    items: Iterable[Mapping[str, Any]] = (),
) -> tuple[pl.DataFrame, dict[str, int]]:
    """People's means by arm as `human_arms` gives them, and how many answers are excluded for which reason.

    Cells are numbers, or labels of the scales of `items` (as `SavedForecast` has them), in any case.  Composites that a
    table with a row a person lacks are made of their parts.  Empty cells are no answers.  Raises
    InputError for a table without conditions or without one of the outcomes, and for a forecast in which two studies
    share an outcome's name, which the table cannot tell apart.
    """
    data = _as_texts(data, {"condition", "outcome", "value", "weight", PERSON, *arms["outcome"]})
    if "condition" not in data.columns:
        raise InputError(f"the data have no column 'condition'; found {data.columns[:10]}.")
    shared = arms.group_by("outcome").agg(pl.col("study").n_unique()).filter(pl.col("study") > 1)
    if shared.height:
        raise InputError(
            f"outcome {shared['outcome'][0]!r} is in several studies of the forecast, which a table does not tell apart; "
            "give a store of one of them."
        )
    scales = arms.group_by("outcome").agg(pl.col("lo").first(), pl.col("hi").first(), pl.col("study").first())
    scales_of = {item["outcome"]: item["scale"] for item in items}
    beside = {name: codes for name, scale in scales_of.items() if (codes := _codes_beside(scale))}
    data = _as_codes(data, scales_of)
    made = [composite for composite in composites if composite.name not in data.columns]
    data = _with_composites(data, arms, made, beside)
    answers = _long(data, arms).join(scales, on="outcome", how="left", maintain_order="left")
    answers = _with_control(answers, arms)
    value = pl.col("value").cast(pl.Float64, strict=False)
    weight = pl.col("weight").cast(pl.Float64, strict=False)
    known = arms["condition"].unique().to_list()
    reasons = {
        "of an outcome that the forecast does not have": pl.col("study").is_null(),
        "without a condition, or of one that the forecast does not have": ~pl.col("condition")
        .is_in(known)
        .fill_null(False),
        "not a number": ~value.is_finite().fill_null(False),
        "off their scale": ~value.is_between("lo", "hi").fill_null(False)
        | pl.any_horizontal(
            pl.lit(False), *((pl.col("outcome") == name) & value.is_in(own) for name, own in beside.items())
        ),
        "without a weight, or of one that is not above zero": ~(weight.is_finite() & (weight > 0)).fill_null(
            False
        ),
        f"of a weight below {bounds.LEAST_WEIGHT:g} or above {bounds.SURVEY_WEIGHT:g}": ~weight.is_between(
            bounds.LEAST_WEIGHT, bounds.SURVEY_WEIGHT
        ),
    }
    reason = pl.coalesce(pl.when(where).then(pl.lit(name)) for name, where in reasons.items())
    answers = answers.filter(pl.col("value").is_not_null()).with_columns(reason=reason)
    answers = answers.with_columns(reason=pl.coalesce("reason", _again(answers)))
    counts = answers.drop_nulls("reason")["reason"].value_counts(sort=True)
    used = answers.filter(pl.col("reason").is_null()).with_columns(value=value, weight=weight)
    return _means(used), dict(counts.iter_rows()) | incomplete_answers(made, data)


def _again(answers: pl.DataFrame) -> pl.Expr:
    """Why an answer does not count whose person has one that does, to the same outcome in the same condition."""
    if PERSON not in answers.columns:
        return pl.lit(None, pl.String)
    key = pl.struct(PERSON, "outcome", "condition", pl.col("reason").is_null())
    again = pl.col(PERSON).is_not_null() & ~key.is_first_distinct()
    return pl.when(again).then(pl.lit("of somebody who answered before"))


def _as_codes(data: pl.DataFrame, scales: Mapping[str, Mapping[str, Any]]) -> pl.DataFrame:
    """The table with codes in place of the labels of each outcome's scale; what is a number stays."""
    in_rows = set(data.columns) >= _IN_ROWS
    replaced: dict[str, pl.Expr] = {}
    for outcome, scale in scales.items():
        column = "value" if in_rows else outcome
        codes = _code_of_label(scale)
        if column not in data.columns or not codes:
            continue
        cell = pl.col(column)
        code = cell.str.strip_chars().str.to_lowercase().replace_strict(codes, default=None)
        is_label = cell.cast(pl.Float64, strict=False).is_null() & code.is_not_null()
        if in_rows:
            is_label &= pl.col("outcome") == outcome
        replaced[column] = pl.when(is_label).then(code).otherwise(replaced.get(column, cell))
    return data.with_columns(**replaced)


def _codes_beside(scale: Mapping[str, Any]) -> list[float]:
    """Codes of answers outside the scale's order and of no answer, which may lie between its ends."""
    return [float(code) for code in (*scale["alternatives"], *scale["missing"])]


def _code_of_label(scale: Mapping[str, Any]) -> dict[str, str]:
    """Codes as texts by their labels in small letters; of a label that two codes have there is none."""
    levels = list(zip(scale["levels"], scale["labels"]))  # labels are empty where no level has one
    levels += list(zip(scale["alternatives"], scale["alternative_labels"]))
    labels = [label.strip().lower() for _, label in levels]
    return {
        label: str(code)
        for (code, _), label in zip(levels, labels, strict=True)
        if label and labels.count(label) == 1
    }


def _as_texts(data: pl.DataFrame, names: Set[str]) -> pl.DataFrame:
    """The columns of these names as texts, as a file's are; raises InputError for one whose cells hold no single value."""
    kinds = {name: kind for name, kind in data.schema.items() if name in names}
    for name, kind in kinds.items():
        if kind.is_nested() or kind in (pl.Binary, pl.Object, pl.Duration):
            raise InputError(
                f"the data have lists, records, bytes, durations or objects in column {name!r}; give one value in each cell."
            )
    return data.with_columns(pl.col(list(kinds)).cast(pl.String))


def _with_composites(
    data: pl.DataFrame,
    arms: pl.DataFrame,
    composites: Sequence[Composite],
    beside: Mapping[str, Sequence[float]],
) -> pl.DataFrame:
    """The table with the composites that it lacks, where it has a row a person."""
    if set(data.columns) >= _IN_ROWS:
        return data
    ranges: Mapping[str, tuple[float, float]] = {
        name: (lo, hi) for name, lo, hi in arms.select("outcome", "lo", "hi").iter_rows()
    }
    return with_composite_columns(data, composites, ranges, beside)


def _long(data: pl.DataFrame, arms: pl.DataFrame) -> pl.DataFrame:
    """A row an answer: condition, outcome, value and weight, and participant_id where the table has it."""
    if "weight" not in data.columns:
        data = data.with_columns(weight=pl.lit(1.0))
    index = [name for name in ("condition", "weight", PERSON) if name in data.columns]
    if set(data.columns) >= _IN_ROWS:
        return data.select(*index, "outcome", "value")
    outcomes = arms["outcome"].unique(maintain_order=True).to_list()
    there = [name for name in outcomes if name in data.columns]
    if not there:
        raise InputError(f"the data have none of the outcomes {', '.join(outcomes[:10])}.")
    texts = data.select(*index, pl.col(there).cast(pl.String))  # composites are numbers
    return texts.unpivot(there, index=index, variable_name="outcome")


def _with_control(answers: pl.DataFrame, arms: pl.DataFrame) -> pl.DataFrame:
    """The benchmark calls the reference "control", whatever the experiment does."""
    controls = arms.filter("is_control")["condition"].unique().to_list()
    if "control" in arms["condition"].to_list() or len(controls) != 1:
        return answers
    return answers.with_columns(pl.col("condition").replace("control", controls[0]))


def _means(answers: pl.DataFrame) -> pl.DataFrame:
    at = 100 * (pl.col("value") - pl.col("lo")) / (pl.col("hi") - pl.col("lo"))
    return answers.with_columns(at=at).group_by(*ARM, maintain_order=True).agg(**weighted_mean())
