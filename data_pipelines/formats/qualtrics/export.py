"""Reads the export of a survey's answers: CSV, TSV, Excel, SPSS, Stata or R, numeric or text.

An export has three header rows (name, question, import id); deposits often lost one or two of them.  Every cell
stays text, as it stands in the file.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from data_pipelines.formats.qualtrics.columns import (
    RECORD,
    Column,
    key_of,
    link_by_id,
    link_by_name,
    names_of,
)
from data_pipelines.formats.qualtrics.questionnaire import Questionnaire
from data_pipelines.formats.qualtrics.same_names import Unlinked, link_shared_names, place_of
from data_pipelines.formats.qualtrics.text import words_of
from data_pipelines.formats.tables import Table, read_cells, source_of
from socsci_jax.studies.attributes import UNKNOWN_TEXTS
from socsci_jax.wording import first_listed

_NUMBERED = re.compile(r" \(\d+\)$")
_NAMELESS = re.compile(r"\(column \d+\)")
_LABELS = frozenset(
    words_of(label)
    for label in (*RECORD.values(), "Start Date", "End Date", "Response ID", "Recorded Date", "IP Address")
    if label != "Finished"
) | {"response type", "user language", "distribution channel"}
# Questions whose answers are choices or numbers.
_CLOSED = frozenset({"single", "multiple", "matrix", "matrix_multiple", "slider", "rank", "sum"})
# Columns and questions that a note lists.
MOST_NAMED = 20
_TRUE = frozenset({"1", "true", "yes", "1.0"})
_PREVIEW_STATUS = frozenset({"1", "2", "9", "10", "17", "1.0", "survey preview", "survey test"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Export:
    """The table of answers: `table` has one text column per `columns`' name and one row per response.

    `header_rows` is the number of rows above the first response; `first_row` of a response is therefore
    `header_rows + 1` in the file, counted from 1.  `unlinked` are columns that could be of several questions.
    """

    path: Path
    columns: tuple[Column, ...]
    table: pl.DataFrame
    header_rows: int
    notes: tuple[str, ...] = ()
    unlinked: tuple[Unlinked, ...] = ()

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

    def counts(self, name: str) -> Mapping[str, int]:
        """How often the column has each cell, without outer spaces and without empty cells."""
        if name not in self._counts:
            self._counts[name] = cell_counts(self.table[name])
        return self._counts[name]

    def filled(self, name: str) -> np.ndarray:
        """For each response whether the column says something [R]."""
        if name not in self._filled:
            cells_ = self.table[name].str.strip_chars().fill_null("")
            self._filled[name] = ~cells_.str.to_lowercase().is_in(sorted(UNKNOWN_TEXTS)).to_numpy()
        return self._filled[name]

    @functools.cached_property
    def _counts(self) -> dict[str, Mapping[str, int]]:
        return {}

    @functools.cached_property
    def _filled(self) -> dict[str, np.ndarray]:
        return {}

    @functools.cached_property
    def is_preview(self) -> tuple[bool, ...]:
        """For each response whether an author's test made it."""
        marked = [False] * self.table.height
        for import_id in ("status", "distributionChannel"):
            if (column := self.record(import_id)) is not None:
                for i, cell in enumerate(self.table[column.name]):
                    word = (cell or "").strip().casefold()
                    marked[i] |= (
                        word in _PREVIEW_STATUS if import_id == "status" else word in ("preview", "test")
                    )
        return tuple(marked)

    @functools.cached_property
    def is_finished(self) -> tuple[bool, ...] | None:
        """For each response whether it was finished; None where the export does not say."""
        column = self.record("finished")
        if column is None:
            return None
        return tuple((cell or "").strip().casefold() in _TRUE for cell in self.table[column.name])


def read_export(path: str | Path, survey: Questionnaire) -> Export:
    """The answers in a table, linked with the questionnaire.

    Raises InputError for a file that cannot be read as a table.
    """
    path = Path(path)
    read = read_cells(path, source_of(path.name))
    notes = list(read.notes)
    for number, reason in read.misfits:
        notes.append(f"{path.name}, row {number}: not read ({reason}).")
    names = read.frame.columns
    headers = _headers(names)
    labels, imports, extra_rows = _header(headers, read.frame, survey)
    if read.labels:
        labels = [read.labels.get(name, "") for name in names]
    columns = [
        Column(name=name, header=header, label=label)
        for name, header, label in zip(names, headers, labels, strict=True)
    ]
    body = _answers(read)[extra_rows:].with_columns(
        pl.when(pl.col(pl.String).str.strip_chars() == "").then(None).otherwise(pl.col(pl.String)).name.keep()
    )
    unlinked: list[Unlinked] = []
    if imports is not None:
        linked = [link_by_id(column, cell, survey) for column, cell in zip(columns, imports, strict=True)]
    else:
        linked, unlinked = _linked_by_names(columns, survey, body)
        notes += [f"{path.name}: {one}" for one in unlinked]
        notes.append(f"{path.name}: no row of import ids; columns were linked with questions by their names.")
    unknown = [c.header for c in linked if c.role == "unknown" and c.header]
    if unknown:
        notes.append(f"{path.name}: columns of questions that the survey file lacks: {', '.join(unknown)}.")
    notes += [f"{path.name}: {one}" for one in _unmatched(linked, survey)]
    return Export(
        path=path,
        columns=tuple(linked),
        table=body,
        header_rows=extra_rows + 1,
        notes=tuple(notes),
        unlinked=tuple(unlinked),
    )


