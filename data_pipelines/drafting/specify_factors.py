"""The factors of a drafted study: columns that assign levels, and what people at each level read."""

from __future__ import annotations

import re
from collections.abc import Sequence

from data_pipelines.drafting.assignment import Trace
from data_pipelines.drafting.design import Design
from data_pipelines.drafting.display import appearances
from data_pipelines.drafting.draft_tree import Draft, part_tree
from data_pipelines.drafting.outcomes import DraftOutcome
from data_pipelines.drafting.wording import LOOP, Part, iteration_name, iteration_text, text_parts
from data_pipelines.formats.qualtrics.questionnaire import Block
from socsci_jax.wording import counted

# The level of people who never met a factor, because it is drawn at some levels of another one alone.
NOT_MET = "not met"
_CONTROL = re.compile(r"\b(?:control|placebo|baseline)\b", re.IGNORECASE)


def factor_tree(draft: Draft, at: str, name: str, texts: Sequence[str], *, has_others: bool) -> dict:
    """One factor; `has_others`: people of the study who never met it are at a level of their own."""
    design = draft.design
    factor, assignment = design.factors[name], design.assignments[name]
    key = f"{at}factors.{name}"
    written = assignment.written
    places = ", ".join(factor.randomizers) or f"embedded data {factor.field}"
    known = sum(level is not None for level in assignment.levels)
    draft.provenance[key] = (
        f"{draft.survey_file}, {places}; assigned by {written.source if written else 'no column'}: "
        f"{written.known if written else 0} of {counted(len(assignment.levels), 'person')}"
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
            f"{known - written.known} people's levels come from other columns ({assignment.traces[0].source})",
        )
    if assignment.conflicts:
        draft.hole(key, f"of {counted(assignment.conflicts, 'person')} two columns tell different levels")
    slot = design.slot_field(name)
    tree = _factor_levels(draft, name, texts)
    if has_others and written is not None:
        _add_not_met(tree, written)
        outer = ", ".join(design.nested[name])
        draft.provenance[f"{key}.levels.{NOT_MET}"] = (
            f"{draft.survey_file}: met at some levels of {outer} alone"
        )
    for level in factor.levels:
        asked = [] if slot else [part["question"] for part in tree["levels"][level.name]["text"]]
        origin = f"embedded data {slot}" if slot else ", ".join(asked)
        draft.provenance[f"{key}.levels.{level.name}.text"] = (
            f"{draft.survey_file}, {origin}" if origin else "no text of its own before the question"
        )
    return tree


def _add_not_met(tree: dict, written: Trace) -> None:
    """A level of those who never met the factor: its columns are empty."""
    if written.column:
        del tree["column"]
        for level in tree["levels"].values():
            level["when"] = {written.column: {"is": level.pop("values")}}
            level.pop("pooled", None)
    tree["levels"][NOT_MET] = {"text": [], "when": {column: {"present": False} for column in written.columns}}


def has_others(draft: Draft, name: str, outcomes: Sequence[DraftOutcome]) -> bool:
    """True if people answered some of the outcomes who never met the nested factor."""
    export, codes = draft.design.export, draft.design.assignments[name].codes
    return bool(draft.design.nested[name]) and any(
        bool((codes[export.filled(outcome.asked.column.name)] < 0).any()) for outcome in outcomes
    )


def ignored(draft: Draft, outcomes: Sequence[DraftOutcome]) -> dict[str, str]:
    """Columns of factors that change nothing of what was read with these outcomes."""
    design = draft.design
    met = {name for outcome in outcomes for name in (*outcome.depends_on, *outcome.dropped)}
    return {
        column: f"tells {name}, of which nothing was read with these questions"
        for name, factor in design.factors.items()
        if name not in met and (written := design.assignments[name].written) is not None
        for column in (written.column, factor.field if design.export.field(factor.field) else "")
        if column
    }


def rows_of(draft: Draft, at: str, factors: Sequence[str]) -> dict:
    """The rows of people who are at some level, where others met the factor's place not at all."""
    rows = {}
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
            rows[written.column] = {"is": [value for values in written.values for value in values]}
            draft.provenance[f"{at}rows"] = (
                f"{counted(without, 'person is', 'people are')} at no level of {name}"
            )
    return rows


def order_factors(draft: Draft, at: str) -> dict:
    """Draws that change an order and no text: people's arms all the same."""
    trees = {}
    for name, factor in draft.design.same_text.items():
        written = draft.design.assignments[name].written
        if factor.kind == "draw" and written is not None:
            tree = _factor_levels(draft, name, texts=None)
            trees[name] = {**tree, "same_text": "changes the order of blocks, which no text tells"}
            draft.provenance[f"{at}factors.{name}"] = (
                f"{draft.survey_file}, {', '.join(factor.randomizers)}; assigned by {written.source}: "
                f"{written.known} of {counted(len(written.levels), 'person')}"
            )
    return trees


