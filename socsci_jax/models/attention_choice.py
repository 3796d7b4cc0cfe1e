"""Which of the ways to compute attention is taken: the plain one on processors, a kernel on GPUs and TPUs.

Other accelerators, and those that the kernel is not right on, compute whole rows: without conditionals, but all pairs of
tokens.  All compute the same (tests/models holds them against a dense reference).  A device's own compiler comes between
a kernel and its results, so before a run relies on it the device itself is asked: the kernel's values and gradients are
compared with those of the dense reference, once.
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
from socsci_jax.models import attention_gpu, attention_tpu
from socsci_jax.models.attention import MASKED, Visibility, tree_attention, visibility
from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.triton_call import missing

logger = logging.getLogger(__name__)

# xla, rows or kernel, for those who want to compare; by default the one that is faster on the device.
CHOICE = "SOCSCI_JAX_ATTENTION"
# Of what the device is asked about.
KEY_HEADS = 2


class TreeAttention(NamedTuple):
    """see(at, end) says once for all layers who sees whom; attend(q, k, v, seen) computes a layer.

    `axes` are the logical axes of what `see` gives.
    """

    name: str
    see: Callable[[jax.Array, jax.Array], Any]
    attend: Callable[..., jax.Array]
    axes: Any


# Each device looks at its own rows: their blocks are counted from the first row that it has.
XLA = TreeAttention(
    "xla",
    visibility,
    tree_attention,
    Visibility(at=("row", None), end=("row", None), order=("row", None), count=("row",)),
)
ROWS = TreeAttention(
    "rows", visibility, lambda q, k, v, visibility: tree_attention(q, k, v, visibility, True), XLA.axes
)
GPU_KERNEL = TreeAttention(
    "kernel",
    attention_gpu.blocks,
    attention_gpu.kernel_attention,
    attention_gpu.Blocks(
        at=("row", None),
        end=("row", None),
        keys=("row", None, None),
        whole_keys=("row", None),
        key_count=("row", None),
        queries=("row", None, None),
        whole_queries=("row", None),
        query_count=("row", None),
    ),
)
TPU_KERNEL = TreeAttention(
    "kernel",
    attention_tpu.pairs,
    attention_tpu.kernel_attention,
    attention_tpu.Pairs(
        at=("row", None, None),
        end=("row", None, None),
        by_queries=("row",),
        query_pairs=("row",),
        by_keys=("row",),
        key_pairs=("row",),
    ),
)
# The same sums on any device, slowly.
INTERPRETED = TPU_KERNEL._replace(
    attend=lambda q, k, v, see: attention_tpu.kernel_attention(q, k, v, see, True)
)


def device_kernel() -> TreeAttention | None:
    """The kernel of this process's devices; on processors that of TPUs, interpreted."""
    return {"gpu": GPU_KERNEL, "tpu": TPU_KERNEL, "cpu": INTERPRETED}.get(jax.default_backend())


class Heads(NamedTuple):
    """What a kernel is compiled for: features of a head, query heads that share keys, and their dtype."""

    features: int
    shared: int
    dtype: np.dtype

    @classmethod
    def of(cls, config: DecoderConfig, compute_dtype: Any) -> Heads:
        shared = config.num_attention_heads // config.num_key_value_heads
        return cls(config.head_dim, shared, jnp.dtype(compute_dtype))


# What is wrong with the kernel, as far as it was asked: by this process, or by another of the run.
_problems: dict[Heads, str | None] = {}


def attention_for(heads: Heads) -> TreeAttention:
    """What the decoder computes attention with, for such heads on this process's devices.

    Raises InputError if SOCSCI_JAX_ATTENTION asks for what there is not, or for a kernel that does not work here.
    """
    asked = os.environ.get(CHOICE)
    if asked not in (None, "xla", "rows", "kernel"):
        raise InputError(f"{CHOICE} is {asked!r}; set it to xla, rows or kernel, or not at all.")
    if asked in ("xla", "rows"):
        return XLA if asked == "xla" else ROWS
    if asked is None and jax.default_backend() == "cpu":
        return XLA
    problem = kernel_problem(heads)
    if problem is None:
        return device_kernel()
    if asked == "kernel":
        raise InputError(f"{CHOICE} is kernel, which does not work here ({problem}); unset it.")
    return ROWS


def same_attention(heads: Heads, gather: Callable[[str | None], list[str | None]]) -> str:
    """The name of what attention is computed with, after all processes of a run have told each other what they found.

    `gather` gives what each process gave, in their order.  Where the kernel fails on one process, none takes it: they run
    one program.  Names still differ where SOCSCI_JAX_ATTENTION does.
    """
    attention_for(heads)
    problems = gather(_problems.get(heads))
    elsewhere = next((f"process {n}: {problem}" for n, problem in enumerate(problems) if problem), None)
    if elsewhere and _problems.get(heads) is None:
        _problems[heads] = elsewhere
        _warn_slow(elsewhere)
    return attention_for(heads).name


