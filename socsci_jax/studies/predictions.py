"""The predictions table: one Parquet file, from this program or from any other simulator.

A row is exact (`probs` over `levels`) or a draw (`value`, null where the text was not a number).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from socsci_jax.errors import InputError
from socsci_jax.reading import parse_json, parse_json_object
from socsci_jax.storage import new_file
from socsci_jax.studies.pairs import Pairs
from socsci_jax.studies.prediction_checks import check_rows
from socsci_jax.studies.schema import PREDICTIONS_SCHEMA, VARIANT
from socsci_jax.studies.store import StudyStore
from socsci_jax.tables import decompressed, open_parquet, read_parquet, to_polars, unreadable
from socsci_jax.wording import counted, kind_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METADATA_KEY = b"socsci_jax"
# A table of somebody else has item_id, participant_id, and levels with probs, or draw with value.
OPTIONAL = ("levels", "probs", "mass_on_levels", "draw", "value", "seen", "unseen")
_WITH_VARIANT = PREDICTIONS_SCHEMA.append(pa.field(VARIANT, pa.string()))
_HINT = "write it again with `socsci-jax simulate`, or with any writer of Parquet or CSV"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predictions:
    """`frame` has the columns of PREDICTIONS_SCHEMA; `metadata` is empty where the writer gave none.

    A null participant_id means: one prediction for everybody who answered the item.  `pairs` holds what was asked and
    of whom, where that is known.
    """

    frame: pl.DataFrame
    metadata: Mapping[str, object] = dataclasses.field(default_factory=dict)
    pairs: Pairs | None = dataclasses.field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        items, people = self.frame["item_id"].n_unique(), self.frame["participant_id"].drop_nulls().n_unique()
        return f"Predictions({counted(items, 'item')} × {counted(people, 'persona') if people else 'all personas'}, {counted(self.frame.height, 'row')})"

    def shares(self) -> pl.DataFrame:
        """Share of each level of each item, averaged over personas; see `summaries.shares`."""
        from socsci_jax.studies import summaries

        return summaries.shares(self)

    def means(self) -> pl.DataFrame:
        """Mean answer to each item, in units of its scale; see `summaries.means`."""
        from socsci_jax.studies import summaries

        return summaries.means(self)

    def differences(self) -> pl.DataFrame:
        """Differences of means between the conditions of each outcome; see `summaries.differences`."""
        from socsci_jax.studies import summaries

        return summaries.differences(self)

    def plot(self) -> Figure:
        """Bars of the share of each answer, a panel per question and a color per condition."""
        from socsci_jax.studies import summaries

        return summaries.plot_shares(self)

    def write(self, path: str | Path) -> Path:
        """Writes the table as Parquet, and returns its path."""
        write_predictions(path, self.frame, metadata=self.metadata)
        return Path(path)

    def _repr_html_(self) -> str:
        """What a notebook shows: the shares of answers, or the table where the items are not known."""
        return (self.frame if self.pairs is None else self.shares())._repr_html_()


def write_predictions(
    path: str | Path, frames: pl.DataFrame | Iterable[pl.DataFrame], *, metadata: Mapping[str, object]
) -> None:
    """Writes the whole file next to its final place, then moves it there.

    Each frame must have all columns of PREDICTIONS_SCHEMA, in any order, and is written before the next is taken;
    `metadata` must be JSON.
    """
    path = Path(path)
    packed = json.dumps(dict(metadata), ensure_ascii=False, sort_keys=True).encode()
    has_variants = isinstance(frames, pl.DataFrame) and VARIANT in frames.columns
    schema = (_WITH_VARIANT if has_variants else PREDICTIONS_SCHEMA).with_metadata({METADATA_KEY: packed})
    with new_file(path) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as writer:
        for frame in [frames] if isinstance(frames, pl.DataFrame) else frames:
            writer.write_table(frame.select(schema.names).to_arrow().cast(schema))


def read_predictions(path: str | Path, store: StudyStore) -> Predictions:
    """Reads a predictions table and checks it against the store, before anything is computed from it.

    Raises InputError for a file that is not such a table, an unknown item or participant, levels that are not
    levels of the item's scale, invalid probabilities, and rows given twice.  Draws (`value`) are not
    checked here: what a simulator answered off the scale is counted by the evaluation, not refused.
    """
    path = Path(path)
    frame, schema = _read(path)
    metadata = _metadata(path, schema)
    made_of = metadata.get("store_hash")
    if made_of not in (None, store.content_hash):
        raise InputError(
            f"{path}: these predictions were made of another content of the study store (hash {str(made_of)[:12]}, that of "
            f"{store.path} is {store.content_hash[:12]}); give the store that they were made of, or simulate again."
        )
    check_rows(path, frame, store)
    return Predictions(frame=frame, metadata=metadata, pairs=_pairs(frame, store))


def _pairs(frame: pl.DataFrame, store: StudyStore) -> Pairs:
    """What was asked and of whom, where every row names a person."""
    asked = frame.select("item_id", "participant_id").drop_nulls().unique(maintain_order=True)
    studies = store.item_places.select("item_id", "study_id")
    return Pairs.of_store(store, asked.join(studies, on="item_id", how="left", maintain_order="left"))


def read_metadata(path: str | Path) -> dict[str, Any]:
    """What a predictions table says of itself, without its rows; raises InputError as `read_predictions`."""
    with open_parquet(Path(path), hint=_HINT) as opened:
        return _metadata(Path(path), opened.schema_arrow)


def _metadata(path: Path, schema: pa.Schema) -> dict[str, Any]:
    packed = (schema.metadata or {}).get(METADATA_KEY, b"{}")
    # Values of a run that diverged are not finite, and were written as such.
    return parse_json_object(packed, where=f"{path}: the metadata under key 'socsci_jax'", finite=False)


def _read(path: Path) -> tuple[pl.DataFrame, pa.Schema]:
    """The rows in the columns of PREDICTIONS_SCHEMA, and the file's own schema with its metadata."""
    if path.suffix.lower() in (".csv", ".gz"):
        table = _from_csv(path)
    else:
        table = read_parquet(
            path, _WITH_VARIANT, hint=_HINT, optional=(*OPTIONAL, VARIANT), from_integers=("participant_id",)
        )
    _check_columns(path, table)
    frame = to_polars(table, path, hint=_HINT)
    return frame if frame[VARIANT].count() else frame.drop(VARIANT), table.schema


