"""Excel and OpenDocument workbooks, through python-calamine."""

from __future__ import annotations

import datetime
from pathlib import Path

from data_pipelines.formats.tables import Table, check_size, column_names, make_table
from socsci_jax.errors import InputError
from socsci_jax.studies.specification_parts import code
from socsci_jax.wording import counted


def read_excel(path: Path, *, sheet: str | None) -> Table:
    """The table of one sheet: its first row that is not empty is the header.

    Raises InputError if there are several sheets with cells and none is named.
    """
    import python_calamine

    workbook = python_calamine.CalamineWorkbook.from_path(str(path))
    names = workbook.sheet_names
    if sheet is not None and sheet not in names:
        raise InputError(f"sheet {sheet!r} is not there; found {', '.join(map(repr, names))}.")
    sheets = {name: workbook.get_sheet_by_name(name) for name in ([sheet] if sheet is not None else names)}
    filled = {
        name: sheet_frame for name, sheet_frame in sheets.items() if sheet_frame.height and sheet_frame.width
    }
    if not filled:
        raise InputError("no sheet holds cells; a header and rows are needed.")
    if len(filled) != 1:
        sheet_frame = ", ".join(map(repr, filled))
        raise InputError(
            f"{counted(len(filled), 'sheet holds', 'sheets hold')} cells ({sheet_frame}); say which one under `sheet`."
        )
    ((name, sheet_frame),) = filled.items()
    check_size(path.name, rows=sheet_frame.height, columns=sheet_frame.width)
    rows = sheet_frame.iter_rows()
    header = next((row for row in rows if any(cell != "" for cell in row)), [])
    # Columns at the right of the last name are notes next to the table, or nothing.
    width = max((i for i, cell in enumerate(header, start=1) if cell != ""), default=0)
    notes = [f"{path.name}: sheet {name!r}."] if len(names) > 1 and sheet is None else []
    columns = column_names(path.name, [text_of(cell) for cell in header[:width]], notes)
    cells: list[list[str | None]] = [[] for _ in columns]
    beyond = 0
    for row in rows:
        beyond += any(cell != "" for cell in row[width:])
        for values, cell in zip(cells, row[:width], strict=True):
            values.append(text_of(cell))
    if beyond:
        notes.append(
            f"{path.name}: {counted(beyond, 'row has', 'rows have')} cells at the right of the last named column; not read."
        )
    return make_table(path.name, dict(zip(columns, cells, strict=True)), notes=notes)


def text_of(cell: object) -> str | None:
    """A cell as text: whole numbers without a point, dates as 2024-11-04, nothing as null."""
    if cell is None or cell == "":
        return None
    if isinstance(cell, bool):
        return "TRUE" if cell else "FALSE"
    if isinstance(cell, datetime.datetime | datetime.date | datetime.time):
        return cell.isoformat().removesuffix("T00:00:00")
    return code(cell)
