"""A decoder's shape from the `config.json` of a Hugging Face checkpoint, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from socsci_jax import bounds
from socsci_jax.errors import InputError
from socsci_jax.models.config import SIZES, DecoderConfig, ModelType, RopeScaling
from socsci_jax.reading import parse_json_object
from socsci_jax.wording import kind_of

_ARCHITECTURE: dict[ModelType, str] = {
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "llama": "LlamaForCausalLM",
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
        **{key: vars(config)[key] for key in SIZES},
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

    required = [key for key in SIZES if key not in ("head_dim", "num_key_value_heads")]
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
        if type(value) is not int or not 1 <= value <= SIZES[key]:
            raise InputError(
                f"{where}: {key} is {kind_of(value)}; a whole number from 1 to {SIZES[key]:,} is needed"
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
