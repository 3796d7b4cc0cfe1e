"""Scales from choices: codes as a numeric export writes them, labels as people saw them.

What has no place on the scale ("Don't know") stands outside it; what says that there is no answer ("Prefer not to
say", -99) is missing.  Where nothing shows whether the choices have an order, the scale is nominal and a hole says so.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence

from data_pipelines.formats.qualtrics.questionnaire import UNANSWERED, Choice, Question
from data_pipelines.scales.nonresponse import says_alternative, says_missing

# An answer that is none on the scale.  "I don't know him" and "I would prefer not to buy it" are places on one.
_BESIDE = re.compile(
    r"\b(?:do\s?n[o']?t|don['’]t|do not)\s+(?:really\s+)?know(?:\W*$|\s*[/,;(–-]|\s+(?:or|enough|if|how|yet|for sure|the answer)\b)"
    r"|^\W*(?:i\s+)?(?:do\s?n[o']?t|don['’]t|do not|cannot|can['’]?t|could ?n['’]?t)\s+"
    r"(?:really\s+)?(?:say|choose|remember|recall|judge|decide)\b"
    r"|^\W*(?:no opinion|not sure|unsure|undecided)\W*$"
    r"|^\W*(?:not applicable|n/?a|does not apply|doesn['’]t apply)\W*$|haven['’]?t thought",
    re.IGNORECASE,
)
_SAY = r"(?:say|answer|respond|reply|disclose|state|tell|share|specify|reveal|report|identify|provide|indicate|describe)"
_REFUSED = re.compile(
    rf"\b(?:prefer(?:s|red)?|rather|choose|chose|want)\s+not(?:\s+to)?(?:\W*$|\s+{_SAY}\b)"
    rf"|\b(?:decline[ds]?|refuse[ds]?)\s+to\s+{_SAY}\b"
    r"|(?:^|[/,;(]|\bor\b)\W*(?:refuse[ds]?|refusal|decline[ds]?|missing)\W*(?:$|[/,;)])"
    r"|(?:^|[/,;(]|\bor\b)\W*(?:no answer|keine angaben?)\b",
    re.IGNORECASE,
)
# A sentence may hold any word; what stands next to a scale is short.
_LONGEST_BESIDE = 60
_OTHER = re.compile(
    r"^\W*(?:other|something else|none of (?:these|the above)|other\W.*|else)\b.{0,40}$", re.IGNORECASE
)
# Words whose presence in labels shows an order.
_ORDERED = re.compile(
    r"\b(?:strongly|somewhat|slightly|moderately|extremely|very|fairly|completely|totally|not at all|neither|neutral|"
    r"agree|disagree|likely|unlikely|never|rarely|seldom|sometimes|often|always|usually|almost|"
    r"less|more|least|most|fewer|better|worse|same|equal(?:ly)?|much|a little|a lot|none at all|great deal|"
    r"good|bad|poor|fair|excellent|satisfied|dissatisfied|important|concerned|"
    r"every|daily|weekly|monthly|yearly|day|week|month|year|hours?|times?|once|twice|"
    r"hardly|only some|liberal|conservative|moderate|favou?r|oppose|support|"
    r"high|higher|low|lower|small|large|young|old(?:er)?|up to|under|over|above|below|at least|"
    r"too (?:much|little)|about right|increase|decrease|definitely|probably|possibly)\b",
    re.IGNORECASE,
)
_EDUCATION = re.compile(
    r"\b(?:high school|college|degree|bachelor|master|doctor|postgraduate|graduate)\b", re.I
)
_NUMBER = re.compile(r"[-+−]?\d[\d,.]*")
_PRINTED = re.compile(r"^\W*([-+−]?\d{1,4})(?:\s*[-–—=:.)\n]|\s*$)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DraftScale:
    """A scale as drafted: `levels` from the first to the last choice shown; `number` with bounds where it is a quantity.

    `empty` is the code of an empty cell (a box that was not ticked), "" where that is no answer.
    `ends` are the words at the ends of a slider.
    `recoded` says which level a code of the export is, where the two differ.
    `reversed`: the numbers that people read next to the labels run against the codes.
    `order_unknown`: nothing shows whether the levels have an order, so they are nominal until somebody says so.
    """

    levels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    alternatives: Mapping[str, str] = dataclasses.field(default_factory=dict)
    missing: tuple[str, ...] = ()
    empty: str = ""
    recoded: Mapping[str, str] = dataclasses.field(default_factory=dict)
    nominal: bool = False
    reversed: bool = False
    order_unknown: bool = False
    number: bool = False
    lo: float | None = None
    hi: float | None = None
    ends: tuple[str, str] = ("", "")

    @property
    def size(self) -> int:
        return len(self.levels)


def scale_of_choices(choices: Sequence[Choice], *, texts: Sequence[str] = ()) -> DraftScale:
    """The scale of single choices or of a matrix's answers; `texts` are the labels where an arm fills them."""
    labels = [text or choice.text for choice, text in zip(choices, texts or [""] * len(choices), strict=True)]
    levels: dict[str, str] = {}
    alternatives: dict[str, str] = {}
    missing: list[str] = []
    few = len(choices) <= 2
    for choice, label in zip(choices, labels, strict=True):
        if not few and is_refused(label):
            missing.append(choice.value)
        elif not few and (is_beside(label) or not choice.analyzed):
            alternatives[choice.value] = label
        else:
            levels[choice.value] = label
    if len(levels) < 2:
        levels, alternatives = {**levels, **alternatives}, {}
    ordered = is_ordered(list(levels.values()))
    printed = printed_numbers(list(levels.values()))
    codes = [_integer(code) for code in levels]
    against = (
        len(printed) >= 2
        and None not in codes
        and all(codes[i] != number for i, number in printed.items() if 2 * i != len(codes) - 1)
        and all(number + codes[i] == codes[0] + codes[-1] for i, number in printed.items())
    )
    return DraftScale(
        levels=levels,
        alternatives=alternatives,
        missing=tuple(missing),
        nominal=not ordered,
        order_unknown=not ordered,
        reversed=bool(ordered and against),
    )


