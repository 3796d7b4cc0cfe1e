"""Rotary positions (Su et al. 2021), with Llama 3's stretching of the slow rotations."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from socsci_jax.models.config import DecoderConfig


def rotations(config: DecoderConfig, position: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Cosines and sines [G,N,H/2] of the rotary embedding (Su et al. 2021) at each position."""
    angle = position[..., None].astype(jnp.float32) * frequencies(config)
    return jnp.cos(angle), jnp.sin(angle)


def frequencies(config: DecoderConfig) -> np.ndarray:
    """Angle of each pair of features per position [H/2], float32."""
    exponent = np.arange(0, config.head_dim, 2, dtype=np.float32) / config.head_dim
    frequency = (1.0 / config.rope_theta**exponent).astype(np.float32)
    scaling = config.rope_scaling
    if scaling is None:
        return frequency
    # Llama 3.1: slow rotations are slowed by `factor`, fast ones kept, and those between interpolated.
    turns = scaling.original_max_position_embeddings * frequency / (2 * np.pi)
    keep = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    keep = np.clip(keep, 0.0, 1.0)
    return (frequency * (keep + (1 - keep) / scaling.factor)).astype(np.float32)


def rotate(x: jax.Array, rope: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Rotate the pairs (i, i + H/2) of x [G,N,heads,H]."""
    cos, sin = (angle[:, :, None] for angle in rope)
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    rotated = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return rotated.astype(x.dtype)
