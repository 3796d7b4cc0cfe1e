"""From what an answer-format sentence and its question say to a scale."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

from data_pipelines.scales.nonresponse import says_missing, sort_codes
from data_pipelines.scales.numbers import plain_text
from data_pipelines.scales.passage import Passage
from data_pipelines.scales.passages import read_passage
from data_pipelines.scales.written_numbers import DIGITS, NUMBER_WORDS, numbers_in, step_of, unread_digits
from socsci_jax.studies.scale import MAX_LEVELS, Scale

_REFUSED = re.compile(
    r"\b(?:even|odd|prime)\s+(?:number|integer|whole)|\bexclusive\b|\bstrictly\b|\bexcept\b|\bexcluding\b|\bbut not\b|\bother than\b"
    r"|\b(?:two|three|four|five|2|3|4|5|several|multiple)\s+(?:integers|numbers|values|digits separated)\b|\bseparated by\b"
    r"|\blist of (?:integers|numbers)\b|\ball that apply\b|\brank(?:ing)? (?:the|these|all)\b|\bcomma-separated\b|\bunless\b",
    re.I,
)
_DECIMAL = re.compile(r"(?<!no )(?<!without )\bdecimals?\b|\breal number", re.I)
_PROPORTION = re.compile(r"\b(?:fraction|proportion|probability)\b", re.I)
_WHOLE = re.compile(r"\b(?:integers?|whole|digit)\b", re.I)
_MULTIPLE = re.compile(r"\b(?:multiples? of|divisible by|nearest)\b", re.I)
_CODED = re.compile(r"(?:yes|no|true|false|male|female)\b", re.I)
_POINT_SCALE = re.compile(
    rf"\b(\d{{1,4}}|{'|'.join(NUMBER_WORDS)})[- ]point\s(?:[\w-]+\s){{0,2}}scale\b", re.I
)
_QUANTITY = re.compile(
    r"\$|%|\b(?:dollars?|usd|cents|euros?|pounds|percent(?:age)?s?|hours?|minutes?|seconds?|days?|weeks?|months?|years?|age"
    r"|miles|times|people|persons|(?:numbers?|amount|count|quantity|sum|total|price|cost|income|salary|wage|length|duration)\s+of"
    r"|how many|how much (?:money|time)|amount|cost|price|income|salary|wage|count|estimate[sd]?|calories|points)\b",
    re.I,
)
_ASKS_QUANTITY = re.compile(
    r"\bhow (?:many|old|long|tall|far)\b|\bhow much (?:money|time|income)\b|\bhow much (?:do|does|did|would|will|should) [^?]{0,60}"
    r"\b(?:earn|pay|cost|spend|donate|give|weigh)\b|\b(?:what|which) (?:year|age|percent(?:age)?|proportion|share|amount|number of)\b"
    r"|\bwhat is your age\b|\bin dollars\b",
    re.I,
)
_RATED = re.compile(
    r"\b(?:rating|choice|option|level|degree|extent|agreement|category|answer|response|selection|preference|opinion|view|attitude"
    r"|likelihood|feeling|position|rank|score|how (?!many|much (?:money|time)|long|old|far|tall)\w+)\b",
    re.I,
)
_LOWER = re.compile(
    rf"(?:\bat least|\bno less than|\bnot less than|\bminimum(?: of)?|\bgreater than or equal to|>=|\bstarting (?:at|from))\s*({DIGITS})",
    re.I,
)
_LOWER_AFTER = re.compile(
    rf"({DIGITS})\s*(?:\+|or (?:more|greater|higher|above|larger|over)|and (?:above|up|over)|to infinity|upwards?)",
    re.I,
)
_UPPER = re.compile(
    rf"(?:\bat most|\bno more than|\bnot more than|\bmaximum(?: of)?|\bless than or equal to|\bup to|<=)\s*({DIGITS})",
    re.I,
)


@functools.lru_cache(maxsize=65_536)
def scale_of_passages(question: str, told: str) -> Scale:
    """The scale that an answer format tells, with the question's words for what it leaves open.

    Unknown where a number of the format is ambiguous, or is neither within the scale nor explained outside it.
    """
    if _REFUSED.search(_unquoted(told)) or unread_digits(plain_text(told)) is not None:
        return Scale.unknown()
    stated = read_passage(told, is_question=False)
    levels = _levels_of(stated)
    if stated.clash or (levels is None and not stated.is_silent):
        return Scale.unknown()
    if levels is not None and not all(_holds(levels, value) for value in stated.unused):
        return Scale.unknown()
    asked = Passage() if unread_digits(plain_text(question)) else read_passage(question, is_question=True)
    asked_levels = None if asked.clash else _levels_of(asked)
    if levels is None:
        if asked_levels is not None and _is_stated_as_scale(asked, question):
            return _scale(asked_levels, asked, labels=asked.labels, words=question)
        return _open_number(plain_text(told), plain_text(question))
    labels = dict(stated.labels)
    if asked_levels is not None:
        agree = _are_equal(asked_levels, levels)
        if asked.on_scale and asked.ranges and not agree:
            return Scale.unknown()
        if agree and not stated.labels:
            labels |= asked.labels
    return _scale(
        levels,
        stated,
        labels=labels,
        words=f"{told} {' '.join(m[0] for m in _POINT_SCALE.finditer(question))}",
    )


def _is_stated_as_scale(asked: Passage, question: str) -> bool:
    """A question's own numbers are its answers if it says "scale", or numbers its options from 0 or 1 on."""
    values = sorted(asked.labels)
    if asked.ranges or re.search(r"\bscale\b", question, re.I):
        return True
    return values[0] in (0, 1) and values[-1] - values[0] == len(values) - 1


