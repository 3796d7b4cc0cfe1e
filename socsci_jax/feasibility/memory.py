"""What each device holds while a step runs, by XLA's own account of the compiled program."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import optax

from socsci_jax.data.trees import RowShape
from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.sharding import Mesh, micro_batch_sharding
from socsci_jax.training.optimizer import make_optimizer
from socsci_jax.training.program import abstract_batch, step_program
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.start import abstract_start, abstract_state


@dataclasses.dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes on each device while a step runs; temporaries are gradients, activations and the compiler's own."""

    trained: int
    frozen: int
    optimizer: int
    batch: int
    temporaries: int
    new_outputs: int  # what is returned in other buffers than those of the old state

    @property
    def arguments(self) -> int:
        return self.trained + self.frozen + self.optimizer + self.batch

    @property
    def peak(self) -> int:
        return self.arguments + self.temporaries + self.new_outputs


# What the CPU's compiler does for CPUs alone, at the cost of memory, is excluded (docs/feasibility.md has the numbers):
# it lifts float32 copies of whole stacks of bfloat16 weights out of the loop over layers, and it widens whole stacks to
# replace one layer of them.  No buffer depends on how good the machine code is, and none of it is run.
LIKE_AN_ACCELERATOR = {
    "xla_disable_hlo_passes": "while-loop-invariant-code-motion,float-normalization-bf16",
    "xla_backend_optimization_level": 0,
}


def step_memory(recipe: Recipe, config: DecoderConfig, row: RowShape, mesh: Mesh) -> Memory:
    """What each device of the mesh holds while a step runs, by XLA's account of the program compiled for them."""
    state, batch, frozen = operands = step_operands(recipe, config, row, mesh)
    with jax.set_mesh(mesh):
        lowered = step_program(recipe, config, _optimizer(recipe)).lower(*operands)
    compiled = lowered.compile(compiler_options=LIKE_AN_ACCELERATOR)
    account = compiled.memory_analysis()
    return Memory(
        trained=device_bytes(state.params),
        frozen=device_bytes(frozen),
        optimizer=device_bytes((state.optimizer, state.step)),
        batch=device_bytes(batch),
        temporaries=account.temp_size_in_bytes,
        new_outputs=account.output_size_in_bytes - account.alias_size_in_bytes,
    )


def step_operands(recipe: Recipe, config: DecoderConfig, row: RowShape, mesh: Mesh) -> tuple[Any, Any, Any]:
    """Shapes, dtypes and shardings of (state, batch, frozen), which a step takes."""
    sharding = micro_batch_sharding(mesh, rows=recipe.batch.rows // recipe.batch.micro_batches)
    frozen = None if config.adapter is None else abstract_start(recipe, config, mesh)
    state = abstract_state(recipe, config, _optimizer(recipe), mesh)
    return state, abstract_batch(recipe, row, sharding), frozen


def _optimizer(recipe: Recipe) -> optax.GradientTransformation:
    # The number of steps shapes nothing.
    return make_optimizer(recipe.optimizer, total_steps=1000)


def device_bytes(tree: Any) -> int:
    """Bytes that one device holds of arrays, or of their shapes with shardings."""
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )
