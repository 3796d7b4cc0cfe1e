"""Writing a Hugging Face folder: safetensors a piece at a time, with receipts by which a stopped export resumes."""

from __future__ import annotations

import errno
import functools
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from socsci_jax.errors import InputError
from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.config_files import to_huggingface
from socsci_jax.models.huggingface import COMPANIONS, INDEX, SINGLE, StoredTensor, stored_tensors
from socsci_jax.models.modules import leaf_at
from socsci_jax.models.tensor_files import TensorToWrite, sha256_of, write_tensors
from socsci_jax.progress import progress
from socsci_jax.reading import read_json_object

# Of an export, next to its files: what each is, and which checkpoint it was made from.
RECEIPTS = "receipts"


# What one file holds: a tensor's name -> the tensor, and the layer of it.
Members = dict[str, tuple[StoredTensor, int]]


@dataclass(frozen=True)
class TensorSource:
    """Where an export takes its tensors from.

    `blocks` gives the rows of one tensor (of a layer, 0 if there is one in all) as the file will hold them, in order
    and some at a time; so memory holds what one block needs.
    """

    dtypes: Mapping[StoredTensor, np.dtype]
    blocks: Callable[[StoredTensor, int], Iterable[np.ndarray]]


def source_of(params: Any, config: DecoderConfig) -> TensorSource:
    """The tensors of parameters on devices of this process, each fetched when it is asked for."""
    leaves = {tensor: leaf_at(params, tensor.path) for tensor in stored_tensors(config)}

    def blocks(tensor: StoredTensor, layer: int) -> Iterator[np.ndarray]:
        leaf = leaves[tensor]
        values = np.asarray(leaf[layer] if tensor.stacked else leaf)
        yield values.T if tensor.transposed else values

    return TensorSource({tensor: np.dtype(leaf.dtype) for tensor, leaf in leaves.items()}, blocks)


def write_checkpoint(
    source: TensorSource,
    config: DecoderConfig,
    out: Path,
    *,
    source_folder: Path | None = None,
    config_json: bytes | None = None,
    dtype: Any = None,
    max_shard_bytes: int = 5_000_000_000,
    extra_files: Mapping[str, bytes] | None = None,
    origin: Mapping[str, Any] | None = None,
) -> None:
    """Writes a folder that `transformers` loads: safetensors, config.json and the companions of `source_folder`.

    Tensors keep their dtype unless `dtype` is given; `config_json` is written as it is; `extra_files` are written
    next to the weights. Without `config_json` the config's own is made. No file holds more than `max_shard_bytes`, unless one tensor does. The folder appears under its
    name only when complete.

    `origin` (JSON) says what determines the weights. With it every file gets a receipt (size, SHA-256, origin), which
    stays next to the weights, and an export that was stopped resumes: finished files of the same origin are read again
    to see that they are whole, and kept. Raises InputError if the folder exists or cannot be written.
    """
    out = Path(out)
    if os.path.lexists(out):  # a link that leads nowhere, too
        raise InputError(f"{out}: exists already; give a new folder, or remove it first")
    kept = {tensor: np.dtype(dtype or held) for tensor, held in source.dtypes.items()}
    files = _plan(kept, max_shard_bytes)
    if origin is not None:
        dtypes = sorted({held.name for held in kept.values()})
        origin = {**origin, "dtypes": dtypes, "max_shard_bytes": max_shard_bytes}
    partial = out.with_name(f".{out.name}.partial")
    finished = _finished(partial, list(files), origin)
    total = sum(_bytes(t, kept[t]) for members in files.values() for t, _ in members.values())
    try:
        _clear(partial, keep=finished)
        _write_weights(source, kept, files, partial, finished=finished, origin=origin)
        if len(files) > 1:
            weight_map = {name: file for file, members in files.items() for name in members}
            index = {"metadata": {"total_size": total}, "weight_map": weight_map}
            (partial / INDEX).write_text(json.dumps(index, indent=2) + "\n")
        if config_json is None:
            stored = next(iter(kept.values())).name
            config_json = (json.dumps(to_huggingface(config, dtype=stored), indent=2) + "\n").encode()
        (partial / "config.json").write_bytes(config_json)
        for name in COMPANIONS if source_folder is not None else ():
            if (Path(source_folder) / name).is_file():
                shutil.copyfile(Path(source_folder) / name, partial / name)
        for name, content in (extra_files or {}).items():
            (partial / name).write_bytes(content)
        partial.rename(out)
    except OSError as error:
        reason = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else str(error)
        again = "the same export resumes with the file that was being written" if origin else "export again"
        raise InputError(
            f"{out}: cannot be written ({reason}); it takes {total / 1e9:.1f} GB in all: free some space, and {again}"
        ) from error


