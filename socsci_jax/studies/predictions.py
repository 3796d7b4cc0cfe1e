"""The predictions table: one Parquet file, from this program or from any other simulator.

A row is exact (`probs` over `levels`) or a draw (`value`, null where the text was not a number).
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from socsci_jax.errors import InputError
from socsci_jax.studies.pairs import Pairs
from socsci_jax.studies.scale import Scale, format_value
from socsci_jax.studies.schema import PREDICTIONS_SCHEMA
from socsci_jax.studies.store import StudyStore

METADATA_KEY = b"socsci_jax"
SUM_TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predictions:
    """`frame` has the columns of PREDICTIONS_SCHEMA; `metadata` is empty where the writer gave none.

    A null participant_id means: one prediction for everybody who answered the item.  `pairs` holds what was asked and
    of whom, where that is known.
    """

    frame: pl.DataFrame
    metadata: Mapping[str, object] = dataclasses.field(default_factory=dict)
    pairs: Pairs | None = dataclasses.field(default=None, repr=False, compare=False)


def write_predictions(
    path: str | Path, frames: pl.DataFrame | Iterable[pl.DataFrame], *, metadata: Mapping[str, object]
) -> None:
    """Writes the whole file beside its final place, then moves it there.

    Each frame must have all columns of PREDICTIONS_SCHEMA, in any order, and is written before the next is taken;
    `metadata` must be JSON.
    """
    path = Path(path)
    packed = json.dumps(dict(metadata), ensure_ascii=False, sort_keys=True).encode()
    schema = PREDICTIONS_SCHEMA.with_metadata({METADATA_KEY: packed})
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.parent / f".{path.name}.partial-{uuid.uuid4().hex[:8]}"
    try:
        with pq.ParquetWriter(partial, schema, compression="zstd") as writer:
            for frame in [frames] if isinstance(frames, pl.DataFrame) else frames:
                writer.write_table(frame.select(PREDICTIONS_SCHEMA.names).to_arrow().cast(schema))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_predictions(path: str | Path, store: StudyStore) -> Predictions:
    """Reads a predictions table and checks it against the store, before anything is computed from it.

    Raises InputError for a file that is not such a table, an unknown item or participant, levels that are not
    levels of the item's scale, probabilities that are none, and rows given twice.  Draws (`value`) are not
    checked here: what a simulator answered off the scale is counted by the evaluation, not refused.
    """
    path = Path(path)
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise _unreadable(path, error) from error
    frame = _cast(path, table)
    _check_ids(path, frame, store)
    _check_duplicates(path, frame)
    _check_probs(path, frame, store)
    return Predictions(frame=frame, metadata=_metadata(path, table.schema))


def read_metadata(path: str | Path) -> dict:
    """What a predictions table says of itself, without its rows; raises InputError as `read_predictions`."""
    try:
        return _metadata(Path(path), pq.read_schema(path))
    except (OSError, pa.ArrowInvalid) as error:
        raise _unreadable(Path(path), error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path}: not a readable Parquet file ({str(error).splitlines()[0]}); "
        "write it again with `socsci-jax simulate`, or with any Parquet writer."
    )


def _metadata(path: Path, schema: pa.Schema) -> dict:
    packed = (schema.metadata or {}).get(METADATA_KEY, b"{}")
    try:
        metadata = json.loads(packed)
    except ValueError as error:
        raise InputError(f"{path}: the metadata under key 'socsci_jax' is not JSON ({error}).") from error
    if not isinstance(metadata, dict):
        raise InputError(
            f"{path}: the metadata under key 'socsci_jax' must be a JSON object, found {str(metadata)[:40]!r}."
        )
    return metadata


def _cast(path: Path, table: pa.Table) -> pl.DataFrame:
    missing = [name for name in PREDICTIONS_SCHEMA.names if name not in table.column_names]
    if missing:
        raise InputError(
            f"{path}: column {missing[0]!r} is missing; found {table.column_names}, "
            f"needed {PREDICTIONS_SCHEMA.names} (columns may hold nulls)."
        )
    columns = []
    for field in PREDICTIONS_SCHEMA:
        try:
            columns.append(table[field.name].cast(field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InputError(
                f"{path}: column {field.name!r} has type {table[field.name].type}, needed {field.type} "
                f"({str(error).splitlines()[0]})."
            ) from error
    frame = pl.from_arrow(pa.table(columns, schema=PREDICTIONS_SCHEMA))
    if frame.is_empty():
        raise InputError(f"{path}: the table has no rows.")
    return frame


def _first_row(rows: np.ndarray | pl.Series) -> int:
    """Index of the first True."""
    return int(np.argmax(np.asarray(rows)))


def _check_ids(path: Path, frame: pl.DataFrame, store: StudyStore) -> None:
    items = store.items.select("item_id", "study_id")
    joined = frame.select("item_id", "participant_id").join(
        items, on="item_id", how="left", maintain_order="left"
    )
    unknown = joined["study_id"].is_null()
    if unknown.any():
        row = _first_row(unknown)
        raise InputError(
            f"{path}, row {row}: item_id {frame['item_id'][row]!r} is not in the store {store.path}, whose ids "
            f"look like {items['item_id'][0]!r}; predict the items of this store."
        )
    people = store.participants.select("study_id", "participant_id").with_columns(known=True)
    joined = joined.join(people, on=["study_id", "participant_id"], how="left", maintain_order="left")
    strangers = joined["known"].is_null() & joined["participant_id"].is_not_null()
    if strangers.any():
        row = _first_row(strangers)
        raise InputError(
            f"{path}, row {row}: participant_id {joined['participant_id'][row]!r} is not a participant of study "
            f"{joined['study_id'][row]!r} in {store.path}; use the store's ids, or null for everybody who "
            "answered the item."
        )


def _check_duplicates(path: Path, frame: pl.DataFrame) -> None:
    key = ["item_id", "participant_id", "draw"]
    again = ~frame.select(pl.struct(key).is_first_distinct()).to_series()
    if again.any():
        item, participant, draw = frame.select(key).row(_first_row(again))
        raise InputError(
            f"{path}, row {_first_row(again)}: item {item!r}, participant {participant!r}, draw {draw} was given "
            "before; give each once, and number draws from 0."
        )


def _check_probs(path: Path, frame: pl.DataFrame, store: StudyStore) -> None:
    def fail(rows: np.ndarray | pl.Series, found: str) -> None:
        row = _first_row(rows)
        raise InputError(f"{path}, row {row} (item {frame['item_id'][row]!r}): {found}")

    exact = frame["probs"].is_not_null()
    if not exact.any():
        return
    bare = exact & frame["levels"].is_null()
    if bare.any():
        fail(bare, "probs without levels; give the level that each probability belongs to.")
    lengths = exact & (frame["probs"].list.len() != frame["levels"].list.len())
    if lengths.any():
        row = frame.row(_first_row(lengths), named=True)
        fail(lengths, f"{len(row['probs'])} probs for {len(row['levels'])} levels; give one for each.")

    rows = np.flatnonzero(exact.to_numpy())
    probs = frame["probs"].filter(exact)
    owner = np.repeat(rows, probs.list.len().to_numpy())
    flat = probs.to_arrow().flatten().to_numpy(zero_copy_only=False)
    bad = ~np.isfinite(flat) | (flat < 0)
    if bad.any():
        at = _first_row(bad)
        fail(np.arange(frame.height) == owner[at], f"probability {flat[at]} found; all must be 0 or more.")
    total = np.bincount(owner, weights=flat, minlength=frame.height)
    off = exact.to_numpy() & (np.abs(total - 1) > SUM_TOLERANCE)
    if off.any():
        fail(
            off,
            f"the probabilities sum to {total[_first_row(off)]:.6g}; they must sum to 1, renormalize them.",
        )

    # Millions of rows share a few lists of levels: each (item, list) is looked at once.
    lists = frame.filter(exact).select("item_id", "levels").unique(maintain_order=True)
    for item_id, levels in lists.iter_rows():
        scale = store.item_by_id[item_id].scale
        foreign = [
            level
            for level in levels
            if level is None or not (scale.allows(level) or scale.is_alternative(level))
        ]
        if foreign or len(set(levels)) < len(levels):
            first = (frame["item_id"] == item_id) & (frame["levels"] == pl.Series([levels]))
            named = "None" if not foreign or foreign[0] is None else _show(foreign[0])
            found = f"level {named}" if foreign else "a level given twice"
            fail(
                first.fill_null(False),
                f"{found} found, but its scale is {_describe(scale)}; use its levels, each once.",
            )


def _show(level: float) -> str:
    return format_value(level) if math.isfinite(level) else str(level)


def _describe(scale: Scale) -> str:
    if scale.kind != "levels":
        return f"{scale.kind} ({scale.lo} to {scale.hi})"
    shown = ", ".join(map(_show, scale.levels[:8])) + (", ..." if len(scale.levels) > 8 else "")
    return f"{shown} ({len(scale.levels)} levels)"
