"""Finished parts of a simulation on disk: memory stays bounded, and a run that is stopped goes on where it was."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from socsci_jax.data.prompt_table import PromptTable, sort_by_tokens

# Parts hold whole prefixes, so what a prefix shares is lost at no border; their results are some megabytes.
PAIRS_PER_PART = 8192


def parts_of(table: PromptTable, *, pairs_per_part: int) -> list[np.ndarray]:
    """The pairs of `table` (indices, ascending within a part) in parts of whole prefixes.

    Prefixes stand in the order of their tokens, so that those of one study come together.  A part ends with the
    prefix that fills it.
    """
    rank = sort_by_tokens(table.prefixes).rank[table.pair_prefix]
    order = np.argsort(rank, kind="stable")
    starts = np.flatnonzero(np.diff(rank[order], prepend=-1))
    cuts, begun = [], 0
    for start in starts[1:]:
        if start - begun >= pairs_per_part:
            cuts.append(start)
            begun = start
    return [np.sort(part) for part in np.split(order, cuts)]


class FinishedParts:
    """The folder beside a predictions table in which its parts wait until all are there.

    It belongs to one simulation: parts that were made with other metadata (model, data, settings) are discarded.
    """

    def __init__(self, out: Path, metadata: dict):
        self.folder = out.parent / f".{out.name}.parts"
        identity = json.dumps({**metadata, "pairs_per_part": PAIRS_PER_PART}, sort_keys=True)
        written = self.folder / "simulation.json"
        if not (written.is_file() and written.read_text() == identity):
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            written.write_text(identity)

    def has(self, number: int) -> bool:
        return self._path(number).is_file()

    def write(self, number: int, rows: pl.DataFrame) -> None:
        partial = self.folder / f"partial-{number:05d}"
        rows.write_parquet(partial)
        os.replace(partial, self._path(number))

    def read(self, count: int) -> Iterator[pl.DataFrame]:
        """The first `count` parts in their order, one at a time."""
        for number in range(count):
            yield pl.read_parquet(self._path(number))

    def remove(self) -> None:
        shutil.rmtree(self.folder)

    def _path(self, number: int) -> Path:
        return self.folder / f"part-{number:05d}.parquet"
