"""Which holes a model is asked about, and what its answers change in a draft."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

from data_pipelines.drafting.asked_attributes import DraftAttribute
from data_pipelines.drafting.choice_scales import DraftScale
from data_pipelines.drafting.draft_tree import Rulings
from data_pipelines.drafting.holes import ATTENTION, NO_ORDER, NOT_FINISHED, OTHER_LABELS, UNEXPLAINED
from data_pipelines.drafting.model.dialogue import Dialogue, Verdict
from data_pipelines.drafting.model.questions import (
    AttentionAnswer,
    CodesAnswer,
    OrderAnswer,
    PairsAnswer,
    TypedQuestion,
    UnfinishedAnswer,
)
from data_pipelines.drafting.outcomes import DraftOutcome
from data_pipelines.drafting.rules import RuleDraft
from data_pipelines.drafting.variants import DraftVariant
from data_pipelines.formats.documents import read_document
from data_pipelines.formats.qualtrics.export import cells
from socsci_jax.errors import InputError

_DOCUMENTS = {".md": "text", ".txt": "text", ".rmd": "text", ".qmd": "text", ".docx": "docx", ".pdf": "pdf"}
MOST_DOCUMENTS = 10
LONGEST_PASSAGE = 12_000
AROUND = 1_500
MOST_CODES = 60
_UNFINISHED = r"(?i)\b(?:in|un)?(?:complet|finish)|\bpartial|\bdropp?ed out|\bbroke off"
# A name of a file stands in a prompt, between quotation marks.
_PLAIN_NAME = re.compile(r"[^\"<>\x00-\x1f\x7f]{1,200}")


def questions_of(draft: RuleDraft) -> tuple[TypedQuestion, ...]:
    """The questions that a model may be asked about the draft's holes, in the draft's order."""
    documents = _documents(draft.folder)
    questions: list[TypedQuestion] = []
    for outcome in draft.outcomes:
        questions += _about_outcome(draft, outcome)
    for attribute in draft.reading.attributes:
        if any(UNEXPLAINED in hole for hole in attribute.holes):
            questions += _about_codes(draft, attribute, documents)
    if documents and any(NOT_FINISHED in hole for hole in draft.specification.unresolved.values()):
        text = (
            "Do responses that people did not finish count in the authors' analyses, or were they excluded?"
        )
        passages = {name: _passage(words, _UNFINISHED) for name, words in documents.items()}
        questions.append(
            TypedQuestion(key="unfinished", kind="unfinished", text=text, sources=passages, about=_UNFINISHED)
        )
    return tuple(questions)


def resolve(draft: RuleDraft, dialogue: Dialogue, *, model: str) -> RuleDraft:
    """The draft with what was answered; every decision says which model made it and what it quoted."""
    told = {v.question.key: v for v in dialogue.verdicts if v.answer is not None}
    checks: list[tuple[str, str, str]] = []
    outcomes = []
    for outcome in draft.outcomes:
        changed, check = _changed_outcome(outcome, told, model)
        if check is not None:
            checks.append(check)
        else:
            outcomes.append(changed)
    attributes = tuple(_changed_attribute(a, told, model) for a in draft.reading.attributes)
    unfinished = told.get("unfinished")
    answer = unfinished.answer if unfinished is not None else None
    return draft.settled(
        reading=dataclasses.replace(draft.reading, attributes=attributes),
        outcomes=tuple(outcomes),
        rulings=Rulings(
            checks=tuple(checks),
            unfinished=answer.unfinished if isinstance(answer, UnfinishedAnswer) else "",
            unfinished_told=_by(unfinished, model) if unfinished is not None else "",
        ),
    )


# --- questions --------------------------------------------------------------------------------------------------


def _about_outcome(draft: RuleDraft, outcome: DraftOutcome) -> Iterator[TypedQuestion]:
    asked = outcome.asked
    place = f"{draft.survey_path.name}, {asked.question.id}"
    lines = "\n".join(f"{code}: {label}" for code, label in outcome.scale.levels.items())
    sources = {place: f"{asked.question.text}\n{asked.label}\n{lines}"[:LONGEST_PASSAGE]}
    codes = tuple(outcome.scale.levels)
    if NO_ORDER in outcome.holes and 2 < len(codes) <= MOST_CODES:
        yield TypedQuestion(
            key=f"order {outcome.name}",
            kind="order",
            text=(
                "Do the choices of this question have one order, as the points of a scale have, or are they names of "
                "different things? If they have, give all codes from one end to the other."
            ),
            sources=sources,
            codes=codes,
        )
    if (
        ATTENTION in outcome.holes
        and outcome.asked.choices
        and outcome.asked.question.kind in ("single", "matrix")
    ):
        yield TypedQuestion(
            key=f"attention {outcome.name}",
            kind="attention",
            text="Is this a check of attention that tells people what to answer? If so, which code is right?",
            sources=sources,
            codes=(*codes, *outcome.scale.alternatives),
        )
    for variant in _with_other_labels(outcome):
        other = f"{draft.survey_path.name}, {variant.asked.question.id}"
        words = "\n".join(f"{code}: {label}" for code, label in variant.scale.levels.items())
        yield TypedQuestion(
            key=_pairs_key(outcome, variant),
            kind="pairs",
            text=(
                "Two groups of people were asked this in two wordings with other choices. Which code of the second "
                "wording means the same as which code of the first, as an outcome?"
            ),
            sources={**sources, other: f"{variant.asked.question.text}\n{words}"[:LONGEST_PASSAGE]},
            codes=codes,
            others=tuple(variant.scale.levels),
        )


def _with_other_labels(outcome: DraftOutcome) -> list[DraftVariant]:
    if not any(OTHER_LABELS in hole for hole in outcome.holes):
        return []
    return [
        variant
        for variant in outcome.variants
        if variant.column is not None
        and variant.scale is not None
        and len(variant.scale.levels) == len(outcome.scale.levels) > 1
    ]


def _pairs_key(outcome: DraftOutcome, variant: DraftVariant) -> str:
    return f"pairs {outcome.name} {variant.column}"


def _about_codes(
    draft: RuleDraft, attribute: DraftAttribute, documents: dict[str, str]
) -> Iterator[TypedQuestion]:
    others = [name for name in draft.design.export.table.columns if name != attribute.column]
    passages = {
        name: passage
        for name, text in documents.items()
        if (passage := _of_column(text, attribute.column, others))
    }
    values = sorted({cell for cell in cells(draft.design.export.table, attribute.column) if cell})
    if passages and len(values) <= MOST_CODES:
        yield TypedQuestion(
            key=f"codes {attribute.name}",
            kind="codes",
            text=f"What do the codes of the column {attribute.column!r} ({attribute.name} of a person) mean?",
            sources=passages,
            codes=tuple(values),
        )


def _of_column(text: str, column: str, others: list[str]) -> str:
    """What a document says from a mention of the column to that of another one, so that no other's codes are quoted."""
    own = re.compile(rf"(?i)(?<!\w){re.escape(column)}(?!\w)")
    named = [re.escape(name) for name in others if len(name) > 1]
    ends = re.compile(rf"(?i)(?<!\w)(?:{'|'.join(named)})(?!\w)|^#" if named else r"^#", re.MULTILINE)
    parts = []
    for match in own.finditer(text):
        end = ends.search(text, match.end())
        parts.append(
            text[match.start() : min(end.start() if end else len(text), match.end() + AROUND)].strip()
        )
    return "\n...\n".join(parts)[:LONGEST_PASSAGE]


