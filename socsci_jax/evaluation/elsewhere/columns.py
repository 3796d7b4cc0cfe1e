"""Reads a plain table, CSV or Parquet, and tells what its columns are."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.tables import decompressed, open_parquet, read_rows, unreadable

HINT = "write it as CSV (UTF-8, with a header) or as Parquet"

# Names under which columns are known, in any case.
PERSON = (
    "participant_id",
    "participant",
    "person",
    "respondent",
    "respondent_id",
    "profile_id",
    "id",
    "twin_id",
)
STUDY = ("study", "study_id")
CONDITION = ("condition", "arm", "treatment")
OUTCOME = ("outcome", "question", "item", "variable")
VALUE = ("value", "answer", "response", "y")
DRAW = ("draw", "sample")
WEIGHT = ("weight", "survey_weight")
CONTROL = ("is_control",)
LEVEL, PROB = ("level", "option"), ("prob", "probability", "share", "p")
MEAN, LOWER, UPPER = ("mean", "ate"), ("pi_lower", "lo", "lower"), ("pi_upper", "hi", "upper")
_WHOLE = r"^-?\d+(?:\.0+)?$"
# What stands for no answer in a table.
EMPTY = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", ".")


def read_table(path: str | Path) -> pl.DataFrame:
    """All columns of a CSV (also .gz) or Parquet file as texts, empty ones null.

    Raises InputError for a file that is no table, has no rows, or names a column twice.
    """
    path = Path(path)
    if path.suffix.lower() in (".parquet", ".pq"):
        with open_parquet(path, hint=HINT) as opened:
            try:
                frame = pl.from_arrow(read_rows(opened, path, hint=HINT))
            except (OSError, ValueError, pl.exceptions.PolarsError) as error:
                raise unreadable(path, error, hint=HINT) from error
        assert isinstance(frame, pl.DataFrame)
        nested = [name for name, kind in frame.schema.items() if kind.is_nested()]
        if nested:
            raise InputError(
                f"{path}: column {nested[0]!r} holds lists or records; give one value in each cell."
            )
        frame = frame.with_columns(pl.all().cast(pl.String, strict=False))
    else:
        frame = _read_csv(path)
    if frame.is_empty():
        raise InputError(f"{path}: the table has no rows; {HINT}.")
    return frame.with_columns(
        pl.when(pl.all().str.strip_chars().is_in(EMPTY))
        .then(None)
        .otherwise(pl.all().str.strip_chars())
        .name.keep()
    )


def _read_csv(path: Path) -> pl.DataFrame:
    if not path.is_file():
        raise InputError(f"{path}: {'is no file' if path.exists() else 'file not found'}; {HINT}.")
    content = decompressed(path, hint=HINT) if path.suffix.lower() == ".gz" else path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
        header = pl.read_csv(io.StringIO(text), has_header=False, n_rows=1, infer_schema=False).row(0)
        frame = pl.read_csv(io.StringIO(text), infer_schema=False)
    except (UnicodeDecodeError, pl.exceptions.PolarsError, ValueError) as error:
        raise unreadable(path, error, hint=HINT) from error
    twice = sorted({name for name in header if name is not None and header.count(name) > 1})
    if twice:
        raise InputError(f"{path}: column {twice[0]!r} is there twice; {HINT}.")
    return frame


def find(frame: pl.DataFrame, names: Sequence[str]) -> str | None:
    """The first column that has one of these names, in any case."""
    by_name = {name.lower(): name for name in reversed(frame.columns)}
    return next((by_name[name] for name in names if name in by_name), None)


def whole_ids(name: str) -> pl.Expr:
    """A column of identifiers in which whole numbers are alike whether a table writes 7 or 7.0.

    A column that holds anything else is left as it is.
    """
    ids = pl.col(name)
    return pl.when(ids.str.contains(_WHOLE).all()).then(ids.str.replace(r"\.0+$", "")).otherwise(ids)


@dataclasses.dataclass(frozen=True)
class Rejected:
    """Rows that could not be used: table, row (from 1, without the header), column, reason, value."""

    frame: pl.DataFrame

    @classmethod
    def none(cls) -> Rejected:
        return cls(pl.DataFrame(schema=REJECTED))

    def __add__(self, other: Rejected) -> Rejected:
        return Rejected(pl.concat([self.frame, other.frame]))


REJECTED = {
    "table": pl.String,
    "row": pl.Int64,
    "column": pl.String,
    "reason": pl.String,
    "value": pl.String,
}


def rejected(table: str, rows: pl.DataFrame, *, reason: str, value: str = "raw") -> Rejected:
    """`rows` has `row` and `outcome`, and the text that was found in `value`."""
    return Rejected(
        rows.select(
            pl.lit(table).alias("table"),
            pl.col("row").cast(pl.Int64),
            pl.col("outcome").cast(pl.String).alias("column"),
            pl.lit(reason).alias("reason"),
            pl.col(value).cast(pl.String).alias("value"),
        )
    )
