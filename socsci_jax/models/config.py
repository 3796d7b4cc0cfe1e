"""The shape of a decoder: everything that fixes its parameters and its function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from socsci_jax import bounds
from socsci_jax.errors import InputError
from socsci_jax.wording import kind_of

ModelType = Literal["qwen2", "qwen3", "llama"]


@dataclass(frozen=True, kw_only=True)
class RopeScaling:
    """Llama 3's stretching of the slow rotations (`rope_type: llama3`)."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: int


# Each size with the largest that is taken: nothing may be built from a number that no model has.
SIZES = {
    "vocab_size": bounds.VOCABULARY,
    "hidden_size": bounds.WIDTH,
    "intermediate_size": bounds.WIDTH,
    "num_hidden_layers": bounds.LAYERS,
    "num_attention_heads": bounds.WIDTH,
    "num_key_value_heads": bounds.WIDTH,
    "head_dim": bounds.WIDTH,
    "max_position_embeddings": bounds.CONTEXT,
}

LINEAR_MAPS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    """Low-rank adaptation (Hu et al. 2022) of linear maps: x W + (alpha / rank) (x A) B, with A and B trained alone.

    `dropout` drops features of x on the way to A, in training only.  `base: nf4` holds the weights of the layers'
    linear maps in four bits.
    """

    rank: int
    alpha: float
    targets: tuple[str, ...] = LINEAR_MAPS
    dropout: float = 0.0
    base: Literal["kept", "nf4"] = "kept"

    @property
    def scale(self) -> float:
        return self.alpha / self.rank


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Everything that fixes the parameters and the function of a decoder; names are Hugging Face's.

    `adapter` adds trained low-rank maps; it belongs to a run and stands in no config.json.
    """

    model_type: ModelType
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    max_position_embeddings: int
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10_000.0
    rope_scaling: RopeScaling | None = None
    tie_word_embeddings: bool = False
    initializer_range: float = 0.02
    bos_token_id: int | None = None
    eos_token_id: tuple[int, ...] = ()
    adapter: AdapterConfig | None = None

    def __post_init__(self) -> None:
        if self.model_type not in get_args(ModelType):
            raise InputError(
                f"model config: model_type is {self.model_type!r}, but only {', '.join(get_args(ModelType))} are "
                "supported; choose a model of one of these families"
            )
        for key, largest in SIZES.items():
            if not 1 <= vars(self)[key] <= largest:
                raise InputError(
                    f"model config: {key} is {kind_of(vars(self)[key])}; a size is from 1 to {largest:,}"
                )
        if self.num_attention_heads % self.num_key_value_heads:
            raise InputError(
                f"model config: num_attention_heads is {self.num_attention_heads}, which "
                f"num_key_value_heads {self.num_key_value_heads} does not divide; give a divisor of it"
            )
        if self.head_dim % 2:
            raise InputError(
                f"model config: head_dim is {self.head_dim}, but rotary positions need an even number; "
                "change hidden_size, num_attention_heads or head_dim"
            )

    @property
    def attention_bias(self) -> bool:
        """Whether q, k and v have a bias: Qwen2 alone."""
        return self.model_type == "qwen2"

    @property
    def qk_norm(self) -> bool:
        """Whether each head's queries and keys are normalized: Qwen3 alone."""
        return self.model_type == "qwen3"
