"""Documents and the labels that coders gave them by a codebook.

Reads a folder with `codebook.yaml` (title, instructions, variables with their labels) and `documents.csv` (id,
text, one column per variable, perhaps coder).  The codebook becomes a study of one condition, each variable an
outcome and one item, each document a participant whose one attribute is its text, each label a response.  So the
codebook is what prompts share and the documents are their branches.

Several coders of a document are several responses of one participant, not several participants.  The model is
shown the text alone, so it makes one prediction per document, trained on all its labels; a split holds out a
document with all its labels, where it could otherwise train on one coder's label and be tested on another's; and
how far coders agree is read off the answers that one participant gave to one item.  Who coded is not kept in the
store: `sample_id` is the row of `documents.csv`, counted from 1 without the header.
"""

from __future__ import annotations

import collections
import csv
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

from data_pipelines.archives.document_codebook import (
    CODEBOOK,
    CODER,
    DOCUMENTS,
    ID,
    TEXT,
    Codebook,
    item_of,
    read_codebook,
)
from socsci_jax.errors import InputError
from socsci_jax.studies.attributes import attribute_text
from socsci_jax.studies.store import StudyStore
from socsci_jax.studies.store_builder import StoreBuilder

ATTRIBUTES = ("document",)

# A document may be a book; the csv module refuses fields of more than 131,072 characters unless told so.
LONGEST_FIELD = 100_000_000
SHOWN_OF_A_REJECT = 80


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Row:
    """One row of `documents.csv`; `fields` has all its columns as text."""

    number: int
    place: str
    fields: dict[str, str]


def build(source: Path, out: Path, *, command: str, replace: bool = False) -> StudyStore:
    """Writes the study store of the documents in folder `source` to folder `out`.

    Documents are shown as they are, whole and with their line breaks (written as "\\n"); what is too long for a
    model is the recipe's decision (`data.max_tokens`), not this store's.  An empty label is no response.  Labels
    that the codebook does not have, and rows without text, given twice or not readable, go to the rejects.
    Raises InputError for a missing file or column, and for a codebook that is wrong.
    """
    source = Path(source)
    codebook = read_codebook(source / CODEBOOK)
    builder = StoreBuilder(
        attributes=ATTRIBUTES,
        verbatim=ATTRIBUTES,
        source=codebook.source or f"Documents coded by the codebook {codebook.title!r}",
        license=codebook.license,
        command=command,
    )
    builder.add_study(codebook.study_id, title=codebook.title)
    _add_documents(source / DOCUMENTS, codebook, builder)
    return builder.write(out, replace=replace)


def _add_documents(path: Path, codebook: Codebook, builder: StoreBuilder) -> None:
    items = {variable.name: item_of(variable, codebook) for variable in codebook.variables}
    ids = {name: builder.add_item(item) for name, item in items.items()}
    texts: dict[str, str] = {}
    kept: dict[str, str] = {}
    coded: set[tuple[str, str]] = set()
    for row in _rows(path, codebook, builder):
        document, coder = row.fields[ID].strip(), row.fields.get(CODER, "").strip()
        text = row.fields[TEXT].replace("\r\n", "\n").replace("\r", "\n").strip()
        labels = {name: label for name in items if (label := attribute_text(row.fields[name])) is not None}
        reason = None
        if not document:
            reason = "no id"
        elif not text:
            reason = "no text"
        elif CODER in row.fields and not coder:
            reason = "no coder"
        elif (document, coder) in coded:
            reason = "the same coder coded this id before" if coder else "id given before"
        elif texts.get(document, text) != text:
            reason = "id given before with another text"
        elif not labels:
            reason = "no label"
        if reason:
            _reject_row(builder, row.place, reason, row.fields)
            continue
        texts[document] = text
        coded.add((document, coder))
        for name, label in labels.items():
            value = _number(label)
            if value is None or not items[name].scale.allows(value):
                builder.reject(
                    "response",
                    place=row.place,
                    reason="label is not in the codebook",
                    record={"id": document, "coder": coder, "variable": name, "label": label},
                )
                continue
            builder.add_participant(codebook.study_id, document, {"document": text})
            builder.add_response(ids[name], document, value, sample_id=row.number, place=row.place)
            kept[document] = text
    repeated = len(kept) - len(set(kept.values()))
    if repeated:
        builder.notes.append(
            f"Documents with the text of another one under another id: {repeated:,}; a split by participants may "
            "put equal texts on both sides."
        )


