"""The factors of a drafted study: columns that assign levels, and what people at each level read."""

from __future__ import annotations

import re
from collections.abc import Sequence

from data_pipelines.drafting.design import Design
from data_pipelines.drafting.draft_tree import Draft, one_line, part_tree
from data_pipelines.drafting.outcomes import DraftOutcome
from data_pipelines.drafting.wording import LOOP, slot_field, text_parts
from data_pipelines.formats.qualtrics.questionnaire import Block

_CONTROL = re.compile(r"\b(?:control|placebo|baseline)\b", re.IGNORECASE)


def factor_tree(draft: Draft, at: str, name: str, texts: Sequence[str]) -> dict:
    design = draft.design
    factor, assignment = design.factors[name], design.assignments[name]
    key = f"{at}factors.{name}"
    written = assignment.written
    places = ", ".join(factor.randomizers) or f"embedded data {factor.field}"
    known = sum(level is not None for level in assignment.levels)
    draft.provenance[key] = (
        f"{draft.survey_file}, {places}; assigned by {written.source if written else 'no column'}: "
        f"{written.known if written else 0} of {len(assignment.levels)} people"
    )
    if written is None:
        draft.hole(
            key,
            "no column or pair of columns tells people's levels"
            if known
            else "no column tells people's levels",
        )
    elif written.known < known:
        draft.hole(
            key,
            f"{known - written.known} people's levels are told by other columns ({assignment.traces[0].source})",
        )
    if assignment.conflicts:
        draft.hole(key, f"of {assignment.conflicts} people two columns tell different levels")
    slot = slot_field(design, name)
    tree = _factor_levels(draft, name, texts)
    for level in factor.levels:
        asked = [] if slot else [part["question"] for part in tree["levels"][level.name]["text"]]
        origin = f"embedded data {slot}" if slot else ", ".join(asked)
        draft.provenance[f"{key}.levels.{level.name}.text"] = (
            f"{draft.survey_file}, {origin}" if origin else "no text of its own before the question"
        )
    return tree


def rows_of(draft: Draft, at: str, factors: Sequence[str]) -> dict:
    """The rows of people who are at some level, where others met the factor's place not at all."""
    found = {}
    for name in factors:
        assignment = draft.design.assignments[name]
        written = assignment.written
        without = sum(level is None for level in assignment.levels)
        if (
            without
            and written is not None
            and written.column
            and written.known + without == len(assignment.levels)
        ):
            found[written.column] = {"is": [value for values in written.values for value in values]}
            draft.provenance[f"{at}rows"] = f"{without} people are at no level of {name}"
    return found


def order_factors(draft: Draft, at: str) -> dict:
    """Draws that change an order and no text: people's arms all the same."""
    found = {}
    for name, factor in draft.design.same_text.items():
        written = draft.design.assignments[name].written
        if factor.kind == "draw" and written is not None:
            tree = _factor_levels(draft, name, texts=None)
            found[name] = {**tree, "same_text": "changes the order of blocks, which no text tells"}
            draft.provenance[f"{at}factors.{name}"] = (
                f"{draft.survey_file}, {', '.join(factor.randomizers)}; assigned by {written.source}: "
                f"{written.known} of {len(written.levels)} people"
            )
    return found


def _factor_levels(draft: Draft, name: str, texts: Sequence[str] | None) -> dict:
    """The factor's column and levels with codes and texts (`texts` None: people read nothing of it)."""
    design = draft.design
    factor = design.factors.get(name) or design.same_text[name]
    written = design.assignments[name].written
    slot = slot_field(design, name) if texts is not None else ""
    tree: dict = {"levels": {}}
    if written is not None and written.column:
        tree["column"] = written.column
    for i, level in enumerate(factor.levels):
        found: dict = {}
        if written is not None and written.column:
            found["values"] = list(written.values[i])
            if len(found["values"]) > 1:
                found["pooled"] = "several writings of one value"
        elif written is not None:
            found["when"] = {written.present[i]: {"present": True}}
        if slot:
            found["text"] = level.fields[slot]
        else:
            found["text"] = _level_texts(draft, name, i, texts) if texts else []
        if _CONTROL.search(re.sub(r"[_\W]+", " ", level.name)):
            found["control"] = True
        tree["levels"][level.name] = found
    return tree


def _level_texts(draft: Draft, name: str, level: int, texts: Sequence[str]) -> list[dict]:
    design = draft.design
    fields = design.factors[name].levels[level].fields
    parts: list[dict] = []
    for text in texts:
        if text not in design.arm_texts[name] or _owner(design, text) != name:
            continue
        if level in design.levels_showing(name, text):
            question = design.survey.questions[text]
            parts += [part_tree(draft, part) for part in text_parts(design, question, (), fields)]
            if question.media:
                draft.hole(
                    f"text {text}", f"shows {', '.join(sorted(set(question.media)))}, which no text tells"
                )
    return parts


def _owner(design: Design, text: str) -> str:
    """The factor whose levels decide whether the text is shown: the first one; "" where all people read it."""
    for name, factor in design.factors.items():
        if text in design.arm_texts[name] and len(design.levels_showing(name, text)) < len(factor.levels):
            return name
    return ""


def stimulus(draft: Draft, outcome: DraftOutcome) -> list:
    """What is read before the question: slots of factors, and texts that all people read around them."""
    parts: list = []
    for text in outcome.texts:
        owner = _owner(draft.design, text)
        owners = [
            name
            for name, factor in draft.design.factors.items()
            if text in draft.design.arm_texts[name]
            and len(draft.design.levels_showing(name, text)) < len(factor.levels)
        ]
        if len(owners) > 1:
            draft.hole(
                f"text {text}", f"is shown by {' and '.join(owners)} together; it stands with {owner} alone"
            )
        if owner and owner in outcome.depends_on:
            slot = "{" + owner + "}"
            if slot not in parts:
                parts.append(slot)
        else:
            question = draft.design.survey.questions[text]
            parts += [
                part_tree(draft, part) for part in text_parts(draft.design, question, outcome.depends_on, {})
            ]
    return parts


def iterations(design: Design, outcomes: Sequence[DraftOutcome]) -> list[str]:
    found = dict.fromkeys(o.asked.column.iteration for o in outcomes if o.asked.column.iteration)
    return list(found)


def loop_factor(draft: Draft, at: str, block: Block, iterations: Sequence[str]) -> dict:
    levels = {}
    for iteration in iterations:
        fields = block.loop.iterations.get(iteration.removeprefix("x"), {})
        text = fields.get("1") or f"iteration {iteration}"
        levels[one_line(text)[:200]] = {"values": [iteration], "text": text}
        draft.provenance[f"{at}factors.{LOOP}.levels.{one_line(text)[:200]}"] = (
            f"{draft.survey_file}, {block.id}, loop and merge, iteration {iteration}"
        )
    if len(levels) < len(iterations):
        draft.hole(f"{at}factors.{LOOP}", "iterations of the loop have equal texts")
    return {"loop": LOOP, "within": True, "levels": levels}
