"""What is known of the people of a store, each value held once: millions of people share few of them."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl


class Personas(Mapping[tuple[str, str], dict[str, str | None]]):
    """The attributes of each (study_id, participant_id) by name, None where one is not known."""

    def __init__(self, participants: pl.DataFrame):
        """`participants` as the store has them: study_id, participant_id, and the struct `attributes`."""
        self._participants = participants

    # Made when somebody is looked up: of 400,000 people they take 150 MB, and who evaluates asks for nobody.
    @functools.cached_property
    def _rows(self) -> dict[tuple[str, str], int]:
        keys = self._participants.select("study_id", "participant_id").iter_rows()
        return {key: row for row, key in enumerate(keys)}

    @functools.cached_property
    def _columns(self) -> dict[str, tuple[np.ndarray, list[str | None]]]:
        known = self._participants["attributes"].struct.unnest()
        return {name: _numbered(known[name]) for name in known.columns}

    def __getitem__(self, person: tuple[str, str]) -> dict[str, str | None]:
        row = self._rows[person]
        return {name: values[numbers[row]] for name, (numbers, values) in self._columns.items()}

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._rows)

    def __len__(self) -> int:
        return self._participants.height


def _numbered(column: pl.Series) -> tuple[np.ndarray, list[str | None]]:
    """The distinct values, and the number of each row's among them."""
    values = column.unique(maintain_order=True)
    numbers = pl.DataFrame({"value": column}).join(
        pl.DataFrame({"value": values, "number": np.arange(len(values), dtype=np.int32)}),
        on="value",
        how="left",
        nulls_equal=True,
        maintain_order="left",
    )
    return numbers["number"].to_numpy(), values.to_list()
