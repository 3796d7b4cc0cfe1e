"""Where outputs go: what a disk says when it fails, files and folders that appear whole, one writer for each.

What is written appears under its name only when it is complete.  `only_writer` keeps a second program from a folder
that one is writing; its lock is a file next to the folder (`.NAME.lock`) that names the holder, and does not outlive it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import re
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path

from socsci_jax.errors import BAD_INPUT, InputError, ending
from socsci_jax.reading import parse_json

logger = logging.getLogger(__name__)

# The holder of a lock shows that it lives so often; who sees no sign for so long takes the lock over.
SIGN_SECONDS = 5.0
NO_SIGN_SECONDS = 30.0
# What `flock` says on file systems that do not know it.
_NO_FLOCK = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL)


# --- errors -----------------------------------------------------------------------------------------------------------


def of_file_system(error: BaseException) -> OSError | None:
    """The file system's error behind this one, with its number, also where a library kept only its words."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno is not None:
            return seen
        seen = seen.__cause__ or seen.__context__
    # TensorStore and Rust's libraries give the number within a text.
    if number := re.search(r"os_error_code='(\d+)'|os error (\d+)|\[Errno (\d+)\]", str(error)):
        code = int(next(filter(None, number.groups())))
        return OSError(code, os.strerror(code))
    return None


@contextlib.contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """A disk that fails in this block says so with the path, as InputError: no space, not allowed, read-only."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # of many kinds: the file system's, or of libraries that keep its words only
        cause = of_file_system(error)
        if cause is None or ending(cause)[1] != BAD_INPUT:
            raise
        named = cause.filename if isinstance(cause.filename, str) else None
        raise InputError(f"{named or path}: {ending(OSError(cause.errno, ''))[0]}.") from error


# --- files and folders that appear whole ------------------------------------------------------------------------------


def _beside(path: Path, word: str) -> Path:
    return path.parent / f".{path.name}.{word}-{uuid.uuid4().hex[:8]}"


@contextlib.contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A folder next to `path`, in which its parts are made; it is gone when the block ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(path, "partial")
    partial.mkdir()
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A file to write, which takes the name `path`, over a file of that name, when the block ends well."""
    with writing(path):
        if path.is_dir():
            raise InputError(f"{path}: is a folder; give the name of a file.")
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = _beside(path, "partial")
        try:
            yield partial
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(
    path: Path, *, replaces: Collection[str] | None = None, keeps: Collection[str] = ()
) -> Iterator[Path]:
    """A folder to fill, which takes the name `path` when the block ends well; an empty folder may be there already.

    With `replaces` it takes the place of a folder that holds nothing but entries of these names, of which those in
    `keeps` stay if the new one has none.  Raises InputError for a folder that holds anything else.
    """
    check_free(path, replaces=replaces)
    with writing(path), beside(path) as partial:
        old = _beside(path, "replaced")
        yield partial
        # Again: something may have come meanwhile.
        check_free(path, replaces=replaces)
        if path.exists():
            path.rename(old)
        partial.rename(path)
        for name in keeps:
            if (old / name).exists() and not (path / name).exists():
                (old / name).rename(path / name)
        shutil.rmtree(old, ignore_errors=True)


def check_free(path: Path, *, replaces: Collection[str] | None = None) -> None:
    """Raises InputError unless nothing is at `path`, or an empty folder, or one of entries named in `replaces`."""
    with writing(path):
        if not path.exists() and not path.is_symlink():
            return
        if not path.is_dir():
            raise InputError(f"{path}: is there already and is no folder; choose another name.")
        entries = sorted(entry.name for entry in path.iterdir())
    if not entries:
        return
    if replaces is None:
        raise InputError(
            f"{path} exists already; choose another folder, or pass --replace where there is that option."
        )
    foreign = [name for name in entries if name not in replaces]
    if foreign:
        raise InputError(
            f"{path}: holds {foreign[0]!r}{f' and {len(foreign) - 1} more' if foreign[1:] else ''}, which this "
            "program did not write and would delete; move it elsewhere, or choose another folder."
        )


class HeldError(InputError):
    """Another process writes there."""


# --- one writer -------------------------------------------------------------------------------------------------------


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
                raise HeldError(_held(path, _holder(descriptor)))
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