def _write_weights(
    source: TensorSource,
    kept: Mapping[StoredTensor, np.dtype],
    files: Mapping[str, Members],
    folder: Path,
    *,
    finished: list[str],
    origin: Mapping[str, Any] | None,
) -> None:
    """Writes each file that is not finished, and its receipt after it."""
    with progress("export", total=sum(map(len, files.values()))) as report:
        done = 0

        def counted(tensor: StoredTensor, layer: int) -> Iterator[np.ndarray]:
            nonlocal done
            yield from source.blocks(tensor, layer)
            done += 1
            report.update(done)

        for file, members in files.items():
            if file in finished:
                done += len(members)
                report.update(done)
                continue
            tensors = [
                TensorToWrite(name, kept[t], t.shape, functools.partial(counted, t, layer))
                for name, (t, layer) in members.items()
            ]
            written = write_tensors(folder / file, tensors)
            if origin is not None:
                receipt = _receipt(file, written.bytes, written.sha256, origin)
                (folder / RECEIPTS).mkdir(exist_ok=True)
                (folder / RECEIPTS / f"{file}.json").write_text(json.dumps(receipt, indent=2) + "\n")


def _receipt(file: str, size: int, sha256: str, origin: Mapping[str, Any]) -> dict[str, Any]:
    return {"file": file, "bytes": size, "sha256": sha256, "origin": dict(origin)}


def _finished(folder: Path, files: list[str], origin: Mapping[str, Any] | None) -> list[str]:
    """The files that an earlier export of the same origin left whole."""
    finished = []
    for file in files if origin is not None else ():
        try:
            receipt = read_json_object(folder / RECEIPTS / f"{file}.json")
            # The content is read again only where all else fits.
            fits = receipt == _receipt(file, (folder / file).stat().st_size, receipt["sha256"], origin)
            if fits and receipt["sha256"] == sha256_of(folder / file):
                finished.append(file)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return finished


def _clear(folder: Path, *, keep: list[str]) -> None:
    """Makes the folder, or leaves in it only these files with their receipts."""
    folder.mkdir(parents=True, exist_ok=True)
    receipts = folder / RECEIPTS
    for path in [*folder.iterdir(), *(receipts.iterdir() if receipts.is_dir() else ())]:
        if path != receipts and path.name not in keep and path.name.removesuffix(".json") not in keep:
            path.unlink()


def _plan(kept: Mapping[StoredTensor, np.dtype], limit: int) -> dict[str, Members]:
    """The files by name and what each holds: one after another is filled up to `limit` bytes."""
    files: list[Members] = [{}]
    filled = 0
    for tensor in kept:
        size = _bytes(tensor, kept[tensor])
        for layer, name in enumerate(tensor.names):
            if files[-1] and filled + size > limit:
                files.append({})
                filled = 0
            files[-1][name] = (tensor, layer)
            filled += size
    names = [f"model-{n:05d}-of-{len(files):05d}.safetensors" for n in range(1, len(files) + 1)]
    return dict(zip(names if len(files) > 1 else [SINGLE], files, strict=True))


def _bytes(tensor: StoredTensor, dtype: np.dtype) -> int:
    return int(np.prod(tensor.shape)) * dtype.itemsize
