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
# Names of several columns of one entry: up to a dash, what stands between two of them, and what counts them.
_PART = re.compile(r"[^\s`*|:=\"'”’,;()–—-]+")
_JOINT = re.compile(
    r"[`*_\"'”’]*\s*(?:(?P<list>,|;|&|\+|\b(?:and|und|et|y)\b)|\b(?:to|through|thru|bis)\b|[–—-]|\.\.\.?|…)\s*[`*_\"'“‘]*"
)
_DIGITS = re.compile(r"\d+")


def entries(text: str, columns: Sequence[str]) -> dict[str, str]:
    """Column -> its entry, for the columns that the codebook names at the beginning of a line.

    A line of prose may begin with a word that is also a column's name, so where any name is marked (by a bullet,
    backticks, a colon, a table's cell), only marked ones begin an entry.  A heading ends one, and so do a name that is
    marked alike but is no column, and an empty line before a line that is neither indented nor a row of a table.
    A line for several columns ("anx_1 to anx_5: ...", "anx_1, anx_2: ...") is an entry of each.
    """
    names = {name for name in columns if name.strip()}
    lines: list[str] = []
    for line in text.split("\n"):
        lines += _for_each(line, names, columns)
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


def _for_each(line: str, names: set[str], columns: Sequence[str]) -> list[str]:
    """The line, or one for each of the several columns that it begins with."""
    before = _BEFORE.match(line)
    start = before.end() if before else 0
    match = next(
        (m for m in (_WORD.match(line, start), _PART.match(line, start)) if m is not None and m[0] in names),
        None,
    )
    if match is None:
        return [line]
    found, end = [match[0]], match.end()
    while (joint := _JOINT.match(line, end)) is not None:
        following = next(
            (
                m
                for m in (_WORD.match(line, joint.end()), _PART.match(line, joint.end()))
                if m is not None and m[0] in names
            ),
            None,
        )
        if following is None:
            break
        first, last = columns.index(found[-1]), columns.index(following[0])
        between = columns[first + 1 : last + 1]
        if joint["list"]:
            found.append(following[0])
        elif between and len({_DIGITS.sub("", name) for name in (found[-1], *between)}) == 1:
            found += between
        else:
            break
        end = following.end()
    if len(found) < 2 or _AFTER.match(line, end) is None:
        return [line]
    return [line[:start] + name + line[end:] for name in found]


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
