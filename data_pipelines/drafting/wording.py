"""How a question is worded: what is read right before it, what is piped in, and what plain text cannot show."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence

from data_pipelines.drafting.asked import Asked
from data_pipelines.drafting.choice_scales import DraftScale, scale_of_choices
from data_pipelines.drafting.design import Design
from data_pipelines.drafting.display import filled
from data_pipelines.formats.qualtrics.questionnaire import Question
from data_pipelines.formats.qualtrics.text import PIPE, words_of

# The name of the factor that tells the iterations of a loop apart.
LOOP = "loop"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """One part of a text: a question of the survey file by its id, or words that stand in it."""

    question: str = ""
    words: str = ""
    replace: Mapping[str, str] = dataclasses.field(default_factory=dict)


def slot_field(design: Design, factor: str) -> str:
    """The field whose value is the text of the factor's levels; "" where levels have texts of their own."""
    chosen = design.factors[factor]
    if any(is_own(design, factor, text) for text in design.arm_texts[factor]):
        return ""
    everywhere = set.intersection(*(set(level.fields) for level in chosen.levels))
    piped = [
        match["path"].removeprefix("Field/")
        for question in design.differing[factor]
        for match in PIPE.finditer(design.survey.questions[question].text)
    ]
    fitting = [name for name in piped if name in everywhere]
    return chosen.field if chosen.field in fitting else next(iter(fitting), "")


def is_own(design: Design, factor: str, question: str) -> bool:
    return len(design.levels_showing(factor, question)) < len(design.factors[factor].levels)


def text_parts(
    design: Design, question: Question, factors: Sequence[str], fields: Mapping[str, str]
) -> tuple[Part, ...]:
    """The question's text with factors' slots and known fields in the place of what is piped in."""
    if not question.text:
        return ()
    return (Part(question=question.id, replace=_replacements(design, question.text, factors, fields)),)


def _replacements(
    design: Design, text: str, factors: Sequence[str], fields: Mapping[str, str]
) -> dict[str, str]:
    slots = {slot_field(design, factor): factor for factor in factors if factor != LOOP}
    replacements = {}
    for match in PIPE.finditer(text):
        name = match["path"].removeprefix("Field/")
        if match["source"] == "lm":
            replacements[match[0]] = (
                "{loop}" if name == "1" and LOOP in factors else f"[field {name} of the loop]"
            )
        elif name in slots and match["source"] == "e":
            replacements[match[0]] = "{" + slots[name] + "}"
        elif name in fields and match["source"] == "e":
            replacements[match[0]] = fields[name]
        else:
            replacements[match[0]] = f"[{name}]"
    return replacements


def _words(design: Design, text: str, factors: Sequence[str], fields: Mapping[str, str]) -> str:
    for pipe, words in _replacements(design, text, factors, fields).items():
        text = text.replace(pipe, words)
    return text


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wording:
    """How questions of one outcome are worded: factors with slots, and texts that are read before anyway."""

    design: Design
    slots: tuple[str, ...]
    texts: tuple[str, ...]

    def known(self, question_id: str, at: tuple[str, int] | None) -> Mapping[str, str]:
        """Fields whose values are known to everybody (at a level of a factor) who meets the question."""
        bare = question_id.partition("#")[0]
        known = dict(self.design.shown[bare].known)
        if at is not None:
            factor, level = at
            known |= self.design.factors[factor].levels[level].fields
            known |= self.design.seen[factor][bare][level].known
        return known

    def parts(self, one: Asked, at: tuple[str, int] | None = None) -> tuple[Part, ...]:
        """What is read right before the question, the question, and its row."""
        known = self.known(one.question.id, at)
        parts: list[Part] = []
        for text in _context(self.design, one.question.id, self.texts):
            question = self.design.survey.questions[text]
            parts += text_parts(self.design, question, self.slots, self.known(text, at))
        bare, _, beside = one.question.id.partition("#")
        parts += text_parts(self.design, self.design.survey.questions[bare], self.slots, known)
        if beside and one.question.text:
            parts.append(Part(words=_words(self.design, one.question.text, self.slots, known)))
        if one.label:
            parts.append(Part(words=_words(self.design, one.label, self.slots, known)))
        return tuple(parts)

    def scale(self, one: Asked, at: tuple[str, int] | None = None) -> DraftScale:
        """The scale with the labels that people (at a level of a factor) saw."""
        labels = [filled(choice.text, self.known(one.question.id, at)) for choice in one.choices]
        if one.question.kind not in ("single", "matrix") or labels == [c.text for c in one.choices]:
            return one.scale
        return scale_of_choices(one.choices, texts=labels)


def _context(design: Design, question_id: str, texts: Sequence[str]) -> list[str]:
    """The nearest texts above the question in its block that all who are asked it have read."""
    bare = question_id.partition("#")[0]
    block = design.survey.blocks.get(design.shown[bare].block)
    if block is None or bare not in block.questions or block.shuffled or block.pool:
        return []
    above: list[str] = []
    for other in reversed(block.questions[: block.questions.index(bare)]):
        question = design.survey.questions.get(other)
        if question is None or other not in design.shown:
            continue
        if question.kind == "text":
            if other not in texts and design.is_reading(other) and read_by_all(design, other, bare):
                above.insert(0, other)
        elif above and question.kind not in ("timing", "meta", "captcha"):
            break
    return above


def read_by_all(design: Design, text: str, question: str) -> bool:
    return all(
        design.levels_showing(name, question) <= design.levels_showing(name, text) for name in design.factors
    )


def words_read(design: Design, part: Part) -> str:
    text = design.survey.questions[part.question].text if part.question else part.words
    for pipe, words in part.replace.items():
        text = text.replace(pipe, words)
    return words_of(text)


def unfilled(wording: Wording, one: Asked) -> list[str]:
    """Holes for what is piped into the question and known of nobody, and for what plain text cannot show."""
    factors = wording.design.factors
    known = {name for f in wording.slots if f != LOOP for level in factors[f].levels for name in level.fields}
    known |= set(wording.known(one.question.id, None))
    bare = one.question.id.partition("#")[0]
    for factor in wording.slots:
        if factor != LOOP:
            known |= {name for seen in wording.design.seen[factor][bare] for name in seen.known}
    missing = []
    for match in PIPE.finditer("\n".join((one.question.text, one.label, *(c.text for c in one.choices)))):
        name = match["path"].removeprefix("Field/")
        told = (
            name in known
            if match["source"] == "e"
            else name == "1" and match["source"] == "lm" and LOOP in wording.slots
        )
        if not told and match[0] not in missing:
            missing.append(match[0])
    holes = [f"{', '.join(missing)} is piped into it, and its value is not told"] if missing else []
    media = (*one.question.media, *(m for c in one.question.choices for m in c.media))
    if media:
        counted = collections.Counter(media)
        holes.append("it shows " + ", ".join(f"{n} {what}(s)" for what, n in sorted(counted.items())))
    return holes