def is_refused(label: str) -> bool:
    """True if the label says that there is no answer."""
    short = len(label) <= _LONGEST_BESIDE
    return short and (bool(_REFUSED.search(label)) or (says_missing(label) and not _BESIDE.search(label)))


def is_beside(label: str) -> bool:
    """True if the label is an answer that has no place on a scale, in one of a dozen languages."""
    short = len(label) <= _LONGEST_BESIDE
    return short and (bool(_BESIDE.search(label)) or says_alternative(label, at_the_end=False))


def scale_of_rows(question: Question) -> DraftScale:
    """The scale of a slider, a number entry or a sum."""
    lo, hi = question.lo, question.hi
    return DraftScale(number=True, lo=lo, hi=hi if hi is None or lo is None or hi > lo else None)


def chosen_or_not(*, told: bool, seen: bool = False) -> DraftScale:
    """One choice of several; `told`: whoever was asked ticked some box, so an empty cell is an answer.

    `seen`: the export writes -99 where a choice was shown and not ticked, so an empty cell was not asked.
    """
    levels = {"0": "not chosen", "1": "chosen"}
    if seen:
        return DraftScale(levels=levels, recoded={UNANSWERED: "0"})
    return DraftScale(levels=levels, empty="0" if told else "")


def is_ordered(labels: list[str]) -> bool:
    """True for two levels, numbers, or labels most of which hold words of an order."""
    if len(labels) <= 2:
        return True
    if len(printed_numbers(labels)) >= 2 or all(_NUMBER.search(label) or not label for label in labels):
        return True
    if any(_OTHER.match(label) for label in labels):
        return False
    wordy = sum(bool(_ORDERED.search(label) or _EDUCATION.search(label)) for label in labels)
    # A long label is a sentence, and a sentence may hold any word.
    long = sum(len(label) > 60 for label in labels)
    return 2 * wordy > len(labels) and 2 * long <= len(labels)


def printed_numbers(labels: list[str]) -> dict[int, int]:
    """Position -> the number that is printed with the label ("7 - Strongly agree", "3")."""
    printed = {}
    for i, label in enumerate(labels):
        if match := _PRINTED.match(label):
            printed[i] = int(match[1].replace("−", "-"))
    steps = list(printed.values())
    rising = all(a < b for a, b in itertools.pairwise(steps))
    falling = all(a > b for a, b in itertools.pairwise(steps))
    return printed if rising or falling else {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Coding:
    """How a column's cells fit a scale: counts of responses, and up to five cells that fit nothing.

    `in_words`: the rest of the export holds labels, which decides where all cells are codes and labels at once.
    """

    codes: int
    labels: int
    strange: tuple[str, ...]
    strange_count: int
    in_words: bool = False

    @property
    def kind(self) -> str:
        if not self.codes and not self.labels:
            return "empty"
        if self.codes == self.labels:
            return "text" if self.in_words else "numeric"
        return "numeric" if self.codes > self.labels else "text"


def coding(counts: Mapping[str, int], choices: Sequence[Choice]) -> Coding:
    """Whether cells hold codes or labels of the choices (labels compared without white space and case).

    `counts` says how often each cell occurs.
    """
    codes = {code_key(choice.value) for choice in choices}
    labels = {squeezed(t) for choice in choices for t in (choice.text, choice.name) if t}
    coded = labeled = 0
    strange: dict[str, int] = {}
    for value, count in counts.items():
        is_label = squeezed(value) in labels
        if code_key(value) in codes:
            coded += count
            labeled += count * is_label
        elif is_label:
            labeled += count
        elif code_key(value) != UNANSWERED:
            strange[value] = count
    often = sorted(strange, key=lambda value: (-strange[value], value))
    return Coding(codes=coded, labels=labeled, strange=tuple(often[:5]), strange_count=sum(strange.values()))


def code_key(value: str) -> str:
    """ "1", "1.0" and " 1 " are one code."""
    number = _integer(value)
    return str(number) if number is not None else value.strip()


def squeezed(text: str) -> str:
    """The text without white space and case: files break lines where quotations do not."""
    return "".join(text.split()).casefold()


def _integer(text: str) -> int | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if number == number and abs(number) < 2**53 and number == int(number) else None
