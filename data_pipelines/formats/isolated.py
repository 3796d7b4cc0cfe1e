"""Readers of binary formats run in a process of their own, with limits on memory and time.

Such files are read by libraries in C or by parsers that a hostile file can send astray.  Whatever they do there,
the caller gets a table, a text, or one sentence.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl

from data_pipelines.formats.limits import LARGEST_FILE, check_archive
from data_pipelines.formats.tables import Table, check_size
from socsci_jax.errors import InputError

MEMORY = 1536 * 2**20
SECONDS, SECONDS_PER_MB = 20, 20
_ZIPPED = (".xlsx", ".xlsm", ".xlsb", ".ods", ".docx")
_TABLE, _ABOUT = "table.arrow", "about.json"


def read_table_isolated(path: Path, *, kind: str, sheet: str | None, object_name: str | None) -> Table:
    """The table of an Excel, SPSS, Stata or R file; raises InputError for a damaged or too large one."""
    with tempfile.TemporaryDirectory() as folder:
        about = _run(path, kind=kind, folder=Path(folder), sheet=sheet, object=object_name)
        frame = pl.read_ipc((Path(folder) / _TABLE).read_bytes())
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
        raise InputError(f"{path}: larger than {LARGEST_FILE // 2**20} MB, the most that is read.")
    if path.suffix.lower() in _ZIPPED:
        check_archive(path)
    seconds = SECONDS + SECONDS_PER_MB * size // 2**20
    request = {
        "path": str(path.resolve()),
        "kind": kind,
        "folder": str(folder),
        "seconds": seconds,
        **options,
    }
    limited = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")}
    environment = {**os.environ, **limited, "ARROW_DEFAULT_MEMORY_POOL": "system"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", "from data_pipelines.formats.isolated import child; child()"],
            input=json.dumps(request).encode(),
            capture_output=True,
            timeout=2 * seconds + 60,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InputError(
            f"{path}: reading it takes longer than {seconds} s, which such a file should not."
        ) from None
    about = folder / _ABOUT
    if done.returncode or not about.is_file():
        raise InputError(
            f"{path}: its reader broke off (status {done.returncode}): the file is damaged, or needs more than "
            f"{MEMORY // 2**20} MB of memory or {seconds} s."
        )
    found = json.loads(about.read_text(encoding="utf-8"))
    if "error" in found:
        raise InputError(f"{path}: {found['error']}")
    return found


def child() -> None:
    """Reads what standard input asks for and leaves the result in a folder; runs in the process of its own."""
    request = json.loads(sys.stdin.read())
    folder, path, kind = Path(request["folder"]), Path(request["path"]), request["kind"]
    resource.setrlimit(resource.RLIMIT_CPU, (request["seconds"], request["seconds"]))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        found = _read(path, kind=kind, sheet=request.get("sheet"), object_name=request.get("object"))
        if isinstance(found, Table):
            check_size(path.name, rows=found.frame.height, columns=found.frame.width)
            found.frame.write_ipc(folder / _TABLE)
            about = {
                "labels": dict(found.labels),
                "value_labels": {name: dict(labels) for name, labels in found.value_labels.items()},
                "missing": {name: sorted(codes) for name, codes in found.missing.items()},
                "notes": list(found.notes),
            }
        else:
            about = {"text": found}
    except InputError as error:
        about = {"error": str(error)}
    except MemoryError:
        about = {"error": f"needs more than {MEMORY // 2**20} MB of memory."}
    except ImportError as error:
        about = {
            "error": f"reading {kind} files needs {error.name!r}; install it with `pip install 'socsci_jax[formats]'`."
        }
    except (Exception, RecursionError) as error:
        said = " ".join(str(error).split())[:200] or type(error).__name__
        about = {"error": f"not a readable {kind} file ({said}); fetch or save it again."}
    text = json.dumps(about, ensure_ascii=False).encode("utf-8", "replace").decode("utf-8")
    (folder / _ABOUT).write_text(text, encoding="utf-8")


def _read(path: Path, *, kind: str, sheet: str | None, object_name: str | None) -> Table | str:
    if kind == "excel":
        from data_pipelines.formats.excel import read_excel

        return read_excel(path, sheet=sheet)
    if kind in ("spss", "stata"):
        from data_pipelines.formats.spss_stata import read_spss_or_stata

        return read_spss_or_stata(path, kind=kind)
    if kind == "r":
        from data_pipelines.formats.r_data import read_r

        return read_r(path, object_name=object_name)
    from data_pipelines.formats.documents import read_docx, read_pdf

    return {"docx": read_docx, "pdf": read_pdf}[kind](path)
