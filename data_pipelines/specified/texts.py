"""Texts that stand in a deposit's files: found by heading, entry, question, path or cell, and cut out."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator

from data_pipelines.formats.markup import without_markup
from data_pipelines.formats.qualtrics.text import plain_text
from data_pipelines.specified.codebook_entries import entry
from data_pipelines.specified.deposit import Deposit
from data_pipelines.specified.rows import coded
from socsci_jax.errors import InputError
from socsci_jax.studies.specification_parts import Text, TextFrom
from socsci_jax.wording import counted, kind_of

_HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*#*\s*$")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a text: its words, and the file and place that they come from; no file if the specification has them."""

    words: str
    file: str | None = None
    place: str = "the specification"


def parts_of(text: Text, deposit: Deposit) -> list[Part]:
    """The parts of a text with their origins; raises InputError for a place that does not exist."""
    return [
        Part(words=part) if isinstance(part, str) else _found(part, deposit) for part in text if part != ""
    ]


def words_of(text: Text, deposit: Deposit) -> str:
    """The whole text."""
    return "\n\n".join(part.words for part in parts_of(text, deposit) if part.words)


def _found(where: TextFrom, deposit: Deposit) -> Part:
    name = where.file
    place = f"{deposit.specification.files[name].path}"
    if where.column is not None:
        words, place = _cell(where, deposit), f"{place}, {where.row}, column {where.column}"
    elif where.path is not None:
        words, place = _at_path(where, deposit), f"{place}, {where.path}"
    elif where.question is not None:
        words, place = _question(where, deposit), f"{place}, question {where.question}"
    else:
        words = deposit.text(name)
        if where.heading is not None:
            words, place = _under(words, where.heading, place), f"{place}, heading {where.heading!r}"
        elif where.entry is not None:
            words, place = (
                entry(words, where.entry, deposit.columns, place),
                f"{place}, entry {where.entry}",
            )
    words = _cut(words, where, place)
    for old, new in where.replace.items():
        words = words.replace(old, new)
    # A questionnaire's texts are HTML; in other files "<" is a letter, or a tag that somebody left there.
    is_html = where.question is not None or where.path is not None
    return Part(words=plain_text(words) if is_html else without_markup(words), file=name, place=place)


def _cell(where: TextFrom, deposit: Deposit) -> str:
    table = deposit.table(where.file)
    absent = [name for name in (*where.row, where.column) if name not in table.frame.columns]
    if absent:
        raise InputError(
            f"{table.name}: column {absent[0]!r} is not there; found {', '.join(table.frame.columns[:30])}."
        )
    rows = table.frame
    for name, value in where.row.items():
        rows = rows.filter((coded(rows[name]) == value).fill_null(False))
    values = rows[where.column].drop_nulls().unique().to_list()
    if rows.height and not values:
        return ""
    if len(values) != 1:
        raise InputError(
            f"{table.name}: {len(values)} different texts in column {where.column!r} of the rows {where.row}; name one."
        )
    return values[0]


def _at_path(where: TextFrom, deposit: Deposit) -> str:
    """The text at a JSON pointer (RFC 6901)."""
    path, value = deposit.path(where.file), deposit.json(where.file)
    for step in (where.path or "").split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdigit() and len(key) < 9 and int(key) < len(value):
            value = value[int(key)]
        else:
            raise InputError(f"{path}: nothing at {where.path!r} (no {key!r}).")
    if not isinstance(value, str):
        raise InputError(f"{path}: no text at {where.path!r} ({kind_of(value)}).")
    return value


