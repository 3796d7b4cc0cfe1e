"""The columns of an export as what was asked: question, scale, and whether the cells fit it.

What cannot be an outcome is excluded with a reason, never silently.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

import numpy as np

from data_pipelines.drafting.asked_attributes import (
    DraftAttribute,
    attribute_of_question,
    attributes_of_fields,
    is_number,
    numbers_of,
)
from data_pipelines.drafting.choice_scales import (
    Coding,
    DraftScale,
    chosen_or_not,
    code_key,
    coding,
    scale_of_choices,
    scale_of_rows,
)
from data_pipelines.drafting.demographics import age_or_birth, attribute_of
from data_pipelines.drafting.field_factors import set_by_flow
from data_pipelines.drafting.holes import ATTENTION, NO_ORDER
from data_pipelines.drafting.joined_choices import joined_choices
from data_pipelines.formats.qualtrics.columns import Column
from data_pipelines.formats.qualtrics.conjoint import find_conjoint
from data_pipelines.formats.qualtrics.export import Export
from data_pipelines.formats.qualtrics.questionnaire import UNANSWERED, Choice, Question, Questionnaire
from data_pipelines.formats.qualtrics.text import piped_fields
from socsci_jax.wording import counted, counted_of

# A free entry is a number where nearly all that was written is one.
NUMERIC_SHARE = 0.9
MOST_SLIDER_LEVELS = 1001

_CONSENT = re.compile(
    r"\b(?:consent|i agree to|agree to participate|participate in (?:this|the|a) (?:study|survey|"
    r"research)|informed|irb)\b",
    re.IGNORECASE,
)
_CHECK = re.compile(
    r"\b(?:please|must|should|just|instead)\b[^.?!]{0,80}\b(?:select|choose|click|mark|pick|type|check)\b"
    r"[^.?!]{0,60}(?:[\"“'‘][^\"”'’]{1,60}[\"”'’]|\boption\b|\bhere\b|\bbelow\b|\bfor this\b|\bon this\b|"
    r"\bto show\b|\banswer\b)"
    r"|\bpay(?:ing)? attention\b|\battention check\b|\bto (?:show|demonstrate|prove) that you(?:['’]ve| are| have)\b",
    re.IGNORECASE | re.DOTALL,
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """One column that people answered on a scale.

    `label` is the row of a matrix, the choice of several, the bar of a slider ("" where the question is all).
    `choices` are those that its scale is made of; `suffix` tells choices apart that share a column.  `holes` name what could not be decided.
    """

    column: Column
    question: Question
    label: str
    scale: DraftScale
    choices: tuple[Choice, ...] = ()
    coding: Coding | None = None
    suffix: str = ""
    holes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.column.name + self.suffix


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """All answer columns of an export, sorted into what they are; `left_out` gives a reason for each of the rest."""

    asked: tuple[Asked, ...]
    attributes: tuple[DraftAttribute, ...]
    left_out: Mapping[str, str]


def read_columns(survey: Questionnaire, export: Export, *, survey_file: str) -> Reading:
    """Sorts the export's columns into outcomes, attributes and the rest."""
    asked: list[Asked] = []
    left_out: dict[str, str] = {}
    attributes: dict[str, DraftAttribute] = {}
    ticked: dict[tuple[str, str, str], bool] = {}
    in_words = _is_in_words(survey, export)
    boxes: dict[tuple[str, str, str], list[str]] = {}
    # The first iteration of a loop speaks for all, so what any of them holds is asked.
    answers_of: dict[tuple[str, str], list[Mapping[str, int]]] = {}
    for c in export.columns:
        if c.role == "answer":
            boxes.setdefault((c.question, c.row, c.iteration), []).append(c.name)
            answers_of.setdefault((c.question, c.row), []).append(export.counts(c.name))
    conjoint = find_conjoint(export)
    profiles = conjoint.fields if conjoint is not None else frozenset()
    looped = {q for b in survey.blocks.values() if b.loop is not None for q in b.questions}
    for column in export.columns:
        if column.role == "answer":
            question = survey.find(column.question)
            values = export.counts(column.name)
            if not values:
                left_out[column.name] = "nobody answered it"
                continue
            if profiles and profiles.intersection(piped_fields(question.text)):
                left_out[column.name] = (
                    "a choice between profiles of a conjoint, which data build conjoint reads"
                )
                continue
            if question.id not in looped and (name := attribute_of(question)) is not None:
                if not question.choices:
                    name = age_or_birth(name, numbers_of(values))
                if name not in attributes and not (question.kind == "multiple" and column.choice):
                    attributes[name] = attribute_of_question(name, column, question, values, survey_file)
                    continue
                if name not in attributes:
                    left_out[column.name] = f"one of several choices that tell {name}; a person has one text"
                    continue
            place = (column.question, column.row, column.iteration)
            if question.kind in ("multiple", "matrix_multiple") and place not in ticked:
                # If in every response some box is ticked, then all were asked.
                ticked[place] = bool(np.any([export.filled(name) for name in boxes[place]], axis=0).all())
            read = _asked(column, question, values, everybody_ticked=ticked.get(place, False))
            if isinstance(read, Asked):
                iterations = [values] if question.id not in looped else answers_of[question.id, column.row]
                read = _with_unanswered(read, iterations)
                if read.coding is not None:
                    read = dataclasses.replace(
                        read, coding=dataclasses.replace(read.coding, in_words=in_words)
                    )
            if isinstance(read, str):
                left_out[column.name] = read
            else:
                asked += read if isinstance(read, list) else [read]
        elif column.role == "text":
            left_out[column.name] = "what people wrote next to a choice"
    for attribute in attributes_of_fields(export, of_survey=set_by_flow(survey)):
        attributes.setdefault(attribute.name, attribute)
    return Reading(asked=tuple(asked), attributes=tuple(attributes.values()), left_out=left_out)


