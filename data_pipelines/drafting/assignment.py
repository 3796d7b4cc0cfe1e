"""Which level of a factor each respondent was at, by every trace that the export holds.

Traces: the display order of the randomizer, the embedded data that a level sets, and questions that only people at
one level could answer.  The first that knows a respondent counts; the others are compared with it, and what they
say otherwise is counted.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping

import numpy as np

from data_pipelines.drafting.display import Appearance
from data_pipelines.drafting.factors import Factor
from data_pipelines.formats.qualtrics.columns import Column, key_of
from data_pipelines.formats.qualtrics.export import Export, cells
from data_pipelines.formats.qualtrics.questionnaire import Questionnaire


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trace:
    """What one kind of trace says: a level's index per respondent, None where it is silent.

    It is written down as a `column` whose `values` belong to levels, as columns that are filled at each level
    (`present`), or as several traces of which each respondent has one (`either`); none of these where it takes
    more than one column per level.
    """

    source: str
    levels: tuple[int | None, ...]
    column: str = ""
    values: tuple[tuple[str, ...], ...] = ()
    present: tuple[str, ...] = ()
    either: tuple[Trace, ...] = ()

    def where(self, level: int) -> list[dict[str, dict]]:
        """What the cells of respondents at the level say: one of these."""
        if self.either:
            return [where for trace in self.either for where in trace.where(level)]
        if self.column:
            return [{self.column: {"is": list(self.values[level])}}]
        return [{self.present[level]: {"present": True}}]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are empty for who is at no level."""
        inner = tuple(column for trace in self.either for column in trace.columns)
        return inner or ((self.column,) if self.column else self.present)

    @property
    def known(self) -> int:
        return sum(level is not None for level in self.levels)

    @property
    def can_be_written(self) -> bool:
        return bool(self.column or self.present or self.either)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Assignment:
    """Levels of all respondents; `traces` in the order in which they were believed; `conflicts` counts respondents
    of whom two traces say different things."""

    levels: tuple[int | None, ...]
    traces: tuple[Trace, ...]
    conflicts: int

    @functools.cached_property
    def codes(self) -> np.ndarray:
        """The levels as numbers [R], -1 where not known."""
        return np.array([-1 if level is None else level for level in self.levels], dtype=np.int64)

    @property
    def counts(self) -> Mapping[int | None, int]:
        counts: dict[int | None, int] = {}
        for level in self.levels:
            counts[level] = counts.get(level, 0) + 1
        return counts

    @property
    def written(self) -> Trace | None:
        """The trace to write into a specification: the one that knows most respondents and contradicts no other."""
        usable = [
            trace
            for trace in self.traces
            if trace.can_be_written
            and all(a is None or a == b for a, b in zip(trace.levels, self.levels, strict=True))
        ]
        return max(usable, key=lambda trace: (trace.known, bool(trace.column)), default=None)


def assign(
    factor: Factor,
    differing: Mapping[str, tuple[Appearance, ...]],
    survey: Questionnaire,
    export: Export,
) -> Assignment:
    """The level of each respondent of the export."""
    traces = [
        trace
        for trace in (
            *_orders(factor, survey, export),
            *_fields(factor, export),
            *_answers(factor, differing, export),
        )
        if trace.known
    ]
    levels: list[int | None] = [None] * export.table.height
    conflicting: set[int] = set()
    for trace in traces:
        for i, level in enumerate(trace.levels):
            if levels[i] is None:
                levels[i] = level
            elif level is not None and level != levels[i]:
                conflicting.add(i)
    return Assignment(levels=tuple(levels), traces=tuple(traces), conflicts=len(conflicting))


def _orders(factor: Factor, survey: Questionnaire, export: Export) -> Iterator[Trace]:
    """One trace for each of the factor's randomizers, and one of all of them together."""
    single = []
    for randomizer in factor.randomizers:
        columns = [c for c in export.columns if c.role == "order" and c.order_of == randomizer]
        if not columns and randomizer in survey.blocks:
            prefix = key_of(survey.blocks[randomizer].name).replace("_", "")
            columns = [
                c
                for c in export.columns
                if c.role == "order"
                and prefix
                and key_of(c.header.split("_DO")[0]).replace("_", "") == prefix
            ]
        keys = [
            frozenset().union(*(_keys(element, survey) for element in level.elements.get(randomizer, ())))
            for level in factor.levels
        ]
        split = [c for c in columns if c.shown]
        if split:
            single.append(_of_split(factor, randomizer, split, keys, export))
        elif columns:
            single.append(_of_joined(factor, randomizer, columns[0], keys, export))
    if len(single) > 1:
        merged = tuple(
            next((level for level in row if level is not None), None)
            for row in zip(*(trace.levels for trace in single), strict=True)
        )
        known = [
            [level for level in row if level is not None]
            for row in zip(*(t.levels for t in single), strict=True)
        ]
        apart = all(trace.can_be_written for trace in single) and all(len(levels) <= 1 for levels in known)
        yield Trace(
            source=f"display order of {', '.join(factor.randomizers)}",
            levels=merged,
            either=tuple(single) if apart else (),
        )
    yield from single


