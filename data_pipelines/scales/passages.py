"""The numbers of a passage: which are ends of a range, which are listed, which carry a label.

`read_passage` scans an answer-format sentence, or a question, and reports what it says; whether that makes a scale
is decided in `data_pipelines.scales.stated`.
"""

from __future__ import annotations

import dataclasses
import itertools
import re

from data_pipelines.scales.label_first import read_labels_first
from data_pipelines.scales.labels import (
    NON_ANSWER,
    SEPARATOR_TAIL,
    clean_label,
    closing_bracket,
    connector,
    connector_end,
    inside_quotes,
    last_label_end,
)
from data_pipelines.scales.nonresponse import says_alternative, says_missing
from data_pipelines.scales.numbers import plain_text
from data_pipelines.scales.passage import BEFORE_ANCHOR, Passage, is_range
from data_pipelines.scales.written_numbers import REPLY_VERB, UNIT, Number, is_step, numbers_in
from socsci_jax.studies.scale import MAX_LEVELS

_LIST_JOIN = re.compile(rf"{UNIT}?\s*(?:,\s*(?:or|and)?|/|\||\bor\b|;\s*(?:or)?)\s*[\"']?", re.I)
_DOTS_JOIN = re.compile(r"\s*,?\s*(?:\.\.\.|…)\s*,?\s*(?:or|and|up to)?\s*[\"']?", re.I)

_SPAN_JOIN = re.compile(
    r"(?:\bto|\bthrough|\bthru|\bup to|\buntil|\.\.\.|…|(?:^|\s)-)[\s,]*(?:a\s+)?[(\[\"']?\s*$", re.I
)

# Before the code of an answer outside the scale: "..., or 99 for don't know".
_SPECIAL = re.compile(r"(?:\bor|\band|\buse|\breturn|\benter|[;,.(])\s*[\"'(]*$", re.I)
# Before the first of several options to choose from: "Answer with either 1 (yes) or 2 (no)"; and where they are numbers.
_ASKS_DIRECTLY = re.compile(
    rf"(?:{REPLY_VERB}|with|either|only|just|following|one of|options?)\b[\s:,]*(?:(?:a|the|number|numbers|integer|integers|value|"
    r"one of|either|only|just|options?|following)[\s:,]*)*[\"'(]*$",
    re.I,
)
_NUMBER_WORD = re.compile(r"\b(?:integers?|numbers?|values?)\b[\s:,]*[\"'(]*$", re.I)


def read_passage(text: str, *, is_question: bool) -> Passage:
    """Scans `text` from left to right: at each number a range, a list or a labeled level may begin.

    A question may hold numbers that are no answers, so only ranges said to be a scale and two or more labeled
    levels are read from it.
    """
    plain = plain_text(text)
    numbers = numbers_in(plain)
    reading = Passage()
    if read_labels_first(text, plain, numbers, reading):
        return reading
    i = 0
    while i < len(numbers):
        number = numbers[i]
        if is_step(plain, number):
            i += 1
            continue
        nxt = numbers[i + 1] if i + 1 < len(numbers) else None
        if nxt is not None and is_range(plain, number, nxt):
            on_scale = _near_scale_word(plain, number.start, nxt.end)
            if not is_question or on_scale:
                reading.ranges.add((min(number.value, nxt.value), max(number.value, nxt.value)))
                reading.on_scale = reading.on_scale or on_scale
            i += 2
            continue
        count = _list_length(plain, numbers, i)
        if count:
            values = [n.value for n in numbers[i : i + count]]
            if _DOTS_JOIN.fullmatch(plain[numbers[i + count - 2].end : numbers[i + count - 1].start]):
                values = _fill_dots(values)
                reading.clash = reading.clash or not values
            if not is_question:
                reading.listed.append(tuple(values))
            i += count
            continue
        kind = connector(plain, number)
        if kind is not None and BEFORE_ANCHOR.search(plain[: number.start]):
            i = _read_anchors(text, plain, numbers, i, kind, reading, is_question=is_question)
            continue
        if number.style != "word":  # "one of", "select one"
            reading.unused.append(number.value)
        i += 1
    return reading


