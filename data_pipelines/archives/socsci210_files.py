"""The files of a SocSci210 release as tables: Parquet shards, or JSON lines with the same columns."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl
import pyarrow as pa

from socsci_jax.column_types import alike
from socsci_jax.errors import InputError
from socsci_jax.reading import JsonLine, json_lines
from socsci_jax.studies.scale import format_value
from socsci_jax.studies.schema import SOCSCI210_ATTRIBUTES
from socsci_jax.studies.store_builder import StoreBuilder
from socsci_jax.tables import open_parquet, packed_batches, to_polars, unreadable, written_out
from socsci_jax.wording import kind_of

INTEGERS = ("sample_id", "participant", "response", "condition_num", "task_num")
TEXTS = ("study_id", "stimuli", "prompt")
COLUMNS = (*INTEGERS, *TEXTS, "demographic")
FLAT_SCHEMA = {
    **{name: pl.Int64 for name in INTEGERS},
    **{name: pl.String for name in TEXTS},
    **{name: pl.String for name in SOCSCI210_ATTRIBUTES},
}
BATCH_ROWS = 50_000
# Integers up to here are exact as float64, in which some programs keep a column that has nulls.
_EXACT = 2**53


def release_folder(source: Path) -> Path:
    """The folder or file of a release, fetched from the hub where `source` is an id there."""
    if source.exists():
        return source
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", source.as_posix()):
        raise InputError(
            f"{source}: there is no such file or folder; give the folder of the Parquet shards, or the data set's "
            "id on the hub as organization/name."
        )
    import huggingface_hub

    try:
        return Path(
            huggingface_hub.snapshot_download(
                source.as_posix(),
                repo_type="dataset",
                allow_patterns=["*.parquet", "data/*.parquet", "metadata/*.json"],
            )
        )
    except Exception as error:  # the client raises errors of many libraries; all of them mean: not fetched
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{source}: no such folder here, and it could not be fetched from the hub as a data set "
            f"({type(error).__name__}: {reason}); download it elsewhere and give its folder."
        ) from error


def release_files(folder: Path) -> list[Path]:
    """The shards, there or in the folder `data`."""
    if folder.is_file():
        return [folder]
    for place in (folder, folder / "data"):
        for pattern in ("*.parquet", "*.jsonl"):
            files = sorted(place.glob(pattern))
            if files:
                return files
    raise InputError(
        f"{folder}: neither *.parquet nor *.jsonl here or in its folder data; give the folder of the shards."
    )


def batches(file: Path, builder: StoreBuilder) -> Iterator[pl.DataFrame]:
    """Tables with the columns of FLAT_SCHEMA and `row`, the number of the row in its file from 1 on.

    A number that is not whole and a value of another type are null.  Records of a JSON-lines file that are damaged go
    to the rejects.  Raises InputError for a file that is not of this form.
    """
    return _parquet_batches(file) if file.suffix == ".parquet" else _json_batches(file, builder)


# --- Parquet ----------------------------------------------------------------------------------------------------------


def _parquet_batches(file: Path) -> Iterator[pl.DataFrame]:
    hint = "fetch it again"
    with open_parquet(file, hint=hint) as shard:
        _check_types(file, shard.schema_arrow)
        first = 1
        try:
            for rows in packed_batches(shard, file, hint=hint, columns=list(COLUMNS), rows=BATCH_ROWS):
                batch = written_out(pa.Table.from_batches([rows]), shard.schema_arrow)
                batch.validate(full=True)  # polars takes it on trust that texts are UTF-8
                table = to_polars(batch, file, hint=hint)
                flat = table.drop("demographic").hstack(table["demographic"].struct.unnest())
                flat = flat.with_columns(
                    *(_whole_numbers(flat, name) for name in INTEGERS),
                    *(pl.col(name).cast(pl.String) for name in TEXTS),
                    *(_texts(flat, name) for name in SOCSCI210_ATTRIBUTES),
                )
                yield flat.select(*FLAT_SCHEMA).with_row_index("row", offset=first)
                first += batch.num_rows
        except (OSError, pa.ArrowException, pl.exceptions.PolarsError) as error:
            raise unreadable(file, error, hint=hint) from error


def _check_types(file: Path, schema: pa.Schema) -> None:
    absent = [name for name in COLUMNS if name not in schema.names]
    if absent:
        raise InputError(_absent(f"{file}", absent, schema.names))
    for names, needed, what in ((INTEGERS, pa.int64(), "whole numbers"), (TEXTS, pa.string(), "texts")):
        for name in names:
            if not alike(schema.field(name).type, needed):
                raise InputError(
                    f"{file}: column {name!r} is of type {str(schema.field(name).type)[:80]}, not of {what}."
                )
    demographic = schema.field("demographic").type
    if not pa.types.is_struct(demographic):
        raise InputError(
            f"{file}: column 'demographic' is {str(demographic)[:80]}, a struct of attributes is needed."
        )
    problem = _strange_attribute([field.name for field in demographic])
    if problem:
        raise InputError(f"{file}: {problem}.")
    for field in demographic:
        if pa.types.is_nested(field.type) or pa.types.is_binary(field.type):
            raise InputError(
                f"{file}: 'demographic.{field.name}' is {str(field.type)[:80]}, a text or number is needed."
            )


def _whole_numbers(rows: pl.DataFrame, name: str) -> pl.Expr:
    """The column as integers: 3.0 is 3, what is not whole is null."""
    if not rows.schema[name].is_float():
        return pl.col(name).cast(pl.Int64, strict=False)
    is_whole = (pl.col(name) == pl.col(name).round()) & (pl.col(name).abs() <= _EXACT)
    return pl.when(is_whole).then(pl.col(name)).otherwise(None).cast(pl.Int64).alias(name)


def _texts(rows: pl.DataFrame, name: str) -> pl.Expr:
    if name not in rows.columns:
        return pl.lit(None, pl.String).alias(name)
    if rows.schema[name].is_float():  # 34.0 where a null made floats of a column of whole numbers
        written = {value: _text(value) for value in rows[name].unique() if value is not None}
        return pl.Series(name, [None if v is None else written.get(v, "nan") for v in rows[name]], pl.String)
    return pl.col(name).cast(pl.String)


# --- JSON lines -------------------------------------------------------------------------------------------------------


def _json_batches(file: Path, builder: StoreBuilder) -> Iterator[pl.DataFrame]:
    """A damaged record costs no other one; a file without one whole record is of another form."""
    lines = json_lines(file, finite=False, hint="fetch it again")
    first_problem, whole = None, False
    while chunk := list(itertools.islice(lines, BATCH_ROWS)):
        records = []
        for line in chunk:
            problem = _problem(line)
            if problem is None:
                records.append({"row": line.number, **_flat(line.value)})
                continue
            first_problem = first_problem or f"{file}:{line.number}: {problem}."
            builder.reject("response", place=f"{file.name}:{line.number}", reason=problem)
        whole = whole or bool(records)
        yield pl.DataFrame(records, schema={"row": pl.UInt32, **FLAT_SCHEMA})
    if first_problem and not whole:
        raise InputError(first_problem)


def _problem(line: JsonLine) -> str | None:
    """Why a line is no record of the published form; None if it is one."""
    if line.problem is not None:
        return line.problem
    if not isinstance(line.value, dict):
        return f"{kind_of(line.value)} instead of a JSON object"
    absent = [name for name in COLUMNS if name not in line.value]
    if absent:
        return _absent("", absent, list(line.value)).removeprefix(": ").removesuffix(".")
    demographic = line.value["demographic"]
    if demographic is None:
        return None
    if not isinstance(demographic, dict):
        return f"column 'demographic' is {kind_of(demographic)}, an object of attributes is needed"
    nested = [name for name, value in demographic.items() if isinstance(value, dict | list)]
    if nested:
        return f"'demographic.{nested[0]}' is {kind_of(demographic[nested[0]])}, a text or number is needed"
    return _strange_attribute(list(demographic))


def _flat(record: Mapping) -> dict:
    """One record in the columns of FLAT_SCHEMA; a value of another type than the column's is null."""
    demographic = record["demographic"] or {}
    return {
        **{name: _whole_number(record[name]) for name in INTEGERS},
        **{name: record[name] if isinstance(record[name], str) else None for name in TEXTS},
        **{name: _text(demographic.get(name)) for name in SOCSCI210_ATTRIBUTES},
    }


def _whole_number(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value == int(value) and abs(value) <= _EXACT else None
    return value if -(2**63) <= value < 2**63 else None


# --- both -------------------------------------------------------------------------------------------------------------


def _text(value: object) -> str | None:
    """The value as text, whole numbers without a fraction; what means that nothing is known is left for the store."""
    if isinstance(value, float) and math.isfinite(value):
        return format_value(value)
    return None if value is None else str(value)


def _absent(where: str, absent: list[str], names: list[str]) -> str:
    return (
        f"{where}: missing columns {', '.join(map(repr, absent))}; found {names[:40]}, needed {list(COLUMNS)} as "
        "published."
    )


def _strange_attribute(names: list[str]) -> str | None:
    strange = [name for name in names if name not in SOCSCI210_ATTRIBUTES]
    if not strange:
        return None
    return f"column 'demographic' has the field {strange[0][:80]!r}; known are {list(SOCSCI210_ATTRIBUTES)}"
