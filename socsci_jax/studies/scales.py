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
    cut = _cut(_plain(text))
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
    plain = _plain(text)
    cut = _cut(plain)
    return _combine(text[cut.question : cut.format], text[cut.read_from : cut.read_to])


# ---------------------------------------------------------------------------------------------------------
# Characters.  One for one, so that positions in the plain text are positions in the text.

_PLAIN = str.maketrans(
    {
        **dict.fromkeys("“”„‟«»″", '"'),
        **dict.fromkeys("‘’‚‛`´′", "'"),
        **dict.fromkeys("‐‑‒–—―−﹣－", "-"),
        **dict.fromkeys("\u00a0\u2007\u2009\u202f\u200a\t", " "),
    }
)


def _plain(text: str) -> str:
    return text.translate(_PLAIN)


# ---------------------------------------------------------------------------------------------------------
# Numbers

_WORDS = {
    word: value for value, word in enumerate("zero one two three four five six seven eight nine ten".split())
}
_DIGITS = r"(?:(?<![\w.)\]])[+-])?\$?\s?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?!\w*\d)(?:(?:\s?(?:thousand|million|billion)|k)\b)?"
_UNIT = (
    r"(?:\s?%|\s(?:percent|per cent|dollars?|cents?|euros?|pounds?|points?|years?|months?|weeks?|days?|hours?"
    r"|minutes?|seconds?|times?|people|degrees?)\b)"
)
_NUMBER = re.compile(rf"(?<![\w.,#$])({_DIGITS}|(?:{'|'.join(_WORDS)})\b)(?!-?(?:digit|point|decimal))", re.I)
_SCALED = {"k": 1e3, "thousand": 1e3, "million": 1e6, "billion": 1e9}


@dataclasses.dataclass(frozen=True)
class _Number:
    value: float
    start: int  # of its opening quotation mark, if the number is quoted: '1'
    end: int
    style: str  # "$", "%", "word" or ""; numbers of one list are written in one style


def _numbers(plain: str) -> list[_Number]:
    found = []
    for match in _NUMBER.finditer(plain):
        raw = match[1].lower()
        start, end = match.span(1)
        if raw in _WORDS:
            value, style = float(_WORDS[raw]), "word"
        else:
            body = raw.replace("$", "").replace(",", "").replace(" ", "")
            factor = next((f for word, f in _SCALED.items() if body.endswith(word)), 1.0)
            value, style = (
                float(body.rstrip("abcdefghijklmnopqrstuvwxyz")) * factor,
                "$" if "$" in raw else "",
            )
            if plain[end : end + 2].lstrip().startswith("%"):
                style = "%"
        if 0 < start and end < len(plain) and plain[start - 1] in "\"'" and plain[end] == plain[start - 1]:
            start, end = start - 1, end + 1
        found.append(_Number(value, start, end, style))
    return found


# ---------------------------------------------------------------------------------------------------------
# Where the question and the answer format begin

