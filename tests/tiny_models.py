"""Tiny random models of every supported family, and random prompt trees, for the tests of `models`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import transformers

LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    # So short that the tiny head dimension has slow, middle and fast rotations.
    "original_max_position_embeddings": 64,
}
SIZES = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def huggingface_model(family: str, *, tied: bool = False, seed: int = 0) -> torch.nn.Module:
    """A random `transformers` model; also its biases and norms are random, for they must not be forgotten."""
    sizes = {**SIZES, "tie_word_embeddings": tied}
    if family == "qwen2":
        config = transformers.Qwen2Config(**sizes, rope_parameters=_rope(1e4))
    elif family == "qwen3":
        config = transformers.Qwen3Config(**sizes, head_dim=16, rope_parameters=_rope(1e6))
    else:
        config = transformers.LlamaConfig(**sizes, head_dim=16, rope_parameters=LLAMA3_ROPE)
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.uniform_(0.5, 1.5)
            else:
                parameter.normal_(0.0, 0.2)
    return model


def save(
    model: torch.nn.Module, folder: Path, *, dtype: torch.dtype = torch.float32, **settings: object
) -> Path:
    """As `save_pretrained`, in `dtype`."""
    model.to(dtype).save_pretrained(folder, **settings)
    return folder


def _rope(theta: float) -> dict[str, object]:
    return {"rope_type": "default", "rope_theta": theta}


def random_trees(
    rng: np.random.Generator, *, g: int = 2, p: int = 6, b: int = 3, s: int = 8, vocab: int = 96
) -> dict[str, np.ndarray]:
    """A batch in which every branch is a random tree (the first of each prompt tree linear), every row read."""
    depth, end = np.zeros((g, b, s), np.int32), np.zeros((g, b, s), np.int32)
    for i, j in np.ndindex(g, b):
        n = int(rng.integers(1, s + 1))
        for t in range(1, n):
            deepest = depth[i, j, t - 1] + 1
            depth[i, j, t] = deepest if j == 0 else rng.integers(0, deepest + 1)
        for t in range(n):
            after = np.flatnonzero(depth[i, j, t + 1 : n] <= depth[i, j, t])
            end[i, j, t] = t + 1 + after[0] if after.size else n
    prefix_length = rng.integers(0, p + 1, g).astype(np.int32)
    return {
        "prefix_ids": rng.integers(0, vocab, (g, p)).astype(np.int32),
        "prefix_length": prefix_length,
        "branch_ids": rng.integers(0, vocab, (g, b, s)).astype(np.int32),
        "branch_depth": depth,
        "branch_end": end,
        "read": np.broadcast_to(np.arange(s, dtype=np.int32), (g, b, s)).copy(),
    }


def path_to(batch: dict[str, np.ndarray], g: int, b: int, token: int) -> list[int]:
    """Ids of the branch's tokens on the way to `token`, itself last."""
    end = batch["branch_end"][g, b]
    return [int(batch["branch_ids"][g, b, j]) for j in range(token + 1) if token < end[j]]


def real_rows(batch: dict[str, np.ndarray]) -> list[tuple[int, int, int]]:
    return [tuple(map(int, row)) for row in np.argwhere(batch["branch_end"] > 0)]
