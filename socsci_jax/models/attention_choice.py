"""Which of the ways to compute attention is taken: the plain one on processors, the kernel on GPUs that it is right on.

Other accelerators, and GPUs without the kernel, compute whole rows: without conditionals, but all pairs of tokens.
All compute the same (tests/models/test_attention.py holds them against a dense reference).  A GPU's own compiler comes
between this kernel and its results, so before a run relies on it the device itself is asked: the kernel's values and
gradients are compared with those of the dense reference, once.
"""

from __future__ import annotations

import concurrent.futures
import functools
import logging
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from socsci_jax.errors import InputError
from socsci_jax.models.attention import Sight, sight, tree_attention
from socsci_jax.models.attention_kernel import Blocks, blocks, kernel_attention

logger = logging.getLogger(__name__)

# xla, rows or kernel, for those who want to compare; by default the one that is faster on the device.
CHOICE = "SOCSCI_JAX_ATTENTION"


class TreeAttention(NamedTuple):
    """see(at, end) says once for all layers who sees whom; attend(q, k, v, seen) computes a layer.

    `axes` are the logical axes of what `see` gives.
    """

    name: str
    see: Callable[[jax.Array, jax.Array], Any]
    attend: Callable[..., jax.Array]
    axes: Any


def _kernel(q: jax.Array, k: jax.Array, v: jax.Array, see: Blocks) -> jax.Array:
    # Interpreted where there is no GPU: slow, and the same sums.
    return kernel_attention(q, k, v, see, jax.default_backend() != "gpu")


# Each device looks at its own rows: their blocks are counted from the first row that it has.
XLA = TreeAttention(
    "xla",
    sight,
    tree_attention,
    Sight(at=("row", None), end=("row", None), order=("row", None), count=("row",)),
)
ROWS = TreeAttention("rows", sight, lambda q, k, v, see: tree_attention(q, k, v, see, True), XLA.axes)
KERNEL = TreeAttention(
    "kernel",
    blocks,
    _kernel,
    Blocks(
        at=("row", None),
        end=("row", None),
        keys=("row", None, None),
        key_count=("row", None),
        queries=("row", None, None),
        query_count=("row", None),
    ),
)


def attention_for(head_dim: int, compute_dtype: Any) -> TreeAttention:
    """What the decoder computes attention with, for heads of so many features in this dtype on this device.

    Raises InputError if SOCSCI_JAX_ATTENTION asks for what there is not, or for a kernel that does not work here.
    """
    asked = os.environ.get(CHOICE)
    if asked not in (None, "xla", "rows", "kernel"):
        raise InputError(f"{CHOICE} is {asked!r}; set it to xla, rows or kernel, or not at all.")
    if asked in ("xla", "rows"):
        return XLA if asked == "xla" else ROWS
    backend = jax.default_backend()
    if asked is None and backend == "cpu":
        return XLA
    if asked is None and backend != "gpu":
        _warn_slow(f"there is no kernel for {backend}")
        return ROWS
    problem = kernel_problem(head_dim, jnp.dtype(compute_dtype))
    if problem is None:
        return KERNEL
    if asked == "kernel":
        raise InputError(f"{CHOICE} is kernel, which does not work here ({problem}); unset it.")
    return ROWS


@functools.cache
def _warn_slow(why: str) -> None:
    logger.warning(
        f"attention: computed without a kernel, over whole rows, so that long rows take several times as long ({why})"
    )


@functools.cache
def kernel_problem(head_dim: int, dtype: np.dtype) -> str | None:
    """Why the kernel is not to be used on this process's devices; logged once."""
    if head_dim < 16 or head_dim & (head_dim - 1):
        problem = f"heads have {head_dim} features, a power of two from 16 on is needed"
    else:
        # A thread of its own has no mesh, and no program that is being traced.
        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            problem = thread.submit(_compared, head_dim, dtype).result()
    if problem is not None:
        _warn_slow(problem)
    return problem


def _compared(head_dim: int, dtype: np.dtype) -> str | None:
    """What is wrong with the kernel's values and gradients, for 7 query heads a key head, and few queries as well as all."""
    tokens = 256
    # Two trees: a prefix of 70 tokens that four branches share, and one of 40 with three; the rest is padding.
    end = np.zeros((1, tokens), np.int32)
    for start, prefix, branches in ((0, 70, (70, 90, 100, 131)), (131, 40, (171, 180, 222))):
        end[0, start : start + prefix] = (131, 222)[start > 0]
        for first, last in zip(branches, (*branches[1:], (131, 222)[start > 0]), strict=True):
            end[0, first:last] = last
    every = np.arange(tokens, dtype=np.int32)[None]
    try:
        apart = max(_apart(at, end, head_dim, dtype) for at in (every, every[:, 1::2]))
    except Exception as error:  # of many kinds: Triton's, the driver's, XLA's
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"
    # Some times what rounding to eight bits, and to 24, gives.
    allowed = 1e-5 if dtype == np.float32 else 2e-2
    return None if apart < allowed else f"its results are off by {apart:.1e}"


def _apart(at: np.ndarray, end: np.ndarray, head_dim: int, dtype: np.dtype) -> float:
    """How far the kernel is from the rule, of each array's largest number."""
    rng = np.random.default_rng(0)
    heads, shared = 2, 7
    q = rng.normal(size=(*at.shape, heads, shared, head_dim))
    k, v = rng.normal(size=(2, *end.shape, heads, head_dim))
    weight = rng.normal(size=q.shape) * (np.take_along_axis(end, at, axis=1) > 0)[..., None, None, None]

    def results(attend: Callable, of: Any) -> list[jax.Array]:
        *arrays, to_mixed = (jnp.asarray(x, of) for x in (q, k, v, weight))
        mixed, gradients = jax.vjp(jax.jit(attend), *arrays)
        return [mixed * (weight != 0), *gradients(to_mixed)]

    see = blocks(at, end)
    found = results(lambda q, k, v: _kernel(q, k, v, see), dtype)
    wanted = results(lambda q, k, v: dense_attention(q, k, v, at, end), np.float32)
    return max(
        float(jnp.abs(a.astype(jnp.float32) - b).max() / jnp.abs(b).max())
        for a, b in zip(found, wanted, strict=True)
    )


def dense_attention(q: jax.Array, k: jax.Array, v: jax.Array, at: jax.Array, end: jax.Array) -> jax.Array:
    """The rule, written down: every query against every key of its row, what is not seen taken out; zeros if nothing is."""
    scores = jnp.einsum("gnkrh,gtkh->gkrnt", q, k, precision="highest") * q.shape[-1] ** -0.5
    j = jnp.arange(end.shape[1])
    seen = ((j <= at[..., None]) & (at[..., None] < end[:, None]))[:, None, None]
    weights = jnp.where(seen, jax.nn.softmax(jnp.where(seen, scores, -1e30), axis=-1), 0.0)
    return jnp.einsum("gkrnt,gtkh->gnkrh", weights, v, precision="highest")
