"""Lists of codes with labels, as codebooks write them: in lines, in one line, in sentences, without codes."""

from __future__ import annotations

import dataclasses
import itertools
import re

from data_pipelines.scales.numbers import NUMBER, number, plain_text
from socsci_jax.studies.scale import Number


class NotUnderstood(Exception):
    """A text holds something that no form explains; the message says what."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Coded:
    """Codes with their labels, and the words around them."""

    labels: dict[Number, str]
    around: str = ""


# "1        Strongly approve", "2. Disagree", "3) Keep", "4 = Agree", "1 - Agree"; the label may be missing.
_LINE = re.compile(
    rf"\s*[\[(]?({NUMBER})(?:\s*(?:[.):=;|\]]|-?->|→)+\s*|(?P<dash>\s*-+\s+|-(?=[^\W\d]))|,\s+|\s+(?=\S)|\s*$)(?P<label>.*?)\s*$"
)
# Stata's and SAS's missing values have no number: ". = missing", ".a Refused".
_SYSTEM_MISSING = re.compile(r"\s*\.[a-z]?(?:\s*[.):=;|-]+\s*|\s+)(.*?)\s*$")
_BEGINS_WITH_NUMBER = re.compile(r"\s*[\[(]?[+-]?\s?[$€£]?\d")
# "1-Exhaust diplomacy - 7-Be ready", "1 = No, 2 = Yes", "1: No; 2: Yes", "(1) No (2) Yes"
_INLINE = re.compile(rf"(?<![\w.+$-])(?<!\d,)({NUMBER})\s*(=+>?|:|->|→|\)|-|\.(?=\s))\s*(?=\S)")
_BETWEEN_CODES = re.compile(
    r"(?:[\s,;/|.…]|\b(?:and|or|to|through)\b|(?<=\s)-+(?=\s))*[(\[]?\s*$", re.IGNORECASE
)
# What would tie another code, one that is not a number, to a label.
_OTHER_TIE = {
    "=": re.compile(r"="),
    ":": re.compile(r"[,;/|]\s*[\w.]{1,12}\s*:"),
    ")": re.compile(r"[,;\s]\(?[\w.]{1,4}\)"),
    "-": re.compile(r"[,;/|]\s*\S{1,4}\s*-"),
    ".": re.compile(r"[,;/|]\s*\S{1,4}\.\s"),
}
# "0 is worse, 5 is the same, and 10 is better", "1 means never and 7 means always"
_VERB = r"(?:is|means|being|meaning)"
_SPOKEN = re.compile(
    rf"(?<![\w.,+$-])({NUMBER})\s+{_VERB}\s+(.+?)(?=(?:,|;|\s)+(?:and\s+)?{NUMBER}\s+{_VERB}\s|[.,;]?\s*$)",
    re.IGNORECASE,
)
# "ranging from Never (1) to Very frequently (5)", "1 (never) to 5 (very frequently)"
_ENDS = (
    re.compile(
        rf"\bfrom\s+(?P<a>[^()]+?)\s*\((?P<lo>{NUMBER})\)\s+to\s+(?P<b>[^()]+?)\s*\((?P<hi>{NUMBER})\)",
        re.IGNORECASE,
    ),
    re.compile(
        rf"(?<![\w.,+$-])(?P<lo>{NUMBER})\s*\((?P<a>[^()\d][^()]*)\)\s*(?:to|-)\s*(?P<hi>{NUMBER})\s*\((?P<b>[^()\d][^()]*)\)",
        re.IGNORECASE,
    ),
)
_POINTS_LIST = re.compile(r"\s*(\d+)[- ]point\b[^,:\d]*[,:]\s*(.+?)\s*$", re.IGNORECASE | re.DOTALL)


def coded_lines(text: str) -> Coded | None:
    """Codes that begin lines, one in each; None if fewer than two lines are of that form.

    Raises NotUnderstood if a line is neither a code with its label nor a heading before the first of them.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    matches = [_LINE.match(plain_text(line)) for line in lines]
    if sum(match is not None for match in matches) < 2:
        return None
    labels: dict[Number, str] = {}
    heading = []
    for line, match in zip(lines, matches):
        if match is None and _SYSTEM_MISSING.match(line):
            continue
        if match is None:
            if labels or _BEGINS_WITH_NUMBER.match(plain_text(line)):
                raise NotUnderstood(f"the line {line.strip()[:60]!r} has no code")
            heading.append(line)
            continue
        if match["dash"] and match["label"][:1].isdigit():
            raise NotUnderstood(f"the line {line.strip()[:60]!r} may be a range")
        # The label as it is written, at the place where the plain line has it.
        _add(labels, match[1], line[slice(*match.span("label"))])
    if len(labels) < 2:
        return None
    _check(labels)
    return Coded(labels=labels, around="\n".join(heading))


