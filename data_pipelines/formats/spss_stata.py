"""SPSS and Stata files with their labels and missing codes, through pyreadstat."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from data_pipelines.formats.excel import text_of
from data_pipelines.formats.tables import Table, make_table
from socsci_jax.errors import InputError
from socsci_jax.studies.specification_parts import code


def read_spss_or_stata(path: Path, *, kind: str) -> Table:
    """Cells are codes; a missing code that somebody declared stays in its cell and is listed under `missing`.

    Stata's extended missing values (.a to .z) are the codes ".a" to ".z".
    """
    import pyreadstat

    if kind == "stata":
        columns, about = pyreadstat.read_dta(str(path), user_missing=True, output_format="dict")
    elif path.suffix.lower() == ".por":
        columns, about = pyreadstat.read_por(str(path), output_format="dict")
    else:
        columns, about = pyreadstat.read_sav(str(path), user_missing=True, output_format="dict")
    # The reader gives the second of them another name.
    if again := [n for n in columns if (m := re.fullmatch(r"(.*)_duplicated\d+", n)) and m[1] in columns]:
        raise InputError(
            f"two columns are called {again[0].rpartition('_')[0]!r}; give each a name of its own."
        )
    value_labels = {
        name: {_label_code(value, kind): str(label) for value, label in labels.items()}
        for name, labels in about.variable_value_labels.items()
    }
    letters = {name: frozenset(f".{v}" for v in values) for name, values in about.missing_user_values.items()}
    cells = {
        name: [_cell(value, letters=bool(letters.get(name))) for value in values]
        for name, values in columns.items()
    }
    missing = {
        name: frozenset(_declared(cells[name], ranges)) for name, ranges in about.missing_ranges.items()
    }
    return make_table(
        path.name,
        cells,
        labels={n: str(label) for n, label in about.column_names_to_labels.items() if label},
        value_labels=value_labels,
        missing={name: codes for name, codes in {**missing, **letters}.items() if codes},
        notes=[f"{path.name}: read as {about.file_encoding}."]
        if about.file_encoding not in (None, "UTF-8")
        else [],
    )


def _cell(value: object, *, letters: bool) -> str | None:
    if isinstance(value, float) and math.isnan(value):
        return None
    if letters and isinstance(value, str) and len(value) == 1:
        return f".{value}"
    return text_of(value)


def _label_code(value: object, kind: str) -> str:
    return f".{value}" if kind == "stata" and isinstance(value, str) and len(value) == 1 else code(value)


def _declared(cells: Iterable[str | None], ranges: Iterable[Mapping]) -> set[str]:
    """The codes among the cells that a file's missing ranges cover, and the single ones that they name."""
    bounds = [(r["lo"], r["hi"]) for r in ranges]
    named = {code(lo) for lo, hi in bounds if lo == hi}
    for cell in {cell for cell in cells if cell is not None}:
        try:
            number = float(cell)
        except ValueError:
            continue
        if any(not isinstance(lo, str) and lo <= number <= hi for lo, hi in bounds):
            named.add(cell)
    return named
