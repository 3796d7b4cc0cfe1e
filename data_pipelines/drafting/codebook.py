"""What a codebook next to a table says of its columns: wordings, scales and labels, for the draft of the table.

A codebook is a text whose lines begin with names of columns; which words belong to a column is
`specified/codebook_entries.py`'s to say, which scale they tell is `scales/codebooks.py`'s: all of an entry is accounted
for, or its scale stays open and the draft says why.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from data_pipelines.formats.documents import BETWEEN_CELLS, read_document
from data_pipelines.formats.tables import Table, format_of, read_table, source_of
from data_pipelines.scales.codebooks import read_codebook
from data_pipelines.scales.nonresponse import says_alternative, says_missing, sort_codes
from data_pipelines.scales.numbers import NUMBER, number, plain_text
from data_pipelines.specified.codebook_entries import entries
from socsci_jax.errors import InputError
from socsci_jax.studies.scale import Number, Scale, format_value

DOCUMENTS = (".md", ".markdown", ".txt", ".docx", ".pdf")
TABLES = (".csv", ".tsv", ".xlsx", ".xls", ".ods")
# Larger tables hold answers.
LARGEST_TABLE = 2 * 2**20
# Documents that are opened to see whether they are a codebook.
MOST_DOCUMENTS = 20
# A line of prose may begin with a word that is also a column's name.
FEWEST_ENTRIES = 2
# Longer ones are chapters, not entries.
LONGEST_ENTRY = 4000
_QUOTED = re.compile(r'"([^"]+)"')
_ASKED = re.compile(r'(?:^|(?<=[.:;|)\n]))\s*([^.:;|()\n?"]*\w[^.;|()\n?"]*\?)')
# A code of no answer, before or behind what says so.
_ASIDE = re.compile(
    rf"(?<![\w.,+$-])(?P<code>{NUMBER})\s*[=:]\s*(?P<label>[^\W\d][^=:;,.()\[\]|\n]{{1,40}}?)(?=\s*(?:[;,.)\]|\n]|$))"
    rf"|(?<![\w])(?P<before>[^\W\d][^=:;,.()\[\]|\n\d]{{1,40}}?)\s*[=:]\s*(?P<behind>{NUMBER})(?=\s*(?:[;,.)\]|\n]|$))"
)
# A shorter quotation that asks nothing is a name or a label.
_FEWEST_WORDS = 3


@dataclasses.dataclass(frozen=True)
class Told:
    """What an entry says: `wording` ("" where it quotes none), the scale, and why that is unknown ("" where nothing is said of it).

    `aside` are codes of no answer, or of one beside the scale, that an entry tells without a scale: "age (99 = refused)".
    """

    wording: str
    scale: Scale
    note: str = ""
    aside: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Codebook:
    """A codebook's file, and what it says of each column that it has an entry of."""

    path: Path
    of_column: Mapping[str, Told]

    def labeled(self, table: Table) -> Table:
        """The table with the codebook's wordings, labels and missing codes where the table's own file has none."""
        labels, value_labels, missing = dict(table.labels), dict(table.value_labels), dict(table.missing)
        for name, told in self.of_column.items():
            if told.wording:
                labels.setdefault(name, told.wording)
            known = _labels_told(told.scale) or told.aside
            if known and not value_labels.get(name):
                value_labels[name] = known
            if told.scale.missing:
                missing[name] = missing.get(name, frozenset()) | set(map(format_value, told.scale.missing))
        return dataclasses.replace(table, labels=labels, value_labels=value_labels, missing=missing)


def labels_of(scale: Scale) -> dict[str, str]:
    """Code to label of all levels and alternatives; empty where a level has none."""
    if scale.kind != "levels" or not scale.labels or not all(scale.labels):
        return {}
    levels = zip(scale.levels, scale.labels, strict=True)
    beside = zip(scale.alternatives, scale.alternative_labels, strict=True)
    return {format_value(value): label for value, label in (*levels, *beside)}


def _labels_told(scale: Scale) -> dict[str, str]:
    """Code to label of those levels and alternatives that have one."""
    levels = zip(scale.levels, scale.labels or [""] * len(scale.levels), strict=True)
    beside = zip(scale.alternatives, scale.alternative_labels, strict=True)
    return {format_value(value): label for value, label in (*levels, *beside) if label}


def find_codebook(data: Path, columns: Sequence[str]) -> Codebook | None:
    """The document or table of variables next to the data that has entries of most columns; None where none has
    FEWEST_ENTRIES of them.

    Raises InputError for one whose name is not UTF-8: it must not be ignored without a word.
    """
    files = sorted(p for p in data.parent.iterdir() if p.is_file() and p.name != data.name and _may_tell(p))
    best: Codebook | None = None
    for path in files[:MOST_DOCUMENTS]:
        source_of(path.name)
        try:
            found = read_entries(path, columns)
        except InputError:  # a scanned page, say, which is no codebook for a program
            continue
        if len(found) >= FEWEST_ENTRIES and (best is None or len(found) > len(best.of_column)):
            best = Codebook(path, found)
    return best


