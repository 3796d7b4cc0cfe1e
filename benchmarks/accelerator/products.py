"""The device's ceiling, and attention alone."""

from __future__ import annotations

import argparse
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import attention as one_attention
from benchmarks.attention import median_seconds


def ceiling(tiny: bool) -> dict[str, Any]:
    """TFLOP/s of square products, and GB/s of copies; float32 as JAX multiplies it by default, and in full."""
    side, words = (256, 2**16) if tiny else (8192, 2**30)
    found: dict[str, Any] = {}
    for name, dtype, precision in (
        ("bfloat16", "bfloat16", None),
        ("float32", "float32", None),
        ("float32_in_full", "float32", "highest"),
    ):
        a = jax.random.normal(jax.random.key(0), (side, side), dtype)
        seconds = median_seconds(
            jax.jit(lambda x, precision=precision: jnp.dot(x, x, precision=precision)), a
        )
        found[f"tflops_{name}"] = 2 * side**3 / seconds / 1e12
    values = jnp.ones(words // 4, jnp.float32)
    seconds = median_seconds(jax.jit(lambda x: x + 1), values)
    found["gb_per_s"] = 2 * values.nbytes / seconds / 1e9
    return found


def attention(shape: str, dtype: str, *, variants: bool = False, tiny: bool) -> dict[str, Any]:
    """Milliseconds of every way to compute attention, for rows of prompts and of trees, compared with the dense rule;
    with `variants` only of the GPU's kernel, also with other numbers of warps and stages."""
    tokens, people = (512, 2) if tiny else (8192, one_attention.PEOPLE)
    settings = argparse.Namespace(
        tokens=tokens, dtype=dtype, repeats=1 if tiny else 5, dense=False, variants=variants
    )
    rows = {"flat": one_attention.flat(tokens), "tree": one_attention.tree(tokens, people)}
    return {
        "runs": [
            {"rows": layout, **row}
            for layout, end in rows.items()
            for row in one_attention.measured(shape, end, settings)
        ]
    }
