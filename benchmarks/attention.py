"""Milliseconds of attention alone, forward and backward, for every way to compute it that works on this device.

python -m benchmarks.attention [--tokens 8192] [--dtype bfloat16] [--repeats 10]

`flat` rows hold prompts of 450 tokens that share nothing; `tree` rows an item's prefix of 300 tokens with 16 people of 80
tokens, as on the TESS archive.  FLOPs are those of the pairs of tokens that see each other: 4 a feature and pair
forward, 10 backward, where scores are computed again (Dao et al. 2022).  Kernels are for accelerators; on processors they
would be interpreted, and are excluded.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.table import save
from socsci_jax.compilation import set_up_compiler
from socsci_jax.models.attention_choice import (
    GPU_KERNEL,
    XLA,
    Heads,
    TreeAttention,
    dense_attention,
    device_kernel,
    kernel_problem,
)
from socsci_jax.models.attention_gpu import kernel_attention
from socsci_jax.models.triton_call import Launch, on_gpu
from socsci_jax.training.run import software_versions

# Heads that share keys, key-value heads, features of a head.
SHAPES = {"Qwen2.5-0.5B": (7, 2, 64), "Qwen2.5-7B": (7, 4, 128), "Qwen2.5-14B": (5, 8, 128)}
PREFIX, PERSONA, PEOPLE, PROMPT = 300, 80, 16, 450


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--tokens", type=int, default=8192, help="of a row")
    options.add_argument("--dtype", default="bfloat16", choices=["float32", "bfloat16"])
    options.add_argument("--repeats", type=int, default=10)
    options.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    options.add_argument(
        "--variants", action="store_true", help="also the GPU's kernel with other warps and stages"
    )
    options.add_argument(
        "--dense", action="store_true", help="also the dense rule (scores of tokens x tokens)"
    )
    a = options.parse_args()
    set_up_compiler()
    table = Table("shape", "rows", "way", "ms", "TFLOP/s", "apart", title=jax.devices()[0].device_kind)
    runs = []
    for name in a.shapes:
        for layout, end in (("flat", flat(a.tokens)), ("tree", tree(a.tokens))):
            for row in measured(name, end, a):
                runs.append({"shape": name, "rows": layout, **row})
                table.add_row(
                    name,
                    layout,
                    row["way"],
                    f"{row['ms']:.2f}",
                    f"{row['tflops']:.2f}",
                    f"{row['apart']:.0e}",
                )
    Console(width=100).print(table)
    facts = {"device": jax.devices()[0].device_kind, "versions": software_versions(), "runs": runs}
    save(
        f"attention-{jax.default_backend()}-{a.dtype}",
        facts,
        command=" ".join(["python -m benchmarks.attention", *sys.argv[1:]]),
    )


def flat(tokens: int) -> np.ndarray:
    """`end` of a row of whole prompts."""
    start = np.arange(tokens) // PROMPT * PROMPT
    return np.minimum(start + PROMPT, tokens).astype(np.int32)


def tree(tokens: int) -> np.ndarray:
    """`end` of a row of trees; what is left over is padding."""
    own = np.arange(PEOPLE * PERSONA) // PERSONA * PERSONA + PREFIX + PERSONA
    one = np.concatenate([np.full(PREFIX, PREFIX + PEOPLE * PERSONA), own])
    whole = [one + len(one) * number for number in range(tokens // len(one))]
    end = np.zeros(tokens, np.int32)
    end[: len(one) * len(whole)] = np.concatenate(whole) if whole else ()
    return end


def measured(name: str, end: np.ndarray, a: argparse.Namespace):
    """A row for each way: milliseconds of forward and backward, and how far its results are from the first one's."""
    shared, heads, features = SHAPES[name]
    dtype = jnp.dtype(a.dtype)
    rng = np.random.default_rng(0)

    def drawn(*shape: int) -> jax.Array:
        return jnp.asarray(rng.normal(size=shape), dtype)

    q, to_mixed = (drawn(1, a.tokens, heads, shared, features) for _ in range(2))
    k, v = (drawn(1, a.tokens, heads, features) for _ in range(2))
    at, end = jnp.arange(a.tokens, dtype=jnp.int32)[None], jnp.asarray(end)[None]
    to_mixed = to_mixed * (end > 0)[:, :, None, None, None]
    # Token j is seen from itself to before end[j].
    pairs = float(jnp.maximum(end - at, 0).sum())
    flops = 14 * pairs * features * heads * shared

    wanted = None
    for way, attend in _ways(Heads(features, shared, dtype), a, at, end).items():

        @jax.jit
        def both(q, k, v, to_mixed, attend=attend):
            mixed, gradients = jax.vjp(attend, q, k, v)
            return (mixed, *gradients(to_mixed))

        results = jax.block_until_ready(both(q, k, v, to_mixed))
        seconds = []
        for _ in range(a.repeats):
            begun = time.perf_counter()
            jax.block_until_ready(both(q, k, v, to_mixed))
            seconds.append(time.perf_counter() - begun)
        results = [np.asarray(x, np.float32) for x in results[1:]]
        wanted = wanted or results
        apart = max(np.abs(x - y).max() / np.abs(y).max() for x, y in zip(results, wanted, strict=True))
        median = float(np.median(seconds))
        yield {"way": way, "ms": median * 1e3, "tflops": flops / median / 1e12, "apart": float(apart)}


def _ways(heads: Heads, a: argparse.Namespace, at: jax.Array, end: jax.Array) -> dict[str, Callable]:
    ways = {"xla": XLA}
    if jax.default_backend() != "cpu" and kernel_problem(heads) is None:
        ways["kernel"] = device_kernel()
        if a.variants and jax.default_backend() == "gpu":
            ways |= _variants()

    def of(way) -> Callable:
        see = jax.jit(way.see)(at, end)
        return lambda q, k, v: way.attend(q, k, v, see)

    found = {name: of(way) for name, way in ways.items()}
    if a.dense:
        found["dense"] = lambda q, k, v: dense_attention(q, k, v, at, end).astype(q.dtype)
    return found


def _variants() -> dict[str, TreeAttention]:
    """The GPU's kernel with other numbers of warps, and of blocks that are on their way while one is computed."""

    def variant(warps: int, stages: int) -> TreeAttention:
        def call(launch: Launch, *arrays: jax.Array) -> list[jax.Array]:
            return on_gpu(launch._replace(warps=warps, stages=stages), *arrays)

        return GPU_KERNEL._replace(attend=lambda q, k, v, see: kernel_attention(q, k, v, see, call))

    return {
        f"{warps} warps, {stages} stages": variant(warps, stages) for warps in (4, 8) for stages in (1, 2, 3)
    }


if __name__ == "__main__":
    main()
