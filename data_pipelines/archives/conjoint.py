"""A conjoint experiment as Qualtrics exported it: profiles in embedded data, choices in questions that pipe them in.

Each choice task of each person is an item of its own: its text is the question with that person's profiles filled
in.  Its factors are named `LEVEL: attribute`, where LEVEL is the answer that chooses the profile, so that estimates
such as AMCEs can be computed from the store (`socsci_jax/studies/profiles.py`).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

from data_pipelines.drafting.asked import read_columns
from data_pipelines.drafting.asked_attributes import DraftAttribute
from data_pipelines.drafting.choice_scales import code_key, coding
from data_pipelines.drafting.rules import find_deposit
from data_pipelines.formats.qualtrics import Column, Export, Question, Questionnaire
from data_pipelines.formats.qualtrics.conjoint import Conjoint, find_conjoint
from data_pipelines.formats.qualtrics.export import cells
from data_pipelines.formats.qualtrics.text import piped_fields
from socsci_jax.errors import InputError
from socsci_jax.studies.answer_formats import answer_format
from socsci_jax.studies.profiles import profile_factor
from socsci_jax.studies.schema import Item, Scale
from socsci_jax.studies.store import StudyStore
from socsci_jax.studies.store_builder import StoreBuilder

CHOICE, REPEATED = "choice", "choice, repeated"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """One question that shows a task's profiles; `profiles` are in the order shown, each chosen by a level.

    A task that is shown again (perhaps with its sides swapped) is `repeated`.
    """

    question: Question
    column: Column
    number: int
    profiles: tuple[int, ...]
    levels: Mapping[int, str]
    level_of_cell: Mapping[str, int]
    repeated: bool


def build(source: Path, out: Path, *, command: str, replace: bool = False) -> StudyStore:
    """Writes the store of the conjoint in a folder with a `.qsf` file and its export.

    Every answered task of every respondent ends up as a response or in the rejects.
    Raises InputError where no conjoint columns, or no questions about them, are found.
    """
    source = Path(source)
    survey, export, survey_path = find_deposit(source)
    conjoint = find_conjoint(export)
    if conjoint is None:
        raise InputError(
            f"{export.path}: no columns of a conjoint (K-1-1, K-1-1-1, ...: attribute by task and row, level by task, "
            "profile and row)."
        )
    tasks = find_tasks(survey, export, conjoint)
    if not tasks:
        raise InputError(
            f"{survey_path}: no question pipes the profiles {conjoint.prefix}-1-1-1, ... into its text."
        )
    attributes = _told_attributes(survey, export, survey_path.name)
    builder = StoreBuilder(
        attributes=tuple(a.name for a in attributes),
        source=survey.title or source.name,
        license="not stated",
        command=command,
    )
    study = re.sub(r"[^\w.]+", "_", source.resolve().name).strip("_") or "conjoint"
    builder.add_study(study, title=survey.title)
    _add_people(builder, study, export, attributes)
    for task in tasks:
        _add_task(builder, study, export, conjoint, task)
    asked = ", ".join(
        f"{task.column.name} (task {task.number}{', repeated' if task.repeated else ''})" for task in tasks
    )
    builder.notes += [f"Tasks: {asked}.", *export.notes]
    return builder.write(out, replace=replace)


def find_tasks(survey: Questionnaire, export: Export, conjoint: Conjoint) -> tuple[Task, ...]:
    """The questions that show one task's profiles and let people choose one of them, in the order of the flow."""
    places = {conjoint.level_field(t, p, r): (t, p) for t, p, r in conjoint.levels}
    met: set[int] = set()
    tasks = []
    for question_id in survey.shown_questions:
        question = survey.questions[question_id]
        shown = [places[name] for name in piped_fields(question.text) if name in places]
        numbers = {task for task, _ in shown}
        profiles = tuple(dict.fromkeys(profile for _, profile in shown))
        columns = export.of_question(question_id)
        if len(numbers) != 1 or len(columns) != 1 or len(profiles) != len(question.choices):
            continue
        (number,) = numbers
        values = [_level(choice.value, position) for position, choice in enumerate(question.choices, start=1)]
        in_words = coding(export.counts(columns[0].name), question.choices).kind == "text"
        told = {
            (choice.text if in_words else code_key(choice.value)): value
            for choice, value in zip(question.choices, values, strict=True)
        }
        tasks.append(
            Task(
                question=question,
                column=columns[0],
                number=number,
                profiles=profiles,
                levels={v: c.text for v, c in zip(values, question.choices, strict=True)},
                level_of_cell=told,
                repeated=number in met,
            )
        )
        met.add(number)
    return tuple(tasks)


