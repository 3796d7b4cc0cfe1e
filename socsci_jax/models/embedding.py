"""Rows of the table of embeddings, and the table's gradient, with the table cut over devices.

Letters: G rows of a batch, T tokens, V vocabulary, D features.

Devices that hold other columns of the table hold other rows of the batch.  Each looks its own columns up for all of
these rows and they exchange what they found: a batch's features pass between them once, where gathering the table, and
summing its gradient, would pass V x D numbers.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from socsci_jax.models.sharding import exchange_over, gather_over, own_part, per_device, sum_over

_TABLE, _IDS, _FEATURES = ("vocab", "embed"), ("row", None), ("row", None, None)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def embed(weight: jax.Array, ids: jax.Array, dtype: Any) -> jax.Array:
    """weight [V,D] at ids [G,T] -> [G,T,D] in `dtype`; the gradient is summed in float32."""
    return per_device(functools.partial(_look_up, dtype=dtype), inputs=[_TABLE, _IDS], output=_FEATURES)(
        weight, ids
    )


def _look_up(weight: jax.Array, ids: jax.Array, *, dtype: Any) -> jax.Array:
    ids = gather_over(ids, "embed", dimension=0)
    at, own = own_part(ids, "vocab", size=weight.shape[0])
    rows = jnp.where(own[..., None], weight[at], 0).astype(dtype)
    return exchange_over(sum_over(rows, "vocab"), "embed", split=0, join=2)


def _gradient(weight: jax.Array, ids: jax.Array, cotangent: jax.Array) -> jax.Array:
    ids = gather_over(ids, "embed", dimension=0)
    cotangent = exchange_over(cotangent, "embed", split=2, join=0)
    at, own = own_part(ids, "vocab", size=weight.shape[0])
    added = jnp.where(own[..., None], cotangent, 0).astype(jnp.float32)
    total = jnp.zeros(weight.shape, jnp.float32).at[at].add(added)
    return sum_over(total, "row", but="embed").astype(weight.dtype)


def _backward(dtype: Any, saved: tuple[jax.Array, jax.Array], cotangent: jax.Array):
    gradient = per_device(_gradient, inputs=[_TABLE, _IDS, _FEATURES], output=_TABLE)
    return gradient(*saved, cotangent), None


embed.defvjp(lambda weight, ids, dtype: (embed(weight, ids, dtype), (weight, ids)), _backward)
