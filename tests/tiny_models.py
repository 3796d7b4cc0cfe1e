"""Tiny random models of every supported family, and random rows of prompt trees, for the tests of `models`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import transformers

if TYPE_CHECKING:
    import torch

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


def huggingface_model(
    family: str, *, tied: bool = False, seed: int = 0, rope: dict | None = None, **sizes: int
) -> torch.nn.Module:
    """A random `transformers` model; also its biases and norms are random, for they must not be forgotten.

    Skips the test where there is no torch (its CPU build may lack for a Python).
    """
    torch = pytest.importorskip("torch")
    sizes = {**SIZES, "tie_word_embeddings": tied, **sizes}
    if family == "qwen2":
        config = transformers.Qwen2Config(**sizes, rope_parameters=_rope(1e4))
    elif family == "qwen3":
        config = transformers.Qwen3Config(**{"head_dim": 16, **sizes}, rope_parameters=_rope(1e6))
    else:
        config = transformers.LlamaConfig(**sizes, head_dim=16, rope_parameters=rope or LLAMA3_ROPE)
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
    model: torch.nn.Module, folder: Path, *, dtype: torch.dtype | None = None, **settings: object
) -> Path:
    """As `save_pretrained`, in `dtype` (float32 if none is given)."""
    model.to(dtype or pytest.importorskip("torch").float32).save_pretrained(folder, **settings)
    return folder


def _rope(theta: float) -> dict[str, object]:
    return {"rope_type": "default", "rope_theta": theta}


def random_rows(
    rng: np.random.Generator, *, g: int = 2, t: int = 128, vocab: int = 96
) -> dict[str, np.ndarray]:
    """Rows of random trees that each end in padding; every token is read."""
    position, end = np.zeros((g, t), np.int32), np.zeros((g, t), np.int32)
    for row in range(g):
        n = int(rng.integers(t // 2, t))
        for i in range(1, n):
            # Mostly long paths, sometimes a branch, sometimes a new tree.
            deepest = position[row, i - 1] + 1
            position[row, i] = deepest if rng.random() < 0.8 else rng.integers(0, deepest + 1)
        for i in range(n):
            after = np.flatnonzero(position[row, i + 1 : n] <= position[row, i])
            end[row, i] = i + 1 + after[0] if after.size else n
    return {
        "ids": rng.integers(0, vocab, (g, t)).astype(np.int32),
        "position": position,
        "end": end,
        "read": np.broadcast_to(np.arange(t, dtype=np.int32), (g, t)).copy(),
    }


def path_to(rows: dict[str, np.ndarray], g: int, token: int) -> list[int]:
    """Ids of the tokens on the way to `token`, itself last."""
    return [int(rows["ids"][g, j]) for j in range(token + 1) if token < rows["end"][g, j]]


def assert_logits_of_paths(
    logits: np.ndarray, batch: dict[str, np.ndarray], reference: torch.nn.Module, *, every: int
) -> None:
    """The logits [G,T,V] of every so many tokens are those of `transformers` for the path to each, a row of its own."""
    torch = pytest.importorskip("torch")
    places = real_tokens(batch)[::every]
    paths = [path_to(batch, g, token) for g, token in places]
    rows = torch.zeros((len(paths), max(map(len, paths))), dtype=torch.long)
    for row, path in zip(rows, paths, strict=True):
        row[: len(path)] = torch.tensor(path)
    # A decoder sees nothing of the padding that follows.
    with torch.inference_mode():
        every_token = reference(rows).logits.numpy()
    wanted = np.stack([row[len(path) - 1] for row, path in zip(every_token, paths, strict=True)])
    found = np.stack([logits[place] for place in places])
    np.testing.assert_allclose(found, wanted, atol=1e-4, rtol=1e-4)


def real_tokens(rows: dict[str, np.ndarray]) -> list[tuple[int, int]]:
    return [tuple(map(int, place)) for place in np.argwhere(rows["end"] > 0)]
