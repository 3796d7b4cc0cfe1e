"""The design of a survey as its respondents met it: factors with texts, who was at which level, what came before what."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

from data_pipelines.drafting.assignment import Assignment, assign
from data_pipelines.drafting.display import Appearance, appearances, at_levels, differing, randomizers_met
from data_pipelines.drafting.factors import Factor, Order, find_randomization
from data_pipelines.drafting.field_factors import field_factors
from data_pipelines.formats.qualtrics.export import Export
from data_pipelines.formats.qualtrics.questionnaire import FlowNode, Questionnaire
from data_pipelines.formats.qualtrics.text import piped_fields


@dataclasses.dataclass(frozen=True, kw_only=True)
class Design:
    """`factors` change what people read or are asked; `same_text` are draws that change nothing but an order.

    `seen` holds for each factor how every question meets people at its levels, `differing` those that meet them
    otherwise at different levels; `places` for each question the elements of randomizers above it.
    """

    survey: Questionnaire
    export: Export
    factors: Mapping[str, Factor]
    same_text: Mapping[str, Factor]
    orders: tuple[Order, ...]
    seen: Mapping[str, Mapping[str, tuple[Appearance, ...]]]
    differing: Mapping[str, Mapping[str, tuple[Appearance, ...]]]
    assignments: Mapping[str, Assignment]
    shown: Mapping[str, Appearance]
    places: Mapping[str, Mapping[str, str]]

    @functools.cached_property
    def nested(self) -> Mapping[str, Mapping[str, frozenset[int]]]:
        """For each factor the other ones at some of whose levels alone it is met: factor -> those levels' indices."""
        nested: dict[str, dict[str, frozenset[int]]] = {name: {} for name in self.factors}
        for outer, factor in self.factors.items():
            met = [randomizers_met(self.survey, at=[(factor, level)]) for level in factor.levels]
            for inner, other in self.factors.items():
                levels = frozenset(i for i, ids in enumerate(met) if ids.intersection(other.randomizers))
                if inner != outer and other.randomizers and len(levels) < len(factor.levels):
                    nested[inner][outer] = levels
        return nested

    def owners(self, text: str) -> tuple[str, ...]:
        """The factors that decide whether the text is shown and what it says; of nested ones the inner.

        None where it is shown to all and their slots fill it.
        """
        deciding = [name for name in self.factors if text in self.arm_texts[name] and self.is_own(name, text)]
        changing = self.own_factors(text)
        if not deciding and all(self.slot_field(name) for name in changing):
            return ()
        own = [name for name in self.factors if name in deciding or name in changing]
        return tuple(name for name in own if not any(name in self.nested[other] for other in own))

    @functools.cached_property
    def arm_texts(self) -> Mapping[str, tuple[str, ...]]:
        """For each factor its texts that are read and not answered, in flow order."""
        return {
            name: tuple(q for q in questions if self.is_reading(q))
            for name, questions in self.differing.items()
        }

    def is_reading(self, question_id: str) -> bool:
        """True for a text that stands for itself: nothing in its display depends on an answer."""
        question = self.survey.questions[question_id]
        depends = question.display is not None and any(
            c.source != "field" for g in question.display.groups for c in g.conditions
        )
        return question.kind == "text" and not depends and bool(question.text or question.media)

    def is_own(self, factor: str, question_id: str) -> bool:
        """True for what can be shown at some of the factor's levels alone."""
        return len(self.levels_showing(factor, question_id)) < len(self.factors[factor].levels)

    def slot_field(self, factor: str) -> str:
        """The field whose value is the text of the factor's levels; "" where one value is not all that people read of it."""
        chosen = self.factors[factor]
        texts = self.arm_texts[factor]
        if any(self.is_own(factor, text) for text in texts):
            return ""
        everywhere = set.intersection(*(set(level.fields) for level in chosen.levels))
        piped = [name for q in self.differing[factor] for name in piped_fields(self.survey.questions[q].text)]
        fitting = [name for name in piped if name in everywhere]
        slot = chosen.field if chosen.field in fitting else next(iter(fitting), "")
        # A text of its own block in which a name and a pronoun change is a text of the level.
        for text in texts:
            known = [{**seen.known, slot: ""} for seen in self.differing[factor][text]]
            if any(one != known[0] for one in known):
                return ""
        return slot

    def levels_showing(self, factor: str, question_id: str) -> frozenset[int]:
        """Indices of the levels at which the question can be shown."""
        seen = self.differing[factor].get(question_id)
        if seen is None:
            return frozenset(range(len(self.factors[factor].levels)))
        return frozenset(i for i, appearance in enumerate(seen) if appearance.shown is not False)

    def own_factors(self, question_id: str) -> tuple[str, ...]:
        """Factors that change the question itself for people who are all asked it."""
        factors = []
        for name, changes in self.differing.items():
            seen = changes.get(question_id.partition("#")[0])
            if seen is not None and len({(a.text, a.choices) for a in seen if a.shown is not False}) > 1:
                factors.append(name)
        return tuple(factors)

    def comes_before(self, text: str, question_id: str, *, factor: str) -> bool:
        """True if people at some level of the factor read the text before the question, whatever the draws of order."""
        here, there = self.places[text], self.places[question_id]
        if any(there.get(element, child) != child for element, child in here.items()):
            return False
        pairs = zip(self.seen[factor][text], self.seen[factor][question_id], strict=True)
        return any(
            t.shown is not False and q.shown is not False and t.position < q.position for t, q in pairs
        )


def read_design(survey: Questionnaire, export: Export) -> Design:
    """Finds the factors and assigns every respondent."""
    randomization = find_randomization(survey)
    candidates = {
        factor.name: factor
        for factor in (*randomization.factors, *field_factors(survey, export, randomization.factors))
    }
    seen = {name: at_levels(survey, factor) for name, factor in candidates.items()}
    changes = {name: differing(each) for name, each in seen.items()}
    return Design(
        survey=survey,
        export=export,
        factors={name: factor for name, factor in candidates.items() if changes[name]},
        same_text={name: factor for name, factor in candidates.items() if not changes[name]},
        orders=randomization.orders,
        seen=seen,
        differing={name: change for name, change in changes.items() if change},
        assignments={
            name: assign(factor, changes[name], survey, export) for name, factor in candidates.items()
        },
        shown=appearances(survey),
        places=_places(survey),
    )


def _places(survey: Questionnaire) -> dict[str, dict[str, str]]:
    places: dict[str, dict[str, str]] = {}

    def walk(node: FlowNode, above: Mapping[str, str]) -> None:
        block = survey.blocks.get(node.block) if node.kind == "block" else None
        for question in block.questions if block is not None else ():
            inner = {block.id: question} if question in block.pool else {}
            # A block that stands in several places (one per order) is in none of them for sure.
            known = places.get(question)
            here = {**above, **inner}
            places[question] = here if known is None else {k: v for k, v in known.items() if here.get(k) == v}
        for child in node.children:
            walk(child, {**above, node.id: child.id} if node.kind == "randomizer" else above)

    walk(survey.flow, {})
    return {question: places.get(question, {}) for question in survey.questions}
