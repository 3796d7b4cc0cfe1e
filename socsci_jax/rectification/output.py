"""Writing what `rectify` found: the table, and next to it the rows that were excluded and the power curve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.foreign_text import write_csv
from socsci_jax.storage import new_file

if TYPE_CHECKING:  # commands that only write tables need not load estimators
    from socsci_jax.rectification.rectify import Rectification


def check_output(out: Path, *, others: Sequence[str] = (), for_r: Path | None = None, replace: bool) -> None:
    """Raises InputError where a table could not be written, before anything is computed.

    `others` are names of the tables next to it, as `write_tables` takes them.
    """
    for path in (out, for_r):
        if path is not None and path.suffix not in (".csv", ".parquet"):
            raise InputError(f"{path}: a table is written as .csv or .parquet; choose one of these names.")
    for path in (out, for_r, *(_beside(out, name) for name in others)):
        if path is not None and path.exists() and not replace:
            raise InputError(f"{path} exists already; choose another file or pass `replace=True`.")


def write_output(rectified: Rectification, out: Path) -> list[Path]:
    """Writes the table, the excluded rows and the curve where there are any; returns what was written."""
    return write_tables(rectified.table, out, rejects=rectified.rejects, curve=rectified.curve)


def write_tables(table: pl.DataFrame, out: Path, **others: pl.DataFrame | None) -> list[Path]:
    """Writes a table and next to it others that are not empty, as OUT_name; returns what was written."""
    written = [out]
    write_table(table, out)
    for name, frame in others.items():
        path = _beside(out, name)
        if frame is None or frame.is_empty():
            path.unlink(missing_ok=True)  # of an earlier run that is replaced
        else:
            write_table(frame, path)
            written.append(path)
    return written


def _beside(out: Path, name: str) -> Path:
    return out.with_name(f"{out.stem}_{name}{out.suffix}")


def write_table(frame: pl.DataFrame, path: Path) -> None:
    """Writes a table whole, as CSV or Parquet by its name."""
    with new_file(path) as partial:
        if path.suffix == ".csv":
            write_csv(frame, partial)
        else:
            frame.write_parquet(partial)
