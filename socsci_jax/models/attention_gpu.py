"""Attention within rows of prompt trees in one kernel, for GPUs: scores and weights never leave the processor's registers.

The rule and the letters are those of `attention.py`, which computes the same on every device: token j is seen by token
i of its row iff j <= i < end[j].  Online softmax and the two passes of the derivative as in Dao 2023 (FlashAttention-2);
only blocks of keys that a block of queries sees are read, through lists of them, and only those that it does not see
whole are masked.  The kernels themselves are in `attention_gpu_kernels.py`.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from socsci_jax.models.attention import blocks_seen, kept_for_backward
from socsci_jax.models.triton_call import Call, Launch, on_gpu

# Tokens of a block: what tensor cores are given at a time, with room in the registers for 128 features of a head.
BLOCK = 64
# Features of a head, by the bytes of a number: of more, a block is computed in pieces too small for tensor cores, or
# registers are spilled (`python -m benchmarks.kernel_resources`).
MOST_FEATURES = {2: 256, 4: 128}
# Tokens times features of a piece of a block, by the bytes of a number.  Float32, and the parts of which it is multiplied,
# take several times the registers.
NUMBERS = {2: 8192, 4: 2048}
LOG2_E = math.log2(math.e)


class Blocks(NamedTuple):
    """Which blocks of keys each block of queries sees, and the other way round; the same in every layer.

    at[G,N] and end[G,T] as they were given.  Of a row's B blocks of keys, block c of its C blocks of queries sees the
    first key_count[G,C] of keys[G,C,B], the first whole_keys[G,C] of them with no pair hidden; block b of keys is seen
    by the first query_count[G,B] of queries[G,B,C], whole by the first whole_queries[G,B].
    """

    at: jax.Array
    end: jax.Array
    keys: jax.Array
    whole_keys: jax.Array
    key_count: jax.Array
    queries: jax.Array
    whole_queries: jax.Array
    query_count: jax.Array


def blocks(at: jax.Array, end: jax.Array) -> Blocks:
    """For queries at the tokens `at` [G,N] (ascending) of rows with `end` [G,T]; N and T are multiples of 64."""
    sees, whole = blocks_seen(at, end, BLOCK)
    # Whole ones first, then those with a mask, then those that are not seen.
    rank = jnp.where(whole, 0, jnp.where(sees, 1, 2))
    return Blocks(
        at=at,
        end=end,
        keys=jnp.argsort(rank, axis=2, stable=True).astype(jnp.int32),
        whole_keys=whole.sum(2, dtype=jnp.int32),
        key_count=sees.sum(2, dtype=jnp.int32),
        queries=jnp.argsort(rank, axis=1, stable=True).swapaxes(1, 2).astype(jnp.int32),
        whole_queries=whole.sum(1, dtype=jnp.int32),
        query_count=sees.sum(1, dtype=jnp.int32),
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def kernel_attention(q: jax.Array, k: jax.Array, v: jax.Array, see: Blocks, call: Call = on_gpu) -> jax.Array:
    """q [G,N,K,R,H] at the tokens of `see`, k and v [G,T,K,H] -> [G,N,K,R,H]; H is a multiple of 16, up to
    MOST_FEATURES.

    A query that sees nothing gets zeros.
    """
    return _forward(q, k, v, see, call)[0]


def _forward(q, k, v, see: Blocks, call: Call):
    g, n, kv, r, _ = q.shape
    results = [_like(q), jax.ShapeDtypeStruct((g, kv, r, n), jnp.float32)]
    launch = _launch("forward", q, k, tokens=n, heads=kv * r, results=results)
    mixed, normalizer = call(launch, q, k, v, see.at, see.end, see.keys, see.whole_keys, see.key_count)
    mixed, normalizer = kept_for_backward(mixed, normalizer)
    return mixed, (q, k, v, see, mixed, normalizer)


def _backward(call: Call, saved, cotangent):
    q, k, v, see, mixed, normalizer = saved
    _, n, kv, r, _ = q.shape
    # Dao et al. 2022: of its whole row the gradient of a softmax needs only this sum.
    inner = jnp.einsum("gnkrh,gnkrh->gkrn", cotangent, mixed, preferred_element_type=jnp.float32)
    operands = (q, k, v, cotangent, normalizer, inner, see.at, see.end)
    launch = _launch("backward_queries", q, k, tokens=n, heads=kv * r, results=[_like(q)])
    (to_q,) = call(launch, *operands, see.keys, see.whole_keys, see.key_count)
    launch = _launch("backward_keys", q, k, tokens=k.shape[1], heads=kv, results=[_like(k), _like(v)])
    to_k, to_v = call(launch, *operands, see.queries, see.whole_queries, see.query_count)
    return to_q, to_k, to_v, jax.tree.map(lambda _: None, see)


kernel_attention.defvjp(_forward, _backward)


def _like(x: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype)


def _launch(kernel: str, q, k, *, tokens: int, heads: int, results) -> Launch:
    g, n, kv, r, h = q.shape
    wide = 1 << (h - 1).bit_length()
    at_a_time = min(BLOCK, NUMBERS[q.dtype.itemsize] // wide)
    constants = {
        # In powers of two, for which processors have an instruction.
        "SCALE": h**-0.5 * LOG2_E,
        "N": n,
        "T": k.shape[1],
        "K": kv,
        "R": r,
        "H": h,
        "WIDE": wide,
        "BLOCK": at_a_time,
        "PIECES": BLOCK // at_a_time,
        # Float32 in three products of ten bits each: to 1e-6, where one would be to 1e-3.
        "PRECISION": "tf32x3" if q.dtype == jnp.float32 else "tf32",
    }
    grid = (tokens // at_a_time, g, heads)
    # Four warps leave room for two blocks on a multiprocessor of Hopper, eight for one.
    return Launch(
        f"tree_attention_{kernel}", grid, tuple(results), tuple(constants.items()), warps=4, stages=2
    )
