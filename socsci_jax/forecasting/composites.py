"""Means of several outcomes, such as a scale of four questions or an index of several scales."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.studies.specification import Specification

_CELL = ("study", "condition", "group", "variant")


@dataclasses.dataclass(frozen=True)
class Composite:
    """The mean of outcomes of a study; those in `reversed` count the other way round."""

    study: str
    name: str
    of: tuple[str, ...]
    reversed: tuple[str, ...] = ()

    @classmethod
    def of_json(cls, content: Mapping[str, Any]) -> Composite:
        return cls(content["study"], content["name"], tuple(content["of"]), tuple(content["reversed"]))


def composites_of(specification: Specification) -> tuple[Composite, ...]:
    """The composites of an experiment's file, in its order."""
    return tuple(
        Composite(study_id, name, own.of, own.reversed)
        for study_id, study in specification.studies.items()
        for name, own in study.composites.items()
    )


def check_composites(composites: Iterable[Composite], outcomes: Collection[tuple[str, str]]) -> None:
    """Raises InputError for a part without an order, or that is none of the (study, outcome) pairs or an earlier composite."""
    known = set(outcomes)
    for composite in composites:
        if missing := [part for part in composite.of if (composite.study, part) not in known]:
            raise InputError(
                f"composites.{composite.name}: {missing[0]!r} is no outcome with ordered answers and no composite above it."
            )
        known.add((composite.study, composite.name))


def with_composites(arms: pl.DataFrame, composites: Sequence[Composite]) -> pl.DataFrame:
    """Adds to rows of `arms.ARMS` those of composites, before them.

    The mean is that of the parts, in percentage points of their ranges.  The spread is what it would be if a person's answers
    to all parts went together perfectly: an upper bound, so that power is not promised too high.  Of the distribution nothing
    is said: levels and shares are empty.  The unit is the parts' own where they share one scale, else 0 to 100.
    """
    every = arms
    for composite in composites:
        parts = every.filter(pl.col("study") == composite.study, pl.col("outcome").is_in(composite.of))
        turned = pl.col("outcome").is_in(composite.reversed)
        mean = pl.when(turned).then(100 - pl.col("mean")).otherwise(pl.col("mean"))
        same = parts.select("lo", "hi").n_unique() == 1
        lo, hi = parts.select("lo", "hi").row(0) if same and parts.height else (0.0, 100.0)
        made = (
            parts.with_columns(mean=mean)
            .group_by(_CELL, maintain_order=True)
            .agg(
                pl.col("outcome").n_unique().alias("parts"),
                pl.col("is_control").any(),
                pl.col("mean", "sd").mean(),
                pl.col("options").max(),
                pl.col("mass").min(),
                pl.col("personas").min(),
            )
            .filter(pl.col("parts") == len(composite.of))
            .with_columns(
                outcome=pl.lit(composite.name),
                lo=pl.lit(lo),
                hi=pl.lit(hi),
                levels=pl.lit([], dtype=pl.List(pl.Float64)),
                shares=pl.lit([], dtype=pl.List(pl.Float64)),
            )
            .select(*arms.columns)
        )
        every = pl.concat([every, made])
    names = {(composite.study, composite.name) for composite in composites}
    first = [pair in names for pair in every.select("study", "outcome").iter_rows()]
    kept = pl.Series(first, dtype=pl.Boolean)
    return pl.concat([every.filter(kept), every.filter(~kept)])


def incomplete_composites(arms: pl.DataFrame, composites: Iterable[Composite]) -> list[str]:
    """Composites that an arm lacks though it has one of their parts, as "composite (condition)"."""
    lacking = []
    for composite in composites:
        own = arms.filter(pl.col("study") == composite.study)
        made = own.filter(pl.col("outcome") == composite.name)["condition"]
        parts = own.filter(pl.col("outcome").is_in(composite.of))["condition"].unique(maintain_order=True)
        lacking += [f"{composite.name} ({arm})" for arm in parts if arm not in made]
    return lacking


def incomplete_answers(composites: Iterable[Composite], data: pl.DataFrame) -> dict[str, int]:
    """How many answers of a table with a row a person are in no mean of a composite, by the composite's sentence."""
    counts = {}
    for composite in composites:
        parts = [part for part in composite.of if part in data.columns]
        if composite.name in data.columns and parts:
            given = pl.sum_horizontal(pl.col(parts).is_not_null())
            lost = data.filter(pl.col(composite.name).is_null()).select(given.sum()).item()
            counts[without_all_parts(composite)] = int(lost)
    return {why: number for why, number in counts.items() if number}


def without_all_parts(composite: Composite) -> str:
    """Why an answer is in no mean of a composite."""
    return f"in the mean {composite.name!r}: of somebody without an answer on the scale to each of its parts"


def parts_of(composites: Iterable[Composite]) -> set[str]:
    """Outcomes that are reported through a composite; a composite of one outcome is that outcome turned round."""
    return {part for composite in composites for part in composite.of}


def composite_value(
    composite: Composite, answers: Mapping[str, float | None], ranges: Mapping[str, tuple[float, float]]
) -> float | None:
    """A person's composite from answers to its parts; None where one is missing.  `ranges` are ends of the outcomes' scales."""
    at = []
    for part in composite.of:
        value, (lo, hi) = answers.get(part), ranges[part]
        if value is None:
            return None
        share = (value - lo) / (hi - lo)
        at.append(1 - share if part in composite.reversed else share)
    lo, hi = ranges[composite.name]
    return float(lo + np.mean(at) * (hi - lo))


def with_composite_columns(
    data: pl.DataFrame,
    composites: Iterable[Composite],
    ranges: Mapping[str, tuple[float, float]],
    beside: Mapping[str, Sequence[float]],
) -> pl.DataFrame:
    """Adds to a table with a row a person the composites that it lacks and has all parts of.

    `ranges` are the ends of the outcomes' scales, `beside` codes between them that are no answers on the scale.
    """
    for composite in composites:
        if composite.name in data.columns or not set(composite.of) <= set(data.columns):
            continue
        lo, hi = ranges[composite.name]
        shares = []
        for part in composite.of:
            least, most = ranges[part]
            value = pl.col(part).cast(pl.Float64, strict=False)
            # A part off its scale would hide in a mean that is on it.
            on_scale = value.is_between(least, most)
            if codes := beside.get(part):
                on_scale &= ~value.is_in(codes)
            share = pl.when(on_scale).then((value - least) / (most - least))
            shares.append(1 - share if part in composite.reversed else share)
        mean = pl.sum_horizontal(*shares, ignore_nulls=False) / len(shares)
        data = data.with_columns((lo + mean * (hi - lo)).alias(composite.name))
    return data
