"""Attention over one prompt tree: a shared prefix and the branches that continue it.

Letters: P prefix tokens, B branches, S tokens of a branch, Q queries of a branch, K key-value heads,
R query heads that share one, H features of a head. Keys are never repeated, per head or per branch.

Heads come first inside, so that each product is one large matrix product per head: twice as fast on CPU
as leaving the transposition to the compiler. Masks are added for the same reason.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from socsci_jax.models.linear import contract, contract_to_float32

# Its exponential is 0, yet a row of nothing else has no NaN.
MASKED = -1e30


def prefix_attention(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """Causal attention within the prefix: q [P,K,R,H], k and v [P,K,H] -> [P,K,R,H].

    The padding lies to the right, so causality alone keeps it from every real token.
    """
    q, k, v = _scaled(q).transpose(1, 2, 0, 3), k.transpose(1, 0, 2), v.transpose(1, 0, 2)
    causal = jnp.tri(k.shape[1], dtype=bool)
    scores = contract_to_float32("krqh,kph->krqp", q, k) + _mask(causal)
    weights = jax.nn.softmax(scores, axis=-1).astype(q.dtype)
    return contract("krqp,kph->krqh", weights, v).transpose(2, 0, 1, 3)


def branch_attention(
    q: jax.Array,
    k_prefix: jax.Array,
    v_prefix: jax.Array,
    prefix_length: jax.Array,
    k: jax.Array,
    v: jax.Array,
    end: jax.Array,
    index: jax.Array,
) -> jax.Array:
    """One softmax over the shared prefix and the query's own branch.

    q [B,Q,K,R,H] belong to the tokens `index` [B,Q] of their branches; k_prefix and v_prefix [P,K,H], of
    which the first `prefix_length` are real; k and v [B,S,K,H]. Token j of a branch is seen by its tokens
    j .. end[j]-1 (`end` [B,S]): itself and, in depth-first order, what descends from it. A query that sees
    nothing gets a finite value. Returns [B,Q,K,R,H].
    """
    q = _scaled(q).transpose(2, 0, 3, 1, 4)
    k_prefix, v_prefix = k_prefix.transpose(1, 0, 2), v_prefix.transpose(1, 0, 2)
    k, v = k.transpose(2, 0, 1, 3), v.transpose(2, 0, 1, 3)

    real = jnp.arange(k_prefix.shape[1]) < prefix_length
    descends = (jnp.arange(k.shape[2]) <= index[:, :, None]) & (index[:, :, None] < end[:, None, :])
    above = contract_to_float32("kbrqh,kph->kbrqp", q, k_prefix) + _mask(real)
    own = contract_to_float32("kbrqh,kbsh->kbrqs", q, k) + _mask(descends)[:, None]

    highest = jnp.maximum(above.max(-1, initial=MASKED), own.max(-1))[..., None]
    highest = jax.lax.stop_gradient(highest)
    above, own = jnp.exp(above - highest), jnp.exp(own - highest)
    total = above.sum(-1, keepdims=True) + own.sum(-1, keepdims=True)
    mixed = contract("kbrqp,kph->kbrqh", above.astype(q.dtype), v_prefix)
    mixed = mixed + contract("kbrqs,kbsh->kbrqh", own.astype(q.dtype), v)
    return (mixed / total).astype(q.dtype).transpose(1, 3, 0, 2, 4)


def tree_attention(
    q: jax.Array, k: jax.Array, v: jax.Array, prefix_length: jax.Array, end: jax.Array
) -> jax.Array:
    """Attention of every token of one tree: q [P+B*S,K,R,H], k and v [P+B*S,K,H] -> [P+B*S,K,R,H].

    The prefix comes first, then branch after branch; `end` [B,S].
    """
    p = q.shape[0] - end.size
    every = jnp.broadcast_to(jnp.arange(end.shape[1]), end.shape)
    branches = rows_attention(q[p:], k, v, prefix_length, end, every)
    return jnp.concatenate([prefix_attention(q[:p], k[:p], v[:p]), branches])


def rows_attention(
    q: jax.Array, k: jax.Array, v: jax.Array, prefix_length: jax.Array, end: jax.Array, index: jax.Array
) -> jax.Array:
    """Attention of the tokens `index` [B,Q] of one tree's branches alone: q [B*Q,K,R,H] -> [B*Q,K,R,H]."""
    p = k.shape[0] - end.size
    mixed = branch_attention(
        q.reshape(*index.shape, *q.shape[1:]),
        k[:p],
        v[:p],
        prefix_length,
        k[p:].reshape(*end.shape, *k.shape[1:]),
        v[p:].reshape(*end.shape, *v.shape[1:]),
        end,
        index,
    )
    return mixed.reshape(q.shape)


def _scaled(q: jax.Array) -> jax.Array:
    return q * jnp.asarray(q.shape[-1] ** -0.5, q.dtype)


def _mask(visible: jax.Array) -> jax.Array:
    return jnp.where(visible, 0.0, MASKED)
