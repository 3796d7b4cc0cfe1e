"""What a recipe needs of a machine: memory, computation and time of a step, from shapes alone.

The step is compiled ahead of time, without weights and without that machine, for as many simulated CPU devices as the
machine has.  XLA's own account of the compiled program says what each device holds; docs/feasibility.md says how far the
CPU's program differs from that of an accelerator, and where the formulas come from.
"""

from __future__ import annotations

import dataclasses
import math

import jax

from socsci_jax.data.trees import RowShape
from socsci_jax.errors import InputError
from socsci_jax.feasibility.memory import Memory, step_memory
from socsci_jax.feasibility.shapes import ASSUMED_KEYS, DataStatistics, assumed_row, data_and_config
from socsci_jax.hardware import Machine
from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.sharding import make_mesh
from socsci_jax.training.flops import step_flops
from socsci_jax.training.recipe import Recipe
from socsci_jax.wording import counted


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What `plan` found; `assumed` says what was not at hand and how it was replaced."""

    recipe: Recipe
    machine: Machine
    config: DecoderConfig
    memory: Memory
    row: RowShape
    flops: float
    data: DataStatistics | None
    assumed: tuple[str, ...]

    @property
    def usable(self) -> int:
        """Bytes of a device that a run may take."""
        return self.machine.accelerator.usable

    @property
    def fits(self) -> bool:
        return self.memory.peak <= self.usable

    @property
    def tokens_per_step(self) -> int:
        return self.recipe.batch.rows * self.row.tokens

    def seconds_per_step(self, efficiency: float) -> float | None:
        """At a share of the accelerators' peak; None where that is not known."""
        peak = self.machine.accelerator.peak_tflops
        return None if peak is None else self.flops / (self.machine.devices * peak * 1e12 * efficiency)


def simulate_devices(count: int) -> None:
    """Gives this process `count` CPU devices in place of any other.

    Raises InputError if JAX has begun with too few: this must come before anything else that uses it.
    """
    try:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError:
        pass
    if len(jax.devices("cpu")) < count:
        raise InputError(
            f"{counted(count, 'device is', 'devices are')} to be simulated, but JAX has begun with {len(jax.devices('cpu'))}"
        )


def make_plan(recipe: Recipe, machine: Machine) -> Plan:
    """Compiles a step of the recipe for the machine's number of simulated devices (`simulate_devices`).

    Raises InputError if the mesh does not fit the machine, or the model's shape is not known here.
    """
    _check_mesh(recipe, machine)
    data, config, assumed = data_and_config(recipe)
    config = dataclasses.replace(config, adapter=recipe.adapter)
    row = data.row if data else assumed_row(recipe)
    mesh = make_mesh(**recipe.parallelism.model_dump(), devices=jax.devices("cpu")[: machine.devices])
    return Plan(
        recipe=recipe,
        machine=machine,
        config=config,
        memory=step_memory(recipe, config, row, mesh),
        row=row,
        flops=step_flops(recipe, config, row, keys=data.keys if data else ASSUMED_KEYS),
        data=data,
        assumed=tuple(assumed),
    )


def _check_mesh(recipe: Recipe, machine: Machine) -> None:
    sizes = recipe.parallelism.model_dump()
    if (product := math.prod(sizes.values())) == machine.devices:
        return
    others = {name: size for name, size in sizes.items() if name != "fsdp"}
    if machine.devices % math.prod(others.values()):
        others = dict.fromkeys(others, 1)
    wanted = {"fsdp": machine.devices // math.prod(others.values()), **others}
    changes = " ".join(f"parallelism.{name}={size}" for name, size in wanted.items() if size != sizes[name])
    raise InputError(
        f"{recipe.name}: parallelism {' x '.join(f'{name} {size}' for name, size in sizes.items())} is {product}, but "
        f"{machine.name} has {counted(machine.devices, 'device')}; add {changes} (and batch.rows that these divide)."
    )
