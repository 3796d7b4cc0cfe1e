"""Reading the scale of an outcome from the words of a codebook.

One rule: all of the text is accounted for, or the scale is unknown and the reading says why.  A number, sign or
decimal that no form explains is never skipped, so that a scale is never cut out of the digits that were understood.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Mapping

from data_pipelines.scales.coded import NotUnderstood, coded_inline, coded_lines, points_list
from data_pipelines.scales.nonresponse import USUAL_CODES, sort_codes
from data_pipelines.scales.numbers import NUMBER, is_decimal, number, plain_text
from socsci_jax.studies.scale import MAX_LEVELS, Number, Scale, exact_number

_RANGE = re.compile(
    rf"(?<![\w.,])({NUMBER})(?!\w)\s*%?\s*(?:-|\bto\b)\s*({NUMBER})(?![\w])\s*%?", re.IGNORECASE
)
_POINTS = re.compile(r"(?<![\w.,])(\d{1,3})[- ]points?\b", re.IGNORECASE)
_YES_NO = re.compile(r"(?:yes|no|true|false|male|female|man|woman)\b", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """A scale, and where it is unknown what was not understood; `note` is empty where the text says nothing."""

    scale: Scale
    note: str = ""


def read_codebook_scale(
    text: str, *, lo: float | None, hi: float | None, lower: str = "", upper: str = ""
) -> Scale:
    """The scale of `read_codebook`, without its note."""
    return read_codebook(text, lo=lo, hi=hi, lower=lower, upper=upper).scale


def read_codebook(
    text: str, *, lo: float | None, hi: float | None, lower: str = "", upper: str = ""
) -> Reading:
    """The scale that a codebook entry describes, with origin "codebook".

    `lo` and `hi` are the bounds where the codebook states them apart from the text, `lower` and `upper` the
    meaning of the two ends likewise.  Codes that say "don't know" or "refused" are alternatives, those that say
    "skipped" or "no answer" missing codes, and neither are levels, also inside stated bounds.  A label that only
    repeats its number, or a bare counting from 0 of codes that start at 1, is no label.  More than MAX_LEVELS levels,
    and ends with decimals, make an open number.
    Reads coded lines ("1 Agree", "1 - Agree", "-3 = Bad" line by line), inline codes ("1-Agree - 7-Disagree", "0 is
    worse and 10 is better", "from Never (1) to Often (5)"), lists ("5-point scale, a, b, c, d, e") and plain ranges
    ("0-100", "-3 to +3", "1.5-9.5").
    """
    try:
        return Reading(scale=_scale(text, lo=lo, hi=hi, lower=lower, upper=upper))
    except NotUnderstood as reason:
        return Reading(scale=Scale.unknown(), note=str(reason))


def read_range(text: str) -> tuple[Number, Number] | None:
    """The two ends of "1-5", "-3 to +3", "0-9999" or "$35,000 - $225,000"; None if the text is not one range."""
    try:
        stated = _stated_range(text, labels=())
    except NotUnderstood:
        return None
    return None if stated is None else stated.ends


def _scale(text: str, *, lo: float | None, hi: float | None, lower: str, upper: str) -> Scale:
    plain = plain_text(text)
    coded = coded_lines(text) or coded_inline(text) or points_list(text, lo=lo)
    around = plain if coded is None else coded.around
    stated = _stated_range(around, labels=() if coded is None else tuple(coded.labels.values()))
    if coded is None and stated is None:
        if re.search(r"\d", _POINTS.sub("", plain)):
            raise NotUnderstood(f"no scale is seen in {_shown(text)}")
        if lo is None or hi is None:
            return Scale.unknown()
    ends = (lo, hi)
    if stated is not None:
        if None not in ends and ends != stated.ends:
            raise NotUnderstood(f"{_shown(text)} states other ends than {lo:g} to {hi:g}")
        ends = stated.ends
        if coded is not None and not set(ends) <= coded.labels.keys():
            raise NotUnderstood(f"{_shown(coded.around)} states ends that have no code")
    _check_points(plain, ends=ends, coded=None if coded is None else coded.labels)
    if coded is None:
        return _plain_scale(ends, decimals=stated is not None and stated.decimals, lower=lower, upper=upper)
    return _coded_scale(coded.labels, ends=ends, lower=lower, upper=upper)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Range:
    ends: tuple[Number, Number]
    decimals: bool


def _stated_range(plain: str, *, labels: tuple[str, ...]) -> _Range | None:
    """The one range that words around the codes state; raises NotUnderstood for any digit that is not in it."""
    plain = plain_text(plain)
    matches = list(_RANGE.finditer(plain))
    rest = _POINTS.sub(" ", _RANGE.sub(" ", plain))
    if re.search(r"\d", rest):
        raise NotUnderstood(f"{_shown(rest)} holds a number that no form explains")
    if not matches:
        return None
    ends = [(number(match[1]), number(match[2])) for match in matches]
    if len(set(ends)) > 1:
        raise NotUnderstood(f"{_shown(plain)} states several ranges")
    first, last = ends[0]
    if first is None or last is None:
        raise NotUnderstood(f"{_shown(matches[0][0])} can be read in more than one way")
    if first >= last:
        raise NotUnderstood(f"{_shown(matches[0][0])} does not ascend")
    return _Range(ends=(first, last), decimals=any(map(is_decimal, matches[0].groups())))


def _check_points(plain: str, *, ends: tuple, coded: Mapping | None) -> None:
    """A "5-point scale" has five levels."""
    for match in _POINTS.finditer(plain):
        points = int(match[1])
        known = None if None in ends else ends[1] - ends[0] + 1
        counted = () if coded is None else (len(coded), _span(coded) if known is None else None)
        if points not in (known, *counted) and (known is not None or coded):
            raise NotUnderstood(f"{match[0]!r} is not the number of levels")


def _span(coded: Mapping[Number, str]) -> float:
    """How many whole numbers there are from the first to the last code that is an answer: "1 = never, 7 = always"."""
    levels = sort_codes(coded).levels or coded
    return max(levels) - min(levels) + 1


def _plain_scale(ends: tuple[float, float], *, decimals: bool, lower: str, upper: str) -> Scale:
    lo, hi = map(exact_number, ends)
    if lo >= hi:
        raise NotUnderstood(f"{lo} to {hi} does not ascend")
    if decimals or not (isinstance(lo, int) and isinstance(hi, int)) or hi - lo + 1 > MAX_LEVELS:
        return Scale.open_number(lo=float(lo), hi=float(hi), origin="codebook")
    labels = dict.fromkeys(range(lo, hi + 1), "")
    labels[lo], labels[hi] = _without_number(lower, str(lo)), _without_number(upper, str(hi))
    return Scale.of_levels(labels, origin="codebook")


def _coded_scale(
    coded: Mapping[Number, str], *, ends: tuple[float | None, float | None], lower: str, upper: str
) -> Scale:
    codes = sort_codes(coded)
    levels, alternatives = dict(codes.levels), dict(codes.alternatives)
    missing = set(codes.missing)
    lo, hi = ends
    for code, label in coded.items():
        if code not in levels:
            continue
        beyond = (lo is not None and code < lo) or (hi is not None and code > hi)
        apart = code in USUAL_CODES and not {code - 1, code + 1} & levels.keys()
        if beyond and not apart:
            raise NotUnderstood(f"code {code:g} lies beyond the stated ends, and its label does not say why")
        if beyond or (hi is None and apart):
            del levels[code]
            alternatives |= {code: label} if label else {}
            missing |= set() if label else {code}
    if len(levels) < 2:
        raise NotUnderstood(f"fewer than two of the codes {_codes(coded)} are answers")
    beside = {"alternatives": alternatives, "missing": missing}
    aside = {*alternatives, *missing}
    first, last = min(levels), max(levels)
    lo = _inner_end(first if lo is None else lo, last, aside, step=1)
    hi = _inner_end(last if hi is None else hi, first, aside, step=-1)
    if any(code != int(code) for code in (*levels, lo, hi)):
        return _decimal_scale(levels, lo=lo, hi=hi, beside=beside)
    lo, hi = exact_number(lo), exact_number(hi)
    if hi - lo + 1 > MAX_LEVELS:
        return Scale.open_number(lo=float(lo), hi=float(hi), origin="codebook", **beside)
    _check_gaps(levels, lo=lo, hi=hi, are_stated=None not in ends)
    if _is_list_of_options(sorted(levels), lo=lo, hi=hi, aside=aside):
        places = sorted(levels)
    else:
        places = [code for code in range(lo, hi + 1) if code not in aside]
    labels = _clean_labels({place: levels.get(place, "") for place in places})
    labels[places[0]] = labels[places[0]] or _without_number(lower, str(places[0]))
    labels[places[-1]] = labels[places[-1]] or _without_number(upper, str(places[-1]))
    return Scale.of_levels(labels, origin="codebook", **beside)


def _inner_end(end: float, other: float, aside: set[Number], *, step: int) -> float:
    """The end of a range without the codes at it that are no places on the scale."""
    while end in aside and end != other:
        end += step
    return end


def _decimal_scale(
    levels: Mapping[Number, str], *, lo: float, hi: float, beside: Mapping[str, object]
) -> Scale:
    """Steps between whole ends (1, 1.5, 2) are levels; other decimals are named points of a quantity."""
    codes = sorted(levels)
    steps = {round(b - a, 9) for a, b in itertools.pairwise(codes)}
    if len(steps) > 1:
        raise NotUnderstood(f"the codes {_codes(levels)} leave gaps")
    if (codes[0], codes[-1]) == (lo, hi) and lo == int(lo) and hi == int(hi):
        return Scale.of_levels(_clean_labels(levels), origin="codebook", **beside)
    return Scale.open_number(lo=float(lo), hi=float(hi), origin="codebook", **beside)


def _check_gaps(levels: Mapping[Number, str], *, lo: Number, hi: Number, are_stated: bool) -> None:
    """Without stated ends, a code that stands apart from the others may be a level or none."""
    codes = sorted(levels)
    steps = {b - a for a, b in itertools.pairwise(codes)}
    if not are_stated and len(steps) > 1:
        raise NotUnderstood(f"the codes {_codes(levels)} leave gaps, and no ends are stated")
    if len(codes) > 2 and steps == {1} and not {lo, hi} <= set(codes):
        raise NotUnderstood(f"the codes {_codes(levels)} do not reach the stated ends")
    if len(codes) == 2 and steps != {1} and all(map(_YES_NO.match, levels.values())):
        raise NotUnderstood(f"{_codes(levels)} are two codes or the ends of a range")


def _is_list_of_options(codes: list[int], *, lo: int, hi: int, aside: set[Number]) -> bool:
    """True for a list of options with gaps (1, 2, 5); False for the named points of a slider (0, 50, 100)."""
    if (codes[0], codes[-1]) != (lo, hi):
        return False
    whole = [code for code in range(lo, hi + 1) if code not in aside]
    if len(whole) == len(codes):
        return True
    steps = {b - a for a, b in itertools.pairwise(codes)}
    named_points = (len(codes) <= 3 and len(steps) == 1) or hi - lo + 1 > 5 * len(codes)
    return not named_points


def _clean_labels(labels: Mapping[Number, str]) -> dict[Number, str]:
    """Labels without the numbers that the screen printed next to them.

    "1  1 - Never" has its number twice; "2  2 times" has it once, unless other labels are nothing but their number.
    """
    shown = [re.match(r"-?\d+", label) for label in labels.values()]
    # "1 -> 0 Not at all, 2 -> 1, ... 11 -> 10 Very": the screen counted from 0, the data from 1.
    shift = -1 if all(shown) and {int(m[0]) - c for m, c in zip(shown, labels)} == {-1} else 0
    printed = {code: str(code + shift) for code in labels}
    bare = any(label == printed[code] for code, label in labels.items())
    trailing = all(label.endswith(printed[code]) for code, label in labels.items() if label)
    return {
        code: _without_number(label, printed[code], bare=bare, trailing=trailing)
        for code, label in labels.items()
    }


def _without_number(label: str, printed: str, *, bare: bool = False, trailing: bool = False) -> str:
    label = " ".join(label.split())
    if label.casefold() in ("<none>", printed):
        return ""
    number = re.escape(printed)
    tie = r"(?:\s*[-–—.:=]\s*|\s+)" if bare else r"\s*[-–—.:=]\s*"
    label = re.sub(rf"^{number}{tie}(?=\D)", "", label)
    return re.sub(rf"(?<=[^\W\d]){number}$", "", label).strip() if trailing else label.strip()


def _codes(codes: Mapping[Number, str]) -> str:
    return ", ".join(f"{code:g}" for code in sorted(codes)[:12])


def _shown(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
