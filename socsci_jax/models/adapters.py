"""Low-rank adapters (LoRA): apart from the base in training, merged into it, and in `peft`'s format."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file, save_file

from socsci_jax.bounds import WIDTH
from socsci_jax.errors import InputError
from socsci_jax.models.config import LINEAR_MAPS, AdapterConfig, DecoderConfig
from socsci_jax.models.modules import flattened, init, leaf_at, nested, parameter_axes
from socsci_jax.models.quantization import BLOCK, NF4, dequantize, quantize
from socsci_jax.reading import read_json_object
from socsci_jax.storage import new_folder
from socsci_jax.wording import kind_of

# The path of a parameter in the pytree.
Name = tuple[str, ...]

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
# Keys of adapter_config.json that change nothing of what is computed, whatever their value.
_HARMLESS = {
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "megatron_core",  # read only with a megatron_config
    "peft_version",
    "qalora_group_size",  # read only with use_qalora
    "revision",
    "task_type",
}
# Keys that are read below.
_READ = {"r", "lora_alpha", "lora_dropout", "target_modules"}
# What an absent or switched-off feature of peft looks like.
_OFF = (None, False, [], {})
# Keys whose values must be one of these; every other key must be off.  Initializations by name (pissa, olora, ...) change
# the base's weights, which the file does not hold.
_ALLOWED: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none",),
    "init_lora_weights": (True, False, "gaussian"),
}


def split_adapter(params: Any) -> tuple[Any, Any]:
    """(adapter, base): the pytrees of what is trained and of what stays."""
    flat = flattened(params)
    return (
        nested({path: leaf for path, leaf in flat.items() if _is_adapter(path)}),
        nested({path: leaf for path, leaf in flat.items() if not _is_adapter(path)}),
    )


def join(base: Any, trained: Any) -> Any:
    """The pytree with the leaves of both."""
    return nested({**flattened(base), **flattened(trained)})


def init_adapter(config: DecoderConfig, *, key: jax.Array, shardings: Any = None) -> Any:
    """Fresh adapter weights in float32; `shardings` are those of the adapter alone."""
    return jax.jit(_adapter_initializer(config), out_shardings=shardings)(key)


@functools.lru_cache(maxsize=16)
def _adapter_initializer(config: DecoderConfig) -> Callable[[jax.Array], Any]:
    """The same function for the same model, so that it is compiled once in a process."""

    def make(key: jax.Array) -> Any:
        # What is not returned is never computed.
        return split_adapter(init(config, key=key, param_dtype=jnp.float32))[0]

    return make


def quantize_base(params: Any, config: DecoderConfig, *, shardings: Any = None) -> Any:
    """Parameters of a base without adapter -> those of `config`, whose adapter says `base: nf4`.

    One parameter at a time, so that little more than the larger of the two exists.  Raises InputError if a linear
    map's inputs do not divide into blocks.
    """
    flat, quantized = flattened(params), {}
    for path in parameter_axes(config):
        if path[-1] != "codes":
            continue
        weight = flat.pop((*path[:-1], "weight"))
        if weight.shape[1] % BLOCK:
            raise InputError(
                f"lora.base: {NF4}: {'.'.join(path[:-1])} has {weight.shape[1]} inputs, which blocks of {BLOCK} do "
                "not divide; leave `base` out for this model."
            )
        places = None
        if shardings is not None:
            of_map = leaf_at(shardings, path[:-1])
            places = (of_map["codes"], of_map["scale"])
        codes, scale = jax.jit(quantize, out_shardings=places)(weight)
        quantized[path], quantized[(*path[:-1], "scale")] = codes, scale
    return nested({**flat, **quantized})


def merge_adapter(params: Any, config: DecoderConfig) -> Any:
    """Parameters of the base with the adapter added to its weights, in float32 and then the base's dtype.

    A base in four bits gives float32 weights, those that the adapter was trained over.
    """
    return jax.jit(_merged, static_argnames="scale")(params, scale=config.adapter.scale)


def _merged(params: Any, *, scale: float) -> Any:
    flat = flattened(params)
    merged = {}
    for path, leaf in flat.items():
        a, b = (flat.get((*path[:-1], name)) for name in ("lora_a", "lora_b"))
        if path[-1] == "codes":
            path = (*path[:-1], "weight")
            leaf = dequantize(leaf, flat[(*path[:-1], "scale")], dtype=jnp.float32)
        if path[-1] == "weight" and a is not None:
            change = jnp.einsum("lir,lro->lio", a, b, preferred_element_type=jnp.float32)
            leaf = (leaf.astype(jnp.float32) + scale * change).astype(leaf.dtype)
        if path[-1] != "scale" and not _is_adapter(path):
            merged[path] = leaf
    return nested(merged)


def export_adapter(
    adapter: Any,
    config: DecoderConfig,
    out: Path,
    *,
    base: str,
    extra_files: Mapping[str, bytes] | None = None,
) -> None:
    """Writes a folder that `peft` loads over `base` (a folder or hub id), with `extra_files` next to the weights."""
    if os.path.lexists(out):  # a link that leads nowhere, too
        raise InputError(f"{out}: exists already; give a new folder, or remove it first")
    settings = config.adapter
    tensors = {}
    for path, leaf in flattened(adapter).items():
        values = np.asarray(leaf)
        for layer in range(config.num_hidden_layers):
            # Linear maps are [out, in] there.
            tensors[_peft_name(path, layer)] = np.ascontiguousarray(values[layer].T)
    adapter_config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": settings.rank,
        "lora_alpha": settings.alpha,
        "lora_dropout": settings.dropout,
        "target_modules": list(settings.targets),
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    with new_folder(out) as partial:
        save_file(tensors, partial / ADAPTER_WEIGHTS, metadata={"format": "pt"})
        (partial / ADAPTER_CONFIG).write_text(json.dumps(adapter_config, indent=2) + "\n")
        for name, content in (extra_files or {}).items():
            (partial / name).write_bytes(content)


def base_of_adapter(folder: Path) -> str:
    """The folder or hub id of the model that a `peft` folder belongs over."""
    base = _read_settings(folder).get("base_model_name_or_path")
    if not isinstance(base, str) or not base or "\0" in base:
        raise InputError(
            f"{folder / ADAPTER_CONFIG}: base_model_name_or_path is {kind_of(base)}; name the base's folder or hub id."
        )
    return base


def _read_settings(folder: Path) -> dict[str, Any]:
    return read_json_object(folder / ADAPTER_CONFIG, hint="give a folder that peft wrote")


def read_adapter_config(folder: Path) -> AdapterConfig:
    """The settings of a `peft` folder; raises InputError for anything that would be computed differently here."""
    path, settings = folder / ADAPTER_CONFIG, _read_settings(folder)
    for key, value in settings.items():
        if key in _HARMLESS or key in _READ:
            continue
        allowed = _ALLOWED.get(key, _OFF)
        if not any(value == one and type(value) is type(one) for one in allowed):
            raise InputError(
                f"{path}: {key} is {kind_of(value) if isinstance(value, dict | list) else repr(value)[:80]}, which this program "
                f"does not compute (known is {allowed[0]!r}); merge the adapter with peft first."
            )
    targets = settings.get("target_modules")
    # Given by name, or by the path in each layer; `load_adapter` finds out if a layer is missing.
    named = {str(target).rpartition(".")[2] for target in targets} if isinstance(targets, list) else set()
    if not named or not named <= set(LINEAR_MAPS):
        raise InputError(
            f"{path}: target_modules is {targets!r}, supported are {', '.join(LINEAR_MAPS)}; merge the adapter with "
            "peft first."
        )
    for key, low, high in (("r", 1, WIDTH), ("lora_alpha", 1e-9, 1e9), ("lora_dropout", 0, 1)):
        number = settings.get(key, 0 if key == "lora_dropout" else None)
        kinds = int if key == "r" else int | float
        if not isinstance(number, kinds) or isinstance(number, bool) or not low <= number <= high:
            raise InputError(f"{path}: {key} is {kind_of(number)}, allowed is {low:g} to {high:g}.")
    return AdapterConfig(
        rank=settings["r"],
        alpha=settings["lora_alpha"],
        targets=tuple(name for name in LINEAR_MAPS if name in named),
        dropout=settings.get("lora_dropout", 0.0),
    )


def load_adapter(folder: Path, config: DecoderConfig) -> Any:
    """Adapter weights of a `peft` folder for `config`, whose adapter is that of `read_adapter_config`.

    Raises one InputError that names the first tensor that is missing, too many or of another shape.
    """
    path = folder / ADAPTER_WEIGHTS
    try:
        tensors = load_file(path)
    except Exception as error:
        raise InputError(f"{path}: cannot be read ({error}); give a folder that peft wrote.") from None
    shapes = jax.eval_shape(lambda: split_adapter(init(config, key=jax.random.key(0)))[0])
    leaves = {}
    for name, shape in flattened(shapes).items():
        layers = []
        for layer in range(config.num_hidden_layers):
            stored = _peft_name(name, layer)
            tensor = tensors.pop(stored, None)
            if tensor is None or tensor.T.shape != shape.shape[1:]:
                state = "is missing" if tensor is None else f"has shape {list(tensor.shape)}"
                raise InputError(
                    f"{path}: {stored} {state}, needed is {list(shape.shape[:0:-1])}; it belongs to another base model."
                )
            layers.append(tensor.T.astype(np.float32))
        leaves[name] = np.stack(layers)
    if tensors:
        raise InputError(f"{path}: holds {next(iter(tensors))}, which this model has no place for.")
    return nested(leaves)


def _peft_name(path: Name, layer: int) -> str:
    """model.layers.self_attn.q_proj.lora_a of layer 3 -> base_model.model.model.layers.3.self_attn.q_proj.lora_A.weight"""
    *module, name = path
    before, after = module[:2], module[2:]
    return f"{_PREFIX}{'.'.join((*before, str(layer), *after))}.{name[:-1]}{name[-1].upper()}.weight"


def _is_adapter(path: Name) -> bool:
    return path[-1] in ("lora_a", "lora_b")
