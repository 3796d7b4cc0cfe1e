"""Import and export of Hugging Face checkpoints: safetensors, bit for bit, a piece of a tensor at a time.

Wherever a folder is read, a GGUF file may stand for it.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh
from safetensors import SafetensorError

from socsci_jax.errors import InputError
from socsci_jax.gguf_header import read_header
from socsci_jax.hub import is_gguf
from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.config_files import parse_config, to_huggingface
from socsci_jax.models.gguf_model import gguf_config, gguf_tensors
from socsci_jax.models.modules import axis_size, leaf_at, nested, parameter_axes
from socsci_jax.models.placing import Bounds, place
from socsci_jax.models.sharding import param_shardings
from socsci_jax.models.tensor_files import DTYPES, FileTensor, tensors_of_file
from socsci_jax.reading import read_json_object
from socsci_jax.wording import first_listed

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
    "*.safetensors",
    INDEX,
    "config.json",
    *COMPANIONS,
    "trained_on.parquet",
    "socsci_jax.json",
)
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
        sharding = leaf_at(shardings, tensor.path)
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
        problems.append(f"missing tensors: {first_listed(missing)}")
    extra = [
        name for name in located if name not in wanted and not _is_second_embedding(config, name, located)
    ]
    if extra:
        problems.append(f"unexpected tensors: {first_listed(extra)}")
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
        problems.append(f"wrong shapes: {first_listed(wrong)}")
    if odd:
        problems.append(f"wrong dtypes: {first_listed(odd)}")


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
