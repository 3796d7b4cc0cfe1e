"""Outcomes as drafted: the question with what is read right before it, its variants at other levels, and which
factors it depends on."""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from data_pipelines.drafting.asked import Asked
from data_pipelines.drafting.choice_scales import DraftScale, scale_of_choices
from data_pipelines.drafting.design import Design
from data_pipelines.drafting.display import filled
from data_pipelines.formats.qualtrics.questionnaire import Question
from data_pipelines.formats.qualtrics.text import PIPE, words_of

# A factor that was met before an outcome counts as long as its combinations hold this many people on average.
FEWEST_PER_COMBINATION = 5
MOST_UNASSIGNED = 0.05
# The name of the factor that tells the iterations of a loop apart.
LOOP = "loop"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """One part of a text: a question of the survey file by its id, or words that stand in it."""

    question: str = ""
    words: str = ""
    replace: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DraftVariant:
    """How people at some levels met an outcome; what is None is as at the other levels."""

    arms: Mapping[str, str]
    asked: Asked
    column: str | None
    question: tuple[Part, ...] | None
    scale: DraftScale | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class DraftOutcome:
    """`depends_on` are the factors that change what is read with it; `texts` those texts of theirs that come before
    it; `loop` the block that is repeated."""

    name: str
    asked: Asked
    question: tuple[Part, ...]
    scale: DraftScale
    variants: tuple[DraftVariant, ...] = ()
    depends_on: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    loop: str = ""
    holes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Set:
    """The same outcome at several levels of a factor: the columns by level index."""

    factor: str
    by_level: Mapping[int, Asked]
    name: str
    same_labels: bool


def draft_outcomes(design: Design, asked: Sequence[Asked]) -> tuple[DraftOutcome, ...]:
    """One outcome per column, or per set of columns that different levels answered in its place."""
    sets = _aligned(design, asked)
    followers = {
        one.column.name: (first, one_set)
        for one_set in sets
        for first in [min(one_set.by_level)]
        for i, one in one_set.by_level.items()
    }
    outcomes = []
    taken: set[str] = set()
    for one in asked:
        first, one_set = followers.get(one.column.name, (0, None))
        if one_set is not None and one_set.by_level[first] is not one:
            continue
        outcome = _outcome(design, one, one_set)
        name = outcome.name
        while name in taken:
            name = f"{name} ({one.question.id})"
        taken.add(name)
        outcomes.append(dataclasses.replace(outcome, name=name))
    return tuple(outcomes)


def slot_field(design: Design, factor: str) -> str:
    """The field whose value is the text of the factor's levels; "" where levels have texts of their own."""
    found = design.factors[factor]
    if any(_is_own(design, factor, text) for text in design.arm_texts[factor]):
        return ""
    everywhere = set.intersection(*(set(level.fields) for level in found.levels))
    piped = [
        match["path"].removeprefix("Field/")
        for question in design.differing[factor]
        for match in PIPE.finditer(design.survey.questions[question].text)
    ]
    fitting = [name for name in piped if name in everywhere]
    return found.field if found.field in fitting else next(iter(fitting), "")


def _is_own(design: Design, factor: str, question: str) -> bool:
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
    found = {}
    for match in PIPE.finditer(text):
        name = match["path"].removeprefix("Field/")
        if match["source"] == "lm":
            found[match[0]] = "{loop}" if name == "1" and LOOP in factors else f"[field {name} of the loop]"
        elif name in slots and match["source"] == "e":
            found[match[0]] = "{" + slots[name] + "}"
        elif name in fields and match["source"] == "e":
            found[match[0]] = fields[name]
        else:
            found[match[0]] = f"[{name}]"
    return found


def _words(design: Design, text: str, factors: Sequence[str], fields: Mapping[str, str]) -> str:
    for pipe, words in _replacements(design, text, factors, fields).items():
        text = text.replace(pipe, words)
    return text