def _keys(element: str, survey: Questionnaire) -> frozenset[str]:
    """All names under which an export may list the element."""
    names = {element}
    if element in survey.questions:
        names.add(survey.questions[element].tag)
    for node in survey.flow.walk():
        if node.id == element:
            names |= {node.name, node.block}
            if node.block in survey.blocks:
                names.add(survey.blocks[node.block].name)
    return frozenset(key_of(name).replace("_", "") for name in names if name)


def _level_of(shown: str, keys: list[frozenset[str]]) -> int | None:
    key = key_of(shown).replace("_", "")
    fitting = [i for i, names in enumerate(keys) if key in names]
    return fitting[0] if len(fitting) == 1 else None


def _of_split(
    factor: Factor, randomizer: str, columns: list[Column], keys: list[frozenset[str]], export: Export
) -> Trace:
    """Columns such as `FL_7_DO_Control`: the place in which it was shown, empty if it was not."""
    places: list[dict[int, float]] = [{} for _ in range(export.table.height)]
    present: list[list[str]] = [[] for _ in factor.levels]
    for column in columns:
        level = _level_of(column.shown, keys)
        if level is None:
            continue
        present[level].append(column.name)
        for i, cell in enumerate(cells(export.table, column.name)):
            if (place := _number(cell)) is not None and place > 0:
                places[i][level] = place
    if factor.kind == "last":
        levels = tuple(max(seen, key=seen.get) if seen else None for seen in places)
        present = []
    else:
        levels = tuple(next(iter(seen)) if len(seen) == 1 else None for seen in places)
    return Trace(
        source=f"display order of {randomizer}",
        levels=levels,
        present=tuple(names[0] for names in present) if present and all(len(n) == 1 for n in present) else (),
    )


def _of_joined(
    factor: Factor, randomizer: str, column: Column, keys: list[frozenset[str]], export: Export
) -> Trace:
    """One column such as `FL_7_DO` with what was shown, in order, between bars."""
    levels: list[int | None] = []
    values: list[dict[str, None]] = [{} for _ in factor.levels]
    for cell in cells(export.table, column.name):
        seen = [level for part in cell.split("|") if (level := _level_of(part, keys)) is not None]
        level = (seen[-1] if factor.kind == "last" else seen[0] if len(seen) == 1 else None) if seen else None
        levels.append(level)
        if level is not None:
            values[level][cell] = None
    return Trace(
        source=f"display order of {randomizer}",
        levels=tuple(levels),
        column=column.name if all(values) else "",
        values=tuple(map(tuple, values)) if all(values) else (),
    )


def _fields(factor: Factor, export: Export) -> Iterator[Trace]:
    """One trace for each field that has another value at every level."""
    shared = set.intersection(*(set(level.fields) for level in factor.levels))
    for name in sorted(shared, key=lambda n: (n != factor.field, n)):
        column = export.field(name)
        wanted = [_plain(level.fields[name]) for level in factor.levels]
        if column is None or len(set(wanted)) < len(wanted):
            continue
        place = {value: i for i, value in enumerate(wanted)}
        placed = [(cell, place.get(_plain(cell))) for cell in cells(export.table, column.name)]
        values = tuple(
            tuple(dict.fromkeys(cell for cell, level in placed if level == i))
            or (factor.levels[i].fields[name],)
            for i in range(len(wanted))
        )
        yield Trace(
            source=f"embedded data {name}",
            levels=tuple(level for _, level in placed),
            column=column.name,
            values=values,
        )


def _answers(
    factor: Factor, differing: Mapping[str, tuple[Appearance, ...]], export: Export
) -> Iterator[Trace]:
    """Questions that can be shown at one level alone: who answered one was at that level."""
    own: list[list[Column]] = [[] for _ in factor.levels]
    for question, seen in differing.items():
        at = [i for i, appearance in enumerate(seen) if appearance.shown is not False]
        if len(at) == 1:
            own[at[0]] += [
                c for c in export.columns if c.question == question and c.role in ("answer", "timing")
            ]
    if not any(own):
        return
    answered: list[set[int]] = [set() for _ in range(export.table.height)]
    counts: list[dict[str, int]] = [{} for _ in factor.levels]
    for level, columns in enumerate(own):
        for column in columns:
            for i, cell in enumerate(cells(export.table, column.name)):
                if cell:
                    answered[i].add(level)
                    counts[level][column.name] = counts[level].get(column.name, 0) + 1
    levels = tuple(next(iter(seen)) if len(seen) == 1 else None for seen in answered)
    sizes = [sum(level == i for level in levels) for i in range(len(own))]
    # Answers before clicks: a specification reads better, and deposits drop timings first.
    whole = [
        next((c.name for c in sorted(own[i], key=lambda c: c.role) if counts[i].get(c.name) == sizes[i]), "")
        for i in range(len(own))
    ]
    yield Trace(
        source="questions that only one level answers",
        levels=levels,
        present=tuple(whole) if all(whole) else (),
    )


def _plain(value: str) -> str:
    number = _number(value)
    return repr(number) if number is not None else key_of(value) or value.strip()


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if number == number else None
