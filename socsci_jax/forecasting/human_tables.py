"""People's means by arm, from a plain table of their answers; what cannot be used is counted by its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

import polars as pl

from socsci_jax import bounds
from socsci_jax.errors import InputError
from socsci_jax.forecasting.composites import Composite, incomplete_answers, with_composite_columns
from socsci_jax.forecasting.human import ARM, weighted_mean

PERSON = "participant_id"
# Columns of a table with a row an answer.
_IN_ROWS = {"outcome", "value"}


def arms_of_table(
    data: pl.DataFrame, arms: pl.DataFrame, composites: Sequence[Composite] = ()
) -> tuple[pl.DataFrame, dict[str, int]]:
    """People's means by arm as `human_arms` gives them, and how many answers are excluded for which reason.

    Composites that a table with a row a person lacks are made of their parts.  Empty cells are no answers.  Raises
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
    made = [composite for composite in composites if composite.name not in data.columns]
    data = _with_composites(data, arms, made)
    answers = _long(data, arms).join(scales, on="outcome", how="left", maintain_order="left")
    answers = _with_control(answers, arms)
    key = [name for name in (PERSON, "outcome", "condition") if name in answers.columns]
    named = pl.col(PERSON).is_not_null() if PERSON in key else pl.lit(False)
    again = named & ~pl.struct(key).is_first_distinct()
    value = pl.col("value").cast(pl.Float64, strict=False)
    weight = pl.col("weight").cast(pl.Float64, strict=False)
    known = arms["condition"].unique().to_list()
    reasons = {
        "of an outcome that the forecast does not have": pl.col("study").is_null(),
        "without a condition, or of one that the forecast does not have": ~pl.col("condition")
        .is_in(known)
        .fill_null(False),
        "not a number": ~value.is_finite().fill_null(False),
        "off their scale": ~value.is_between("lo", "hi").fill_null(False),
        "without a weight, or of one that is not above zero": ~(weight.is_finite() & (weight > 0)).fill_null(
            False
        ),
        f"of a weight below {bounds.LEAST_WEIGHT:g} or above {bounds.SURVEY_WEIGHT:g}": ~weight.is_between(
            bounds.LEAST_WEIGHT, bounds.SURVEY_WEIGHT
        ),
        "of somebody who answered before": again,
    }
    reason = pl.coalesce(pl.when(where).then(pl.lit(name)) for name, where in reasons.items())
    answers = answers.filter(pl.col("value").is_not_null()).with_columns(reason=reason)
    counts = answers.drop_nulls("reason")["reason"].value_counts(sort=True)
    used = answers.filter(pl.col("reason").is_null()).with_columns(value=value, weight=weight)
    return _means(used), dict(counts.iter_rows()) | incomplete_answers(made, data)


def _as_texts(data: pl.DataFrame, names: Set[str]) -> pl.DataFrame:
    """The columns of these names as texts, as a file's are; raises InputError for one whose cells hold no single value."""
    kinds = {name: kind for name, kind in data.schema.items() if name in names}
    for name, kind in kinds.items():
        if kind.is_nested() or kind in (pl.Binary, pl.Object, pl.Duration):
            raise InputError(
                f"the data have lists, records, bytes, durations or objects in column {name!r}; give one value in each cell."
            )
    return data.with_columns(pl.col(list(kinds)).cast(pl.String))


def _with_composites(data: pl.DataFrame, arms: pl.DataFrame, composites: Sequence[Composite]) -> pl.DataFrame:
    """The table with the composites that it lacks, where it has a row a person."""
    if set(data.columns) >= _IN_ROWS:
        return data
    ranges: Mapping[str, tuple[float, float]] = {
        name: (lo, hi) for name, lo, hi in arms.select("outcome", "lo", "hi").iter_rows()
    }
    return with_composite_columns(data, composites, ranges)


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
