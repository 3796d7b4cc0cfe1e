"""One progress bar for all long work: a bar in a terminal, a line now and then in a log."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

SECONDS_BETWEEN_LINES = 20.0


@dataclass
class Progress:
    """Reports how much of `total` is done, with a few figures beside it."""

    title: str
    total: int
    bar: Any = None
    task: Any = None
    started: float = field(default_factory=time.monotonic)
    first: int | None = None
    last_line: float = field(default_factory=time.monotonic)
    ended: bool = False  # the end was reported before: some work does so twice, which is one line

    def update(self, done: int, figures: str = "") -> None:
        if self.bar is not None:
            self.bar.update(self.task, completed=done, figures=figures)
            return
        if self.first is None:
            self.first = done
        now = time.monotonic()
        self.ended, had_ended = done == self.total, self.ended
        ends_now = self.ended and not had_ended and self.last_line <= now
        if ends_now or now - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = now
            rate = (done - self.first) / max(now - self.started, 1e-9)
            left = f", {(self.total - done) / rate:.0f} s left" if rate > 0 and done < self.total else ""
            print(
                f"{self.title}: {done:,}/{self.total:,}{left} {figures}".rstrip(), file=sys.stderr, flush=True
            )


@contextmanager
def progress(title: str, *, total: int, shown: bool = True) -> Iterator[Progress]:
    """A progress report on standard error; closes tidily when the work ends or fails."""
    if not (shown and sys.stderr.isatty()):
        yield Progress(title, total, last_line=time.monotonic() if shown else math.inf)
        return
    import rich.console
    import rich.progress

    columns = (
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeRemainingColumn(),
        rich.progress.TextColumn("{task.fields[figures]}"),
    )
    with rich.progress.Progress(*columns, console=rich.console.Console(stderr=True)) as bar:
        yield Progress(title, total, bar, bar.add_task(title, total=total, figures=""))
