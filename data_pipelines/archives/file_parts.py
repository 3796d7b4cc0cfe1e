"""Files of a deposit read by several processes, each file to a part of the store; what was read is not read again.

Parts stand in the folder `.NAME.parts` next to the store until it is written, each named by the content of its file.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from socsci_jax.errors import InputError
from socsci_jax.progress import progress
from socsci_jax.storage import new_folder
from socsci_jax.studies.schema import SCHEMA_VERSION
from socsci_jax.studies.store import file_hash
from socsci_jax.studies.store_builder import SOFTWARE
from socsci_jax.studies.store_parts import Part

# Processes beside this one pay from so many bytes of files each, and take up to a gigabyte of memory each.
BYTES_PER_PROCESS = 2**25
MOST_PROCESSES = 4
_COUNTS = "counts.json"

ReadFile = Callable[[Path], tuple[Part, dict[str, object]]]
"""Reads one file to a part in memory, and to what is counted or noted of it, as JSON has it."""


def parts_folder(out: Path) -> Path:
    return out.parent / f".{out.name}.parts"


def read_in_parts(
    files: Sequence[Path], folder: Path, *, reader: str
) -> list[tuple[Part, dict[str, object]]]:
    """The part of each file, on disk below `folder`, with its counts; those that are there are taken as they are.

    `reader` names a `ReadFile` as "MODULE:FUNCTION".  Raises what it raises.
    """
    folder.mkdir(parents=True, exist_ok=True)
    places = [folder / _name(file, reader) for file in files]
    todo = [(file, place) for file, place in zip(files, places, strict=True) if not place.exists()]
    size = sum(file.stat().st_size for file, _ in todo)
    count = max(1, min(MOST_PROCESSES, len(os.sched_getaffinity(0)), len(todo), size // BYTES_PER_PROCESS))
    others = [_start(todo[i::count], reader) for i in range(1, count)]
    try:
        write_parts(todo[::count], reader)
        for other in others:
            _finish(other)
    finally:
        for other in others:
            other.kill()
            other.wait()
    return [_read_part(place) for place in places]


def write_parts(todo: Sequence[tuple[Path, Path]], reader: str) -> None:
    """Reads each file and writes its part to the folder next to it, whole or not at all."""
    module, function = reader.split(":")
    read: ReadFile = getattr(importlib.import_module(module), function)
    with progress("files of this process", total=len(todo)) as report:
        for done, (file, place) in enumerate(todo, start=1):
            part, counts = read(file)
            with new_folder(place) as partial:
                for name, table in part.items():
                    pq.write_table(table, partial / f"{name}.parquet")
                (partial / _COUNTS).write_text(json.dumps(counts))
            report.update(done)


def _name(file: Path, reader: str) -> str:
    """Of what a part depends on: the file, its name (which rejects tell), and the program."""
    made_by = f"{SOFTWARE} {SCHEMA_VERSION} {reader} {file.name} {file_hash(file)}"
    return hashlib.sha256(made_by.encode()).hexdigest()[:24]


def _read_part(place: Path) -> tuple[Part, dict[str, object]]:
    return {path.stem: path for path in place.glob("*.parquet")}, json.loads((place / _COUNTS).read_text())


def _start(todo: Sequence[tuple[Path, Path]], reader: str) -> subprocess.Popen[bytes]:
    """A process that writes parts as `write_parts` does, and ends when this one does."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", "from data_pipelines.archives.file_parts import helper; helper()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "POLARS_MAX_THREADS": "1"},
    )
    request = {"todo": [[str(file), str(place)] for file, place in todo], "reader": reader}
    assert process.stdin is not None
    process.stdin.write(json.dumps(request).encode() + b"\n")
    process.stdin.flush()
    return process


def _finish(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    said = process.stdout.read()
    if process.wait() != 0:
        raise InputError(
            f"a process that reads files of the deposit broke off (status {process.returncode}), perhaps for lack of "
            "memory; start again, what was read is kept."
        )
    if error := json.loads(said)["error"]:
        raise InputError(error)


def helper() -> None:
    """Writes the parts that a line of standard input names; the end of standard input ends this process."""
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    error = None
    try:
        write_parts([(Path(file), Path(place)) for file, place in request["todo"]], request["reader"])
    except InputError as problem:
        error = str(problem)
    print(json.dumps({"error": error}))


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)
