"""One progress report for all long work: a bar in a terminal or a notebook, elsewhere a log line now and then."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Protocol

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 20.0


class Progress(Protocol):
    """What long work reports to: how much of `total` is done, with a few values."""

    total: int

    def update(self, done: int, status: str = "") -> None: ...


class _Bar:
    def __init__(self, title: str, total: int):
        with warnings.catch_warnings(
            action="ignore"
        ):  # a notebook without ipywidgets gets the bar of a terminal
            from tqdm.auto import tqdm
        self.total = total
        self._bar: Any = tqdm(desc=title, total=total, dynamic_ncols=True)

    def update(self, done: int, status: str = "") -> None:
        self._bar.total = self.total
        self._bar.set_postfix_str(status, refresh=False)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        self._bar.close()


class _Lines:
    def __init__(self, title: str, total: int, seconds_between: float):
        self.total = total
        self._title = title
        self._seconds_between = seconds_between
        self._first: int | None = None
        self._started = self._last_line = time.monotonic()
        self._ended = False  # some work reports its end twice, which is one line

    def update(self, done: int, status: str = "") -> None:
        if self._first is None:
            self._first = done
        now = time.monotonic()
        ends_now = done == self.total and not self._ended
        self._ended = done == self.total
        if ends_now or now - self._last_line >= self._seconds_between:
            self._last_line = now
            rate = (done - self._first) / max(now - self._started, 1e-9)
            left = f", {(self.total - done) / rate:.0f} s left" if rate > 0 and done < self.total else ""
            more = f", {status}" if status else ""
            logger.info(f"{self._title}: {done:,}/{self.total:,}{left}{more}")


class _Silence:
    def __init__(self, total: int):
        self.total = total

    def update(self, done: int, status: str = "") -> None:
        pass


@contextlib.contextmanager
def progress(
    title: str, *, total: int, shown: bool = True, seconds_between: float = SECONDS_BETWEEN_LINES
) -> Iterator[Progress]:
    """Reports how far work is; closes tidily when the work ends or fails.

    Where there is no bar, lines are `seconds_between` apart at least; with 0 every update is a line.
    """
    if not shown:
        yield _Silence(total)
    elif sys.stderr.isatty() or _in_notebook():
        with contextlib.closing(_Bar(title, total)) as bar:
            yield bar
    else:
        yield _Lines(title, total, seconds_between)


def reports_to(bar: Progress) -> Callable[[int, int], None]:
    """What long work calls with (done, total), where the total is known only once it has begun."""

    def report(done: int, total: int) -> None:
        bar.total = total
        bar.update(done)

    return report


def _in_notebook() -> bool:
    """Whether this process is a notebook's kernel."""
    python = sys.modules.get("IPython")
    shell = None if python is None else python.get_ipython()
    return getattr(shell, "kernel", None) is not None
