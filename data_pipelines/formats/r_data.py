"""Data frames in R's .rds and .RData files, through rdata's parser: values and attributes only.

The parser builds a tree of what the file holds; nothing in it is evaluated, and functions or expressions in a file
are never run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from data_pipelines.formats.tables import Table, column_names, make_table
from socsci_jax.errors import InputError
from socsci_jax.studies.specification_parts import code

# R's NA of integers and of logical values.
_NA_INTEGER = -(2**31)


def read_r(path: Path, *, object_name: str | None) -> Table:
    """The only data frame of the file, or the one that is named.

    A factor's cells are its labels; columns of haven's class `haven_labelled` keep codes, labels and missing codes.
    """
    import rdata

    root = rdata.parser.parse_file(path, extension=_extension(path)).object
    frames = {name: value for name, value in _objects(root) if _is_frame(value)}
    if object_name is not None and object_name not in frames:
        raise InputError(
            f"data frame {object_name!r} is not there; found {', '.join(map(repr, frames)) or 'none'}."
        )
    if object_name is None and len(frames) != 1:
        raise InputError(
            f"{len(frames)} data frames ({', '.join(map(repr, frames)) or 'none'}); "
            "say which one under `object`, or save one with saveRDS."
        )
    frame = frames[object_name if object_name is not None else next(iter(frames))]
    notes: list[str] = []
    names = column_names(path.name, _strings(_attributes(frame)["names"]), notes)
    columns, labels, value_labels, missing = {}, {}, {}, {}
    for name, column in zip(names, frame.value, strict=True):
        attributes = _attributes(column)
        cells = _cells(column, attributes)
        if cells is None:
            notes.append(f"{path.name}: column {name!r} is no vector of numbers or texts; not read.")
            continue
        columns[name] = cells
        if "label" in attributes:
            labels[name] = " ".join(t for t in _strings(attributes["label"]) if t)
        if "labels" in attributes and "names" in _attributes(attributes["labels"]):
            texts = _strings(_attributes(attributes["labels"])["names"])
            codes = _cells(attributes["labels"], {}) or []
            value_labels[name] = {c: t or "" for c, t in zip(codes, texts, strict=False) if c is not None}
        if "na_values" in attributes:
            missing[name] = frozenset(c for c in _cells(attributes["na_values"], {}) or [] if c is not None)
    if len({len(cells) for cells in columns.values()}) > 1:
        raise InputError("its columns are of different lengths; the file is damaged.")
    return make_table(
        path.name, columns, labels=labels, value_labels=value_labels, missing=missing, notes=notes
    )


def _extension(path: Path) -> str:
    return ".rds" if path.suffix.lower() == ".rds" else ".rda"


def _objects(root) -> Iterator[tuple[str, object]]:
    """What the file holds, with names: .RData files hold a list of them, .rds files one without a name."""
    if root.info.type.name != "LIST" or _is_frame(root):
        yield "", root
        return
    node = root
    while node is not None and node.info.type.name == "LIST":
        tag = node.tag.referenced_object if node.tag is not None and node.tag.referenced_object else node.tag
        name = _string(tag.value) if tag is not None and tag.value is not None else ""
        yield name or "", node.value[0]
        node = node.value[1]


def _is_frame(value) -> bool:
    return value.info.type.name == "VEC" and "data.frame" in _strings(_attributes(value).get("class"))


def _attributes(value) -> dict[str, object]:
    attributes: dict[str, object] = {}
    node = value.attributes
    while node is not None and node.info.type.name == "LIST":
        tag = node.tag.referenced_object if node.tag.referenced_object is not None else node.tag
        attributes[_string(tag.value) or ""] = node.value[0]
        node = node.value[1]
    return attributes


def _string(value) -> str | None:
    """The text of R's CHAR object (or of the symbol that holds one)."""
    while value is not None and not isinstance(value, bytes):
        value = getattr(value, "value", None)
    return None if value is None else value.decode("utf-8", "replace")


def _strings(value) -> list[str | None]:
    if value is None or value.info.type.name != "STR":
        return []
    return [_string(part) for part in value.value]


def _cells(column, attributes: dict[str, object]) -> list[str | None] | None:
    """The column as texts; None for what is no plain vector."""
    kind = column.info.type.name
    if kind == "STR":
        return _strings(column)
    if kind == "INT":
        numbers = [None if value is None or value == _NA_INTEGER else int(value) for value in _values(column)]
        levels = _strings(attributes.get("levels"))
        if "factor" in _strings(attributes.get("class")):
            if any(n is not None and n > len(levels) for n in numbers):
                raise InputError("a factor has a code beyond its levels; the file is damaged.")
            # Other programs write -1 where R writes NA.
            return [levels[n - 1] if n is not None and n > 0 else None for n in numbers]
        return [None if n is None else str(n) for n in numbers]
    if kind == "REAL":
        return [
            None if value is None or math.isnan(value) else code(float(value)) for value in _values(column)
        ]
    if kind == "LGL":
        numbers = [
            None if value is None or value == _NA_INTEGER else bool(value) for value in _values(column)
        ]
        return [None if value is None else str(value).upper() for value in numbers]
    return None


def _values(column) -> list:
    """The vector's numbers; None where R's NA stands in a mask."""
    return column.value.tolist()
