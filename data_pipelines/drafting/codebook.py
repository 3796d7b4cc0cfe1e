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

from data_pipelines.formats.documents import BETWEEN_CELLS, read_document
from data_pipelines.formats.tables import Table, format_of
from data_pipelines.scales.codebooks import read_codebook
from data_pipelines.scales.numbers import plain_text
from data_pipelines.specified.codebook_entries import entries
from socsci_jax.errors import InputError
from socsci_jax.studies.scale import Scale, format_value
from socsci_jax.studies.specification_parts import SourceFile

DOCUMENTS = (".md", ".markdown", ".txt", ".docx", ".pdf")
# Documents that are opened to see whether they are a codebook.
MOST_DOCUMENTS = 20
# A line of prose may begin with a word that is also a column's name.
FEWEST_ENTRIES = 2
# Longer ones are chapters, not entries.
LONGEST_ENTRY = 4000
_QUOTED = re.compile(r'"([^"]+)"')
_ASKED = re.compile(r'(?:^|(?<=[.:;|)\n]))\s*([^.:;|()\n?"]*\w[^.;|()\n?"]*\?)')
# A shorter quotation that asks nothing is a name or a label.
_FEWEST_WORDS = 3


@dataclasses.dataclass(frozen=True)
class Told:
    """What an entry says: `wording` ("" where it quotes none), the scale, and why that is unknown ("" where nothing is said of it)."""

    wording: str
    scale: Scale
    note: str = ""


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
            known = labels_of(told.scale)
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


def find_codebook(folder: Path, columns: Sequence[str]) -> Codebook | None:
    """The document in a folder that has entries of most columns; None where none has FEWEST_ENTRIES of them."""
    files = sorted(p for p in folder.iterdir() if p.name.lower().endswith(DOCUMENTS) and p.is_file())
    best: Codebook | None = None
    for path in files[:MOST_DOCUMENTS]:
        try:
            found = read_entries(path, columns)
        except InputError:  # a scanned page, say, which is no codebook for a program
            continue
        if len(found) >= FEWEST_ENTRIES and (best is None or len(found) > len(best.of_column)):
            best = Codebook(path, found)
    return best


def read_entries(path: Path, columns: Sequence[str]) -> dict[str, Told]:
    """What a document says of each column that it has an entry of."""
    text = read_document(path, kind=format_of(SourceFile(path=path.name)))
    found = entries(text, columns)
    return {name: read_entry(words, name) for name, words in found.items() if len(words) <= LONGEST_ENTRY}


def read_entry(words: str, name: str) -> Told:
    """What an entry says, without the column's name and its marks."""
    start = words.index(name) + len(name)
    mark = re.match(r"[`*_\"'”’]*\s*(?:[:|=–—-]+(?=\s))?", words[start:])
    words = words[start + (mark.end() if mark else 0) :]
    span = _wording(words)
    wording = " ".join(words[slice(*span)].split()) if span else ""
    rest = f"{words[: span[0]]} {words[span[1] :]}" if span else words
    scale, note = _scale(rest)
    return Told(wording, scale, note)


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
