"""How much a file may ask for.  Small files can stand for terabytes, so everything unpacked is counted."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from pathlib import Path

from socsci_jax import bounds
from socsci_jax.errors import InputError

# A deposit's table or document, unpacked.  Larger ones are converted with their own tools first.
LARGEST_FILE = 512 * 2**20
LARGEST_DOCUMENT = 64 * 2**20
MOST_COLUMNS = bounds.TABLE_COLUMNS
MOST_CELLS = 100_000_000
MOST_ARCHIVE_FILES = 10_000
_PACKED_TABLES = (".csv", ".tsv", ".tab")
_CHUNK = 2**20


def read_bytes(path: Path, *, most: int = LARGEST_FILE) -> bytes:
    """The file's content, unpacked where it is gzipped or a table in a zip file.

    Raises InputError where it is more than `most` bytes, and for a zip file that holds no table or several.
    """
    if path.suffix.lower() == ".zip":
        return _only_table(path, most=most)
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        if packed:
            most = min(most, max(bounds.GROWN_BYTES, bounds.GROWTH * path.stat().st_size))
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


def _only_table(path: Path, *, most: int) -> bytes:
    """The one CSV file in a zip file, as survey programs send it; nothing is written to disk."""
    try:
        with zipfile.ZipFile(path) as archive:
            tables = [
                member
                for member in archive.infolist()
                if member.filename.lower().endswith(_PACKED_TABLES)
                # What macOS adds next to each file is no table.
                and not member.filename.startswith("__MACOSX/")
            ]
            if len(tables) != 1:
                described = "no CSV or TSV file" if not tables else f"{len(tables)} CSV or TSV files"
                raise InputError(f"{path}: holds {described}; unpack it, and give one table.")
            with archive.open(tables[0]) as file:
                content = file.read(most + 1)
    except FileNotFoundError:
        raise InputError(f"{path}: file not found.") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise InputError(f"{path}: damaged or protected zip file ({error}); unpack it by hand.") from None
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
