"""Factors that no randomizer of the flow draws: fields from a link, a script or a random number.

Such a field is a factor where it decides what is shown or is piped into texts.  Where the export lacks it, or it has
as many values as people, what branches on it set in its place is the factor.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping

from data_pipelines.drafting.factors import Factor, Level, fields_set
from data_pipelines.formats.qualtrics.conjoint import find_conjoint
from data_pipelines.formats.qualtrics.export import Export, cells
from data_pipelines.formats.qualtrics.logic import Logic
from data_pipelines.formats.qualtrics.questionnaire import FlowNode, Questionnaire
from data_pipelines.formats.qualtrics.text import piped_fields

# A field with more values than this is no factor with levels (a name, a time, a generated text).
MOST_FIELD_LEVELS = 20


def field_factors(survey: Questionnaire, export: Export, known: tuple[Factor, ...]) -> list[Factor]:
    """The fields from outside the flow that are factors, and those that branches on other such fields set."""
    drawn = {name for factor in known for level in factor.levels for name in level.fields}
    constant = set_by_flow(survey)
    conjoint = find_conjoint(export)
    if conjoint is not None:
        drawn |= conjoint.fields
    factors = []
    for name in sorted(_used(survey) - drawn - constant):
        column = export.field(name)
        if column is None or name.startswith("Q_"):
            continue
        values = dict.fromkeys(cell for cell in cells(export.table, column.name) if cell)
        if 2 <= len(values) <= MOST_FIELD_LEVELS:
            levels = tuple(Level(name=value, fields={name: value}) for value in sorted(values))
            factors.append(Factor(name=name, kind="field", levels=levels, field=name))
    told = {factor.name for factor in factors}
    return [*factors, *_set_in_branches(survey, export, without=drawn | constant | told)]


def set_by_flow(survey: Questionnaire) -> set[str]:
    """Fields that the flow sets to a value of its own."""
    return {
        field.name
        for node in survey.flow.walk()
        for field in node.fields
        if field.value is not None and "${" not in field.value
    }


def _used(survey: Questionnaire) -> set[str]:
    """Fields that decide what is shown, or are piped into texts."""
    used: set[str] = set()
    for node in survey.flow.walk():
        if node.kind == "branch" and node.logic is not None:
            used |= set(node.logic.fields)
    for question_id in survey.shown_questions:
        question = survey.questions[question_id]
        used |= set(question.display.fields) if question.display is not None else set()
        for text in (question.text, *(choice.text for choice in (*question.choices, *question.answers))):
            used |= set(piped_fields(text))
    return used


def _set_in_branches(survey: Questionnaire, export: Export, *, without: set[str]) -> Iterator[Factor]:
    """Factors of fields that exclusive branches on one other field set, each to a value of its own."""
    branches: dict[str, list[FlowNode]] = collections.defaultdict(list)
    for node in survey.flow.walk():
        if node.kind == "branch" and node.logic is not None:
            of_answers = any(c.source != "field" for g in node.logic.groups for c in g.conditions)
            if len(node.logic.fields) == 1 and not of_answers:
                branches[node.logic.fields[0]].append(node)
    for decides, nodes in branches.items():
        sets = [_fields_of(node) for node in nodes]
        common = set.intersection(*map(set, sets))
        # Words tell more of an arm than its number does.
        fitting = sorted(
            (name for name in common if export.field(name) is not None and len({s[name] for s in sets}) > 1),
            key=lambda name: (-len({s[name] for s in sets}), any(s[name].isdigit() for s in sets), name),
        )
        if decides in without or not fitting:
            continue
        field = fitting[0]
        levels = {
            value: [n for n, s in zip(nodes, sets, strict=True) if s[field] == value]
            for value in dict.fromkeys(s[field] for s in sets)
        }
        if _exclusive(decides, levels):
            yield Factor(
                name=field,
                kind="field",
                levels=tuple(
                    Level(name=value, fields=_shared(own), elements=_taken(own, nodes))
                    for value, own in levels.items()
                ),
                field=field,
            )


def _fields_of(branch: FlowNode) -> dict[str, str]:
    fields: dict[str, str] = {}
    for child in branch.children:
        fields |= fields_set(child)
    return fields


def _shared(nodes: list[FlowNode]) -> dict[str, str]:
    """Fields that all of the branches set alike."""
    first, *others = [_fields_of(node) for node in nodes]
    return {name: value for name, value in first.items() if all(o.get(name) == value for o in others)}


def _taken(own: list[FlowNode], nodes: list[FlowNode]) -> dict[str, tuple[str, ...]]:
    """For each branch whether people at the level are in it; in one of several nobody knows."""
    if len(own) > 1:
        return {node.id: () for node in nodes if node not in own}
    return {node.id: (node.id,) if node in own else () for node in nodes}


def _exclusive(decides: str, levels: Mapping[str, list[FlowNode]]) -> bool:
    """True if no value of the deciding field leads to two of the levels."""
    named = {c.value.strip() for own in levels.values() for n in own for c in _conditions(n.logic)}
    near = {f"{int(value) + step}" for value in named if value.isdecimal() for step in (-1, 0, 1)}
    return all(
        sum(
            any(n.logic is not None and n.logic.holds({decides: value}) is not False for n in own)
            for own in levels.values()
        )
        <= 1
        for value in named | near
    )


def _conditions(logic: Logic | None) -> Iterator:
    for group in logic.groups if logic is not None else ():
        yield from group.conditions
