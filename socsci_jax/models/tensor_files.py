"""Safetensors files, read and written some rows at a time: neither a file nor a large tensor need ever be in memory.

Files are read with plain reads, not mapped: pages of a mapped file count as memory of the process that touched them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from safetensors import safe_open

from socsci_jax.reading import parse_json_object
from socsci_jax.wording import counted

# So many bytes are in memory at a time, or one row of a tensor, if that is more.
PIECE_BYTES = 64 << 20

DTYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "BF16": np.dtype(jnp.bfloat16),
    "F16": np.dtype(np.float16),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class FileTensor:
    """A tensor in a file, yet unread; `dtype` is a name of the safetensors format, `offset` in bytes."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int

    def rows(self, first: int = 0, last: int | None = None) -> np.ndarray:
        """Rows `first` to `last` (excluded) of the first axis; raises OSError if the file ends before."""
        dtype = DTYPES[self.dtype]
        shape = self.shape or (1,)
        last = shape[0] if last is None else last
        values = np.empty((last - first, *shape[1:]), dtype)
        row_bytes = dtype.itemsize * int(np.prod(shape[1:]))
        into = memoryview(values.reshape(-1).view(np.uint8))
        read_exactly(self.file, self.offset + first * row_bytes, into)
        return values if self.shape else values.reshape(())

    def blocks(self, first: int = 0, last: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """(first row, rows) of consecutive blocks of at most PIECE_BYTES."""
        last = self.shape[0] if last is None else last
        step = rows_at_a_time(self.shape, DTYPES[self.dtype])
        for start in range(first, last, step):
            yield start, self.rows(start, min(start + step, last))


def read_exactly(path: Path, offset: int, into: memoryview) -> None:
    """Fills `into` from the bytes at `offset`; raises OSError if the file ends before."""
    with open(path, "rb", buffering=0) as file:
        file.seek(offset)
        while len(into):
            read = file.readinto(into)
            if not read:
                raise OSError(f"{path} ends within a tensor")
            into = into[read:]


def rows_at_a_time(shape: Sequence[int], dtype: np.dtype) -> int:
    """How many rows of the first axis are at most PIECE_BYTES; at least one."""
    return max(1, PIECE_BYTES // max(1, dtype.itemsize * int(np.prod(shape[1:]))))


def tensors_of_file(file: Path) -> dict[str, FileTensor]:
    """Name of every tensor in a file -> the tensor; raises SafetensorError or OSError for a damaged file."""
    with safe_open(file, framework="numpy"):  # checks that header, offsets and length agree
        pass
    with open(file, "rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        header = parse_json_object(opened.read(length), where="header")
    header.pop("__metadata__", None)
    return {
        name: FileTensor(file, info["dtype"], tuple(info["shape"]), 8 + length + info["data_offsets"][0])
        for name, info in header.items()
    }


@dataclass(frozen=True)
class TensorToWrite:
    """A tensor of a file to be written; `blocks` gives its rows in order, of any dtype, in pieces of any size."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    blocks: Callable[[], Iterable[np.ndarray]]

    @property
    def bytes(self) -> int:
        return self.dtype.itemsize * int(np.prod(self.shape))


@dataclass(frozen=True)
class Written:
    """What a file became."""

    bytes: int
    sha256: str


def write_tensors(file: Path, tensors: Sequence[TensorToWrite]) -> Written:
    """Streams tensors into a new safetensors file that `transformers` loads.

    The header comes first, because all sizes are known. The file is on the disk when this returns. A file that
    could not be finished is removed.
    """
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for tensor in tensors:
        header[tensor.name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [at, at + tensor.bytes],
        }
        at += tensor.bytes
    packed = json.dumps(header, separators=(",", ":")).encode()
    packed += b" " * (-len(packed) % 8)  # the format aligns values to eight bytes
    digest = hashlib.sha256()
    try:
        with open(file, "wb", buffering=0) as opened:

            def write(content: bytes | memoryview) -> None:
                digest.update(content)
                left = memoryview(content)
                while len(left):
                    left = left[opened.write(left) :]

            write(len(packed).to_bytes(8, "little"))
            write(packed)
            for tensor in tensors:
                begun = opened.tell()
                for block in tensor.blocks():
                    values = np.ascontiguousarray(block, dtype=tensor.dtype)
                    write(memoryview(values.reshape(-1).view(np.uint8)))
                if opened.tell() - begun != tensor.bytes:
                    raise ValueError(
                        f"{tensor.name}: {counted(opened.tell() - begun, 'byte')} came for {tensor.bytes}"
                    )
            os.fsync(opened.fileno())
            size = opened.tell()
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    return Written(size, digest.hexdigest())


def sha256_of(file: Path) -> str:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
