"""Writing what `rectify` found: the table, and beside it the rows that were excluded."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.rectification.rectify import Rectification


def check_output(out: Path, *, replace: bool) -> None:
    """Raises InputError where the table could not be written, before anything is computed."""
    if out.suffix not in (".csv", ".parquet"):
        raise InputError(f"{out}: a table is written as .csv or .parquet; choose one of these names.")
    for path in (out, _rejects(out)):
        if path.exists() and not replace:
            raise InputError(f"{path} exists already; choose another file or pass --replace.")


def write_output(found: Rectification, out: Path) -> list[Path]:
    """Writes the table, and the excluded rows where there are any; returns what was written."""
    out.parent.mkdir(parents=True, exist_ok=True)
    _write(found.table, out)
    if found.rejects.is_empty():
        _rejects(out).unlink(missing_ok=True)  # of an earlier run that is replaced
        return [out]
    _write(found.rejects, _rejects(out))
    return [out, _rejects(out)]


def _rejects(out: Path) -> Path:
    return out.with_name(f"{out.stem}_rejects{out.suffix}")


def _write(frame: pl.DataFrame, path: Path) -> None:
    partial = path.with_name(f".{path.name}.partial-{uuid.uuid4().hex[:8]}")
    try:
        if path.suffix == ".csv":
            frame.write_csv(partial)
        else:
            frame.write_parquet(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
