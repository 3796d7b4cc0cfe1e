"""A frozen base in four bits (QLoRA, Dettmers et al. 2023): NF4 codes with a scale for each block of 64 inputs.

`qwix` turns weights into codes and back. In the pytree `codes` and `scale` stand instead of `weight`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

# What a recipe calls it, and qwix too.
NF4 = "nf4"
# Inputs that share a scale.
BLOCK = 64


def dequantize(codes: jax.Array, scale: jax.Array, *, dtype: Any) -> jax.Array:
    """Weights [..., in, out] of codes [..., in, out] and scale [..., in / BLOCK, out]."""
    import qwix

    return qwix.dequantize(qwix.QArray(codes, scale.astype(dtype), qtype=NF4))


def quantize(weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Codes and scale of weights [layers, in, out].

    Layer by layer: `qwix` compares each weight with all sixteen codes at once.
    """
    import qwix

    def of_layer(w: jax.Array) -> tuple[jax.Array, jax.Array]:
        quantized = qwix.quantize(
            w.astype(jnp.float32),
            NF4,
            channelwise_axes=[1],
            tiled_axes={0: BLOCK},
            scale_dtype=jnp.float32,
        )
        return quantized.qvalue.astype(jnp.uint4), quantized.scale

    return jax.lax.map(of_layer, weight)
