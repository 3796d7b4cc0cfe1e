"""Records of a data set as its publishers release it: Parquet or JSON lines, a file or a folder of shards."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from socsci_jax.errors import InputError
from socsci_jax.reading import JsonLine, json_lines
from socsci_jax.studies.store_builder import StoreBuilder
from socsci_jax.tables import open_parquet, unreadable
from socsci_jax.wording import kind_of

# Shards hold persons of a megabyte each.
BATCH_ROWS = 64
_HINT = "fetch it again"
SHOWN_COLUMNS = 40


@dataclasses.dataclass(frozen=True)
class Record:
    """One record with its place, "FILE:ROW", rows counted from 1."""

    place: str
    fields: dict[str, Any]


def record_files(source: Path) -> list[Path]:
    """The file itself, or the Parquet or else JSON-lines files in a folder and its folders.

    Raises InputError where there are none.
    """
    if source.is_file():
        return [source]
    for pattern in ("*.parquet", "*.jsonl"):
        files = [path for path in sorted(source.rglob(pattern)) if path.is_file() and not path.is_symlink()]
        if files:
            return files
    raise InputError(
        f"{source}: neither *.parquet nor *.jsonl is here; give the file, or the folder that holds it."
    )


def records(
    files: Sequence[Path], needed: Sequence[str], builder: StoreBuilder, *, form: str
) -> Iterator[Record]:
    """The records of all files that have the `needed` columns; `form` says in errors what is expected.

    Damaged lines go to the rejects.  Raises InputError for a file that lacks columns, all of them named.
    """
    for file in files:
        yield from (
            _of_parquet(file, needed, form)
            if file.suffix == ".parquet"
            else _of_lines(file, needed, builder, form)
        )


def _of_parquet(file: Path, needed: Sequence[str], form: str) -> Iterator[Record]:
    with open_parquet(file, hint=_HINT) as shard:
        _check_columns(file, shard.schema_arrow.names, needed, form)
        row = 0
        try:
            for batch in shard.iter_batches(batch_size=BATCH_ROWS):
                for fields in batch.to_pylist():
                    row += 1
                    yield Record(f"{file.name}:{row}", fields)
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
            raise unreadable(file, error, hint=_HINT) from error


def _of_lines(file: Path, needed: Sequence[str], builder: StoreBuilder, form: str) -> Iterator[Record]:
    whole = False
    for line in json_lines(file, finite=False, hint=_HINT):
        place = f"{file.name}:{line.number}"
        if problem := _problem(line):
            builder.reject("response", place=place, reason=problem)
            continue
        assert isinstance(line.value, dict)
        if not whole:
            _check_columns(file, list(line.value), needed, form)
            whole = True
        if absent := [name for name in needed if name not in line.value]:
            builder.reject("response", place=place, reason=f"fields are missing: {', '.join(absent)}")
            continue
        yield Record(place, line.value)
    if not whole:
        raise InputError(f"{file}: holds no JSON object; {form}.")


def _problem(line: JsonLine) -> str | None:
    if line.problem is not None:
        return line.problem
    return None if isinstance(line.value, dict) else f"{kind_of(line.value)} instead of a JSON object"


def _check_columns(file: Path, names: Sequence[str], needed: Sequence[str], form: str) -> None:
    absent = [name for name in needed if name not in names]
    if absent:
        raise InputError(
            f"{file}: missing columns {', '.join(map(repr, absent))}; found {list(names)[:SHOWN_COLUMNS]}; {form}."
        )
