"""Shapes of published models by hub id, so that what a model needs is known without its files or a network.

Source: `config.json` of each repository on the Hugging Face hub.  A run reads that file itself; ids of special tokens,
which no shape depends on, are left to it.
"""

from __future__ import annotations

from socsci_jax.models.config import DecoderConfig


def _qwen2_5(hidden: int, intermediate: int, layers: int, heads: int, kv_heads: int) -> DecoderConfig:
    # Up to 3B the embedding is tied, and the vocabulary padded less.
    small = hidden <= 2048
    return DecoderConfig(
        model_type="qwen2",
        vocab_size=151_936 if small else 152_064,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=hidden // heads,
        max_position_embeddings=32_768,
        rms_norm_eps=1e-6,
        rope_theta=1_000_000.0,
        tie_word_embeddings=small,
    )


def _qwen3(hidden: int, intermediate: int, layers: int, heads: int) -> DecoderConfig:
    return DecoderConfig(
        model_type="qwen3",
        vocab_size=151_936,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=40_960,
        rms_norm_eps=1e-6,
        rope_theta=1_000_000.0,
        # Up to 4B.
        tie_word_embeddings=hidden <= 2560,
    )


CATALOG: dict[str, DecoderConfig] = {
    "Qwen/Qwen2.5-0.5B-Instruct": _qwen2_5(896, 4864, layers=24, heads=14, kv_heads=2),
    "Qwen/Qwen2.5-1.5B-Instruct": _qwen2_5(1536, 8960, layers=28, heads=12, kv_heads=2),
    "Qwen/Qwen2.5-3B-Instruct": _qwen2_5(2048, 11_008, layers=36, heads=16, kv_heads=2),
    "Qwen/Qwen2.5-7B-Instruct": _qwen2_5(3584, 18_944, layers=28, heads=28, kv_heads=4),
    "Qwen/Qwen2.5-14B-Instruct": _qwen2_5(5120, 13_824, layers=48, heads=40, kv_heads=8),
    "Qwen/Qwen2.5-32B-Instruct": _qwen2_5(5120, 27_648, layers=64, heads=40, kv_heads=8),
    "Qwen/Qwen3-0.6B": _qwen3(1024, 3072, layers=28, heads=16),
    "Qwen/Qwen3-1.7B": _qwen3(2048, 6144, layers=28, heads=16),
    "Qwen/Qwen3-4B": _qwen3(2560, 9728, layers=36, heads=32),
    "Qwen/Qwen3-8B": _qwen3(4096, 12_288, layers=36, heads=32),
    "Qwen/Qwen3-14B": _qwen3(5120, 17_408, layers=40, heads=40),
    "meta-llama/Meta-Llama-3-8B-Instruct": DecoderConfig(
        model_type="llama",
        vocab_size=128_256,
        hidden_size=4096,
        intermediate_size=14_336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=8192,
        rms_norm_eps=1e-5,
        rope_theta=500_000.0,
    ),
    "HuggingFaceTB/SmolLM2-135M-Instruct": DecoderConfig(
        model_type="llama",
        vocab_size=49_152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        head_dim=64,
        max_position_embeddings=8192,
        rms_norm_eps=1e-5,
        rope_theta=100_000.0,
        tie_word_embeddings=True,
    ),
}
