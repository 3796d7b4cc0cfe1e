"""Attention within rows of prompt trees in one kernel, for GPUs: scores and weights never leave the processor's registers.

The rule and the letters are those of `attention.py`, which computes the same on every device: token j is seen by token
i of its row iff j <= i < end[j].  Written in Pallas for Triton.  Online softmax and the two passes of the derivative
as in Dao 2023 (FlashAttention-2); only blocks of keys that a block of queries sees are read, through lists of them.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

# Tokens of a block: what tensor cores are given at a time, with room in the registers for 128 features of a head.
BLOCK = 64
MASKED = -1e30
LOG2_E = math.log2(math.e)


class Blocks(NamedTuple):
    """Which blocks of keys each block of queries sees, and the other way round; the same in every layer.

    at[G,N] and end[G,T] as they were given.  Of a row's B blocks of keys, block c of its C blocks of queries sees the
    first key_count[G,C] of keys[G,C,B]; block b of keys is seen by the first query_count[G,B] of queries[G,B,C].
    """

    at: jax.Array
    end: jax.Array
    keys: jax.Array
    key_count: jax.Array
    queries: jax.Array
    query_count: jax.Array


def blocks(at: jax.Array, end: jax.Array) -> Blocks:
    """For queries at the tokens `at` [G,N] (ascending) of rows with `end` [G,T]; N and T are multiples of 64."""
    of_queries = at.reshape(at.shape[0], -1, 1, BLOCK)
    of_keys = end.reshape(end.shape[0], 1, -1, BLOCK)
    start = jnp.arange(0, end.shape[1], BLOCK)
    # Token j is seen from j to end[j] - 1, which meets the span of a block of queries iff both hold.
    sees = (start <= of_queries.max(-1)) & (of_keys.max(-1) > of_queries.min(-1))
    return Blocks(
        at=at,
        end=end,
        keys=jnp.argsort(~sees, axis=2, stable=True).astype(jnp.int32),
        key_count=sees.sum(2, dtype=jnp.int32),
        queries=jnp.argsort(~sees, axis=1, stable=True).swapaxes(1, 2).astype(jnp.int32),
        query_count=sees.sum(1, dtype=jnp.int32),
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def kernel_attention(
    q: jax.Array, k: jax.Array, v: jax.Array, see: Blocks, interpret: bool = False
) -> jax.Array:
    """q [G,N,K,R,H] at the tokens of `see`, k and v [G,T,K,H] -> [G,N,K,R,H]; H is a power of two, 16 or more.

    A query that sees nothing gets zeros.  `interpret` computes the same without a GPU, slowly.
    """
    return _forward(q, k, v, see, interpret)[0]


def _forward(q, k, v, see: Blocks, interpret: bool):
    by_queries = _ByQueries(q, k)
    g, n, kv, r, _ = q.shape
    mixed, normalizer = by_queries.call(
        _forward_kernel,
        [by_queries.queries, *by_queries.keys_values, *by_queries.seen],
        out_specs=[by_queries.queries, by_queries.numbers],
        out_shape=[
            jax.ShapeDtypeStruct(q.shape, q.dtype),
            jax.ShapeDtypeStruct((g, kv, r, n), jnp.float32),
        ],
        interpret=interpret,
    )(q, k, v, see.at, see.end, see.keys, see.key_count)
    return mixed, (q, k, v, see, mixed, normalizer)


def _forward_kernel(q, k, v, at, end, keys, key_count, mixed, normalizer, *, scale: float):
    queries, here = q[...], at[...]

    def body(i, carry):
        highest, total, sums = carry
        of_block = pl.dslice(keys[i] * BLOCK, BLOCK)
        scores = _scores(queries, k[of_block, :], scale)
        seen = _seen(keys[i], here, end[of_block])
        scores = jnp.where(seen, scores, MASKED)
        now = jnp.maximum(highest, scores.max(1))
        weights = jnp.where(seen, jnp.exp2(scores - now[:, None]), 0.0)
        before = jnp.exp2(highest - now)
        values = v[of_block, :]
        sums = sums * before[:, None] + _dot(weights.astype(values.dtype), values)
        return now, total * before + weights.sum(1), sums

    nothing = (
        jnp.full(BLOCK, MASKED, jnp.float32),
        jnp.zeros(BLOCK, jnp.float32),
        jnp.zeros(queries.shape, jnp.float32),
    )
    highest, total, sums = jax.lax.fori_loop(0, key_count[...], body, nothing)
    total = jnp.maximum(total, jnp.finfo(jnp.float32).tiny)
    mixed[...] = (sums / total[:, None]).astype(mixed.dtype)
    normalizer[...] = highest + jnp.log2(total)


def _backward(interpret: bool, saved, cotangent):
    q, k, v, see, mixed, normalizer = saved
    # Dao et al. 2022: of its whole row the gradient of a softmax needs only this sum.
    inner = jnp.einsum("gnkrh,gnkrh->gkrn", cotangent, mixed, preferred_element_type=jnp.float32)
    by_queries, by_keys = _ByQueries(q, k), _ByKeys(q, k)
    operands = (q, k, v, cotangent, normalizer, inner, see.at, see.end)
    to_q = by_queries.call(
        _backward_queries_kernel,
        by_queries.of_operands,
        out_specs=by_queries.queries,
        out_shape=jax.ShapeDtypeStruct(q.shape, q.dtype),
        interpret=interpret,
    )(*operands, see.keys, see.key_count)
    to_k, to_v = by_keys.call(
        _backward_keys_kernel,
        by_keys.of_operands,
        out_specs=by_keys.keys_values,
        out_shape=[jax.ShapeDtypeStruct(k.shape, k.dtype), jax.ShapeDtypeStruct(v.shape, v.dtype)],
        interpret=interpret,
    )(*operands, see.queries, see.query_count)
    return to_q, to_k, to_v, jax.tree.map(lambda _: None, see)


class _Grid:
    """What each instance of a kernel is given of every operand; blocks of all rows and heads are independent."""

    grid: tuple[int, int, int]
    queries: pl.BlockSpec
    keys_values: list[pl.BlockSpec]
    numbers: pl.BlockSpec  # one for each query and head
    seen: list[pl.BlockSpec]  # at, end, the list of blocks and how many of it count

    @property
    def of_operands(self) -> list[pl.BlockSpec]:
        """Of q, k, v, the cotangent, the normalizer, its inner products, and who sees whom."""
        return [self.queries, *self.keys_values, self.queries, self.numbers, self.numbers, *self.seen]

    def call(self, kernel, in_specs: list[pl.BlockSpec], *, interpret: bool, **out):
        features = self.queries.block_shape[-1]
        return pl.pallas_call(
            functools.partial(kernel, scale=features**-0.5),
            grid=self.grid,
            in_specs=in_specs,
            compiler_params=triton.CompilerParams(num_warps=4 if features <= 64 else 8, num_stages=2),
            interpret=interpret,
            name=f"tree_attention{kernel.__name__.removesuffix('_kernel')}",
            **out,
        )


class _ByQueries(_Grid):
    """An instance for each block of queries, row and query head: it looks at all keys of its row."""

    def __init__(self, q: jax.Array, k: jax.Array):
        (g, n, kv, r, h), t = q.shape, k.shape[1]
        self.grid = (n // BLOCK, g, kv * r)
        self.queries = pl.BlockSpec(
            (None, BLOCK, None, None, h), lambda c, g, head: (g, c, head // r, head % r, 0)
        )
        self.keys_values = [pl.BlockSpec((None, t, None, h), lambda c, g, head: (g, 0, head // r, 0))] * 2
        self.numbers = pl.BlockSpec((None, None, None, BLOCK), lambda c, g, head: (g, head // r, head % r, c))
        self.seen = [
            pl.BlockSpec((None, BLOCK), lambda c, g, head: (g, c)),
            pl.BlockSpec((None, t), lambda c, g, head: (g, 0)),
            pl.BlockSpec((None, None, t // BLOCK), lambda c, g, head: (g, c, 0)),
            pl.BlockSpec((None, None), lambda c, g, head: (g, c)),
        ]


class _ByKeys(_Grid):
    """An instance for each block of keys, row and key head: it looks at all queries of its row.

    Query heads that share the keys add to their gradient one after the other, so that no sum depends on an order.
    """

    def __init__(self, q: jax.Array, k: jax.Array):
        (g, n, kv, r, h), t = q.shape, k.shape[1]
        self.grid = (t // BLOCK, g, kv)
        self.queries = pl.BlockSpec((None, n, None, r, h), lambda b, g, head: (g, 0, head, 0, 0))
        self.keys_values = [pl.BlockSpec((None, BLOCK, None, h), lambda b, g, head: (g, b, head, 0))] * 2
        self.numbers = pl.BlockSpec((None, None, r, n), lambda b, g, head: (g, head, 0, 0))
        self.seen = [
            pl.BlockSpec((None, n), lambda b, g, head: (g, 0)),
            pl.BlockSpec((None, BLOCK), lambda b, g, head: (g, b)),
            pl.BlockSpec((None, None, n // BLOCK), lambda b, g, head: (g, b, 0)),
            pl.BlockSpec((None, None), lambda b, g, head: (g, b)),
        ]


def _backward_queries_kernel(
    q, k, v, to_mixed, normalizer, inner, at, end, keys, key_count, to_q, *, scale: float
):
    queries, gradient, here = q[...], to_mixed[...], at[...]
    norm, sums = normalizer[...], inner[...]

    def body(i, total):
        of_block = pl.dslice(keys[i] * BLOCK, BLOCK)
        block = k[of_block, :]
        seen = _seen(keys[i], here, end[of_block])
        weights = jnp.where(seen, jnp.exp2(_scores(queries, block, scale) - norm[:, None]), 0.0)
        to_scores = weights * (_dot(gradient, v[of_block, :], trans_b=True) - sums[:, None])
        return total + _dot(to_scores.astype(block.dtype), block)

    total = jax.lax.fori_loop(0, key_count[...], body, jnp.zeros(queries.shape, jnp.float32))
    to_q[...] = (total * scale).astype(to_q.dtype)


def _backward_keys_kernel(
    q,
    k,
    v,
    to_mixed,
    normalizer,
    inner,
    at,
    end,
    queries,
    query_count,
    to_k,
    to_v,
    *,
    scale: float,
):
    block, values, ends = k[...], v[...], end[...]
    number = pl.program_id(0)

    def of_head(head: int, totals):
        def body(i, totals):
            of_block = pl.dslice(queries[i] * BLOCK, BLOCK)
            here, gradient = q[of_block, head, :], to_mixed[of_block, head, :]
            scores = _scores(here, block, scale)
            seen = _seen(number, at[of_block], ends)
            weights = jnp.where(seen, jnp.exp2(scores - normalizer[head, of_block][:, None]), 0.0)
            to_weights = _dot(gradient, values, trans_b=True)
            to_scores = weights * (to_weights - inner[head, of_block][:, None])
            return (
                totals[0] + _dot(to_scores.astype(here.dtype), here, trans_a=True),
                totals[1] + _dot(weights.astype(gradient.dtype), gradient, trans_a=True),
            )

        return jax.lax.fori_loop(0, query_count[...], body, totals)

    totals = (jnp.zeros(block.shape, jnp.float32), jnp.zeros(block.shape, jnp.float32))
    for head in range(q.shape[1]):
        totals = of_head(head, totals)
    to_k[...] = (totals[0] * scale).astype(to_k.dtype)
    to_v[...] = totals[1].astype(to_v.dtype)


kernel_attention.defvjp(_forward, _backward)


def _scores(q, k, scale: float):
    """In powers of two, for which processors have an instruction."""
    return _dot(q, k, trans_b=True) * (scale * LOG2_E)


def _seen(block, at, end):
    """[queries, keys] of one block of keys."""
    j = block * BLOCK + jnp.arange(BLOCK)
    return (j[None, :] <= at[:, None]) & (at[:, None] < end[None, :])


def _dot(a, b, **transposed: bool):
    # Float32 in full: tensor cores would round it to ten bits.
    precision = jax.lax.Precision.HIGHEST if a.dtype == jnp.float32 else None
    return triton.dot(a, b, precision=precision, **transposed)
