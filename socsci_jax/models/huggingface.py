"""Import and export of Hugging Face checkpoints: safetensors, bit for bit, a piece of a tensor at a time.

Wherever a folder is read, a GGUF file may stand for it.
"""

from __future__ import annotations

import errno
import functools
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh
from safetensors import SafetensorError

from socsci_jax.errors import InputError
from socsci_jax.gguf_header import read_header
from socsci_jax.hub import is_gguf
from socsci_jax.models.config import DecoderConfig, parse_config, to_huggingface
from socsci_jax.models.gguf_model import gguf_config, gguf_tensors
from socsci_jax.models.modules import axis_size, nested, parameter_axes
from socsci_jax.models.placing import Bounds, place
from socsci_jax.models.sharding import param_shardings
from socsci_jax.models.tensor_files import (
    DTYPES,
    FileTensor,
    TensorToWrite,
    sha256_of,
    tensors_of_file,
    write_tensors,
)
from socsci_jax.progress import progress
from socsci_jax.reading import read_json_object

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
# What travels with the weights, byte for byte, if the source has it. Nothing else is copied.
COMPANIONS = (
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)
# What to fetch of a model on a hub; the last two say what it has seen.
CHECKPOINT_FILES = (
    *("*.safetensors", INDEX, "config.json", *COMPANIONS, "trained_on.parquet", "socsci_jax.json"),
)
# Of an export, beside its files: what each is, and which checkpoint it was made from.
RECEIPTS = "receipts"
_DTYPES = ("F32", "BF16", "F16")


@dataclass(frozen=True)
class Checkpoint:
    """A model read from a folder; `config_json` holds the very bytes of its config.json, for the export."""

    config: DecoderConfig
    params: Any
    config_json: bytes


@dataclass(frozen=True)
class StoredTensor:
    """One parameter as Hugging Face stores it: `names` has one tensor a layer, or one in all."""

    path: tuple[str, ...]
    axes: tuple[str, ...]
    names: tuple[str, ...]
    shape: tuple[int, ...]  # of each tensor in the file

    @property
    def stacked(self) -> bool:
        return self.axes[0] == "layers"

    @property
    def transposed(self) -> bool:
        """Linear maps are [out, in] in the file; the embedding is a table and stays."""
        return len(self.shape) == 2 and self.axes != ("vocab", "embed")


@dataclass(frozen=True)
class TensorSource:
    """Where an export takes its tensors from.

    `blocks` gives the rows of one tensor (of a layer, 0 if there is one in all) as the file will hold them, in order
    and some at a time; so memory holds what one block needs.
    """

    dtypes: Mapping[StoredTensor, np.dtype]
    blocks: Callable[[StoredTensor, int], Iterable[np.ndarray]]


def load_checkpoint(folder: Path, *, mesh: Mesh, param_dtype: Any = None) -> Checkpoint:
    """Read a folder with config.json and one or several safetensors files, or a GGUF file.

    Parameters are put together on their devices, a few layers or rows at a time, so that host memory holds a piece of
    one parameter. Dtypes stay as stored unless `param_dtype` is given. Raises one InputError that lists every problem
    found.
    """
    folder = Path(folder)
    config_json = read_config_json(folder)
    config = parse_config(config_json, where=str(folder / "config.json"))
    shardings = param_shardings(config, mesh)
    tensors, located = locate_model(folder, config, one_dtype=param_dtype is None)
    leaves = {}
    for tensor in tensors:
        sharding = _leaf(shardings, tensor.path)
        files = [located[name] for name in tensor.names]
        dtype = np.dtype(param_dtype or DTYPES[files[0].dtype])
        shape = tuple(axis_size(config, axis) for axis in tensor.axes)
        try:
            leaves[tensor.path] = place(
                functools.partial(_read_part, tensor, files, dtype),
                shape=shape,
                dtype=dtype,
                sharding=sharding,
            )
        except OSError as error:
            raise InputError(f"{folder}: cannot be read to the end ({error}); try again") from error
    return Checkpoint(config=config, params=nested(leaves), config_json=config_json)


