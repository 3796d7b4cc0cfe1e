"""Texts of many rows in little memory: some rows are compressed together, and read again when one of them is asked for."""

from __future__ import annotations

import bisect
import functools
from collections.abc import Iterable, Iterator

import pyarrow as pa

# To read one text so many are unpacked: fewer compress badly, more take longer.
ROWS_TOGETHER = 64
# Of some hundred kilobytes each.  Items of a study stand together, and are asked for together, in any order.
UNPACKED_PARTS = 256
_WRITTEN = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
_READ = pa.ipc.IpcReadOptions(use_threads=False)


class PackedTexts:
    """Rows of texts, as tuples in the order of the columns."""

    def __init__(self, pieces: Iterable[pa.Table], *, columns: tuple[str, ...]):
        """Takes `columns` of each piece, and lets go of it before it asks for the next."""
        self._starts: list[int] = []
        sink = pa.BufferOutputStream()
        rows = 0
        schema = pa.schema([(name, pa.string()) for name in columns])
        with pa.ipc.new_file(sink, schema, options=_WRITTEN) as writer:
            for piece in pieces:
                for batch in piece.select(list(columns)).to_batches(ROWS_TOGETHER):
                    writer.write_batch(batch)
                    self._starts.append(rows)
                    rows += batch.num_rows
        self._file = pa.ipc.open_file(sink.getvalue(), options=_READ)
        self._part = functools.lru_cache(maxsize=UNPACKED_PARTS)(self._file.get_batch)

    def __getitem__(self, row: int) -> tuple[str, ...]:
        """`row` counts from 0."""
        number = bisect.bisect_right(self._starts, row) - 1
        place = row - self._starts[number]
        return tuple(column[place].as_py() for column in self._part(number).columns)

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        for number in range(len(self._starts)):
            yield from zip(*(column.to_pylist() for column in self._file.get_batch(number).columns))
