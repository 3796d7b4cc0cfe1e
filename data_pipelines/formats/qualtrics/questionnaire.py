"""What a questionnaire is: blocks of questions, their choices, and the flow that decides who sees what.

Texts are plain: HTML was rendered to text and scripts were dropped.  Piped text stays as it stands in the file
(`${e://Field/name}`, `${lm://Field/1}`, `${q://QID1/ChoiceGroup/SelectedChoices}`), because only an arm or a
respondent gives it a value.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Literal

from data_pipelines.formats.qualtrics.logic import Logic

# The survey program's own code for "seen, but not answered".
UNANSWERED = "-99"

QuestionKind = Literal[
    "text",  # descriptive text, graphics: read, not answered
    "single",
    "multiple",
    "matrix",  # one answer per row
    "matrix_multiple",  # several answers per row
    "matrix_entry",  # text or numbers per row
    "slider",
    "entry",
    "form",  # several entries
    "rank",
    "sum",  # numbers that add up
    "side_by_side",
    "timing",
    "meta",
    "captcha",
    "other",
]

ANSWERED_KINDS = frozenset(
    {"single", "multiple", "matrix", "matrix_multiple", "matrix_entry", "slider", "entry", "form", "rank"}
    | {"sum", "side_by_side"}
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """One choice of a question, one row of a matrix, or one column of its answers.

    `value` is what a numeric export writes for it: its recode value, or its id where none is set.
    `name` is the author's variable name (empty where there is none); `tag` the export tag of a matrix row.
    """

    id: str
    text: str
    value: str
    name: str = ""
    tag: str = ""
    text_entry: bool = False
    exclusive: bool = False
    analyzed: bool = True
    media: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Question:
    """A question as asked.

    `choices` are a question's choices or a matrix's rows, in the order of display; `answers` are a matrix's
    columns.  `lo`, `hi` bound a slider or a number entry, `decimals` counts a slider's decimals.
    `ends` are the words at the two ends of a slider ("" where there are none).
    `content` names what an entry must be ("number", "email", ...; empty: anything).
    `media` names what the text shows and plain text cannot (images, videos, sounds, embedded pages).
    """

    id: str
    tag: str
    kind: QuestionKind
    type: str
    selector: str
    text: str
    choices: tuple[Choice, ...] = ()
    answers: tuple[Choice, ...] = ()
    display: Logic | None = None
    random_choices: bool = False
    lo: float | None = None
    hi: float | None = None
    decimals: int = 0
    ends: tuple[str, str] = ("", "")
    content: str = ""
    media: tuple[str, ...] = ()
    scripted: bool = False
    columns: tuple[Question, ...] = ()

    @functools.cached_property
    def choice_by_id(self) -> Mapping[str, Choice]:
        return {choice.id: choice for choice in self.choices}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loop:
    """Loop and merge: the block is shown once per iteration; `iterations` maps its id to its fields.

    `random` is how many iterations are drawn (None: all of them, in order or not).
    """

    iterations: Mapping[str, Mapping[str, str]]
    question: str = ""
    random: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Block:
    """A block of questions (`questions` in order, without page breaks).

    `drawn` says how many of `pool` a respondent sees where questions are drawn (None: all are shown);
    `hidden` are questions that the randomization never shows.
    """

    id: str
    name: str
    questions: tuple[str, ...]
    trash: bool = False
    drawn: int | None = None
    pool: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    shuffled: bool = False
    loop: Loop | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Field:
    """One field of embedded data; `value` is None where it comes from outside (a panel's link)."""

    name: str
    value: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class FlowNode:
    """One element of the survey flow.

    kind "randomizer": `shown` of its `children` are shown, drawn at random; "branch": its children are shown where
    `logic` holds; "fields": sets embedded data; "block": shows `block`; "end": ends the survey.
    """

    id: str
    kind: Literal["root", "group", "block", "randomizer", "branch", "fields", "end", "other"]
    type: str
    name: str = ""
    block: str = ""
    shown: int = 0
    fields: tuple[Field, ...] = ()
    logic: Logic | None = None
    children: tuple[FlowNode, ...] = ()

    def walk(self) -> Iterator[FlowNode]:
        """This element and all below it, in the order of the flow."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Questionnaire:
    """A whole survey; `notes` say what in the file was not understood."""

    title: str
    language: str
    questions: Mapping[str, Question]
    blocks: Mapping[str, Block]
    flow: FlowNode
    scores: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def find(self, question_id: str) -> Question:
        """The question, also one of those that stand side by side (`QID4#1`)."""
        bare, _, number = question_id.partition("#")
        question = self.questions[bare]
        return (
            next((part for part in question.columns if part.id == question_id), question)
            if number
            else question
        )

    @functools.cached_property
    def block_of(self) -> Mapping[str, str]:
        """The block of each question."""
        return {question: block.id for block in self.blocks.values() for question in block.questions}

    @functools.cached_property
    def shown_questions(self) -> tuple[str, ...]:
        """Ids of the questions that the flow can reach, in its order, each once."""
        reached: dict[str, None] = {}
        for node in self.flow.walk():
            if node.kind == "block" and node.block in self.blocks:
                block = self.blocks[node.block]
                hidden = set(block.hidden)
                reached.update(
                    dict.fromkeys(q for q in block.questions if q in self.questions and q not in hidden)
                )
        return tuple(reached)
