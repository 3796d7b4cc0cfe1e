"""The device's ceiling, and attention alone."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import attention as one_attention


def ceiling(tiny: bool) -> dict[str, Any]:
    """TFLOP/s of square products, and GB/s of copies."""
    side, words = (256, 2**16) if tiny else (8192, 2**30)
    found: dict[str, Any] = {}
    for dtype in ("bfloat16", "float32"):
        a = jax.random.normal(jax.random.key(0), (side, side), dtype)
        seconds = median_seconds(jax.jit(lambda x: x @ x), a)
        found[f"tflops_{dtype}"] = 2 * side**3 / seconds / 1e12
    values = jnp.ones(words // 4, jnp.float32)
    seconds = median_seconds(jax.jit(lambda x: x + 1), values)
    found["gb_per_s"] = 2 * values.nbytes / seconds / 1e9
    return found


def attention(shape: str, dtype: str, *, variants: bool = False, tiny: bool) -> dict[str, Any]:
    """Milliseconds of every way to compute attention, for rows of prompts and of trees, compared with the dense rule;
    with `variants` also of the GPU's kernel with other numbers of warps and stages."""
    tokens = 1664 if tiny else 8192  # of which a whole tree takes 1,580
    settings = argparse.Namespace(
        tokens=tokens, dtype=dtype, repeats=1 if tiny else 10, dense=tiny, variants=variants
    )
    return {
        "runs": [
            {"rows": layout, **row}
            for layout, end in (("flat", one_attention.flat(tokens)), ("tree", one_attention.tree(tokens)))
            for row in one_attention.measured(shape, end, settings)
        ]
    }


def median_seconds(function: Callable[..., Any], *arguments: Any, repeats: int = 10) -> float:
    """Of one call, once it is compiled."""
    jax.block_until_ready(function(*arguments))
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        seconds.append(time.perf_counter() - begun)
    return float(np.median(seconds))
