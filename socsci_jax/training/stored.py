"""A checkpoint read from disk a part at a time, with or without devices: no whole array in the host's memory."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tensorstore as ts
from etils import epath

from socsci_jax.errors import InputError, StorageFailed
from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.huggingface import StoredTensor
from socsci_jax.models.modules import axis_size, parameter_axes
from socsci_jax.models.placing import Bounds, place
from socsci_jax.models.tensor_files import PIECE_BYTES, rows_at_a_time
from socsci_jax.reading import parse_json_object
from socsci_jax.training.digest import host_digest
from socsci_jax.training.storage_errors import absolute, failed_reading, in_short


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

    def __init__(self, folder: Path | epath.Path, *, root: tuple[str, ...] = ("params",)):
        """Reads names, shapes and dtypes of what stands under `root` in the training state.

        Raises InputError if there is no readable checkpoint, StorageFailed if the storage does not answer.
        """
        self._root = root
        self.folder = absolute(folder)
        self._state = self.folder / "state"
        try:
            tree = parse_json_object((self._state / "_METADATA").read_bytes(), where="_METADATA")
            self._driver = "zarr3" if tree.get("use_zarr3") else "zarr"
            paths = [
                tuple(str(part["key"]) for part in entry["key_metadata"])
                for entry in tree["tree_metadata"].values()
                if not entry["value_metadata"]["skip_deserialize"]  # an empty node of the tree
            ]
            opened = {path[len(root) :]: self._start(path) for path in paths if path[: len(root)] == root}
            self.arrays = {path: _described(array.result()) for path, array in opened.items()}
            self._manifest = (self._state / "manifest.ocdbt").read_bytes()
            # The layers of a parameter are asked for in a row.
            self._open = functools.lru_cache(maxsize=1)(self._open_array)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._unreadable(error) from error

    @property
    def fingerprint(self) -> str:
        """Tells this checkpoint from any other, also of the same step: SHA-256 of the store's root."""
        return hashlib.sha256(self._manifest).hexdigest()

    def check(self, config: DecoderConfig) -> None:
        """Raises InputError if this is not what training with `config` saves: its adapter, or without one all weights."""
        axes = {
            path: axes
            for path, axes in parameter_axes(config).items()
            if config.adapter is None or path[-1] in ("lora_a", "lora_b")
        }
        for path in {**axes, **self.arrays}:
            self.check_shape(path, [axis_size(config, axis) for axis in axes[path]] if path in axes else None)

    def check_shape(self, path: tuple[str, ...], needed: list[int] | None) -> None:
        """Raises InputError if an array has another shape, is missing, or is there though none is `needed`."""
        shape = list(self.arrays[path].shape) if path in self.arrays else None
        if needed != shape:
            raise InputError(
                f"{self.folder}: this checkpoint is damaged or of another architecture ({'.'.join(path)} is "
                f"{'missing' if shape is None else shape}, {'nothing of that name' if needed is None else needed} is "
                "needed); restore the run's own config.json and recipe.yaml, or take another step."
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

    def read_within(self, path: tuple[str, ...], bounds: Bounds) -> np.ndarray:
        """The part of one array within bounds; raises InputError if it cannot be read."""
        return self.read(path, tuple(slice(bound.start, bound.stop) for bound in bounds))

    def read(self, path: tuple[str, ...], index: tuple[int | slice, ...] = ()) -> np.ndarray:
        """A part of one array; raises InputError if it cannot be read."""
        try:
            return self._open(path)[(*index, ...)].read().result()
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error

    def digest(self, path: tuple[str, ...]) -> np.ndarray:
        """Checksum of an array (`digest.py`), read a piece at a time; raises InputError if it cannot be read."""
        held = self.arrays[path]
        if not held.shape:
            return host_digest(self.read(path))
        along = held.chunk[0]
        step = max(along, rows_at_a_time(held.shape, held.dtype) // along * along)
        row = math.prod(held.shape[1:])
        total = np.zeros(2, np.uint32)
        for first in range(0, held.shape[0], step):
            total += host_digest(
                self.read(path, (slice(first, min(first + step, held.shape[0])),)), first=first * row
            )
        return total

    def _open_array(self, path: tuple[str, ...]) -> ts.TensorStore:
        """An array, with room in memory for the chunks that hold one layer where they hold others as well."""
        held = self.arrays[path]
        shared = len(held.chunk) > 1 and held.chunk[0] > 1
        layer = [
            -(-size // chunk) * chunk for size, chunk in zip(held.shape[1:], held.chunk[1:], strict=True)
        ]
        kept = math.prod([*held.chunk[:1], *layer]) * held.dtype.itemsize
        # TensorStore counts a little more than the values, and throws away what does not fit.
        return self._start((*self._root, *path), cache_bytes=kept + PIECE_BYTES if shared else 0).result()

    def _start(self, path: tuple[str, ...], *, cache_bytes: int = 0) -> ts.Future:
        return ts.open(
            {
                "driver": self._driver,
                "kvstore": {
                    "driver": "ocdbt",
                    "base": f"{'' if '://' in str(self._state) else 'file://'}{self._state}/",
                    "path": f"{'.'.join(path)}/",
                },
                "recheck_cached_data": False,
            },
            open=True,
            read=True,
            context=ts.Context({"cache_pool": {"total_bytes_limit": cache_bytes}}),
        )

    def _unreadable(self, error: Exception) -> InputError | StorageFailed:
        return failed_reading(
            self.folder,
            error,
            f"{self.folder}: this checkpoint cannot be read, it is damaged or was written by another version "
            f"({in_short(error)}); take another step.",
        )


def _described(array: ts.TensorStore) -> StoredArray:
    chunk = array.chunk_layout.read_chunk.shape or ()  # None of an array without dimensions
    return StoredArray(tuple(array.shape), array.dtype.numpy_dtype, tuple(chunk))


def restore_state(folder: Path | epath.Path, abstract_state: Any) -> Any:
    """The whole state of a checkpoint, onto the shardings of `abstract_state`, a piece of an array at a time.

    Raises InputError if the checkpoint cannot be read, or holds arrays of other names or shapes.
    """
    stored = StoredParams(folder, root=())
    leaves, tree = jax.tree_util.tree_flatten_with_path(abstract_state)
    wanted = {tuple(jax.tree_util.keystr((key,), simple=True) for key in path): leaf for path, leaf in leaves}
    for path in {**wanted, **stored.arrays}:
        needed = list(wanted[path].shape) if path in wanted else None
        stored.check_shape(path, needed)
    return tree.unflatten(
        place(
            functools.partial(stored.read_within, path),
            shape=leaf.shape,
            dtype=leaf.dtype,
            sharding=leaf.sharding,
        )
        for path, leaf in wanted.items()
    )