def _unmatched(columns: Sequence[Column], survey: Questionnaire) -> Iterator[str]:
    """What one of the two files has and the other lacks: an author may have renamed a column or deleted one."""
    present = {column.question.partition("#")[0] for column in columns}
    asked = [survey.questions[i] for i in survey.shown_questions if survey.questions[i].kind in _CLOSED]
    if missing := [question.tag for question in asked if question.id not in present]:
        yield f"no column holds the answers to {first_listed(missing, MOST_NAMED)} of the survey."
    fields = {key_of(field.name) for node in survey.flow.walk() for field in node.fields}
    other = [c.header for c in columns if c.role == "field" and key_of(c.header) not in fields]
    if missing and other:
        yield f"columns that are no question, field or record of the survey: {first_listed(other, MOST_NAMED)}."


def _linked_by_names(
    columns: Sequence[Column], survey: Questionnaire, body: pl.DataFrame
) -> tuple[list[Column], list[Unlinked]]:
    """The columns with what their names say, and those that several questions may share."""
    known = names_of(survey)
    meant = {column.name: link_by_name(column, known) for column in columns}
    several = {name: found for name, found in meant.items() if len(set(map(place_of, found))) > 1}
    told, unlinked = link_shared_names(columns, several, survey, lambda name: cell_counts(body[name]))
    single = {name: found[0] for name, found in meant.items() if name not in several} | told
    return [single.get(column.name, column) for column in columns], unlinked


def _answers(table: Table) -> pl.DataFrame:
    """The cells; what the file itself declares missing is empty."""
    return table.frame.with_columns(
        pl.when(table.frame[name].is_in(list(codes))).then(None).otherwise(table.frame[name]).alias(name)
        for name, codes in table.missing.items()
        if name in table.frame.columns
    )


def _headers(names: list[str]) -> list[str]:
    """What the first row says: without the numbers that tell equal names apart, and the places of nameless columns."""
    bare = [_NUMBERED.sub("", name) for name in names]
    counts = collections.Counter(bare)
    headers = [b if counts[b] > 1 else name for b, name in zip(bare, names, strict=True)]
    return ["" if _NAMELESS.fullmatch(header) else header for header in headers]


def _header(
    headers: list[str], frame: pl.DataFrame, survey: Questionnaire
) -> tuple[list[str], list[str] | None, int]:
    """(labels, import ids or None, number of rows under the header that hold no answers)."""
    top = [[cell or "" for cell in row] for row in frame.head(3).iter_rows()]
    empty = [""] * len(headers)
    if _are_import_ids(headers):
        return empty, headers, 0
    for number, row in enumerate(top):
        if _are_import_ids(row):
            return (top[0] if number else empty), row, number + 1
    if top and _are_labels(top[0], survey):
        return top[0], None, 1
    return empty, None, 0


def _are_import_ids(row: list[str]) -> bool:
    filled = [cell for cell in row if cell.strip()]
    return bool(filled) and 2 * sum("ImportId" in cell for cell in filled) > len(filled)


def _are_labels(row: list[str], survey: Questionnaire) -> bool:
    spoken = [words_of(cell) for cell in row if cell.strip()]
    if sum(cell in _LABELS for cell in spoken) >= 2:
        return True
    # The question and perhaps its row ("How much do you trust... - TV"); short words may be an answer too.
    asked = (words_of(q.text)[:60] for q in survey.questions.values())
    starts = tuple({words for words in asked if len(words) > 12})
    return sum(cell.startswith(starts) for cell in spoken) >= 2


def cells(table: pl.DataFrame, name: str) -> Iterator[str]:
    """The column's cells without outer spaces; "" for an empty one, also where a data frame wrote NA for it."""
    return map(plain_cell, table[name].to_list())


def cell_counts(column: pl.Series) -> Mapping[str, int]:
    """How often the column has each cell, without outer spaces and without empty cells."""
    counts: collections.Counter[str] = collections.Counter()
    for cell, count in column.value_counts().iter_rows():
        if text := plain_cell(cell):
            counts[text] += count
    return counts


def plain_cell(cell: str | None) -> str:
    """The cell without outer spaces; "" where it says nothing."""
    text = (cell or "").strip()
    return "" if text.casefold() in UNKNOWN_TEXTS else text
