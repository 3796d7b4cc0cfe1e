"""Numbers within a sentence: digits and words, amounts of money, percentages, steps."""

from __future__ import annotations

import dataclasses
import re

from data_pipelines.scales.numbers import number
from socsci_jax.studies.scale import LARGEST_ANSWER

NUMBER_WORDS = {
    word: value
    for value, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
}
DIGITS = r"(?:(?<![\w.)\]])(?<!\d )[+-])?(?:\$\s?)?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?!\w*\d)(?:(?:\s?(?:thousand|million|billion)|k)\b)?"
UNIT = (
    r"(?:\s?%|\s(?:percent|per cent|dollars?|cents?|euros?|pounds?|points?|years?|months?|weeks?|days?|hours?"
    r"|minutes?|seconds?|times?|people|degrees?)\b)"
)
_NUMBER = re.compile(
    rf"(?<![\w.,#$])({DIGITS}|(?:{'|'.join(NUMBER_WORDS)})\b)(?!-?(?:digit|point|decimal)|\s(?:hundred|thousand|dozen|half))",
    re.I,
)
_SCALED = {"k": 1e3, "thousand": 1e3, "million": 1e6, "billion": 1e9}


@dataclasses.dataclass(frozen=True)
class Number:
    value: float
    start: int  # of its opening quotation mark, if the number is quoted: '1'
    end: int
    style: str  # "$", "%", "word" or ""; numbers of one list are written in one style


def numbers_in(plain: str) -> list[Number]:
    """The numbers that can be read in one way only; `unread_digits` tells whether there are others."""
    numbers = []
    for match in _NUMBER.finditer(plain):
        raw = match[1].lower()
        start, end = match.span(1)
        if raw in NUMBER_WORDS:
            value, style = float(NUMBER_WORDS[raw]), "word"
        else:
            body = raw.replace("$", "").replace(",", "").replace(" ", "")
            factor = next((f for word, f in _SCALED.items() if body.endswith(word)), 1.0)
            value, style = (
                float(body.rstrip("abcdefghijklmnopqrstuvwxyz")) * factor,
                "$" if "$" in raw else "",
            )
            if plain[end : end + 2].lstrip().startswith("%"):
                style = "%"
        if not -LARGEST_ANSWER <= value <= LARGEST_ANSWER:
            continue
        if start > 0 and end < len(plain) and plain[start - 1] in "\"'" and plain[end] == plain[start - 1]:
            start, end = start - 1, end + 1
        numbers.append(Number(value, start, end, style))
    return numbers


# Digits with what may belong to them, unless they are part of a name ("Q3", "2nd").
_RAISED_OR_FRACTION = "⁰¹²³⁴-⁹½⅓⅔¼¾"
_DIGITS = re.compile(rf"(?<![\w.,])\d(?:[\d.,]*\d)?(?![^\W\d_{_RAISED_OR_FRACTION}])")
_NO_ANSWER = re.compile(r"-?(?:digit|point|decimal)|\s(?:digit|point|decimal)", re.I)
_RAISED = re.compile(rf"\s?\^|[{_RAISED_OR_FRACTION}]")


def unread_digits(plain: str) -> str | None:
    """The first digits that are not numbers or could be several ("10.000", "1,5", "10^12"); None if there are none."""
    numbers = numbers_in(plain)
    for match in _DIGITS.finditer(plain):
        start, end = match.span()
        if _NO_ANSWER.match(plain, end):
            continue
        within = any(n.start <= start and end <= n.end for n in numbers)
        if not within or number(match[0]) is None or _RAISED.match(plain, end):
            return match[0]
    return None


REPLY_VERB = r"(?:return|respond|answer|reply|output|give|provide|enter|type|write|state|report|choose|select|pick|use|indicate|submit|record|mark|circle|say|put|insert|express|rate|input)"

_STEP_WORDS = r"\b(?:multiples? of|increments? of|steps? of|intervals? of|divisible by|nearest)\s*"
_STEP = re.compile(_STEP_WORDS + r"(?=\$?\d|(?:two|five|ten)\b)", re.I)
_STEP_BEFORE = re.compile(_STEP_WORDS + "$", re.I)


def is_step(plain: str, number: Number) -> bool:
    return _STEP_BEFORE.search(plain[: number.start]) is not None


def step_of(plain: str) -> float:
    """The step between two answers ("a multiple of 100", "in increments of 0.5"); 0 where none is given."""
    match = _STEP.search(plain)
    numbers = numbers_in(plain[match.end() :]) if match else []
    return numbers[0].value if numbers else 0.0