def _check_columns(path: Path, table: pa.Table) -> None:
    if not table.num_rows:
        raise InputError(f"{path}: the table has no rows.")
    if table["item_id"].null_count:
        row = table["item_id"].is_null().index(True).as_py()
        raise InputError(f"{path}, row {row}: item_id is empty; name the item that is predicted.")
    if all(table[name].null_count == table.num_rows for name in ("probs", "draw", "value")):
        raise InputError(
            f"{path}: no row predicts anything; give `levels` and `probs`, or `draw` and `value`."
        )


def _from_csv(path: Path) -> pa.Table:
    """The same columns as CSV, in which a list is JSON: `[1, 2, 3]`."""
    try:
        frame = pl.read_csv(decompressed(path, hint=_HINT), infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(path, error, hint=_HINT) from error
    missing = [name for name in PREDICTIONS_SCHEMA.names if name not in (*frame.columns, *OPTIONAL)]
    if missing:
        raise InputError(f"{path}: column {missing[0]!r} is missing; found {frame.columns[:40]}; {_HINT}.")
    columns = []
    for field in _WITH_VARIANT:
        if field.name not in frame.columns:
            columns.append(pa.nulls(frame.height, field.type))
            continue
        texts = frame[field.name]
        parsed = [
            _cell(text, field.type, where=f"{path}, row {row}, column {field.name!r}")
            for row, text in enumerate(texts)
        ]
        columns.append(pa.array(parsed, field.type))
    return pa.table(columns, schema=_WITH_VARIANT)


def _cell(text: str | None, kind: pa.DataType, *, where: str) -> object:
    if text is None or (text := text.strip()) == "":
        return None
    if pa.types.is_string(kind):
        return text
    value = parse_json(text, where=where, hint="a number is written 0.5, a list [0.5, 0.5]")
    numbers: list[Any] = value if isinstance(value, list) else [value]
    inner = kind.value_type if pa.types.is_list(kind) else kind
    bound = 2 ** (inner.bit_width - 1) if pa.types.is_integer(inner) else float("inf")
    for number in numbers:
        whole = not pa.types.is_integer(inner) or number == int(number) if _is_number(number) else False
        if not whole or not -bound <= number < bound:
            raise InputError(f"{where}: {kind_of(number)} found, needed {kind}.")
    if isinstance(value, list) != pa.types.is_list(kind):
        raise InputError(f"{where}: {kind_of(value)} found, needed {kind}.")
    values = [inner_value(inner, number) for number in numbers]
    return values if isinstance(value, list) else values[0]


def inner_value(kind: pa.DataType, number: float) -> float:
    return int(number) if pa.types.is_integer(kind) else float(number)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
