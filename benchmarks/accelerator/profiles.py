"""Where a device's time goes, from JAX's own profiler: operations by their names, without what numbers them."""

from __future__ import annotations

import collections
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import jax

SHOWN = 15


def of(work: Callable[[], object], *, times: int) -> list[tuple[str, float, float]]:
    """(operation, milliseconds each time, share of all operations' time) of work that is done so many times, longest first.

    Empty where the device tells the profiler nothing.
    """
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            work()
        found: collections.Counter[str] = collections.Counter()
        for file in Path(folder).rglob("*.xplane.pb"):
            for name, nanoseconds in _operations(jax.profiler.ProfileData.from_file(str(file))):
                found[name] += nanoseconds
    total = sum(found.values())
    return [(name, ns / times / 1e6, ns / total) for name, ns in found.most_common(SHOWN) if ns]


def _operations(profile: jax.profiler.ProfileData) -> Iterator[tuple[str, float]]:
    """Of a GPU's streams, a TPU's operations, or a processor's threads that compute."""
    for plane in profile.planes:
        for line in plane.lines:
            of_device = plane.name.startswith("/device:") and re.match("Stream|XLA Ops", line.name)
            if of_device or (plane.name == "/host:CPU" and line.name.startswith("tf_XLA")):
                for event in line.events:
                    if "::" not in event.name and not event.name.startswith("end: "):
                        yield re.sub(r"[._]\d+$", "", event.name), event.duration_ns
