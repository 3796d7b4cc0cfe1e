"""A frozen base in four bits (QLoRA, Dettmers et al. 2023): NF4 codes with a scale for each block of 64 inputs.

`qwix` turns weights into codes and back; here is only where they stand in the pytree: `codes` and `scale` instead of
`weight`.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from socsci_jax.errors import InputError
from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.modules import BLOCK, NF4, flattened, nested, parameter_axes

_QTYPE = "nf4"


def quantize_base(params: Any, config: DecoderConfig, *, shardings: Any = None) -> Any:
    """Parameters of a base without adapter -> those of `config`, whose adapter says `base: nf4`.

    One parameter at a time, so that little more than the larger of the two exists.  Raises InputError if a linear
    map's inputs do not divide into blocks.
    """
    flat, quantized = flattened(params), {}
    for path in parameter_axes(config):
        if path[-1] != "codes":
            continue
        weight = flat.pop((*path[:-1], "weight"))
        if weight.shape[1] % BLOCK:
            raise InputError(
                f"lora.base: {NF4}: {'.'.join(path[:-1])} has {weight.shape[1]} inputs, which blocks of {BLOCK} do "
                "not divide; leave `base` out for this model."
            )
        places = None
        if shardings is not None:
            of_map = functools.reduce(lambda tree, name: tree[name], path[:-1], shardings)
            places = (of_map["codes"], of_map["scale"])
        codes, scale = jax.jit(quantize, out_shardings=places)(weight)
        quantized[path], quantized[(*path[:-1], "scale")] = codes, scale
    return nested({**flat, **quantized})


def dequantize(codes: jax.Array, scale: jax.Array, *, dtype: Any) -> jax.Array:
    """Weights [..., in, out] of codes [..., in, out] and scale [..., in / BLOCK, out]."""
    import qwix

    return qwix.dequantize(qwix.QArray(codes, scale.astype(dtype), qtype=_QTYPE))


def quantize(weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Codes and scale of weights [layers, in, out].

    Layer by layer: `qwix` compares each weight with all sixteen codes at once.
    """
    import qwix

    def of_layer(w: jax.Array) -> tuple[jax.Array, jax.Array]:
        found = qwix.quantize(
            w.astype(jnp.float32),
            _QTYPE,
            channelwise_axes=[1],
            tiled_axes={0: BLOCK},
            scale_dtype=jnp.float32,
        )
        return found.qvalue.astype(jnp.uint4), found.scale

    return jax.lax.map(of_layer, weight)
