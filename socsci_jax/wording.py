"""The words of sentences for users: counts (`1 study`, `1 row is`), values from files, and what to do."""

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


def quoted(name: str) -> str:
    """A name from data within a sentence, where it may read like one of the sentence's own words: “both”."""
    return f"“{name}”"


def listed(words: Sequence[str]) -> str:
    """Words as a sentence lists them: "5, 20 and 50"."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def first_listed(words: Sequence[str], most: int = 5) -> str:
    """The first words, and how many more there are: "a, b and 3 more"."""
    more = f" and {len(words) - most:,} more" if len(words) > most else ""
    return f"{', '.join(words[:most])}{more}"


def kind_of(value: object) -> str:
    """A value of JSON or YAML as a sentence shows it: short, however large it is."""
    match value:
        case bool() | None:
            return repr(value)
        case int() | float():
            return repr(value) if abs(value) < 1e18 or value != value else "a huge number"
        case str():
            shown = repr(value if len(value) <= 60 else f"{value[:59]}…")
            return shown if len(shown) <= 80 else f"{shown[:79]}…"  # control characters are written out
        case list():
            return f"a list of {len(value)}"
        case dict():
            return f"a mapping of {counted(len(value), 'key')}"
    return type(value).__name__


def with_hint(problem: str, hint: str) -> str:
    """The sentence of a problem, ended with what to do where there is something."""
    return f"{problem}; {hint}." if hint else f"{problem}."


def shortened(error: BaseException) -> str:
    """What an error says, on one line of at most 200 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:199]}…"
