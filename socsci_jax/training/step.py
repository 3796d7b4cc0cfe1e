"""One optimizer step over rows of prompt trees, as a pure function of the training state."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from socsci_jax.models.adapters import join
from socsci_jax.models.slots import tree_log_probs
from socsci_jax.training.objectives import Objective, loss, total_weights
from socsci_jax.training.optimizer import apply_updates_rounding_stochastically, new_if
from socsci_jax.training.state import TrainingState

Batch = dict[str, jax.Array]


def loss_and_gradients(
    params: Any,
    batch: Batch,
    *,
    objective: Objective,
    frozen: Any = None,
    dropout_key: jax.Array | None = None,
    gradient_dtype: Any = jnp.float32,
    **settings: Any,
) -> tuple[jax.Array, jax.Array, Any]:
    """(mean loss, summed weight of target tokens, gradients of the mean) over all micro-batches, arrays [M, G, ...].

    `params` are trained; the rest of the model, if any, is `frozen`.  Settings as `tree_log_probs` takes them.  The
    weights of the whole batch are known before anything is computed, so each micro-batch gives its part of the mean,
    and M micro-batches equal one macro-batch.
    """
    total = total_weights(batch)

    def part(params: Any, rows: Batch, number: jax.Array | int) -> jax.Array:
        whole = params if frozen is None else join(frozen, params)
        key = None if dropout_key is None else jax.random.fold_in(dropout_key, number)
        return loss(objective, tree_log_probs(whole, rows, dropout_key=key, **settings), rows, total)

    value_and_grad = jax.value_and_grad(part)

    def cast(gradients: Any) -> Any:
        return jax.tree.map(lambda g: g.astype(gradient_dtype), gradients)

    def add(sums: tuple, numbered: tuple[Batch, jax.Array]) -> tuple[tuple, None]:
        value, gradients = value_and_grad(params, *numbered)
        return jax.tree.map(jnp.add, sums, (value, cast(gradients))), None

    micro_batches = batch["ids"].shape[0]
    if micro_batches == 1:
        value, gradients = value_and_grad(params, jax.tree.map(lambda a: a[0], batch), 0)
        return value, total["targets"], cast(gradients)
    zeros = (0.0, jax.tree.map(lambda p: jnp.zeros(p.shape, gradient_dtype), params))
    (value, gradients), _ = jax.lax.scan(add, zeros, (batch, jnp.arange(micro_batches)))
    return value, total["targets"], gradients


def train_step(
    state: TrainingState,
    batch: Batch,
    frozen: Any = None,
    stop: jax.Array | None = None,
    *,
    optimizer: optax.GradientTransformation,
    seed: int = 0,
    dropout: bool = False,
    stochastic_rounding: bool = False,
    **settings: Any,
) -> tuple[TrainingState, dict[str, jax.Array]]:
    """The next state, and metrics of this step as scalars: loss, targets, gradient_norm, finite, stop.

    Settings as `loss_and_gradients` takes them.  What an adapter drops, and how weights are rounded, depends on
    (seed, step) alone.  If loss or gradients are not finite nothing is changed but the number of the step.  `stop`
    [devices] is not zero where a process was asked to stop; the metric is their sum, so all learn of it in one step.
    """
    drop, rounding = jax.random.split(jax.random.fold_in(jax.random.key(seed), state.step))
    if dropout:
        settings["dropout_key"] = drop
    value, weight, gradients = loss_and_gradients(state.params, batch, frozen=frozen, **settings)
    norm = optax.global_norm(gradients)
    finite = jnp.isfinite(value) & jnp.isfinite(norm)
    updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params, finite=finite)
    if stochastic_rounding:
        params = apply_updates_rounding_stochastically(state.params, updates, key=rounding, finite=finite)
    else:
        params = new_if(finite, optax.apply_updates(state.params, updates), state.params)
    metrics = {"loss": value, "targets": weight, "gradient_norm": norm, "finite": finite}
    if stop is not None:
        metrics["stop"] = stop.sum()
    return TrainingState(params=params, optimizer=optimizer_state, step=state.step + 1), metrics