# Patterns that run over whole vignettes begin with few possible characters and spell out the case that matters,
# which makes them several times faster than a search that ignores case.
_ASKED = re.compile(r"\b[Aa]sked\b(?:[^.?!:\"']{0,80}:|,)?\s*([\"']+)|\b[Aa]sked\b[^.?!:\"']{0,80}:\s*")
_SENTENCE_END = re.compile(r"[.?!]+[\"')\]]*(?:\s+|(?=(?:Only|Please|Return|Respond|Answer|Just)\b))|\n\s*")
_ABBREVIATION = re.compile(
    r"(?:(?:^|\n|[;:(]\s?)\d{1,2}\.|\b(?:[A-Z]|Dr|Mr|Mrs|Ms|St|vs|etc|e\.g|i\.e|No|Jr|Sr)\.)$"
)
_VERB = r"(?:return|respond|answer|reply|output|give|provide|enter|type|write|state|report|choose|select|pick|use|indicate|submit|record|mark|circle|say|put|insert|express|rate|input)"
_DIRECTIVE = re.compile(
    rf"[(\"']*(?:please,?\s+)?(?:"
    rf"(?:only|just|simply|kindly)\s+{_VERB}\b|{_VERB}\b"
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
    r"\b(?:integers?|numbers?|digits?|numerals?|numeric(?:al)?|percent(?:age)?|dollars?|year|one of"
    rf"|{'|'.join(_WORDS)})\b|\d",
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
    starts = _sentence_starts(plain)
    bounds = list(zip(starts, [*starts[1:], end]))

    def asks(i: int) -> bool:
        return _ENDS_ASKING.search(plain[bounds[i][0] : bounds[i][1]]) is not None

    def tells(i: int) -> bool:
        return _tells_format(plain[bounds[i][0] : bounds[i][1]]) and not asks(i)

    last = next((i for i in range(len(bounds) - 1, -1, -1) if tells(i)), None)
    if last is None:
        return _Cut(_question_start(plain, end, bool(bounds) and asks(-1)), end, end, end)
    first = last
    while first > 0 and tells(first - 1):
        first -= 1
    start = bounds[first][0]
    later_question = next((bounds[i][0] for i in range(last + 1, len(bounds)) if asks(i)), None)
    if later_question is not None:
        # A question after the format: the format belongs to it only if both follow the last "were asked".
        asked = [m.end() for m in _ASKED.finditer(plain)]
        belongs = start >= asked[-1] if asked else True
        question = _question_start(plain, end, True)
        read = (start, later_question) if belongs else (end, end)
        return _Cut(min(question, start) if belongs else question, end, *read)
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
# Ranges, lists and labels of one passage


@dataclasses.dataclass
class _Reading:
    """What one passage says; `clash` is set where it says two things that cannot both hold."""

    ranges: set[tuple[float, float]] = dataclasses.field(default_factory=set)
    listed: list[tuple[float, ...]] = dataclasses.field(default_factory=list)
    labels: dict[int, str] = dataclasses.field(default_factory=dict)
    options: bool = False  # the labelled numbers are all that may be returned ("1 for Yes or 2 for No")
    extra: dict[int, str] = dataclasses.field(
        default_factory=dict
    )  # allowed beside a range ("or 99 for ...")
    on_scale: bool = False  # a range that is introduced as a scale or whose ends are labelled
    clash: bool = False


_RANGE_LEAD = re.compile(r"\b(between|from|range|ranging|of|scale)\b[^\d]{0,25}$", re.I)
_RANGE_JOIN = re.compile(
    rf"{_UNIT}?(?:\s*(?:inclusive|, inclusive,))?\s*(?:-{{1,2}}|\bto\b|\bthrough\b|\bthru\b|\buntil\b|,?\s*\bup to\b"
    r"|\.\.\.?|…|\band\b|\bto a\b)\s*(?:(?:a )?(?:max(?:imum)?|high|highest)(?: of)?\s*)?[\"']?",
    re.I,
)
_LIST_JOIN = re.compile(rf"{_UNIT}?\s*(?:,\s*(?:or|and)?|/|\||\bor\b|;\s*(?:or)?)\s*[\"']?", re.I)
_DOTS_JOIN = re.compile(r"\s*,?\s*(?:\.\.\.|…)\s*,?\s*(?:or|and|up to)?\s*[\"']?", re.I)

_COPULA = (
    r"(?:,?\s*(?:==?|:=|-?->|=>|→)\s*"
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
    ("paren", re.compile(r"\s*(?=[(\[][^\d\s])|\s*(?=[(\[]\d*[^\d)\]]+[)\]])")),
    ("after", re.compile(r"[)\]]\s*(?=[^\s,.;)])")),
    ("dash", re.compile(r"\s*-\s*(?=[A-Za-z\"'])")),
    ("dot", re.compile(r"\.\s+(?=[A-Z\"'])")),
    ("quote", re.compile(r",?\s*(?=[\"']\w)")),
)
_SYMBOLIC = ("colon", "paren", "after", "dash", "dot", "quote")
_BEFORE_ANCHOR = re.compile(
    r"(?:^|[,;:.(\[\n/|\"')\]?]|\b(?:and|or|to|through|where|with|return|select|choose|use|enter|from|between|answer|"
    r"respond|as|up to|then|if|of|reply|type|write|just|only|mark|pick|option|options|integer|number|scale|say|is|are|"
    r"indicate|give|put|circle|otherwise|while|whereas))\s*[(\[]?\s*$",
    re.I,
)
_SPAN_JOIN = re.compile(
    r"(?:\bto|\bthrough|\bthru|\bup to|\buntil|\.\.\.|…|(?:^|\s)-)[\s,]*(?:a\s+)?[(\[\"']?\s*$", re.I
)
_SEPARATOR_TAIL = re.compile(
    r"(?:[\s,;/|]+(?:and|or|to|through|thru|until|all the way (?:up )?to|up to|while|whereas|with|where)?|[,;/|]|(?:\.\.\.|…))*"
    r"[\s,;/|(\[]*$",
    re.I,
)
_TAIL = (
    r"(?:[\s,;.(\-]*\b(?:and |but |with )?(?:nothing (?:else|more)|no (?:other|additional|further) (?:text|words|comments?)"
    r"|no explanations?\b|without any\b|only the number|and only)"
    r"|\s*[,;.(\-]+\s*(?:and |but )?(?:(?:do not|don't) (?:add|explain|include|return|write|provide|give|use|say)"
    r"|without|as an integer|inclusive|please|no more, no less)\b)"
)
_LABEL_STOP = re.compile(
    rf"{_TAIL}"
    r"|[.!](?=[\"')\]]*\s*$)"
    r"|[.!;][\"')\]]*\s*(?=(?:only|please|return|respond|answer|do not|don't|your|use|note|no other|if|there|just|enter|"
    r"choose|select|reply|output)\b)"
    r"|,\s*(?=(?:from|between|on a scale|using|with|where|so|while|and|in|as)\s+[^,]*\d)"
    r"|,?\s+(?=(?:on|using) (?:a|the|this) (?:\w+[ -])?scale\b)"
    r"|\n",
    re.I,
)
_QUESTION_STOP = re.compile(
    r"[,;.:]\s*(?=[\"']*(?:how|what|which|who|whom|when|where|to what|please|do|does|did|would|will|should|can|could|is|are|"
    r"was|were|rate|indicate|tell|in your|if|on average|overall|thinking|for|and)\b)|\?",
    re.I,
)
_NON_ANSWER = re.compile(
    r"\b(?:don'?t know|do not know|not sure|unsure|refused?|prefer not|n/?a|not applicable|does not apply|no answer|no opinion"
    r"|skip(?:ped)?|undecided|can'?t say|cannot say|decline)\b",
    re.I,
)
_SCALE_WORD = re.compile(r"\b(?:scale|slider|thermometer|rating|rate|ratings)\b", re.I)


def _read(text: str, *, is_question: bool) -> _Reading:
    """Scans `text` from left to right: at each number a range, a list or a labelled level may begin."""
    plain = _plain(text)
    numbers = _numbers(plain)
    reading = _Reading()
    if _label_first(text, plain, numbers, reading):
        return reading
    i = 0
    while i < len(numbers):
        number = numbers[i]
        if _is_step(plain, number):
            i += 1
            continue
        nxt = numbers[i + 1] if i + 1 < len(numbers) else None
        if nxt is not None and _is_range(plain, number, nxt):
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
        kind = _connector(plain, number)
        if kind is not None and _BEFORE_ANCHOR.search(plain[: number.start]):
            i = _read_anchors(text, plain, numbers, i, kind, reading, is_question=is_question)
            continue
        if not is_question and re.search(r"\bor\s*$", plain[: number.start], re.I) and reading.ranges:
            reading.extra[int(number.value)] = ""
        i += 1
    return reading


def _is_range(plain: str, a: _Number, b: _Number) -> bool:
    join = plain[a.end : b.start]
    match = _RANGE_JOIN.fullmatch(join.rstrip("\"'") if join.endswith(("'", '"')) else join)
    if match is None:
        bracketed = plain[: a.start].rstrip().endswith("[") and join.strip() == ","
        return bracketed and plain[b.end :].lstrip().startswith("]")
    if re.search(r"\band\b", join, re.I):
        lead = _RANGE_LEAD.search(plain[: a.start])
        return lead is not None and lead[1].lower() == "between"
    return True


def _near_scale_word(plain: str, start: int, end: int) -> bool:
    return bool(
        re.search(r"\b(?:scale|slider|thermometer|rat(?:e|ing))\b[^.?!]{0,60}$", plain[:start], re.I)
        or re.match(r"[^.?!,]{0,12}\b(?:scale|slider|thermometer|rating)\b", plain[end:], re.I)
    )


def _list_length(plain: str, numbers: list[_Number], i: int) -> int:
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
    if _connector(plain, numbers[j]) in ("copula", "paren", "option") and not re.match(
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
    steps = {b - a for a, b in zip(head, head[1:])}
    step = steps.pop()
    if steps or step == 0 or (end - head[-1]) % step or (end - head[-1]) / step < 1:
        return []
    filled = list(head)
    while filled[-1] != end and len(filled) <= MAX_LEVELS:
        filled.append(filled[-1] + step)
    return filled


def _connector(plain: str, number: _Number) -> str | None:
    rest = plain[number.end : number.end + 40]
    unit = re.match(_UNIT, rest, re.I) if number.style == "%" else None
    rest = rest[unit.end() :] if unit else rest
    return next((kind for kind, pattern in _CONNECTORS if pattern.match(rest)), None)


def _connector_end(plain: str, number: _Number, kind: str) -> int:
    start = number.end
    if number.style == "%":
        start += re.match(_UNIT, plain[start:], re.I).end()
    match = dict(_CONNECTORS)[kind].match(plain, start)
    return match.end()


def _read_anchors(
    text: str,
    plain: str,
    numbers: list[_Number],
    i: int,
    kind: str,
    reading: _Reading,
    *,
    is_question: bool,
) -> int:
    """Reads the run of labelled numbers that begins at the i-th; returns the index of the first number after it."""
    run = [i]
    for j in range(i + 1, len(numbers)):
        if numbers[j].style != numbers[i].style or _connector(plain, numbers[j]) not in _alike(kind):
            continue
        if numbers[j].start < _connector_end(plain, numbers[run[-1]], _connector(plain, numbers[run[-1]])):
            continue
        follows = numbers[j].value == numbers[run[-1]].value + 1
        if _inside_quotes(plain, numbers[run[-1]], _connector(plain, numbers[run[-1]]), numbers[j].start):
            continue
        if _BEFORE_ANCHOR.search(plain[: numbers[j].start]) or (
            follows and plain[numbers[j].start - 1] == " "
        ):
            run.append(j)
    spans = False
    found: list[tuple[int, str, str]] = []
    stop = len(plain)
    for position, j in enumerate(run):
        number = numbers[j]
        own = _connector(plain, number)
        begin = _connector_end(plain, number, own)
        before = plain[: number.start]
        if position and _SPAN_JOIN.search(before):
            spans = True
        if position + 1 < len(run):
            nxt = numbers[run[position + 1]].start
            end = begin + _SEPARATOR_TAIL.search(plain[begin:nxt]).start()
            if own == "paren":
                end = min(end, _closing(plain, begin) + 1)
        else:
            end = stop = _last_label_end(plain, begin, own, is_question=is_question)
        if plain[number.end : begin].strip().lower() == "otherwise":
            label = "otherwise"
        else:
            label = _clean(text[begin:end], plain[begin:end])
        if number.value != int(number.value):
            reading.clash = True
            return len(numbers)
        found.append((int(number.value), label, before))
    if is_question and len(found) < 2:
        return _skip(numbers, stop)
    values = [value for value, _, _ in found]
    if len(set(values)) < len(values):
        reading.clash = True
    inside_range = bool(reading.ranges) or bool(reading.listed)
    for value, label, before in found:
        outside = inside_range and not _within(reading, value)
        special = re.search(r"(?:\bor|\band|\buse|\breturn|\benter|[;,.(])\s*[\"'(]*$", before, re.I)
        if outside and special and (_NON_ANSWER.search(label) or (kind == "option" and " or" in before[-5:])):
            reading.extra[value] = label
        elif reading.labels.get(value, label) != label:
            reading.clash = True
        else:
            reading.labels[value] = label
    if spans:
        reading.ranges.add((min(values), max(values)))
        reading.on_scale = True
    direct = re.search(
        rf"(?:{_VERB}|with|either|only|just|following|one of|options?)\b[\s:,]*(?:(?:a|the|number|numbers|integer|integers|value|"
        r"one of|either|only|just|options?|following)[\s:,]*)*[\"'(]*$",
        found[0][2],
        re.I,
    )
    if (
        direct
        and not spans
        and (kind in ("option", "paren", "colon", "copula", "after", "dash", "dot", "quote"))
    ):
        number_word = re.search(r"\b(?:integers?|numbers?|values?)\b[\s:,]*[\"'(]*$", found[0][2], re.I)
        reading.options = reading.options or not number_word
    return _skip(numbers, stop)


def _alike(kind: str) -> tuple[str, ...]:
    return ("option",) if kind == "option" else (kind,)


def _skip(numbers: list[_Number], stop: int) -> int:
    return next((k for k, n in enumerate(numbers) if n.start >= stop), len(numbers))


def _inside_quotes(plain: str, number: _Number, kind: str, position: int) -> bool:
    """True if the quoted label that follows `number` is still open at `position`."""
    begin = _connector_end(plain, number, kind)
    if begin >= len(plain) or plain[begin] not in "\"'":
        return False
    return not re.search(rf"{plain[begin]}(?=[\s,.;:)\]/]|$)", plain[begin + 1 : position])


def _within(reading: _Reading, value: float) -> bool:
    return any(lo <= value <= hi for lo, hi in reading.ranges) or any(value in v for v in reading.listed)


def _closing(plain: str, begin: int) -> int:
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


def _last_label_end(plain: str, begin: int, kind: str, *, is_question: bool) -> int:
    rest = plain[begin:]
    if not rest:
        return begin
    if kind == "paren":
        return _closing(plain, begin) + 1
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


def _clean(label: str, plain: str) -> str:
    """The label without its brackets, quotation marks and punctuation; "" if its end is in doubt."""
    left, right = len(plain) - len(plain.lstrip()), len(plain.rstrip())
    if right - left >= 2 and plain[left] in "([" and _closing(plain, left) == right - 1:
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


_LABELLED = re.compile(r"[\"']?\s*(?:[(\[]\s*|=\s*|\s(?:is|being|equals|as|coded as)\s+)[\"']?$", re.I)


def _label_first(text: str, plain: str, numbers: list[_Number], reading: _Reading) -> bool:
    """Reads "Label (1) to Label (7)" and "Yes = 1, No = 2"; False if the passage is not of this form."""
    run = [
        n
        for n in numbers
        if _LABELLED.search(plain[: n.start])
        and re.match(r"[\"']?\s*(?:[)\],;.?]|$|(?:and|or|to|through|up to)\b)", plain[n.end :], re.I)
        and not re.search(r"[=:(]\s*$", plain[: _LABELLED.search(plain[: n.start]).start()])
    ]
    if len(run) < 2 or any(n.value != int(n.value) for n in run) or len({n.value for n in run}) < len(run):
        return False
    labels: dict[int, str] = {}
    spans = False
    previous_end = None
    for n in run:
        close = re.match(r"[\"']?\s*[)\]]?", plain[n.end :]).end() + n.end
        label_end = _LABELLED.search(plain[: n.start]).start()
        if plain[label_end : label_end + 1] in ('"', "'"):
            label_end += 1
        if previous_end is None:
            begin = _first_label_start(plain, label_end)
            if begin is None:
                return False
        else:
            join = re.match(
                r"[\s,;.]*(?:\b(to|through|thru|up to|until|and|or)\b)?\s*|\s*-\s*",
                plain[previous_end:label_end],
                re.I,
            )
            spans = spans or (join[1] or "").lower() in ("to", "through", "thru", "up to", "until")
            begin = previous_end + join.end()
        label = _clean(text[begin:label_end], plain[begin:label_end])
        if not label or re.fullmatch(r"[\W\d]*", label):
            return False
        labels[int(n.value)] = label
        previous_end = close
    used = {id(n) for n in run}
    values = sorted(labels)
    for n, m in zip(numbers, numbers[1:]):
        if id(n) not in used and id(m) not in used and _is_range(plain, n, m):
            reading.ranges.add((min(n.value, m.value), max(n.value, m.value)))
    others = [n for n in numbers if id(n) not in used]
    if any(
        _connector(plain, n) in ("copula", "option") and _BEFORE_ANCHOR.search(plain[: n.start])
        for n in others
    ):
        return False
    reading.labels = labels
    reading.on_scale = True
    if spans:
        reading.ranges.add((values[0], values[-1]))
    elif not reading.ranges:
        reading.options = values[-1] - values[0] == len(values) - 1
    return True


def _first_label_start(plain: str, end: int) -> int | None:
    before = plain[:end]
    if before and before[-1] in "\"'":
        opening = before.rfind(before[-1], 0, len(before) - 1)
        return opening if opening >= 0 else None
    lead = list(
        re.finditer(
            r"[.?!:;]\s+|[(\[]\s*|\b(?:from|where|with|between|return|select|choose|either|one of|ranging from|scale|options?)\b[\s:,]*",
            before,
            re.I,
        )
    )
    return lead[-1].end() if lead else None


# ---------------------------------------------------------------------------------------------------------
# From readings to a scale

_STEP = re.compile(
    r"\b(?:multiples? of|increments? of|steps? of|intervals? of|divisible by|nearest)\s*(?=\$?\d|(?:five|ten|two)\b)",
    re.I,
)
_STEP_BEFORE = re.compile(_STEP.pattern.split(r"\s*(?=")[0] + r"\s*$", re.I)
_REFUSED = re.compile(
    r"\b(?:even|odd|prime)\s+(?:number|integer|whole)|\bexclusive\b|\bstrictly\b|\bexcept\b|\bexcluding\b|\bbut not\b|\bother than\b"
    r"|\b(?:two|three|four|five|2|3|4|5|several|multiple)\s+(?:integers|numbers|values|digits separated)\b|\bseparated by\b"
    r"|\blist of (?:integers|numbers)\b|\ball that apply\b|\brank(?:ing)? (?:the|these|all)\b|\bcomma-separated\b|\bunless\b",
    re.I,
)
_DECIMAL = re.compile(r"\bdecimals?\b|\breal number|\bfraction|\bprobability\b", re.I)
_INTEGER = re.compile(r"\b(?:integers?|whole|digit)\b", re.I)
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
    rf"(?:\bat least|\bno less than|\bnot less than|\bminimum(?: of)?|\bgreater than or equal to|>=|\bstarting (?:at|from))\s*({_DIGITS})",
    re.I,
)
_LOWER_AFTER = re.compile(
    rf"({_DIGITS})\s*(?:\+|or (?:more|greater|higher|above|larger|over)|and (?:above|up|over))", re.I
)
_UPPER = re.compile(
    rf"(?:\bat most|\bno more than|\bnot more than|\bmaximum(?: of)?|\bless than or equal to|\bup to|<=)\s*({_DIGITS})",
    re.I,
)
_N_POINT = re.compile(rf"\b(\d+|{'|'.join(_WORDS)})[- ]point\b", re.I)


def _is_step(plain: str, number: _Number) -> bool:
    return _STEP_BEFORE.search(plain[: number.start]) is not None


@functools.lru_cache(maxsize=65_536)
def _combine(question: str, told: str) -> Scale:
    plain = _plain(told)
    if _REFUSED.search(_without_quotes(plain)):
        return Scale.unknown()
    stated = _read(told, is_question=False)
    asked = _read(question, is_question=True)
    if stated.clash:
        return Scale.unknown()
    levels = _levels_of(stated)
    if levels is None and not _says_nothing(stated):
        return Scale.unknown()
    labels = {**stated.labels, **stated.extra}
    asked_levels = None if asked.clash else _levels_of(asked)
    if levels is None:
        if asked.clash or asked_levels is None:
            return _open_number(plain, question)
        levels, labels = asked_levels, asked.labels
        stated = asked
    elif asked_levels is not None and asked.on_scale and asked.ranges:
        if set(asked_levels) != set(levels) - set(stated.extra):
            return Scale.unknown()
        labels = labels or asked.labels
    elif asked_levels is not None and not labels and set(asked_levels) == set(levels):
        labels = asked.labels
    return _scale(levels, labels, stated, plain + " " + _plain(question) if not told else plain)


def _without_quotes(plain: str) -> str:
    return re.sub(r"(?<!\w)'[^']*'|\"[^\"]*\"", "''", plain)


def _says_nothing(reading: _Reading) -> bool:
    return not (reading.ranges or reading.listed or reading.labels)


Levels = tuple[float, ...] | range


def _levels_of(reading: _Reading) -> Levels | None:
    """The levels that a passage states, or the two ends where they are no integers; None if it states none."""
    if len(reading.ranges) > 1 or len({frozenset(v) for v in reading.listed}) > 1:
        return None
    if reading.ranges:
        lo, hi = next(iter(reading.ranges))
        if lo >= hi:
            return None
        if lo != int(lo) or hi != int(hi):
            return () if reading.labels else (lo, hi)
        levels: Levels = range(int(lo), int(hi) + 1)
        if reading.listed and not set(reading.listed[0]) <= set(levels):
            return None
    elif reading.listed:
        levels = reading.listed[0]
        if len(set(levels)) < 2 or any(v != int(v) for v in levels):
            return None
    elif len(reading.labels) >= 2:
        values = sorted(reading.labels)
        consecutive = values[-1] - values[0] == len(values) - 1
        if reading.options or consecutive:
            levels = tuple(values)
        elif any(
            re.fullmatch(r"(?:yes|no|true|false)\b.*", label, re.I) for label in reading.labels.values()
        ):
            return None  # "1 means Yes and 5 means No": two codes or five levels
        else:
            levels = range(values[0], values[-1] + 1)
    else:
        return None
    if any(value not in levels for value in reading.labels):
        return None
    return levels


def _scale(levels: Levels, labels: Mapping[int, str], reading: _Reading, plain: str) -> Scale:
    if not levels:
        return Scale.unknown()
    lo, hi = min(levels), max(levels)
    words = _without_quotes(plain)
    fractional = any(v != int(v) for v in (lo, hi))
    if reading.ranges and not reading.labels and (fractional or _DECIMAL.search(words)):
        return Scale.open_number(lo=lo, hi=hi, origin="stated")
    if reading.ranges and (lo, hi) == (0, 1) and not labels and not _INTEGER.search(words):
        return Scale.unknown()  # a probability or a choice of two
    step = _step(plain)
    if step:
        levels = range(int(lo), int(hi) + 1, step)
        if hi not in levels or (
            re.search(r"\b(?:multiples? of|divisible by|nearest)\b", plain, re.I) and lo % step
        ):
            return Scale.unknown()
        labels = {value: label for value, label in labels.items() if value in levels}
    points = _N_POINT.search(words)
    if points:
        raw = points[1].lower()
        if len(levels) != (_WORDS[raw] if raw in _WORDS else int(raw)):
            return Scale.unknown()
    if len(levels) + len(reading.extra) > MAX_LEVELS:
        return Scale.open_number(lo=float(lo), hi=float(hi), origin="stated")
    values = {int(v) for v in levels} | set(reading.extra)
    return Scale.of_levels({v: labels.get(v, "") for v in values}, origin="stated")


def _step(plain: str) -> int:
    match = _STEP.search(plain)
    if match is None:
        return 0
    number = _numbers(plain[match.end() :])[0]
    return int(number.value)


def _open_number(plain: str, question: str) -> Scale:
    """An open number if the format asks for a quantity and no number in it remains unexplained."""
    if not re.search(
        r"\b(?:integer|number|numeric|whole|figure|value|amount|year|age|percent(?:age)?|dollars?)\b",
        plain,
        re.I,
    ):
        return Scale.unknown()
    lo = next((_numbers(m[1])[0].value for p in (_LOWER, _LOWER_AFTER) for m in p.finditer(plain)), None)
    hi = next((_numbers(m[1])[0].value for m in _UPPER.finditer(plain)), None)
    signed = re.search(r"\b(non-?\s?negative|positive)\b", plain, re.I)
    if signed and lo is None:
        lo = 1.0 if signed[1].lower() == "positive" and _INTEGER.search(plain) else 0.0
    bounds = {v for v in (lo, hi) if v is not None}
    if any(n.value not in bounds and n.style != "word" for n in _numbers(plain)):
        return Scale.unknown()
    told = _QUANTITY.search(plain) and not (
        _RATED.search(plain) and not re.search(r"percent|dollar", plain, re.I)
    )
    if told or signed or bounds or (_ASKS_QUANTITY.search(question) and not _RATED.search(plain)):
        return Scale.open_number(lo=lo, hi=hi, origin="stated")
    return Scale.unknown()
