"""Arrays put onto their devices a piece at a time, so that the host never holds a large one whole."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from socsci_jax.models.sharding import replicated
from socsci_jax.models.tensor_files import rows_at_a_time

# One range for each axis of an array.
Bounds = list[range]


def place(
    read: Callable[[Bounds], np.ndarray],
    *,
    shape: Sequence[int],
    dtype: np.dtype,
    sharding: NamedSharding,
) -> jax.Array:
    """An array on its devices; `read` gives its part within bounds, those of this process's devices.

    Pieces are at most PIECE_BYTES for all devices together, or one row of the first axis, if that is more: of a stacked
    parameter one layer.
    """
    shape = tuple(shape)
    if not shape:
        return jax.make_array_from_callback(shape, sharding, lambda index: np.asarray(read([]), dtype))
    # Every device fills its part along the first axis at the same pace, so a piece is cut as the parameter is.
    of_device = sharding.shard_shape(shape)[0]
    parts = shape[0] // of_device
    step = min(of_device, max(1, rows_at_a_time(shape, dtype) // parts))
    of_piece = (parts * step, *shape[1:])

    def piece(begin: int) -> jax.Array:
        pieces: dict[str, np.ndarray] = {}  # devices that hold the same share one copy on the host

        def of_one_device(index: tuple[slice, ...]) -> np.ndarray:
            bounds = [range(size)[part] for size, part in zip(of_piece, index, strict=True)]
            first = bounds[0].start // step * of_device + begin
            bounds[0] = range(first, first + step)
            if str(bounds) not in pieces:
                pieces[str(bounds)] = np.asarray(read(bounds), dtype)
            return pieces[str(bounds)]

        return jax.make_array_from_callback(of_piece, sharding, of_one_device)

    if step == of_device:
        return jax.block_until_ready(piece(0))
    array = jax.jit(lambda: jnp.zeros(shape, dtype), out_shardings=sharding)()
    for begin in range(0, of_device, step):
        begin = min(begin, of_device - step)  # the last piece may repeat some rows
        # Waited for, or pieces would pile up on the host.
        array = jax.block_until_ready(_put_rows(sharding)(array, piece(begin), begin))
    return array


@functools.lru_cache(maxsize=64)
def _put_rows(sharding: NamedSharding) -> Callable[[jax.Array, jax.Array, int], jax.Array]:
    """Writes a piece into an array, on each device from row `begin` of its own part, in place."""

    def put(array: jax.Array, piece: jax.Array, begin: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_slice_in_dim(array, piece, begin, axis=0)

    of_array, of_number = sharding.spec, replicated(sharding.mesh).spec
    on_every_device = jax.shard_map(
        put, mesh=sharding.mesh, in_specs=(of_array, of_array, of_number), out_specs=of_array, check_vma=False
    )
    return jax.jit(on_every_device, donate_argnums=0)
