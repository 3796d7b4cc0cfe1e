"""Writing what `rectify` found: the table, and beside it the rows that were excluded."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.foreign_text import write_csv
from socsci_jax.rectification.rectify import Rectification
from socsci_jax.storage import new_file


def check_output(out: Path, *, replace: bool) -> None:
    """Raises InputError where the table could not be written, before anything is computed."""
    if out.suffix not in (".csv", ".parquet"):
        raise InputError(f"{out}: a table is written as .csv or .parquet; choose one of these names.")
    for path in (out, _rejects(out)):
        if path.exists() and not replace:
            raise InputError(f"{path} exists already; choose another file or pass --replace.")


def write_output(found: Rectification, out: Path) -> list[Path]:
    """Writes the table, and the excluded rows where there are any; returns what was written."""
    write_table(found.table, out)
    if found.rejects.is_empty():
        _rejects(out).unlink(missing_ok=True)  # of an earlier run that is replaced
        return [out]
    write_table(found.rejects, _rejects(out))
    return [out, _rejects(out)]


def _rejects(out: Path) -> Path:
    return out.with_name(f"{out.stem}_rejects{out.suffix}")


def write_table(frame: pl.DataFrame, path: Path) -> None:
    """Writes a table whole, as CSV or Parquet by its name."""
    with new_file(path) as partial:
        if path.suffix == ".csv":
            write_csv(frame, partial)
        else:
            frame.write_parquet(partial)
