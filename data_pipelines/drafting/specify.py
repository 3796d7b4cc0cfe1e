"""Writes what rules found as a study specification: every value with where it came from, every hole by its key."""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Mapping, Sequence

from data_pipelines.drafting.asked import DraftAttribute, Reading
from data_pipelines.drafting.choice_scales import DraftScale, printed_numbers
from data_pipelines.drafting.design import Design
from data_pipelines.drafting.outcomes import LOOP, DraftOutcome, Part, slot_field, text_parts
from data_pipelines.formats.qualtrics.questionnaire import Block
from socsci_jax.studies.specification import Specification

DATA, SURVEY = "data", "survey"
MOST_SINGLE_HOLES = 4
_CONTROL = re.compile(r"\b(?:control|placebo|baseline)\b", re.IGNORECASE)


@dataclasses.dataclass(kw_only=True)
class _Draft:
    """The tree of a specification as it grows, with provenance and holes by key."""

    design: Design
    survey_file: str
    provenance: dict[str, str] = dataclasses.field(default_factory=dict)
    unresolved: dict[str, str] = dataclasses.field(default_factory=dict)

    def hole(self, key: str, *reasons: str) -> None:
        for reason in reasons:
            known = self.unresolved.get(key)
            self.unresolved[key] = f"{known}; {reason}" if known else reason


def specify(
    design: Design,
    reading: Reading,
    outcomes: Sequence[DraftOutcome],
    *,
    name: str,
    data_path: str,
    survey_path: str,
) -> Specification:
    """The draft as a specification: one study for all outcomes that depend on the same factors."""
    draft = _Draft(design=design, survey_file=survey_path)
    groups: dict[tuple, list[DraftOutcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.loop, outcome.depends_on, outcome.texts), []).append(outcome)
    names = _study_names(name, list(groups), design)
    studies = {
        study: _study(draft, study if len(groups) > 1 else "", members, reading, title=design.survey.title)
        for study, members in zip(names, groups.values(), strict=True)
    }
    _whole_design(draft, reading)
    return Specification.model_validate(
        {
            "source": design.survey.title,
            "files": {
                DATA: {
                    "path": data_path,
                    "format": "csv",
                    "skip_rows": list(range(1, design.export.header_rows)),
                },
                SURVEY: {"path": survey_path},
            },
            "studies": studies,
            "provenance": draft.provenance,
            "unresolved": draft.unresolved,
        }
    )


def _study_names(base: str, keys: Sequence[tuple], design: Design) -> list[str]:
    if len(keys) == 1:
        return [base]
    names: list[str] = []
    for loop, factors, _ in keys:
        parts = [base]
        if loop:
            parts.append(design.survey.blocks[loop].name or loop)
        parts.append("_x_".join(factors) if factors else "" if loop else "common")
        name = re.sub(r"[^\w.]+", "_", "_".join(part for part in parts if part)).strip("_")
        same = sum(known == name or known.startswith(f"{name}_part") for known in names)
        names.append(f"{name}_part{same + 1}" if same else name)
    return names


def _study(
    draft: _Draft, study: str, outcomes: Sequence[DraftOutcome], reading: Reading, *, title: str
) -> dict:
    at = f"studies.{study}." if study else ""
    first = outcomes[0]
    tree: dict = {"title": title, "participant": _participant(draft, at)}
    loop = draft.design.survey.blocks.get(first.loop)
    if loop is not None:
        tree["loop"] = {LOOP: _iterations(draft.design, outcomes)}
    if weight := next(
        (c for c in draft.design.export.columns if re.fullmatch(r"(?i)(?:survey_?)?we?igh?ts?|wt", c.name)),
        None,
    ):
        tree["weight"] = weight.name
        draft.provenance[f"{at}weight"] = f"{draft.design.export.path.name}, column {weight.name}"
    tree["attributes"] = {a.name: _attribute(draft, at, a) for a in reading.attributes}
    tree["exclude"] = _exclusions(draft, at)
    tree["factors"] = {name: _factor(draft, at, name, first.texts) for name in first.depends_on}
    tree["factors"] |= _orders(draft, at)
    if loop is not None:
        tree["factors"][LOOP] = _loop_factor(draft, at, loop, tree["loop"][LOOP])
    if tree["factors"]:
        tree["stimulus"] = _stimulus(draft, first)
    tree["outcomes"] = {}
    holes: dict[str, list[str]] = {}
    templates: set[str] = set()
    for outcome in outcomes:
        name, column = _looped_names(outcome, is_loop=loop is not None)
        if column in templates:
            continue
        templates.add(column)
        tree["outcomes"][name] = _outcome(draft, f"{at}outcomes.{name}", outcome, name=name, column=column)
        for reason in outcome.holes:
            holes.setdefault(reason, []).append(name)
    for reason, names in holes.items():
        # What many outcomes share is one decision.
        if len(names) > MOST_SINGLE_HOLES:
            draft.hole(f"{at}outcomes", f"{reason} ({', '.join(names)})")
        else:
            for name in names:
                draft.hole(f"{at}outcomes.{name}", reason)
    return {key: value for key, value in tree.items() if value not in ({}, [], "", None) or key == "stimulus"}


