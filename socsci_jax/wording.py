"""Counts in sentences: `1 study`, `2,043 answers`, `1 row is`."""

from __future__ import annotations

from collections.abc import Sequence

_IRREGULAR = {"person": "people"}


def counted(number: int, one: str, several: str | None = None) -> str:
    """The number with its noun in singular or plural; `several` where a verb follows ("row is", "rows are")."""
    return f"{number:,} {one if number == 1 else several or _plural(one)}"


def _plural(noun: str) -> str:
    """The regular plural of a noun, or of the last word of several."""
    if noun in _IRREGULAR:
        return _IRREGULAR[noun]
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}{'es' if noun.endswith(('s', 'x', 'ch', 'sh')) else 's'}"


def counted_of(part: int, whole: int, noun: str, one: str = "is", several: str = "are") -> str:
    """How many of how many, with the verb that goes with the first: `1 of 30 answers is`, `2 of 30 answers are`."""
    return f"{part:,} of {counted(whole, noun)} {one if part == 1 else several}"


def listed(words: Sequence[str]) -> str:
    """Words as a sentence lists them: "5, 20 and 50"."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
