"""Answers that a store's builder collects: millions of them, as numbers."""

from __future__ import annotations

import array

import numpy as np
import pyarrow as pa

from socsci_jax.studies.schema import RESPONSES_SCHEMA


class ResponseColumns:
    """Columns of answers as numbers: items and participants are numbered, so that an answer takes 24 bytes."""

    def __init__(self) -> None:
        self._item_numbers: dict[str, int] = {}
        self._person_numbers: dict[str, int] = {}
        self._item = array.array("i")
        self._person = array.array("i")
        self._value = array.array("d")
        self._sample = array.array("q")
        self._weights: dict[int, float] = {}

    def append(
        self, item_id: str, participant_id: str, value: float, sample_id: int, weight: float | None
    ) -> None:
        if weight is not None:
            self._weights[len(self._item)] = weight
        self._item.append(self._item_numbers.setdefault(item_id, len(self._item_numbers)))
        self._person.append(self._person_numbers.setdefault(participant_id, len(self._person_numbers)))
        self._value.append(value)
        self._sample.append(sample_id)

    def table(self) -> pa.Table:
        def texts(numbers: array.array[int], known: dict[str, int]) -> pa.Array:
            return pa.array(list(known), pa.string()).take(pa.array(np.asarray(numbers)))

        weights = pa.nulls(len(self._item), pa.float64())
        if self._weights:
            weights = pa.array([self._weights.get(row) for row in range(len(self._item))], pa.float64())
        columns = [
            texts(self._item, self._item_numbers),
            texts(self._person, self._person_numbers),
            pa.array(np.asarray(self._value)),
            pa.array(np.asarray(self._sample)),
            weights,
        ]
        return pa.table(columns, schema=RESPONSES_SCHEMA)
