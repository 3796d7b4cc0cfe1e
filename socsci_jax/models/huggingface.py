"""Import and export of Hugging Face checkpoints: safetensors, bit for bit, straight into sharded arrays."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from socsci_jax.errors import InputError
from socsci_jax.models.config import DecoderConfig, parse_config, to_huggingface
from socsci_jax.models.modules import axis_size, nested, parameter_axes
from socsci_jax.models.sharding import param_shardings, replicated

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
# What to fetch of a model on a hub.
CHECKPOINT_FILES = ("*.safetensors", INDEX, "config.json", *COMPANIONS)
_DTYPES = {"F32": jnp.float32, "BF16": jnp.bfloat16, "F16": jnp.float16}


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


def load_checkpoint(folder: Path, *, mesh: Mesh, param_dtype: Any = None) -> Checkpoint:
    """Read a folder with config.json and one or several safetensors files.

    Each device's part is read on its own, so host memory holds one part of one parameter at a time. Dtypes
    stay as stored unless `param_dtype` is given. Raises one InputError that lists every problem found.
    """
    folder = Path(folder)
    config_json = _config_bytes(folder)
    config = parse_config(config_json, where=str(folder / "config.json"))
    shardings = param_shardings(config, mesh)
    with ExitStack() as stack:
        problems: list[str] = []
        located = locate_tensors(folder, stack, problems)
        tensors = list(stored_tensors(config))
        _check(config, tensors, located, problems, one_dtype=param_dtype is None)
        if problems:
            raise InputError(
                f"{folder}: {'; '.join(problems)}; download the complete checkpoint of a supported model again"
            )
        leaves = {}
        for tensor in tensors:
            sharding = shardings
            for name in tensor.path:
                sharding = sharding[name]
            dtype = param_dtype or _DTYPES[located[tensor.names[0]].get_dtype()]
            shape = tuple(axis_size(config, axis) for axis in tensor.axes)
            read = partial(
                _read_part, tensor, [located[name] for name in tensor.names], shape, np.dtype(dtype)
            )
            leaves[tensor.path] = jax.make_array_from_callback(shape, sharding, read)
        jax.block_until_ready(leaves)
    return Checkpoint(config=config, params=nested(leaves), config_json=config_json)


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
    """Write a folder that `transformers` loads: safetensors, config.json and the companions of the source.

    Tensors keep their dtype unless `dtype` is given; `config_json` is written as it is. Host memory holds one
    file of at most `max_shard_bytes` (or one tensor, if that is larger). `extra_files` are written beside the
    weights. The folder appears under its name only when complete. With several processes all must call this, and the first one writes.
    """
    out = Path(out)
    if out.exists():
        raise InputError(f"{out}: exists already; give a new folder, or remove it first")
    leaves = {tensor: _leaf(params, tensor.path) for tensor in stored_tensors(config)}
    kept = {tensor: np.dtype(dtype or leaf.dtype) for tensor, leaf in leaves.items()}
    files = _plan({name: (t, i) for t in leaves for i, name in enumerate(t.names)}, kept, max_shard_bytes)
    names = [SINGLE]
    if len(files) > 1:
        names = [f"model-{n:05d}-of-{len(files):05d}.safetensors" for n in range(1, len(files) + 1)]

    writes = jax.process_index() == 0
    partial_folder = out.with_name(f".{out.name}.partial")
    if writes:
        shutil.rmtree(partial_folder, ignore_errors=True)
        partial_folder.mkdir(parents=True)
    for file, members in zip(names, files, strict=True):
        arrays = {}
        for name, (tensor, layer) in members.items():
            array = _gather(
                leaves[tensor], layer if tensor.stacked else None, tensor.transposed, kept[tensor]
            )
            if writes:
                arrays[name] = np.asarray(array)
        if writes:
            save_file(arrays, partial_folder / file, metadata={"format": "pt"})
    if not writes:
        return

    if len(files) > 1:
        total = sum(_bytes(t, kept[t]) for members in files for t, _ in members.values())
        weight_map = {name: file for file, members in zip(names, files, strict=True) for name in members}
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (partial_folder / INDEX).write_text(json.dumps(index, indent=2) + "\n")
    if config_json is None:
        stored = np.dtype(dtype or next(iter(leaves.values())).dtype).name
        config_json = (json.dumps(to_huggingface(config, dtype=stored), indent=2) + "\n").encode()
    (partial_folder / "config.json").write_bytes(config_json)
    for name in COMPANIONS if source_folder is not None else ():
        if (Path(source_folder) / name).is_file():
            shutil.copyfile(Path(source_folder) / name, partial_folder / name)
    for name, content in (extra_files or {}).items():
        (partial_folder / name).write_bytes(content)
    partial_folder.rename(out)


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


def _config_bytes(folder: Path) -> bytes:
    if not folder.is_dir():
        raise InputError(f"{folder}: is not a folder; give one that holds config.json and safetensors files")
    try:
        return (folder / "config.json").read_bytes()
    except OSError:
        raise InputError(f"{folder}: has no readable config.json; download the complete checkpoint") from None


def locate_tensors(folder: Path, stack: ExitStack, problems: list[str]) -> dict[str, Any]:
    """Name of every tensor in the folder -> its slice, yet unread; `problems` takes what is wrong with single files."""
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

    located: dict[str, Any] = {}
    for file in files:
        # An index may come from anywhere: it must not lead out of the folder.
        if not re.fullmatch(r"[A-Za-z0-9_.-]+\.safetensors", file):
            problems.append(f"{INDEX} names {file!r}, which is not a plain file name ending in .safetensors")
            continue
        if not (folder / file).is_file():
            problems.append(f"{INDEX} names {file}, which is absent")
            continue
        try:
            opened = stack.enter_context(safe_open(folder / file, framework="numpy"))
        except (SafetensorError, OSError) as error:
            problems.append(f"{file} is damaged or truncated ({error})")
            continue
        for name in opened.keys():  # noqa: SIM118 (not a dict)
            if weight_map is not None and weight_map.get(name) != file:
                problems.append(f"{file} holds {name}, which {INDEX} does not place there")
            else:
                located[name] = opened.get_slice(name)
    return located


def _weight_map(index: Path) -> dict[str, str]:
    try:
        weight_map = json.loads(index.read_bytes())["weight_map"]
        if all(isinstance(file, str) for file in weight_map.values()):
            return weight_map
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    raise InputError(f"{index}: has no weight_map of tensor names to file names; download the file again")


def _check(
    config: DecoderConfig,
    tensors: list[StoredTensor],
    located: dict[str, Any],
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
        shape, dtype = tuple(located[name].get_shape()), located[name].get_dtype()
        if shape != tensor.shape:
            wrong.append(f"{name} is {list(shape)}, not {list(tensor.shape)}")
        if dtype not in _DTYPES:
            odd.append(f"{name} is {dtype}, not one of {', '.join(_DTYPES)}")
        elif one_dtype and tensor.names[0] in located and located[tensor.names[0]].get_dtype() != dtype:
            odd.append(f"{name} is {dtype}, unlike layer 0 (give param_dtype)")
    if wrong:
        problems.append(f"wrong shapes: {_some(wrong)}")
    if odd:
        problems.append(f"wrong dtypes: {_some(odd)}")


def _is_second_embedding(config: DecoderConfig, name: str, located: dict[str, Any]) -> bool:
    """Some tools write the tied output projection as well; it is accepted if it is the embedding."""
    first = located.get("model.embed_tokens.weight")
    if name != "lm_head.weight" or not config.tie_word_embeddings or first is None:
        return False
    second = located[name]
    shape = [config.vocab_size, config.hidden_size]
    if not (first.get_shape() == second.get_shape() == shape and first.get_dtype() == second.get_dtype()):
        return False
    parts = [slice(i, min(i + 4096, config.vocab_size)) for i in range(0, config.vocab_size, 4096)]
    return all(first[part].tobytes() == second[part].tobytes() for part in parts)


def _some(items: list[str]) -> str:
    return ", ".join(items[:5]) + (f" and {len(items) - 5} more" if len(items) > 5 else "")


def _read_part(
    tensor: StoredTensor, slices: list[Any], shape: tuple[int, ...], dtype: np.dtype, index: tuple[slice, ...]
) -> np.ndarray:
    """The part `index` of a parameter of `shape`, from the files."""
    bounds = [range(size)[part] for size, part in zip(shape, index, strict=True)]
    cut = [slice(bound.start, bound.stop) for bound in bounds]
    part = np.empty([len(bound) for bound in bounds], dtype)
    own = cut[1:] if tensor.stacked else cut
    own = tuple(own[::-1] if tensor.transposed else own)
    layers = bounds[0] if tensor.stacked else [0]
    for row, layer in enumerate(layers):
        values = slices[layer][own]
        target = part[row] if tensor.stacked else part
        target[...] = values.T if tensor.transposed else values
    return part


def _leaf(params: Any, path: tuple[str, ...]) -> jax.Array:
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


def _gather(leaf: jax.Array, layer: int | None, transposed: bool, dtype: np.dtype) -> jax.Array:
    """One tensor, whole on every process's first device."""
    everywhere = replicated(leaf.sharding.mesh) if isinstance(leaf.sharding, jax.NamedSharding) else None
    pick = jax.jit(_pick, static_argnames=("transposed", "dtype"), out_shardings=everywhere)
    return pick(leaf, layer, transposed=transposed, dtype=dtype).addressable_data(0)


def _pick(leaf: jax.Array, layer: jax.Array | None, *, transposed: bool, dtype: np.dtype) -> jax.Array:
    one = leaf if layer is None else jax.lax.dynamic_index_in_dim(leaf, layer, keepdims=False)
    return (one.T if transposed else one).astype(dtype)
