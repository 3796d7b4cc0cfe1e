"""What a process of a run did and when, as JSON lines in a file of its own that outlives it.

Every line has the time (seconds since 1970), the id of the run, of this start of it, and the process.  `step` lines
carry the digest of the rows that this process fed: those of all processes add up to the digest of the whole batch, so
the order of a run can be proved from its journals, whatever the number of processes.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

from socsci_jax.distributed.processes import Processes

# More than a line has.
_TAIL_BYTES = 1 << 16


class Journal:
    """Appends to `<folder>/process-00000.jsonl`; each line is with the operating system before the next thing happens."""

    def __init__(self, folder: Path, *, run: str, processes: Processes):
        folder.mkdir(parents=True, exist_ok=True)
        name = f"process-{processes.process_id:05d}"
        self.stacks = folder / f"{name}.stacks.txt"
        path = folder / f"{name}.jsonl"
        _cut_torn_line(path)
        self._file = path.open("a")
        self._same = {
            "run": run,
            "start": processes.peers.run_id,
            "process": processes.process_id,
            "of": processes.num_processes,
        }

    def write(self, event: str, **details: Any) -> None:
        self._file.write(
            json.dumps({"time": round(time.time(), 3), **self._same, "event": event, **details}) + "\n"
        )
        self._file.flush()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # On a full disk what ended the run must not be hidden by what cannot be written about it.
        with contextlib.nullcontext() if error is None else contextlib.suppress(OSError):
            if error is not None:
                self.write("ended", reason=f"{type(error).__name__}: {error}"[:2000])
            self._file.close()


def _cut_torn_line(path: Path) -> None:
    """What a full disk or a killed process left half written at the end, to which the next line would be glued."""
    if not path.is_file():
        return
    with path.open("r+b") as file:
        first = max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES)
        file.seek(first)
        file.truncate(first + file.read().rfind(b"\n") + 1)
