"""The kernels of `attention_tpu.py`, in Pallas: each step of a grid computes one pair of blocks, for S query heads.

Blocks of queries lie as [S*BLOCK, H], what there is one of for each query as [1, S*BLOCK], of keys as [BLOCK, H] and
[BLOCK, 1].  Scratch memory holds the sums of a block until its last pair.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

BLOCK = 256  # tokens
MASKED = -1e30


def bits_of(blocks_of_keys: int) -> int:
    """How many bits of a pair's number its block of keys takes."""
    return max(1, (blocks_of_keys - 1).bit_length())


class Pair(NamedTuple):
    """A block of queries, a block of keys, and whether any pair of their tokens is hidden."""

    queries: Any
    keys: Any
    hides: Any


def of_pair(number: Any, blocks_of_keys: int) -> Pair:
    """The pair that `attention_tpu.pairs` wrote down as one number."""
    bits = bits_of(blocks_of_keys)
    return Pair(number >> (bits + 1), (number >> 1) & ((1 << bits) - 1), (number & 1) == 1)


def _step(listed, blocks_of_keys: int, which: str) -> tuple[Pair, Any, Any]:
    """This step's pair, and whether it is the first and the last of its block of queries (or keys)."""
    p, count = pl.program_id(1), pl.num_programs(1)

    def block(at):
        return getattr(of_pair(listed[at], blocks_of_keys), which)

    pair = of_pair(listed[p], blocks_of_keys)
    here = getattr(pair, which)
    first = (p == 0) | (block(jnp.maximum(p - 1, 0)) != here)
    last = (p == count - 1) | (block(jnp.minimum(p + 1, count - 1)) != here)
    return pair, first, last


def forward_kernel(
    listed, q, k, v, at, end, mixed, normalizer, highest, total, sums, *, blocks_of_keys: int, scale: float
):
    pair, first, last = _step(listed, blocks_of_keys, "queries")

    @pl.when(first)
    def _():
        highest[...] = jnp.full(highest.shape, MASKED, jnp.float32)
        total[...] = jnp.zeros(total.shape, jnp.float32)
        sums[...] = jnp.zeros(sums.shape, jnp.float32)

    def attend(mask: bool):
        scores = _dot(k[...], q[...], (1, 1)) * scale
        if mask:
            seen = _seen(pair.keys, at[...], end[...])
            scores = jnp.where(seen, scores, MASKED)
        now = jnp.maximum(highest[...], scores.max(0, keepdims=True))
        weights = jnp.exp(scores - now)
        if mask:
            weights = jnp.where(seen, weights, 0.0)
        before = jnp.exp(highest[...] - now)
        highest[...] = now
        total[...] = total[...] * before + weights.sum(0, keepdims=True)
        sums[...] = sums[...] * before + _dot(v[...], weights.astype(v.dtype), (0, 0))

    _with_or_without_mask(pair, attend)

    @pl.when(last)
    def _():
        whole = jnp.maximum(total[...], jnp.finfo(jnp.float32).tiny)  # of a query that sees nothing
        mixed[...] = (sums[...] / whole).astype(mixed.dtype)
        normalizer[...] = highest[...] + jnp.log(whole)


def queries_gradient_kernel(
    listed, q, k, v, to_mixed, norm, inner, at, end, to_q, gradient, *, blocks_of_keys: int, scale: float
):
    pair, first, last = _step(listed, blocks_of_keys, "queries")

    @pl.when(first)
    def _():
        gradient[...] = jnp.zeros(gradient.shape, jnp.float32)

    def add(mask: bool):
        weights = _weights(q, k, norm, at, end, pair.keys, scale, mask)
        to_scores = weights * (_dot(v[...], to_mixed[...], (1, 1)) - inner[...])
        gradient[...] += _dot(k[...], to_scores.astype(k.dtype), (0, 0))

    _with_or_without_mask(pair, add)

    @pl.when(last)
    def _():
        to_q[...] = (gradient[...] * scale).astype(to_q.dtype)


def keys_gradient_kernel(
    listed, q, k, v, to_mixed, norm, inner, at, end, to_k, to_v, to_keys, to_values,
    *, blocks_of_keys: int, scale: float,
):  # fmt: skip
    """Query heads that share the keys, and blocks of queries, follow each other: no sum depends on an order."""
    pair, first, last = _step(listed, blocks_of_keys, "keys")

    @pl.when(first & (pl.program_id(2) == 0))
    def _():
        to_keys[...] = jnp.zeros(to_keys.shape, jnp.float32)
        to_values[...] = jnp.zeros(to_values.shape, jnp.float32)

    def add(mask: bool):
        weights = _weights(q, k, norm, at, end, pair.keys, scale, mask)
        to_scores = weights * (_dot(v[...], to_mixed[...], (1, 1)) - inner[...])
        to_keys[...] += _dot(to_scores.astype(q.dtype), q[...], (1, 0))
        to_values[...] += _dot(weights.astype(q.dtype), to_mixed[...], (1, 0))

    _with_or_without_mask(pair, add)

    @pl.when(last & (pl.program_id(2) == pl.num_programs(2) - 1))
    def _():
        to_k[...] = (to_keys[...] * scale).astype(to_k.dtype)
        to_v[...] = to_values[...].astype(to_v.dtype)


def _with_or_without_mask(pair: Pair, compute) -> None:
    pl.when(pair.hides)(lambda: compute(True))
    pl.when(~pair.hides)(lambda: compute(False))


def _weights(q, k, norm, at, end, keys, scale: float, mask: bool):
    """[keys, heads and queries], once the normalizer of a whole row is known."""
    weights = jnp.exp(_dot(k[...], q[...], (1, 1)) * scale - norm[...])
    return jnp.where(_seen(keys, at[...], end[...]), weights, 0.0) if mask else weights


def _seen(keys, at, end):
    j = keys * BLOCK + jax.lax.broadcasted_iota(jnp.int32, (BLOCK, at.shape[1]), 0)
    return (j <= at) & (at < end)


def _dot(a, b, contracted: tuple[int, int]):
    # Float32 in full: a TPU would multiply it as bfloat16.
    precision = jax.lax.Precision.HIGHEST if a.dtype == jnp.float32 else None
    dimensions = (((contracted[0],), (contracted[1],)), ((), ()))
    return jax.lax.dot_general(a, b, dimensions, precision=precision, preferred_element_type=jnp.float32)
