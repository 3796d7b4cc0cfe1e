"""Who gave the answers: participants' ids, attributes and weights."""

from __future__ import annotations

import collections
from collections.abc import Mapping

from data_pipelines.specified.rows import Rows
from socsci_jax import bounds
from socsci_jax.errors import InputError
from socsci_jax.studies.schema import is_weight
from socsci_jax.studies.specification import Attribute, Study
from socsci_jax.studies.specification_parts import code


def participant_ids(study: Study, rows: Rows) -> list[str | None]:
    """Each row's participant: the codes of the key's columns, or the row's number; null where a key is empty."""
    if not study.participant:
        return [str(number) for number in rows.numbers]
    columns = [rows.codes(name).to_list() for name in study.participant]
    return [None if None in key else "/".join(key) for key in zip(*columns, strict=True)]


def attribute_texts(study: Study, rows: Rows) -> dict[str, list[str | None]]:
    """Each row's attributes as a prompt shows them; null where not known."""
    return {name: _texts(name, what, rows) for name, what in study.attributes.items()}


def _texts(name: str, what: Attribute, rows: Rows) -> list[str | None]:
    column = rows.column(what.column or name)
    labels = rows.table.value_labels.get(column, {})
    unknown = {*what.missing, *rows.table.missing.get(column, ())}
    cells = rows.frame[column].to_list()
    texts = {
        cell: _text(cell if what.free_text else code(cell), what, labels, unknown)
        for cell in set(cells)
        if cell is not None
    }
    told = rows.where(what.rows).to_list() if what.rows else [True] * len(cells)
    return [
        None if cell is None or not tells else texts[cell] for cell, tells in zip(cells, told, strict=True)
    ]


def _text(value: str, what: Attribute, labels: Mapping[str, str], unknown: set[str]) -> str | None:
    if value in unknown:
        return None
    text = what.recode.get(value, labels.get(value, value)).strip()
    if what.free_text:
        return "\n".join(line.rstrip() for line in text.splitlines()) or None
    return f"{text} {what.unit}".strip() if text else None


def weights(study: Study, rows: Rows) -> list[float | None]:
    """Survey weights; raises InputError for one that none can be."""
    if study.weight is None:
        return [None] * rows.frame.height
    read = []
    for number, cell in zip(rows.numbers, rows.cells(study.weight).to_list(), strict=True):
        try:
            weight = None if cell is None else float(cell)
        except ValueError:
            weight = -1.0
        if weight is not None and not is_weight(weight):
            raise InputError(
                f"{rows.table.name}, row {number}: weight {cell!r} is neither 0 nor a number from "
                f"{bounds.LEAST_WEIGHT:g} to {bounds.SURVEY_WEIGHT:g}."
            )
        read.append(weight)
    return read


class People:
    """Collects each participant's attributes; the first known value counts, and others are counted."""

    def __init__(self, names: tuple[str, ...]):
        self.names = names
        self.known: dict[str, dict[str, str]] = collections.defaultdict(dict)
        self.weights: dict[str, float | None] = {}
        self.conflicts: collections.Counter[str] = collections.Counter()

    def add(self, person: str, attributes: Mapping[str, str | None], weight: float | None) -> None:
        known = self.known[person]
        for name, text in attributes.items():
            if text is not None and known.setdefault(name, text) != text:
                self.conflicts[name] += 1
        self.weights.setdefault(person, weight)
