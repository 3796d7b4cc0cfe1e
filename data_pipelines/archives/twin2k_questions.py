"""Questions and answers of Twin-2K-500's JSON: blocks of questions with options, rows, ranges and what was selected."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

from data_pipelines.drafting.choice_scales import scale_of_choices
from data_pipelines.formats.qualtrics.questionnaire import Choice
from data_pipelines.formats.qualtrics.text import plain_text
from socsci_jax import bounds
from socsci_jax.errors import InputError
from socsci_jax.reading import parse_json
from socsci_jax.studies.answer_formats import answer_format
from socsci_jax.studies.scale import MAX_LEVELS, Scale

# One choice: radio buttons down or across, a drop-down list.
_ONE_CHOICE = ("SAVR", "SAHR", "SACOL", "DL")
_NUMBERS = ("ValidNumber",)
NO_SCALE = "no scale: a text, several choices, or a form that is not read"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """What one person was asked, of a matrix or of sliders a row each; `answer` is null where nothing was answered.

    `before` are the texts of the block that stand above the question.  Without a `scale`, `reason` says why.
    """

    question_id: str
    row: str
    block: str
    before: str
    text: str
    scale: Scale | None
    reason: str = ""
    answer: float | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.question_id, self.row

    @property
    def answer_format(self) -> str:
        assert self.scale is not None
        return answer_format(self.scale)

    def allows(self, answer: float) -> bool:
        return self.scale is not None and self.scale.allows(answer)


def blocks_of(content: object) -> list[dict[str, Any]]:
    """The blocks of a cell, each with its list of questions; raises InputError for anything else."""
    if isinstance(content, str):
        if len(content) > bounds.JSON_LINE_BYTES:
            raise InputError(f"longer than {bounds.JSON_LINE_BYTES:,} characters.")
        content = parse_json(content, where="JSON of a persona")
    if not isinstance(content, list):
        raise InputError("a list of blocks is needed.")
    blocks = [
        block for block in content if isinstance(block, dict) and isinstance(block.get("Questions"), list)
    ]
    for block in blocks:
        for question in block["Questions"]:
            named = isinstance(question, dict) and all(
                isinstance(question.get(name), str) for name in ("QuestionID", "QuestionText", "QuestionType")
            )
            if not named:
                raise InputError("a question has no QuestionID, QuestionText or QuestionType.")
    if not blocks:
        raise InputError("no block has questions.")
    return blocks


def asked_in(blocks: list[dict[str, Any]]) -> Iterator[Asked]:
    """Every question, and every row of one, with its answer."""
    for block in blocks:
        before: list[str] = []
        for question in block["Questions"]:
            text = plain_text(question["QuestionText"])
            if question["QuestionType"] == "DB":
                before.append(text)
                continue
            shown = "".join(f"{words}\n\n" for words in before if words)
            for row, label, scale, answer in _rows(question):
                yield Asked(
                    question_id=question["QuestionID"],
                    row=row,
                    block=str(block.get("BlockName") or "questions"),
                    before=shown,
                    text=f"{text}\n{label}" if label else text,
                    scale=scale,
                    reason="" if scale is not None else NO_SCALE,
                    answer=answer,
                )


def labels_of(question: dict[str, Any]) -> list[str]:
    """The texts of the question's options; empty where it has none."""
    return _texts(question.get("Options"))


def told_by(question: dict[str, Any]) -> list[tuple[str, str]]:
    """The question (with the row) and its answer in words, for each row that was answered."""
    answers = _answers(question)
    text = plain_text(question["QuestionText"])
    chosen, written = answers.get("SelectedText"), answers.get("Text")
    rows = _texts(question.get("Rows")) or _texts(question.get("Statements"))
    values = chosen if isinstance(chosen, list) else answers.get("Values")
    if rows and isinstance(values, list) and len(values) == len(rows):
        pairs = [(f"{text} {label}".strip(), value) for label, value in zip(rows, values, strict=True)]
    elif isinstance(chosen, list):
        pairs = [(text, "; ".join(map(str, chosen)))]
    else:
        pairs = [(text, chosen if chosen is not None else written)]
    return [
        (words, str(value))
        for words, value in pairs
        if isinstance(value, str | int | float) and str(value).strip()
    ]


def _rows(question: dict[str, Any]) -> Iterator[tuple[str, str, Scale | None, float | None]]:
    """Row id, label, scale and answer; one row without a label where the question has none."""
    kind, answers = question["QuestionType"], _answers(question)
    settings = question.get("Settings") if isinstance(question.get("Settings"), dict) else {}
    if kind == "MC" and settings.get("Selector") in _ONE_CHOICE:
        yield "", "", _choices(question.get("Options")), _number(answers.get("SelectedByPosition"))
    elif kind == "Matrix" and settings.get("SubSelector") in ("SingleAnswer", "DL"):
        scale = _choices(question.get("Columns"))
        for i, row, label in _labeled(question, "Rows"):
            yield row, label, scale, _number(_at(answers.get("SelectedByPosition"), i))
    elif kind == "Slider":
        for i, row, label in _labeled(question, "Statements"):
            yield row, label, _range(question.get("Range")), _number(_at(answers.get("Values"), i))
    elif kind == "TE" and settings.get("ContentType") in _NUMBERS:
        yield "", "", Scale.open_number(origin="codebook"), _number(answers.get("Text"))
    else:
        yield "", "", None, 0.0 if answers else None


def _answers(question: dict[str, Any]) -> dict[str, Any]:
    answers = question.get("Answers")
    return answers if isinstance(answers, dict) else {}


def _labeled(question: dict[str, Any], name: str) -> Iterator[tuple[int, str, str]]:
    labels = _texts(question.get(name)) or [""]
    ids = _texts(question.get(f"{name}ID")) if len(_texts(question.get(f"{name}ID"))) == len(labels) else []
    for i, label in enumerate(labels):
        yield i, ids[i] if ids else str(i + 1), label


def _texts(texts: object) -> list[str]:
    return [plain_text(str(text)) for text in texts] if isinstance(texts, list) else []


def _at(values: object, i: int) -> object:
    return values[i] if isinstance(values, list) and i < len(values) else None


def _choices(options: object) -> Scale | None:
    """Options by their place; those outside the order ("Don't know") are alternatives, refusals missing."""
    labels = _texts(options)
    if not 2 <= len(labels) <= MAX_LEVELS or len(set(labels)) < len(labels):
        return None
    drafted = scale_of_choices(
        [Choice(id=str(i), text=t, value=str(i)) for i, t in enumerate(labels, start=1)]
    )
    return Scale.of_levels(
        {int(code): label for code, label in drafted.levels.items()},
        origin="codebook",
        nominal=drafted.nominal,
        alternatives={int(code): label for code, label in drafted.alternatives.items()},
        missing=map(int, drafted.missing),
    )


def _range(settings: object) -> Scale | None:
    ends = [_number(settings.get(name)) for name in ("Min", "Max")] if isinstance(settings, dict) else []
    if len(ends) != 2 or None in ends or not ends[0] < ends[1]:
        return None
    lo, hi = ends
    if lo == int(lo) and hi == int(hi) and hi - lo < MAX_LEVELS:
        return Scale.of_levels(range(int(lo), int(hi) + 1), origin="codebook")
    return Scale.open_number(lo=lo, hi=hi, origin="codebook")


def _number(value: object) -> float | None:
    if isinstance(value, list):
        value = value[0] if len(value) == 1 else None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
