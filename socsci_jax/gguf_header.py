"""The header of a GGUF file, the form in which llama.cpp, Ollama and LM Studio keep models: metadata, and where tensors lie.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3.  Types and block sizes are those of
the `gguf` library.  Its own reader is not used: it keeps five arrays for each token of the vocabulary (196 MB for
49,152 tokens), maps the whole file into memory, and loops on past the end of a damaged one.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGUF_DEFAULT_ALIGNMENT, GGMLQuantizationType, GGUFValueType

from socsci_jax.errors import InputError
from socsci_jax.hub import GGUF_MAGIC
from socsci_jax.wording import counted

# No text or array of a real header is larger: a damaged length must not fill the memory.
LONGEST = 1 << 28
_SPLIT_NAME = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)
_SCALARS = {
    GGUFValueType.UINT8: np.dtype("<u1"),
    GGUFValueType.INT8: np.dtype("<i1"),
    GGUFValueType.UINT16: np.dtype("<u2"),
    GGUFValueType.INT16: np.dtype("<i2"),
    GGUFValueType.UINT32: np.dtype("<u4"),
    GGUFValueType.INT32: np.dtype("<i4"),
    GGUFValueType.UINT64: np.dtype("<u8"),
    GGUFValueType.INT64: np.dtype("<i8"),
    GGUFValueType.FLOAT32: np.dtype("<f4"),
    GGUFValueType.FLOAT64: np.dtype("<f8"),
    GGUFValueType.BOOL: np.dtype("<u1"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """One tensor, yet unread: `shape` with the fastest axis last, `offset` in bytes from the beginning of `file`."""

    file: Path
    shape: tuple[int, ...]
    quantization: GGMLQuantizationType
    offset: int

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of the last axis."""
        block, size = GGML_QUANT_SIZES[self.quantization]
        return self.shape[-1] // block * size


@dataclasses.dataclass(frozen=True, kw_only=True)
class GgufHeader:
    """`metadata` holds texts, numbers, truth values, lists of texts, and NumPy arrays of numbers."""

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, TensorInfo]


class _DamagedError(Exception):
    """What is wrong with the bytes."""


def read_header(path: str | Path) -> GgufHeader:
    """Reads the header of a GGUF file, and those of the files in which a split model continues.

    Raises InputError for a file that is damaged, truncated or of another version, and for a quantization that is not
    known.
    """
    path = Path(path)
    first = _read_one(path)
    count = int(first.metadata.get("split.count", 1))
    if count <= 1:
        return first
    name = _SPLIT_NAME.fullmatch(path.name)
    if name is None or int(name["number"]) != 1 or int(name["count"]) != count:
        raise InputError(
            f"{path}: is one of {counted(count, 'file')} of a split model; give the one that is called "
            f"NAME-00001-of-{count:05d}.gguf, with the others next to it."
        )
    tensors = dict(first.tensors)
    for number in range(2, count + 1):
        other = path.with_name(f"{name['stem']}-{number:05d}-of-{count:05d}.gguf")
        if not other.is_file():
            raise InputError(
                f"{path}: continues in {other.name}, which is absent; put all {counted(count, 'file')} together."
            )
        tensors |= _read_one(other).tensors
    return dataclasses.replace(first, tensors=tensors)


