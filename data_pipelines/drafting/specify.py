"""Writes what rules found as a study specification: every value with where it came from, every hole by its key."""

from __future__ import annotations

import collections
import re
from collections.abc import Mapping, Sequence

from data_pipelines.drafting.asked import Reading
from data_pipelines.drafting.choice_scales import DraftScale, printed_numbers
from data_pipelines.drafting.design import Design
from data_pipelines.drafting.draft_tree import DATA, SURVEY, Draft, Rulings, one_line, part_tree
from data_pipelines.drafting.holes import SHARE_A_NAME
from data_pipelines.drafting.outcomes import DraftOutcome
from data_pipelines.drafting.specify_factors import (
    conditions,
    factor_tree,
    has_others,
    ignored,
    iterations,
    loop_factor,
    order_factors,
    rows_of,
    stimulus,
)
from data_pipelines.drafting.specify_people import attribute_tree, exclusions, participant
from data_pipelines.drafting.wording import LOOP
from data_pipelines.formats.tables import format_of, source_of
from socsci_jax.studies.specification import Specification
from socsci_jax.studies.specification_files import specification_of

MOST_SINGLE_HOLES = 4


def specify(
    design: Design,
    reading: Reading,
    outcomes: Sequence[DraftOutcome],
    *,
    name: str,
    data_path: str,
    survey_path: str,
    rulings: Rulings = Rulings(),  # noqa: B008 (frozen)
) -> Specification:
    """The draft as a specification: one study for all outcomes that depend on the same factors."""
    draft = Draft(design=design, survey_file=survey_path, rulings=rulings)
    groups: dict[tuple, list[DraftOutcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.loop, outcome.depends_on, outcome.texts), []).append(outcome)
    names = _study_names(name, list(groups), design)
    studies = {
        study: _study(draft, study if len(groups) > 1 else "", members, reading, title=design.survey.title)
        for study, members in zip(names, groups.values(), strict=True)
    }
    _whole_design(draft, reading)
    return specification_of(
        {
            "source": design.survey.title,
            "files": {
                DATA: {
                    "path": data_path,
                    "format": format_of(source_of(data_path)),
                    "skip_rows": list(range(1, design.export.header_rows)),
                },
                SURVEY: {"path": survey_path},
            },
            "studies": studies,
            "provenance": draft.provenance,
            "unresolved": draft.unresolved,
        },
        where=survey_path,
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
    draft: Draft, study: str, outcomes: Sequence[DraftOutcome], reading: Reading, *, title: str
) -> dict:
    at = f"studies.{study}." if study else ""
    first = outcomes[0]
    others = {name: has_others(draft, name, outcomes) for name in first.depends_on}
    met_by_all = [name for name in first.depends_on if not others[name]]
    tree: dict = {"title": title, "rows": rows_of(draft, at, met_by_all), **participant(draft, at)}
    loop = draft.design.survey.blocks.get(first.loop)
    if loop is not None:
        tree["loop"] = {LOOP: iterations(draft.design, outcomes)}
    if weight := next(
        (c for c in draft.design.export.columns if re.fullmatch(r"(?i)(?:survey_?)?we?igh?ts?|wt", c.name)),
        None,
    ):
        tree["weight"] = weight.name
        draft.provenance[f"{at}weight"] = f"{draft.design.export.path.name}, column {weight.name}"
    tree["attributes"] = {a.name: attribute_tree(draft, at, a) for a in reading.attributes}
    tree["exclude"] = exclusions(draft, at)
    tree["factors"] = {
        name: factor_tree(draft, at, name, first.texts, has_others=others[name]) for name in first.depends_on
    }
    tree["factors"] |= order_factors(draft, at)
    if loop is not None:
        tree["factors"][LOOP] = loop_factor(draft, at, loop, tree["loop"][LOOP])
    if tree["factors"]:
        tree["conditions"] = conditions(draft, at, first)
        tree["stimulus"] = stimulus(draft, first)
    tree["ignored"] = ignored(draft, outcomes)
    tree["outcomes"] = {}
    holes: dict[str, list[str]] = {}
    templates: set[tuple[str, str]] = set()
    for outcome in outcomes:
        name, column = _looped_names(outcome, is_loop=loop is not None)
        if (column, outcome.asked.suffix) in templates:
            continue
        templates.add((column, outcome.asked.suffix))
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


