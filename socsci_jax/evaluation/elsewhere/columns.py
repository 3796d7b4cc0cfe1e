"""Reads a plain table, CSV or Parquet, and tells what its columns are."""

from __future__ import annotations

import collections
import dataclasses
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa

from socsci_jax import bounds
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
    "user_id",
    "userid",
    "subject_id",
    "response_id",
    "responseid",
    "worker_id",
    "workerid",
    "prolific_pid",
    "caseid",
    "case_id",
)
STUDY = ("study", "study_id")
CONDITION = ("condition", "arm", "treatment")
OUTCOME = ("outcome", "question", "item", "variable")
VALUE = ("value", "answer", "response", "y")
DRAW = ("draw", "sample")
WEIGHT = ("weight", "survey_weight")
CONTROL = ("is_control",)
LEVEL, PROB = ("level", "option"), ("prob", "probability", "share", "p")
COUNT = ("count", "n", "freq", "frequency")
# One cell holds all probabilities of a question, as JSON.
PROBS = ("probs", "probabilities", "distribution")
MEAN, LOWER, UPPER = ("mean", "ate"), ("pi_lower", "lo", "lower"), ("pi_upper", "hi", "upper")
SPREAD = ("sd", "std", "std_dev", "stddev", "standard_deviation")
STANDARD_ERROR = ("se", "std_error", "standard_error")
_WHOLE = r"^-?\d+(?:\.0+)?$"
# Names that programs give to a column that numbers the rows.
_INDEX = re.compile(r"|index|unnamed: \d+(\.\d+)?|__index_level_\d+__|\.\.\.1|rownames|row_?names|column 1|x")
# Whole numbers that differ in every one of so many rows are identifiers, not answers.
_ROWS_OF_IDS = 30
_IDENTIFIER = re.compile(r".*[_. ]id|.*[a-z]I[dD]|id[_. ].*", re.DOTALL)
# What stands for no answer in a table.
EMPTY = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", ".")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlainTable:
    """A table of texts with its path; `labels` says what codes of a column mean, where the file does, `misfits` which rows
    of the file are no rows of the table, and why."""

    path: Path
    frame: pl.DataFrame
    labels: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    misfits: tuple[tuple[int, str], ...] = ()

    @property
    def rejected(self) -> Rejected:
        """The misfits as rows that could not be used."""
        rows = [(str(self.path), row, None, why, None) for row, why in self.misfits]
        return Rejected(pl.DataFrame(rows, schema=REJECTED, orient="row"))


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
        frame = _probabilities_as_json(frame)
        nested = [name for name, kind in frame.schema.items() if kind.is_nested()]
        if nested:
            raise InputError(
                f"{path}: column {nested[0]!r} holds lists or records; give one value in each cell."
            )
        frame = frame.with_columns(pl.col(pl.Duration).dt.to_string("iso"))
        frame = frame.with_columns(pl.all().cast(pl.String, strict=False))
    else:
        frame = _read_csv(path)
    if frame.is_empty():
        raise InputError(f"{path}: the table has no rows; {HINT}.")
    if frame.width > bounds.TABLE_COLUMNS:
        raise InputError(f"{path}: {frame.width:,} columns; at most {bounds.TABLE_COLUMNS:,} are read.")
    return without_empty(frame)


def without_empty(frame: pl.DataFrame) -> pl.DataFrame:
    """Texts without outer blanks, null where one stands for no answer."""
    if frame.width <= _MANY_COLUMNS:
        return pl.DataFrame([_stripped(column) for column in frame.iter_columns()])
    # Each call takes about a millisecond, whatever it is given: of tens of thousands of columns it is given all cells at once.
    chunks = [chunk for column in frame.to_arrow().columns for chunk in column.chunks]
    cells = _stripped(pl.Series(pl.from_arrow(pa.chunked_array(chunks)))).to_arrow()
    columns = [cells.slice(n * frame.height, frame.height) for n in range(frame.width)]
    return pl.DataFrame(pl.from_arrow(pa.Table.from_arrays(columns, names=frame.columns)))


_MANY_COLUMNS = 500


def _stripped(cells: pl.Series) -> pl.Series:
    cells = cells.str.strip_chars()
    return cells.set(cells.is_in(EMPTY), None)


def _probabilities_as_json(frame: pl.DataFrame) -> pl.DataFrame:
    """A column of lists or records of probabilities as the texts that a CSV would hold."""
    name = find(frame, PROBS)
    if name is None or not frame.schema[name].is_nested():
        return frame
    texts = [None if cell is None else json.dumps(cell) for cell in frame[name].to_list()]
    return frame.with_columns(pl.Series(name, texts, dtype=pl.String))


def _read_csv(path: Path) -> pl.DataFrame:
    if not path.is_file():
        raise InputError(f"{path}: {'is no file' if path.exists() else 'file not found'}; {HINT}.")
    try:
        text = decompressed(path, hint=HINT).decode("utf-8-sig")
        header = pl.read_csv(io.StringIO(text), has_header=False, n_rows=1, infer_schema=False).row(0)
        frame = pl.read_csv(io.StringIO(text), infer_schema=False)
    except InputError:
        raise
    except (UnicodeDecodeError, pl.exceptions.PolarsError, ValueError) as error:
        raise unreadable(path, error, hint=HINT) from error
    counts = collections.Counter(name for name in header if name is not None)
    twice = sorted(name for name, count in counts.items() if count > 1)
    if twice:
        raise InputError(f"{path}: column {twice[0]!r} is there twice; {HINT}.")
    return frame


def find(frame: pl.DataFrame, names: Sequence[str]) -> str | None:
    """The first column that has one of these names, in any case."""
    by_name = {name.lower(): name for name in reversed(frame.columns)}
    return next((by_name[name] for name in names if name in by_name), None)


def person_of(frame: pl.DataFrame) -> str | None:
    """The column that says who answered: one of the known names, else the first that ends in "id" and names nobody twice."""
    known = find(frame, PERSON)
    if known is not None:
        return known
    named = (name for name in frame.columns if _IDENTIFIER.fullmatch(name))
    return next((name for name in named if name.lower() not in STUDY and _all_differ(frame[name])), None)


def without_row_numbers(frame: pl.DataFrame, *, person: str | None) -> tuple[pl.DataFrame, list[str]]:
    """The table without columns that only number its rows, and their names; `person` is kept."""
    numbers = [
        name
        for name in frame.columns
        if name != person and _INDEX.fullmatch(name.lower()) and _numbers_rows(frame[name])
    ]
    return frame.drop(numbers), numbers


def is_identifier(column: pl.Series) -> bool:
    """Whether a column names its rows: whole numbers that differ in every one of many."""
    known = column.drop_nulls()
    return (
        len(known) >= _ROWS_OF_IDS
        and bool(known.str.contains(_WHOLE).all())
        and known.n_unique() == len(known)
    )


def _all_differ(column: pl.Series) -> bool:
    return column.null_count() == 0 and column.n_unique() == len(column)


def _numbers_rows(column: pl.Series) -> bool:
    """Whether it counts 0, 1, 2, ... or 1, 2, 3, ..."""
    values = column.cast(pl.Float64, strict=False)
    if values.null_count():
        return False
    steps = values - pl.Series(range(len(values)), dtype=pl.Float64)
    return bool((steps == steps[0]).all()) and steps[0] in (0, 1)


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