def locate_model(
    folder: Path, config: DecoderConfig, *, one_dtype: bool
) -> tuple[list[StoredTensor], dict[str, FileTensor]]:
    """All tensors of a decoder, and where each lies in the folder, yet unread.

    Raises one InputError that lists every problem found; with `one_dtype` also if the layers of a parameter have
    several dtypes.
    """
    problems: list[str] = []
    located = locate_tensors(folder, problems)
    tensors = list(stored_tensors(config))
    _check(config, tensors, located, problems, one_dtype=one_dtype)
    if problems:
        raise InputError(
            f"{folder}: {'; '.join(problems)}; download the complete checkpoint of a supported model again"
        )
    return tensors, located


def export_checkpoint(
    params: Any,
    config: DecoderConfig,
    out: Path,
    *,
    source_folder: Path | None,
    config_json: bytes | None,
    dtype: Any = None,
    max_shard_bytes: int = 5_000_000_000,
    extra_files: Mapping[str, bytes] | None = None,
) -> None:
    """Writes parameters on devices of this process as `write_checkpoint` does; always from the beginning."""
    write_checkpoint(
        source_of(params, config),
        config,
        out,
        source_folder=source_folder,
        config_json=config_json,
        dtype=dtype,
        max_shard_bytes=max_shard_bytes,
        extra_files=extra_files,
    )


def source_of(params: Any, config: DecoderConfig) -> TensorSource:
    """The tensors of parameters on devices of this process, each fetched when it is asked for."""
    leaves = {tensor: _leaf(params, tensor.path) for tensor in stored_tensors(config)}

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
    source_folder: Path | None,
    config_json: bytes | None,
    dtype: Any = None,
    max_shard_bytes: int = 5_000_000_000,
    extra_files: Mapping[str, bytes] | None = None,
    origin: Mapping[str, Any] | None = None,
) -> None:
    """Writes a folder that `transformers` loads: safetensors, config.json and the companions of `source_folder`.

    Tensors keep their dtype unless `dtype` is given; `config_json` is written as it is; `extra_files` are written
    beside the weights. No file holds more than `max_shard_bytes`, unless one tensor does. The folder appears under its
    name only when complete.

    `origin` (JSON) says what determines the weights. With it every file gets a receipt (size, SHA-256, origin), which
    stays beside the weights, and an export that was stopped goes on: finished files of the same origin are read again
    to see that they are whole, and kept. Raises InputError if the folder exists or cannot be written.
    """
    out = Path(out)
    if out.exists():
        raise InputError(f"{out}: exists already; give a new folder, or remove it first")
    kept = {tensor: np.dtype(dtype or held) for tensor, held in source.dtypes.items()}
    files = _plan({name: (t, i) for t in kept for i, name in enumerate(t.names)}, kept, max_shard_bytes)
    names = [SINGLE]
    if len(files) > 1:
        names = [f"model-{n:05d}-of-{len(files):05d}.safetensors" for n in range(1, len(files) + 1)]

    partial_folder = out.with_name(f".{out.name}.partial")
    if origin is not None:
        origin = {
            **origin,
            "dtypes": sorted({held.name for held in kept.values()}),
            "max_shard_bytes": max_shard_bytes,
        }
    finished = _finished(partial_folder, names, origin)
    try:
        _clear(partial_folder, keep=finished)
        with progress("export", total=sum(map(len, files))) as report:
            done = 0

            def counted(tensor: StoredTensor, layer: int) -> Iterator[np.ndarray]:
                nonlocal done
                yield from source.blocks(tensor, layer)
                done += 1
                report.update(done)

            for file, members in zip(names, files, strict=True):
                if file in finished:
                    done += len(members)
                    report.update(done)
                    continue
                tensors = [
                    TensorToWrite(name, kept[t], t.shape, functools.partial(counted, t, layer))
                    for name, (t, layer) in members.items()
                ]
                written = write_tensors(partial_folder / file, tensors)
                if origin is not None:
                    receipt = _receipt(file, written.bytes, written.sha256, origin)
                    (partial_folder / RECEIPTS).mkdir(exist_ok=True)
                    (partial_folder / RECEIPTS / f"{file}.json").write_text(
                        json.dumps(receipt, indent=2) + "\n"
                    )
        if len(files) > 1:
            total = sum(_bytes(t, kept[t]) for members in files for t, _ in members.values())
            weight_map = {name: file for file, members in zip(names, files, strict=True) for name in members}
            index = {"metadata": {"total_size": total}, "weight_map": weight_map}
            (partial_folder / INDEX).write_text(json.dumps(index, indent=2) + "\n")
        if config_json is None:
            stored = next(iter(kept.values())).name
            config_json = (json.dumps(to_huggingface(config, dtype=stored), indent=2) + "\n").encode()
        (partial_folder / "config.json").write_bytes(config_json)
        for name in COMPANIONS if source_folder is not None else ():
            if (Path(source_folder) / name).is_file():
                shutil.copyfile(Path(source_folder) / name, partial_folder / name)
        for name, content in (extra_files or {}).items():
            (partial_folder / name).write_bytes(content)
        partial_folder.rename(out)
    except OSError as error:
        needed = sum(_bytes(t, kept[t]) for members in files for t, _ in members.values())
        reason = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else str(error)
        again = "the same export goes on with the file that was being written" if origin else "export again"
        raise InputError(
            f"{out}: cannot be written ({reason}); it takes {needed / 1e9:.1f} GB in all: make room, and {again}"
        ) from error


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