def _looped_names(outcome: DraftOutcome, *, is_loop: bool) -> tuple[str, str]:
    """Name and column, with {loop} in the place of the iteration's number."""
    column = outcome.asked.column
    if not is_loop or not column.iteration:
        return outcome.name, column.name
    prefix = f"{column.iteration}_"
    if not column.name.startswith(prefix):
        return outcome.name, column.name
    rest = column.name.removeprefix(prefix)
    return rest + outcome.asked.suffix, "{" + LOOP + "}_" + rest


def _outcome(draft: Draft, key: str, outcome: DraftOutcome, *, name: str, column: str) -> dict:
    asked = outcome.asked
    draft.provenance[f"{key}.question"] = f"{draft.survey_file}, {asked.question.id}"
    draft.provenance[f"{key}.scale"] = f"{draft.survey_file}, {asked.question.id}, {_scale_origin(outcome)}"
    for i, told in enumerate(outcome.told):
        draft.provenance[f"{key}.told[{i}]"] = told
    tree: dict = {
        "question": [part_tree(draft, part) for part in outcome.question],
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
            one["question"] = [part_tree(draft, part) for part in variant.question]
        if variant.scale is not None:
            one["scale"] = _scale(outcome, variant.scale)
            if variant.codes:
                one["scale"]["codes"] = dict(variant.codes)
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
        tree: dict = {"number": True, "lo": scale.lo, "hi": scale.hi, "missing": list(scale.missing) or None}
        return {key: value for key, value in tree.items() if value is not None}
    if not scale.levels:
        missing = {"missing": list(scale.missing)} if scale.missing else {}
        named = {end: words for end, words in zip((scale.lo, scale.hi), scale.ends, strict=True) if words}
        return {"lo": scale.lo, "hi": scale.hi, **({"labels": named} if named else {}), **missing}
    coding = outcome.asked.coding
    in_words = coding is not None and coding.kind == "text"
    levels = {code: one_line(text) for code, text in scale.levels.items()}
    # Where cells hold labels, the numbers printed with them are their codes.
    printed = in_words and len(printed_numbers(list(levels.values()))) == len(levels)
    tree = {"levels": _as_seen(levels) if scale.reversed or printed else levels}
    if scale.reversed and not in_words:
        tree["reversed"] = True
    if scale.alternatives:
        tree["alternatives"] = {code: one_line(text) for code, text in scale.alternatives.items()}
    if scale.missing:
        words = {c.value: c.text for c in outcome.asked.choices}
        tree["missing"] = [words.get(code, code) if in_words else code for code in scale.missing]
    if scale.nominal:
        tree["nominal"] = True
    if scale.empty:
        tree["empty"] = scale.empty
    if scale.recoded and not in_words:
        tree["codes"] = dict(scale.recoded)
    if in_words:
        # A text export may hold a label as it was written, before fields were filled in.
        by_code = {choice.value: one_line(choice.text) for choice in outcome.asked.choices}
        unfilled = {
            by_code[c]: place for c, place in zip(levels, tree["levels"], strict=True) if c in by_code
        }
        # Of labels such as "2" for code 1 and "5+" for code 4, cells hold the labels, which are codes of other levels too.
        clash = any(c in tree["levels"] and c != place for place, c in tree["levels"].items())
        tree["codes"] = {text: place for text, place in unfilled.items() if "${" in text or clash}
    tree = {key: value for key, value in tree.items() if value != {}}
    if outcome.asked.question.kind in ("multiple", "matrix_multiple") and not outcome.asked.suffix:
        labels = {one_line(choice.text): "1" for choice in outcome.asked.choices if choice.text}
        tree["codes"] = {**labels, **scale.recoded}
    return tree


def _as_seen(levels: Mapping[str, str]) -> dict[str, str]:
    """Levels under the numbers that people read next to the labels; those without one are counted from the others."""
    codes, labels = list(levels), list(levels.values())
    printed = printed_numbers(labels)
    return {str(printed[i] if i in printed else int(codes[-1 - i])): label for i, label in enumerate(labels)}


def _whole_design(draft: Draft, reading: Reading) -> None:
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
        if order.shown < len(order.elements):
            draft.hole(
                f"factors.{order.id}",
                f"each person met {order.shown} of {len(order.elements)} ({', '.join(order.elements)}), which is no factor; "
                "say what this changes for the outcomes, or delete this line",
            )
    for unlinked in design.export.unlinked:
        draft.hole(
            f"outcomes.{unlinked.column}",
            f"{', '.join(unlinked.questions)} {SHARE_A_NAME}; write the outcome, or export the answers with import ids",
        )
    for column, reason in reading.left_out.items():
        draft.provenance[f"excluded {column}"] = reason
    for note in (*design.survey.notes, *design.export.notes):
        draft.provenance[f"note {len(draft.provenance)}"] = note
