"""AdamW with warm-up and cosine decay, as the field sets it up; and what it takes to hold less of it in memory."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from socsci_jax.training.recipe_objective import OptimizerConfig


def learning_rate_schedule(settings: OptimizerConfig, *, total_steps: int) -> optax.Schedule:
    """Linear from 0 over the warm-up, then a half cosine to the final share."""
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=settings.learning_rate,
        # At least one step is left to fall.
        warmup_steps=min(round(settings.warmup_ratio * total_steps), total_steps - 1),
        decay_steps=total_steps,
        end_value=settings.learning_rate * settings.final_learning_rate_ratio,
    )


@functools.lru_cache(maxsize=8)
def make_optimizer(settings: OptimizerConfig, *, total_steps: int) -> optax.GradientTransformation:
    """Clipping, direction, weight decay, learning rate; second moments are float32 whatever the parameters are.

    Its `update` takes `finite`: where that is false the state stays as it was.

    `second_moment: factored` keeps one number a row and one a column of each matrix instead of one a weight
    (Adafactor, Shazeer and Stern 2018), with the momentum of AdamW.

    The same settings give the same optimizer, so that a second run of a process finds its programs compiled.
    """
    momentum_dtype = jnp.dtype(settings.momentum_dtype)
    if settings.second_moment == "full":
        direction = [
            optax.scale_by_adam(
                b1=settings.beta1, b2=settings.beta2, eps=settings.epsilon, mu_dtype=momentum_dtype
            )
        ]
    else:
        direction = [scale_by_factored_moments(beta1=settings.beta1, momentum_dtype=momentum_dtype)]
    return _float32_state(
        optax.chain(
            optax.clip_by_global_norm(settings.clip_norm),
            *direction,
            optax.add_decayed_weights(settings.weight_decay, mask=decayed),
            optax.scale_by_learning_rate(learning_rate_schedule(settings, total_steps=total_steps)),
        ),
        own=settings.second_moment == "factored",
    )


class FactoredState(NamedTuple):
    """Of a matrix the mean squares of its rows and columns; of anything else `rows` is all of them, `columns` a zero."""

    count: jax.Array
    rows: Any
    columns: Any
    momentum: Any


def scale_by_factored_moments(*, beta1: float, momentum_dtype: Any) -> optax.GradientTransformation:
    """Adafactor's direction (Shazeer and Stern 2018, algorithm 4) with momentum; second moments are float32.

    The mean squares forget at the rate t^-0.8, and the root mean square of a step's direction is at most 1.  Stacked
    matrices are taken one by one, and the direction lies where the gradient lay: besides parameters, gradients and
    momentum there are never more than one layer's float32 numbers.
    """

    def init(params: Any) -> FactoredState:
        def zeros(shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
            return jnp.zeros(shape, dtype)

        return FactoredState(
            count=jnp.zeros((), jnp.int32),
            rows=jax.tree.map(lambda p: zeros(p.shape[:-1] if _factored(p) else p.shape), params),
            columns=jax.tree.map(
                lambda p: zeros((*p.shape[:-2], p.shape[-1]) if _factored(p) else (*p.shape[:-2], 1)), params
            ),
            momentum=jax.tree.map(lambda p: zeros(p.shape, momentum_dtype), params),
        )

    def update(gradients: Any, state: FactoredState, params: Any = None, *, finite: Any = True) -> tuple:
        del params
        count = state.count + 1
        keep = 1 - count.astype(jnp.float32) ** -0.8

        def one(gradient: jax.Array, rows: jax.Array, columns: jax.Array, momentum: jax.Array) -> tuple:
            g = gradient.astype(jnp.float32)
            square = jnp.square(g) + 1e-30
            if _factored(gradient):
                rows = keep * rows + (1 - keep) * square.mean(-1)
                columns = keep * columns + (1 - keep) * square.mean(-2)
                g = g * jax.lax.rsqrt(rows / rows.mean())[:, None] * jax.lax.rsqrt(columns)
            else:
                rows = keep * rows + (1 - keep) * square
                g = g * jax.lax.rsqrt(rows)
            g = g / jnp.maximum(1.0, jnp.sqrt(jnp.square(g).mean()))
            mean = beta1 * momentum.astype(jnp.float32) + (1 - beta1) * g
            direction = (mean / (1 - beta1**count)).astype(gradient.dtype)
            return direction, rows, columns, mean.astype(momentum.dtype)

        leaves, structure = jax.tree.flatten(gradients)
        moments = (jax.tree.leaves(tree) for tree in state[1:])
        updated = [layer_by_layer(one, *arrays, finite=finite) for arrays in zip(leaves, *moments)]
        direction, *new = (structure.unflatten(arrays) for arrays in zip(*updated))
        return direction, FactoredState(new_if(finite, count, state.count), *new)

    return optax.GradientTransformationExtraArgs(init, update)


def _factored(p: jax.Array) -> bool:
    return p.ndim >= 2 and min(p.shape[-2:]) >= 128


def layer_by_layer(function: Callable[..., tuple], *arrays: jax.Array, finite: Any = True) -> tuple:
    """function(*arrays), of stacked matrices [L, ...] one layer after the other, each new array in its old one's place.

    Unless all is finite the arrays stay as they were.
    """
    if arrays[0].ndim < 3:
        return new_if(finite, function(*arrays), arrays)

    def body(layer: jax.Array, stacks: tuple) -> tuple:
        new = function(*(jax.lax.dynamic_index_in_dim(s, layer, keepdims=False) for s in stacks))
        return tuple(jax.lax.dynamic_update_index_in_dim(s, n, layer, 0) for s, n in zip(stacks, new))

    return jax.lax.fori_loop(0, jnp.where(finite, arrays[0].shape[0], 0), body, arrays)


def new_if(finite: Any, new: Any, old: Any) -> Any:
    """`new` if all is finite, else `old`."""
    return jax.tree.map(lambda n, o: jnp.where(finite, n, o), new, old)


def _float32_state(optimizer: optax.GradientTransformation, *, own: bool) -> optax.GradientTransformation:
    """The optimizer with its state as for float32 parameters: in bfloat16 a second moment would not move."""

    def init(params: Any) -> Any:
        return optimizer.init(jax.tree.map(lambda p: p.astype(jnp.float32), params))

    def update(gradients: Any, state: Any, params: Any, *, finite: Any = True) -> tuple[Any, Any]:
        updates, new = optimizer.update(gradients, state, params, finite=finite)
        return updates, jax.tree.map(
            lambda n, o: n if own and n.ndim else jnp.where(finite, n, o), new, state
        )

    return optax.GradientTransformationExtraArgs(init, update)


def decayed(params) -> object:
    """True for the weights that decay: all but biases and norms (layers are stacked, so shapes do not tell)."""

    def decays(path: tuple, _) -> bool:
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        return "norm" not in name and "bias" not in name

    return jax.tree_util.tree_map_with_path(decays, params)


def apply_updates_rounding_stochastically(
    params: Any, updates: Any, *, key: jax.Array, finite: Any = True
) -> Any:
    """params + updates, where bfloat16 weights are rounded up or down in proportion to the distance.

    Rounding to the nearest loses every update below half a unit in the last place, 1/512 of a weight; rounded
    stochastically they add up on average (Gupta et al. 2015).  Stacked layers are taken one by one, so that no
    float32 copy of all of them ever exists.
    """
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))

    def updated(p: jax.Array, u: jax.Array, key: jax.Array) -> jax.Array:
        def one(p: jax.Array, u: jax.Array, number: jax.Array) -> tuple[jax.Array, ...]:
            total = p.astype(jnp.float32) + u.astype(jnp.float32)
            own = jax.random.fold_in(key, number)
            return round_stochastically(total, own) if p.dtype == jnp.bfloat16 else total, u, number

        return layer_by_layer(one, p, u, jnp.arange(p.shape[0]) if p.ndim > 2 else 0, finite=finite)[0]

    return structure.unflatten(map(updated, leaves, jax.tree.leaves(updates), keys))


def round_stochastically(x: jax.Array, key: jax.Array) -> jax.Array:
    """float32 -> bfloat16, the expected value of which is x."""
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
    # bfloat16 is the upper half of a float32: noise in the lower half carries over as often as it should.
    noisy = bits + jax.random.bits(key, x.shape, jnp.uint16).astype(jnp.uint32)
    kept = jax.lax.bitcast_convert_type(noisy & jnp.uint32(0xFFFF0000), jnp.float32)
    return jnp.where(jnp.isfinite(x), kept, x).astype(jnp.bfloat16)
