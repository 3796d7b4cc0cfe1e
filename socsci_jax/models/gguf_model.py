"""A GGUF file as a checkpoint: its config, and its tensors under Hugging Face's names, dequantized as they are read.

Names come from the `gguf` library.  llama.cpp rotates neighboring features of a head, Hugging Face those half a head
apart, so the rows of Llama's queries and keys come in another order (llama.cpp: convert_hf_to_gguf.py, `permute`).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import gguf
import numpy as np

from socsci_jax.errors import InputError
from socsci_jax.gguf_header import GgufHeader, TensorInfo
from socsci_jax.models.config import DecoderConfig, RopeScaling
from socsci_jax.models.config_files import parse_config
from socsci_jax.models.rotary import frequencies
from socsci_jax.models.tensor_files import FileTensor, read_exactly

_ARCHITECTURES = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
}
# Metadata, after the architecture's name -> the key of config.json.
_KEYS = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "rope.freq_base": "rope_theta",
}
# Without these there is no model; the others have defaults.
_REQUIRED = (
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "attention.head_count",
)
# What else a file may say of its architecture, with the one value that is supported.
_WITHOUT_EFFECT: dict[str, Any] = {
    "expert_count": 0,
    "expert_used_count": 0,
    "rope.scaling.type": "none",
    "attention.causal": True,
}
_EMBEDDING, _OUTPUT, _ROPE_FACTORS = "token_embd.weight", "output.weight", "rope_freqs.weight"
# Kept as they are; everything else becomes float32.
_UNQUANTIZED = {"F32", "F16", "BF16"}
# Llama 3.1 to 3.3: the file holds only the factor of each rotation, which these three and the largest of them give.
_LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


@dataclass(frozen=True)
class GgufTensor(FileTensor):
    """A tensor in a GGUF file, yet unread; `dtype` names what its rows become, `shape` is that of the values.

    `heads` is in how many heads its rows are interleaved, 0 if they are in Hugging Face's order.
    """

    quantization: gguf.GGMLQuantizationType
    row_bytes: int
    heads: int = 0

    def rows(self, first: int = 0, last: int | None = None) -> np.ndarray:
        """Rows `first` to `last` (excluded), dequantized; raises OSError if the file ends before."""
        last = self.shape[0] if last is None else last
        if not self.heads:
            return self._stored(first, last)
        size = self.shape[0] // self.heads
        begin, end = first // size * size, -(-last // size) * size
        pairs = self._stored(begin, end).reshape(-1, size // 2, 2, *self.shape[1:])
        halves = pairs.swapaxes(1, 2).reshape(end - begin, *self.shape[1:])
        return halves[first - begin : last - begin]

    def _stored(self, first: int, last: int) -> np.ndarray:
        if self.dtype in _UNQUANTIZED and self.dtype == self.quantization.name:
            return FileTensor.rows(self, first, last)
        raw = np.empty((last - first, self.row_bytes), np.uint8)
        read_exactly(self.file, self.offset + first * self.row_bytes, memoryview(raw.reshape(-1)))
        return gguf.dequantize(raw, self.quantization)


def gguf_config(header: GgufHeader) -> DecoderConfig:
    """Reads the decoder's shape from the file's metadata.

    Raises InputError for another architecture, for a key that is missing, and for one that may change what is computed
    but is not supported here.
    """
    where, metadata = header.path, header.metadata
    name = metadata.get("general.architecture")
    if name not in _ARCHITECTURES:
        raise InputError(
            f"{where}: the architecture is {name!r}, but only {', '.join(_ARCHITECTURES)} are supported; choose a "
            "model of one of these families."
        )
    told = {
        key.removeprefix(f"{name}."): value for key, value in metadata.items() if key.startswith(f"{name}.")
    }
    missing = [f"metadata {name}.{key}" for key in _REQUIRED if key not in told]
    if _EMBEDDING not in header.tensors:
        missing.append(f"tensor {_EMBEDDING}")
    if missing:
        raise InputError(
            f"{where}: has no {', '.join(missing)}; take a file that llama.cpp converted from a whole model."
        )
    keys = {_KEYS[key]: value for key, value in told.items() if key in _KEYS}
    if odd := [key for key, value in keys.items() if isinstance(value, (bool, str, list, np.ndarray))]:
        raise InputError(
            f"{where}: {odd[0]} is not a number for all layers; only models of equal layers are supported."
        )
    keys.setdefault("num_key_value_heads", keys["num_attention_heads"])
    keys.setdefault("head_dim", int(keys["hidden_size"] // max(1, keys["num_attention_heads"])))
    _check_understood(told, keys["head_dim"], where=f"{where}: {name}")
    keys |= {
        "model_type": name,
        "vocab_size": header.tensors[_EMBEDDING].shape[0],
        # llama.cpp omits an output projection that is the embedding.
        "tie_word_embeddings": _OUTPUT not in header.tensors,
        "bos_token_id": metadata.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": metadata.get("tokenizer.ggml.eos_token_id"),
    }
    config = parse_config(json.dumps(keys).encode(), where=str(where))
    return config if _ROPE_FACTORS not in header.tensors else _with_rope_scaling(config, header)


def _check_understood(told: Mapping[str, Any], head_dim: int, *, where: str) -> None:
    """Raises InputError for a key of the architecture that is not known, or has a value that is not supported."""
    allowed = _WITHOUT_EFFECT | {"attention.value_length": head_dim, "rope.dimension_count": head_dim}
    for key in sorted(told.keys() - _KEYS.keys() - {"vocab_size"}):
        value = told[key]
        if key not in allowed:
            raise InputError(
                f"{where}.{key} is not understood, so this model may not be what is computed here."
            )
        if isinstance(value, np.ndarray) or value != allowed[key]:
            raise InputError(
                f"{where}.{key} is {str(value)[:40]}, but only {allowed[key]} is supported; choose a model with it."
            )


def _with_rope_scaling(config: DecoderConfig, header: GgufHeader) -> DecoderConfig:
    """Finds Llama 3's rope scaling from the factor of each rotation, all that the file holds of it."""
    info = header.tensors[_ROPE_FACTORS]
    if info.shape == (config.head_dim // 2,) and info.quantization.name == "F32":
        factors = FileTensor(info.file, "F32", info.shape, info.offset).rows()
        if np.all(factors == 1):
            return config
        scaled = replace(config, rope_scaling=RopeScaling(factor=float(factors.max()), **_LLAMA3))
        if np.allclose(frequencies(config) / frequencies(scaled), factors, rtol=1e-4):
            return scaled
    raise InputError(
        f"{header.path}: {_ROPE_FACTORS} does not hold Llama 3's scaling of the rotary positions, the only one that is "
        "supported; use this model in the Hugging Face format."
    )


def gguf_tensors(
    header: GgufHeader, config: DecoderConfig, huggingface_names: Iterable[str]
) -> dict[str, FileTensor]:
    """Hugging Face's name of every tensor -> the tensor, yet unread; what has no such name keeps its own.

    Raises InputError for a quantization that the `gguf` library cannot read.
    """
    names = gguf.get_tensor_name_map(_ARCHITECTURES[config.model_type], config.num_hidden_layers)
    named = {names.get_name(name, try_suffixes=(".weight", ".bias")): name for name in huggingface_names}
    interleaved = {}
    if config.model_type == "llama":
        interleaved = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    located: dict[str, FileTensor] = {}
    for name, info in header.tensors.items():
        if name == _ROPE_FACTORS:
            continue
        if not _readable(info):
            raise InputError(
                f"{header.path}: tensor {name} is kept as {info.quantization.name}, which cannot be read here; take "
                "another quantization of this model, such as Q8_0."
            )
        part = name.split(".")[-2] if "." in name else ""
        located[named.get(name, name)] = GgufTensor(
            file=info.file,
            dtype=info.quantization.name if info.quantization.name in _UNQUANTIZED else "F32",
            shape=info.shape,
            offset=info.offset,
            quantization=info.quantization,
            row_bytes=info.row_bytes,
            heads=interleaved.get(part, 0),
        )
    return located


def _readable(info: TensorInfo) -> bool:
    return info.quantization.name in _UNQUANTIZED or (
        len(info.shape) == 2 and _can_dequantize(info.quantization)
    )


@functools.cache
def _can_dequantize(quantization: gguf.GGMLQuantizationType) -> bool:
    """Asks the library, by a block of zeros: it lists types that it cannot read."""
    try:
        gguf.dequantize(np.zeros((1, gguf.GGML_QUANT_SIZES[quantization][1]), np.uint8), quantization)
    except NotImplementedError:
        return False
    return True