def _question(where: TextFrom, deposit: Deposit) -> str:
    tree = deposit.json(where.file)
    elements = tree.get("SurveyElements") if isinstance(tree, dict) else None
    payloads = [
        element["Payload"]
        for element in elements or ()
        if isinstance(element, dict)
        and element.get("Element") == "SQ"
        and isinstance(element.get("Payload"), dict)
    ]
    matching = [p for p in payloads if p.get("QuestionID") == where.question] or [
        p for p in payloads if p.get("DataExportTag") == where.question
    ]
    if len(matching) != 1 or not isinstance(matching[0].get("QuestionText"), str):
        count = (
            f"{counted(len(matching), 'question has', 'questions have')}" if matching else "no question has"
        )
        raise InputError(
            f"{deposit.path(where.file)}: {count} the id or tag {where.question!r} and a text; use the id (QID7)."
        )
    return matching[0]["QuestionText"]


def _entry(column: str, name: str, deposit: Deposit) -> str:
    """What a codebook says of a column, also of one that the tables do not have."""
    if column in deposit.entries(name):
        return deposit.entries(name)[column]
    return entry(deposit.text(name), column, deposit.columns, deposit.path(name).name)


def _under(text: str, heading: str, place: str) -> str:
    """What stands under a heading, to the next one of its rank or above."""
    lines = text.split("\n")
    wanted = _plain(heading.lstrip("#"))
    starts = [
        (i, match)
        for i, line in enumerate(lines)
        if (match := _HEADING.match(line)) and _plain(match[2]) == wanted
    ]
    if not starts:  # a line of its own, as in plain text
        bare = [i for i, line in enumerate(lines) if _plain(line).rstrip(":") == wanted.rstrip(":")]
        if len(bare) != 1:
            raise InputError(
                f"{place}: {counted(len(bare), 'line is', 'lines are')} the heading {heading!r}; quote it as it stands there."
            )
        rest = lines[bare[0] + 1 :]
        while rest and not rest[0].strip():
            rest = rest[1:]
        end = next((i for i, line in enumerate(rest) if not line.strip() or _HEADING.match(line)), len(rest))
        return "\n".join(rest[:end])
    if len(starts) > 1:
        raise InputError(
            f"{place}: heading {heading!r} stands there {counted(len(starts), 'time')}; quote it with `after`."
        )
    ((start, match),) = starts
    rank = len(match[1])
    after = range(start + 1, len(lines))
    end = next((i for i in after if (m := _HEADING.match(lines[i])) and len(m[1]) <= rank), len(lines))
    return "\n".join(lines[start + 1 : end])


def _cut(words: str, where: TextFrom, place: str) -> str:
    """What stands after and until some words, however the file breaks its lines."""
    for marker, keep_after in ((where.after, True), (where.until, False)):
        if marker is None:
            continue
        pattern = re.compile(r"\s+".join(map(re.escape, marker.split())) or r"(?!)")
        match = pattern.search(words)
        if match is None:
            shown = marker if len(marker) < 80 else marker[:77] + "..."
            raise InputError(f"{place}: the words {shown!r} do not stand there; quote them as they do.")
        words = words[match.end() :] if keep_after else words[: match.start()]
    return words


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[*_`]", "", text).split()).casefold()


def all_texts(deposit: Deposit) -> Iterator[str]:
    """Everything that the deposit's documents say, and the texts of its tables that hold no answers and tell of nobody."""
    studies = deposit.specification.studies.values()
    answers = {study.data for study in studies}
    answers |= {join.file for study in studies for join in study.join if join.on in study.participant}
    for name in deposit.specification.files:
        if name in deposit.documents:
            if deposit.format(name) in ("json", "qualtrics"):
                yield from _strings(deposit.json(name))
            else:
                yield deposit.text(name)
        elif name not in answers:
            for column in deposit.table(name).frame.iter_columns():
                yield from column.drop_nulls().unique().to_list()


def _strings(tree: object) -> Iterator[str]:
    stack = [tree]
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            stack += [*value, *value.values()]
        elif isinstance(value, list):
            stack += value


def shown(text: str) -> str:
    """A text in a message: one line, not too long."""
    line = json.dumps(" ".join(text.split()), ensure_ascii=False)
    return line if len(line) <= 90 else line[:86] + '..."'
