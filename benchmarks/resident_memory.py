"""The most memory that a piece of work holds, with and without the arrays of the devices."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from pathlib import Path

from socsci_jax.models.config import DecoderConfig

PAUSE_SECONDS = 0.005


def measured(work: Callable[[], object], *, config: DecoderConfig) -> dict:
    """Runs `work`, which may return parameters of `config`'s shapes; arrays, peak and beyond in bytes."""
    import jax

    from socsci_jax import model_io
    from socsci_jax.models import huggingface, placing
    from socsci_jax.models.modules import axis_size, parameter_axes
    from socsci_jax.training import stored

    shapes = {tuple(axis_size(config, axis) for axis in axes) for axes in parameter_axes(config).values()}
    beyond, begun_arrays, ended = [], [], threading.Event()

    def watch() -> None:
        while not ended.wait(PAUSE_SECONDS):
            # While a program writes into an array in place, JAX lists neither the old nor the new one.
            held = max(sum(begun_arrays), sum(map(_bytes, _alive(shapes))))
            beyond.append(_resident("VmRSS") - held)

    def place(read, *, shape, dtype, sharding, **settings):
        begun_arrays.append(_bytes(jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)))
        return placing.place(read, shape=shape, dtype=dtype, sharding=sharding, **settings)

    for module in (huggingface, model_io, stored):
        module.place = place
    jax.devices()
    watcher = threading.Thread(target=watch)
    watcher.start()
    begun = time.monotonic()
    result = jax.block_until_ready(work())
    seconds = time.monotonic() - begun
    ended.set()
    watcher.join()
    arrays = sum(map(_bytes, jax.tree.leaves(result))) if isinstance(result, dict) else 0
    peak = _resident("VmHWM")
    # What came and went between two looks is in the peak alone.
    return {"arrays": arrays, "peak": peak, "beyond": max([peak - arrays, *beyond]), "seconds": seconds}


def _alive(shapes: set[tuple[int, ...]]) -> list:
    import jax

    return [array for array in jax.live_arrays() if array.shape in shapes and not array.is_deleted()]


def _bytes(array) -> int:
    """On all devices of this process."""
    of_device = math.prod(array.sharding.shard_shape(array.shape)) * array.dtype.itemsize
    return of_device * len(array.sharding.addressable_devices)


def _resident(which: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{which}:"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"/proc/self/status has no {which}; run this on Linux")
