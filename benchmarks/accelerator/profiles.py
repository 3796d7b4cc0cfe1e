"""Where a device's time goes, from JAX's own profiler: operations by their names, without what numbers them."""

from __future__ import annotations

import collections
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import jax

SHOWN = 15
# Operations whose time is that of those within them.
HOLD_OTHERS = ("while", "cond", "conditional", "call")


def of(work: Callable[[], object], *, times: int) -> list[tuple[str, float, float]]:
    """(operation, milliseconds each time, share of all operations' time) of work that is done so many times, longest first.

    Empty where the device tells the profiler nothing; where the profiler fails the reason stands in the operation's place.
    """
    found: collections.Counter[str] = collections.Counter()
    try:
        with tempfile.TemporaryDirectory() as folder:
            with jax.profiler.trace(folder):
                work()
            for file in Path(folder).rglob("*.xplane.pb"):
                for name, nanoseconds in _operations(jax.profiler.ProfileData.from_file(str(file))):
                    found[name] += nanoseconds
    except Exception as error:  # a driver's, if it lets nobody watch: what was timed before is kept
        return [(f"not watched: {type(error).__name__}: {str(error)[:200]}", 0.0, 0.0)]
    total = sum(found.values())
    return [(name, ns / times / 1e6, ns / total) for name, ns in found.most_common(SHOWN) if ns]


def _operations(profile: jax.profiler.ProfileData) -> Iterator[tuple[str, float]]:
    """Of a GPU's streams, a TPU's operations, or a processor's threads that compute."""
    for plane in profile.planes:
        for line in plane.lines:
            of_device = plane.name.startswith("/device:") and re.match("Stream|XLA Ops", line.name)
            if of_device or (plane.name == "/host:CPU" and line.name.startswith("tf_XLA")):
                for event in line.events:
                    name = re.sub(r"[._]\d+$", "", event.name)
                    if name not in HOLD_OTHERS and "::" not in name and not name.startswith("end: "):
                        yield name, event.duration_ns
