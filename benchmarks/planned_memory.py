"""What `plan` predicts of a step's memory, compared with what the program that training compiles here says, and takes.

Each case is compiled twice: as `plan` does, and as `train` does on this machine; then that program runs once on arrays
of those shapes, and the peak of the process is read (Linux).

python -m benchmarks.planned_memory [CASE ...]      a case is RECIPE[,key=value ...]
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.table import Table

from benchmarks.options import options_of
from benchmarks.table import save
from socsci_jax.feasibility.memory import step_operands
from socsci_jax.feasibility.plan import make_plan
from socsci_jax.feasibility.shapes import assumed_row
from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.sharding import make_mesh
from socsci_jax.training.optimizer import make_optimizer
from socsci_jax.training.program import step_program
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.recipe_files import load_recipe

# Qwen2.5-0.5B's shape in as many tokens as a small machine can hold.
SMALL = "recipes/qwen2.5-0.5b-sft.yaml,hardware=1xcpu,batch.rows=2,batch.micro_batches=2"
CASES = (
    "recipes/tiny.yaml,data.store=nowhere",
    "recipes/tiny.yaml,data.store=nowhere,batch.rows=2,batch.micro_batches=2",
    f"{SMALL},batch.tokens_per_row=1024,model.compute_dtype=float32",
    f"{SMALL},batch.tokens_per_row=1024",
    f"{SMALL},batch.tokens_per_row=1024,model.param_dtype=bfloat16,lora.rank=16,lora.alpha=32",
)


def main() -> None:
    options = options_of(__doc__)
    options.add_argument("cases", nargs="*", default=CASES)
    options.add_argument("--one", help="measure this case and print it as JSON")
    a = options.parse_args()
    if a.one:
        print(json.dumps(_measured(a.one)))
        return
    found = []
    for case in a.cases:
        run = [sys.executable, "-m", "benchmarks.planned_memory", "--one", case]
        printed = subprocess.run(run, stdout=subprocess.PIPE, text=True, check=True).stdout
        found.append({"case": case, **json.loads(printed.splitlines()[-1])})
        print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    table = Table("case", "plan MB", "program MB", "plan − program", "taken MB", "plan − taken")
    for row in found:
        plan, program, taken = (row[name] for name in ("plan", "program", "taken"))
        table.add_row(
            row["case"],
            f"{plan / 1e6:,.0f}",
            f"{program / 1e6:,.0f}",
            f"{plan / program - 1:+.1%}",
            "" if taken is None else f"{taken / 1e6:,.0f}",
            "" if taken is None else f"{plan / taken - 1:+.1%}",
        )
    Console(width=150).print(table)
    save("planned-memory", {"runs": found})


def _measured(case: str) -> dict:
    path, *changes = case.split(",")
    recipe = load_recipe(path, changes)
    plan = make_plan(recipe, recipe.machine)
    program, taken = _taken(recipe, plan.config)
    return {"arguments": plan.memory.arguments, "plan": plan.memory.peak, "program": program, "taken": taken}


def _taken(recipe: Recipe, config: DecoderConfig) -> tuple[int, int | None]:
    """Bytes that the program of a run on this device holds by its own account, and by the system's while it runs.

    The second is None where this machine has not so much free.
    """
    mesh = make_mesh(**recipe.parallelism.model_dump(), devices=jax.devices()[: recipe.machine.devices])
    config = dataclasses.replace(config, adapter=recipe.adapter)
    operands = step_operands(recipe, config, assumed_row(recipe), mesh)
    with jax.set_mesh(mesh):
        optimizer = make_optimizer(recipe.optimizer, total_steps=1000)
        compiled = step_program(recipe, config, optimizer).lower(*operands).compile()
    said = compiled.memory_analysis()
    program = said.argument_size_in_bytes + said.temp_size_in_bytes
    program += said.output_size_in_bytes - said.alias_size_in_bytes
    if program > 0.8 * _bytes_of("/proc/meminfo", "MemAvailable"):
        return program, None
    Path("/proc/self/clear_refs").write_text("5")  # the compiler's own peak is not the step's
    before = _bytes_of("/proc/self/status", "VmRSS")
    # Ones, since a page of zeros takes no memory until it is written to.
    arrays = jax.tree.map(lambda a: jax.device_put(jnp.ones(a.shape, a.dtype), a.sharding), operands)
    jax.block_until_ready(compiled(*arrays))
    return program, _bytes_of("/proc/self/status", "VmHWM") - before


def _bytes_of(path: str, name: str) -> int:
    """The bytes that a file of /proc names in kilobytes."""
    for line in Path(path).read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"{path} has no {name}")


if __name__ == "__main__":
    main()
