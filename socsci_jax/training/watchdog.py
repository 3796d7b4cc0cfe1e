"""Ends a run that hangs: a step that takes far longer than its like, or other work that takes too long."""

from __future__ import annotations

import collections
import contextlib
import faulthandler
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from socsci_jax.distributed.peers import Peers, end_process
from socsci_jax.errors import STALLED
from socsci_jax.training.recipe_upkeep import WatchdogConfig

# Fewer steps give no median to go by.
FEWEST_STEPS = 5


class Watchdog:
    """Watches from a thread of its own, so that nothing the run waits for can keep it from looking.

    Steps may take `slow_step` times the median of the latest, and at least `seconds`; everything else (compiling,
    saving, validation) `other_seconds`.  When that is over, the stacks of all threads are written on every process,
    and all end with the status STALLED.
    """

    def __init__(self, limits: WatchdogConfig, *, peers: Peers, stacks: Path):
        self._limits = limits
        self._peers = peers
        self._stacks = stacks
        self._durations: collections.deque[float] = collections.deque(maxlen=64)
        self._since = time.monotonic()
        self._what: str | None = "starting"  # None while steps are taken
        self._step = 0
        self._done = threading.Event()

    def __enter__(self) -> Watchdog:
        self._peers.on_end = self._ended_by_others
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._peers.on_end = end_process

    def step_done(self, step: int) -> None:
        """Step number `step` has come to its end on the devices."""
        now = time.monotonic()
        if self._what is None:
            self._durations.append(now - self._since)
        self._since, self._step, self._what = now, step, None

    @contextlib.contextmanager
    def other(self, what: str) -> Iterator[None]:
        """A block that is no step; its time counts for none."""
        before, self._what, begun = self._what, what, time.monotonic()
        since, self._since = self._since, begun
        try:
            yield
        finally:
            self._what, self._since = before, since + (time.monotonic() - begun)

    def limit(self) -> float:
        """Seconds that may pass now."""
        if self._what is not None or len(self._durations) < FEWEST_STEPS:
            return self._limits.other_seconds
        return max(self._limits.seconds, self._limits.slow_step * statistics.median(self._durations))

    def _watch(self) -> None:
        while not self._done.wait(0.5):
            waited = time.monotonic() - self._since
            if waited > (limit := self.limit()):
                what = self._what or f"step {self._step + 1}"
                usual = (
                    f", {limit:.0f} s are allowed (the median step takes {statistics.median(self._durations):.1f} s)"
                    if self._what is None and self._durations
                    else f", {limit:.0f} s are allowed"
                )
                sentence = (
                    f"{what} has taken {waited:.0f} s{usual}: this run hangs and is ended; the stacks of all threads "
                    f"are in {self._stacks.parent}, and the same command resumes from the last checkpoint."
                )
                self._write_stacks(sentence)
                self._peers.tell_end(sentence, STALLED, stacks=True)
                self._peers.wait_for_the_others_to_end()
                end_process(sentence, STALLED, False)

    def _ended_by_others(self, sentence: str, status: int, stacks: bool) -> None:
        if stacks:
            self._write_stacks(sentence)
        end_process(sentence, status, False)

    def _write_stacks(self, sentence: str) -> None:
        with self._stacks.open("a") as file:
            file.write(f"\n{time.strftime('%Y-%m-%d %H:%M:%S')} {sentence}\n")
            file.flush()
            faulthandler.dump_traceback(file=file, all_threads=True)
