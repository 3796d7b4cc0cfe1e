"""Reads the scale of an item from the words that a participant read.

A text such as SocSci210's `stimuli` holds a vignette, a question and a sentence that tells the answer format
("Only return an integer from 1 to 7, where 1 means ...").  `split_text` cuts it into these three and
`read_scale` turns them into a `Scale`.  The format sentence decides.  The question is asked only for what the
format leaves open, and only where it states a scale; numbers of the vignette are never looked at.

A reading is accepted only if the sentence supports all of it: two ranges, a label outside the range, one level
with two labels or a list that cannot be cut into levels give `Scale.unknown()`.  A label whose end is in doubt
is left out, while the levels stay.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping

from data_pipelines.scales.words import (
    DIGITS,
    NUMBER_WORDS,
    REPLY_VERB,
    Passage,
    numbers_in,
    plain_text,
    read_passage,
    step_of,
)
from socsci_jax.studies.schema import MAX_LEVELS, Scale


@dataclasses.dataclass(frozen=True)
class TextParts:
    """A text cut in three; `stimulus + question + answer_format` is the text, letter for letter."""

    stimulus: str
    question: str = ""
    answer_format: str = ""


def split_text(text: str) -> TextParts:
    """Cuts `text` before its question and before the sentence that tells the answer format.

    The stimulus keeps the words that introduce the question and its opening quotation mark; blanks between two
    parts belong to the earlier one.  What cannot be told apart stays in the stimulus.
    """
    cut = _cut(plain_text(text))
    return TextParts(
        stimulus=text[: cut.question],
        question=text[cut.question : cut.format],
        answer_format=text[cut.format :],
    )


def read_scale(text: str) -> Scale:
    """The scale that `text` states (origin "stated"), or `Scale.unknown()` where it states none or several.

    Levels ascend whichever way the sentence counts, and labels stay with their level.  A range of more than
    `MAX_LEVELS` levels is an open number with these bounds.
    """
    plain = plain_text(text)
    cut = _cut(plain)
    return _combine(text[cut.question : cut.format], text[cut.read_from : cut.read_to])


# ---------------------------------------------------------------------------------------------------------
# Where the question and the answer format begin

# Patterns that run over whole vignettes begin with few possible characters and spell out the case that matters,
# which makes them several times faster than a search that ignores case.
_ASKED = re.compile(r"\b[Aa]sked\b(?:[^.?!:\"']{0,80}:|,)?\s*([\"']+)|\b[Aa]sked\b[^.?!:\"']{0,80}:\s*")
_SENTENCE_END = re.compile(r"[.?!]+[\"')\]]*(?:\s+|(?=(?:Only|Please|Return|Respond|Answer|Just)\b))|\n\s*")
_ABBREVIATION = re.compile(
    r"(?:(?:^|\n|[;:(]\s?)\d{1,2}\.|\b(?:[A-Z]|Dr|Mr|Mrs|Ms|St|vs|etc|e\.g|i\.e|No|Jr|Sr)\.)$"
)
_DIRECTIVE = re.compile(
    rf"[(\"']*(?:please,?\s+)?(?:"
    rf"(?:only|just|simply|kindly)\s+{REPLY_VERB}\b|{REPLY_VERB}\b"
    r"|(?:your|the)\s+(?:answer|response|rating|reply)\s+(?:should|must|has to|can|may|needs|is to)\b"
    r"|(?:(?:response|answer|rating|possible)\s+)?(?:options?|scale|choices?|format|answers?|responses?)"
    r"(?:\s+(?:format|are|is|is as follows|are as follows))?\s*(?::|are\b|is\b|\()"
    r"|(?:an?\s+)?(?:single\s+)?(?:integer|whole number|number)\b"
    r"|where\s+[\"']?[+-]?\d"
    r"|[\"']?[+-]?\d+[\"']?\s*(?:=|:|-|\(|\)|\.\s|to\b|for\b|if\b|means\b|being\b|is\b|represents\b|indicates\b)"
    r")",
    re.I,
)
_REPLY = r"(?:return|respond|answer|reply|output|enter|type|write|give|provide)"
_OBJECT = r"(?:with|using|by|in|as|the|an?|one|either|your|only|between|from|integers?|numbers?|numeric|zero|\(?[\"']?[$+-]?\d)"
_ONLY = re.compile(r"[OoJjSs](?:nly|ust|imply)\b")
_ONLY_REPLY = re.compile(rf"\w+\s+{_REPLY}\s+{_OBJECT}", re.I)  # "only return an integer"
_REPLY_BEFORE = re.compile(rf"\b{_REPLY}\s+(?:with\s+)?$", re.I)  # "return only an integer"
_OBJECT_AFTER = re.compile(rf"\w+\s+{_OBJECT}", re.I)
_NUMERIC = re.compile(
    r"\b(?:integers?|numbers?|digits?|numerals?|numeric(?:al)?|percent(?:age)?|dollars?|years?|one of"
    rf"|{'|'.join(NUMBER_WORDS)})\b|\d",
    re.I,
)


_NAMES_ANSWER = re.compile(
    r"\b(?:integers?|numbers?(?! of)|digits?|numerals?|one of|options?)\b|^[(\"']?\d|\b(?:from|between)\s+[+-]?\d"
    r"|\d\s*(?:=|-|means|for|to)",
    re.I,
)
_ENDS_ASKING = re.compile(r"\?[\"')\]\s.]*$")


@dataclasses.dataclass(frozen=True)
class _Cut:
    question: int
    format: int
    read_from: int  # the words that tell the format: from here ...
    read_to: int  # ... to here, which is the end of the text unless a question follows them


@functools.lru_cache(maxsize=1024)
def _cut(plain: str) -> _Cut:
    end = len(plain)
    asked = max((m.end() for m in _ASKED.finditer(plain)), default=0)
    starts = sorted({*_sentence_starts(plain), asked})
    bounds = list(zip(starts, [*starts[1:], end]))

    def asks(i: int) -> bool:
        return _ENDS_ASKING.search(plain[slice(*bounds[i])]) is not None

    def tells(i: int) -> bool:
        return _tells_format(plain[slice(*bounds[i])]) and not asks(i)

    # What was told before the last "were asked" is part of the vignette.
    asked_at = starts.index(asked)
    last = next((i for i in range(len(bounds) - 1, asked_at - 1, -1) if tells(i)), None)
    if last is None:
        return _Cut(_question_start(plain, end, asks(-1)), end, end, end)
    first = last
    while first > asked_at and tells(first - 1) and _NAMES_ANSWER.search(plain[slice(*bounds[first - 1])]):
        first -= 1
    start = bounds[first][0]
    later_question = next((bounds[i][0] for i in range(last + 1, len(bounds)) if asks(i)), None)
    if later_question is not None:
        return _Cut(min(_question_start(plain, end, True), start), end, start, later_question)
    return _Cut(_question_start(plain, start, False), start, start, end)


def _sentence_starts(plain: str) -> list[int]:
    starts = [0] if plain.strip() else []
    for match in _SENTENCE_END.finditer(plain):
        following = plain[match.end() : match.end() + 3].lstrip("\"'([")
        if not following or not (following[0].isupper() or following[0].isdigit() or "\n" in match[0]):
            continue
        if _ABBREVIATION.search(plain[max(0, match.start() - 5) : match.start() + 1]):
            continue
        starts.append(match.end())
    return sorted({*starts, *_only_starts(plain)})


def _only_starts(plain: str) -> list[int]:
    """Where "only return ..." or "return only ..." stands: it opens the format even within a sentence."""
    starts = []
    for match in _ONLY.finditer(plain):
        at = match.start()
        if at and (plain[at - 1].isalnum() or plain[at - 1] == "_"):
            continue
        reply = _REPLY_BEFORE.search(plain[max(0, at - 24) : at])
        if reply and _OBJECT_AFTER.match(plain, at):
            starts.append(max(0, at - 24) + reply.start())
        elif _ONLY_REPLY.match(plain, at):
            starts.append(at)
    return starts


def _tells_format(sentence: str) -> bool:
    if 0 in _only_starts(sentence[:80]):
        return True
    opening = _DIRECTIVE.match(sentence)
    return opening is not None and _NUMERIC.search(sentence) is not None


def _question_start(plain: str, stop: int, asks: bool) -> int:
    """Where the question that ends at `stop` begins; `stop` itself where none can be told from the vignette."""
    before = plain[:stop]
    asked = list(_ASKED.finditer(before))
    if asked:
        quote = (asked[-1][1] or "")[-1:]
        question = before[asked[-1].end() :]
        closed_elsewhere = (
            quote
            and quote in question
            and not question.rstrip().endswith(quote)
            and not plain.rstrip().endswith(quote)
        )
        if not closed_elsewhere and question.strip():
            return asked[-1].end()
    starts = _sentence_starts(before)
    if not starts:
        return stop
    sentences = [before[a:b] for a, b in zip(starts, [*starts[1:], stop])]
    for i in range(len(starts) - 1, max(-1, len(starts) - 3), -1):
        if "?" in sentences[i]:
            return starts[i]
    if stop < len(plain):
        return starts[-1]
    return starts[-1] if asks else stop


# ---------------------------------------------------------------------------------------------------------
# From passages to a scale

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
_POINT_SCALE = re.compile(rf"\b(\d+|{'|'.join(NUMBER_WORDS)})[- ]point\s(?:[\w-]+\s){{0,2}}scale\b", re.I)
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
def _combine(question: str, told: str) -> Scale:
    if _REFUSED.search(_unquoted(told)):
        return Scale.unknown()
    stated = read_passage(told, is_question=False)
    levels = _levels_of(stated)
    if stated.clash or (levels is None and not stated.is_silent):
        return Scale.unknown()
    asked = read_passage(question, is_question=True)
    asked_levels = None if asked.clash else _levels_of(asked)
    if levels is None:
        if asked_levels is not None and _is_stated_as_scale(asked, question):
            return _scale(asked_levels, asked, labels=asked.labels, words=question)
        return _open_number(plain_text(told), plain_text(question))
    labels = {**stated.extra, **stated.labels}
    if asked_levels is not None:
        agree = set(asked_levels) == set(levels) - set(stated.extra)
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


Levels = tuple[float, ...] | range


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
        if passage.listed and not set(passage.listed[0]) <= set(levels):
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
    return levels if all(value in levels for value in passage.labels) else None


def _scale(levels: Levels, passage: Passage, *, labels: Mapping[int, str], words: str) -> Scale:
    """The scale of `levels`, held against what else `words` say: steps, decimals, the number of points."""
    lo, hi = min(levels), max(levels)
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
    if len(levels) + len(passage.extra) > MAX_LEVELS:
        return Scale.open_number(lo=float(lo), hi=float(hi), origin="stated")
    values = {int(v) for v in levels} | set(passage.extra)
    return Scale.of_levels({v: labels.get(v, "") for v in values}, origin="stated")


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
