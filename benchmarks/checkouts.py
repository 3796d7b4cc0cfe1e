"""Commands that import another checkout, for comparisons with the code as it was."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def python_in(code: Path, *arguments: object, **environment: str) -> str:
    """What Python prints with these arguments; what it imports is the checkout `code`, wherever its script stands.

    Raises CalledProcessError if it fails.
    """
    return subprocess.run(
        [sys.executable, "-P", *map(str, arguments)],
        cwd=code,
        env=os.environ | {"PYTHONPATH": str(code.resolve())} | environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
