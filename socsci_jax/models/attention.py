"""Attention within rows of prompt trees: token j is seen by token i of its row iff j <= i < end[j].

Letters: G rows, T tokens of a row, N queries, K key-value heads, R query heads that share one, H features of a
head.  Keys are never repeated, per head or per branch, and no T x T mask is ever built: what a query sees lies in
few blocks of keys (its prefix, the beginning of its persona, its own neighbours), and only these are multiplied.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

# Sizes for which the scores of a block of queries stay in the second-level cache of a processor core.
QUERY_BLOCK = 128
KEY_BLOCK = 64

# Its exponential is 0, yet a row of nothing else has no NaN.
MASKED = -1e30


def tree_attention(q: jax.Array, k: jax.Array, v: jax.Array, at: jax.Array, end: jax.Array) -> jax.Array:
    """Attention of the tokens `at` [G,N] (ascending) of each row: q [G,N,K,R,H], k, v [G,T,K,H] -> [G,N,K,R,H].

    `end` [G,T]; T and N are multiples of 64.  A query that sees nothing gets a finite value.
    """
    return _tree_attention(q, k, v, at, end)


@jax.custom_vjp
def _tree_attention(q, k, v, at, end):
    return _forward(q, k, v, at, end)[0]


class _Chunk(NamedTuple):
    """A block of queries and the blocks of keys that it sees, the first `count` of `order`."""

    q: jax.Array  # [K, R*Q, H], scaled
    at: jax.Array  # [Q], counted from the beginning of all rows
    order: jax.Array
    count: jax.Array


def _forward(q, k, v, at, end):
    keys, values, ends = _blocks(k), _blocks(v), _end_of_blocks(end)

    def attend(blocks: int, chunk: _Chunk):
        k, v, mask = _gather(keys, values, ends, chunk, blocks)
        scores = _add_mask(_dot("kqh,kph->kqp", chunk.q, k), mask)
        highest = scores.max(-1)
        weights = jnp.exp(scores - highest[..., None])
        total = weights.sum(-1)
        mixed = _dot("kqp,kph->kqh", weights.astype(v.dtype), v) / total[..., None]
        return mixed.astype(q.dtype), highest + jnp.log(total)

    mixed, normaliser = jax.lax.map(_switch(attend, end), _chunks(q, at, end))
    return _unchunk(mixed, q.shape), (q, k, v, at, end, mixed, normaliser)


def _backward(saved, cotangent):
    q, k, v, at, end, mixed, normaliser = saved
    keys, values, ends = _blocks(k), _blocks(v), _end_of_blocks(end)
    of_mixed = _by_chunk(cotangent, at)
    # Dao et al. 2022: the gradient of a softmax needs of its row only this sum.
    inner = jnp.sum(of_mixed.astype(jnp.float32) * mixed.astype(jnp.float32), axis=-1)

    def backward(blocks: int, operands):
        to_keys, to_values, (chunk, of_mixed, inner, normaliser) = operands
        k, v, mask = _gather(keys, values, ends, chunk, blocks)
        weights = jnp.exp(_add_mask(_dot("kqh,kph->kqp", chunk.q, k), mask) - normaliser[..., None])
        of_scores = weights * (_dot("kqh,kph->kqp", of_mixed, v) - inner[..., None])
        weights, of_scores = weights.astype(q.dtype), of_scores.astype(q.dtype)
        to_q = _dot("kqp,kph->kqh", of_scores, k)
        chosen = chunk.order[:blocks]
        to_keys = to_keys.at[chosen].add(_ungather(_dot("kqp,kqh->kph", of_scores, chunk.q), blocks))
        to_values = to_values.at[chosen].add(_ungather(_dot("kqp,kqh->kph", weights, of_mixed), blocks))
        return to_keys, to_values, to_q

    switch = _switch(backward, end, count=lambda operands: operands[2][0].count)

    def step(totals, xs):
        to_keys, to_values, to_q = switch((*totals, xs))
        return (to_keys, to_values), to_q

    zeros = (jnp.zeros(keys.shape, jnp.float32), jnp.zeros(values.shape, jnp.float32))
    (to_keys, to_values), to_q = jax.lax.scan(step, zeros, (_chunks(q, at, end), of_mixed, inner, normaliser))
    to_q = _unchunk(to_q, q.shape) * _scale(q)
    return to_q.astype(q.dtype), _unblock(to_keys, k), _unblock(to_values, v), None, None


_tree_attention.defvjp(_forward, _backward)


def _chunks(q: jax.Array, at: jax.Array, end: jax.Array) -> _Chunk:
    """Blocks of queries, and for each which blocks of keys any of its queries can see."""
    g, t = end.shape
    size = _query_block(at.shape[1])
    at = at.reshape(g, -1, size)
    last_end = end.reshape(g, -1, KEY_BLOCK).max(-1)
    start = jnp.arange(0, t, KEY_BLOCK)
    # Token j is seen from j to end[j] - 1; that meets the span of a block of queries iff both hold.
    sees = (start <= at.max(-1)[..., None]) & (last_end[:, None] > at.min(-1)[..., None])
    order = jnp.argsort(~sees, axis=-1, stable=True) + jnp.arange(g)[:, None, None] * start.shape[0]
    at = at + jnp.arange(g)[:, None, None] * t
    return _Chunk(
        q=_by_chunk(q * _scale(q).astype(q.dtype), at),
        at=at.reshape(-1, size),
        order=order.reshape(-1, order.shape[-1]),
        count=sees.sum(-1).reshape(-1),
    )


def _switch(function: Callable, end: jax.Array, count: Callable = lambda chunk: chunk.count) -> Callable:
    """`function(blocks, operands)` for the smallest number of blocks that is enough: few programs, little waste."""
    blocks = end.shape[1] // KEY_BLOCK
    sizes = np.array(sorted({min(size, blocks) for size in _SIZES} | {blocks}))
    branches = [functools.partial(function, int(size)) for size in sizes]
    return lambda operands: jax.lax.switch(jnp.searchsorted(sizes, count(operands)), branches, operands)


_SIZES = (2, 4, 6, 8, 10, 12, 16, 24, 32, 64, 128, 256, 512)


def _gather(keys, values, ends, chunk: _Chunk, blocks: int):
    """Keys and values [K,P,H] of the first blocks that the chunk sees, and the mask [Q,P] to be added."""
    chosen = chunk.order[:blocks]
    k, v = (x[chosen].transpose(1, 0, 2, 3).reshape(x.shape[1], -1, x.shape[-1]) for x in (keys, values))
    j = (chosen[:, None] * KEY_BLOCK + jnp.arange(KEY_BLOCK)).reshape(-1)
    i = chunk.at[:, None]
    seen = (j <= i) & (i < ends[chosen].reshape(-1))
    return k, v, jnp.where(seen, 0.0, MASKED)


def _ungather(x: jax.Array, blocks: int) -> jax.Array:
    """[K,P,H] -> [blocks,K,C,H]."""
    return x.reshape(x.shape[0], blocks, -1, x.shape[-1]).transpose(1, 0, 2, 3)


def _blocks(x: jax.Array) -> jax.Array:
    """[G,T,K,H] -> [G*T/C,K,C,H]."""
    return x.reshape(-1, KEY_BLOCK, *x.shape[2:]).transpose(0, 2, 1, 3)


def _unblock(x: jax.Array, like: jax.Array) -> jax.Array:
    return x.transpose(0, 2, 1, 3).reshape(like.shape).astype(like.dtype)


def _end_of_blocks(end: jax.Array) -> jax.Array:
    """[G,T] -> [G*T/C,C], counted from the beginning of all rows; 0 stays 0 and hides its token."""
    g, t = end.shape
    shifted = jnp.where(end > 0, end + jnp.arange(g)[:, None] * t, 0)
    return shifted.reshape(-1, KEY_BLOCK)


def _by_chunk(x: jax.Array, at: jax.Array) -> jax.Array:
    """[G,N,K,R,H] -> [chunks,K,R*Q,H]: heads that share keys lie in one matrix."""
    size = _query_block(at.shape[-1] if at.ndim == 2 else at.shape[-1] * at.shape[-2])
    _, _, k, r, h = x.shape
    return x.reshape(-1, size, k, r, h).transpose(0, 2, 3, 1, 4).reshape(-1, k, r * size, h)


def _unchunk(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    _, n, k, r, h = shape
    size = _query_block(n)
    return x.reshape(-1, k, r, size, h).transpose(0, 3, 1, 2, 4).reshape(shape)


def _query_block(n: int) -> int:
    return QUERY_BLOCK if n % QUERY_BLOCK == 0 else KEY_BLOCK


def _add_mask(scores: jax.Array, mask: jax.Array) -> jax.Array:
    """scores [K,R*Q,P] plus mask [Q,P]."""
    return (scores.reshape(scores.shape[0], -1, *mask.shape) + mask).reshape(scores.shape)


def _scale(q: jax.Array) -> jax.Array:
    return jnp.float32(q.shape[-1] ** -0.5)


def _dot(spec: str, a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.einsum(spec, a, b, preferred_element_type=jnp.float32)
