"""Runs a script of this package on what comes from elsewhere, in a process of its own that knows nothing else."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from types import ModuleType


def run_limited(script: ModuleType, task: object, *, seconds: float) -> subprocess.CompletedProcess[bytes]:
    """What the module's file writes when it is run with `task` as JSON on its standard input.

    The script sets its own limits from the task.  Raises subprocess.TimeoutExpired, with what was written until then,
    where the kernel ended it because it had worked for as long as these allow, and six times later than `seconds`: a
    machine that is busy gives it less than a second each second.
    """
    ended = subprocess.run(
        [sys.executable, "-I", str(script.__file__)],
        input=json.dumps(task).encode(),
        capture_output=True,
        timeout=6 * seconds,
        check=False,
        env={},
    )
    if ended.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        raise subprocess.TimeoutExpired(ended.args, seconds, output=ended.stdout)
    return ended


def last_words(ended: subprocess.CompletedProcess[bytes]) -> str:
    """How a process failed: the last line that it wrote to its standard error, or its exit status where it wrote none."""
    lines = ended.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1].strip()[:300] if lines else f"exit status {ended.returncode}"
