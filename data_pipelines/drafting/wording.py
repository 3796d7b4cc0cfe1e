"""How a question is worded: what is read right before it, what is piped in, and what plain text cannot show."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence

from data_pipelines.drafting.asked import Asked
from data_pipelines.drafting.choice_scales import DraftScale, scale_of_choices
from data_pipelines.drafting.design import Design
from data_pipelines.drafting.display import field_key, filled, looped_key
from data_pipelines.formats.qualtrics.questionnaire import Block, Question
from data_pipelines.formats.qualtrics.text import PIPE, words_of

# The name of the factor that tells the iterations of a loop apart.
LOOP = "loop"
# A longer text is no name of a level.
MOST_CHARACTERS = 200


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """One part of a text: a question of the survey file by its id, or words that stand in it.

    `untold` are what is piped into it with values that are known of nobody.
    """

    question: str = ""
    words: str = ""
    replace: Mapping[str, str] = dataclasses.field(default_factory=dict)
    untold: tuple[str, ...] = ()


# A level of a factor by its place, or an iteration of the loop by its name.
At = tuple[str, int | str]


def text_parts(
    design: Design, question: Question, factors: Sequence[str], fields: Mapping[str, str]
) -> tuple[Part, ...]:
    """The question's text with factors' slots and known fields in the place of what is piped in."""
    if not question.text:
        return ()
    replace, untold = _replacements(design, question.text, factors, fields)
    return (Part(question=question.id, replace=replace, untold=untold),)


def _replacements(
    design: Design, text: str, factors: Sequence[str], fields: Mapping[str, str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """What stands in the place of each pipe, and the pipes of which nothing is known."""
    slots = {design.slot_field(factor): factor for factor in factors if factor != LOOP}
    replacements: dict[str, str] = {}
    untold: list[str] = []
    for match in PIPE.finditer(text):
        name = match["path"].removeprefix("Field/")
        is_looped, is_field = match["source"] == "lm", match["source"] == "e"
        if is_looped and name == "1" and LOOP in factors:
            told = "{" + LOOP + "}"
        elif is_field and name in slots:
            told = "{" + slots[name] + "}"
        elif (is_field or is_looped) and (key := field_key(match)) in fields:
            told = fields[key]
        else:
            told = f"[field {name} of the loop]" if is_looped else f"[{name}]"
            untold.append(match[0])
        replacements[match[0]] = told
    return replacements, tuple(dict.fromkeys(untold))


def _of_words(design: Design, text: str, factors: Sequence[str], fields: Mapping[str, str]) -> Part:
    replace, untold = _replacements(design, text, factors, fields)
    for pipe, told in replace.items():
        text = text.replace(pipe, told)
    return Part(words=text, untold=untold)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wording:
    """How questions of one outcome are worded: factors with slots, and texts that are read before anyway."""

    design: Design
    slots: tuple[str, ...]
    texts: tuple[str, ...]

    def known(self, question_id: str, at: Sequence[At] = ()) -> Mapping[str, str]:
        """Fields whose values are known to everybody (at these levels) who meets the question."""
        bare = question_id.partition("#")[0]
        known = dict(self.design.shown[bare].known)
        for factor, level in at:
            if isinstance(level, str):
                known |= self.iteration_fields(bare, level)
            else:
                known |= self.design.factors[factor].levels[level].fields
                known |= self.design.seen[factor][bare][level].known
        return known

    def iteration_fields(self, question_id: str, iteration: str) -> Mapping[str, str]:
        """What an iteration of the loop around the question pipes in, by the keys of `field_key`."""
        block = self.design.survey.blocks.get(self.design.shown[question_id].block)
        if block is None or block.loop is None:
            return {}
        fields = block.loop.iterations.get(iteration.removeprefix("x"), {})
        return {looped_key(number): value for number, value in fields.items() if value}

    def parts(self, one: Asked, at: Sequence[At] = ()) -> tuple[Part, ...]:
        """What is read right before the question, the question, and its row."""
        known = self.known(one.question.id, at)
        parts: list[Part] = []
        for text in context(self.design, one.question.id, self.texts):
            question = self.design.survey.questions[text]
            parts += text_parts(self.design, question, self.slots, self.known(text, at))
        bare, _, beside = one.question.id.partition("#")
        parts += text_parts(self.design, self.design.survey.questions[bare], self.slots, known)
        if beside and one.question.text:
            parts.append(_of_words(self.design, one.question.text, self.slots, known))
        if one.label:
            parts.append(_of_words(self.design, one.label, self.slots, known))
        return tuple(parts)

    def labels(self, one: Asked, at: Sequence[At] = ()) -> list[str]:
        """The choices as people (at these levels) saw them."""
        known = self.known(one.question.id, at)
        return [filled(choice.text, known) for choice in one.choices]

    def scale(self, one: Asked, at: Sequence[At] = ()) -> DraftScale:
        """The scale with the labels that people (at these levels) saw."""
        labels = self.labels(one, at)
        if one.question.kind not in ("single", "matrix") or labels == [c.text for c in one.choices]:
            return one.scale
        scale = scale_of_choices(one.choices, texts=labels)
        known = {*scale.levels, *scale.alternatives, *scale.missing}
        beside = [code for code in one.scale.missing if code not in known]
        return dataclasses.replace(scale, missing=(*scale.missing, *beside))

    def untold(self, one: Asked, at: Sequence[At] = ()) -> list[str]:
        """What is piped into the question, what is read right before it, and its choices, and not known there."""
        pipes = [pipe for part in self.parts(one, at) for pipe in part.untold]
        pipes += [match[0] for label in self.labels(one, at) for match in PIPE.finditer(label)]
        return list(dict.fromkeys(pipes))


def context(design: Design, question_id: str, texts: Sequence[str]) -> list[str]:
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


def iteration_text(design: Design, block: Block, iteration: str) -> str:
    """What an iteration of a loop is about; "" where the survey file does not say."""
    number = iteration.removeprefix("x")
    # A loop over the choices of a question is numbered as they are.
    source = design.survey.questions.get(block.loop.question) if block.loop is not None else None
    choice = source.choice_by_id.get(number) if source is not None else None
    told = block.loop.iterations.get(number, {}).get("1") if block.loop is not None else ""
    return told or (choice.text if choice is not None else "")


def iteration_name(design: Design, block: Block, iteration: str) -> str:
    """The name of the iteration among the loop's levels."""
    text = iteration_text(design, block, iteration) or f"iteration {iteration}"
    return " ".join(text.split())[:MOST_CHARACTERS]


def not_text(one: Asked) -> list[str]:
    """Holes for what a question shows and plain text cannot."""
    media = (*one.question.media, *(m for c in one.question.choices for m in c.media))
    counted = collections.Counter(media)
    shown = ", ".join(f"{n} {what}(s)" for what, n in sorted(counted.items()))
    return [f"it shows {shown}"] if media else []
