#!/usr/bin/env python
"""Submits a recipe to SLURM: `python launch/submit.py RECIPE [KEY=VALUE ...] [-- --partition=gpu --time=12:00:00 ...]`.

Nodes, tasks and GPUs come from the recipe's `hardware`; what follows `--` goes to sbatch as it is. The batch script is
slurm.sh. The environment of this shell, with the Python that has socsci_jax, goes with the job.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

from socsci_jax.distributed.schedulers import count_nodes
from socsci_jax.errors import BAD_INPUT, InputError
from socsci_jax.hardware import Machine
from socsci_jax.training.recipe_files import load_recipe

BATCH_SCRIPT = Path(__file__).resolve().parent / "slurm.sh"


def sbatch_options(machine: Machine, *, devices_per_node: int) -> list[str]:
    """One task per device. Each sees all GPUs of its node, as NCCL's fast paths between them need."""
    if machine.accelerator.cores_per_chip is not None:
        raise InputError(f"hardware {machine.name} is a TPU, which SLURM does not run; see launch/tpu_vm.sh.")
    nodes = count_nodes(machine, devices_per_node)
    tasks = machine.devices // nodes
    options = [f"--nodes={nodes}", f"--ntasks-per-node={tasks}"]
    if machine.accelerator.name == "cpu":
        return options
    return [*options, f"--gpus-per-node={tasks}"]


def main() -> int:
    given = sys.argv[1:]
    mine, own = (given[: given.index("--")], given[given.index("--") + 1 :]) if "--" in given else (given, [])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", help="recipe file; see recipes/")
    parser.add_argument("overrides", nargs="*", help="changes to the recipe, for instance optimizer.epochs=2")
    parser.add_argument(
        "--devices-per-node", type=int, default=8, help="GPUs of the cluster's nodes (default 8)"
    )
    parser.add_argument("--show", action="store_true", help="print the command instead of running it")
    arguments = parser.parse_args(mine)
    try:
        recipe = load_recipe(arguments.recipe, arguments.overrides)
        options = sbatch_options(recipe.machine, devices_per_node=arguments.devices_per_node)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    # The recipe's name in the queue can be changed by what follows.
    command = ["sbatch", f"--job-name={recipe.name}", *options, *own]
    command += [str(BATCH_SCRIPT), arguments.recipe, *arguments.overrides]
    if arguments.show:
        print(shlex.join(command))
        return 0
    return subprocess.run(command).returncode


if __name__ == "__main__":
    sys.exit(main())
