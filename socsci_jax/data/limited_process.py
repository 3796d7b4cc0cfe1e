"""Runs a script of this package on what comes from elsewhere, in a process of its own that knows nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType


def run_limited(script: ModuleType, task: object, *, seconds: float) -> subprocess.CompletedProcess[bytes]:
    """What the module's file writes when it is run with `task` as JSON on its standard input.

    The script sets its own limits from the task.  Raises subprocess.TimeoutExpired six times later than `seconds`: a
    machine that is busy gives it less than a second each second.
    """
    return subprocess.run(
        [sys.executable, "-I", str(Path(str(script.__file__)))],
        input=json.dumps(task).encode(),
        capture_output=True,
        timeout=6 * seconds,
        check=False,
        env={},
    )