# ---------------------------------------------------------------------------------------------------------
# People


def _participant(draft: _Draft, at: str) -> list[str]:
    """The column that tells people apart: the response's id, or an id that nobody shares."""
    export = draft.design.export
    candidates = [c for c in export.columns if c.role == "record" and c.import_id == "_recordId"]
    candidates += [
        c
        for c in export.columns
        if c.role == "field" and re.search(r"(?i)(?:^|[_\s.-])(?:p|r)?id$|^id$", c.header)
    ]
    for column in candidates:
        cells = export.table[column.name]
        if cells.null_count() == 0 and cells.n_unique() == export.table.height:
            draft.provenance[f"{at}participant"] = (
                f"{export.path.name}, column {column.name}: another value in every row"
            )
            return [column.name]
    draft.provenance[f"{at}participant"] = "no column has another value in every row; each row is a person"
    return []


def _attribute(draft: _Draft, at: str, attribute: DraftAttribute) -> dict:
    key = f"{at}attributes.{attribute.name}"
    draft.provenance[key] = attribute.origin
    draft.hole(key, *attribute.holes)
    found = {"column": attribute.column}
    if attribute.recode:
        found["recode"] = {code: _line(text) for code, text in attribute.recode.items()}
    if attribute.missing:
        found["missing"] = list(attribute.missing)
    return found


def _exclusions(draft: _Draft, at: str) -> list[dict]:
    export = draft.design.export
    found = []
    for import_id in ("status", "distributionChannel"):
        column = export.record(import_id)
        if column is None:
            continue
        cells = {
            cell
            for cell, preview in zip(export.table[column.name], export.is_preview, strict=True)
            if preview and cell is not None
        }
        others = {
            cell
            for cell, preview in zip(export.table[column.name], export.is_preview, strict=True)
            if not preview and cell is not None
        }
        if cells - others:
            found.append(
                {"where": {column.name: {"is": sorted(cells - others)}}, "reason": "a preview by the authors"}
            )
            draft.provenance[f"{at}exclude[{len(found) - 1}]"] = f"{export.path.name}, column {column.name}"
            break
    finished = export.is_finished
    if finished is not None and not all(finished):
        name = export.record("finished").name
        draft.hole(
            f"{at}exclude",
            f"{finished.count(False)} responses were not finished ({name}); say whether they count",
        )
    return found


# ---------------------------------------------------------------------------------------------------------
# Factors


def _factor(draft: _Draft, at: str, name: str, texts: Sequence[str]) -> dict:
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


def _orders(draft: _Draft, at: str) -> dict:
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


def _factor_levels(draft: _Draft, name: str, texts: Sequence[str] | None) -> dict:
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


def _level_texts(draft: _Draft, name: str, level: int, texts: Sequence[str]) -> list[dict]:
    design = draft.design
    fields = design.factors[name].levels[level].fields
    parts: list[dict] = []
    for text in texts:
        if text not in design.arm_texts[name] or _owner(design, text) != name:
            continue
        if level in design.levels_showing(name, text):
            question = design.survey.questions[text]
            parts += [_part(draft, part) for part in text_parts(design, question, (), fields)]
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


def _stimulus(draft: _Draft, outcome: DraftOutcome) -> list:
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
                _part(draft, part) for part in text_parts(draft.design, question, outcome.depends_on, {})
            ]
    return parts


# ---------------------------------------------------------------------------------------------------------
# Loops


def _iterations(design: Design, outcomes: Sequence[DraftOutcome]) -> list[str]:
    found = dict.fromkeys(o.asked.column.iteration for o in outcomes if o.asked.column.iteration)
    return list(found)


def _loop_factor(draft: _Draft, at: str, block: Block, iterations: Sequence[str]) -> dict:
    levels = {}
    for iteration in iterations:
        fields = block.loop.iterations.get(iteration.removeprefix("x"), {})
        text = fields.get("1") or f"iteration {iteration}"
        levels[_line(text)[:200]] = {"values": [iteration], "text": text}
        draft.provenance[f"{at}factors.{LOOP}.levels.{_line(text)[:200]}"] = (
            f"{draft.survey_file}, {block.id}, loop and merge, iteration {iteration}"
        )
    if len(levels) < len(iterations):
        draft.hole(f"{at}factors.{LOOP}", "iterations of the loop have equal texts")
    return {"loop": LOOP, "within": True, "levels": levels}


def _looped_names(outcome: DraftOutcome, *, is_loop: bool) -> tuple[str, str]:
    """Name and column, with {loop} in the place of the iteration's number."""
    column = outcome.asked.column
    if not is_loop or not column.iteration:
        return outcome.name, column.name
    prefix = f"{column.iteration}_"
    if not column.name.startswith(prefix):
        return outcome.name, column.name
    rest = column.name.removeprefix(prefix)
    return rest, "{" + LOOP + "}_" + rest


