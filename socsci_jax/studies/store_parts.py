"""Tables of a store that were collected in parts: what is there twice is kept once, what nobody answered is excluded.

A part is what one file of a deposit gave, in memory or as Parquet files; of all parts only keys are held at once.
"""

from __future__ import annotations

import collections
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from socsci_jax.errors import InputError
from socsci_jax.studies.schema import REJECTS_SCHEMA

# Rows that are written together; while they are hashed they are Python objects, a few kilobytes each.
ROWS_AT_A_TIME = 65_536
# Values of participants that mean that nothing is known.
UNKNOWN_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("study_id", "participant_id", "attribute", "value")]
)
_PERSON = ["study_id", "participant_id"]

Part = Mapping[str, pa.Table | Path]
"""Tables, or their Parquet files, by name: those of a store, and `unknown` (UNKNOWN_SCHEMA)."""


def batches_of(part: Part, name: str) -> Iterator[pa.RecordBatch]:
    """The rows of one table of a part."""
    table = part[name]
    if isinstance(table, Path):
        with pq.ParquetFile(table) as file:
            yield from file.iter_batches(ROWS_AT_A_TIME)
    else:
        yield from table.to_batches(max_chunksize=ROWS_AT_A_TIME)


def columns_of(part: Part, name: str, columns: Sequence[str]) -> pl.DataFrame:
    """Some columns of one table of a part."""
    table = part[name]
    selected = (
        pq.read_table(table, columns=list(columns)) if isinstance(table, Path) else table.select(columns)
    )
    return pl.DataFrame(pl.from_arrow(selected))


