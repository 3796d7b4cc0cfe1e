"""The parameters of a checkpoint, read from disk a part at a time: no devices, no mesh, no whole array in memory."""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorstore as ts

from socsci_jax.errors import InputError
from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.huggingface import StoredTensor, stored_tensors
from socsci_jax.models.modules import axis_size
from socsci_jax.models.tensor_files import rows_at_a_time

# The name under which the training state saves what is trained.
_ROOT = "params"


@dataclass(frozen=True)
class StoredArray:
    """An array of a checkpoint, yet unread; `chunk` is what can only be read as a whole."""

    shape: tuple[int, ...]
    dtype: np.dtype
    chunk: tuple[int, ...]


class StoredParams:
    """What a run trained, as one of its checkpoints (RUN/checkpoints/STEP) holds it.

    Orbax writes a Zarr array for each parameter into one OCDBT store; here TensorStore reads it without Orbax, which
    restores whole arrays only.
    """

    def __init__(self, folder: Path):
        """Reads names, shapes and dtypes; raises InputError if there is no readable checkpoint."""
        self.folder = folder.resolve()
        self._state = self.folder / "state"
        try:
            tree = json.loads((self._state / "_METADATA").read_text())
            self._driver = "zarr3" if tree.get("use_zarr3") else "zarr"
            paths = [
                tuple(str(part["key"]) for part in entry["key_metadata"])
                for entry in tree["tree_metadata"].values()
            ]
            opened = {path[1:]: self._start(path[1:]) for path in paths if path[0] == _ROOT}
            self.arrays = {path: _described(array.result()) for path, array in opened.items()}
            self._manifest = (self._state / "manifest.ocdbt").read_bytes()
            # The layers of a parameter are asked for in a row.
            self._open = functools.lru_cache(maxsize=1)(self._open_array)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._unreadable(error) from error

    @property
    def fingerprint(self) -> str:
        """Tells this checkpoint from any other, also of the same step: SHA-256 of the store's root."""
        return hashlib.sha256(self._manifest).hexdigest()

    def check(self, config: DecoderConfig) -> None:
        """Raises InputError if the checkpoint does not hold every parameter of `config` in its shape."""
        for tensor in stored_tensors(config):
            shape = tuple(axis_size(config, axis) for axis in tensor.axes)
            held = self.arrays.get(tensor.path)
            if held is None or held.shape != shape:
                found = "is missing" if held is None else f"has shape {list(held.shape)}"
                raise InputError(
                    f"{self.folder}: this checkpoint is damaged or of another architecture "
                    f"({'.'.join(tensor.path)} {found}, needed is {list(shape)}); restore the run's own config.json, "
                    "or take another step."
                )

    def blocks(self, tensor: StoredTensor, layer: int) -> Iterator[np.ndarray]:
        """One tensor's rows, as a Hugging Face file holds them, in order and some at a time.

        Memory holds whole chunks, so for checkpoints whose chunks span layers, all layers of a parameter.
        """
        held = self.arrays[tensor.path]
        own_chunk = held.chunk[1:] if tensor.stacked else held.chunk
        along = own_chunk[-1] if tensor.transposed else own_chunk[0]
        step = max(along, rows_at_a_time(tensor.shape, held.dtype) // along * along)
        for first in range(0, tensor.shape[0], step):
            rows = slice(first, min(first + step, tensor.shape[0]))
            cut = (slice(None), rows) if tensor.transposed else (rows,)
            values = self.read(tensor.path, ((layer, *cut) if tensor.stacked else cut))
            yield values.T if tensor.transposed else values

    def read(self, path: tuple[str, ...], index: tuple[int | slice, ...] = ()) -> np.ndarray:
        """A part of one array; raises InputError if it cannot be read."""
        try:
            return self._open(path)[(*index, ...)].read().result()
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error

    def _open_array(self, path: tuple[str, ...]) -> ts.TensorStore:
        """An array, with room in memory for the chunks that hold one layer where they hold others as well."""
        held = self.arrays[path]
        shared = len(held.chunk) > 1 and held.chunk[0] > 1
        layer = [
            -(-size // chunk) * chunk for size, chunk in zip(held.shape[1:], held.chunk[1:], strict=True)
        ]
        kept = math.prod([held.chunk[0], *layer]) * held.dtype.itemsize if shared else 0
        return self._start(path, cache_bytes=kept).result()

    def _start(self, path: tuple[str, ...], *, cache_bytes: int = 0) -> ts.Future:
        return ts.open(
            {
                "driver": self._driver,
                "kvstore": {
                    "driver": "ocdbt",
                    "base": f"file://{self._state}/",
                    "path": f"{'.'.join((_ROOT, *path))}/",
                },
                "recheck_cached_data": False,
            },
            open=True,
            read=True,
            context=ts.Context({"cache_pool": {"total_bytes_limit": cache_bytes}}),
        )

    def _unreadable(self, error: Exception) -> InputError:
        reason = str(error).strip().splitlines()[0][:200]
        return InputError(
            f"{self.folder}: this checkpoint cannot be read, it is damaged or was written by another version ({reason}); "
            "take another step."
        )


def _described(array: ts.TensorStore) -> StoredArray:
    return StoredArray(
        tuple(array.shape), array.dtype.numpy_dtype, tuple(array.chunk_layout.read_chunk.shape)
    )
