"""What training changes from step to step, as one typed pytree, and where its arrays live."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from socsci_jax.models.adapters import split_adapter
from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.sharding import Mesh, param_shardings, replicated


# Leaves in the order of the names, as a dict's are: it is that of a program's operands, which decides how XLA fuses,
# and so the last bits of a run.
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class TrainingState:
    """Trained parameters, the optimizer's moments and the number of steps taken; saved and restored as one.

    The same structure holds shapes (`jax.ShapeDtypeStruct`) or shardings in place of arrays.
    """

    optimizer: Any
    params: Any
    step: Any

    def as_dict(self) -> dict[str, Any]:
        """The state under the names that it has in a checkpoint."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def trained_part(config: DecoderConfig, tree: Any) -> Any:
    """Of a pytree like the parameters, what training changes: the adapter if there is one, else all."""
    return tree if config.adapter is None else split_adapter(tree)[0]


def state_shardings(
    config: DecoderConfig, optimizer: optax.GradientTransformation, abstract_params: Any, mesh: Mesh
) -> TrainingState:
    """Where every array of the state lives: moments next to their parameters, counters everywhere.

    `abstract_params` are those that are trained.
    """
    of_params = trained_part(config, param_shardings(config, mesh))
    everywhere = replicated(mesh)
    of_optimizer = optax.tree_map_params(
        optimizer,
        # Sums over rows and columns of a matrix are small.
        lambda moment, param, sharding: sharding if moment.shape == param.shape else everywhere,
        jax.eval_shape(optimizer.init, abstract_params),
        abstract_params,
        of_params,
        transform_non_params=lambda _: everywhere,
    )
    return TrainingState(params=of_params, optimizer=of_optimizer, step=everywhere)


def initial_state(
    params: Any, optimizer: optax.GradientTransformation, shardings: TrainingState
) -> TrainingState:
    """The state before the first step over `params`, which are not copied."""
    moments = jax.jit(optimizer.init, out_shardings=shardings.optimizer)(params)
    step = jax.device_put(jnp.zeros((), jnp.int32), shardings.step)
    return TrainingState(params=params, optimizer=moments, step=step)