def _unquoted(text: str) -> str:
    return re.sub(r"(?<!\w)'[^']*'|\"[^\"]*\"", "''", plain_text(text))


# A range may be as wide as the numbers in a text: it is never walked through.
Levels = tuple[float, ...] | range


def _holds(levels: Levels, value: float) -> bool:
    return value == int(value) and int(value) in levels if isinstance(levels, range) else value in levels


def _ends(levels: Levels) -> tuple[float, float]:
    return (levels[0], levels[-1]) if isinstance(levels, range) else (min(levels), max(levels))


def _are_equal(some: Levels, others: Levels) -> bool:
    if len(some) != len(others) or _ends(some) != _ends(others):
        return False
    return len(some) > MAX_LEVELS or set(some) == set(others)


def _levels_of(passage: Passage) -> Levels | None:
    """The levels that a passage states, or the two ends where these are not whole; None if it states none."""
    if len(passage.ranges) > 1 or len({frozenset(v) for v in passage.listed}) > 1:
        return None
    levels: Levels
    if passage.ranges:
        lo, hi = next(iter(passage.ranges))
        if lo >= hi:
            return None
        if lo != int(lo) or hi != int(hi):
            return None if passage.labels else (lo, hi)
        levels = range(int(lo), int(hi) + 1)
        if passage.listed and not all(_holds(levels, value) for value in passage.listed[0]):
            return None
    elif passage.listed:
        levels = passage.listed[0]
        if len(set(levels)) < 2 or any(v != int(v) for v in levels):
            return None
    elif len(passage.labels) >= 2:
        values = sorted(passage.labels)
        if passage.options or values[-1] - values[0] == len(values) - 1:
            levels = tuple(values)
        elif any(_CODED.match(label) for label in passage.labels.values()):
            return None  # "1 means Yes and 5 means No": two codes or five levels
        else:
            levels = range(values[0], values[-1] + 1)
    else:
        return None
    return levels if all(_holds(levels, value) for value in passage.labels) else None


def _scale(levels: Levels, passage: Passage, *, labels: Mapping[int, str], words: str) -> Scale:
    """The scale of `levels`, held against what else `words` say: steps, decimals, the number of points."""
    lo, hi = _ends(levels)
    bare = _unquoted(words)
    whole = _WHOLE.search(bare) is not None
    step = step_of(bare)
    if passage.ranges and not labels:
        if lo != int(lo) or hi != int(hi) or step != int(step) or (_DECIMAL.search(bare) and not whole):
            return Scale.open_number(lo=lo, hi=hi, origin="stated")
        if (lo, hi) == (0, 1) and not whole:
            if _PROPORTION.search(bare):
                return Scale.open_number(lo=lo, hi=hi, origin="stated")
            return Scale.unknown()  # a share or a choice of two
    if step:
        if step != int(step):
            return Scale.unknown()
        levels = range(int(lo), int(hi) + 1, int(step))
        if hi not in levels or (_MULTIPLE.search(bare) and lo % step):
            return Scale.unknown()
        labels = {value: label for value, label in labels.items() if value in levels}
    for points in _POINT_SCALE.finditer(bare):
        raw = points[1].lower()
        if len(levels) != (NUMBER_WORDS[raw] if raw in NUMBER_WORDS else int(raw)):
            return Scale.unknown()
    if len(levels) > MAX_LEVELS:
        return Scale.open_number(lo=float(lo), hi=float(hi), origin="stated", **_beside(passage.extra))
    codes = sort_codes({int(v): labels.get(int(v), "") for v in levels})
    if len(codes.levels) < 2:
        return Scale.unknown()
    aside = {**dict.fromkeys(codes.missing, "missing"), **codes.alternatives, **passage.extra}
    return Scale.of_levels(codes.levels, origin="stated", **_beside(aside))


def _beside(aside: Mapping[int, str]) -> dict:
    """Codes outside the levels as alternatives, and those whose label says that nothing was answered as missing."""
    missing = {code for code, label in aside.items() if says_missing(label)}
    return {"missing": missing, "alternatives": {c: label for c, label in aside.items() if c not in missing}}


def _open_number(plain: str, question: str) -> Scale:
    """An open number if the format asks for a quantity and no number in it remains unexplained."""
    if not re.search(
        r"\b(?:integer|number|numeric|whole|figure|value|amount|year|age|percent(?:age)?|dollars?)\b",
        plain,
        re.I,
    ):
        return Scale.unknown()
    lo = next((numbers_in(m[1])[0].value for p in (_LOWER, _LOWER_AFTER) for m in p.finditer(plain)), None)
    hi = next((numbers_in(m[1])[0].value for m in _UPPER.finditer(plain)), None)
    signed = re.search(r"\b(non-?\s?negative|positive)\b", plain, re.I)
    if signed and lo is None:
        lo = 1.0 if signed[1].lower() == "positive" and _WHOLE.search(plain) else 0.0
    bounds = {v for v in (lo, hi) if v is not None}
    if any(n.value not in bounds and n.style != "word" for n in numbers_in(plain)):
        return Scale.unknown()
    told = _QUANTITY.search(plain) and not (
        _RATED.search(plain) and not re.search(r"percent|dollar", plain, re.I)
    )
    if told or signed or bounds or (_ASKS_QUANTITY.search(question) and not _RATED.search(plain)):
        return Scale.open_number(lo=lo, hi=hi, origin="stated")
    return Scale.unknown()
