"""Outcomes as drafted: the question with what is read right before it, its variants at other levels, and which
factors it depends on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from data_pipelines.drafting.asked import Asked
from data_pipelines.drafting.choice_scales import DraftScale
from data_pipelines.drafting.column_sets import ColumnSet, aligned
from data_pipelines.drafting.design import Design
from data_pipelines.drafting.holes import OTHER_LABELS
from data_pipelines.drafting.variants import DraftVariant, variants_of
from data_pipelines.drafting.wording import (
    LOOP,
    Part,
    Wording,
    context,
    not_text,
    read_by_all,
)

# A factor that was met before an outcome counts as long as its combinations hold this many people on average.
FEWEST_PER_COMBINATION = 5
MOST_UNASSIGNED = 0.05


@dataclasses.dataclass(frozen=True, kw_only=True)
class DraftOutcome:
    """`depends_on` are the factors that change what is read with it; `texts` those texts of theirs that come before
    it; `dropped` those that people had met too, and that are not told apart; `loop` the block that is repeated; `told` who
    decided what rules could not."""

    name: str
    asked: Asked
    question: tuple[Part, ...]
    scale: DraftScale
    variants: tuple[DraftVariant, ...] = ()
    depends_on: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    loop: str = ""
    holes: tuple[str, ...] = ()
    told: tuple[str, ...] = ()


def draft_outcomes(design: Design, asked: Sequence[Asked]) -> tuple[DraftOutcome, ...]:
    """One outcome per column, or per set of columns that different levels answered in its place."""
    sets = aligned(design, asked)
    followers = {
        one.name: (first, one_set)
        for one_set in sets
        for first in [min(one_set.by_level)]
        for i, one in one_set.by_level.items()
    }
    outcomes = []
    taken: set[str] = set()
    for one in asked:
        first, one_set = followers.get(one.name, (0, None))
        if one_set is not None and one_set.by_level[first] is not one:
            continue
        outcome = _outcome(design, one, one_set)
        name = outcome.name
        while name in taken:
            name = f"{name} ({one.question.id})"
        taken.add(name)
        outcomes.append(dataclasses.replace(outcome, name=name))
    return tuple(outcomes)


def _outcome(design: Design, one: Asked, one_set: ColumnSet | None) -> DraftOutcome:
    bare = one.question.id.partition("#")[0]
    block = design.survey.blocks.get(design.shown[bare].block)
    loop = block.id if block is not None and block.loop is not None else ""
    own = _own_factors(design, one, one_set)
    earlier, dropped = _earlier_factors(design, one, own)
    depends = tuple(name for name in design.factors if name in own or name in earlier)
    texts = _texts_before(design, one.question.id, depends, one_set)
    wording = Wording(design=design, slots=(*depends, LOOP) if loop else depends, texts=texts)
    variants, untold = variants_of(wording, one, one_set, own)
    piped = [f"{', '.join(untold)} is piped into it, and its value is not told"] if untold else []
    holes = [*one.holes, *piped, *not_text(one)]
    if block is None:
        holes.append("the survey's flow does not reach it (any more), so what was read before it is not told")
    if looped := _looped_before(design, bare):
        holes.append(
            f"texts of the loop {', '.join(looped)} were read before and are not part of what is read"
        )
    if dropped:
        holes.append(
            f"people had met {', '.join(dropped)} before; too few met each combination to tell them apart"
        )
    if one_set is not None:
        if not one_set.same_labels:
            holes.append(f"levels of {one_set.factor} {OTHER_LABELS}")
        for other in one_set.by_level.values():
            holes += not_text(other)
    return DraftOutcome(
        name=one_set.name if one_set is not None else one.name,
        asked=one,
        question=wording.parts(one),
        scale=wording.scale(one),
        variants=variants,
        depends_on=depends,
        texts=texts,
        dropped=tuple(dropped),
        loop=loop,
        holes=tuple(dict.fromkeys(holes)),
    )


def _own_factors(design: Design, one: Asked, one_set: ColumnSet | None) -> tuple[str, ...]:
    """Factors that change the question, what is read with it, or the column that stands in its place."""
    own = [one_set.factor] if one_set is not None else []
    for asked in one_set.by_level.values() if one_set is not None else (one,):
        for text in (asked.question.id, *context(design, asked.question.id, ())):
            own += design.own_factors(text)
    return tuple(dict.fromkeys(own))


def _earlier_factors(design: Design, one: Asked, own: Sequence[str]) -> tuple[list[str], list[str]]:
    """Factors whose texts were read before, and those of them that leave too few people per combination."""
    question = one.question.id.partition("#")[0]
    earlier = []
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
        if before and (
            (len(contents) > 1 and _mostly_assigned(design, name, one)) or _elsewhere(design, name, one)
        ):
            earlier.append(name)
    if len(earlier) > 1 and _too_few(design, one, (*own, *earlier)):
        here = design.shown[question].block
        near = [n for n in earlier if any(design.shown[t].block == here for t in design.arm_texts[n])]
        return near, [n for n in earlier if n not in near]
    return earlier, []


def _is_stimulus(design: Design, factor: str, text: str, question: str) -> bool:
    """True if the text comes before the question and is more than its own introduction with a field filled in."""
    same_block = design.shown[text].block == design.shown[question].block
    if same_block and not design.is_own(factor, text):
        return False
    # What a loop showed before was shown once for each iteration, with its fields filled in.
    looped = (
        block := design.survey.blocks.get(design.shown[text].block)
    ) is not None and block.loop is not None
    if looped and not same_block:
        return False
    return design.comes_before(text, question, factor=factor)


def _looped_before(design: Design, question: str) -> list[str]:
    """Names of loops before the question whose texts differ between arms."""
    here = design.shown[question].block
    loops = {}
    for name, texts in design.arm_texts.items():
        for text in texts:
            block = design.survey.blocks.get(design.shown[text].block)
            if block is None or block.loop is None or block.id == here:
                continue
            if design.comes_before(text, question, factor=name):
                loops[block.name or block.id] = True
    return list(loops)


def _too_few(design: Design, one: Asked, factors: Sequence[str]) -> bool:
    """True if the combinations of levels that occur hold too few answers on average."""
    answered = design.export.filled(one.column.name)
    combination = np.zeros(len(answered), dtype=np.int64)
    for name in factors:
        combination = (
            combination * (len(design.factors[name].levels) + 1) + design.assignments[name].codes + 1
        )
    met = combination[answered]
    return len(np.unique(met)) * FEWEST_PER_COMBINATION > len(met)


def _mostly_assigned(design: Design, factor: str, one: Asked) -> bool:
    answered = design.export.filled(one.column.name)
    without = int((design.assignments[factor].codes[answered] < 0).sum())
    people = int(answered.sum())
    return without <= MOST_UNASSIGNED * people or without == people


def _elsewhere(design: Design, factor: str, one: Asked) -> bool:
    """True if whoever answered without a level of the factor was at a level of another where it is not met."""
    without = design.export.filled(one.column.name) & (design.assignments[factor].codes < 0)
    for outer, within in design.nested[factor].items():
        others = design.assignments[outer].codes[without]
        if len(others) and ((others >= 0) & ~np.isin(others, sorted(within))).all():
            return True
    return False


def _texts_before(
    design: Design, question_id: str, factors: Sequence[str], one_set: ColumnSet | None
) -> tuple[str, ...]:
    """Texts of the factors to be read before the question; those in the block of a variant are part of it."""
    question = question_id.partition("#")[0]
    block = design.shown[question].block
    texts: dict[str, int] = {}
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
                texts[text] = min(a.position for a in design.seen[name][text])
    # What all people read around an arm's own text belongs to it.
    around = {design.shown[text].block for text in texts} - {block}
    for text, seen in design.shown.items() if around else ():
        common = text not in texts and seen.block in around and design.is_reading(text)
        if (
            common
            and read_by_all(design, text, question)
            and design.comes_before(text, question, factor=factors[0])
        ):
            texts[text] = min(a.position for a in design.seen[factors[0]][text])
    return tuple(sorted(texts, key=texts.get))


def _precedes(design: Design, factor: str, level: int, text: str, question_id: str) -> bool:
    """True if people at the level read the text before the question."""
    read = design.seen[factor][text][level]
    asked = design.seen[factor][question_id.partition("#")[0]][level]
    return read.shown is not False and asked.shown is not False and read.position < asked.position
