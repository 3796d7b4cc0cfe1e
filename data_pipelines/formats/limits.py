"""How much a file may ask for.  Small files can stand for terabytes, so everything unpacked is counted."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from pathlib import Path

from socsci_jax.errors import InputError

# A deposit's table or document, unpacked.  Larger ones are converted with their own tools first.
LARGEST_FILE = 512 * 2**20
LARGEST_DOCUMENT = 64 * 2**20
MOST_COLUMNS = 20_000
MOST_CELLS = 100_000_000
MOST_ARCHIVE_FILES = 10_000
_CHUNK = 2**20


def read_bytes(path: Path, *, most: int = LARGEST_FILE) -> bytes:
    """The file's content, unpacked where it is gzipped; raises InputError where it is more than `most` bytes."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            content = file.read(most + 1)
    except FileNotFoundError:
        raise InputError(f"{path}: file not found.") from None
    except IsADirectoryError:
        raise InputError(f"{path}: a folder; a file is needed.") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: damaged gzip file ({error}); fetch it again.") from None
    if len(content) > most:
        raise InputError(f"{path}: more than {most // 2**20} MB unpacked, the most that is read.")
    return content


def check_archive(path: Path) -> None:
    """Raises InputError for a zip file (xlsx, docx) that unpacks to more than is allowed, whatever its index says."""
    total = 0
    try:
        with zipfile.ZipFile(path) as archive:
            if len(archive.infolist()) > MOST_ARCHIVE_FILES:
                raise InputError(
                    f"{path}: holds more than {MOST_ARCHIVE_FILES:,} files; not a document or workbook."
                )
            for member in archive.infolist():
                with archive.open(member) as file:
                    while chunk := file.read(_CHUNK):
                        total += len(chunk)
                        if total > LARGEST_FILE:
                            raise InputError(
                                f"{path}: more than {LARGEST_FILE // 2**20} MB unpacked, the most that is read."
                            )
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        OSError,
        ValueError,
    ) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: damaged or protected file ({error}); save it again.") from None
