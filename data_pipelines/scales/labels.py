"""How a sentence ties a number to its label, and where a label begins and ends."""

from __future__ import annotations

import re

from data_pipelines.scales.written_numbers import UNIT, Number

_COPULA = (
    r"(?:,?\s*(?:==?>?|:=|-?->|→)\s*"
    r"|,?\s+(?:is equal to|is|are|means?|meaning|being|represents?|representing|indicates?|indicating|stands? for"
    r"|standing for|corresponds? to|corresponding to|refers? to|signif(?:y|ies)|signifying|denotes?|denoting|equals?"
    r"|would (?:be|mean)|as|labell?ed(?: as)?|reflects?|coded as|says?)\b\s*)"
)
_CONNECTORS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("copula", re.compile(_COPULA, re.I)),
    (
        "option",
        re.compile(
            r"\s+(?:for|if|when|to (?:indicate|mean|represent|say|express)\b|to(?=\s+[a-z])|otherwise)\b\s*",
            re.I,
        ),
    ),
    ("colon", re.compile(r"\s*:\s*(?=\D)")),
    ("paren", re.compile(r"\s*(?=[(\[](?![^)\]]*\d\s*(?:=|:|means\b))[^)\]]*[A-Za-z$])")),
    ("after", re.compile(r"[)\]]\s*(?=[^\s,.;)])")),
    ("dash", re.compile(r"\s*-\s*(?=[A-Za-z\"'])")),
    ("dot", re.compile(r"\.\s+(?=[A-Z\"'])")),
    ("quote", re.compile(r",?\s*(?=[\"']\w)")),
)
SEPARATOR_TAIL = re.compile(
    r"(?:[\s,;/|]+(?:and|or|to|through|thru|until|all the way (?:up )?to|up to|while|whereas|with|where)?|[,;/|]|(?:\.\.\.|…))*"
    r"(?:(?<=[\s,;])(?:the|an?)\s+(?:integer|number|value))?"
    r"[\s,;/|(\[]*$",
    re.I,
)
_TAIL = (
    r"(?:[\s,;.(\-]*\b(?:and |but |with )?(?:nothing (?:else|more)|no (?:other|additional|further) (?:text|words|comments?)"
    r"|no explanations?\b|use no\b|no decimals?\b|without any\b|only the number|and only)"
    r"|\s*[,;.(\-]+\s*(?:and |but )?(?:(?:do not|don't) (?:add|explain|include|return|write|provide|give|use|say)"
    r"|without|as an integer|inclusive|please|no more, no less)\b)"
)
_LABEL_STOP = re.compile(
    rf"{_TAIL}"
    r"|[.!](?=[\"')\]]*\s*$)"
    r"|[.!;][\"')\]]*\s*(?=(?:only|please|return|respond|answer|do not|don't|your|use|note|no other|if|there|just|enter|"
    r"choose|select|reply|output)\b)"
    r"|,\s*(?=(?:from|between|on a scale|using|with|where|so|while|and|in|as)\s+[^,]*\d)"
    r"|,?\s+(?=(?:based )?(?:on|using|according to) (?:a|the|this|your|how) (?:\w+[ -])?(?:scale|options|choices|answer)\b)"
    r"|\s+(?=only return\b)|\n",
    re.I,
)
_QUESTION_STOP = re.compile(
    r"[,;.:]\s*(?=[\"']*(?:how|what|which|who|whom|when|where|to what|please|do|does|did|would|will|should|can|could|is|are|"
    r"was|were|rate|indicate|tell|in your|if|on average|overall|thinking|for|and)\b)|\?",
    re.I,
)
NON_ANSWER = re.compile(
    r"\b(?:don'?t know|do not know|not sure|unsure|refused?|prefer not|n/?a|not applicable|does not apply|no answer|no opinion"
    r"|skip(?:ped)?|undecided|can'?t say|cannot say|decline)\b",
    re.I,
)


def connector(plain: str, number: Number) -> str | None:
    rest = plain[number.end : number.end + 40]
    unit = re.match(UNIT, rest, re.I) if number.style == "%" else None
    rest = rest[unit.end() :] if unit else rest
    return next((kind for kind, pattern in _CONNECTORS if pattern.match(rest)), None)


def connector_end(plain: str, number: Number, kind: str) -> int:
    start = number.end
    if number.style == "%":
        start += re.match(UNIT, plain[start:], re.I).end()
    match = dict(_CONNECTORS)[kind].match(plain, start)
    return match.end()


def inside_quotes(plain: str, number: Number, kind: str, position: int) -> bool:
    """True if the quoted label that follows `number` is still open at `position`."""
    begin = connector_end(plain, number, kind)
    if begin >= len(plain) or plain[begin] not in "\"'":
        return False
    return not re.search(rf"{plain[begin]}(?=[\s,.;:)\]/]|$)", plain[begin + 1 : position])


def closing_bracket(plain: str, begin: int) -> int:
    """Position of the bracket that closes the one at `begin`, or the end of the text."""
    depth = 0
    for k in range(begin, len(plain)):
        if plain[k] in "([":
            depth += 1
        elif plain[k] in ")]":
            depth -= 1
            if depth <= 0:
                return k
    return len(plain) - 1


def last_label_end(plain: str, begin: int, kind: str, *, is_question: bool) -> int:
    rest = plain[begin:]
    if not rest:
        return begin
    if kind == "paren":
        return closing_bracket(plain, begin) + 1
    if rest[0] in "\"'":
        ends = [m.end() for m in re.finditer(rf"{rest[0]}(?=[\s,.;:)\]\"'/?]|$)", rest) if m.start() > 0]
        for end in ends:
            if re.match(rf"[.\"')\]\s]*$|{_TAIL}|[.;,)]+\s|[)\]]", rest[end:], re.I):
                return begin + end
        return begin + ends[0] if ends else begin
    limit = len(rest)
    depth = 0
    for k, character in enumerate(rest):
        if character in "([":
            depth += 1
        elif character in ")]":
            depth -= 1
            if depth < 0:
                limit = k
                break
    stops = [m.start() for m in [_LABEL_STOP.search(rest, 0, limit)] if m]
    if is_question:
        stops += [m.start() for m in [_QUESTION_STOP.search(rest, 0, limit)] if m]
    return begin + min([limit, *stops])


def clean_label(label: str, plain: str) -> str:
    """The label without its brackets, quotation marks and punctuation; "" if its end is in doubt."""
    left, right = len(plain) - len(plain.lstrip()), len(plain.rstrip())
    if right - left >= 2 and plain[left] in "([" and closing_bracket(plain, left) == right - 1:
        left, right = left + 1, right - 1
    quoted = right - left >= 2 and plain[left] in "\"'" and plain[right - 1] == plain[left]
    if quoted:
        left, right = left + 1, right - 1
    else:
        # A quotation mark that closes the whole question, and the full stop before it, are not the label's.
        if plain[left:right].count('"') % 2:
            right = left + len(plain[left:right].rstrip('"'))
        while right > left and (
            plain[right - 1] in " ,;." or (plain[right - 1] == "'" and "'" not in plain[left : right - 1])
        ):
            right -= 1
    text = label[left:right].strip()
    doubtful = not quoted and (
        re.search(r"\b(?:integers?|nothing else|only return)\b|\?\s", plain[left:right], re.I)
        or re.search(r"[a-z]{3}[.!]\s+[A-Z]", plain[left:right])
        or len(text) > 200
        or plain[left:right].count("(") != plain[left:right].count(")")
    )
    return "" if doubtful else text
