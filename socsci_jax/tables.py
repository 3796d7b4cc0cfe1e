"""Tables that may come from elsewhere: Parquet, checked against a schema, and CSV, also compressed."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from socsci_jax import bounds
from socsci_jax.column_types import alike, name_given_twice
from socsci_jax.errors import InputError
from socsci_jax.reading import panics_as_errors
from socsci_jax.wording import counted

if TYPE_CHECKING:
    import polars as pl

BATCH_ROWS = 65_536
_FAILURES = (OSError, pa.ArrowException, ValueError, KeyError, TypeError, OverflowError)


def open_parquet(path: Path, *, hint: str) -> pq.ParquetFile:
    """One Parquet file, never a folder of them, of a bounded number of rows and with each name once.

    Raises InputError that ends with `hint`.
    """
    try:
        if not path.is_file():
            raise InputError(f"{path}: {'is no file' if path.exists() else 'file not found'}; {hint}.")
        opened = pq.ParquetFile(path)
    except InputError:
        raise
    except _FAILURES as error:
        raise unreadable(path, error, hint=hint) from error
    rows = opened.metadata.num_rows
    if not 0 <= rows <= bounds.TABLE_ROWS:
        raise InputError(
            f"{path}: says that it has {counted(rows, 'row')}, at most {bounds.TABLE_ROWS:,} are read; {hint}."
        )
    if twice := name_given_twice(opened.schema_arrow):
        raise InputError(f"{path}: column {twice!r} is there twice; {hint}.")
    return opened


def read_parquet(
    path: Path,
    schema: pa.Schema,
    *,
    hint: str,
    columns: Sequence[str] | None = None,
    optional: Sequence[str] = (),
    filled: Sequence[str] = (),
    from_integers: Sequence[str] = (),
) -> pa.Table:
    """The columns of `schema` with its types and the file's metadata; other columns are excluded.

    Of a file that has all of them only `columns` are read, if they are given.  Columns of `optional` may be missing and are
    then null; those of `filled` hold no null; those of `from_integers` are ids that some programs keep as integers.
    Numbers are widened, texts of one kind become those of another, and nothing else is converted.  Raises InputError that
    ends with `hint`.
    """
    with open_parquet(path, hint=hint) as opened:
        _check_columns(opened, path, schema, hint=hint, optional=optional, from_integers=from_integers)
        asked = _of_schema(schema, columns)
        names = [name for name in asked.names if name in opened.schema_arrow.names]
        try:
            checked = _typed(read_rows(opened, path, hint=hint, columns=names), asked)
            # What reading took beside the table, which the allocator would keep: 0.4 GB for 580,000 items.
            pa.default_memory_pool().release_unused()
        except _FAILURES as error:
            raise unreadable(path, error, hint=hint) from error
    _check_filled(checked, path, filled, hint=hint)
    return checked


def read_parquet_pieces(
    path: Path, schema: pa.Schema, *, hint: str, columns: Sequence[str], filled: Sequence[str] = ()
) -> Iterator[pa.Table]:
    """As `read_parquet`, BATCH_ROWS at a time: of texts that take gigabytes one piece is in memory."""
    with open_parquet(path, hint=hint) as opened:
        _check_columns(opened, path, schema, hint=hint)
        asked, row = _of_schema(schema, columns), 0
        try:
            pieces = (
                packed_batches(opened, path, hint=hint, columns=columns)
                if _may_be_packed(path)
                else opened.iter_batches(BATCH_ROWS, columns=columns)
            )
            for piece in pieces:
                checked = _typed(pa.Table.from_batches([piece]), asked)
                _check_filled(checked, path, filled, hint=hint, row=row)
                yield checked
                row += checked.num_rows
        except InputError:
            raise
        except _FAILURES as error:
            raise unreadable(path, error, hint=hint) from error


def _of_schema(schema: pa.Schema, columns: Sequence[str] | None) -> pa.Schema:
    return schema if columns is None else pa.schema([schema.field(name) for name in columns])


def _check_columns(
    opened: pq.ParquetFile,
    path: Path,
    schema: pa.Schema,
    *,
    hint: str,
    optional: Sequence[str] = (),
    from_integers: Sequence[str] = (),
) -> None:
    """Raises InputError for a column that is missing, or has another type than `schema` says."""
    names = opened.schema_arrow.names
    missing = [name for name in schema.names if name not in names and name not in optional]
    if missing:
        raise InputError(
            f"{path}: column {missing[0]!r} is missing; found {names[:40]}, needed "
            f"{[name for name in schema.names if name not in optional]}; {hint}."
        )
    for field in schema:
        if field.name in names:
            stored = opened.schema_arrow.field(field.name).type
            is_number = field.name in from_integers and pa.types.is_integer(stored)
            if not is_number and not alike(stored, field.type):
                raise InputError(
                    f"{path}: column {field.name!r} has type {str(stored)[:80]}, needed {str(field.type)[:200]}; {hint}."
                )


def _typed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of `schema` with its types, null where the table lacks one; raises what _FAILURES names."""
    columns = [
        table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    checked = pa.table(columns, schema=schema.with_metadata(table.schema.metadata))
    checked.validate(full=True)  # texts that are not UTF-8, lists that end before they begin
    return checked


def _check_filled(table: pa.Table, path: Path, filled: Sequence[str], *, hint: str, row: int = 0) -> None:
    """Raises InputError for a null in a column of `filled`; the table's first row is number `row` of the file."""
    for name in filled:
        if table[name].null_count:
            row += table[name].is_null().index(True).as_py()
            raise InputError(f"{path}, row {row}: column {name!r} is empty; {hint}.")


def _may_be_packed(path: Path) -> bool:
    """Whether a file is so small that its repetitions could stand for very much; of others, reading them apart only costs."""
    return path.stat().st_size <= bounds.SMALL_TABLE_BYTES


def read_rows(
    opened: pq.ParquetFile, path: Path, *, hint: str, columns: Sequence[str] | None = None
) -> pa.Table:
    """All rows of an open file; raises InputError that ends with `hint` where a small file stands for very much."""
    if not _may_be_packed(path):
        return opened.read(columns)
    batches = list(packed_batches(opened, path, hint=hint, columns=columns))
    table = pa.Table.from_batches(batches) if batches else opened.read(columns)
    return written_out(table, opened.schema_arrow)


def packed_batches(
    opened: pq.ParquetFile,
    path: Path,
    *,
    hint: str,
    columns: Sequence[str] | None = None,
    rows: int = BATCH_ROWS,
) -> Iterator[pa.RecordBatch]:
    """Rows with every repeated text kept once, as the file keeps it.

    Raises InputError as soon as what was read would take more memory, written out, than is allowed.
    """
    most = max(bounds.TABLE_BYTES, bounds.GROWTH * path.stat().st_size)
    leaves = [opened.schema.column(i) for i in range(len(opened.schema))]
    texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
    size = 0
    with pq.ParquetFile(path, read_dictionary=texts) as packed:
        for batch in packed.iter_batches(rows, columns=columns):
            size += sum(map(_bytes_written_out, batch.columns))
            if size > most:
                raise InputError(
                    f"{path}: its rows take more than {most:,} bytes of memory, the most for a file of this size; {hint}."
                )
            yield batch


def written_out(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """What `packed_batches` gave, with the types that the file names."""
    fields = [schema.field(name) for name in table.column_names]
    columns = [table[field.name].cast(field.type) for field in fields]
    return pa.table(columns, schema=pa.schema(fields, table.schema.metadata))


def _bytes_written_out(array: pa.Array) -> int:
    """Bytes of the array's values with every repeated text written out."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        if not (pa.types.is_string(kind.value_type) or pa.types.is_large_string(kind.value_type)):
            return 8 * len(array)
        return pc.sum(pc.take(pc.binary_length(array.dictionary), array.indices)).as_py() or 0
    if pa.types.is_struct(kind):
        return sum(map(_bytes_written_out, array.flatten()))
    if pa.types.is_map(kind):
        first, end = array.offsets[0].as_py(), array.offsets[-1].as_py()
        return sum(_bytes_written_out(part.slice(first, end - first)) for part in (array.keys, array.items))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _bytes_written_out(array.flatten())
    return array.nbytes


def to_polars(table: pa.Table | pa.RecordBatch, path: Path, *, hint: str) -> pl.DataFrame:
    """The table for polars, which takes it on trust that names and metadata are UTF-8, and panics where they are not."""
    import polars as pl

    try:
        with panics_as_errors():
            return pl.DataFrame(pl.from_arrow(table.replace_schema_metadata(None)))
    except (ValueError, pl.exceptions.PolarsError) as error:
        raise unreadable(path, error, hint=hint) from error


def check_columns_once(path: Path, names: Sequence[str]) -> None:
    """Raises InputError where a CSV names a column twice: polars gives the second another name without a word."""
    for name in names:
        again = re.fullmatch(r"(.*)_duplicated_\d+", name, re.DOTALL)
        if again and again[1] in names:
            raise InputError(f"{path}: two columns are called {again[1]!r}; give each a name of its own.")


def unreadable(path: Path, error: Exception, *, hint: str) -> InputError:
    said = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    return InputError(f"{path}: not a readable table ({said}); {hint}.")


def decompressed(path: Path, *, hint: str) -> bytes:
    """The bytes of a table's file, decompressed if it is gzip.

    Raises InputError if it is damaged, grows far beyond what text does, or has a header of too many columns, each of which
    costs its reader far more than its bytes.
    """
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            limit = max(bounds.GROWN_BYTES, bounds.GROWTH * len(content))
            with gzip.open(path) as file:
                content = file.read(limit + 1)
            if len(content) > limit:
                raise InputError(
                    f"{path}: grows to more than {limit:,} bytes when it is decompressed, {bounds.GROWTH} times its "
                    f"size, which no table of answers does; {hint}."
                )
    except (OSError, EOFError, zlib.error, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise unreadable(path, error, hint=hint) from error
    end = content.find(b"\n")
    columns = 1 + content.count(b",", 0, len(content) if end < 0 else end)
    if columns > bounds.TABLE_COLUMNS and not content.startswith(b"PAR1"):
        raise InputError(f"{path}: {columns:,} columns; at most {bounds.TABLE_COLUMNS:,} are read.")
    return content


def read_table(path: str | Path) -> pl.DataFrame:
    """Any columns, as Parquet (known by its first bytes) or CSV, also compressed; empty fields and NA are missing.

    Raises InputError for a file that is no table, or has no rows.
    """
    import polars as pl

    path, hint = Path(path), "give a CSV or Parquet file with a row of column names"
    if not path.is_file():
        raise InputError(f"{path}: {'is no file' if path.exists() else 'file not found'}; {hint}.")
    content = decompressed(path, hint=hint)
    try:
        if content[:4] == b"PAR1":
            with open_parquet(path, hint=hint) as opened:
                frame = pl.DataFrame(pl.from_arrow(read_rows(opened, path, hint=hint)))
        else:
            frame = pl.read_csv(content, null_values=["", "NA"], infer_schema_length=None)
            check_columns_once(path, frame.columns)
    except InputError:
        raise
    except (pl.exceptions.PolarsError, *_FAILURES) as error:
        raise unreadable(path, error, hint=hint) from error
    if frame.is_empty():
        raise InputError(f"{path}: the table has no rows.")
    return frame