def coded_inline(text: str) -> Coded | None:
    """Codes with labels in running text; None if there are fewer than two."""
    plain = plain_text(text)
    if match := _ENDS[0].search(plain) or _ENDS[1].search(plain):
        labels: dict[Number, str] = {}
        for code, label in (("lo", "a"), ("hi", "b")):
            _add(labels, match[code], text[slice(*match.span(label))])
        return Coded(labels=labels, around=plain[: match.start()] + " " + plain[match.end() :])
    spoken = list(_SPOKEN.finditer(plain))
    if len(spoken) >= 2:
        labels = {}
        for match in spoken:
            _add(labels, match[1], text[slice(*match.span(2))])
        _check(labels)
        return Coded(labels=labels, around=plain[: spoken[0].start()])
    return _connected(text, plain)


def _connected(text: str, plain: str) -> Coded | None:
    """ "1 = No, 2 = Yes": each code is tied to what follows it, up to what separates it from the next."""
    anchors = []
    for match in _INLINE.finditer(plain):
        # A dash ties a code to words only: "1-5" is a range, and a "7-point" scale has seven levels.
        ties = match[2] != "-" or re.match(r"(?!points?\b)[^\W\d]|[\"'(]", plain[match.end() :])
        before = plain[: match.start()]
        if ties and (not before.strip() or re.search(r"[\s(\[,;/|]$", before)):
            anchors.append(match)
    if len(anchors) < 2:
        return None
    kinds = {match[2] for match in anchors}
    if len(kinds) > 1:
        raise NotUnderstood(f"codes are tied to labels by {' and '.join(sorted(kinds))}")
    labels: dict[Number, str] = {}
    # Where the brackets around each code end: "(1 = No), (2 = Yes)", "(reversed: 1 = No, 2 = Yes): ...".
    closings = _closings(plain)
    closed = [closings[match.end()] for match in anchors]
    behind = min(end for end in (*closed, len(plain)) if end >= anchors[-1].end())
    for i, match in enumerate(anchors):
        signed = match[1][0] == "-" and "-" in kinds and i
        if signed and not re.search(r"[,;(|/]\s*$", plain[: match.start()]):
            raise NotUnderstood(f"{match[0]!r} may be a code or a dash")
        end = anchors[i + 1].start() if i + 1 < len(anchors) else behind
        if closed[i] < end:
            if not _BETWEEN_CODES.fullmatch(plain[closed[i] + 1 : end]):
                raise NotUnderstood(f"{plain[closed[i] + 1 : end].strip()[:60]!r} stands between two codes")
            end = closed[i]
        label = plain[match.end() : end]
        tail = _BETWEEN_CODES.search(label) if i + 1 < len(anchors) else re.search(r"[.,;\s]*$", label)
        label = label[: tail.start()]
        if "\n" in label.strip() or _OTHER_TIE.get(match[2][0], _OTHER_TIE["="]).search(label):
            raise NotUnderstood(f"the label {label[:60]!r} may hold another code")
        _add(labels, match[1], text[match.end() : match.end() + tail.start()])
    labels = _without_bare_codes(labels)
    _check(labels)
    return Coded(labels=labels, around=plain[: anchors[0].start()].rstrip("([") + plain[behind:].lstrip(")]"))


