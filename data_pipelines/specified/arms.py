"""Conditions of a study: combinations of levels, with the texts that people at them read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from data_pipelines.specified.deposit import Deposit
from data_pipelines.specified.texts import Part, parts_of
from socsci_jax.studies.specification import Arms, Condition, Study
from socsci_jax.studies.specification_checks import SLOT
from socsci_jax.studies.specification_parts import Text

NO_FACTOR = "everybody"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arm:
    """One condition: its name, its levels, the parts of the stimulus, what fills slots in questions."""

    name: str
    levels: Mapping[str, str]
    stimulus: str
    fills: Mapping[str, str]
    control: bool | None
    declared: Condition | None


class ArmTable:
    """Makes the arms of a study as their combinations of levels turn up."""

    def __init__(self, study: Study, deposit: Deposit):
        self.study = study
        self.level_parts = {
            (factor, level): None if what.text is None else parts_of(what.text, deposit)
            for factor, of in study.factors.items()
            for level, what in of.levels.items()
        }
        self.condition_parts = {
            name: parts_of(condition.text or (), deposit) for name, condition in study.conditions.items()
        }
        self.stimulus_parts = None if study.stimulus is None else parts_of(study.stimulus, deposit)
        self._arms: dict[tuple[str, ...], Arm | None] = {}

    def arm(self, levels: tuple[str, ...]) -> Arm | None:
        """The arm of people at these levels, in the order of `factors`; None where no declared condition fits."""
        if levels not in self._arms:
            self._arms[levels] = self._make(dict(zip(self.study.factors, levels, strict=True)))
        return self._arms[levels]

    def _make(self, levels: dict[str, str]) -> Arm | None:
        declared = None
        name = ", ".join(levels.values()) or NO_FACTOR
        if self.study.conditions:
            fitting = [
                n
                for n, c in self.study.conditions.items()
                if fits(self._factors_of(n, c), levels, condition=n)
            ]
            if len(fitting) != 1:
                return None
            name, declared = fitting[0], self.study.conditions[fitting[0]]
        own = {factor: self.level_text(factor, level) for factor, level in levels.items()}
        # A level's text may hold the slot of another factor: "She writes {task} with a machine."
        fills = {factor: filled(text, own) for factor, text in own.items()}
        fills["condition"] = filled(words(self.condition_parts.get(name, [])), fills)
        return Arm(
            name=name,
            levels=levels,
            stimulus=self._stimulus(levels, fills),
            fills=fills,
            control=self._control(levels, declared),
            declared=declared,
        )

    def _factors_of(self, name: str, condition: Condition) -> Arms:
        """A condition that names no levels is that of the only factor's level of its name."""
        if condition.factors or not self.study.factors:
            return condition.factors
        return {next(iter(self.study.factors)): (name,)}

    def level_text(self, factor: str, level: str) -> str:
        """What a slot of the factor becomes: the level's text, else its label or name."""
        parts = self.level_parts.get((factor, level))
        if parts is not None:
            return words(parts)
        what = self.study.factors[factor].levels.get(level)
        return (what.label if what is not None else None) or level

    def _stimulus(self, levels: Mapping[str, str], fills: Mapping[str, str]) -> str:
        """The template with its slots filled; without one, the condition's text and its levels' own texts."""
        if self.stimulus_parts is not None:
            texts = [filled(part.words, fills) for part in self.stimulus_parts]
        else:
            own = [self.level_parts.get((f, level)) for f, level in levels.items()]
            texts = [fills["condition"], *(words(parts) for parts in own if parts)]
            texts = [filled(text, fills) for text in texts]
        return "".join(f"{text}\n\n" for text in texts if text.strip())

    def _control(self, levels: Mapping[str, str], declared: Condition | None) -> bool | None:
        """Whether the arm is its study's control; None where the specification does not say which is."""
        if any(condition.control for condition in self.study.conditions.values()):
            return bool(declared is not None and declared.control)
        told = {f for f, what in self.study.factors.items() if any(lv.control for lv in what.levels.values())}
        if not told:
            return None
        return all(bool(self.study.factors[f].levels[levels[f]].control) for f in told)


def fits(arms: Arms, levels: Mapping[str, str], *, condition: str) -> bool:
    """Whether people at these levels, in this condition, belong to the arms."""
    return all(
        (condition if factor == "condition" else levels.get(factor)) in allowed
        for factor, allowed in arms.items()
    )


def words(parts: list[Part]) -> str:
    return "\n\n".join(part.words for part in parts if part.words)


def filled(text: str, fills: Mapping[str, str]) -> str:
    """The text with {factor} and {condition} filled in; other braces stay."""
    return SLOT.sub(lambda match: fills.get(match[1], match[0]), text)


def text_of(text: Text, deposit: Deposit, fills: Mapping[str, str]) -> str:
    return filled(words(parts_of(text, deposit)), fills)
