"""A table of profiles becomes a tidy table of effects and marginal means, by subgroup and corrected for mistakes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.estimation.conjoint import Components, Conjoint, amce, marginal_means
from socsci_jax.estimation.reliability import Bootstrapped, corrected
from socsci_jax.wording import counted

# No respondent sees so many attributes; more columns are something else.
MOST_ATTRIBUTES = 40
MOST_LEVELS = 50


@dataclasses.dataclass(frozen=True, kw_only=True)
class Columns:
    """Which column is what.  `attributes` empty takes all columns that are nothing else; `by` names subgroups,
    `agrees` whether a respondent chose the same in a repeated task (1, 0, empty if there was none)."""

    choice: str
    respondent: str
    attributes: tuple[str, ...] = ()
    weights: str | None = None
    by: str | None = None
    agrees: str | None = None

    def named(self) -> tuple[str, ...]:
        optional = (self.weights, self.by, self.agrees)
        return (self.choice, self.respondent, *(name for name in optional if name))


def conjoint_table(
    profiles: pl.DataFrame,
    columns: Columns,
    *,
    restricted: Sequence[Sequence[str]] = (),
    source: str = "human",
    seed: int = 0,
) -> pl.DataFrame:
    """Tidy: source (whose choices), estimand, group, attribute, level, estimate, se, lo, hi, p, n (profiles).

    Estimands are amce and marginal_mean, of all respondents (group null) and of each subgroup; with `agrees` also
    reliability (irr, tau) and amce_corrected, marginal_mean_corrected with bootstrap intervals.  Incomplete profiles are
    excluded (`excluded_profiles` lists them); InputError where a column cannot be what it is declared to be.
    """
    conjoint, frame = read_conjoint(profiles, columns)
    estimands: dict[str, Callable[[Conjoint], Components]] = {
        "amce": lambda part: amce(part, restricted=restricted),
        "marginal_mean": marginal_means,
    }
    groups = (
        [None] if columns.by is None else [None, *sorted(frame[columns.by].drop_nulls().unique().to_list())]
    )
    rows: list[dict[str, object]] = []
    for group in groups:
        part = conjoint
        if columns.by is not None and group is not None:
            part = conjoint.rows((frame[columns.by] == group).fill_null(False).to_numpy())
        for estimand, estimate in estimands.items():
            rows += _component_rows(estimand, group, estimate(part), part)
    if columns.agrees is not None:
        rows += _corrected_rows(
            conjoint,
            frame,
            respondent=columns.respondent,
            agrees=columns.agrees,
            restricted=restricted,
            seed=seed,
        )
    return pl.DataFrame([{"source": source, **row} for row in rows], schema=SCHEMA)


SCHEMA = {
    **dict.fromkeys(("source", "estimand", "group", "attribute", "level"), pl.String),
    **dict.fromkeys(("estimate", "se", "lo", "hi", "p"), pl.Float64),
    "n": pl.Int64,
}


def read_conjoint(profiles: pl.DataFrame, columns: Columns) -> tuple[Conjoint, pl.DataFrame]:
    """The profiles that are complete, and their rows of the table."""
    attributes = _attributes(profiles, columns)
    frame = profiles.filter(_reason(profiles, columns, attributes).is_null()).with_columns(
        pl.col(columns.choice).cast(pl.Float64)
    )
    if frame.is_empty():
        raise InputError("No profile has a choice, a respondent and all levels.")
    conjoint = Conjoint(
        {name: frame[name].cast(pl.String).to_numpy() for name in attributes},
        frame[columns.choice].to_numpy(),
        frame[columns.respondent].cast(pl.String).to_numpy(),
        None if columns.weights is None else frame[columns.weights].cast(pl.Float64).to_numpy(),
    )
    return conjoint, frame


def excluded_profiles(profiles: pl.DataFrame, columns: Columns) -> pl.DataFrame:
    """The profiles that are in no estimate: row (counted from 1), reason, and their cells as texts."""
    reason = _reason(profiles, columns, _attributes(profiles, columns))
    cells = profiles.select(pl.all().cast(pl.String))
    numbered = cells.select(
        pl.int_range(1, pl.len() + 1).alias("row"), reason.alias("reason"), pl.all().exclude("row", "reason")
    )
    return numbered.filter(pl.col("reason").is_not_null())


def _reason(profiles: pl.DataFrame, columns: Columns, attributes: Sequence[str]) -> pl.Series:
    """Why a profile cannot be used, null for one that can."""
    choice = pl.col(columns.choice).cast(pl.Float64)
    reasons = [
        pl.when(choice.is_null() | choice.is_nan()).then(pl.lit("no choice")),
        pl.when(choice.is_infinite()).then(pl.lit("its choice is not finite")),
        pl.when(_is_blank(columns.respondent)).then(pl.lit("no respondent")),
        *(pl.when(_is_blank(name)).then(pl.lit(f"no level of {name!r}")) for name in attributes),
    ]
    if columns.weights is not None:
        weight = pl.col(columns.weights).cast(pl.Float64)
        reasons.append(pl.when(~weight.is_finite().fill_null(False)).then(pl.lit("no weight")))
    return profiles.select(reason=pl.coalesce(reasons))["reason"]


def _is_blank(name: str) -> pl.Expr:
    text = pl.col(name).cast(pl.String)
    return text.is_null() | (text.str.strip_chars() == "")


def _attributes(profiles: pl.DataFrame, columns: Columns) -> tuple[str, ...]:
    """The columns that are attributes; raises InputError where a column cannot be what it is declared to be."""
    for name in (*columns.named(), *columns.attributes):
        if name not in profiles.columns:
            raise InputError(f"There is no column {name!r}; the table has {profiles.columns[:40]}.")
    if sorted(profiles[columns.choice].drop_nulls().unique().to_list()) == [1, 2]:
        raise InputError(
            f"The choices {columns.choice!r} are 1 and 2, codes of yes and no; write 1 for chosen and 0 for not."
        )
    if columns.weights is not None and not profiles[columns.weights].dtype.is_numeric():
        raise InputError(f"The weights {columns.weights!r} are not numbers.")
    attributes = columns.attributes or tuple(c for c in profiles.columns if c not in columns.named())
    if not 1 <= len(attributes) <= MOST_ATTRIBUTES:
        raise InputError(
            f"{counted(len(attributes), 'column')} would be attributes; name those that are (attributes)."
        )
    if not profiles[columns.choice].dtype.is_numeric():
        raise InputError(f"The choices {columns.choice!r} are not numbers; 1 is chosen, 0 is not.")
    for name in attributes:
        if (levels := profiles[name].n_unique()) > MOST_LEVELS:
            raise InputError(
                f"{name!r} has {counted(levels, 'level')}, so that it is no attribute; name those that are."
            )
    return attributes


def _component_rows(estimand: str, group: object, of: Components, part: Conjoint) -> list[dict[str, object]]:
    estimates = of.estimates
    return [
        {
            "estimand": estimand,
            "group": None if group is None else str(group),
            "attribute": attribute,
            "level": level,
            "estimate": estimates.estimate[at],
            "se": estimates.se[at],
            "lo": estimates.lo[at],
            "hi": estimates.hi[at],
            "p": estimates.p[at] if estimand == "amce" else None,
            "n": int((part.attributes[attribute] == level).sum()),
        }
        for at, (attribute, level) in enumerate(zip(of.attribute, of.level))
    ]


def _corrected_rows(
    conjoint: Conjoint,
    frame: pl.DataFrame,
    *,
    respondent: str,
    agrees: str,
    restricted: Sequence[Sequence[str]],
    seed: int,
) -> list[dict[str, object]]:
    people = (
        frame.select(pl.col(respondent).cast(pl.String), agrees=pl.col(agrees))
        .drop_nulls()
        .unique(maintain_order=True)
    )
    if not people["agrees"].dtype.is_numeric() and people["agrees"].dtype != pl.Boolean:
        raise InputError(f"{agrees!r} is not 1 or 0; it holds {people['agrees'][0]!r}.")
    correction = corrected(
        conjoint,
        respondent=people[respondent].to_numpy(),
        agrees=people["agrees"].cast(pl.Float64).to_numpy(),
        restricted=restricted,
        seed=seed,
    )
    rows = [
        _bootstrap_row(name, None, None, value, None, people.height)
        for name, value in (("irr", correction.irr), ("tau", correction.tau))
    ]
    for estimand, keys, values in (
        ("marginal_mean_corrected", correction.levels, correction.corrected_means),
        ("amce_corrected", correction.effect_levels, correction.corrected_effects),
    ):
        rows += [
            _bootstrap_row(estimand, *key, values, at, int((conjoint.attributes[key[0]] == key[1]).sum()))
            for at, key in enumerate(keys)
        ]
    return rows


def _bootstrap_row(
    estimand: str, attribute: str | None, level: str | None, of: Bootstrapped, at: int | None, n: int
) -> dict[str, object]:
    value, se, lo, hi = (float(np.atleast_1d(field)[at or 0]) for field in (of.value, of.se, of.lo, of.hi))
    return {
        "estimand": estimand, "group": None, "attribute": attribute, "level": level, "estimate": value, "se": se,
        "lo": lo, "hi": hi, "p": None, "n": n,
    }  # fmt: skip
