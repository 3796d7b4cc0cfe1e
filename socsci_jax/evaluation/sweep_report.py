"""Writing a sweep: its table as CSV and Parquet, its plot, and the laws in words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from socsci_jax.evaluation.sweep_plot import plot
from socsci_jax.evaluation.sweep_table import SWEEP_SCHEMA
from socsci_jax.foreign_text import write_csv
from socsci_jax.storage import new_file


def write_sweep(table: pl.DataFrame, out: Path) -> None:
    """Writes sweep.csv, sweep.parquet and sweep.png to the folder `out`, each whole or not at all."""

    def write(name: str, content: Callable[[Path], object]) -> None:
        with new_file(out / name) as partial:
            content(partial)

    write("sweep.csv", lambda path: write_csv(table, path))
    write("sweep.parquet", lambda path: pq.write_table(table.to_arrow().cast(SWEEP_SCHEMA), path))
    write(
        "sweep.png",
        lambda path: plot(table).savefig(path, format="png", dpi=200, metadata={"Software": None}),
    )
