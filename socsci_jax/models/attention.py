"""Attention within rows of prompt trees: token j is seen by token i of its row iff j <= i < end[j].

Letters: G rows, T tokens of a row, N queries, C blocks of queries, Q queries of a block, K key-value heads, R query
heads that share one, H features of a head, P keys that a block of queries sees.  Keys are never repeated, per head
or per branch, and no T x T mask is ever built: what neighbors see lies in few short runs of keys (their prefix, the
beginnings of their personas, each other), and only these are gathered and multiplied.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from socsci_jax.models.linear import kept_without_gradient, product

# Measured on CPU: the scores of a block of queries stay in the second-level cache of a core; keys are gathered in
# runs as short as the shared beginnings of personas are.
QUERY_BLOCK = 128
KEY_BLOCK = 16
# A block of queries is computed with the smallest of these numbers of keys (or all of its row) that is enough.
KEYS = (128, 256, 384, 512, 640, 768, 1024, 1536, 2048, 4096, 8192, 16384)

# Its exponential is 0, yet a row of nothing else has no NaN.
MASKED = -1e30


class Visibility(NamedTuple):
    """Which blocks of keys each block of queries sees; the same in every layer.

    at[C,Q] and end[B,KEY_BLOCK] count from the beginning of all rows (end 0 hides a token); of the B blocks of keys,
    block c of queries sees the first count[c] of order[c].
    """

    at: jax.Array
    end: jax.Array
    order: jax.Array
    count: jax.Array


def visibility(at: jax.Array, end: jax.Array) -> Visibility:
    """For queries at the tokens `at` [G,N] (ascending) of rows with `end` [G,T]; N and T are multiples of 64."""
    g, t = end.shape
    size = QUERY_BLOCK if at.shape[1] % QUERY_BLOCK == 0 else 64
    row = jnp.arange(g, dtype=end.dtype)[:, None, None]
    at = at.reshape(g, -1, size)
    end = end.reshape(g, -1, KEY_BLOCK)
    start = jnp.arange(0, t, KEY_BLOCK)
    # Token j is seen from j to end[j] - 1, which meets the span of a block of queries iff both hold.
    sees = (start <= at.max(-1)[..., None]) & (end.max(-1)[:, None] > at.min(-1)[..., None])
    order = jnp.argsort(~sees, axis=-1, stable=True).astype(end.dtype) + row * start.size
    return Visibility(
        at=(at + row * t).reshape(-1, size),
        end=jnp.where(end > 0, end + row * t, 0).reshape(-1, KEY_BLOCK),
        order=order.reshape(-1, start.size),
        count=sees.sum(-1, dtype=end.dtype).reshape(-1),
    )


def kept_for_backward(mixed: jax.Array, normalizer: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Attention's result and the normalizers of its softmax, named so that remat may keep them.

    The backward pass computes scores again by itself and needs nothing else, so that whoever keeps both, which are as
    small as its queries, never computes attention twice.
    """
    return kept_without_gradient(mixed, "attention"), kept_without_gradient(normalizer, "attention")


