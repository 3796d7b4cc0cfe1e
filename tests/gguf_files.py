"""GGUF files written with the `gguf` library, as llama.cpp's converter writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np

if TYPE_CHECKING:
    import torch

ARCHITECTURES = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
}


def write_gguf(
    path: Path,
    model: torch.nn.Module,
    *,
    quantization: str = "F32",
    metadata: Mapping[str, Any] | None = None,
    extra_tensors: Mapping[str, np.ndarray] | None = None,
    tokenizer: Path | None = None,
    pre: str = "",
) -> Path:
    """Writes a `transformers` model, matrices in `quantization`, norms and biases in float32.

    `tokenizer` is a folder with a byte-level tokenizer; `metadata` adds to the metadata or replaces them.
    """
    config = model.config
    writer = gguf.GGUFWriter(path, config.model_type)
    names = gguf.get_tensor_name_map(ARCHITECTURES[config.model_type], config.num_hidden_layers)
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    facts = {
        "block_count": config.num_hidden_layers,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": head_dim,
        "attention.value_length": head_dim,
        "attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
        "rope.freq_base": float(config.rope_parameters["rope_theta"]),
        "rope.dimension_count": head_dim,
        "vocab_size": config.vocab_size,
    }
    facts = {f"{config.model_type}.{key}": value for key, value in facts.items()}
    facts |= {"tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2}
    if tokenizer is not None:
        facts |= tokenizer_metadata(tokenizer, pre=pre)
    for key, value in (facts | dict(metadata or {})).items():
        _add(writer, key, value)
    for name, parameter in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        values = parameter.float().numpy()
        if config.model_type == "llama" and "q_proj" in name:
            values = interleaved(values, config.num_attention_heads)
        if config.model_type == "llama" and "k_proj" in name:
            values = interleaved(values, config.num_key_value_heads)
        kind = gguf.GGMLQuantizationType[quantization if values.ndim == 2 else "F32"]
        stored = names.get_name(name, try_suffixes=(".weight", ".bias"))
        writer.add_tensor(stored, gguf.quantize(values, kind), raw_dtype=kind)
    for name, values in (extra_tensors or {}).items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows in the order in which llama.cpp keeps Llama's queries and keys."""
    return weight.reshape(heads, 2, -1, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def tokenizer_metadata(folder: Path, *, pre: str) -> dict[str, Any]:
    """What llama.cpp's converter makes of a folder's byte-level tokenizer, padding the vocabulary by an unused token."""
    config = json.loads((folder / "tokenizer_config.json").read_text())
    if (folder / "tokenizer.json").is_file():
        content = json.loads((folder / "tokenizer.json").read_text())
        vocabulary, merges = content["model"]["vocab"], content["model"]["merges"]
        added = {token["id"]: token for token in content["added_tokens"]}
    else:
        vocabulary = json.loads((folder / "vocab.json").read_text())
        merges = [
            m for m in (folder / "merges.txt").read_text().splitlines() if m and not m.startswith("#version")
        ]
        added = {int(i): {"special": True, **token} for i, token in config["added_tokens_decoder"].items()}
    if (folder / "chat_template.jinja").is_file():
        config["chat_template"] = (folder / "chat_template.jinja").read_text()
    by_id = {i: token for token, i in vocabulary.items()}
    by_id |= {i: token["content"] for i, token in added.items()}
    tokens = [by_id.get(i, f"[PAD{i}]") for i in range(max(by_id) + 2)]
    control = {i: 3 if token["special"] else 4 for i, token in added.items()}
    kinds = [control.get(i, 1 if i in by_id else 5) for i in range(len(tokens))]
    ids = {token: i for i, token in by_id.items()}
    special = {}
    for name, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding")):
        token = config.get(f"{name}_token")
        token = token["content"] if isinstance(token, dict) else token
        if token in ids:
            special[f"tokenizer.ggml.{key}_token_id"] = ids[token]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": [m if isinstance(m, str) else " ".join(m) for m in merges],
        **({"tokenizer.chat_template": config["chat_template"]} if config.get("chat_template") else {}),
        **special,
    }


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    kinds = {
        bool: gguf.GGUFValueType.BOOL,
        int: gguf.GGUFValueType.UINT32,
        float: gguf.GGUFValueType.FLOAT32,
        str: gguf.GGUFValueType.STRING,
        list: gguf.GGUFValueType.ARRAY,
    }
    if value is not None:
        writer.add_key_value(key, value, kinds[type(value)])
