"""Reads the export of a survey's answers: CSV or TSV, plain or gzipped, numeric or text.

An export has three header rows (name, question, import id); deposits often lost one or two of them.  Every cell
stays text, as it stands in the file.
"""

from __future__ import annotations

import dataclasses
import functools
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from data_pipelines.formats.qualtrics.columns import (
    RECORD,
    Column,
    key_of,
    link_by_id,
    link_by_name,
    names_of,
    unique_names,
)
from data_pipelines.formats.qualtrics.questionnaire import Questionnaire
from data_pipelines.formats.qualtrics.text import words_of
from socsci_jax.errors import InputError

MAX_BYTES = 512 * 2**20
MAX_COLUMNS = 50_000
_LABELS = frozenset(
    words_of(label)
    for label in (*RECORD.values(), "Start Date", "End Date", "Response ID", "Recorded Date", "IP Address")
    if label != "Finished"
) | {"response type", "user language", "distribution channel"}
_EMPTY = frozenset({"NA", "NaN", "nan", "N/A", "#N/A", "NULL", "None"})
_TRUE = frozenset({"1", "true", "yes", "1.0"})
_PREVIEW_STATUS = frozenset({"1", "2", "9", "10", "17", "1.0", "survey preview", "survey test"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Export:
    """The table of answers: `table` has one text column per `columns`' name and one row per response.

    `header_rows` is the number of rows above the first response; `first_row` of a response is therefore
    `header_rows + 1` in the file, counted from 1.
    """

    path: Path
    columns: tuple[Column, ...]
    table: pl.DataFrame
    header_rows: int
    notes: tuple[str, ...] = ()

    @functools.cached_property
    def by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}

    def of_question(self, question: str, *, role: str = "answer") -> tuple[Column, ...]:
        """The question's columns in the order of the file."""
        return tuple(c for c in self.columns if c.question == question and c.role == role)

    def record(self, import_id: str) -> Column | None:
        """The survey program's own column, such as "finished" or "_recordId"."""
        return next((c for c in self.columns if c.role == "record" and c.import_id == import_id), None)

    def field(self, name: str) -> Column | None:
        """The column of a field of embedded data; without import ids also under a name written otherwise."""
        named = [c for c in self.columns if c.role == "field"]
        exact = [c for c in named if name in (c.import_id, c.header)]
        if exact:
            return exact[0]
        alike = [c for c in named if not c.import_id and key_of(c.header) == key_of(name) != ""]
        return alike[0] if len(alike) == 1 else None

    @functools.cached_property
    def is_preview(self) -> tuple[bool, ...]:
        """For each response whether an author's test made it."""
        found = [False] * self.table.height
        for import_id in ("status", "distributionChannel"):
            if (column := self.record(import_id)) is not None:
                for i, cell in enumerate(self.table[column.name]):
                    word = (cell or "").strip().casefold()
                    found[i] |= (
                        word in _PREVIEW_STATUS if import_id == "status" else word in ("preview", "test")
                    )
        return tuple(found)

    @functools.cached_property
    def is_finished(self) -> tuple[bool, ...] | None:
        """For each response whether it was finished; None where the export does not say."""
        column = self.record("finished")
        if column is None:
            return None
        return tuple((cell or "").strip().casefold() in _TRUE for cell in self.table[column.name])


def read_export(path: str | Path, survey: Questionnaire) -> Export:
    """The answers in a CSV or TSV file, linked with the questionnaire.

    Raises InputError for a file that cannot be read as a table.
    """
    path = Path(path)
    table = _table(path)
    names, labels, imports, header_rows = _header(table, survey)
    columns = [
        Column(name=name, header=header, label=label)
        for name, header, label in zip(unique_names(names), names, labels, strict=True)
    ]
    notes: list[str] = []
    if imports is not None:
        linked = [link_by_id(column, cell, survey) for column, cell in zip(columns, imports, strict=True)]
    else:
        known = names_of(survey)
        linked = []
        for column in columns:
            found, note = link_by_name(column, known, survey)
            linked.append(found)
            if note:
                notes.append(f"{path.name}: {note}")
        notes.append(f"{path.name}: no row of import ids; columns were linked with questions by their names.")
    unknown = [c.header for c in linked if c.role == "unknown" and c.header]
    if unknown:
        notes.append(f"{path.name}: columns of questions that the survey file lacks: {', '.join(unknown)}.")
    body = table.slice(header_rows)
    body.columns = [column.name for column in linked]
    return Export(path=path, columns=tuple(linked), table=body, header_rows=header_rows, notes=tuple(notes))


def _table(path: Path) -> pl.DataFrame:
    """All cells as text; an empty cell is null."""
    text = _decoded(path, _bytes(path))
    first = text[: text.find("\n")] if "\n" in text else text
    separator = max(",\t;", key=first.count)
    try:
        table = pl.read_csv(
            text.encode(),
            has_header=False,
            infer_schema_length=0,
            separator=separator,
            truncate_ragged_lines=True,
        )
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise InputError(
            f"{path}: not a readable table ({str(error).splitlines()[0]}); export the answers again as CSV."
        ) from None
    if table.width > MAX_COLUMNS:
        raise InputError(f"{path}: {table.width} columns; at most {MAX_COLUMNS} are read.")
    return table


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        raise InputError(f"{path}: file not found.")
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error}).") from None
    if len(data) > MAX_BYTES:
        raise InputError(f"{path}: more than {MAX_BYTES // 2**20} MB; split the export.")
    if not data.strip():
        raise InputError(f"{path}: the file is empty.")
    return data


def _decoded(path: Path, data: bytes) -> str:
    encodings = ("utf-16",) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "cp1252")
    for encoding in encodings:
        try:
            return data.decode(encoding).replace("\r\n", "\n").replace("\x00", "")
        except UnicodeDecodeError:
            continue
    raise InputError(f"{path}: the text is neither UTF-8, UTF-16 nor Windows-1252; save it as UTF-8.")


def _header(table: pl.DataFrame, survey: Questionnaire) -> tuple[list[str], list[str], list[str] | None, int]:
    """(names, labels, import ids or None, number of header rows)."""
    top = [[cell or "" for cell in row] for row in table.head(4).iter_rows()]
    names = [cell.strip("\ufeff") for cell in top[0]]
    for number, row in enumerate(top):
        filled = [cell for cell in row if cell.strip()]
        if filled and 2 * sum("ImportId" in cell for cell in filled) > len(filled):
            labels = top[1] if number > 1 else [""] * len(names)
            return names, labels, row, number + 1
    if len(top) > 1 and _are_labels(top[1], survey):
        return names, top[1], None, 2
    return names, [""] * len(names), None, 1


def _are_labels(row: list[str], survey: Questionnaire) -> bool:
    spoken = [words_of(cell) for cell in row if cell.strip()]
    if sum(cell in _LABELS for cell in spoken) >= 2:
        return True
    asked = [words for q in survey.questions.values() if len(words := words_of(q.text)) > 20]
    starts = {words[:60] for words in asked}
    return sum(len(cell) > 20 and cell[:60] in starts for cell in spoken) >= 2


def cells(table: pl.DataFrame, name: str) -> Iterator[str]:
    """The column's cells without outer spaces; "" for an empty one, also where a data frame wrote NA for it."""
    for cell in table[name]:
        text = (cell or "").strip()
        yield "" if text in _EMPTY else text
