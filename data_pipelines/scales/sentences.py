"""Reads the scale of an item from the words that a participant read.

A text such as SocSci210's `stimuli` holds a vignette, a question and a sentence that tells the answer format
("Only return an integer from 1 to 7, where 1 means ...").  `split_text` cuts it into these three and
`read_scale` turns them into a `Scale`.  The format sentence decides.  The question is asked only for what the
format leaves open, and only where it states a scale; numbers of the vignette are never looked at.

A reading is accepted only if the sentence supports all of it: two ranges, a label or a number outside the range,
a number that can be read in two ways, one level with two labels or a list that cannot be cut into levels give
`Scale.unknown()`.  A label whose end is in doubt is excluded, while the levels stay.  Codes that say "don't know" or
"refused" are alternatives outside the levels.
"""

from __future__ import annotations

import dataclasses
import functools
import re

from data_pipelines.scales.numbers import plain_text
from data_pipelines.scales.stated import scale_of_passages
from data_pipelines.scales.written_numbers import NUMBER_WORDS, REPLY_VERB
from socsci_jax.studies.scale import Scale


@dataclasses.dataclass(frozen=True)
class TextParts:
    """A text cut in three; `stimulus + question + answer_format` is the text, verbatim."""

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
    return scale_of_passages(text[cut.question : cut.format], text[cut.read_from : cut.read_to])


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