def _documents(folder: Path) -> dict[str, str]:
    """The deposit's readable documents by name."""
    documents: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        kind = _DOCUMENTS.get(path.suffix.lower())
        if kind is None or path.is_symlink() or not path.is_file() or len(documents) >= MOST_DOCUMENTS:
            continue
        if not _PLAIN_NAME.fullmatch(str(path.relative_to(folder))):
            continue
        try:
            documents[str(path.relative_to(folder))] = read_document(path, kind=kind)
        except InputError:
            continue
    return documents


def _passage(text: str, wanted: str) -> str:
    """The text, or of a long one what stands around the places that match."""
    if len(text) <= LONGEST_PASSAGE:
        return text
    parts, end = [], 0
    for match in re.finditer(wanted, text):
        start = max(end, match.start() - AROUND)
        end = max(start, min(len(text), match.end() + AROUND))
        parts.append(text[start:end])
        if sum(map(len, parts)) > LONGEST_PASSAGE:
            break
    return "\n...\n".join(parts)[:LONGEST_PASSAGE] or text[:LONGEST_PASSAGE]


# --- answers ----------------------------------------------------------------------------------------------------


def _by(verdict: Verdict, model: str) -> str:
    quote = verdict.answer.quote
    words = " ".join(quote.words.split())
    return f'model {model}, quoting {quote.source}: "{words[:200]}"'