def blocks_seen(at: jax.Array, end: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """[G,C,B]: whether a block of `size` queries sees any token of a block of keys, and whether all see all of it.

    What the kernels of accelerators go by, whose blocks of queries and of keys are of one size.
    """
    of_queries = at.reshape(at.shape[0], -1, 1, size)
    of_keys = end.reshape(end.shape[0], 1, -1, size)
    first = jnp.arange(0, end.shape[1], size)
    first_query, last_query = of_queries.min(-1), of_queries.max(-1)
    # As in `visibility`.
    sees = (first <= last_query) & (of_keys.max(-1) > first_query)
    whole = (first + size - 1 <= first_query) & (of_keys.min(-1) > last_query)
    return sees, whole


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def tree_attention(
    q: jax.Array, k: jax.Array, v: jax.Array, visibility: Visibility, whole_rows: bool = False
) -> jax.Array:
    """q [G,N,K,R,H] at the tokens of `visibility`, k and v [G,T,K,H] -> [G,N,K,R,H].

    A query that sees nothing gets a finite value.  With `whole_rows` every block of queries is computed with all keys
    of its row: more work, and no conditional, for which an accelerator would wait for the host at every block.
    """
    return _forward(q, k, v, visibility, whole_rows)[0]


def _forward(q, k, v, visibility: Visibility, whole_rows: bool):
    keys, values = _key_blocks(k), _key_blocks(v)

    def attend(blocks: int, q: jax.Array, at: jax.Array, order: jax.Array):
        chosen = order[:blocks]
        k, v = _gather(keys, chosen), _gather(values, chosen)
        scores = _add(product("kqh,kph->kqp", q, k), _mask(at, visibility.end, chosen))
        highest = scores.max(-1)
        weights = jnp.exp(scores - highest[..., None])
        total = weights.sum(-1)
        mixed = product("kqp,kph->kqh", weights.astype(v.dtype), v) / total[..., None]
        return mixed.astype(q.dtype), highest + jnp.log(total)

    attend = _for_enough_blocks(attend, visibility, whole_rows)
    mixed, normalizer = jax.lax.map(
        lambda xs: attend(*xs),
        (visibility.count, _query_blocks(_scaled(q), visibility), visibility.at, visibility.order),
    )
    mixed, normalizer = kept_for_backward(mixed, normalizer)
    return _unblock_queries(mixed, q), (q, k, v, visibility, mixed, normalizer)


def _backward(whole_rows: bool, saved, cotangent):
    q, k, v, visibility, mixed, normalizer = saved
    keys, values = _key_blocks(k), _key_blocks(v)
    to_mixed = _query_blocks(cotangent, visibility)
    # Dao et al. 2022: of its whole row the gradient of a softmax needs only this sum.
    inner = jnp.sum(to_mixed.astype(jnp.float32) * mixed.astype(jnp.float32), axis=-1)

    def backward(blocks: int, totals, q, to_mixed, inner, normalizer, at, order):
        chosen = order[:blocks]
        k, v = _gather(keys, chosen), _gather(values, chosen)
        scores = _add(product("kqh,kph->kqp", q, k), _mask(at, visibility.end, chosen))
        weights = jnp.exp(scores - normalizer[..., None])
        to_scores = (weights * (product("kqh,kph->kqp", to_mixed, v) - inner[..., None])).astype(q.dtype)
        to_keys = _ungather(product("kqp,kqh->kph", to_scores, q))
        to_values = _ungather(product("kqp,kqh->kph", weights.astype(q.dtype), to_mixed))
        totals = (totals[0].at[chosen].add(to_keys), totals[1].at[chosen].add(to_values))
        return totals, product("kqp,kph->kqh", to_scores, k)

    backward = _for_enough_blocks(backward, visibility, whole_rows)
    zeros = (jnp.zeros(keys.shape, jnp.float32), jnp.zeros(values.shape, jnp.float32))
    (to_keys, to_values), to_q = jax.lax.scan(
        lambda totals, xs: backward(xs[0], totals, *xs[1:]),
        zeros,
        (
            visibility.count,
            _query_blocks(_scaled(q), visibility),
            to_mixed,
            inner,
            normalizer,
            visibility.at,
            visibility.order,
        ),
    )
    nothing = jax.tree.map(lambda _: None, visibility)
    return _unblock_queries(_scaled(to_q), q), _unblock_keys(to_keys, k), _unblock_keys(to_values, v), nothing


tree_attention.defvjp(_forward, _backward)


def _for_enough_blocks(function: Callable, visibility: Visibility, whole_rows: bool) -> Callable:
    """(count, *operands) -> function(blocks, *operands), with a static number of blocks that holds `count`."""
    every = visibility.order.shape[1]
    if whole_rows:
        return lambda count, *operands: function(every, *operands)
    sizes = np.array(sorted({min(keys // KEY_BLOCK, every) for keys in KEYS} | {every}))

    def with_blocks(blocks: int) -> Callable:
        return lambda operands: function(blocks, *operands)

    branches = [with_blocks(int(size)) for size in sizes]
    return lambda count, *operands: jax.lax.switch(jnp.searchsorted(sizes, count), branches, operands)


def _add(scores: jax.Array, mask: jax.Array) -> jax.Array:
    """scores [K,R*Q,P] + mask [Q,P]."""
    return (scores.reshape(scores.shape[0], -1, *mask.shape) + mask).reshape(scores.shape)


def _mask(at: jax.Array, end: jax.Array, chosen: jax.Array) -> jax.Array:
    """[Q,P]: 0 where a query sees a key."""
    j = (chosen[:, None] * KEY_BLOCK + jnp.arange(KEY_BLOCK)).reshape(-1)
    seen = (j <= at[:, None]) & (at[:, None] < end[chosen].reshape(-1))
    return jnp.where(seen, 0.0, MASKED)


def _key_blocks(x: jax.Array) -> jax.Array:
    """[G,T,K,H] -> [B,KEY_BLOCK,K,H]."""
    return x.reshape(-1, KEY_BLOCK, *x.shape[2:])


def _unblock_keys(x: jax.Array, like: jax.Array) -> jax.Array:
    return x.reshape(like.shape).astype(like.dtype)


def _gather(blocks: jax.Array, chosen: jax.Array) -> jax.Array:
    """[B,KEY_BLOCK,K,H] -> [K,P,H]."""
    k, h = blocks.shape[2:]
    return blocks[chosen].reshape(-1, k, h).transpose(1, 0, 2)


def _ungather(x: jax.Array) -> jax.Array:
    """[K,P,H] -> [P/KEY_BLOCK,KEY_BLOCK,K,H]."""
    return x.transpose(1, 0, 2).reshape(-1, KEY_BLOCK, x.shape[0], x.shape[2])


def _query_blocks(x: jax.Array, visibility: Visibility) -> jax.Array:
    """[G,N,K,R,H] -> [C,K,R*Q,H]: heads that share keys lie in one matrix."""
    _, _, k, r, h = x.shape
    c, q = visibility.at.shape
    return x.reshape(c, q, k, r, h).transpose(0, 2, 3, 1, 4).reshape(c, k, r * q, h)


def _unblock_queries(x: jax.Array, like: jax.Array) -> jax.Array:
    _, _, k, r, h = like.shape
    x = x.reshape(x.shape[0], k, r, -1, h).transpose(0, 3, 1, 2, 4)
    return x.reshape(like.shape).astype(like.dtype)


def _scaled(q: jax.Array) -> jax.Array:
    return q * jnp.asarray(q.shape[-1] ** -0.5, q.dtype)
