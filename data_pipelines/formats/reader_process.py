"""The process that reads binary files: it loads each library once, and forks itself for every file.

What it forks has limits of its own on memory and time and leaves its result in a folder.  The process itself opens no
file, so nothing that one file did is met by the next one.  `isolated.py` starts it and asks.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import signal
import sys
from pathlib import Path

from data_pipelines.formats.tables import Table, check_size
from socsci_jax.errors import InputError

TABLE, ABOUT = "table.arrow", "about.json"
MIB = 2**20
_LIBRARIES = {
    "excel": ("data_pipelines.formats.excel", "python_calamine"),
    "spss": ("data_pipelines.formats.spss_stata", "pyreadstat"),
    "stata": ("data_pipelines.formats.spss_stata", "pyreadstat"),
    "r": ("data_pipelines.formats.r_data", "rdata"),
    "docx": ("data_pipelines.formats.documents", "docx", "docx.table"),
    "pdf": ("data_pipelines.formats.documents", "pdfplumber"),
}


def serve() -> None:
    """Answers each line of standard input, a request in JSON, with the status of the process that read the file.

    The end of standard input ends it, so that it does not outlive who started it.
    """
    answers = os.fdopen(os.dup(1), "w")
    with open(os.devnull, "w") as nowhere:  # what libraries print is no answer
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    while line := sys.stdin.readline():
        request = json.loads(line)
        for name in _LIBRARIES[request["kind"]]:
            with contextlib.suppress(ImportError):  # the fork says so in a sentence
                importlib.import_module(name)
        child = os.fork()
        if child == 0:
            _read_and_end(request)
        _, status = os.waitpid(child, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()


def _read_and_end(request: dict) -> None:
    """Runs in the fork, which ends here however it goes."""
    status = 1
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (request["seconds"], request["seconds"]))
        resource.setrlimit(resource.RLIMIT_DATA, (request["memory"], request["memory"]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.alarm(request["wait"])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        about = _leave_result(request, Path(request["folder"]))
        text = json.dumps(about, ensure_ascii=False).encode("utf-8", "replace").decode("utf-8")
        Path(request["folder"], ABOUT).write_text(text, encoding="utf-8")
        status = 0
    finally:
        os._exit(status)


def _leave_result(request: dict, folder: Path) -> dict[str, object]:
    """Writes the table, if it is one, and returns what is to be known besides it: a text, or what went wrong."""
    path, kind = Path(request["path"]), request["kind"]
    try:
        result = _read(path, kind=kind, sheet=request.get("sheet"), object_name=request.get("object"))
        if not isinstance(result, Table):
            return {"text": result}
        check_size(path.name, rows=result.frame.height, columns=result.frame.width)
        result.frame.write_ipc(folder / TABLE)
        return {
            "labels": dict(result.labels),
            "value_labels": {name: dict(labels) for name, labels in result.value_labels.items()},
            "missing": {name: sorted(codes) for name, codes in result.missing.items()},
            "notes": list(result.notes),
        }
    except InputError as error:
        return {"error": str(error)}
    except MemoryError:
        return {"error": f"needs more than {request['memory'] // MIB} MB of memory."}
    except ImportError as error:
        return {
            "error": f"reading {kind} files needs {error.name!r}; install it with `pip install 'socsci_jax[formats]'`."
        }
    except Exception as error:  # of whatever kind the libraries raise
        said = " ".join(str(error).split())[:200] or type(error).__name__
        return {"error": f"not a readable {kind} file ({said}); fetch or save it again."}


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