def _rows(path: Path, codebook: Codebook, builder: StoreBuilder) -> Iterator[_Row]:
    """The rows that can be read; the others become rejects."""
    csv.field_size_limit(LONGEST_FIELD)
    try:
        # Bytes that are no UTF-8 come as lone surrogates, so that one such row does not lose the others.
        file = path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
    except OSError as error:
        raise InputError(
            f"{path}: {'file not found' if isinstance(error, FileNotFoundError) else error.strerror}; the folder of a text classification holds {CODEBOOK} and "
            f"{DOCUMENTS}."
        ) from None
    with file:
        reader = csv.reader(file, strict=True)
        try:
            names = next(reader, [])
        except csv.Error as error:
            raise InputError(
                f"{path}, line 1: not a header of CSV ({error}); save the file as CSV in UTF-8."
            ) from None
        header = _header(path, names, codebook, builder)
        number = 0
        while True:
            line = reader.line_num + 1
            place = f"{DOCUMENTS}, line {line}"
            try:
                values = next(reader, None)
            except csv.Error as error:
                if "unexpected end of data" in str(error):
                    raise InputError(
                        f"{path}, line {line}: a quotation mark opens in this row and is never closed; "
                        'within a field write it twice ("").'
                    ) from None
                builder.reject("participant", place=place, reason=f"not a row of CSV ({error})")
                number += 1
                continue
            if values is None:
                return
            if not values:  # a blank line
                continue
            number += 1
            fields = dict(zip(header, values))
            if len(values) != len(header):
                _reject_row(builder, place, "not as many fields as the header has", fields)
            elif any(map(_is_undecodable, values)):
                _reject_row(builder, place, "not UTF-8", fields)
            else:
                yield _Row(number=number, place=place, fields=fields)


def _header(path: Path, header: list[str], codebook: Codebook, builder: StoreBuilder) -> list[str]:
    header = [name.strip() for name in header]
    if any(map(_is_undecodable, header)):
        raise InputError(f"{path}: the header is not UTF-8; save the file as CSV in UTF-8.")
    needed = {ID: "", TEXT: ""} | {
        variable.name: f" (variables[{i}].name of {CODEBOOK})"
        for i, variable in enumerate(codebook.variables)
    }
    missing = [f"{name!r}{named}" for name, named in needed.items() if name not in header]
    if missing:
        raise InputError(f"{path}: missing columns {', '.join(missing)}; found {header}.")
    repeated = [name for name, count in collections.Counter(header).items() if count > 1]
    if repeated:
        raise InputError(f"{path}: column {repeated[0]!r} stands there twice; rename or delete one.")
    known = {ID, TEXT, CODER, *(variable.name for variable in codebook.variables)}
    others = [name for name in header if name not in known]
    if others:
        builder.notes.append(
            f"Columns of {DOCUMENTS} that the codebook does not name were not read: {', '.join(others)}."
        )
    return header


def _number(label: str) -> float | None:
    """1, or 1.0 as tables write it that once held missing labels; None for what is not a number."""
    return float(label) if re.fullmatch(r"[+-]?\d{1,15}(?:\.0+)?", label) else None


def _is_undecodable(text: str) -> bool:
    return any("\udc80" <= character <= "\udcff" for character in text)


def _reject_row(builder: StoreBuilder, place: str, reason: str, fields: dict[str, str]) -> None:
    shown = {
        name: value[:SHOWN_OF_A_REJECT].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        for name, value in fields.items()
    }
    builder.reject("participant", place=place, reason=reason, record=shown)