def _changed_outcome(
    outcome: DraftOutcome, told: dict[str, Verdict], model: str
) -> tuple[DraftOutcome, tuple[str, str, str] | None]:
    """The outcome as answered, or the attention check that it is."""
    attention = told.get(f"attention {outcome.name}")
    if attention is not None and isinstance(attention.answer, AttentionAnswer):
        if attention.answer.is_check:
            right = _cell(outcome, attention.answer.right or "")
            return outcome, (outcome.asked.column.name, right, _by(attention, model))
        outcome = _closed(outcome, ATTENTION, _by(attention, model))
    order = told.get(f"order {outcome.name}")
    if order is not None and isinstance(order.answer, OrderAnswer):
        scale = dataclasses.replace(outcome.scale, order_unknown=False, nominal=not order.answer.ordered)
        if order.answer.ordered:
            scale = _in_order(scale, order.answer.order)
        outcome = _closed(dataclasses.replace(outcome, scale=scale), NO_ORDER, _by(order, model))
    variants = _with_other_labels(outcome)
    paired = {v.column: told.get(_pairs_key(outcome, v)) for v in variants}
    if variants and all(verdict is not None for verdict in paired.values()):
        changed = tuple(
            _paired(v, paired[v.column].answer) if v.column in paired and v in variants else v
            for v in outcome.variants
        )
        by = "; ".join(_by(verdict, model) for verdict in paired.values())
        hole = next(hole for hole in outcome.holes if OTHER_LABELS in hole)
        outcome = _closed(dataclasses.replace(outcome, variants=changed), hole, by)
    return outcome, None


def _in_order(scale: DraftScale, order: list[str]) -> DraftScale:
    """The scale whose levels count up along the order; codes that do not are written anew, each for its own."""
    numbers = sorted(float(code) for code in order)
    counted = [float(code) for code in order]
    if counted in (numbers, numbers[::-1]):
        return scale
    places = [f"{number:g}" for number in numbers]
    return dataclasses.replace(
        scale,
        levels={place: scale.levels[code] for place, code in zip(places, order, strict=True)},
        recoded={code: place for place, code in zip(places, order, strict=True)},
    )


def _cell(outcome: DraftOutcome, code: str) -> str:
    """What a cell of the code says: the code, or its label in a text export."""
    coding = outcome.asked.coding
    if coding is None or coding.kind == "numeric":
        return code
    return next((c.text for c in outcome.asked.choices if c.value == code), code)


def _paired(variant: DraftVariant, answer: PairsAnswer) -> DraftVariant:
    """The variant whose codes are those of the first wording."""
    levels = {first: variant.scale.levels[second] for first, second in answer.pairs.items()}
    return dataclasses.replace(
        variant,
        scale=dataclasses.replace(variant.scale, levels=levels),
        codes={second: first for first, second in answer.pairs.items()},
    )


def _closed(outcome: DraftOutcome, hole: str, told: str) -> DraftOutcome:
    holes = tuple(h for h in outcome.holes if h != hole)
    return dataclasses.replace(outcome, holes=holes, told=(*outcome.told, told))


def _changed_attribute(attribute: DraftAttribute, told: dict[str, Verdict], model: str) -> DraftAttribute:
    verdict = told.get(f"codes {attribute.name}")
    if verdict is None or not isinstance(verdict.answer, CodesAnswer):
        return attribute
    return dataclasses.replace(
        attribute,
        recode=dict(verdict.answer.labels),
        holes=tuple(hole for hole in attribute.holes if UNEXPLAINED not in hole),
        told=(*attribute.told, _by(verdict, model)),
    )
