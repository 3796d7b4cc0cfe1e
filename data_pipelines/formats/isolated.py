"""Readers of binary formats run in processes of their own, with limits on memory and time.

Such files are read by libraries in C or by parsers that a hostile file can send astray.  Whatever they do there,
the caller gets a table, a text, or one sentence.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import polars as pl

from data_pipelines.formats.limits import LARGEST_FILE, check_archive
from data_pipelines.formats.reader_process import ABOUT, MIB, TABLE
from data_pipelines.formats.tables import Table
from socsci_jax.errors import InputError

MEMORY = 1536 * MIB
SECONDS, SECONDS_PER_MB = 20, 20
_ZIPPED = (".xlsx", ".xlsm", ".xlsb", ".ods", ".docx")


def read_table_isolated(path: Path, *, kind: str, sheet: str | None, object_name: str | None) -> Table:
    """The table of an Excel, SPSS, Stata or R file; raises InputError for a damaged or too large one."""
    with tempfile.TemporaryDirectory() as folder:
        about = _run(path, kind=kind, folder=Path(folder), sheet=sheet, object=object_name)
        frame = pl.read_ipc((Path(folder) / TABLE).read_bytes())
    return Table(
        name=path.name,
        frame=frame,
        numbers=pl.int_range(1, frame.height + 1, eager=True).alias("row"),
        labels=about["labels"],
        value_labels=about["value_labels"],
        missing={name: frozenset(codes) for name, codes in about["missing"].items()},
        notes=tuple(about["notes"]),
    )


def read_text_isolated(path: Path, *, kind: str) -> str:
    """The text of a DOCX or PDF file; raises InputError for a damaged or too large one."""
    with tempfile.TemporaryDirectory() as folder:
        return _run(path, kind=kind, folder=Path(folder))["text"]


def _run(path: Path, *, kind: str, folder: Path, **options: str | None) -> dict:
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise InputError(f"{path}: larger than {LARGEST_FILE // MIB} MB, the most that is read.")
    if path.suffix.lower() in _ZIPPED:
        check_archive(path)
    seconds = SECONDS + SECONDS_PER_MB * size // MIB
    status = READER.ask(
        {
            **{"path": str(path.resolve()), "kind": kind, "folder": str(folder)},
            **{"seconds": seconds, "wait": 2 * seconds + 60, "memory": MEMORY},
            **options,
        }
    )
    about = folder / ABOUT
    if status or not about.is_file():
        raise InputError(
            f"{path}: its reader broke off (status {status}): the file is damaged, or needs more than "
            f"{MEMORY // MIB} MB of memory or {seconds} s."
        )
    about_it = json.loads(about.read_text(encoding="utf-8"))
    if "error" in about_it:
        raise InputError(f"{path}: {about_it['error']}")
    return about_it


class Reader:
    """The process of `reader_process.py`, started when the first file is read and again should it be gone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._of = 0  # whose it is: a fork of this process must not share it

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def ask(self, request: dict[str, object]) -> int | None:
        """The status with which the fork for this file ended; None if all of it is gone."""
        with self._lock:
            if self._process is None or self._of != os.getpid() or self._process.poll() is not None:
                self._start()
            assert self._process is not None and self._process.stdin and self._process.stdout
            try:
                self._process.stdin.write(json.dumps(request) + "\n")
                self._process.stdin.flush()
                said = self._process.stdout.readline()
            except BaseException as error:
                # An answer that comes later, when this one was cut short, is nobody's.
                self.end()
                if isinstance(error, OSError):
                    return None
                raise
            return int(said) if said.strip() else None

    def _start(self) -> None:
        limited = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")}
        self._process = subprocess.Popen(
            # -P: a deposit's folder may be where this was started, and no module is taken from there.
            [sys.executable, "-P", "-c", "from data_pipelines.formats.reader_process import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # so that its forks end with it, and the keyboard stops who asks
            text=True,
            env={**os.environ, **limited, "ARROW_DEFAULT_MEMORY_POOL": "system"},
        )
        self._of = os.getpid()

    def end(self) -> None:
        """Ends the process and what it forked; the next file starts another."""
        if self._process is not None and self._of == os.getpid():
            # Its standard input is closed, and its end waited for.
            with self._process, contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process = None


READER = Reader()
atexit.register(READER.end)
