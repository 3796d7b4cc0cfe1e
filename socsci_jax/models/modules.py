"""What the decoder holds: every parameter's name, shape and logical axes. `decoder.py` says what it computes.

Attribute names are Hugging Face's, so that the path of a parameter is its name in a checkpoint. Two things
differ: the layers are stacked on a leading axis, and a linear map is stored [in, out].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.linear import contract, kept
from socsci_jax.models.quantization import BLOCK, NF4, dequantize

# Begins the name of an axis that counts blocks of another one.
BLOCKS = "blocks of "


def axis_size(config: DecoderConfig, axis: str) -> int:
    """Length of a logical axis of the parameters."""
    if axis.startswith(BLOCKS):
        return -(-axis_size(config, axis.removeprefix(BLOCKS)) // BLOCK)
    return {
        "layers": config.num_hidden_layers,
        "vocab": config.vocab_size,
        "embed": config.hidden_size,
        "mlp": config.intermediate_size,
        "heads": config.num_attention_heads * config.head_dim,
        "kv_heads": config.num_key_value_heads * config.head_dim,
        "norm": config.hidden_size,
        "head_norm": config.head_dim,
        "rank": config.adapter.rank if config.adapter else 0,
    }[axis]


class _Maker:
    """Makes parameters of one config: what every constructor below needs."""

    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs, dtype: jnp.dtype) -> None:
        self.config, self.rngs, self.dtype = config, rngs, dtype

    def normal(self, *axes: str) -> nnx.Param:
        values = jax.random.normal(self.rngs.params(), self._shape(axes), self.dtype)
        return nnx.Param(values * jnp.asarray(self.config.initializer_range, self.dtype), axes=axes)

    def uniform(self, limit: float, *axes: str) -> nnx.Param:
        values = jax.random.uniform(self.rngs.params(), self._shape(axes), self.dtype, -limit, limit)
        return nnx.Param(values, axes=axes)

    def constant(self, value: float, *axes: str, dtype: Any = None) -> nnx.Param:
        return nnx.Param(jnp.full(self._shape(axes), value, dtype or self.dtype), axes=axes)

    def _shape(self, axes: tuple[str, ...]) -> tuple[int, ...]:
        return tuple(axis_size(self.config, axis) for axis in axes)


class Linear(nnx.Module):
    """`x @ weight + bias`, weight [in, out]; with an adapter for `name`, `scale * x @ lora_a @ lora_b` more.

    Under an adapter that has its base in four bits, `codes` and `scale` stand for the weight (`quantization.py`).
    """

    def __init__(self, make: _Maker, *axes: str, name: str = "", bias: bool = False) -> None:
        *stack, inputs, outputs = axes
        adapter = make.config.adapter
        self.quantized = bool(name) and adapter is not None and adapter.base == NF4
        if self.quantized:
            self.codes = make.constant(0, *axes, dtype=jnp.uint4)
            self.scale = make.constant(1.0, *stack, BLOCKS + inputs, outputs, dtype=jnp.float32)
        else:
            self.weight = make.normal(*axes)
        self.bias = make.constant(0.0, *stack, outputs) if bias else None
        self.adapter = adapter if adapter is not None and name in adapter.targets else None
        if self.adapter is None:
            return
        # As `peft` begins: A uniform as torch's linear maps are, B zero, so that the start is the base itself.
        limit = axis_size(make.config, inputs) ** -0.5
        self.lora_a = make.uniform(limit, *stack, inputs, "rank")
        self.lora_b = make.constant(0.0, *stack, "rank", outputs)
        self.dropout_key: nnx.Variable | None = None

    def __call__(self, x_gni: jax.Array) -> jax.Array:
        y = contract("gni,io->gno", x_gni, self._weight(x_gni.dtype))
        # Named so that remat may keep exactly these.
        y = kept(y, "matmul")
        if self.bias is not None:
            y = y + self.bias[...].astype(y.dtype)
        return y if self.adapter is None else y + self._adaptation(x_gni)

    def _weight(self, dtype: Any) -> jax.Array:
        if not self.quantized:
            return self.weight[...]
        return dequantize(self.codes[...], self.scale[...], dtype=dtype)

    def _adaptation(self, x_gni: jax.Array) -> jax.Array:
        if self.dropout_key is not None:
            keep = 1 - self.adapter.dropout
            kept = jax.random.bernoulli(self.dropout_key[...], keep, x_gni.shape)
            x_gni = jnp.where(kept, x_gni / keep, 0).astype(x_gni.dtype)
        low = contract("gni,ir->gnr", x_gni, self.lora_a[...])
        return contract("gnr,ro->gno", low, self.lora_b[...]) * jnp.asarray(self.adapter.scale, x_gni.dtype)


class RMSNorm(nnx.Module):
    """Root mean square normalization over the last axis, in float32."""

    def __init__(self, make: _Maker, *axes: str) -> None:
        self.weight = make.constant(1.0, *axes)
        self.eps = make.config.rms_norm_eps

    def __call__(self, x: jax.Array) -> jax.Array:
        wide = x.astype(jnp.float32)
        scale = jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + self.eps)
        return (wide * scale).astype(x.dtype) * self.weight[...].astype(x.dtype)


class Embedding(nnx.Module):
    def __init__(self, make: _Maker) -> None:
        self.weight = make.normal("vocab", "embed")


class Attention(nnx.Module):
    def __init__(self, make: _Maker) -> None:
        bias, norm = make.config.attention_bias, make.config.qk_norm
        self.q_proj = Linear(make, "layers", "embed", "heads", name="q_proj", bias=bias)
        self.k_proj = Linear(make, "layers", "embed", "kv_heads", name="k_proj", bias=bias)
        self.v_proj = Linear(make, "layers", "embed", "kv_heads", name="v_proj", bias=bias)
        self.o_proj = Linear(make, "layers", "heads", "embed", name="o_proj")
        self.q_norm = RMSNorm(make, "layers", "head_norm") if norm else None
        self.k_norm = RMSNorm(make, "layers", "head_norm") if norm else None


class MLP(nnx.Module):
    def __init__(self, make: _Maker) -> None:
        self.gate_proj = Linear(make, "layers", "embed", "mlp", name="gate_proj")
        self.up_proj = Linear(make, "layers", "embed", "mlp", name="up_proj")
        self.down_proj = Linear(make, "layers", "mlp", "embed", name="down_proj")


class Layer(nnx.Module):
    """All layers at once: every parameter has a leading axis `layers`, which a scan takes off."""

    def __init__(self, make: _Maker) -> None:
        self.input_layernorm = RMSNorm(make, "layers", "norm")
        self.self_attn = Attention(make)
        self.post_attention_layernorm = RMSNorm(make, "layers", "norm")
        self.mlp = MLP(make)


class Backbone(nnx.Module):
    def __init__(self, make: _Maker) -> None:
        self.embed_tokens = Embedding(make)
        self.layers = Layer(make)
        self.norm = RMSNorm(make, "norm")


class Decoder(nnx.Module):
    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs, param_dtype: Any = jnp.float32) -> None:
        make = _Maker(config, rngs, jnp.dtype(param_dtype))
        self.config = config
        self.model = Backbone(make)
        self.lm_head = None if config.tie_word_embeddings else Linear(make, "embed", "vocab")


@lru_cache(maxsize=16)
def _abstract(config: DecoderConfig) -> tuple[nnx.GraphDef, nnx.State]:
    return nnx.split(nnx.eval_shape(lambda: Decoder(config, rngs=nnx.Rngs(0))))


def with_params(config: DecoderConfig, params: Any) -> Decoder:
    """The module over a pure pytree of parameters (nested dict of arrays, as `init` and `load_checkpoint` give)."""
    graph, _ = _abstract(config)
    return nnx.merge(graph, params)


def parameter_axes(config: DecoderConfig) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Path of every parameter -> its logical axes; `axis_size` of each gives the shape."""
    _, state = _abstract(config)
    return {path: variable.get_metadata("axes") for path, variable in nnx.to_flat_state(state)}