def _near_scale_word(plain: str, start: int, end: int) -> bool:
    return bool(
        re.search(r"\b(?:scale|slider|thermometer|rat(?:e|ing))\b[^.?!]{0,60}$", plain[:start], re.I)
        or re.match(r"[^.?!,]{0,12}\b(?:scale|slider|thermometer|rating)\b", plain[end:], re.I)
    )


def _list_length(plain: str, numbers: list[Number], i: int) -> int:
    """How many numbers from the i-th on form a plain list ("1, 2, 3, or 4"); 0 if fewer than two."""
    j = i
    while j + 1 < len(numbers):
        join = plain[numbers[j].end : numbers[j + 1].start]
        if not (_LIST_JOIN.fullmatch(join) or (j > i and _DOTS_JOIN.fullmatch(join))):
            break
        j += 1
    count = j - i + 1
    if count < 2:
        return 0
    if numbers[i].style == "word" and not re.match(r"\s*(?:[,.;)]|$|nothing|only)", plain[numbers[j].end :]):
        return 0
    # "1, 2 for Yes": the last number is a label's, so this is no plain list.
    if connector(plain, numbers[j]) in ("copula", "paren", "option") and not re.match(
        r"\s+(?:representing|indicating|to indicate|to represent|for (?:how|your|the|each)|as)\b",
        plain[numbers[j].end :],
        re.I,
    ):
        return 0
    return count


def _fill_dots(values: list[float]) -> list[float]:
    """1, 2, 3, ..., 7 in full; empty if the numbers do not tell the step or the end is not on it."""
    *head, end = values
    if len(head) < 2:
        return []
    steps = {b - a for a, b in itertools.pairwise(head)}
    step = steps.pop()
    if steps or step == 0 or (end - head[-1]) % step or (end - head[-1]) / step < 1:
        return []
    filled = list(head)
    while filled[-1] != end and len(filled) <= MAX_LEVELS:
        filled.append(filled[-1] + step)
    return filled


def _read_anchors(
    text: str,
    plain: str,
    numbers: list[Number],
    i: int,
    kind: str,
    reading: Passage,
    *,
    is_question: bool,
) -> int:
    """Reads the run of labeled numbers that begins at the i-th; returns the index of the first number after it."""
    run = _run_of_anchors(plain, numbers, i, kind)
    read = _labels_of_run(text, plain, numbers, run, reading, is_question=is_question)
    if read is None:
        return len(numbers)
    numbered = kind in ("after", "dot", "dash") and not re.search(
        r"\?|\bscale\b", plain[: numbers[i].start], re.I
    )
    # "do you agree that (1) ... and (2) ...?"
    if not is_question or (len(read.anchors) >= 2 and not numbered):
        _note_labels(read, kind, reading)
    return _skip(numbers, read.stop)


def _run_of_anchors(plain: str, numbers: list[Number], i: int, kind: str) -> list[int]:
    """Indices of the numbers, from the i-th on, that carry their labels in the same way."""
    run = [i]
    for j in range(i + 1, len(numbers)):
        if numbers[j].style != numbers[i].style or connector(plain, numbers[j]) != kind:
            continue
        last = numbers[run[-1]]
        if numbers[j].start < connector_end(plain, last, connector(plain, last)):
            continue
        if inside_quotes(plain, last, connector(plain, last), numbers[j].start):
            continue
        follows = numbers[j].value == last.value + 1
        if BEFORE_ANCHOR.search(plain[: numbers[j].start]) or (
            follows and plain[numbers[j].start - 1] == " "
        ):
            run.append(j)
    return run


@dataclasses.dataclass(frozen=True)
class _Anchor:
    """A labeled number, and the words before it."""

    value: int
    label: str
    before: str


