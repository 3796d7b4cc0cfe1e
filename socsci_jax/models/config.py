"""The shape of a decoder, and its translation from and to Hugging Face's `config.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from socsci_jax import bounds
from socsci_jax.errors import InputError
from socsci_jax.reading import parse_json_object
from socsci_jax.wording import kind_of

ModelType = Literal["qwen2", "qwen3", "llama"]
_ARCHITECTURE: dict[ModelType, str] = {
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "llama": "LlamaForCausalLM",
}


@dataclass(frozen=True, kw_only=True)
class RopeScaling:
    """Llama 3's stretching of the slow rotations (`rope_type: llama3`)."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: int


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
                f"model config: model_type is {self.model_type!r}, but only {', '.join(_ARCHITECTURE)} are "
                "supported; choose a model of one of these families"
            )
        for key, largest in _SIZES.items():
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


# Each size with the largest that is taken: nothing may be built from a number that no model has.
_SIZES = {
    "vocab_size": bounds.VOCABULARY,
    "hidden_size": bounds.WIDTH,
    "intermediate_size": bounds.WIDTH,
    "num_hidden_layers": bounds.LAYERS,
    "num_attention_heads": bounds.WIDTH,
    "num_key_value_heads": bounds.WIDTH,
    "head_dim": bounds.WIDTH,
    "max_position_embeddings": bounds.CONTEXT,
}

# Keys whose every value but these would change the function computed here. An absent key is fine.
_ONLY_SUPPORTED: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("silu",),
    "use_sliding_window": (False, None),
    "attention_bias": (False, None),
    "mlp_bias": (False, None),
    "quantization_config": (None,),
    "partial_rotary_factor": (1.0, None),
    "num_experts": (0, None),
    "num_local_experts": (0, None),
}


def from_huggingface(source: Mapping[str, Any] | Path | str) -> DecoderConfig:
    """Read a `config.json` (a path to it, to its folder, or its parsed content).

    Both spellings of the rotary settings are read: `rope_theta` with `rope_scaling`, and the newer
    `rope_parameters`. Raises InputError for anything that this decoder would compute differently.
    """
    if isinstance(source, Mapping):
        return _from_keys(source, where="config.json")
    path = Path(source)
    if path.is_dir():
        path = path / "config.json"
    return parse_config(_read(path), where=str(path))


def parse_config(content: bytes, *, where: str) -> DecoderConfig:
    """Read the bytes of a `config.json`; `where` names it in errors."""
    keys = parse_json_object(content, where=where, hint="copy the file again from its source")
    return _from_keys(keys, where=where)


def to_huggingface(config: DecoderConfig, *, dtype: str = "float32") -> dict[str, Any]:
    """Content of the `config.json` with which `transformers` loads this model (`dtype` of its tensors)."""
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": config.rope_theta}
    if config.rope_scaling is not None:
        rope |= {"rope_type": "llama3", **vars(config.rope_scaling)}
    eos = config.eos_token_id
    return {
        "architectures": [_ARCHITECTURE[config.model_type]],
        "model_type": config.model_type,
        **{key: vars(config)[key] for key in _SIZES},
        "hidden_act": "silu",
        "rms_norm_eps": config.rms_norm_eps,
        "rope_parameters": rope,
        # Read by transformers before version 5, which ignores `rope_parameters`.
        "rope_theta": config.rope_theta,
        **({"rope_scaling": rope} if config.rope_scaling is not None else {}),
        "tie_word_embeddings": config.tie_word_embeddings,
        "initializer_range": config.initializer_range,
        "bos_token_id": config.bos_token_id,
        "eos_token_id": list(eos) if len(eos) > 1 else (eos[0] if eos else None),
        "dtype": dtype,
        "torch_dtype": dtype,
    }


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); give a folder that holds a model's config.json"
        ) from None


