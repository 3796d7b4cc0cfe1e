"""What `plan` says of a measured step's memory, from processors alone, in a process of its own.

python -m benchmarks.accelerator.planned CASE ROW FOLDER TINY       # as JSON; prints bytes
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import jax

from benchmarks.accelerator.cases import Case, config_of, recipe_of, this_machine
from socsci_jax.data.trees import RowShape
from socsci_jax.feasibility.memory import step_memory
from socsci_jax.models.sharding import make_mesh


def peak_of(case: Case, row: RowShape, folder: Path, *, tiny: bool) -> int:
    """Bytes at the peak of the step that was measured: the same recipe, hardware and row."""
    of_here = dataclasses.asdict(dataclasses.replace(case, hardware=case.hardware or this_machine()))
    told = [json.dumps(of_here), json.dumps(dataclasses.asdict(row)), str(folder), json.dumps(tiny)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.accelerator.planned", *told],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout.split()[-1])


def main(case: str, row: str, folder: str, tiny: str) -> None:
    asked, small = Case(**json.loads(case)), json.loads(tiny)
    recipe = recipe_of(asked, Path(folder), tiny=small)
    config = config_of(asked, recipe, tiny=small)
    mesh = make_mesh(data=1, fsdp=1, tensor=1, devices=jax.devices("cpu")[:1])
    print(step_memory(recipe, config, RowShape(**json.loads(row)), mesh).peak)


if __name__ == "__main__":
    main(*sys.argv[1:])
