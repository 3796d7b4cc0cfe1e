"""Where the time of a run goes: computing, waiting for data, compiling, saving, validating."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from socsci_jax.training.watchdog import Watchdog

COMPUTE = "compute"


class Clock:
    """Adds up seconds by what they were spent on; what nothing else claims is `compute`."""

    def __init__(self, watchdog: Watchdog):
        self._watchdog = watchdog
        self._begun = time.perf_counter()
        self._spent: dict[str, float] = {}

    @contextlib.contextmanager
    def spent_on(self, what: str) -> Iterator[None]:
        """The block's time goes to `what`, which is no step: the watchdog waits for it with the patience for such."""
        with self._watchdog.other(what):
            begun = time.perf_counter()
            try:
                yield
            finally:
                self._spent[what] = self._spent.get(what, 0.0) + time.perf_counter() - begun

    def seconds(self) -> dict[str, float]:
        """Since the start, by what they were spent on."""
        whole = time.perf_counter() - self._begun
        return {COMPUTE: whole - sum(self._spent.values()), **self._spent}

    def rounded_seconds(self) -> dict[str, float]:
        """As `seconds`, to hundredths, for the journal."""
        return {what: round(spent, 2) for what, spent in self.seconds().items()}