def is_attention_check(question: str, label: str) -> bool:
    """True where the wording tells people what to answer."""
    return bool(_CHECK.search(label) if label else _CHECK.search(question[-600:]))


def _asked(
    column: Column, question: Question, values: Mapping[str, int], *, everybody_ticked: bool
) -> Asked | list[Asked] | str:
    """The column as asked (several times where a cell holds several choices), or why it is no outcome."""
    place = question.choice_by_id.get(column.row)
    label = place.text if place is not None and question.kind != "single" else ""
    match question.kind:
        case "single" | "matrix" | "side_by_side" | "other":
            return _chosen(column, question, label, values)
        case "multiple" | "matrix_multiple":
            picked = question.choice_by_id.get(column.choice)
            if question.kind == "matrix_multiple" and place is not None:
                picked = next((a for a in question.answers if a.id == column.choice), None)
            if picked is None:
                options = question.answers if question.kind == "matrix_multiple" else question.choices
                return _joined(column, question, label, options, values)
            label = " - ".join(text for text in (label, picked.text) if text)
            seen = any(code_key(value) == UNANSWERED for value in values)
            return Asked(
                column=column,
                question=question,
                label=label,
                scale=chosen_or_not(told=everybody_ticked, seen=seen),
                choices=(picked,),
                holes=() if everybody_ticked or seen else ("an empty cell may mean not chosen or not asked",),
            )
        case "rank":
            size = len(question.choices)
            scale = DraftScale(levels={str(i): "" for i in range(1, size + 1)})
            return Asked(column=column, question=question, label=label, scale=scale)
        case "slider":
            return _slid(column, question, label)
    return _written(column, question, label, values)


def _joined(
    column: Column, question: Question, label: str, options: Sequence[Choice], values: Mapping[str, int]
) -> list[Asked] | str:
    """One outcome per choice of cells that hold several."""
    seen = [value for value in values if code_key(value) == UNANSWERED]
    cells_ = {
        **joined_choices([value for value in values if value not in seen], options),
        **dict.fromkeys(seen, frozenset()),
    }
    if len(cells_) == len(seen):
        return "several choices stand in one cell, in a way that is not understood; export them as columns of their own"
    return [
        Asked(
            column=column,
            question=question,
            label=" - ".join(text for text in (label, choice.text) if text),
            scale=dataclasses.replace(
                chosen_or_not(told=False),
                recoded={cell: "1" if choice.id in ids else "0" for cell, ids in sorted(cells_.items())},
            ),
            choices=(choice,),
            suffix=f"_{choice.id}",
            holes=()
            if seen
            else ("an empty cell may mean that nothing was chosen, or that it was not asked",),
        )
        for choice in options
    ]


