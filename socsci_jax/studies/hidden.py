"""Hidden states: one vector for each item, what a model holds when it has read an item and is to answer it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from socsci_jax import bounds
from socsci_jax.errors import InputError
from socsci_jax.reading import parse_json_object
from socsci_jax.storage import new_file
from socsci_jax.tables import open_parquet, read_rows
from socsci_jax.wording import counted

SCHEMA_VERSION = 1
_METADATA = b"socsci_jax.hidden"
HINT = "write it again with `socsci-jax simulate --hidden`"


@dataclasses.dataclass(frozen=True, eq=False)
class HiddenStates:
    """`by_item` holds a vector [D] in float16 for each item; `metadata` says of which model and store."""

    by_item: Mapping[str, np.ndarray]
    metadata: Mapping[str, Any]


def hidden_file(predictions: Path) -> Path:
    """Where the hidden states of a predictions file lie: next to it."""
    return predictions.with_name(f"{predictions.stem}.hidden.parquet")


def check_size(items: int, width: int) -> None:
    """Raises InputError for more than bounds.HIDDEN_BYTES of hidden states."""
    size = 2 * items * width
    if size > bounds.HIDDEN_BYTES:
        raise InputError(
            f"hidden states of {counted(items, 'item')} with {width:,} numbers each take {size / 2**20:,.0f} MiB; at most "
            f"{bounds.HIDDEN_BYTES / 2**20:,.0f} MiB are stored."
        )


def write_hidden_states(path: Path, states: Mapping[str, np.ndarray], *, metadata: Mapping[str, Any]) -> None:
    """Writes the vectors as fixed-size lists of float16, items in order of their ids; replaces what is there."""
    ids = sorted(states)
    values = np.stack([states[item_id] for item_id in ids]).astype(np.float16)
    check_size(*values.shape)
    table = pa.table(
        {
            "item_id": ids,
            "state": pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1]),
        }
    )
    told = json.dumps({"schema_version": SCHEMA_VERSION, **metadata}, sort_keys=True).encode()
    with new_file(path) as partial:
        pq.write_table(table.replace_schema_metadata({_METADATA: told}), partial, compression="zstd")


def read_hidden_states(path: Path) -> HiddenStates:
    """Raises InputError for a file that is none, holds a number that is not finite, or names an item twice."""
    with open_parquet(path, hint=HINT) as opened:
        told = (opened.schema_arrow.metadata or {}).get(_METADATA)
        rows = read_rows(opened, path, hint=HINT)
    kind = rows.schema.field("state").type if "state" in rows.schema.names else None
    if told is None or kind is None or "item_id" not in rows.schema.names:
        raise InputError(f"{path}: no table of hidden states; {HINT}.")
    if not pa.types.is_fixed_size_list(kind) or not pa.types.is_floating(kind.value_type):
        raise InputError(f"{path}: column 'state' holds {kind}, not lists of one length; {HINT}.")
    check_size(rows.num_rows, kind.list_size)
    ids = pl.Series(rows["item_id"].to_pylist(), dtype=pl.String)
    flat = rows["state"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    if ids.null_count() or ids.n_unique() < len(ids) or flat.size != len(ids) * kind.list_size:
        raise InputError(f"{path}: an item is missing or given twice; {HINT}.")
    if not np.isfinite(flat).all():
        raise InputError(f"{path}: hidden states that are not finite; {HINT}.")
    states = flat.reshape(len(ids), kind.list_size)
    return HiddenStates(
        dict(zip(ids, states, strict=True)), parse_json_object(told, where=str(path), hint=HINT)
    )