def _level(code: str, position: int) -> int:
    try:
        return int(code)
    except ValueError:
        return position


def _told_attributes(survey: Questionnaire, export: Export, survey_file: str) -> list[DraftAttribute]:
    """Attributes whose cells or codes are explained; codes without labels say nothing."""
    return [a for a in read_columns(survey, export, survey_file=survey_file).attributes if not a.holes]


def _add_people(builder: StoreBuilder, study: str, export: Export, attributes: list[DraftAttribute]) -> None:
    told = {a.name: list(cells(export.table, a.column)) for a in attributes}
    for row in range(export.table.height):
        known = {}
        for attribute in attributes:
            cell = told[attribute.name][row]
            text = attribute.recode.get(code_key(cell), cell)
            known[attribute.name] = None if not text or cell in attribute.missing else " ".join(text.split())
        builder.add_participant(study, str(row + 1), known)


def _add_task(builder: StoreBuilder, study: str, export: Export, conjoint: Conjoint, task: Task) -> None:
    try:
        scale = Scale.of_levels(dict(task.levels), origin="codebook", nominal=True)
    except InputError as error:
        raise InputError(f"{export.path.name}: the choices of {task.column.name}: {error}") from None
    outcome = REPEATED if task.repeated else CHOICE
    fields = [name for name in piped_fields(task.question.text) if name in conjoint.fields]
    column_of = {conjoint.attribute_field(t, r): c for (t, r), c in conjoint.attributes.items()}
    column_of |= {conjoint.level_field(t, p, r): c for (t, p, r), c in conjoint.levels.items()}
    shown = {name: list(cells(export.table, column_of[name])) for name in fields}
    for row, cell in enumerate(cells(export.table, task.column.name)):
        place = f"{export.path.name}, row {export.header_rows + row + 1}"
        values = {name: shown[name][row] for name in fields}
        value = task.level_of_cell.get(cell) or task.level_of_cell.get(code_key(cell))
        reason = (
            "preview by the authors"
            if export.is_preview[row]
            else "no answer"
            if not cell
            else "answer is none of the choices"
            if value is None
            else "a profile is not in the export"
            if not all(values.values())
            else ""
        )
        if reason:
            builder.reject(
                "response", place=place, reason=reason, record={"task": task.column.name, "cell": cell[:80]}
            )
            continue
        item = _item(study, outcome, conjoint, task, values, scale)
        builder.add_response(builder.add_item(item), str(row + 1), value, sample_id=row + 1, place=place)


def _item(
    study: str, outcome: str, conjoint: Conjoint, task: Task, values: Mapping[str, str], scale: Scale
) -> Item:
    text = task.question.text
    for name, value in values.items():
        text = text.replace("${e://Field/" + name + "}", value)
    factors = {}
    for profile, level in zip(task.profiles, task.levels, strict=True):
        for row in conjoint.rows:
            name = values.get(conjoint.attribute_field(task.number, row))
            shown = values.get(conjoint.level_field(task.number, profile, row))
            if name and shown:
                factors[profile_factor(level, name)] = shown
    return Item(
        study_id=study,
        condition=f"task {task.number}",
        outcome=outcome,
        stimulus=f"{text}\n\n",
        question="",
        answer_format=answer_format(scale),
        scale=scale,
        factors=factors,
    )