def _read_one(path: Path) -> GgufHeader:
    try:
        with open(path, "rb") as file:
            return _Reader(path, file).header()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give a GGUF file.") from error
    except (_DamagedError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is damaged or truncated ({error}); download the file again.") from None


class _Reader:
    """Reads a header from its beginning; no length is believed that leads past the end of the file."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.file = path, file
        self.size = os.fstat(file.fileno()).st_size
        self.at = 0

    def header(self) -> GgufHeader:
        if self.file.read(len(GGUF_MAGIC)) != GGUF_MAGIC:
            raise InputError(
                f"{self.path}: is not a GGUF file; give one, or a folder in the Hugging Face format."
            )
        self.at = len(GGUF_MAGIC)
        version = self.number("<I")
        if version not in (2, 3):
            form = "of big-endian byte order" if version & 0xFFFF == 0 else f"of version {version}"
            raise InputError(
                f"{self.path}: is a GGUF file {form}, but versions 2 and 3 in little-endian order are read; convert "
                "the model again with a current llama.cpp."
            )
        tensor_count, value_count = self.number("<Q"), self.number("<Q")
        metadata: dict[str, Any] = {}
        for _ in range(value_count):
            key = self.text()
            if key in metadata:
                raise _DamagedError(f"it holds {key} twice")
            metadata[key] = self.value(self.number("<I"))
        tensors = [self.tensor() for _ in range(tensor_count)]
        alignment = int(metadata.get("general.alignment", GGUF_DEFAULT_ALIGNMENT))
        if alignment < 1:
            raise _DamagedError(f"general.alignment is {alignment}")
        data = -(-self.at // alignment) * alignment
        return GgufHeader(path=self.path, metadata=metadata, tensors=self.placed(tensors, data))

    def placed(self, listed: list[tuple[str, TensorInfo]], data: int) -> dict[str, TensorInfo]:
        """The tensors by name, their offsets counted from the beginning of the file, in which all must lie."""
        tensors: dict[str, TensorInfo] = {}
        before = data
        for name, info in sorted(listed, key=lambda named: named[1].offset):
            if name in tensors:
                raise _DamagedError(f"it holds the tensor {name} twice")
            begin = data + info.offset
            end = begin + math.prod(info.shape[:-1]) * info.row_bytes
            if begin < before or end > self.size:
                raise _DamagedError(
                    f"tensor {name} cannot lie at bytes {begin:,} to {end:,} of {self.size:,}"
                )
            before = end
            tensors[name] = dataclasses.replace(info, offset=begin)
        return tensors

    def take(self, count: int) -> bytes:
        if count > min(self.size - self.at, LONGEST):
            raise _DamagedError(
                f"{counted(count, 'byte is', 'bytes are')} announced at byte {self.at:,} of {self.size:,}"
            )
        taken = self.file.read(count)
        if len(taken) < count:
            raise _DamagedError("it became shorter while it was read")
        self.at += count
        return taken

    def number(self, form: str) -> int:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self) -> str:
        return self.take(self.number("<Q")).decode()

    def value(self, kind: int) -> Any:
        if kind == GGUFValueType.STRING:
            return self.text()
        if kind == GGUFValueType.ARRAY:
            return self.array()
        values = self.scalars(kind, 1)
        value = values[0].item()
        if kind == GGUFValueType.FLOAT32:
            return float(str(values[0]))  # the shortest number that it stands for: 1e-05, not 9.99999974e-06
        return bool(value) if kind == GGUFValueType.BOOL else value

    def array(self) -> list[str] | np.ndarray:
        kind, count = self.number("<I"), self.number("<Q")
        if kind == GGUFValueType.STRING:
            return [self.text() for _ in range(count)]
        return self.scalars(kind, count)

    def scalars(self, kind: int, count: int) -> np.ndarray:
        if kind not in _SCALARS:
            raise _DamagedError(f"a value of type {kind} at byte {self.at:,} is not known")
        dtype = _SCALARS[GGUFValueType(kind)]
        return np.frombuffer(self.take(count * dtype.itemsize), dtype)

    def tensor(self) -> tuple[str, TensorInfo]:
        """Name and place of a tensor, its offset counted from the beginning of the data."""
        name, axes = self.text(), self.number("<I")
        if not 1 <= axes <= 4:
            raise _DamagedError(f"tensor {name} has {axes} axes")
        shape = tuple(self.number("<Q") for _ in range(axes))[::-1]
        kind, offset = self.number("<I"), self.number("<Q")
        try:
            quantization = GGMLQuantizationType(kind)
        except ValueError:
            raise InputError(
                f"{self.path}: tensor {name} has quantization type {kind}, which the installed `gguf` library does not "
                "know; upgrade it, or take another quantization of this model, such as Q8_0."
            ) from None
        block, _ = GGML_QUANT_SIZES[quantization]
        if shape[-1] % block:
            raise _DamagedError(
                f"rows of {shape[-1]} in tensor {name} are no whole blocks of {quantization.name}"
            )
        return name, TensorInfo(file=self.path, shape=shape, quantization=quantization, offset=offset)
