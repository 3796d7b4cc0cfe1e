"""The two tables that `rectify` takes, joined into one row a person (or a person and question)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.rectification.predicted import ROW_SEEN, SEEN, flag, one_row_each
from socsci_jax.wording import counted, counted_of

KEYS = ("study_id", "item_id", "participant_id")
STUDY = "study_id"
# A column that is made here, true for predictions of whom the gold table speaks.
IN_GOLD = "socsci_jax:in_gold"


@dataclasses.dataclass(frozen=True)
class Joined:
    """`frame` has one row a prediction: keys, the gold table's columns (null where nobody answered), PREDICTION and,
    where both arms were predicted, ARM_0 and ARM_1.  `rejects` says of each excluded row why."""

    frame: pl.DataFrame
    keys: tuple[str, ...]
    both_arms: bool
    rejects: pl.DataFrame
    notes: tuple[str, ...]


def join(
    predictions: pl.DataFrame,
    gold: pl.DataFrame,
    *,
    keys: Sequence[str] = (),
    column: str = "prediction",
    treatment: str | None = None,
    others: Sequence[pl.DataFrame] = (),
    exclude_seen: bool = False,
) -> Joined:
    """Joins predictions with the answers of those who were asked.

    A prediction is `column`, the mean of `probs` over `levels`, or the mean of `value` over draws.  Both arms are
    predicted by columns S0 and S1, or by rows of one person with `treatment` 0 and 1.
    Rows that are marked `seen` were trained on: they are refused, or excluded (`exclude_seen`), or their study's
    predictions are taken from the first of `others` (other models' tables) that has not seen any of the study.
    """
    keys = tuple(keys) or tuple(key for key in KEYS if key in predictions.columns and key in gold.columns)
    _check_keys(keys, predictions, gold)
    predictions = _unseen(predictions, others, keys)
    gold = gold.with_columns(_as_text(gold, keys))
    if gold.select(pl.struct(keys).is_duplicated().any()).item():
        again = gold.filter(pl.struct(keys).is_duplicated()).select(keys).row(0)
        raise InputError(
            f"GOLD has {dict(zip(keys, again))} twice; give one row each, or name more columns as keys."
        )
    predictions = predictions.with_columns(_as_text(predictions, keys))
    each = one_row_each(predictions, keys, column, treatment, gold)
    one = each.frame
    frame = _coalesce(one, gold.with_columns(pl.lit(True).alias(IN_GOLD)), keys)
    rejects = [reject(gold.join(one, on=keys, how="anti"), keys, "there is no prediction for it")]
    notes = list(each.notes)
    unknown = frame.height
    if ROW_SEEN in frame.columns:
        unknown = frame[ROW_SEEN].null_count()
        seen = pl.col(ROW_SEEN).fill_null(False)
        number = frame.filter(seen).height
        if number and not exclude_seen:
            first = frame.filter(seen).select(keys).row(0, named=True)
            raise InputError(
                f"{counted_of(number, frame.height, 'prediction')} marked as seen in training, the first for {first}: "
                "answers that a model was trained on cannot say how wrong it is. Predict with a model that was not "
                "trained on them, exclude these rows (exclude_seen), or give other models' predictions so that each "
                "study is predicted by one that has not seen it."
            )
        rejects.append(reject(frame.filter(seen), keys, "it was seen in training"))
        frame = frame.filter(~seen).drop(ROW_SEEN)
    if unknown:
        notes.append(
            f"of {counted(unknown, 'prediction')} it is not known whether their answers were trained on (no value in column "
            "seen): the estimates hold only if none of these answers was"
        )
    return Joined(frame, keys, each.both_arms, pl.concat(rejects), tuple(notes))


def _check_keys(keys: tuple[str, ...], predictions: pl.DataFrame, gold: pl.DataFrame) -> None:
    if not keys:
        shared = [name for name in predictions.columns if name in gold.columns]
        raise InputError(
            f"The tables share none of {', '.join(KEYS)}; name the columns that say who a row is about "
            f"(keys). They share {shared or 'no column'}."
        )
    for name, table in (("PREDICTIONS", predictions), ("GOLD", gold)):
        if missing := [key for key in keys if key not in table.columns]:
            raise InputError(f"{name} has no column {missing[0]!r}; it has {table.columns}.")
        if nulls := table.select(pl.any_horizontal(pl.col(keys).is_null()).sum()).item():
            raise InputError(
                f"{name} has {counted(nulls, 'row')} without a value in {', '.join(keys)}; fill or remove them."
            )


def _as_text(table: pl.DataFrame, keys: tuple[str, ...]) -> list[pl.Expr]:
    """Keys as text, whole numbers alike whether a table writes 7 or 7.0."""
    made = []
    for key in keys:
        column = table[key]
        # Beyond 2^53 a float is no exact number, and no identifier.
        whole = column.dtype.is_float() and ((column == column.round()) & (column.abs() < 2**53)).all()
        made.append(pl.col(key).cast(pl.Int64).cast(pl.String) if whole else pl.col(key).cast(pl.String))
    return made


def _unseen(predictions: pl.DataFrame, others: Sequence[pl.DataFrame], keys: tuple[str, ...]) -> pl.DataFrame:
    """Rows of the first table that has seen nothing of their study; `predictions` itself without other tables."""
    if not others:
        return predictions
    tables = [predictions, *others]
    chosen, done = [], set()
    for at, table in enumerate(tables):
        for needed in (SEEN, STUDY, *keys):
            if needed not in table.columns:
                raise InputError(f"Predictions table {at + 1} of {len(tables)} has no column {needed!r}; choosing "
                                 "models by study needs it in each.")  # fmt: skip
        clean = table.group_by(STUDY).agg(flag(table).fill_null(True).any()).filter(~pl.col(SEEN))
        now = set(clean[STUDY].to_list()) - done
        chosen.append(table.filter(pl.col(STUDY).is_in(list(now))))
        done |= now
    every = set().union(*(table[STUDY].to_list() for table in tables))
    if left := sorted(map(str, every - done)):
        raise InputError(
            f"{counted(len(left), 'study was', 'studies were')} seen by every model, the first {left[0]!r}; predict them with a model that was "
            "trained without them."
        )
    return pl.concat(chosen, how="diagonal_relaxed")


def _coalesce(one: pl.DataFrame, gold: pl.DataFrame, keys: tuple[str, ...]) -> pl.DataFrame:
    """Left join on the keys; a column of both tables is the gold table's where it has a value, and must agree."""
    frame = one.join(gold, on=keys, how="left", suffix=":gold", maintain_order="left")
    for name in (name for name in gold.columns if f"{name}:gold" in frame.columns):
        theirs = pl.col(f"{name}:gold")
        if frame[name].dtype.is_numeric() != frame[f"{name}:gold"].dtype.is_numeric():
            frame = frame.with_columns(pl.col(name).cast(pl.String), theirs.cast(pl.String))
        differ = frame.filter(pl.col(name) != theirs)
        if not differ.is_empty():
            row = differ.row(0, named=True)
            raise InputError(
                f"{name!r} differs between the tables in {counted(differ.height, 'row')}, the first for "
                f"{ {key: row[key] for key in keys} }: {row[name]!r} in PREDICTIONS, {row[f'{name}:gold']!r} in GOLD."
            )
        frame = frame.with_columns(pl.coalesce(theirs, pl.col(name)).alias(name)).drop(f"{name}:gold")
    return frame


def reject(rows: pl.DataFrame, keys: tuple[str, ...], reason: str) -> pl.DataFrame:
    """Rows of a rejects table: keys and the reason."""
    return rows.select(*(pl.col(key).cast(pl.String) for key in keys), reason=pl.lit(reason))


def reject_rows(joined: Joined, bad: pl.Expr, reason: str) -> Joined:
    """`joined` without the rows that are bad, which are added to its rejects."""
    bad = bad.fill_null(True)
    rejects = pl.concat([joined.rejects, reject(joined.frame.filter(bad), joined.keys, reason)])
    return dataclasses.replace(joined, frame=joined.frame.filter(~bad), rejects=rejects)
