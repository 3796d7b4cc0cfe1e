"""JSON lines as a table: a record a row, fields of nested objects as columns "profile.gender", lists joined."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from data_pipelines.formats.limits import MOST_COLUMNS
from data_pipelines.formats.tables import Table, check_size, make_table
from socsci_jax.errors import InputError
from socsci_jax.reading import json_lines
from socsci_jax.studies.scale import format_value
from socsci_jax.wording import kind_of

# Between the texts of a list: utterances and paragraphs stand below each other, short tags side by side.
_SHORT = 40


def read_json_table(path: Path) -> Table:
    """The table of a file of JSON lines; lines that are no objects become `misfits`.

    A list of texts is one cell; a list of objects is refused, because which of them a row is about is not told.
    Raises InputError for a file without one object.
    """
    columns: dict[str, list[str | None]] = {}
    misfits: list[tuple[int, str]] = []
    rows = 0
    for place, line in enumerate(json_lines(path, finite=False), start=1):
        problem = line.problem or (
            None if isinstance(line.value, Mapping) else f"{kind_of(line.value)}, no object"
        )
        fields = {} if problem else dict(_flat(line.value, ""))
        if problem is None and (nested := [name for name, cell in fields.items() if isinstance(cell, list)]):
            problem = f"{nested[0]!r} is a list of objects; give one record a line"
        if problem is not None:
            misfits.append((place, problem))
            continue
        for name, cell in fields.items():
            columns.setdefault(name, [None] * rows).append(cell)
        rows += 1
        if len(columns) > MOST_COLUMNS:
            check_size(path.name, rows=1, columns=len(columns))
        for cells in columns.values():
            if len(cells) < rows:
                cells.append(None)
    if not rows:
        raise InputError(
            f"{path}: not one JSON object{f' ({misfits[0][1]})' if misfits else ''}; one a line is needed."
        )
    table = make_table(path.name, columns)
    gone = {place for place, _ in misfits}
    kept = [place for place in range(1, rows + len(misfits) + 1) if place not in gone]
    return Table(
        name=table.name, frame=table.frame, numbers=type(table.numbers)("row", kept), misfits=tuple(misfits)
    )


def _flat(fields: Mapping, before: str) -> Iterator[tuple[str, str | list | None]]:
    """Cells by the path of their field; a list of objects stays a list."""
    for name, value in fields.items():
        path = f"{before}{name}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}.")
        elif isinstance(value, list) and any(isinstance(part, Mapping | list) for part in value):
            yield path, value
        elif isinstance(value, list):
            texts = [text for part in value if (text := _cell(part))]
            yield path, ("; " if all(len(text) <= _SHORT for text in texts) else "\n").join(texts) or None
        else:
            yield path, _cell(value)


def _cell(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return format_value(value) if math.isfinite(value) else None
    return str(value)
