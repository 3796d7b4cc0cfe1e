"""Milliseconds of attention alone, forward and backward, for every way to compute it that works on this device.

python -m benchmarks.attention [--tokens 8192] [--dtype bfloat16] [--repeats 5]

`flat` rows hold prompts of 450 tokens that share nothing; `tree` rows an item's prefix of 300 tokens with 16 people of 80
tokens, as on the TESS archive.  FLOPs are those of the pairs of tokens that see each other: 4 a feature and pair
forward, 10 backward, where scores are computed again (Dao et al. 2022).  Kernels are for accelerators; on processors they
would be interpreted, and are excluded.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.options import options_of
from benchmarks.table import save
from socsci_jax.compilation import set_up_compiler
from socsci_jax.models.attention_choice import (
    GPU_KERNEL,
    ROWS,
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
# The rule itself, with the scores of all tokens and heads at once.
DENSE = TreeAttention(
    "dense",
    lambda at, end: (at, end),
    lambda q, k, v, see: dense_attention(q, k, v, *see).astype(q.dtype),
    None,
)


def main() -> None:
    options = options_of(__doc__)
    options.add_argument("--tokens", type=int, default=8192, help="of a row")
    options.add_argument("--dtype", default="bfloat16", choices=["float32", "bfloat16"])
    options.add_argument("--repeats", type=int, default=5, help="rounds of ten")
    options.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    options.add_argument(
        "--variants", action="store_true", help="only the GPU's kernel, also with other warps and stages"
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
                told = [row["failed"], "", ""]
                if "failed" not in row:
                    told = [f"{row['ms']:.2f}", f"{row['tflops']:.2f}", f"{row['apart']:.0e}"]
                table.add_row(name, layout, row["way"], *told)
    Console(width=100).print(table)
    results = {"device": jax.devices()[0].device_kind, "versions": software_versions(), "runs": runs}
    save(f"attention-{jax.default_backend()}-{a.dtype}", results)


def flat(tokens: int) -> np.ndarray:
    """`end` of a row of whole prompts."""
    start = np.arange(tokens) // PROMPT * PROMPT
    return np.minimum(start + PROMPT, tokens).astype(np.int32)


def tree(tokens: int, people: int = PEOPLE) -> np.ndarray:
    """`end` of a row of trees; what is left over is padding."""
    own = np.arange(people * PERSONA) // PERSONA * PERSONA + PREFIX + PERSONA
    one = np.concatenate([np.full(PREFIX, PREFIX + people * PERSONA), own])
    whole = [one + len(one) * number for number in range(tokens // len(one))]
    end = np.zeros(tokens, np.int32)
    end[: len(one) * len(whole)] = np.concatenate(whole) if whole else ()
    return end


def measured(name: str, end: np.ndarray, a: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row for each way: milliseconds of forward and backward, and how far its results are from the rule in float32;
    or why there are none."""
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
    wanted = _by_the_rule(q, k, v, to_mixed, at, end)
    for way, attend in _ways(Heads(features, shared, dtype), a).items():
        if isinstance(attend, str):
            yield {"way": way, "failed": attend}
            continue
        try:
            seconds, apart = _timed(attend, (q, k, v, to_mixed, at, end), wanted, repeats=a.repeats)
        except Exception as error:  # of many kinds: Triton's, the driver's, XLA's
            yield {"way": way, "failed": f"{type(error).__name__}: {str(error).strip()[:200]}"}
            continue
        yield {"way": way, "ms": seconds * 1e3, "tflops": flops / seconds / 1e12, "apart": apart}


def _timed(
    attend: TreeAttention, operands: tuple[jax.Array, ...], wanted: list[np.ndarray], *, repeats: int
) -> tuple[float, float]:
    """Seconds of forward and backward together, and the largest distance of the gradients, of each one's largest number."""
    *arrays, at, end = operands
    see = jax.jit(attend.see)(at, end)

    @jax.jit
    def both(q, k, v, to_mixed, see):
        mixed, gradients = jax.vjp(lambda q, k, v: attend.attend(q, k, v, see), q, k, v)
        return (mixed, *gradients(to_mixed))

    found = [np.asarray(x, np.float32) for x in both(*arrays, see)[1:]]
    apart = max(float(np.abs(x - y).max() / np.abs(y).max()) for x, y in zip(found, wanted, strict=True))
    return median_seconds(both, *arrays, see, rounds=repeats), apart


def _by_the_rule(q, k, v, to_mixed, at, end) -> list[np.ndarray]:
    """The gradients of q, k and v, in float32 in full, one key head after the other: its scores are tokens x tokens."""

    @jax.jit
    def gradients(q, k, v, to_mixed):
        return jax.vjp(lambda q, k, v: dense_attention(q, k, v, at, end), q, k, v)[1](to_mixed)

    with jax.default_matmul_precision("highest"):
        of_heads = [
            [
                np.asarray(x)
                for x in gradients(*(x[:, :, h : h + 1].astype(jnp.float32) for x in (q, k, v, to_mixed)))
            ]
            for h in range(k.shape[2])
        ]
    return [np.concatenate(of_head, axis=2) for of_head in zip(*of_heads, strict=True)]


def median_seconds(function: Callable[..., Any], *arguments: Any, rounds: int = 5) -> float:
    """Of one call, once it is compiled: on accelerators of ten that follow each other, as a device is given its work."""
    jax.block_until_ready(function(*arguments))
    calls = 1 if jax.default_backend() == "cpu" else 10
    seconds = []
    for _ in range(rounds):
        begun = time.perf_counter()
        for _ in range(calls):
            result = function(*arguments)
        jax.block_until_ready(result)
        seconds.append((time.perf_counter() - begun) / calls)
    return float(np.median(seconds))


def _ways(heads: Heads, a: argparse.Namespace) -> dict[str, TreeAttention | str]:
    """What may be computed here, and of what may not the reason; with variants the kernel and its variants alone."""
    backend = jax.default_backend()
    kernel = (
        "for accelerators: on processors it is interpreted" if backend == "cpu" else kernel_problem(heads)
    )
    ways: dict[str, TreeAttention | str] = {"kernel": kernel or device_kernel()}
    if a.variants:
        return ways | (_variants() if backend == "gpu" and kernel is None else {})
    if backend != "cpu":
        ways["rows"] = ROWS
    if a.dense:
        ways["dense"] = DENSE
    return {"xla": XLA} | ways


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
