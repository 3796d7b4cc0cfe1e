"""Cells that hold several choices at once, "1,3" or "Bus,Bike", as an export writes them unless told to split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from data_pipelines.drafting.choice_scales import code_key, squeezed
from data_pipelines.formats.qualtrics.questionnaire import Choice

# Distinct cells of one column; with more, it is no list of choices that anybody wants to review.
MOST_CELLS = 500
LONGEST_CELL = 5_000


def joined_choices(values: Iterable[str], choices: Sequence[Choice]) -> Mapping[str, frozenset[str]]:
    """Ids of the choices in each distinct cell; empty where some cell is not made of choices alone."""
    ids_of: dict[str, frozenset[str]] = {}
    by_code = {code_key(choice.value): choice.id for choice in choices}
    by_label = {squeezed(choice.text): choice.id for choice in choices if choice.text}
    for value in values:
        if value in ids_of or not value:
            continue
        ids = _coded(value, by_code) or _labeled(squeezed(value)[:LONGEST_CELL], by_label)
        if ids is None or len(ids_of) >= MOST_CELLS:
            return {}
        ids_of[value] = ids
    return ids_of


def _coded(value: str, by_code: Mapping[str, str]) -> frozenset[str] | None:
    parts = [code_key(part) for part in value.split(",")]
    return frozenset(by_code[part] for part in parts) if all(part in by_code for part in parts) else None


def _labeled(text: str, by_label: Mapping[str, str]) -> frozenset[str] | None:
    """The labels that the text is made of, between commas; labels may hold commas themselves."""
    # Ways to read the text up to each place, at most one kept.
    read: dict[int, frozenset[str]] = {0: frozenset()}
    for place in range(len(text)):
        if place not in read:
            continue
        for label, choice in by_label.items():
            end = place + len(label)
            if label and text.startswith(label, place) and (end == len(text) or text[end] == ","):
                read.setdefault(end if end == len(text) else end + 1, read[place] | {choice})
    return read.get(len(text)) or None