def _is_in_words(survey: Questionnaire, export: Export) -> bool:
    """True if most cells that are either codes or labels, not both, are labels."""
    balance = 0
    for column in export.columns:
        if column.role != "answer":
            continue
        question = survey.find(column.question)
        if question.kind in ("single", "matrix"):
            coded = coding(export.counts(column.name), question.answers or question.choices)
            balance += coded.labels - coded.codes
    return balance > 0


def _with_unanswered(one: Asked, iterations: Sequence[Mapping[str, int]]) -> Asked:
    """The column, asked in these iterations, with the program's code for "seen, but not answered" as missing, unless it is an answer."""
    codes = {*one.scale.levels, *one.scale.alternatives, *one.scale.missing, *one.scale.recoded}
    possible = one.scale.lo is not None and one.scale.lo <= float(UNANSWERED)
    seen = any(code_key(value) == UNANSWERED for values in iterations for value in values)
    if possible or UNANSWERED in codes or not seen:
        return one
    scale = dataclasses.replace(one.scale, missing=(*one.scale.missing, UNANSWERED))
    return dataclasses.replace(one, scale=scale)


def _chosen(column: Column, question: Question, label: str, values: Mapping[str, int]) -> Asked | str:
    choices = question.answers or question.choices
    if question.kind == "single":
        choices = question.choices
    if len(choices) < 2:
        return "there is only one choice" if choices else "its choices are not in the survey file"
    if len(values) == 1 and _CONSENT.search(question.text):
        return "consent, which everybody gave"
    coded = coding(values, choices)
    holes = []
    if coded.kind == "empty" or coded.strange_count > max(coded.codes, coded.labels):
        shown = ", ".join(map(repr, coded.strange))
        return f"its cells fit no choice of the survey file ({shown})"
    if coded.strange_count:
        shown = ", ".join(map(repr, coded.strange))
        holes.append(
            f"{counted(coded.strange_count, 'cell is', 'cells are')} no choice of the survey file ({shown})"
        )
    scale = scale_of_choices(choices)
    left, between, right = (part.strip() for part in label.partition(":"))
    if question.selector == "Bipolar" and between:
        # Two words at the ends of a row, written into one cell of the file.
        first, *_, last = scale.levels
        told = {first: scale.levels[first] or left, last: scale.levels[last] or right}
        scale = dataclasses.replace(scale, levels={**scale.levels, **told})
        label = f"{left} – {right}"
    if scale.order_unknown:
        holes.append(NO_ORDER)
    if is_attention_check(question.text, label):
        holes.append(ATTENTION)
    return Asked(
        column=column,
        question=question,
        label=label,
        scale=scale,
        choices=tuple(choices),
        coding=coded,
        holes=tuple(holes),
    )


def _slid(column: Column, question: Question, label: str) -> Asked:
    scale = scale_of_rows(question)
    whole = question.decimals == 0 and scale.lo is not None and scale.hi is not None
    if whole and scale.hi - scale.lo < MOST_SLIDER_LEVELS:
        ends = question.ends if not any("${" in words for words in question.ends) else ("", "")
        scale = dataclasses.replace(scale, number=False, ends=ends)
    holes = () if scale.hi is not None else ("the survey file does not say where the slider ends",)
    return Asked(column=column, question=question, label=label, scale=scale, holes=holes)


def _written(column: Column, question: Question, label: str, values: Mapping[str, int]) -> Asked | str:
    values = {value: count for value, count in values.items() if code_key(value) != UNANSWERED}
    numbers = sum(count for value, count in values.items() if is_number(value))
    total = sum(values.values())
    if numbers < NUMERIC_SHARE * total or question.content in ("postcode", "phone", "date", "email"):
        return "free text, which has no scale"
    holes = []
    if numbers < total:
        holes.append(f"{counted_of(total - numbers, total, 'cell')} no number")
    if is_attention_check(question.text, label):
        holes.append(ATTENTION)
    return Asked(
        column=column, question=question, label=label, scale=scale_of_rows(question), holes=tuple(holes)
    )
