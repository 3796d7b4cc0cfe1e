"""Columns whose name several questions share, in exports without import ids: which question each holds.

What tells it is the question's words in the second header row, else the cells: a question is not a column's where some
of its cells are none of its choices, and where another column is surely that question's.  The order of columns tells
nothing, for it is whoever saved the file that chose it.  A column of which more than one question remains is linked
with none, and named.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from data_pipelines.formats.qualtrics.columns import Column, key_of
from data_pipelines.formats.qualtrics.questionnaire import UNANSWERED, Choice, Questionnaire
from data_pipelines.formats.qualtrics.text import words_of
from socsci_jax.studies.specification_parts import code

# Fewer cells that are no choice may be a slip of whoever edited the file: they speak neither for nor against.
FEWEST_STRANGE, LEAST_STRANGE_SHARE = 2, 0.01
Place = tuple[str, str, str, str, str]


@dataclasses.dataclass(frozen=True)
class Unlinked:
    """A column that could be of several questions, by its name in the table."""

    column: str
    header: str
    questions: tuple[str, ...]

    def __str__(self) -> str:
        return f"column {self.header!r} could be of {', '.join(self.questions)}; it is linked with none."


def link_shared_names(
    columns: Sequence[Column],
    candidates: Mapping[str, Sequence[Column]],
    survey: Questionnaire,
    counts: Callable[[str], Mapping[str, int]],
) -> tuple[dict[str, Column], list[Unlinked]]:
    """Which of its `candidates` each column is, by name; and those of which several remain.

    `candidates` are what the name of a column may mean, `counts` how often it holds each cell.
    """
    groups: dict[str, list[Column]] = {}
    for column in columns:
        if column.name in candidates:
            groups.setdefault(key_of(column.header), []).append(column)
    linked: dict[str, Column] = {}
    unlinked: list[Unlinked] = []
    for group in groups.values():
        by_place = {c.name: {place_of(m): m for m in candidates[c.name]} for c in group}
        possible = {
            c.name: _possible(c, list(by_place[c.name].values()), survey, counts(c.name)) for c in group
        }
        meant = _told_apart(possible)
        for column in group:
            if column.name in meant:
                linked[column.name] = by_place[column.name][meant[column.name]]
            else:
                left = possible[column.name] or by_place[column.name]
                questions = tuple(sorted({question for question, *_ in left}))
                unlinked.append(Unlinked(column.name, column.header, questions))
    return linked, unlinked


def place_of(column: Column) -> Place:
    return (column.question, column.row, column.choice, column.iteration, column.role)


def _possible(
    column: Column, candidates: Sequence[Column], survey: Questionnaire, counts: Mapping[str, int]
) -> dict[Place, bool]:
    """The candidates that nothing rules out, and whether every cell speaks for them."""
    candidates = _by_words(column, candidates, survey)
    if len({place_of(c) for c in candidates}) == 1:
        return {place_of(candidates[0]): True}
    total = sum(counts.values())
    found = {}
    for candidate in candidates:
        strange = _strange(candidate, survey, counts)
        if strange < max(FEWEST_STRANGE, LEAST_STRANGE_SHARE * total):
            found[place_of(candidate)] = strange == 0
    return found


def _told_apart(possible: Mapping[str, Mapping[str | Place, bool]]) -> dict[str, Place]:
    """The place of each column that can have one only; nothing where two columns would have the same."""
    left = {name: dict(places) for name, places in possible.items()}
    meant: dict[str, Place] = {}
    while sure := {
        name: place
        for name, places in left.items()
        if len(places) == 1 and name not in meant
        for place, fits in places.items()
        if fits
    }:
        meant |= sure
        if len(set(meant.values())) < len(meant):
            return {}
        for name, places in left.items():
            if name not in meant:
                left[name] = {place: fits for place, fits in places.items() if place not in meant.values()}
    return meant


def _by_words(column: Column, candidates: Sequence[Column], survey: Questionnaire) -> Sequence[Column]:
    """Those whose words end the column's label; where the words of one end another's, the longest."""
    label = words_of(column.label)
    spoken = {id(c): _spoken(c, survey) for c in candidates}
    told = [c for c in candidates if spoken[id(c)] and label.endswith(spoken[id(c)])]
    longest = max((len(spoken[id(c)]) for c in told), default=0)
    return [c for c in told if len(spoken[id(c)]) == longest] or candidates


def _spoken(column: Column, survey: Questionnaire) -> str:
    question = survey.questions[column.question]
    place = question.choice_by_id.get(column.row or column.choice)
    return words_of(place.text if place is not None else question.text)


def _strange(candidate: Column, survey: Questionnaire, counts: Mapping[str, int]) -> int:
    """How many cells are neither a code nor a label of the candidate's choices; 0 where anything may be written."""
    choices = _choices(candidate, survey)
    if not choices:
        return 0
    known = {code(choice.value) for choice in choices} | {UNANSWERED}
    labels = {words_of(text) for choice in choices for text in (choice.text, choice.name) if text}
    return sum(
        count for cell, count in counts.items() if code(cell) not in known and words_of(cell) not in labels
    )


def _choices(candidate: Column, survey: Questionnaire) -> Sequence[Choice]:
    question = survey.questions[candidate.question]
    if candidate.role != "answer":
        return ()
    if question.kind == "single":
        return question.choices
    return question.answers if question.kind == "matrix" else ()
