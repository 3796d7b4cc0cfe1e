"""One writer for each output: `only_writer` keeps a second program from a folder or file that one is writing.

Its lock is a file next to the output (`.NAME.lock`) that names the holder, and does not outlive it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from socsci_jax.errors import InputError
from socsci_jax.reading import parse_json
from socsci_jax.storage import writing

logger = logging.getLogger(__name__)

# The holder of a lock shows that it lives so often; who sees no sign for so long takes the lock over.
SIGN_SECONDS = 5.0
NO_SIGN_SECONDS = 30.0
# What `flock` says on file systems that do not know it.
_NO_FLOCK = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL)


class HeldError(InputError):
    """Another process writes there."""


@contextlib.contextmanager
def only_writer(path: Path, *, patience: float = NO_SIGN_SECONDS) -> Iterator[None]:
    """Holds the lock of what is written at `path`; raises InputError that names the holder if another process has it.

    The kernel gives up the lock of a process of this machine when it ends, however it ends.  Of a holder on another
    machine it may know nothing: there the holder's sign of life is watched for `patience` seconds.
    """
    path = Path(os.path.realpath(path))
    with writing(path):
        lock = _lock_file(path)
        descriptor = _take(lock, path, patience)
    stop = threading.Event()
    sign = threading.Thread(target=_show_life, args=(descriptor, stop), daemon=True)
    sign.start()
    try:
        yield
    finally:
        stop.set()
        sign.join()
        with contextlib.suppress(OSError):
            if os.path.samestat(os.stat(lock), os.fstat(descriptor)):
                lock.unlink()
        os.close(descriptor)


def _lock_file(path: Path) -> Path:
    """Next to what is written, which need not exist yet; within it where nothing can be written next to it."""
    beside = path.parent / f".{path.name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    return beside if os.access(path.parent, os.W_OK) or not path.is_dir() else path / ".lock"


def _take(lock: Path, path: Path, patience: float) -> int:
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            kernel_knows = _flock(descriptor)
            if kernel_knows is False:
                raise HeldError(_held(path, _living_holder(descriptor)))
            holder = _holder(descriptor)
            elsewhere = holder is not None and holder.get("machine") != _machine()
            if (
                holder is not None
                and (elsewhere or kernel_knows is None)
                and _lives(lock, descriptor, patience)
            ):
                raise HeldError(_held(path, holder))
            # Who held it may have removed the file meanwhile.
            if lock.exists() and os.path.samestat(os.stat(lock), os.fstat(descriptor)):
                if holder is not None:
                    logger.warning(f"{path}: taken over from {_described(holder)}, which is gone")
                _write_holder(descriptor)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _flock(descriptor: int) -> bool | None:
    """Whether the lock was got; None if this file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_FLOCK:
            return None
        raise


def _lives(lock: Path, descriptor: int, patience: float) -> bool:
    """Whether a sign of life comes within `patience` seconds; clocks of two machines are not compared."""

    def sign() -> int:
        # Opened anew, as network file systems look at their server then.
        with contextlib.suppress(OSError), lock.open("rb") as opened:
            return os.fstat(opened.fileno()).st_mtime_ns
        return 0

    before, until = sign(), time.monotonic() + patience
    logger.warning(f"{lock}: waiting for a sign of life of {_described(_holder(descriptor))}")
    while time.monotonic() < until:
        if sign() != before:
            return lock.exists()
        time.sleep(min(0.5, patience / 10))
    return False


def _show_life(descriptor: int, stop: threading.Event) -> None:
    while not stop.wait(SIGN_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(descriptor)


def _write_holder(descriptor: int) -> None:
    holder = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "machine": _machine(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(holder).encode(), 0)
    os.fsync(descriptor)


def _holder(descriptor: int) -> dict | None:
    content = os.pread(descriptor, 4096, 0)
    try:
        holder = parse_json(content, where="lock")
    except InputError:
        return None
    return holder if isinstance(holder, dict) else None


def _living_holder(descriptor: int) -> dict | None:
    """Who has the lock; whoever has just taken it writes its name in a moment, where that of a dead process may stand."""
    until = time.monotonic() + 2
    while not _is_alive(holder := _holder(descriptor)) and time.monotonic() < until:
        time.sleep(0.02)
    return holder


def _is_alive(holder: dict | None) -> bool:
    """Whether a holder is named, and is not known to be gone."""
    if holder is None or holder.get("machine") != _machine():
        return holder is not None
    try:
        os.kill(holder["pid"], 0)
    except PermissionError:
        return True
    except (OSError, KeyError, TypeError, OverflowError):
        return False
    return True


def _machine() -> str:
    """This machine since it was started."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return socket.gethostname()


def _described(holder: dict | None) -> str:
    if holder is None:
        return "another process"
    pid, host, since = (str(holder.get(key, "?"))[:80] for key in ("pid", "host", "since"))
    return f"process {pid} on {host}, started {since}"


def _held(path: Path, holder: dict | None) -> str:
    return f"{path}: is being written by {_described(holder)}; wait until it ends, or choose another output."
