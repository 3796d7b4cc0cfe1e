"""Small typed questions about holes, and the checks that an answer must pass."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Annotated, Literal

import pydantic

from data_pipelines.drafting.choice_scales import squeezed

FEWEST_QUOTED_LETTERS = 8
Short = Annotated[str, pydantic.Field(max_length=500)]


class Quote(pydantic.BaseModel):
    """Words of a source, as they stand there."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)
    source: Short
    words: Annotated[str, pydantic.Field(max_length=2000)]


class Answer(pydantic.BaseModel):
    """What every answer holds: whether the sources tell, and the words that tell it."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)
    told: bool
    """false where the sources do not say."""
    quote: Quote | None = None


class OrderAnswer(Answer):
    ordered: bool = False
    order: Annotated[list[Short], pydantic.Field(max_length=200)] = []
    """All codes from one end to the other, where there is an order."""


class AttentionAnswer(Answer):
    is_check: bool = False
    right: Short | None = None
    """The code of the answer that an attentive person gives."""


class UnfinishedAnswer(Answer):
    unfinished: Literal["exclude", "keep"] = "keep"


class CodesAnswer(Answer):
    labels: Annotated[dict[Short, Short], pydantic.Field(max_length=300)] = {}
    """Code -> what it means, in the words of the source."""


class PairsAnswer(Answer):
    pairs: Annotated[dict[Short, Short], pydantic.Field(max_length=200)] = {}
    """Code in the first wording -> code in the second that means the same."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TypedQuestion:
    """One question: `key` names the hole, `codes` are the only codes that an answer may use (`others` those of a
    second wording), `sources` the passages that it may quote, `about` a pattern of what a quotation must speak of."""

    key: str
    kind: Literal["order", "attention", "unfinished", "codes", "pairs"]
    text: str
    sources: Mapping[str, str]
    codes: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    about: str = ""

    @property
    def type(self) -> type[Answer]:
        return {
            "order": OrderAnswer,
            "attention": AttentionAnswer,
            "unfinished": UnfinishedAnswer,
            "codes": CodesAnswer,
            "pairs": PairsAnswer,
        }[self.kind]

    def problem(self, answer: Answer) -> str:
        """Why the answer cannot be taken, or "" where it can."""
        if not answer.told:
            return ""
        return self._quote_problem(answer.quote) or self._code_problem(answer)

    def _quote_problem(self, quote: Quote | None) -> str:
        if quote is None:
            return "it quotes nothing"
        if quote.source not in self.sources:
            return f"it quotes {quote.source!r}, which is none of the sources"
        if len(re.findall(r"\w", quote.words)) < FEWEST_QUOTED_LETTERS:
            return f"a quotation needs {FEWEST_QUOTED_LETTERS} letters or digits"
        if squeezed(quote.words) not in squeezed(self.sources[quote.source]):
            return f"the quoted words do not stand in {quote.source}"
        if self.about and not re.search(self.about, quote.words):
            return "the quoted words speak of something else"
        return ""

    def _code_problem(self, answer: Answer) -> str:
        match answer:
            case OrderAnswer():
                if answer.ordered and sorted(answer.order) != sorted(self.codes):
                    return "its order does not hold every code once"
            case AttentionAnswer():
                if answer.is_check and answer.right not in self.codes:
                    return "its right answer is none of the codes"
            case CodesAnswer():
                strange = [code for code in answer.labels if code not in self.codes]
                if strange or not answer.labels:
                    return f"code {strange[0]!r} is none of the codes" if strange else "it explains no code"
                quoted = answer.quote.words if answer.quote is not None else ""
                absent = [c for c, label in answer.labels.items() if not is_next_to(c, label, quoted)]
                if absent:
                    return f"label {answer.labels[absent[0]]!r} does not stand next to code {absent[0]!r} in the quoted words"
                torn = [c for c, label in answer.labels.items() if self._says_otherwise(c, label)]
                if torn:
                    return f"the sources say of code {torn[0]!r} something else as well"
            case PairsAnswer():
                if sorted(answer.pairs) != sorted(self.codes) or sorted(answer.pairs.values()) != sorted(
                    self.others
                ):
                    return "its pairs do not hold every code of both wordings once"
        return ""

    def _says_otherwise(self, code: str, label: str) -> bool:
        """True where a source gives the code another meaning too, whoever wrote that into it."""
        text = " ".join("\n".join(self.sources.values()).split()).casefold()
        wanted = " ".join(label.split()).casefold()
        said = re.finditer(rf"(?<![\w.]){re.escape(code.casefold())}(?!\w)\s?(?:=|:|is|means)\s?\W?", text)
        return any(not text.startswith(wanted, match.end()) for match in said)


def is_next_to(code: str, label: str, words: str) -> bool:
    """True where the words say "1 = North", "1 is North" or "North (1)": a label of another code is no label of this one."""
    if not label.strip():
        return False
    text, wanted = " ".join(words.split()).casefold(), " ".join(label.split()).casefold()
    number, name = re.escape(code.casefold()), re.escape(wanted)
    between = r"[^\w]{0,4}(?:is|are|means?|stands for|for)?[^\w]{0,4}"
    after = rf"(?<![\w.]){number}(?![\w]){between}(?<!\w){name}(?!\w)"
    before = rf"(?<!\w){name}\W{{0,3}}[(\[=:]\s?{number}(?!\w)"
    return bool(re.search(after, text) or re.search(before, text))
