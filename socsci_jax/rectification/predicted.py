"""One prediction a person, whatever the form of the table: a number, probabilities, draws, or both arms."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.wording import counted, counted_of

SEEN, UNSEEN, NOTHING = (
    "seen",
    "unseen",
    "nothing",
)  # columns of a predictions table; nothing of the answer was unseen
DRAW, VARIANT = "draw", "variant"
# Names of the columns that are made here, which no table from outside can have by accident.
PREDICTION, ARM_0, ARM_1, ROW_SEEN = (f"socsci_jax:{name}" for name in ("prediction", "S0", "S1", "seen"))


@dataclasses.dataclass(frozen=True)
class OneRowEach:
    """A row a key with PREDICTION, or ARM_0 and ARM_1 (`both_arms`); `notes` say what of the table is not in it."""

    frame: pl.DataFrame
    both_arms: bool
    notes: tuple[str, ...] = ()


def one_row_each(
    table: pl.DataFrame, keys: tuple[str, ...], column: str, treatment: str | None, gold: pl.DataFrame
) -> OneRowEach:
    """One row a key, from predictions, draws, or rows of both arms; the other columns are kept where a key has one value."""
    seen = [flag(table).alias(ROW_SEEN)] if {SEEN, UNSEEN} & set(table.columns) else []
    if {"S0", "S1"} <= set(table.columns):
        check_once(table, keys)
        arms = [_number(table, name).alias(made) for name, made in (("S0", ARM_0), ("S1", ARM_1))]
        return OneRowEach(table.with_columns(*arms, *seen).drop(SEEN, "S0", "S1", strict=False), True)
    table = table.with_columns(_prediction(table, column), *seen).drop(SEEN, strict=False)
    used = [name for name in ("levels", "probs", "value", "mass_on_levels", column) if name in table.columns]
    table = table.drop(used)
    in_rows = treatment is not None and treatment in table.columns and treatment in gold.columns
    in_rows = in_rows and table.select(pl.struct(keys).is_duplicated().any()).item()
    group = [*keys, treatment] if in_rows else list(keys)
    notes: list[str] = []
    if DRAW in table.columns:
        table = _mean_of_draws(table, group, notes)
    check_once(table, group)
    if not in_rows:
        return OneRowEach(table, False, tuple(notes))
    if not zero_or_one(table[treatment]) or table[treatment].null_count():
        raise InputError(
            f"Predictions of several arms a person, but {treatment!r} is not 0 or 1 in all rows."
        )
    arms = [
        pl.col(PREDICTION).filter(pl.col(treatment) == arm).first().alias(made)
        for arm, made in ((0, ARM_0), (1, ARM_1))
    ]
    return OneRowEach(_grouped(table, keys, notes, *arms, besides=[treatment]), True, tuple(notes))


def _mean_of_draws(table: pl.DataFrame, group: Sequence[str], notes: list[str]) -> pl.DataFrame:
    """The mean over a key's draws, and over variants of its prompt; raises InputError where a draw is there twice."""
    check_once(table, [*group, *(name for name in (DRAW, VARIANT) if name in table.columns)])
    if empty := table.filter(~pl.col(PREDICTION).is_finite().fill_null(False)).height:
        notes.append(
            f"{counted_of(empty, table.height, 'draw')} without a value: the mean is over the others"
        )
        table = table.with_columns(pl.when(pl.col(PREDICTION).is_finite()).then(PREDICTION).alias(PREDICTION))
    return _grouped(table, group, notes, pl.col(PREDICTION).mean(), besides=[DRAW, VARIANT])


def _grouped(
    table: pl.DataFrame, group: Sequence[str], notes: list[str], *made: pl.Expr, besides: Sequence[str]
) -> pl.DataFrame:
    """A row a key with what is `made`; it was trained on if any of its rows was.

    A column in which rows of one key differ is not kept, with a note: any one of its values would be a matter of order.
    """
    others = [n for n in table.columns if n not in (*group, *besides, PREDICTION, ROW_SEEN)]
    any_seen = [pl.col(ROW_SEEN).any(ignore_nulls=False)] if ROW_SEEN in table.columns else []
    keys = table.select(pl.struct(group).n_unique()).item()
    several = [n for n in others if table.select(pl.struct(*group, n).n_unique()).item() > keys]
    if several:
        shown = ", ".join(map(repr, several[:5])) + (", ..." if len(several) > 5 else "")
        notes.append(
            f"{counted(len(several), 'column')} of PREDICTIONS ({shown}) not used: rows of one key differ there"
        )
    kept = [pl.col(name).first() for name in others if name not in several]
    return table.group_by(group, maintain_order=True).agg(*made, *kept, *any_seen)