def _without_bare_codes(labels: dict[Number, str]) -> dict[Number, str]:
    """The labels without the codes between theirs that have none: "1 = Never 2 3 4 = Always"."""
    codes = sorted(labels)
    following = dict(itertools.pairwise(codes))
    bare = {}
    for code, label in labels.items():
        step = following.get(code, code) - code
        between = [str(code + i) for i in range(1, int(step))] if step == int(step) and 1 < step < 100 else []
        ends = re.search(r"(?:[\s,;/]+-?\d+)+$", label)
        told = re.findall(r"-?\d+", ends[0]) if ends is not None else []
        if between and told == between and ends is not None:
            label = label[: ends.start()]
        elif between and told[:1] == between[:1]:
            raise NotUnderstood(f"the label {label[:60]!r} may hold another code")
        bare[code] = label
    return bare


def _closings(plain: str) -> list[int]:
    """For each place of the text where the brackets around it are closed; the text's length where there are none."""
    pairs = {"(": ")", "[": "]"}
    partner: dict[int, int] = {}
    opened: list[int] = []
    for at, character in enumerate(plain):
        if character in pairs:
            opened.append(at)
        elif opened and character == pairs[plain[opened[-1]]]:
            partner[opened.pop()] = at
    closings: list[int] = []
    around: list[int] = []
    for at in range(len(plain)):
        closings.append(around[-1] if around else len(plain))
        if at in partner:
            around.append(partner[at])
        elif around and at == around[-1]:
            around.pop()
    return closings


def points_list(text: str, *, lo: float | None) -> Coded | None:
    """ "5-point scale, a, b, c, d, e": codes count from `lo`, or from 1."""
    match = _POINTS_LIST.match(text)
    if not match:
        return None
    labels = [" ".join(part.split()) for part in re.split(r"[,;]", match[2])]
    if len(labels) != int(match[1]) or re.search(r"\d", match[2]):
        return None
    first = 1 if lo is None else lo
    return Coded(labels={first + i: label for i, label in enumerate(labels)})


def _add(labels: dict[Number, str], written: str, label: str) -> None:
    code = number(written)
    if code is None:
        raise NotUnderstood(f"the code {written[:20]!r} can be read in more than one way")
    label = " ".join(label.split())
    if labels.get(code, label) != label:
        raise NotUnderstood(f"code {written[:20]!r} has two labels")
    labels[code] = label


# A number within a label, and whether something ties it to what follows as codes are tied.
_TIE = r"\s*[=:)]+\s*(?=\S)|\s*-\s+(?=\S)|\s+-\s*(?=\S)|\s*[.,;|]?\s*-?\s*(?=[^\W\d]|[$\"'])"
_WITHIN = re.compile(rf"(?<![\w.,$])(?<![\w)]-)({NUMBER})(?![\w.,]*\d)(?P<tie>{_TIE})?")
_ENDS_WITH_NUMBER = re.compile(rf"(?:[;|]\s*|[,/]\s+|(?<!\d)\s-\s*|\n){NUMBER}\s*$")


def _check(labels: dict[Number, str]) -> None:
    """Raises NotUnderstood where a label seems to hold another code, or where "1.1, 2.2" may be "1. 1, 2. 2"."""
    codes = sorted(labels)
    step = min((b - a for a, b in itertools.pairwise(codes)), default=1)
    bare = any(not label for label in labels.values())
    for code, label in labels.items():
        plain = plain_text(label)
        inner = [m for m in _WITHIN.finditer(plain) if m.start()]
        tied = bare and any(m["tie"] is not None and number(m[1]) not in codes for m in inner)
        if (
            tied
            or _ENDS_WITH_NUMBER.search(plain)
            or any(_may_be_a_code(m, code, codes, step) for m in inner)
        ):
            raise NotUnderstood(f"the label {label[:60]!r} may hold another code")
    if all(f"{code}" == f"{int(code)}.{int(code)}" for code in labels):
        raise NotUnderstood("codes such as 1.1 and 2.2 may be 1 and 2, given twice")


def _may_be_a_code(match: re.Match[str], code: Number, codes: list[Number], step: Number) -> bool:
    """True for a number that a gap between the codes would hold, or one next to the code that is tied to a label."""
    inner = number(match[1])
    if inner is None or inner in codes:
        return False
    if codes[0] < inner < codes[-1]:
        return (inner - codes[0]) % step == 0 or match["tie"] is not None
    return match["tie"] is not None and inner in (code + 1, code - 1, code + step, code - step)
