"""One optimizer step over rows of prompt trees, as a pure function of the training state."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.sharding import Mesh, param_shardings, replicated
from socsci_jax.models.slots import tree_log_probs
from socsci_jax.training.objectives import sft

# {"params", "optimizer", "step"}: a plain pytree, saved and restored as one.
State = dict[str, Any]
Batch = dict[str, jax.Array]


def loss_sums(params: Any, rows: Batch, **settings: Any) -> tuple[jax.Array, jax.Array]:
    """(summed loss, summed weight) of one micro-batch of rows, arrays [G, ...] as in `TreeRows`.

    Settings as `tree_log_probs` takes them.
    """
    return sft(tree_log_probs(params, rows, **settings), rows["slot_weight"])


def loss_and_gradients(params: Any, batch: Batch, **settings: Any) -> tuple[jax.Array, jax.Array, Any]:
    """(mean loss, summed weight, gradients of the mean) over all micro-batches, arrays [M, G, ...].

    Gradients of the sums are added up in float32 and divided once, so M micro-batches equal one macro-batch.
    """
    value_and_grad = jax.value_and_grad(functools.partial(loss_sums, **settings), has_aux=True)

    def add(total: tuple, rows: Batch) -> tuple[tuple, None]:
        (loss, weight), gradients = value_and_grad(params, rows)
        return jax.tree.map(jnp.add, total, (loss, weight, _wide(gradients))), None

    micro_batches = batch["ids"].shape[0]
    if micro_batches == 1:
        (loss, weight), gradients = value_and_grad(params, jax.tree.map(lambda a: a[0], batch))
    else:
        zeros = (0.0, 0.0, jax.tree.map(lambda p: jnp.zeros(p.shape, jnp.float32), params))
        (loss, weight, gradients), _ = jax.lax.scan(add, zeros, batch)
    mean = 1 / jnp.maximum(weight, 1e-9)
    return loss * mean, weight, jax.tree.map(lambda g: g.astype(jnp.float32) * mean, gradients)


def train_step(
    state: State, batch: Batch, *, optimizer: optax.GradientTransformation, **settings: Any
) -> tuple[State, dict[str, jax.Array]]:
    """The next state, and figures of this step as scalars: loss, targets, gradient_norm."""
    loss, weight, gradients = loss_and_gradients(state["params"], batch, **settings)
    updates, optimizer_state = optimizer.update(gradients, state["optimizer"], state["params"])
    params = optax.apply_updates(state["params"], updates)
    figures = {"loss": loss, "targets": weight, "gradient_norm": optax.global_norm(gradients)}
    return {"params": params, "optimizer": optimizer_state, "step": state["step"] + 1}, figures


def state_shardings(
    config: DecoderConfig, optimizer: optax.GradientTransformation, abstract_params: Any, mesh: Mesh
) -> State:
    """Where every array of the state lives: moments beside their parameters, counters everywhere."""
    of_params = param_shardings(config, mesh)
    of_optimizer = optax.tree_map_params(
        optimizer,
        lambda _, sharding: sharding,
        jax.eval_shape(optimizer.init, abstract_params),
        of_params,
        transform_non_params=lambda _: replicated(mesh),
    )
    return {"params": of_params, "optimizer": of_optimizer, "step": replicated(mesh)}


def initial_state(params: Any, optimizer: optax.GradientTransformation, shardings: State) -> State:
    moments = jax.jit(optimizer.init, out_shardings=shardings["optimizer"])(params)
    step = jax.device_put(jnp.zeros((), jnp.int32), shardings["step"])
    return {"params": params, "optimizer": moments, "step": step}


def _wide(tree: Any) -> Any:
    return jax.tree.map(lambda g: g.astype(jnp.float32), tree)