def _prediction(table: pl.DataFrame, column: str) -> pl.Series | pl.Expr:
    """The prediction of a row as a number."""
    if {"levels", "probs"} <= set(table.columns) and table["probs"].is_not_null().any():
        table = table.with_columns(_list(table, "levels"), _list(table, "probs"))
        lengths = table.select((pl.col("levels").list.len() != pl.col("probs").list.len()).any()).item()
        total = table.select(((pl.col("probs").list.sum() - 1).abs() > 1e-4).any()).item()
        if lengths or total:
            raise InputError(
                "probs must be as many as levels and sum to 1 in every row; check the predictions table."
            )
        return (table["levels"] * table["probs"]).list.sum().alias(PREDICTION)
    for name in (column, "value"):
        if name in table.columns:
            return _number(table, name).alias(PREDICTION)
    raise InputError(
        f"PREDICTIONS has no column {column!r}, nor levels and probs, value, or S0 and S1; it has {table.columns}."
    )


def _list(table: pl.DataFrame, name: str) -> pl.Series:
    """A column of lists of numbers, which CSV holds as JSON: [0.5, 0.5]."""
    column = table[name]
    try:
        if column.dtype == pl.String:
            column = column.str.json_decode(pl.List(pl.Float64))
        return column.cast(pl.List(pl.Float64))
    except pl.exceptions.PolarsError as error:
        raise InputError(
            f"Column {name!r} of PREDICTIONS does not hold lists of numbers such as [0.5, 0.5]: "
            f"{str(error).splitlines()[0][:200]}."
        ) from error


def _number(table: pl.DataFrame, name: str) -> pl.Expr:
    known = table[name].drop_nulls()
    if not (known.is_empty() or known.dtype.is_numeric() or known.dtype == pl.Boolean):
        raise InputError(f"Column {name!r} of PREDICTIONS is not numeric; it holds {known[0]!r}.")
    return pl.col(name).cast(pl.Float64)


def flag(table: pl.DataFrame) -> pl.Expr:
    """Whether a row was trained on, by its columns seen and unseen; null where neither says."""
    seen = _seen(table) if SEEN in table.columns else pl.lit(None, pl.Boolean)
    if UNSEEN not in table.columns:
        return seen.alias(SEEN)
    unseen = pl.col(UNSEEN).cast(pl.String).str.strip_chars().str.to_lowercase()
    nothing = unseen == NOTHING
    # Either column is enough to say that it was.
    return (seen.fill_null(False) | pl.coalesce(nothing, seen)).alias(SEEN)


def _seen(table: pl.DataFrame) -> pl.Expr:
    column = table[SEEN]
    if column.dtype == pl.String:
        # Tables written elsewhere say True, which is a text to readers that know true alone.
        words = column.str.strip_chars().str.to_lowercase()
        if words.is_in(["true", "false"]).fill_null(True).all():
            return pl.col(SEEN).str.strip_chars().str.to_lowercase() == "true"
    if not zero_or_one(column):
        raise InputError(
            f"Column 'seen' of PREDICTIONS is not true or false; it holds {column.drop_nulls()[0]!r}."
        )
    return pl.col(SEEN).cast(pl.Boolean)


def zero_or_one(column: pl.Series) -> bool:
    """Whether a column holds nothing but 0 and 1, or true and false, and missing values."""
    if column.dtype == pl.Boolean or column.null_count() == len(column):
        return True
    return column.dtype.is_numeric() and bool(((column == 0) | (column == 1)).fill_null(True).all())


def check_once(table: pl.DataFrame, keys: Sequence[str]) -> None:
    again = table.filter(pl.struct(keys).is_duplicated())
    if not again.is_empty():
        row = again.select(keys).row(0, named=True)
        raise InputError(f"PREDICTIONS has {row} twice; give one row each, or name more columns as keys.")