# ---------------------------------------------------------------------------------------------------------
# Outcomes


def _outcome(draft: _Draft, key: str, outcome: DraftOutcome, *, name: str, column: str) -> dict:
    asked = outcome.asked
    draft.provenance[f"{key}.question"] = f"{draft.survey_file}, {asked.question.id}"
    draft.provenance[f"{key}.scale"] = f"{draft.survey_file}, {asked.question.id}, {_scale_origin(outcome)}"
    tree: dict = {
        "question": [_part(draft, part) for part in outcome.question],
        "scale": _scale(outcome, outcome.scale),
    }
    if not tree["question"]:
        draft.hole(key, "its wording is not in the survey file")
    if column != name:
        tree["column"] = column
    variants = []
    for variant in outcome.variants:
        one: dict = {"arms": {f: [level] for f, level in variant.arms.items()}}
        if variant.column is not None:
            one["column"] = variant.column
            draft.provenance[f"{key}.variants[{len(variants)}]"] = (
                f"{draft.survey_file}, {variant.asked.question.id}"
            )
        if variant.question is not None:
            one["question"] = [_part(draft, part) for part in variant.question]
        if variant.scale is not None:
            one["scale"] = _scale(outcome, variant.scale)
        variants.append(one)
    if variants:
        tree["variants"] = variants
    return tree


def _scale_origin(outcome: DraftOutcome) -> str:
    kind = outcome.asked.question.kind
    coding = outcome.asked.coding
    cells = f"; cells hold {'codes' if coding.kind == 'numeric' else 'labels'}" if coding is not None else ""
    place = {"slider": "slider", "entry": "entry", "matrix": "answers"}.get(kind, "choices")
    return f"{place}{cells}"


def _scale(outcome: DraftOutcome, scale: DraftScale) -> dict:
    if scale.number:
        found: dict = {"number": True, "lo": scale.lo, "hi": scale.hi}
        return {key: value for key, value in found.items() if value is not None}
    if not scale.levels:
        return {"lo": scale.lo, "hi": scale.hi}
    coding = outcome.asked.coding
    in_words = coding is not None and coding.kind == "text"
    levels = {code: _line(text) for code, text in scale.levels.items()}
    found = {"levels": _as_seen(levels) if scale.reversed else levels}
    if scale.reversed and not in_words:
        found["reversed"] = True
    if scale.alternatives:
        found["alternatives"] = {code: _line(text) for code, text in scale.alternatives.items()}
    if scale.missing:
        words = {c.value: c.text for c in outcome.asked.choices}
        found["missing"] = [words.get(code, code) if in_words else code for code in scale.missing]
    if scale.nominal:
        found["nominal"] = True
    if outcome.asked.question.kind in ("multiple", "matrix_multiple"):
        found["codes"] = {_line(choice.text): "1" for choice in outcome.asked.choices if choice.text}
    return found


def _as_seen(levels: Mapping[str, str]) -> dict[str, str]:
    """Levels under the numbers that people read beside the labels."""
    codes, labels = list(levels), list(levels.values())
    printed = printed_numbers(labels)
    return {str(printed.get(i, int(codes[-1 - i]))): label for i, label in enumerate(labels)}


def _part(draft: _Draft, part: Part) -> dict | str:
    if part.words:
        # Braces are slots in a specification.
        return (
            re.sub(r"\{(?!loop\})([^{}]*)\}", r"(\1)", part.words)
            if not _has_slot(draft, part.words)
            else part.words
        )
    tree: dict = {"file": SURVEY, "question": part.question}
    return {**tree, "replace": dict(part.replace)} if part.replace else tree


def _has_slot(draft: _Draft, words: str) -> bool:
    return any("{" + name + "}" in words for name in draft.design.factors)


# ---------------------------------------------------------------------------------------------------------
# What is not part of any study


def _whole_design(draft: _Draft, reading: Reading) -> None:
    design = draft.design
    for name, factor in design.same_text.items():
        counts = collections.Counter(design.assignments[name].levels)
        told = ", ".join(f"{level.name}: {counts.get(i, 0)}" for i, level in enumerate(factor.levels))
        draft.provenance[f"order {name}"] = (
            f"{draft.survey_file}, {', '.join(factor.randomizers)}: changes an order and no text ({told})"
        )
    for order in design.orders:
        draft.provenance[f"order {order.id}"] = (
            f"{draft.survey_file}: {order.shown} of {', '.join(order.elements)} in random order; no factor"
        )
    for column, reason in reading.left_out.items():
        draft.provenance[f"left out {column}"] = reason
    for note in (*design.survey.notes, *design.export.notes):
        draft.provenance[f"note {len(draft.provenance)}"] = note


def _line(text: str) -> str:
    return " ".join(text.split())
