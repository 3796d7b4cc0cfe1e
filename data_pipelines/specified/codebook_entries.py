"""What a codebook says of each column: its entry, from the line that names the column to the next one."""

from __future__ import annotations

import re
from collections.abc import Sequence

from socsci_jax.errors import InputError

_HEADING = re.compile(r"^#{1,6}\s")
# Before a column's name: a bullet, a table's edge, emphasis, backticks, quotation marks.
_BEFORE = re.compile(r"[\s>*+•|–-]*[`*_\"'“‘]*")
# After it: the end of such a mark, a colon, a tab, a dash, a bracket, a table's next cell.
_AFTER = re.compile(r"[`*_\"'”’]|\s*[:=|(]|\t|\s{2,}|\.?\s*$|\s+[–—-]\s|[.)]\s")
_WORD = re.compile(r"[^\s`*|:=\"'”’,;()]+")


def entries(text: str, columns: Sequence[str]) -> dict[str, str]:
    """Column -> its entry, for the columns that the codebook names at the beginning of a line.

    A line of prose may begin with a word that is also a column's name, so where any name is marked (by a bullet,
    backticks, a colon, a table's cell), only marked ones begin an entry.  A heading ends one, and so do a name that is
    marked alike but is no column, and an empty line before a line that is neither indented nor a row of a table.
    """
    names = {name for name in columns if name.strip()}
    lines = text.split("\n")
    starts = [_named(line, names) for line in lines]
    only_marked = any(is_marked for _, is_marked in starts)
    lines_of: dict[str, list[str]] = {}
    current: list[str] | None = None
    blank, mark = False, ""
    for line, (name, is_marked) in zip(lines, starts, strict=True):
        begins = name is not None and (is_marked or not only_marked)
        if begins and name is not None and name not in lines_of:
            current = lines_of[name] = [line]
            mark = line[: line.index(name)]
        elif (
            begins
            or _is_entry_of_another(line, mark)
            or _HEADING.match(line)
            or (blank and line[:1].strip() and " | " not in line)
        ):
            current = None  # a second mention is no entry either
        elif current is not None:
            current.append(line)
        blank = not line.strip()
    return {name: "\n".join(of).strip() for name, of in lines_of.items()}


def entry(text: str, column: str, columns: Sequence[str], place: str) -> str:
    """The entry of one column; raises InputError if there is none."""
    known = entries(text, (*columns, column))
    if column not in known:
        raise InputError(f"{place}: no line begins with the column {column!r}; quote its text with `after`.")
    return known[column]


def _is_entry_of_another(line: str, mark: str) -> bool:
    """Whether the line begins with the marks of the entry before it, and a name."""
    return bool(mark.strip()) and line.startswith(mark) and line[len(mark) :][:1].isalpha()


def _named(line: str, names: set[str]) -> tuple[str | None, bool]:
    """The column whose name the line begins with, and whether it is marked as a name."""
    before = _BEFORE.match(line)
    start = before.end() if before else 0
    name = _name_at(line, start, names)
    if name is None:
        # An underscore may be a mark or the first letter of a name.
        start = len(line) - len(line.lstrip())
        name = _name_at(line, start, names)
    if name is None:
        return None, False
    return name, bool(line[:start].strip()) or _AFTER.match(line, start + len(name)) is not None


def _name_at(line: str, start: int, names: set[str]) -> str | None:
    word = _WORD.match(line, start)
    if word is None:
        return None
    for name in (word[0], word[0].rstrip("_*"), word[0].rstrip("._*")):
        if name in names:
            return name
    spaced = (name for name in names if " " in name and line.startswith(name, start))
    return next((name for name in spaced if not line[start + len(name) :][:1].isalnum()), None)