@dataclasses.dataclass(frozen=True)
class _ReadRun:
    """A run of anchors, where in the text its last label ends, and whether its two ends are said to be a range."""

    anchors: list[_Anchor]
    stop: int
    spans: bool


def _labels_of_run(
    text: str, plain: str, numbers: list[Number], run: list[int], reading: Passage, *, is_question: bool
) -> _ReadRun | None:
    """The labels of a run, each up to the next number; None, and a clash, where one is empty or no integer has it."""
    spans = False
    anchors: list[_Anchor] = []
    stop = len(plain)
    for position, j in enumerate(run):
        number = numbers[j]
        own = connector(plain, number)
        begin = connector_end(plain, number, own)
        before = plain[: number.start]
        spans = spans or bool(position and _SPAN_JOIN.search(before))
        if position + 1 < len(run):
            nxt = numbers[run[position + 1]].start
            end = begin + SEPARATOR_TAIL.search(plain[begin:nxt]).start()
            if own == "paren":
                end = min(end, closing_bracket(plain, begin) + 1)
        else:
            end = stop = last_label_end(plain, begin, own, is_question=is_question)
        if plain[number.end : begin].strip().lower() == "otherwise":
            label = "otherwise"
        else:
            label = clean_label(text[begin:end], plain[begin:end])
        other = _other_anchor(plain, numbers, begin, end)
        if other is not None:
            reading.clash = reading.clash or position + 1 < len(run)
            end = stop = begin + SEPARATOR_TAIL.search(plain[begin : other.start]).start()
            label = clean_label(text[begin:end], plain[begin:end])
        is_empty = not label and not plain[begin:end].strip()
        if is_empty or number.value != int(number.value):
            reading.clash = True
            return None
        anchors.append(_Anchor(int(number.value), label, before))
    return _ReadRun(anchors, stop, spans)


def _note_labels(read: _ReadRun, kind: str, reading: Passage) -> None:
    """Sorts labeled numbers into those on the scale and those beside it, and notes what the words before them say."""
    values = [anchor.value for anchor in read.anchors]
    if len(set(values)) < len(values):
        reading.clash = True
    inside_range = bool(reading.ranges) or bool(reading.listed)
    for anchor in read.anchors:
        outside = inside_range and not _within(reading, anchor.value)
        special = _SPECIAL.search(anchor.before)
        named = _no_place(anchor.label) or (kind == "option" and " or" in anchor.before[-5:])
        if outside and special and named:
            reading.extra[anchor.value] = anchor.label
        elif reading.labels.get(anchor.value, anchor.label) != anchor.label:
            reading.clash = True
        else:
            reading.labels[anchor.value] = anchor.label
    if read.spans:
        reading.ranges.add((min(values), max(values)))
        reading.on_scale = True
    elif _ASKS_DIRECTLY.search(read.anchors[0].before):
        reading.options = reading.options or not _NUMBER_WORD.search(read.anchors[0].before)


def _skip(numbers: list[Number], stop: int) -> int:
    return next((k for k, n in enumerate(numbers) if n.start >= stop), len(numbers))


def _other_anchor(plain: str, numbers: list[Number], begin: int, end: int) -> Number | None:
    """A labeled number within an unquoted label: "7 means Yes and 8 for Don't know" mixes two ways of labeling."""
    if plain[begin : begin + 1] in ("'", '"', "(", "["):
        return None
    return next(
        (
            n
            for n in numbers
            if begin < n.start < end
            and connector(plain, n) in ("copula", "option")
            and re.search(r"(?:[,;.]|[,;.\s](?:and|or))\s*$", plain[begin : n.start], re.I)
        ),
        None,
    )


def _no_place(label: str) -> bool:
    """True if a label next to the range says that the answer is none, or is none on the scale."""
    return (
        NON_ANSWER.search(label) is not None
        or says_missing(label)
        or says_alternative(label, at_the_end=True)
    )


def _within(reading: Passage, value: float) -> bool:
    return any(lo <= value <= hi for lo, hi in reading.ranges) or any(value in v for v in reading.listed)
