"""How an outcome met people at some levels: another column, other words, other labels."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

from data_pipelines.drafting.asked import Asked
from data_pipelines.drafting.choice_scales import DraftScale
from data_pipelines.drafting.column_sets import ColumnSet
from data_pipelines.drafting.design import Design
from data_pipelines.drafting.wording import LOOP, At, Part, Wording, iteration_name, words_read

# Wordings of one outcome that a person would still read through.
MOST_VARIANTS = 60


@dataclasses.dataclass(frozen=True, kw_only=True)
class DraftVariant:
    """How people at some levels met an outcome; what is None is as at the other levels.

    `codes` says which code of the scale a code in its column stands for, where the two differ.
    """

    arms: Mapping[str, str]
    asked: Asked
    column: str | None
    question: tuple[Part, ...] | None
    scale: DraftScale | None
    codes: Mapping[str, str] = dataclasses.field(default_factory=dict)


def variants_of(
    wording: Wording, one: Asked, one_set: ColumnSet | None, own: Sequence[str]
) -> tuple[tuple[DraftVariant, ...], list[str]]:
    """How the outcome met people wherever that is not as its question says, and what is piped in and told nowhere.

    The first variant that fits an arm counts, so levels of several factors that change its words are told together.
    """
    at_level = {} if one_set is None else one_set.by_level
    columns = list(at_level.values()) or [one]
    axes: list[list[At]] = []
    if one_set is not None:
        axes.append([(one_set.factor, i) for i in at_level])
    candidates = [
        [(name, i) for i in range(len(wording.design.factors[name].levels))]
        for name in own
        if one_set is None or name != one_set.factor
    ]
    if LOOP in wording.slots:
        candidates.append([(LOOP, iteration) for iteration in _iterations(wording.design, one)])
    axes += [axis for axis in candidates if any(_differs(wording, c, [at]) for c in columns for at in axis)]
    if math.prod(len(axis) for axis in axes) > MOST_VARIANTS:
        axes = axes[: int(one_set is not None)]
    variants: list[DraftVariant] = []
    untold: dict[str, None] = {}
    for at in itertools.product(*axes):
        asked = at_level[at[0][1]] if one_set is not None and isinstance(at[0][1], int) else one
        untold |= dict.fromkeys(wording.untold(asked, at))
        question, scale = wording.parts(asked, at), wording.scale(asked, at)
        other_words = _read(wording, question) != _read(wording, wording.parts(one))
        other_scale = scale != wording.scale(one)
        if asked is not one or other_words or other_scale:
            variants.append(
                DraftVariant(
                    arms={name: _level_name(wording.design, one, name, level) for name, level in at},
                    asked=asked,
                    column=asked.column.name if asked is not one else None,
                    question=question if other_words else None,
                    scale=scale if other_scale else None,
                )
            )
    return tuple(variants), list(untold)


def _differs(wording: Wording, one: Asked, at: Sequence[At]) -> bool:
    return wording.parts(one, at) != wording.parts(one) or wording.scale(one, at) != wording.scale(one)


def _read(wording: Wording, parts: Sequence[Part]) -> list[str]:
    return [words_read(wording.design, part) for part in parts]


def _iterations(design: Design, one: Asked) -> list[str]:
    """The iterations of the loop that the export has the question's answers of."""
    of_it = design.export.of_question(one.column.question)
    return list(dict.fromkeys(c.iteration for c in of_it if c.iteration))


def _level_name(design: Design, one: Asked, factor: str, level: int | str) -> str:
    if isinstance(level, int):
        return design.factors[factor].levels[level].name
    block = design.survey.blocks[design.shown[one.question.id.partition("#")[0]].block]
    return iteration_name(design, block, level)