def read_entries(path: Path, columns: Sequence[str]) -> dict[str, Told]:
    """What a document says of each column that it has an entry of."""
    source = source_of(path.name)
    if path.name.lower().endswith(TABLES):
        found = entries_of_rows(read_table(path, source).frame, columns)
    else:
        found = entries(read_document(path, kind=format_of(source)), columns)
    return {name: read_entry(words, name) for name, words in found.items() if len(words) <= LONGEST_ENTRY}


def _may_tell(path: Path) -> bool:
    name = path.name.lower()
    return name.endswith(DOCUMENTS) or (name.endswith(TABLES) and path.stat().st_size <= LARGEST_TABLE)


def entries_of_rows(frame: pl.DataFrame, columns: Sequence[str]) -> dict[str, str]:
    """The entries of a table of variables: its rows, by the column whose cells are names of `columns`.

    A row without a name, or with the name before it, goes on with that entry.  Empty where most names in every column
    are none of `columns`: then the table is about something else.
    """
    known = set(columns)
    for name in frame.columns:
        told = [cell for cell in frame[name].to_list() if cell is not None]
        if len(known.intersection(told)) < FEWEST_ENTRIES or 2 * sum(cell in known for cell in told) < len(
            told
        ):
            continue
        rows: dict[str, list[str]] = {}
        current = ""
        for row in frame.iter_rows(named=True):
            current = row[name] or current
            cells = [" ".join(cell.split()) for other, cell in row.items() if other != name and cell]
            if current in known:
                rows.setdefault(current, []).append(BETWEEN_CELLS.join(cells))
        return {column: f"{column}: " + "\n".join(lines) for column, lines in rows.items()}
    return {}


def is_about_columns(path: Path, columns: Sequence[str]) -> bool:
    """True for a table of variables, of which the other table's `columns` are some."""
    try:
        return len(entries_of_rows(read_table(path, source_of(path.name)).frame, columns)) >= FEWEST_ENTRIES
    except InputError:
        return False


def read_entry(words: str, name: str) -> Told:
    """What an entry says, without the column's name and its marks."""
    start = words.index(name) + len(name)
    mark = re.match(r"[`*_\"'”’]*\s*(?:[:|=–—-]+(?=\s))?", words[start:])
    words = words[start + (mark.end() if mark else 0) :]
    span = _wording(words)
    wording = " ".join(words[slice(*span)].split()) if span else ""
    rest = f"{words[: span[0]]} {words[span[1] :]}" if span else words
    scale, note = _scale(rest)
    if scale.kind != "unknown" or not note:
        return Told(wording, scale, note)
    words, beside = _without_asides(rest)
    again, still = _scale(words)
    if not beside or still or any(again.allows(code) for code in beside if again.kind != "unknown"):
        return Told(wording, scale, note)
    if again.kind == "unknown":
        return Told(wording, again, aside={format_value(code): label for code, label in beside.items()})
    told = sort_codes(beside)
    alternatives = {
        **dict(zip(again.alternatives, again.alternative_labels, strict=True)),
        **told.alternatives,
    }
    return Told(
        wording,
        dataclasses.replace(
            again,
            alternatives=tuple(alternatives),
            alternative_labels=tuple(alternatives.values()),
            missing=tuple(sorted({*again.missing, *told.missing})),
        ),
    )


def _without_asides(words: str) -> tuple[str, dict[Number, str]]:
    """The words without codes of no answer that stand apart ("; 999 = missing", "(missing: -99)"), and those codes."""
    plain = plain_text(words)
    beside: dict[Number, str] = {}
    cuts = []
    for match in _ASIDE.finditer(plain):
        label = (match["label"] or match["before"]).strip()
        code = number(match["code"] or match["behind"])
        if code is not None and (says_missing(label) or says_alternative(label, at_the_end=False)):
            beside[code] = label
            cuts.append(match.span())
    for start, stop in reversed(cuts):
        words = f"{words[:start]} {words[stop:]}"
    return words, beside


def _wording(words: str) -> tuple[int, int] | None:
    """Where the question stands: what is quoted, else the sentence that asks."""
    plain = plain_text(words)
    quoted = list(_QUOTED.finditer(plain))
    asking = [m.span(1) for m in quoted if m[1].rstrip().endswith("?")]
    long = [m.span(1) for m in quoted if len(m[1].split()) >= _FEWEST_WORDS]
    for spans in (asking, long, [m.span(1) for m in _ASKED.finditer(plain)]):
        if spans:
            return spans[0] if len(spans) == 1 else None
    return None


def _scale(words: str) -> tuple[Scale, str]:
    """The scale that an entry's words tell: all of them, or the one cell or line of them that holds digits."""
    read = read_codebook(words, lo=None, hi=None)
    if read.scale.kind != "unknown" or not read.note:
        return read.scale, ""
    for parts in (words.split(BETWEEN_CELLS), words.split("\n")):
        numbered = [part for part in parts if re.search(r"\d", part)]
        if len(parts) > 1 and len(numbered) == 1:
            own = read_codebook(numbered[0].strip(), lo=None, hi=None)
            if own.scale.kind != "unknown":
                return own.scale, ""
    return read.scale, read.note
