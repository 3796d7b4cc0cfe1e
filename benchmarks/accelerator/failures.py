"""What is said of a measurement that fails."""

from __future__ import annotations

import subprocess
import traceback

OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "out of memory", "OutOfMemory")
LONGEST_MESSAGE = 1500


def failure(error: BaseException) -> dict[str, str]:
    """What is kept of an error: too little memory apart from all others."""
    message = f"{type(error).__name__}: {error}"
    if isinstance(error, subprocess.CalledProcessError):
        message += f"\n{(error.stderr or '').strip()[-LONGEST_MESSAGE:]}"
    if any(sign in message for sign in OUT_OF_MEMORY):
        return {"out of memory": message[:LONGEST_MESSAGE]}
    where = "".join(traceback.format_tb(error.__traceback__)[-3:])
    return {"failed": f"{message[:LONGEST_MESSAGE]}\n{where}"}
