"""What people at a level of a factor are shown: the flow is walked with what the level sets.

Whatever depends on answers, on other draws or on fields from outside is unknown, not assumed.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

from data_pipelines.drafting.factors import Factor, Level, fields_set
from data_pipelines.formats.qualtrics.questionnaire import FlowNode, Questionnaire
from data_pipelines.formats.qualtrics.text import PIPE, piped_fields


@dataclasses.dataclass(frozen=True, kw_only=True)
class Appearance:
    """How a question meets people: shown for sure (True), never (False) or perhaps (None), and its texts.

    `known` are the values of the fields that are piped into it, where everybody who is shown it has the same.
    """

    shown: bool | None
    text: str
    choices: tuple[str, ...]
    position: int
    block: str
    known: Mapping[str, str]


def appearances(survey: Questionnaire, *, at: Sequence[tuple[Factor, Level]] = ()) -> dict[str, Appearance]:
    """Every question, as people at these levels meet it; the flow may not reach it any more (no block)."""
    walk = _walked(survey, at)
    for position, (question_id, question) in enumerate(survey.questions.items(), start=walk.met + 1):
        if question_id not in walk.found:
            walk.found[question_id] = Appearance(
                shown=None,
                text=question.text,
                choices=tuple(c.text for c in (*question.choices, *question.answers)),
                position=position,
                block="",
                known={},
            )
    return walk.found


def randomizers_met(survey: Questionnaire, *, at: Sequence[tuple[Factor, Level]]) -> frozenset[str]:
    """Ids of the randomizers that people at these levels can meet."""
    return frozenset(_walked(survey, at).met_randomizers)


def _walked(survey: Questionnaire, at: Sequence[tuple[Factor, Level]]) -> _Walk:
    fields: dict[str, str | None] = {}
    chosen: dict[str, tuple[str, ...]] = {}
    for factor, level in at:
        # At another level of a factor that is drawn in exclusive places, its other draws are not met.
        chosen |= dict.fromkeys(factor.randomizers, ()) | dict(level.elements)
        if factor.kind == "field":
            fields |= level.fields
    walk = _Walk(survey=survey, chosen=chosen, fixed=frozenset(fields), fields=fields)
    walk.element(survey.flow, True)
    return walk


def at_levels(survey: Questionnaire, factor: Factor) -> dict[str, tuple[Appearance, ...]]:
    """Every question in flow order: how it meets people at each level of the factor."""
    per_level = [appearances(survey, at=[(factor, level)]) for level in factor.levels]
    return {
        question: tuple(shown[question] for shown in per_level)
        for question in sorted(per_level[0], key=lambda q: min(shown[q].position for shown in per_level))
    }


def differing(seen: Mapping[str, tuple[Appearance, ...]]) -> dict[str, tuple[Appearance, ...]]:
    """Those of the questions that meet people otherwise at different levels."""
    return {
        question: each
        for question, each in seen.items()
        if len({(a.shown is False, a.text, a.choices) for a in each}) > 1
    }


def filled(text: str, fields: Mapping[str, str | None]) -> str:
    """The text with the values of the fields that are known, by the keys of `field_key`."""

    def value(match: re.Match[str]) -> str:
        known = fields.get(field_key(match)) if match["source"] in ("e", "lm") else None
        return known if known is not None else match[0]

    return PIPE.sub(value, text)


def field_key(match: re.Match[str]) -> str:
    """What a pipe stands for: the name of embedded data, or a field of the loop around it."""
    name = match["path"].removeprefix("Field/")
    return looped_key(name) if match["source"] == "lm" else name


def looped_key(number: str) -> str:
    """The key of a loop's field, which no embedded data has."""
    return f"lm://Field/{number}"


@dataclasses.dataclass
class _Walk:
    survey: Questionnaire
    chosen: Mapping[str, tuple[str, ...]]
    fixed: frozenset[str]
    fields: dict[str, str | None]
    found: dict[str, Appearance] = dataclasses.field(default_factory=dict)
    # Fields that people at the level have, wherever the draw stands.
    sure: set[str] = dataclasses.field(default_factory=set)
    met_randomizers: set[str] = dataclasses.field(default_factory=set)
    met: int = 0

    def element(self, node: FlowNode, shown: bool | None) -> None:
        match node.kind:
            case "block":
                self.block(node.block, shown)
            case "fields":
                self.set_fields(node, shown)
            case "randomizer":
                self.randomizer(node, shown)
            case "branch":
                if node.id in self.chosen:
                    holds: bool | None = bool(self.chosen[node.id])
                else:
                    holds = node.logic.holds(self.fields) if node.logic is not None else None
                before = dict(self.fields)
                self.children(node, _both(shown, holds))
                if holds is None:
                    self.forget(before)
            case _:
                self.children(node, shown)

    def children(self, node: FlowNode, shown: bool | None) -> None:
        for child in node.children:
            self.element(child, shown)

    def set_fields(self, node: FlowNode, shown: bool | None) -> None:
        """What is set in a place that perhaps is not met is known as long as the walk is in that place."""
        for field in node.fields:
            if shown is not False and field.name not in self.fixed and field.value is not None:
                self.fields[field.name] = field.value if "${" not in field.value else None
                self.sure.discard(field.name)

    def forget(self, before: Mapping[str, str | None]) -> None:
        """Fields that were set since are unknown: not everybody met the place."""
        for name in {name for name in self.fields if self.fields[name] != before.get(name)} - self.sure:
            self.fields[name] = None

    def randomizer(self, node: FlowNode, shown: bool | None) -> None:
        if shown is not False:
            self.met_randomizers.add(node.id)
        if node.id in self.chosen:
            for child in node.children:
                # The draw may stand in a branch; what it sets is known to those at the level.
                if child.id in self.chosen[node.id][:1] and shown is not False:
                    self.fields |= fields_set(child)
                    self.element(child, shown)
                    self.fields |= fields_set(child)
                    self.sure |= set(fields_set(child))
                else:
                    self.element(child, False)
            return
        every = node.shown >= len(node.children)
        before = dict(self.fields)
        for child in node.children:
            self.element(child, shown if every else _both(shown, None))
            if not every:
                self.forget(before)
        if len(node.children) > 1:
            self.forget(before)

    def block(self, block_id: str, shown: bool | None) -> None:
        block = self.survey.blocks.get(block_id)
        if block is None:
            return
        if shown is not False:
            self.met_randomizers.add(block_id)
        for question_id in block.questions:
            question = self.survey.questions.get(question_id)
            if question is None or question_id in block.hidden:
                continue
            here = shown
            if question_id in block.pool:
                drawn = self.chosen.get(block_id)
                here = _both(shown, None if drawn is None else question_id in drawn)
            if question.display is not None:
                here = _both(here, question.display.holds(self.fields))
            self.met += 1
            known = self.found.get(question_id)
            if known is not None and (known.shown is not False or here is False):
                if here is True and known.shown is None:
                    self.found[question_id] = dataclasses.replace(known, shown=True)
                continue
            texts = (question.text, *(c.text for c in (*question.choices, *question.answers)))
            piped = piped_fields("\n".join(texts))
            self.found[question_id] = Appearance(
                shown=here,
                text=filled(question.text, self.fields),
                choices=tuple(filled(text, self.fields) for text in texts[1:]),
                position=self.met,
                block=block_id,
                known={name: value for name in piped if (value := self.fields.get(name)) is not None},
            )


def _both(a: bool | None, b: bool | None) -> bool | None:
    if a is False or b is False:
        return False
    return None if a is None or b is None else True