def _warn_slow(why: str) -> None:
    logger.warning(
        f"attention: computed without a kernel, over whole rows, so that long rows take several times as long ({why})"
    )


def kernel_problem(heads: Heads) -> str | None:
    """Why the kernel is not to be used on the run's devices; logged once."""
    if heads not in _problems:
        _problems[heads] = problem = _problem(heads)
        if problem is not None:
            _warn_slow(problem)
    return _problems[heads]


def _problem(heads: Heads) -> str | None:
    backend = jax.default_backend()
    if device_kernel() is None:
        return f"there is no kernel for {backend}"
    most = (
        attention_gpu.MOST_FEATURES[heads.dtype.itemsize] if backend == "gpu" else attention_tpu.MOST_FEATURES
    )
    if heads.features % 16 or heads.features > most:
        return f"heads have {heads.features} features in {heads.dtype.name}, a multiple of 16 up to {most} is needed"
    if backend == "gpu" and (not_installed := missing()):
        return not_installed
    # A thread of its own has no mesh, and no program that is being traced.
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(_compared, heads).result()


def _compared(heads: Heads) -> str | None:
    """What is wrong with the kernel's values and gradients, for few queries as well as all."""
    end = _asked_about()
    every = np.broadcast_to(np.arange(end.shape[1], dtype=np.int32), end.shape)
    try:
        apart = max(_apart(at, end, heads) for at in (every, every[:, 1::2]))
    except Exception as error:  # of many kinds: Triton's, Mosaic's, the driver's, XLA's
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"
    # Some times what rounding to eight bits, and to 24, gives.
    allowed = 1e-5 if heads.dtype == np.float32 else 2e-2
    return None if apart < allowed else f"its results are off by {apart:.1e}"


def _asked_about() -> np.ndarray:
    """`end` of two rows: one tree with a long prefix, blocks of which are seen whole; two small trees, and padding."""
    end = np.zeros((2, 512), np.int32)
    trees = ((0, 0, 300, (350, 400, 490, 512)), (1, 0, 70, (90, 100, 131)), (1, 131, 171, (180, 222)))
    for row, start, first, stops in trees:
        end[row, start:first] = stops[-1]
        for stop in stops:
            end[row, first:stop] = stop
            first = stop
    return end


def _apart(at: np.ndarray, end: np.ndarray, heads: Heads) -> float:
    """How far the kernel is from the rule, of each array's largest number."""
    rng = np.random.default_rng(0)
    q = rng.normal(size=(*at.shape, KEY_HEADS, heads.shared, heads.features))
    k, v = rng.normal(size=(2, *end.shape, KEY_HEADS, heads.features))
    weight = rng.normal(size=q.shape) * (np.take_along_axis(end, at, axis=1) > 0)[..., None, None, None]

    def results(attend: Callable, of: Any, *seen: Any) -> list[jax.Array]:
        *arrays, to_mixed = (jnp.asarray(x, of) for x in (q, k, v, weight))
        mixed, *gradients = _with_gradients(*arrays, to_mixed, seen, attend=attend)
        return [mixed * (weight != 0), *gradients]

    kernel = device_kernel()
    see = jax.jit(kernel.see)(at, end)
    computed = results(kernel.attend, heads.dtype, see)
    wanted = results(dense_attention, np.float32, at, end)
    return max(
        float(jnp.abs(a.astype(jnp.float32) - b).max() / jnp.abs(b).max())
        for a, b in zip(computed, wanted, strict=True)
    )


@functools.partial(jax.jit, static_argnames="attend")
def _with_gradients(
    q: Any, k: Any, v: Any, to_mixed: Any, seen: Any, *, attend: Callable
) -> tuple[jax.Array, ...]:
    """What queries mix, and the gradients of q, k and v: one program."""
    mixed, gradients = jax.vjp(lambda q, k, v: attend(q, k, v, *seen), q, k, v)
    return mixed, *gradients(to_mixed)


def dense_attention(q: jax.Array, k: jax.Array, v: jax.Array, at: jax.Array, end: jax.Array) -> jax.Array:
    """The rule, written down: every query against every key of its row, what is not seen taken out; zeros if nothing is."""
    scores = jnp.einsum("gnkrh,gtkh->gkrnt", q, k, precision="highest") * q.shape[-1] ** -0.5
    j = jnp.arange(end.shape[1])
    seen = ((j <= at[..., None]) & (at[..., None] < end[:, None]))[:, None, None]
    weights = jnp.where(seen, jax.nn.softmax(jnp.where(seen, scores, MASKED), axis=-1), 0.0)
    return jnp.einsum("gkrnt,gtkh->gnkrh", weights, v, precision="highest")
