"""AdamW with warm-up and cosine decay, as the field sets it up; and what it takes to hold less of it in memory."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from socsci_jax.training.recipe import Optimizer


def learning_rate_schedule(settings: Optimizer, *, total_steps: int) -> optax.Schedule:
    """Linear from 0 over the warm-up, then a half cosine to the final share."""
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=settings.learning_rate,
        # At least one step is left to fall.
        warmup_steps=min(round(settings.warmup_share * total_steps), total_steps - 1),
        decay_steps=total_steps,
        end_value=settings.learning_rate * settings.final_learning_rate_share,
    )


def make_optimizer(settings: Optimizer, *, total_steps: int) -> optax.GradientTransformation:
    """Clipping, direction, weight decay, learning rate; second moments are float32 whatever the parameters are.

    `second_moment: factored` keeps one number a row and one a column of each matrix instead of one a weight
    (Adafactor, Shazeer and Stern 2018), with the momentum of AdamW.
    """
    momentum_dtype = jnp.dtype(settings.momentum_dtype)
    if settings.second_moment == "full":
        direction = [
            optax.scale_by_adam(
                b1=settings.beta1, b2=settings.beta2, eps=settings.epsilon, mu_dtype=momentum_dtype
            )
        ]
    else:
        direction = [
            optax.scale_by_factored_rms(),
            optax.clip_by_block_rms(1.0),
            optax.ema(settings.beta1, accumulator_dtype=momentum_dtype),
        ]
    return _float32_state(
        optax.chain(
            optax.clip_by_global_norm(settings.clip_norm),
            *direction,
            optax.add_decayed_weights(settings.weight_decay, mask=decayed),
            optax.scale_by_learning_rate(learning_rate_schedule(settings, total_steps=total_steps)),
        )
    )


def _float32_state(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """The optimizer with its state as for float32 parameters: in bfloat16 a second moment would not move."""

    def init(params: Any) -> Any:
        return optimizer.init(jax.tree.map(lambda p: p.astype(jnp.float32), params))

    return optax.GradientTransformation(init, optimizer.update)


def decayed(params) -> object:
    """True for the weights that decay: all but biases and norms (layers are stacked, so shapes do not tell)."""

    def decays(path: tuple, _) -> bool:
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        return "norm" not in name and "bias" not in name

    return jax.tree_util.tree_map_with_path(decays, params)


def apply_updates_rounding_stochastically(params: Any, updates: Any, *, key: jax.Array) -> Any:
    """params + updates, where bfloat16 weights are rounded up or down in proportion to the distance.

    Rounding to the nearest loses every update below half a unit in the last place, 1/512 of a weight; rounded
    stochastically they add up on average (Gupta et al. 2015).  Stacked layers are taken one by one, so that no
    float32 copy of all of them ever exists.
    """
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))

    def one(p: jax.Array, u: jax.Array, key: jax.Array) -> jax.Array:
        total = p.astype(jnp.float32) + u.astype(jnp.float32)
        return round_stochastically(total, key) if p.dtype == jnp.bfloat16 else total.astype(p.dtype)

    def updated(p: jax.Array, u: jax.Array, key: jax.Array) -> jax.Array:
        if p.ndim < 3:
            return one(p, u, key)
        return jax.lax.map(lambda layer: one(*layer), (p, u, jax.random.split(key, p.shape[0])))

    return structure.unflatten(map(updated, leaves, jax.tree.leaves(updates), keys))


def round_stochastically(x: jax.Array, key: jax.Array) -> jax.Array:
    """float32 -> bfloat16, the expected value of which is x."""
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
    # bfloat16 is the upper half of a float32: noise in the lower half carries over as often as it should.
    noisy = bits + jax.random.bits(key, x.shape, jnp.uint16).astype(jnp.uint32)
    kept = jax.lax.bitcast_convert_type(noisy & jnp.uint32(0xFFFF0000), jnp.float32)
    return jnp.where(jnp.isfinite(x), kept, x).astype(jnp.bfloat16)