def parameter_count(config: DecoderConfig) -> int:
    """Number of all weights, an adapter's included."""
    return sum(
        math.prod(axis_size(config, axis) for axis in axes) for axes in parameter_axes(config).values()
    )


def nested(flat: dict[tuple[str, ...], Any]) -> dict[str, Any]:
    """The pytree of parameters that has these leaves at these paths."""
    tree: dict[str, Any] = {}
    for path, leaf in flat.items():
        node = tree
        for name in path[:-1]:
            node = node.setdefault(name, {})
        node[path[-1]] = leaf
    return tree


def flattened(tree: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Path of every leaf of a nested dict -> the leaf; the inverse of `nested`."""
    if not isinstance(tree, dict):
        return {path: tree}
    return {k: v for name, node in tree.items() for k, v in flattened(node, (*path, name)).items()}


def leaf_at(tree: Any, path: tuple[str, ...]) -> Any:
    """The leaf, or the tree below, that stands at a path of a nested dict."""
    for name in path:
        tree = tree[name]
    return tree


def init(
    config: DecoderConfig, *, key: jax.Array, param_dtype: Any = jnp.float32, shardings: Any = None
) -> Any:
    """Fresh parameters, as a nested dict of arrays: normal(0, initializer_range), norms 1, biases 0.

    `shardings` (of `sharding.param_shardings`) has them made where they will live, never in one place.
    """

    return jax.jit(_initializer(config, jnp.dtype(param_dtype)), out_shardings=shardings)(key)


@lru_cache(maxsize=16)
def _initializer(config: DecoderConfig, param_dtype: jnp.dtype) -> Callable[[jax.Array], Any]:
    """The same function for the same model, so that it is compiled once in a process."""

    def make(key: jax.Array) -> Any:
        return nnx.to_pure_dict(nnx.state(Decoder(config, rngs=nnx.Rngs(key), param_dtype=param_dtype)))

    return make