def _factor_levels(draft: Draft, name: str, texts: Sequence[str] | None) -> dict:
    """The factor's column and levels with codes and texts (`texts` None: people read nothing of it)."""
    design = draft.design
    factor = design.factors.get(name) or design.same_text[name]
    written = design.assignments[name].written
    slot = design.slot_field(name) if texts is not None else ""
    tree: dict = {"levels": {}}
    if written is not None and written.column:
        tree["column"] = written.column
    for i, level in enumerate(factor.levels):
        of_level: dict = {}
        if written is not None and written.column:
            of_level["values"] = list(written.values[i])
            if len(of_level["values"]) > 1:
                of_level["pooled"] = "several writings of one value"
        elif written is not None:
            of_level["when"] = written.where(i)
            if any(len(match.get("is", ())) > 1 for where in of_level["when"] for match in where.values()):
                of_level["pooled"] = "several writings of one value"
        if slot:
            of_level["text"] = level.fields[slot]
        else:
            of_level["text"] = _level_texts(draft, name, i, texts) if texts else []
        if _CONTROL.search(re.sub(r"[_\W]+", " ", level.name)):
            of_level["control"] = True
        tree["levels"][level.name] = of_level
    return tree


def _level_texts(draft: Draft, name: str, level: int, texts: Sequence[str]) -> list[dict]:
    """Texts that this factor alone decides on, as people at the level read them."""
    design = draft.design
    parts: list[dict] = []
    for text in texts:
        if design.owners(text) == (name,) and level in design.levels_showing(name, text):
            parts += _text_of(draft, text, [(name, level)])
    return parts


def _text_of(draft: Draft, text: str, at: Sequence[tuple[str, int]]) -> list[dict]:
    design = draft.design
    question = design.survey.questions[text]
    fields: dict[str, str] = {}
    for name, level in at:
        fields |= design.factors[name].levels[level].fields
        fields |= design.seen[name][text][level].known
    if question.media:
        draft.hole(f"text {text}", f"shows {', '.join(sorted(set(question.media)))}, which no text tells")
    parts = text_parts(design, question, (), fields)
    _untold(draft, parts)
    return [part_tree(draft, part) for part in parts]


def _untold(draft: Draft, parts: Sequence[Part]) -> None:
    for part in parts:
        if part.untold:
            draft.hole(
                f"text {part.question}",
                f"{', '.join(part.untold)} is piped into it, and its value is not told",
            )


def stimulus(draft: Draft, outcome: DraftOutcome) -> list:
    """What is read before the question: slots of factors, of conditions, and texts that all people read."""
    design = draft.design
    parts: list = []
    for text in outcome.texts:
        owners = [name for name in design.owners(text) if name in outcome.depends_on]
        if owners:
            slot = "{" + owners[0] + "}" if len(owners) == 1 else "{condition}"
            if slot not in parts:
                parts.append(slot)
        else:
            question = design.survey.questions[text]
            of_all = text_parts(design, question, outcome.depends_on, design.shown[text].known)
            _untold(draft, of_all)
            parts += [part_tree(draft, part) for part in of_all]
    return parts


def conditions(draft: Draft, at: str, outcome: DraftOutcome) -> dict:
    """Combinations of levels with the texts that several factors decide on together; none where there are none."""
    design = draft.design
    together = [t for t in outcome.texts if len([n for n in design.owners(t) if n in outcome.depends_on]) > 1]
    if not together:
        return {}
    names = outcome.depends_on
    rows = zip(*(design.assignments[name].levels for name in names), strict=True)
    trees = {}
    for combination in sorted({row for row in rows if any(i is not None for i in row)}, key=str):
        levels = [(name, i) for name, i in zip(names, combination, strict=True) if i is not None]
        seen = appearances(
            design.survey, at=[(design.factors[n], design.factors[n].levels[i]) for n, i in levels]
        )
        read = [text for text in together if seen[text].shown is not False]
        told = {
            name: design.factors[name].levels[i].name if i is not None else NOT_MET
            for name, i in zip(names, combination, strict=True)
        }
        key = ", ".join(told.values())
        trees[key] = {
            "factors": told,
            "text": [part for text in read for part in _text_of(draft, text, levels)],
        }
        asked = ", ".join(read) or "no text of its own"
        draft.provenance[f"{at}conditions.{key}.text"] = f"{draft.survey_file}, {asked}"
    return trees


def iterations(design: Design, outcomes: Sequence[DraftOutcome]) -> list[str]:
    names = dict.fromkeys(o.asked.column.iteration for o in outcomes if o.asked.column.iteration)
    return list(names)


def loop_factor(draft: Draft, at: str, block: Block, iterations: Sequence[str]) -> dict:
    levels = {}
    for iteration in iterations:
        text = iteration_text(draft.design, block, iteration)
        if not text:
            draft.hole(
                f"{at}factors.{LOOP}", f"what iteration {iteration} is about is not in the survey file"
            )
            text = f"iteration {iteration}"
        name = iteration_name(draft.design, block, iteration)
        levels[name] = {"values": [iteration], "text": text}
        draft.provenance[f"{at}factors.{LOOP}.levels.{name}"] = (
            f"{draft.survey_file}, {block.id}, loop and merge, iteration {iteration}"
        )
    if len(levels) < len(iterations):
        draft.hole(f"{at}factors.{LOOP}", "iterations of the loop have equal texts")
    return {"loop": LOOP, "within": True, "levels": levels}
