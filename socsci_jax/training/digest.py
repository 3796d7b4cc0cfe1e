"""Checksums of arrays that do not depend on how these are cut over devices, or on who adds them up.

Each element's bits are mixed with its place, and the results are summed modulo 2^32.  The sum of parts is that of the
whole: devices compute it in one pass over what they hold before a checkpoint is written and after it is read back, so
it vouches for the whole way to the disk and back, on whatever mesh; a reader that streams adds up what it reads.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Odd constants with well-spread bits (the golden ratio, and those of MurmurHash3's finalizer).
PLACE, FIRST, SECOND = np.uint32(0x9E3779B1), np.uint32(0x85EBCA6B), np.uint32(0xC2B2AE35)


@jax.jit
def device_digests(tree: Any) -> Any:
    """uint32[2] for each leaf, the same on every process."""
    return jax.tree.map(_of_array, tree)


def digest_texts(digests: Any) -> dict[str, str]:
    """What `device_digests` gave, in hexadecimal, by the paths of the leaves."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(jax.device_get(digests))
    return {jax.tree_util.keystr(path): to_text(digest) for path, digest in leaves}


def host_digest(part: np.ndarray, *, first: int = 0) -> np.ndarray:
    """uint32[2] of contiguous elements of an array, the first of which has place `first`; digests of parts add up."""
    bits = np.ascontiguousarray(part).reshape(-1).view(f"u{part.dtype.itemsize}").astype(np.uint32)
    place = np.arange(first, first + bits.size, dtype=np.uint64).astype(np.uint32)
    return np.array([mixed.sum(dtype=np.uint32) for mixed in _mixed(bits, place)], np.uint32)


def to_text(digest: np.ndarray) -> str:
    return "".join(f"{int(part):08x}" for part in digest)


def _of_array(x: jax.Array) -> jax.Array:
    bits = jax.lax.bitcast_convert_type(x, jnp.dtype(f"u{x.dtype.itemsize}")).astype(jnp.uint32)
    place = jnp.zeros(x.shape, jnp.uint32)
    for axis in range(x.ndim):
        stride = np.uint32(math.prod(x.shape[axis + 1 :]) & 0xFFFFFFFF)
        place += jax.lax.broadcasted_iota(jnp.uint32, x.shape, axis) * stride
    # Both sums in one pass, so that nothing of the array's size is made in between.
    none = (np.uint32(0), np.uint32(0))
    sums = jax.lax.reduce(
        _mixed(bits, place), none, lambda a, b: (a[0] + b[0], a[1] + b[1]), tuple(range(x.ndim))
    )
    return jnp.stack(sums)


def _mixed(bits: Any, place: Any) -> tuple[Any, Any]:
    mixed = (bits ^ (place * PLACE)) * FIRST
    mixed = (mixed ^ (mixed >> np.uint32(15))) * SECOND
    mixed = mixed ^ (mixed >> np.uint32(13))
    return mixed, (mixed ^ bits) * PLACE + (place ^ (mixed << np.uint32(7)))
