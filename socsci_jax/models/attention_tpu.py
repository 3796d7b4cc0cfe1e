"""Attention within rows of prompt trees in one kernel, for TPUs: a grid that follows the list of pairs of blocks.

The rule and the letters are those of `attention.py`: token j is seen by token i of its row iff j <= i < end[j].  Steps of
the grid are the pairs of a block of queries and a block of keys of which any is seen, prefetched as scalars, so that
nothing else is read or computed; their number is known when it runs.  A step computes S query heads that share keys,
and scores lie as [keys, heads and queries]: what there is one of for each query is a row, and no vector is turned.
Online softmax and the two passes of the derivative as in Dao 2023 (FlashAttention-2).  The kernels themselves are in
`attention_tpu_kernels.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from socsci_jax.models.attention import blocks_seen, kept_for_backward
from socsci_jax.models.attention_tpu_kernels import (
    BLOCK,
    bits_of,
    forward_kernel,
    keys_gradient_kernel,
    of_pair,
    queries_gradient_kernel,
)

# The most query heads of a step: a step costs a third of a microsecond besides what it computes, and its scores,
# [256, 8 x 256] in float32, are 2 MB of the 16 MB that a kernel may take.
HEADS = 8
MOST_FEATURES = 256


class Pairs(NamedTuple):
    """Which blocks of keys each block of queries sees, as two lists of pairs; the same in every layer.

    at[C,1,BLOCK] and end[B,BLOCK,1] of all rows' blocks, counted from the first row's first token.  A pair is one number
    (`of_pair`); by_queries[P] is in the order of the blocks of queries, by_keys[P] of keys, each of which has a pair at
    least; of either list the first query_pairs[1] and key_pairs[1] count.
    """

    at: jax.Array
    end: jax.Array
    by_queries: jax.Array
    query_pairs: jax.Array
    by_keys: jax.Array
    key_pairs: jax.Array


def pairs(at: jax.Array, end: jax.Array) -> Pairs:
    """For queries at the tokens `at` [G,N] (ascending) of rows with `end` [G,T]."""
    # What is added to the queries looks where the last one does, and no one looks at what is added to the keys.
    at, end = _padded(at, 1, mode="edge"), _padded(end, 1)
    g, t = end.shape
    sees, whole = blocks_seen(at, end, BLOCK)
    row = jnp.arange(g, dtype=jnp.int32)[:, None]
    numbers = _pair_numbers(sees, whole)
    by_queries = sees | (~sees.any(2, keepdims=True) & (jnp.arange(sees.shape[2]) == 0))
    by_keys = sees | (~sees.any(1, keepdims=True) & (jnp.arange(sees.shape[1]) == 0)[:, None])
    return Pairs(
        (at + row * t).reshape(-1, 1, BLOCK),
        jnp.where(end > 0, end + row * t, 0).reshape(-1, BLOCK, 1),
        *_listed(by_queries, numbers),
        *_listed(by_keys.swapaxes(1, 2), numbers.swapaxes(1, 2)),
    )


def _listed(needed: jax.Array, numbers: jax.Array) -> tuple[jax.Array, jax.Array]:
    (where,) = jnp.nonzero(needed.reshape(-1), size=needed.size, fill_value=0)
    return numbers.reshape(-1)[where], needed.sum(dtype=jnp.int32)[None]


def _pair_numbers(sees: jax.Array, whole: jax.Array) -> jax.Array:
    """[G,C,B]: block of queries, block of keys, whether there is anything to hide; of all rows."""
    g, c, b = sees.shape
    row = jnp.arange(g)[:, None, None]
    queries, keys = row * c + jnp.arange(c)[:, None], row * b + jnp.arange(b)
    return (queries << (bits_of(g * b) + 1) | keys << 1 | ~whole).astype(jnp.int32)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def kernel_attention(
    q: jax.Array, k: jax.Array, v: jax.Array, see: Pairs, interpret: bool = False
) -> jax.Array:
    """q [G,N,K,R,H] at the tokens of `see`, k and v [G,T,K,H] -> [G,N,K,R,H].

    A query that sees nothing gets zeros.  `interpret` computes the same without a TPU, slowly.
    """
    return _forward(q, k, v, see, interpret)[0]


def _forward(q, k, v, see: Pairs, interpret: bool):
    grid = _Grid(q, k, see, interpret)
    mixed, normalizer = grid.by_queries(
        forward_kernel,
        [grid.queries(q), grid.keys(k), grid.keys(v), grid.at, grid.end],
        results=[grid.of_queries_turned(q.dtype), grid.of_numbers()],
        scratch=[(1, grid.width), (1, grid.width), (q.shape[-1], grid.width)],
    )
    mixed, normalizer = kept_for_backward(grid.unturned(mixed, q), normalizer)
    return mixed, (q, k, v, see, mixed, normalizer)


def _backward(interpret: bool, saved, cotangent):
    q, k, v, see, mixed, normalizer = saved
    grid = _Grid(q, k, see, interpret)
    # Dao et al. 2022: of its whole row the gradient of a softmax needs only this sum.
    inner = jnp.sum(cotangent.astype(jnp.float32) * mixed.astype(jnp.float32), axis=-1, keepdims=True)
    operands = [
        grid.queries(q),
        grid.keys(k),
        grid.keys(v),
        grid.queries(cotangent),
        _Operand(normalizer, "numbers"),
        _Operand(grid.queries(inner).array.swapaxes(-1, -2), "numbers"),
        grid.at,
        grid.end,
    ]
    (to_q,) = grid.by_queries(
        queries_gradient_kernel,
        operands,
        results=[grid.of_queries_turned(q.dtype)],
        scratch=[(q.shape[-1], grid.width)],
    )
    to_k, to_v = grid.by_keys(
        keys_gradient_kernel,
        operands,
        results=[grid.of_keys(k.dtype), grid.of_keys(v.dtype)],
        scratch=[(BLOCK, q.shape[-1])] * 2,
    )
    return grid.unturned(to_q, q), grid.unblocked_keys(to_k, k), grid.unblocked_keys(to_v, v), None


kernel_attention.defvjp(_forward, _backward)


class _Operand(NamedTuple):
    """An array (or the form of a result), and how it is cut: queries, turned, numbers, at, keys or end."""

    array: Any
    cut: str


class _Grid:
    """How arrays are cut into blocks, M groups of S heads each, and which of them a step is given."""

    def __init__(self, q: jax.Array, k: jax.Array, see: Pairs, interpret: bool):
        _, _, self.heads, shared, self.features = q.shape
        self.shared = max(s for s in range(1, HEADS + 1) if shared % s == 0)
        self.groups = shared // self.shared  # of query heads, for a key head
        self.width = self.shared * BLOCK
        self.see, self.interpret = see, interpret
        self.query_blocks, self.key_blocks = len(see.at), len(see.end)
        self.at = _Operand(jnp.tile(see.at, (1, 1, self.shared)), "at")
        self.end = _Operand(see.end, "end")

    def queries(self, x: jax.Array) -> _Operand:
        """[G,N,K,R,H] -> [M,C,S*BLOCK,H]."""
        h = x.shape[-1]
        x = _padded(x, 1).reshape(self.query_blocks, BLOCK, self.heads * self.groups, self.shared, h)
        return _Operand(x.transpose(2, 0, 3, 1, 4).reshape(-1, self.query_blocks, self.width, h), "queries")

    def keys(self, x: jax.Array) -> _Operand:
        """[G,T,K,H] -> [K,B,BLOCK,H]."""
        x = _padded(x, 1).reshape(self.key_blocks, BLOCK, self.heads, self.features)
        return _Operand(x.transpose(2, 0, 1, 3), "keys")

    def of_queries_turned(self, dtype: Any) -> _Operand:
        shape = (self.heads * self.groups, self.query_blocks, self.features, self.width)
        return _Operand(jax.ShapeDtypeStruct(shape, dtype), "turned")

    def of_numbers(self) -> _Operand:
        shape = (self.heads * self.groups, self.query_blocks, 1, self.width)
        return _Operand(jax.ShapeDtypeStruct(shape, jnp.float32), "numbers")

    def of_keys(self, dtype: Any) -> _Operand:
        shape = (self.heads, self.key_blocks, BLOCK, self.features)
        return _Operand(jax.ShapeDtypeStruct(shape, dtype), "keys")

    def unturned(self, x: jax.Array, like: jax.Array) -> jax.Array:
        """[M,C,H,S*BLOCK] -> [G,N,K,R,H]."""
        g, n, kv, r, h = like.shape
        x = x.reshape(-1, self.query_blocks, h, self.shared, BLOCK).transpose(1, 4, 0, 3, 2)
        return x.reshape(g, -1, kv, r, h)[:, :n]

    def unblocked_keys(self, x: jax.Array, like: jax.Array) -> jax.Array:
        g, t, kv, h = like.shape
        return x.transpose(1, 2, 0, 3).reshape(g, -1, kv, h)[:, :t]

    def by_queries(self, kernel, operands: Sequence[_Operand], **out) -> list[jax.Array]:
        """A step for each group of heads and pair; pairs of a block of queries follow each other."""
        grid = (self.heads * self.groups, self.see.query_pairs[0])
        return self._call(
            kernel, grid, self.see.by_queries, operands, lambda m, p: (m, p, m // self.groups), **out
        )

    def by_keys(self, kernel, operands: Sequence[_Operand], **out) -> list[jax.Array]:
        """A step for each key head, pair and group of its query heads."""
        grid = (self.heads, self.see.key_pairs[0], self.groups)
        return self._call(
            kernel, grid, self.see.by_keys, operands, lambda k, p, i: (k * self.groups + i, p, k), **out
        )

    def _call(self, kernel, grid, listed, operands, place, *, results, scratch) -> list[jax.Array]:
        sizes = {
            "queries": (None, None, self.width, self.features),
            "turned": (None, None, self.features, self.width),
            "numbers": (None, None, 1, self.width),
            "at": (None, 1, self.width),
            "keys": (None, None, BLOCK, self.features),
            "end": (None, BLOCK, 1),
        }

        def spec(operand: _Operand) -> pl.BlockSpec:
            def index(*step):
                *step, listed = step
                group, p, head = place(*step)
                pair = of_pair(listed[p], self.key_blocks)
                of_keys = operand.cut in ("keys", "end")
                block = pair.keys if of_keys else pair.queries
                outer = () if operand.cut in ("at", "end") else (head if of_keys else group,)
                return (*outer, block, 0, 0)

            return pl.BlockSpec(sizes[operand.cut], index)

        return pl.pallas_call(
            functools.partial(kernel, blocks_of_keys=self.key_blocks, scale=self.features**-0.5),
            grid_spec=pltpu.PrefetchScalarGridSpec(
                num_scalar_prefetch=1,
                grid=grid,
                in_specs=[spec(x) for x in operands],
                out_specs=[spec(x) for x in results],
                scratch_shapes=[pltpu.VMEM(shape, jnp.float32) for shape in scratch],
            ),
            out_shape=[x.array for x in results],
            compiler_params=pltpu.CompilerParams(
                dimension_semantics=("parallel", *["arbitrary"] * (len(grid) - 1))
            ),
            interpret=self.interpret,
            name=f"tree_attention_{kernel.__name__.removesuffix('_kernel')}",
        )(listed, *(x.array for x in operands))


def _padded(x: jax.Array, axis: int, **mode: Any) -> jax.Array:
    """To whole blocks."""
    more = [(0, 0)] * x.ndim
    more[axis] = (0, -x.shape[axis] % BLOCK)
    return jnp.pad(x, more, **mode)
