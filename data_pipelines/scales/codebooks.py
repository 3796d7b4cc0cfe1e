"""Reading the scale of an outcome from the words of a codebook."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping

from socsci_jax.studies.schema import MAX_LEVELS, Scale

# Codes that survey houses use for "no answer".  They count as missing only where the scale does not hold them.
MISSING_CODES = frozenset({66, 77, 88, 97, 98, 99})

_MISSING_LABEL = re.compile(
    r"don.?t know|skipped|refused|no answer|haven.?t thought|prefer not|not applicable|not asked",
    re.IGNORECASE,
)
_NUMBER = r"-?\$?\s?\d[\d,]*"
# "1        Strongly approve", "2. Disagree", "3) Keep", "4 = Agree"; the label may be missing.
_CODED_LINE = re.compile(r"^\s*(-?\d+)(?:\s*[.):=]|\s*\t|\s+(?=\S))\s*(.*?)\s*$")
# "1-Exhaust diplomacy - 7-Be ready", "1 = No, 2 = Yes"
_CODED_INLINE = re.compile(
    r"(-?\d+)\s*[-–=:]\s*([^\W\d].*?)(?=\s*(?:[-–,;]|\band\b)+\s*-?\d+\s*[-–=:]\s*[^\W\d]|\s*[.,;]?\s*$)"
)
# "0 is worse, 5 is the same, and 10 is better", "1 means never and 7 means always"
_SPOKEN = re.compile(
    r"(-?\d+)\s+(?:is|means)\s+(.+?)(?=(?:,|;|\s)+(?:and\s+)?-?\d+\s+(?:is|means)\s|[.,;]?\s*$)"
)
# "ranging from Never (1) to Very frequently (5)"
_ENDS_IN_BRACKETS = re.compile(r"\bfrom\s+(.+?)\s*\((-?\d+)\)\s+to\s+(.+?)\s*\((-?\d+)\)", re.DOTALL)
_POINTS_LIST = re.compile(r"^\s*(\d+)[- ]point\b[^,:]*[,:]\s*(.+?)\s*$", re.IGNORECASE | re.DOTALL)
_RANGE = re.compile(rf"({_NUMBER})\s*%?\s*(?:-|–|—|\bto\b)\s*({_NUMBER})(?!\s*[-–]?\s*point)")


def read_codebook_scale(
    text: str, *, lo: int | None, hi: int | None, lower: str = "", upper: str = ""
) -> Scale:
    """The scale that a codebook entry describes, with origin "codebook"; `Scale.unknown()` if it describes none.

    `lo` and `hi` are the bounds where the codebook states them apart from the text, `lower` and `upper` the
    meaning of the two ends likewise.  Codes of missing answers ("98 SKIPPED ON WEB", "8 Haven't thought much
    about it" on a scale that ends at 7) are no levels.  A label that only repeats its number, or a bare
    counting from 0 of codes that start at 1, is no label.  More than MAX_LEVELS levels make an open number.
    Reads coded lines ("1 Agree" line by line), inline codes ("1-Agree - 7-Disagree", "0 is worse and 10 is
    better", "from Never (1) to Often (5)"), lists ("5-point scale, a, b, c, d, e") and plain ranges ("0-100").
    """
    coded = _coded_lines(text) or _coded_inline(text) or _points_list(text, lo=lo)
    listed = len(coded) >= 2
    coded = _answers_only(coded, lo=lo, hi=hi)
    first, last = _range(text)
    if listed and coded:
        first, last = min(coded), max(coded)
    lo = first if lo is None else lo
    hi = last if hi is None else hi
    if lo is None or hi is None or lo >= hi:
        return Scale.unknown()
    if hi - lo + 1 > MAX_LEVELS:
        return Scale.open_number(lo=float(lo), hi=float(hi), origin="codebook")
    levels = coded if _skips_numbers(sorted(coded), lo=lo, hi=hi) else range(lo, hi + 1)
    labels = _clean_labels({level: coded.get(level, "") for level in levels})
    labels[lo] = labels[lo] or _without_number(lower, lo)
    labels[hi] = labels[hi] or _without_number(upper, hi)
    return Scale.of_levels(labels, origin="codebook")


def missing_codes(text: str, *, hi: int | None) -> frozenset[int]:
    """Codes that stand for a missing answer: the usual ones and those that the text lists beyond `hi`."""
    beyond = {code for code in _coded_lines(text) if hi is not None and code > hi}
    return MISSING_CODES | beyond


def read_range(text: str) -> tuple[int, int] | None:
    """The two ends of "1-5", "0-9999", "35000- 225000" or "$35,000 - $225,000"; None if there is no range."""
    first, last = _range(text)
    return None if first is None or last is None else (first, last)


def _coded_lines(text: str) -> dict[int, str]:
    found = [match for line in text.splitlines() if (match := _CODED_LINE.match(line))]
    coded = {int(match[1]): " ".join(match[2].split()) for match in found}
    # One such line is a sentence that begins with a number ("0 to 10 where ...").
    return coded if len(coded) >= 2 else {}


def _coded_inline(text: str) -> dict[int, str]:
    if match := _ENDS_IN_BRACKETS.search(text):
        return {int(match[2]): " ".join(match[1].split()), int(match[4]): " ".join(match[3].split())}
    for pattern in (_SPOKEN, _CODED_INLINE):
        coded = {int(match[1]): " ".join(match[2].split()) for match in pattern.finditer(text)}
        if len(coded) >= 2:
            return coded
    return {}


def _points_list(text: str, *, lo: int | None) -> dict[int, str]:
    match = _POINTS_LIST.match(text)
    if not match:
        return {}
    labels = [" ".join(part.split()) for part in re.split(r"[,;]", match[2])]
    if len(labels) != int(match[1]):
        return {}
    return dict(enumerate(labels, start=1 if lo is None else lo))


def _answers_only(coded: Mapping[int, str], *, lo: int | None, hi: int | None) -> dict[int, str]:
    """Within stated bounds every code is an answer; without them the label or the usual code tells."""
    if hi is not None:
        return {c: label for c, label in coded.items() if c <= hi and (lo is None or c >= lo)}
    return {
        code: label
        for code, label in coded.items()
        if not _MISSING_LABEL.search(label) and not (code in MISSING_CODES and code - 1 not in coded)
    }


def _skips_numbers(codes: list[int], *, lo: int, hi: int) -> bool:
    """True for a list of options with gaps (1, 2, 5); False for the named points of a slider (0, 50, 100)."""
    if not codes or (codes[0], codes[-1]) != (lo, hi):
        return False
    steps = {b - a for a, b in itertools.pairwise(codes)}
    named_points = (len(codes) <= 3 and len(steps) == 1) or hi - lo + 1 > 5 * len(codes)
    return not named_points


def _range(text: str) -> tuple[int | None, int | None]:
    match = _RANGE.search(text)
    if not match:
        return None, None
    first, last = (int(re.sub(r"[$,\s]", "", end)) for end in match.groups())
    return (first, last) if first < last else (None, None)


def _clean_labels(labels: Mapping[int, str]) -> dict[int, str]:
    cleaned = {level: _without_number(label, level) for level, label in labels.items()}
    shown = [re.match(r"-?\d+", label) for label in labels.values()]
    # "1 -> 0 Not at all, 2 -> 1, ... 11 -> 10 Very": the screen counted from 0, the data from 1.
    if all(shown) and {int(m[0]) - level for m, level in zip(shown, labels)} == {-1}:
        return {level: _without_number(label, level - 1) for level, label in labels.items()}
    return cleaned


def _without_number(label: str, level: int) -> str:
    """The label without its own number before ("1 - Not at all") or after it ("Not at all1")."""
    label = " ".join(label.split())
    if label.casefold() in ("<none>", str(level)):
        return ""
    label = re.sub(rf"^{level}(?:\s*[-–—.:=]\s*|\s+)(?=\D)", "", label)
    return re.sub(rf"(?<=[^\W\d]){level}$", "", label).strip()