def stored_tensors(config: DecoderConfig) -> Iterator[StoredTensor]:
    """Every parameter of the decoder with the names and the shape that Hugging Face gives it."""
    for path, axes in parameter_axes(config).items():
        names: tuple[str, ...] = (".".join(path),)
        if axes[0] == "layers":
            before, after = path[:2], path[2:]  # model.layers | self_attn.q_proj.weight
            names = tuple(".".join((*before, str(i), *after)) for i in range(config.num_hidden_layers))
        own = axes[1:] if axes[0] == "layers" else axes
        shape = tuple(axis_size(config, axis) for axis in own)
        tensor = StoredTensor(path, axes, names, shape)
        yield StoredTensor(path, axes, names, shape[::-1]) if tensor.transposed else tensor


def read_config_json(folder: Path) -> bytes:
    """The bytes of a folder's config.json; of a GGUF file, those that `transformers` would need for the same model."""
    if is_gguf(folder):
        config = gguf_config(read_header(folder))
        return (json.dumps(to_huggingface(config), indent=2) + "\n").encode()
    if not folder.is_dir():
        raise InputError(f"{folder}: is not a folder; give one that holds config.json and safetensors files")
    try:
        return (folder / "config.json").read_bytes()
    except OSError:
        raise InputError(f"{folder}: has no readable config.json; download the complete checkpoint") from None


def locate_tensors(folder: Path, problems: list[str]) -> dict[str, FileTensor]:
    """Name of every tensor in the folder -> the tensor, yet unread; `problems` takes what is wrong with single files."""
    if is_gguf(folder):
        header = read_header(folder)
        config = gguf_config(header)
        return gguf_tensors(header, config, [name for t in stored_tensors(config) for name in t.names])
    weight_map: dict[str, str] | None = None
    if (folder / INDEX).is_file():
        weight_map = _weight_map(folder / INDEX)
        files = sorted(set(weight_map.values()))
    elif (folder / SINGLE).is_file():
        files = [SINGLE]
    elif pickled := sorted(file.name for file in folder.glob("*.bin")):
        raise InputError(
            f"{folder}: holds {pickled[0]} but no safetensors; pickled weights can run code and are never "
            "read, so convert them with transformers' save_pretrained first"
        )
    else:
        raise InputError(f"{folder}: has neither {SINGLE} nor {INDEX}; download the complete checkpoint")

    located: dict[str, FileTensor] = {}
    for file in files:
        # An index may come from anywhere: it must not lead out of the folder.
        if not re.fullmatch(r"[A-Za-z0-9_.-]+\.safetensors", file):
            problems.append(f"{INDEX} names {file!r}, which is not a plain file name ending in .safetensors")
            continue
        if not (folder / file).is_file():
            problems.append(f"{INDEX} names {file}, which is absent")
            continue
        try:
            tensors = tensors_of_file(folder / file)
        except (SafetensorError, OSError) as error:
            problems.append(f"{file} is damaged or truncated ({error})")
            continue
        for name, tensor in tensors.items():
            if weight_map is not None and weight_map.get(name) != file:
                problems.append(f"{file} holds {name}, which {INDEX} does not place there")
            else:
                located[name] = tensor
    return located


