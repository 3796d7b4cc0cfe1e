"""A table as a deposit holds it: cells as text, with what its file says about columns and codes."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import polars as pl

from data_pipelines.formats.limits import MOST_CELLS, MOST_COLUMNS
from data_pipelines.formats.names import unique_names
from socsci_jax.errors import InputError
from socsci_jax.studies.specification import SourceFile
from socsci_jax.wording import counted

FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".zip": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".xlsx": "excel",
    ".xlsm": "excel",
    ".xlsb": "excel",
    ".xls": "excel",
    ".ods": "excel",
    ".sav": "spss",
    ".zsav": "spss",
    ".por": "spss",
    ".dta": "stata",
    ".rds": "r",
    ".rdata": "r",
    ".rda": "r",
    ".md": "text",
    ".txt": "text",
    ".rmd": "text",
    ".qmd": "text",
    ".markdown": "text",
    ".docx": "docx",
    ".pdf": "pdf",
    ".json": "json",
    ".qsf": "json",
}
TABLE_FORMATS = ("csv", "jsonl", "excel", "spss", "stata", "r")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """Cells as text, null where empty.

    `numbers` are the rows' places in the file, from 1 on without the header.  `labels` name columns; `value_labels`
    and `missing` say what codes of a column mean and which of them stand for no answer, as the file declares it.
    `notes` say what was found rather than told: encoding, delimiter, cells that count as empty.  `misfits` are rows
    that could not be read: their place and why.
    """

    name: str
    frame: pl.DataFrame
    numbers: pl.Series
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    value_labels: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    missing: Mapping[str, frozenset[str]] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    misfits: tuple[tuple[int, str], ...] = ()


def format_of(source: SourceFile) -> str:
    """The format that a specification gives, or that the file's name ends in; raises InputError for an unknown end."""
    if source.format is not None:
        return source.format
    suffixes = Path(source.path.lower()).suffixes
    suffix = suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else "".join(suffixes[-1:])
    if suffix not in FORMATS:
        raise InputError(
            f"{source.path}: its name ends in {suffix or 'nothing'!r}, which is not known ({', '.join(FORMATS)}); "
            "say what it is under `format`."
        )
    return FORMATS[suffix]


def source_of(path: Path | str, *, sheet: str | None = None, object_name: str | None = None) -> SourceFile:
    """A file that no specification describes.

    Raises InputError for a name that is not UTF-8, which no specification could hold.
    """
    name = str(path)
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InputError(f"{path}: the file's name is not UTF-8; give it another one.") from None
    return SourceFile(path=name, sheet=sheet, object=object_name)


def read_table(path: Path, source: SourceFile) -> Table:
    """The table that a file holds.

    Raises InputError for a file that is absent, damaged, no table, or larger than is allowed.
    """
    return _without(read_cells(path, source), skipped=source.skip_rows, empty=source.empty)


def read_cells(path: Path, source: SourceFile) -> Table:
    """The table with all its rows and cells as they stand in the file, whatever `source` says of them."""
    kind = format_of(source)
    if not path.is_file():
        raise InputError(f"{path}: file not found.")
    if kind == "csv":
        from data_pipelines.formats.csv_table import read_csv

        return read_csv(path, encoding=source.encoding, delimiter=source.delimiter)
    if kind == "jsonl":
        from data_pipelines.formats.json_table import read_json_table

        return read_json_table(path)
    if kind in TABLE_FORMATS:
        from data_pipelines.formats.isolated import read_table_isolated

        return read_table_isolated(path, kind=kind, sheet=source.sheet, object_name=source.object)
    raise InputError(f"{path}: a {kind} file holds no table of answers; {', '.join(TABLE_FORMATS)} files do.")


def make_table(
    name: str,
    columns: Mapping[str, Sequence[str | None]],
    *,
    labels: Mapping[str, str] | None = None,
    value_labels: Mapping[str, Mapping[str, str]] | None = None,
    missing: Mapping[str, frozenset[str]] | None = None,
    notes: Iterable[str] = (),
) -> Table:
    """A table of equally long columns of text."""
    frame = pl.DataFrame({name: pl.Series(values, dtype=pl.String) for name, values in columns.items()})
    check_size(name, rows=frame.height, columns=frame.width)
    return Table(
        name=name,
        frame=frame,
        numbers=pl.int_range(1, frame.height + 1, eager=True).alias("row"),
        labels=labels or {},
        value_labels=value_labels or {},
        missing=missing or {},
        notes=tuple(notes),
    )


def check_size(name: str, *, rows: int, columns: int) -> None:
    """Raises InputError for a table of more columns or cells than are read."""
    if columns > MOST_COLUMNS or rows * columns > MOST_CELLS:
        raise InputError(
            f"{name}: {counted(rows, 'row')} of {counted(columns, 'column')}; at most {MOST_COLUMNS:,} columns and {MOST_CELLS:,} cells "
            "are read."
        )


def column_names(name: str, header: Sequence[str | None], notes: list[str]) -> list[str]:
    """Names without outer spaces; a column without a name gets its place.

    Columns of one name are numbered, so that none of them can be taken for another, and a note says so.
    """
    if not header:
        raise InputError(f"{name}: holds no table; a header and rows are needed.")
    bare = collections.Counter((text or "").strip() for text in header)
    repeated = [text for text, count in bare.items() if text and count > 1]
    if repeated:
        shown = ", ".join(map(repr, repeated[:5])) + (", ..." if len(repeated) > 5 else "")
        notes.append(
            f"{name}: several columns have the names {shown}; they are called '{repeated[0]} (1)' and so on."
        )
    return unique_names([text or "" for text in header])


def _without(table: Table, *, skipped: Sequence[int], empty: Sequence[str]) -> Table:
    """The table without the rows under its header that hold no answers, and with empty cells as null."""
    stripped = pl.col(pl.String).str.strip_chars()
    markers = [text.casefold() for text in empty]
    frame = table.frame.select(stripped)
    is_marker = stripped.str.to_lowercase().is_in(markers)
    notes = [
        f"{table.name}: {counted(count, f'cell {text!r} counts', f'cells {text!r} count')} as empty."
        for text, count in _counted_cells(frame, [marker for marker in markers if marker])
    ]
    keep = ~table.numbers.is_in(list(skipped))
    frame = frame.select(pl.when(is_marker).then(None).otherwise(pl.col(pl.String)).name.keep())
    return dataclasses.replace(
        table,
        frame=frame.filter(keep),
        numbers=table.numbers.filter(keep),
        notes=(*table.notes, *notes),
    )


def _counted_cells(frame: pl.DataFrame, texts: Sequence[str]) -> list[tuple[str, int]]:
    """The cells that are one of `texts`, in any case, as they are written, and how many there are of each.

    All columns at once, and by their type: a column may be called "*" or "^.*$", which a name would take for many.
    """
    cells = pl.col(pl.String)
    found = frame.select(cells.filter(cells.str.to_lowercase().is_in(texts)).implode())
    if not found.width:
        return []
    counts = pl.concat([column.rename("cell") for column in found.iter_columns()]).explode().drop_nulls()
    return sorted(counts.value_counts().iter_rows())