def _outcome(design: Design, one: Asked, one_set: _Set | None) -> DraftOutcome:
    bare = one.question.id.partition("#")[0]
    block = design.survey.blocks[design.shown[bare].block]
    own = _own_factors(design, one.question.id)
    if one_set is not None:
        own = tuple(dict.fromkeys((one_set.factor, *own)))
    earlier, dropped = _earlier_factors(design, one, own)
    depends = tuple(name for name in design.factors if name in own or name in earlier)
    texts = _texts_before(design, one.question.id, depends, one_set)
    wording = _Wording(
        design=design, slots=(*depends, LOOP) if block.loop is not None else depends, texts=texts
    )
    holes = [*one.holes, *_unfilled(wording, one)]
    if dropped:
        holes.append(
            f"people had met {', '.join(dropped)} before; too few met each combination to tell them apart"
        )
    variants: list[DraftVariant] = []
    if one_set is not None:
        first = min(one_set.by_level)
        if not one_set.same_labels:
            holes.append(
                f"levels of {one_set.factor} saw other labels; which answers belong together is not told"
            )
        for i, other in one_set.by_level.items():
            if i != first:
                level = design.factors[one_set.factor].levels[i]
                variants.append(_variant_of_column(wording, one_set.factor, level.name, one, other))
                holes += _unfilled(wording, other)
    variants += _variants_of_fields(wording, one, own)
    return DraftOutcome(
        name=one_set.name if one_set is not None else one.column.name,
        asked=one,
        question=wording.parts(one),
        scale=wording.scale(one),
        variants=tuple(variants),
        depends_on=depends,
        texts=texts,
        loop=block.id if block.loop is not None else "",
        holes=tuple(dict.fromkeys(holes)),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Wording:
    """How questions of one outcome are worded: factors with slots, and texts that are read before anyway."""

    design: Design
    slots: tuple[str, ...]
    texts: tuple[str, ...]

    def known(self, one: Asked, fields: Mapping[str, str]) -> Mapping[str, str]:
        return {**self.design.shown[one.question.id.partition("#")[0]].known, **fields}

    def parts(self, one: Asked, fields: Mapping[str, str] = MappingProxyType({})) -> tuple[Part, ...]:
        """What is read right before the question, the question, and its row."""
        known = self.known(one, fields)
        found: list[Part] = []
        for text in _context(self.design, one.question.id, self.texts):
            here = {**self.design.shown[text].known, **known}
            found += text_parts(self.design, self.design.survey.questions[text], self.slots, here)
        found += text_parts(self.design, one.question, self.slots, known)
        if one.label:
            found.append(Part(words=_words(self.design, one.label, self.slots, known)))
        return tuple(found)

    def scale(self, one: Asked, fields: Mapping[str, str] = MappingProxyType({})) -> DraftScale:
        """The scale with the labels that people with these fields saw."""
        labels = [filled(choice.text, self.known(one, fields)) for choice in one.choices]
        if one.question.kind not in ("single", "matrix") or labels == [c.text for c in one.choices]:
            return one.scale
        return scale_of_choices(one.choices, texts=labels)


def _own_factors(design: Design, question: str) -> tuple[str, ...]:
    """Factors that change the question itself for people who are all asked it."""
    found = []
    for name, changes in design.differing.items():
        seen = changes.get(question.partition("#")[0])
        if seen is not None and len({(a.text, a.choices) for a in seen if a.shown is not False}) > 1:
            found.append(name)
    return tuple(found)


def _earlier_factors(design: Design, one: Asked, own: Sequence[str]) -> tuple[list[str], list[str]]:
    """Factors whose texts were read before, and those of them that leave too few people per combination."""
    question = one.question.id.partition("#")[0]
    found = []
    for name, texts in design.arm_texts.items():
        if name in own:
            continue
        levels = design.levels_showing(name, question)
        before = [t for t in texts if _is_stimulus(design, name, t, question)]
        contents = {
            tuple(
                (design.differing[name][t][i].shown is not False, design.differing[name][t][i].text)
                for t in before
            )
            for i in levels
        }
        if len(contents) > 1 and _mostly_assigned(design, name, one):
            found.append(name)
    combinations = 1
    for name in (*own, *found):
        combinations *= len(design.factors[name].levels)
    if len(found) > 1 and combinations * FEWEST_PER_COMBINATION > _answered(design, one):
        here = design.shown[question].block
        near = [n for n in found if any(design.shown[t].block == here for t in design.arm_texts[n])]
        return near, [n for n in found if n not in near]
    return found, []


def _is_stimulus(design: Design, factor: str, text: str, question: str) -> bool:
    """True if the text comes before the question and is more than its own introduction with a field filled in."""
    same_block = design.shown[text].block == design.shown[question].block
    if same_block and not _is_own(design, factor, text):
        return False
    return design.comes_before(text, question, factor=factor)


def _answered(design: Design, one: Asked) -> int:
    return sum(bool(cell) for cell in design.export.table[one.column.name])


def _mostly_assigned(design: Design, factor: str, one: Asked) -> bool:
    levels = design.assignments[factor].levels
    answered = [bool(cell) for cell in design.export.table[one.column.name]]
    people = sum(answered)
    without = sum(a and level is None for a, level in zip(answered, levels, strict=True))
    return without <= MOST_UNASSIGNED * people or without == people


def _texts_before(
    design: Design, question_id: str, factors: Sequence[str], one_set: _Set | None
) -> tuple[str, ...]:
    """Texts of the factors to be read before the question; those in the block of a variant are part of it."""
    question = question_id.partition("#")[0]
    block = design.shown[question].block
    found: dict[str, int] = {}
    for name in factors:
        for text in design.arm_texts[name]:
            if one_set is not None and name == one_set.factor:
                before = any(
                    _precedes(design, name, i, text, other.question.id)
                    for i, other in one_set.by_level.items()
                )
            else:
                before = _is_stimulus(design, name, text, question)
            if before:
                found[text] = min(a.position for a in design.seen[name][text])
    # What all people read around an arm's own text belongs to it.
    around = {design.shown[text].block for text in found} - {block}
    for text, seen in design.shown.items() if around else ():
        common = text not in found and seen.block in around and design.is_reading(text)
        if common and _read_by_all(design, text, question):
            if design.comes_before(text, question, factor=factors[0]):
                found[text] = min(a.position for a in design.seen[factors[0]][text])
    return tuple(sorted(found, key=found.get))


def _precedes(design: Design, factor: str, level: int, text: str, question_id: str) -> bool:
    """True if people at the level read the text before the question."""
    read = design.seen[factor][text][level]
    asked = design.seen[factor][question_id.partition("#")[0]][level]
    return read.shown is not False and asked.shown is not False and read.position < asked.position


def _context(design: Design, question_id: str, texts: Sequence[str]) -> list[str]:
    """The nearest texts above the question in its block that all who are asked it have read."""
    bare = question_id.partition("#")[0]
    block = design.survey.blocks.get(design.shown[bare].block)
    if block is None or bare not in block.questions or block.shuffled or block.pool:
        return []
    found: list[str] = []
    for other in reversed(block.questions[: block.questions.index(bare)]):
        question = design.survey.questions.get(other)
        if question is None or other not in design.shown:
            continue
        if question.kind == "text":
            if other not in texts and design.is_reading(other) and _read_by_all(design, other, bare):
                found.insert(0, other)
        elif found and question.kind not in ("timing", "meta", "captcha"):
            break
    return found


def _read_by_all(design: Design, text: str, question: str) -> bool:
    return all(
        design.levels_showing(name, question) <= design.levels_showing(name, text) for name in design.factors
    )


def _variant_of_column(wording: _Wording, factor: str, level: str, one: Asked, other: Asked) -> DraftVariant:
    question, scale = wording.parts(other), wording.scale(other)
    same_words = [_read(wording.design, part) for part in question] == [
        _read(wording.design, part) for part in wording.parts(one)
    ]
    return DraftVariant(
        arms={factor: level},
        asked=other,
        column=other.column.name,
        question=None if same_words else question,
        scale=scale if scale != wording.scale(one) else None,
    )


def _read(design: Design, part: Part) -> str:
    text = design.survey.questions[part.question].text if part.question else part.words
    for pipe, words in part.replace.items():
        text = text.replace(pipe, words)
    return words_of(text)


def _variants_of_fields(wording: _Wording, one: Asked, own: Sequence[str]) -> list[DraftVariant]:
    """Variants where a level's fields fill labels, or a text beyond the factor's slot."""
    found = []
    for factor in own:
        for level in wording.design.factors[factor].levels:
            scale, question = wording.scale(one, level.fields), wording.parts(one, level.fields)
            other_scale = scale != wording.scale(one)
            other_question = question != wording.parts(one)
            if other_scale or other_question:
                found.append(
                    DraftVariant(
                        arms={factor: level.name},
                        asked=one,
                        column=None,
                        question=question if other_question else None,
                        scale=scale if other_scale else None,
                    )
                )
    return found


def _unfilled(wording: _Wording, one: Asked) -> list[str]:
    """Holes for what is piped into the question and known of nobody, and for what plain text cannot show."""
    factors = wording.design.factors
    known = {name for f in wording.slots if f != LOOP for level in factors[f].levels for name in level.fields}
    known |= set(wording.known(one, {}))
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


def _aligned(design: Design, asked: Sequence[Asked]) -> list[_Set]:
    """Columns that stand in each other's place at the levels of one factor."""
    sets = []
    for name, factor in design.factors.items():
        own: dict[int, list[Asked]] = {i: [] for i in range(len(factor.levels))}
        for one in asked:
            bare = one.question.id.partition("#")[0]
            levels = design.levels_showing(name, bare) if bare in design.differing[name] else frozenset()
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
    return sorted(columns, key=lambda a: design.shown[a.question.id.partition("#")[0]].position)


def _fits(design: Design, row: Mapping[int, Asked]) -> bool:
    """True if the columns can be one outcome: same kind, same number of levels, same rows, no factor of their own."""
    first = next(iter(row.values()))
    return all(
        one.question.kind == first.question.kind
        and one.scale.size == first.scale.size
        and (one.scale.lo, one.scale.hi) == (first.scale.lo, first.scale.hi)
        and words_of(one.label) == words_of(first.label)
        and _own_factors(design, one.question.id) == _own_factors(design, first.question.id)
        for one in row.values()
    )


def _set(factor: str, levels: Sequence[str], row: Mapping[int, Asked]) -> _Set:
    first = row[min(row)]
    labels = [[words_of(label) for label in one.scale.levels.values()] for one in row.values()]
    return _Set(
        factor=factor,
        by_level=row,
        name=_common_name([one.column.header for one in row.values()]) or first.column.name,
        same_labels=all(found == labels[0] for found in labels),
    )


def _common_name(names: Sequence[str]) -> str:
    """What names share word by word, if all that differs is one word ("OPTIN_Green", "OPTOUT_Green": "Green")."""
    words = [re.split(r"[_.\s-]+", name) for name in names]
    if len({len(found) for found in words}) > 1 or len(words[0]) < 2:
        return ""
    common = [column[0] for column in zip(*words, strict=True) if len(set(column)) == 1]
    name = "_".join(common)
    return name if len(common) == len(words[0]) - 1 and not name.isdigit() else ""