def _weight_map(index: Path) -> dict[str, str]:
    weight_map = read_json_object(index, hint="download the file again").get("weight_map")
    if isinstance(weight_map, dict) and all(isinstance(file, str) for file in weight_map.values()):
        return weight_map
    raise InputError(f"{index}: has no weight_map of tensor names to file names; download the file again")


def _check(
    config: DecoderConfig,
    tensors: list[StoredTensor],
    located: dict[str, FileTensor],
    problems: list[str],
    *,
    one_dtype: bool,
) -> None:
    damaged = bool(problems)
    wanted = {name: tensor for tensor in tensors for name in tensor.names}
    missing = [name for name in wanted if name not in located]
    # Tensors of a file that could not be opened are not missing: the file has been named.
    if missing and not damaged:
        problems.append(f"missing tensors: {_some(missing)}")
    extra = [
        name for name in located if name not in wanted and not _is_second_embedding(config, name, located)
    ]
    if extra:
        problems.append(f"unexpected tensors: {_some(extra)}")
    wrong, odd = [], []
    for name, tensor in wanted.items():
        if name not in located:
            continue
        shape, dtype = located[name].shape, located[name].dtype
        if shape != tensor.shape:
            wrong.append(f"{name} is {list(shape)}, not {list(tensor.shape)}")
        if dtype not in _DTYPES:
            odd.append(f"{name} is {dtype}, not one of {', '.join(_DTYPES)}")
        elif one_dtype and tensor.names[0] in located and located[tensor.names[0]].dtype != dtype:
            odd.append(f"{name} is {dtype}, unlike layer 0 (give param_dtype)")
    if wrong:
        problems.append(f"wrong shapes: {_some(wrong)}")
    if odd:
        problems.append(f"wrong dtypes: {_some(odd)}")


def _is_second_embedding(config: DecoderConfig, name: str, located: dict[str, FileTensor]) -> bool:
    """Some tools write the tied output projection as well; it is accepted if it is the embedding."""
    first = located.get("model.embed_tokens.weight")
    if name != "lm_head.weight" or not config.tie_word_embeddings or first is None:
        return False
    second = located[name]
    shape = (config.vocab_size, config.hidden_size)
    if not (first.shape == second.shape == shape and first.dtype == second.dtype):
        return False
    blocks = zip(first.blocks(), second.blocks(), strict=True)
    return all(a.tobytes() == b.tobytes() for (_, a), (_, b) in blocks)


def _some(items: list[str]) -> str:
    return ", ".join(items[:5]) + (f" and {len(items) - 5} more" if len(items) > 5 else "")


def _read_part(tensor: StoredTensor, files: list[FileTensor], dtype: np.dtype, bounds: Bounds) -> np.ndarray:
    """The part of a parameter within `bounds`, one range an axis, from the files."""
    part = np.empty([len(bound) for bound in bounds], dtype)
    layers, own = (bounds[0], bounds[1:]) if tensor.stacked else ([0], bounds)
    rows, *others = own[::-1] if tensor.transposed else own
    cut = tuple(slice(bound.start, bound.stop) for bound in others)
    for number, layer in enumerate(layers):
        target = part[number] if tensor.stacked else part
        target = target.T if tensor.transposed else target
        for first, block in files[layer].blocks(rows.start, rows.stop):
            begin = first - rows.start
            target[begin : begin + len(block)] = block[(slice(None), *cut)]
    return part


def _leaf(params: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        params = params[name]
    return params


def _plan(members: dict[str, Any], kept: dict[StoredTensor, np.dtype], limit: int) -> list[dict[str, Any]]:
    """Fill one file after another up to `limit` bytes."""
    files: list[dict[str, Any]] = [{}]
    filled = 0
    for name, (tensor, layer) in members.items():
        size = _bytes(tensor, kept[tensor])
        if files[-1] and filled + size > limit:
            files.append({})
            filled = 0
        files[-1][name] = (tensor, layer)
        filled += size
    return files


def _bytes(tensor: StoredTensor, dtype: np.dtype) -> int:
    return int(np.prod(tensor.shape)) * dtype.itemsize
