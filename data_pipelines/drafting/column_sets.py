"""Columns that stand in each other's place: one outcome, asked in other words at each level of a factor."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

from data_pipelines.drafting.asked import Asked
from data_pipelines.drafting.design import Design
from data_pipelines.formats.qualtrics.text import words_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColumnSet:
    """The same outcome at several levels of a factor: the columns by level index."""

    factor: str
    by_level: Mapping[int, Asked]
    name: str
    same_labels: bool


def aligned(design: Design, asked: Sequence[Asked]) -> list[ColumnSet]:
    """Columns that stand in each other's place at the levels of one factor."""
    sets = []
    for name, factor in design.factors.items():
        own: dict[int, list[Asked]] = {i: [] for i in range(len(factor.levels))}
        for one in asked:
            bare = one.question.id.partition("#")[0]
            # What two factors decide together stands in nobody's place at the levels of one of them.
            alone = sum(
                len(design.levels_showing(other, bare)) < len(factor_.levels)
                for other, factor_ in design.factors.items()
                if bare in design.differing[other]
            )
            levels = (
                design.levels_showing(name, bare)
                if alone == 1 and bare in design.differing[name]
                else frozenset()
            )
            if len(levels) == 1 and not design.survey.blocks[design.shown[bare].block].loop:
                own[next(iter(levels))].append(one)
        filled_levels = {i: _in_flow_order(design, columns) for i, columns in own.items() if columns}
        if len(filled_levels) < 2 or len({len(columns) for columns in filled_levels.values()}) > 1:
            continue
        rows = [
            dict(zip(filled_levels, row, strict=True)) for row in zip(*filled_levels.values(), strict=True)
        ]
        if all(_fits(design, row) for row in rows):
            sets += [_set(name, [level.name for level in factor.levels], row) for row in rows]
    return sets


def _in_flow_order(design: Design, columns: Sequence[Asked]) -> list[Asked]:
    """In the order in which people met them, whatever the order of the export's columns."""

    def place(one: Asked) -> tuple[int, int, int, int]:
        question, column = one.question, one.column
        rows = [choice.id for choice in question.choices]
        picked = [
            choice.id
            for choice in (question.answers if question.kind == "matrix_multiple" else question.choices)
        ]
        return (
            design.shown[question.id.partition("#")[0]].position,
            int(question.id.partition("#")[2] or 0) if question.id.partition("#")[2].isdigit() else 0,
            rows.index(column.row) if column.row in rows else len(rows),
            picked.index(column.choice) if column.choice in picked else len(picked),
        )

    return sorted(columns, key=place)


def _fits(design: Design, row: Mapping[int, Asked]) -> bool:
    """True if the columns can be one outcome: same kind, same number of levels, same rows, no factor of their own."""
    first = next(iter(row.values()))
    return all(
        one.question.kind == first.question.kind
        and one.scale.size == first.scale.size
        and (one.scale.lo, one.scale.hi) == (first.scale.lo, first.scale.hi)
        and words_of(one.label) == words_of(first.label)
        and design.own_factors(one.question.id) == design.own_factors(first.question.id)
        for one in row.values()
    )


def _set(factor: str, levels: Sequence[str], row: Mapping[int, Asked]) -> ColumnSet:
    first = row[min(row)]
    labels = [[words_of(label) for label in one.scale.levels.values()] for one in row.values()]
    return ColumnSet(
        factor=factor,
        by_level=row,
        name=_common_name([one.column.header + one.suffix for one in row.values()]) or first.name,
        same_labels=all(own == labels[0] for own in labels),
    )


def _common_name(names: Sequence[str]) -> str:
    """What names share word by word, if all that differs is one word ("OPTIN_Green", "OPTOUT_Green": "Green")."""
    words = [re.split(r"[_.\s-]+", name) for name in names]
    if len({len(own) for own in words}) > 1 or len(words[0]) < 2:
        return ""
    common = [column[0] for column in zip(*words, strict=True) if len(set(column)) == 1]
    name = "_".join(common)
    return name if len(common) == len(words[0]) - 1 and not name.isdigit() else ""