class MergedParts:
    """The tables of a store as its parts give them, in their order; `source` names the deposit in errors.

    Of a study, item or participant that several parts hold, the first one stays.  Items and participants without
    answers stay only with `keeps_unanswered`; else such items become rejects.
    """

    def __init__(self, parts: Sequence[Part], *, source: str, keeps_unanswered: bool):
        """Raises InputError if there is no answer, or one of a participant whom no part holds."""
        self._parts, self._source = parts, source
        items = pl.concat([columns_of(part, "items", ["item_id", "study_id"]) for part in parts])
        people = pl.concat([columns_of(part, "participants", _PERSON) for part in parts])
        studies = pl.concat([columns_of(part, "studies", ["study_id"]) for part in parts])
        self._first = {
            "studies": studies["study_id"].is_first_distinct(),
            "items": items["item_id"].is_first_distinct(),
            "participants": people.select(pl.struct(_PERSON).is_first_distinct()).to_series(),
        }
        answered_items, answered_people = self._answered(items)
        if answered_items.is_empty() and not (keeps_unanswered and items.height):
            self._no_answer()
        missing = answered_people.join(people, on=_PERSON, how="anti")
        if not missing.is_empty():
            raise InputError(
                f"{source}: answers of a participant that was never added, {min(missing.iter_rows())}."
            )
        self._kept = dict(self._first)
        if not keeps_unanswered:
            self._kept["items"] &= _is_among(items, answered_items)
            self._kept["participants"] &= _is_among(people, answered_people)
        self._kept["studies"] &= _is_among(
            studies, items.filter(self._kept["items"]).select("study_id").unique()
        )

    def batches(self, name: str) -> Iterator[pa.RecordBatch]:
        """The rows of a table of the store."""
        if name in self._kept:
            yield from self._rows(name, self._kept[name])
            return
        for part in self._parts:
            yield from batches_of(part, name)
        if name == "rejects":
            for batch in self._rows("items", self._first["items"] & ~self._kept["items"]):
                yield pa.RecordBatch.from_pylist(
                    [_without_answers(item) for item in batch.to_pylist()], schema=REJECTS_SCHEMA
                )

    def unanswering_people(self) -> int:
        """How many participants have no answer that was kept, and so are not in the store."""
        return int((self._first["participants"] & ~self._kept["participants"]).sum())

    def unknown_values(self) -> dict[str, dict[str, int]]:
        """How often each value of each attribute meant that nothing is known, the most frequent first."""
        firsts, collected = self._first["participants"], []
        for part in self._parts:
            people = columns_of(part, "participants", _PERSON)
            first, firsts = firsts[: people.height], firsts[people.height :]
            unknown = columns_of(part, "unknown", UNKNOWN_SCHEMA.names)
            collected.append(
                unknown.join(people.filter(first), on=_PERSON, how="semi", maintain_order="left")
            )
        counts = pl.concat(collected).group_by("attribute", "value", maintain_order=True).len()
        values: dict[str, dict[str, int]] = {}
        for attribute, value, count in counts.sort("len", descending=True, maintain_order=True).iter_rows():
            values.setdefault(attribute, {})[value] = count
        return dict(sorted(values.items()))

    def _answered(self, items: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Items that have answers, and people who gave them."""
        items = items.unique("item_id", keep="first")
        of_items, of_people = [], []
        for part in self._parts:
            answers = columns_of(part, "responses", ["item_id", "participant_id"])
            of_items.append(answers.select("item_id").unique())
            of_people.append(answers.join(items, on="item_id").select(_PERSON).unique())
        return pl.concat(of_items).unique(), pl.concat(of_people).unique()

    def _rows(self, name: str, kept: pl.Series) -> Iterator[pa.RecordBatch]:
        """The rows of a table at which `kept`, over those of all parts, is true."""
        start = 0
        for part in self._parts:
            for batch in batches_of(part, name):
                yield batch.filter(kept[start : start + batch.num_rows].to_arrow())
                start += batch.num_rows

    def _no_answer(self) -> None:
        reasons = collections.Counter(
            reason for part in self._parts for reason in columns_of(part, "rejects", ["reason"])["reason"]
        )
        raise InputError(f"{self._source}: not one answer could be read; the reasons were {dict(reasons)}.")


def _is_among(rows: pl.DataFrame, keys: pl.DataFrame) -> pl.Series:
    """Whether each row has one of these distinct keys."""
    marked = keys.with_columns(found=pl.lit(True))
    return rows.join(marked, on=keys.columns, how="left", maintain_order="left")["found"].fill_null(False)


def _without_answers(item: Mapping[str, Any]) -> dict[str, str]:
    return {
        "kind": "item",
        "place": f"study {item['study_id']}, condition {item['condition']!r}, outcome {item['outcome']!r}",
        "reason": "item without answers",
        "record": json.dumps({"item_id": item["item_id"]}),
    }


def write_tables(
    folder: Path, schemas: Mapping[str, pa.Schema], batches: Callable[[str], Iterator[pa.RecordBatch]]
) -> tuple[str, dict[str, int]]:
    """Writes a Parquet file for each table; returns the content hash of all, and the rows of each.

    The hash is SHA-256 of what the tables say, independent of file format, compression and library versions.
    """
    digest, rows = hashlib.sha256(), dict.fromkeys(schemas, 0)
    for name, schema in schemas.items():
        with pq.ParquetWriter(folder / f"{name}.parquet", schema, compression="zstd") as writer:
            for batch in _even(batches(name)):
                digest.update(json.dumps([name, batch.to_pydict()], ensure_ascii=False).encode())
                writer.write_batch(batch)
                rows[name] += batch.num_rows
    return digest.hexdigest(), rows


def _even(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows, ROWS_AT_A_TIME in each batch but the last, however they came."""
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        waiting.append(batch)
        count += batch.num_rows
        while count >= ROWS_AT_A_TIME:
            table = pa.Table.from_batches(waiting)
            yield from table.slice(0, ROWS_AT_A_TIME).combine_chunks().to_batches()
            count -= ROWS_AT_A_TIME
            waiting = table.slice(ROWS_AT_A_TIME).to_batches()
    if count:
        yield from pa.Table.from_batches(waiting).combine_chunks().to_batches()
