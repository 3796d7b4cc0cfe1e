"""Where outputs go: what a disk says when it fails, and files and folders that appear under their names when complete."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path

from socsci_jax.errors import BAD_INPUT, InputError, ending

logger = logging.getLogger(__name__)

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
            f"{path} exists already; choose another folder, or pass `replace=True` where that is possible."
        )
    foreign = [name for name in entries if name not in replaces]
    if foreign:
        raise InputError(
            f"{path}: holds {foreign[0]!r}{f' and {len(foreign) - 1} more' if foreign[1:] else ''}, which this "
            "program did not write and would delete; move it elsewhere, or choose another folder."
        )
