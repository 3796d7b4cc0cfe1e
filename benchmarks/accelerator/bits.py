"""Whether a run that was stopped and resumed has the bits of one that was not, with and without `same_bits`."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from typing import Any

import jax
import numpy as np

from benchmarks.accelerator import steps

CASE = steps.Case(model="Qwen/Qwen2.5-0.5B-Instruct", remat="layers")


def measured(tiny: bool) -> dict[str, Any]:
    """With and without `same_bits`: whether two processes end with the same parameters, and milliseconds a step."""
    results: dict[str, Any] = {}
    for same_bits in (True, False):
        runs = [_in_a_process(same_bits=same_bits, tiny=tiny) for _ in range(2)]
        results[f"same_bits: {str(same_bits).lower()}"] = {
            "same parameters": runs[0]["digest"] == runs[1]["digest"],
            "same losses": runs[0]["losses"] == runs[1]["losses"],
            "ms_per_step": min(run["ms_per_step"] for run in runs),
        }
    return results


def _in_a_process(*, same_bits: bool, tiny: bool) -> dict[str, Any]:
    # Without JAX's cache of compiled programs: a resumed run may have to compile anew.
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    code = f"from benchmarks.accelerator import bits; bits.print_run(same_bits={same_bits}, tiny={tiny})"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def print_run(*, same_bits: bool, tiny: bool) -> None:
    """Some steps from the seed's start: losses, a digest of the parameters, milliseconds a step."""
    prepared, recipe, config = steps.case_of(CASE, tiny=tiny)
    recipe = recipe.model_copy(update={"same_bits": same_bits})
    _, source = steps.planned(prepared, recipe, CASE, steps=4)
    taken = steps.take(recipe, config, source)
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(taken.params):
        digest.update(np.asarray(leaf).tobytes())
    milliseconds = float(np.median(taken.seconds[1:])) * 1e3
    losses = [loss.hex() for loss in taken.losses]
    print(json.dumps({"losses": losses, "digest": digest.hexdigest(), "ms_per_step": milliseconds}))