def _from_keys(keys: Mapping[str, Any], *, where: str) -> DecoderConfig:
    model_type = keys.get("model_type")
    if not isinstance(model_type, str) or model_type not in _ARCHITECTURE:
        raise InputError(
            f"{where}: model_type is {kind_of(model_type)}, but only {', '.join(_ARCHITECTURE)} are supported; "
            "choose a model of one of these families"
        )
    for key, allowed in _ONLY_SUPPORTED.items():
        if key in keys and keys[key] not in allowed:
            raise InputError(
                f"{where}: {key} is {kind_of(keys[key])}, but for {model_type} only {allowed[0]!r} is supported; "
                "choose a checkpoint without it"
            )
    layer_types = keys.get("layer_types") or []
    if not isinstance(layer_types, list) or any(kind != "full_attention" for kind in layer_types):
        raise InputError(
            f"{where}: layer_types is {str(layer_types)[:80]}, but only full_attention is "
            "supported; choose a checkpoint without sliding windows"
        )

    required = [key for key in _SIZES if key not in ("head_dim", "num_key_value_heads")]
    if model_type != "llama":
        required.append("num_key_value_heads")
    missing = [key for key in required if key not in keys]
    if missing:
        raise InputError(f"{where}: has no {', '.join(missing)}; copy the complete file from its source")
    sizes = {key: keys[key] for key in required}
    sizes.setdefault("num_key_value_heads", keys.get("num_key_value_heads") or sizes["num_attention_heads"])
    # Qwen3's own default is 128, whatever the hidden size; the others divide the hidden size.
    divided = 128 if model_type == "qwen3" else _divide(sizes, where=where)
    sizes["head_dim"] = keys.get("head_dim") or divided
    for key, value in sizes.items():
        if type(value) is not int or not 1 <= value <= _SIZES[key]:
            raise InputError(
                f"{where}: {key} is {kind_of(value)}; a whole number from 1 to {_SIZES[key]:,} is needed"
            )

    theta, scaling = _rotary(keys, where=where)
    tied = keys.get("tie_word_embeddings", False)
    if not isinstance(tied, bool):
        raise InputError(f"{where}: tie_word_embeddings is {kind_of(tied)}; true or false is needed")
    bos = keys.get("bos_token_id")
    eos = keys.get("eos_token_id")
    eos = [] if eos is None else eos if isinstance(eos, list) else [eos]
    for key, ids in (("bos_token_id", [] if bos is None else [bos]), ("eos_token_id", eos)):
        for token_id in ids:
            if type(token_id) is not int or not -1 <= token_id < bounds.VOCABULARY:
                raise InputError(f"{where}: {key} holds {kind_of(token_id)}; a token's id is needed")
    return DecoderConfig(
        model_type=model_type,
        **sizes,
        rms_norm_eps=_positive(keys.get("rms_norm_eps", 1e-6), "rms_norm_eps", where=where),
        rope_theta=theta,
        rope_scaling=scaling,
        tie_word_embeddings=tied,
        bos_token_id=bos,
        eos_token_id=tuple(eos),
    )


def _divide(sizes: Mapping[str, int], *, where: str) -> int:
    hidden, heads = sizes["hidden_size"], sizes["num_attention_heads"]
    if type(hidden) is not int or type(heads) is not int or heads < 1:
        raise InputError(
            f"{where}: hidden_size is {kind_of(hidden)} and num_attention_heads {kind_of(heads)}; whole numbers of at "
            "least 1 are needed"
        )
    return hidden // heads


def _rotary(keys: Mapping[str, Any], *, where: str) -> tuple[float, RopeScaling | None]:
    name = "rope_parameters" if keys.get("rope_parameters") else "rope_scaling"
    rope = keys.get(name) or {}
    if not isinstance(rope, dict):
        raise InputError(f"{where}: {name} is {kind_of(rope)}; a mapping is needed")
    theta = rope.get("rope_theta", keys.get("rope_theta", 10_000.0))
    theta = _positive(theta, "rope_theta", where=where)
    # `type` is the older spelling of `rope_type`.
    kind = rope.get("rope_type", rope.get("type", "default"))
    if "full_attention" in rope or kind not in ("default", "llama3"):
        raise InputError(
            f"{where}: {name} is of type {kind_of(kind)}, but only default and llama3 are supported; choose a "
            "checkpoint without it, or remove it if you stay within the original context length"
        )
    if rope.get("partial_rotary_factor", 1.0) != 1.0:
        raise InputError(
            f"{where}: {name}.partial_rotary_factor is {rope['partial_rotary_factor']!r}, but only 1.0 is "
            "supported; choose a checkpoint without it"
        )
    if kind == "default":
        return theta, None
    wanted = RopeScaling.__dataclass_fields__
    missing = [key for key in wanted if key not in rope]
    if missing:
        raise InputError(
            f"{where}: {name} has no {', '.join(missing)}; copy the complete file from its source"
        )
    settings = {key: _positive(rope[key], f"{name}.{key}", where=where) for key in wanted}
    settings["original_max_position_embeddings"] = int(settings["original_max_position_embeddings"])
    if not settings["low_freq_factor"] < settings["high_freq_factor"]:
        raise InputError(
            f"{where}: {name}.low_freq_factor is not below its high_freq_factor; copy the file again"
        )
    return theta, RopeScaling(**settings)


def _positive(value: object, key: str, *, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e15:
        raise InputError(f"{where}: {key} is {kind_of(value)}; a number above 0 is needed")
    return float(value)
