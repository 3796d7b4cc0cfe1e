"""Rationales: texts that a user supplies, one per response, to be written before the number in training.

They were written knowing the answer, so they never enter a study store or a prompt: they exist in training alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import polars as pl
import pyarrow as pa

from socsci_jax.errors import InputError
from socsci_jax.reading import panics_as_errors
from socsci_jax.tables import decompressed, read_parquet, to_polars, unreadable

KEYS = ("item_id", "participant_id")


@dataclasses.dataclass(frozen=True, eq=False)
class Rationales:
    """`frame` has item_id, participant_id and rationale, one row a response; `end` stands before the number."""

    frame: pl.DataFrame
    end: str

    @property
    def content_hash(self) -> str:
        rows = self.frame.sort(KEYS).write_csv().encode()
        return hashlib.sha256(rows + b"\0" + self.end.encode()).hexdigest()


def read_rationales(path: Path, *, end: str) -> Rationales:
    """Reads a CSV or Parquet file.

    Raises InputError for a file that cannot be read, a missing column, a response named twice or an empty text.
    """
    hint = "data.rationales is a CSV or Parquet file of item_id, participant_id, rationale"
    if path.suffix == ".parquet":
        schema = pa.schema([(name, pa.string()) for name in (*KEYS, "rationale")])
        frame = to_polars(read_parquet(path, schema, hint=hint, from_integers=KEYS), path, hint=hint)
    else:
        try:
            with panics_as_errors():
                frame = pl.read_csv(decompressed(path, hint=hint), infer_schema=False)
        except (pl.exceptions.PolarsError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise unreadable(path, error, hint=hint) from error
    missing = [name for name in (*KEYS, "rationale") if name not in frame.columns]
    if missing:
        raise InputError(f"{path}: column {missing[0]!r} is missing; {hint}.")
    frame = frame.select(*KEYS, "rationale")
    if (twice := frame.select(KEYS).is_duplicated()).any():
        row = frame.filter(twice).row(0)
        raise InputError(f"data.rationales: {path} names item {row[0]!r}, participant {row[1]!r} twice.")
    empty = frame.filter(pl.col("rationale").fill_null("").str.strip_chars() == "")
    if not empty.is_empty():
        raise InputError(
            f"data.rationales: {path} has no text for item {empty['item_id'][0]!r}, participant "
            f"{empty['participant_id'][0]!r}; exclude responses without a rationale."
        )
    return Rationales(frame, end)
