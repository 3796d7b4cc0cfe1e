"""What the decoder computes: hidden states of rows of prompt trees, where they are read.

Letters: G rows, T tokens of a row, R reads of a row, D features, V vocabulary.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from socsci_jax.models.attention_choice import Heads, TreeAttention, attention_for
from socsci_jax.models.embedding import embed
from socsci_jax.models.modules import Attention, Decoder, Layer
from socsci_jax.models.rotary import rotate, rotations
from socsci_jax.models.sharding import constrain, per_device

RematPolicy = Literal["none", "matmuls", "layers"]
"""What the forward keeps for the backward: everything; results of linear maps and attention; inputs of layers."""

_TOKENS = ("row", None, None)
_QUERIES = ("row", None, "kv_heads", None, None)
_KEYS = ("row", None, "kv_heads", None)


def read_hidden(
    model: Decoder,
    *,
    ids: jax.Array,
    position: jax.Array,
    end: jax.Array,
    read: jax.Array,
    compute_dtype: Any = jnp.float32,
    remat: RematPolicy = "layers",
    unroll: int = 1,
    dropout_key: jax.Array | None = None,
) -> jax.Array:
    """Hidden states [G,R,D] after the final norm, at the tokens `read` [G,R] (ascending) of each row.

    ids [G,T] are rows of prompt trees in depth-first order, position [G,T] how many tokens of its own prompt
    precede a token, end [G,T] the first later token that does not descend from it, 0 for padding: a token sees
    each j with j <= i < end[j].  T and R are multiples of 64.  Under `jax.set_mesh(mesh)` activations are
    sharded by the table of `sharding.py`.  `unroll` layers are compiled one after the other: more take longer to
    compile and may run a few percent faster.  With a `dropout_key` the adapter drops features.
    """
    rope = rotations(model.config, position)
    x = embed(model.model.embed_tokens.weight[...], ids, jnp.dtype(compute_dtype))
    every = jnp.broadcast_to(jnp.arange(end.shape[1], dtype=end.dtype), end.shape)
    attention = attention_for(Heads.of(model.config, compute_dtype))
    all_see, reads_see = (_Seen.of(attention, at, end) for at in (every, read))

    if dropout_key is not None:
        _give_dropout_keys(model, dropout_key)
    graph, layers = nnx.split(model.model.layers)

    def layer(x: jax.Array, layers: Any, number: jax.Array) -> jax.Array:
        return _layer(nnx.merge(graph, _take(layers, number)), x, rope, all_see, config=model.config)

    layer = _rematerialized(layer, remat)

    # The last layer follows the loop, for it has fewer rows.  Every layer is taken from the whole stack by its number:
    # scanning a slice of all but the last would copy the parameters, and their gradients again; scanning all and
    # passing over the last takes a conditional, for which an accelerator waits for the host in every layer.
    last = model.config.num_hidden_layers - 1
    x, _ = jax.lax.scan(
        lambda x, number: (layer(x, layers, number), None),
        x,
        jnp.arange(last),
        unroll=max(1, min(unroll, last)),
    )
    last_layer = nnx.merge(graph, _take(layers, jnp.int32(last)))
    return model.model.norm(_last_layer(last_layer, x, rope, read, reads_see, config=model.config))


def _take(layers: Any, number: jax.Array) -> Any:
    """One layer's weights, named so that no policy keeps them: they are in the stack."""

    def of(stack: jax.Array) -> jax.Array:
        weight = jax.lax.dynamic_index_in_dim(stack, number, keepdims=False)
        # Keys of a dropout are not numbers, and cannot be named.
        is_key = jnp.issubdtype(weight.dtype, jax.dtypes.extended)
        return weight if is_key else checkpoint_name(weight, "weight")

    return jax.tree.map(of, layers)


def _give_dropout_keys(model: Decoder, key: jax.Array) -> None:
    """Every adapted linear map gets a key for each layer, which the scan takes off as it does the weights."""
    adapted = [m for _, m in nnx.iter_modules(model.model.layers) if getattr(m, "adapter", None) is not None]
    for number, linear in enumerate(adapted):
        keys = jax.random.split(jax.random.fold_in(key, number), model.config.num_hidden_layers)
        linear.dropout_key = nnx.data(nnx.Variable(keys))


def unembedding(model: Decoder) -> jax.Array:
    """The output projection [V,D]: a row for each token of the vocabulary."""
    return model.model.embed_tokens.weight[...] if model.lm_head is None else model.lm_head.weight[...].T


def _layer(layer, x, rope, see, *, config):
    h = layer.input_layernorm(x)
    q = _queries(layer.self_attn, h, rope, config)
    k, v = _keys_values(layer.self_attn, h, rope, config)
    return _after_attention(layer, x, see.attend(q, k, v))


def _last_layer(layer, x, rope, read, see, *, config):
    """Keys and values of all tokens, but queries, output and MLP [G,R,D] only of those that are read."""
    h = layer.input_layernorm(x)
    k, v = _keys_values(layer.self_attn, h, rope, config)
    h, x, *rope = (jnp.take_along_axis(a, read[..., None], axis=1) for a in (h, x, *rope))
    q = _queries(layer.self_attn, h, rope, config)
    return _after_attention(layer, x, see.attend(q, k, v))


class _Seen(NamedTuple):
    """Who sees whom, and how attention is computed over it."""

    attention: TreeAttention
    who: Any

    @classmethod
    def of(cls, attention: TreeAttention, at: jax.Array, end: jax.Array) -> _Seen:
        rows = ("row", None)
        return cls(attention, per_device(attention.see, inputs=[rows, rows], output=attention.axes)(at, end))

    def attend(self, q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        inputs = [_QUERIES, _KEYS, _KEYS, self.attention.axes]
        return per_device(self.attention.attend, inputs=inputs, output=_QUERIES)(q, k, v, self.who)


def _queries(attention: Attention, h, rope, config):
    q = attention.q_proj(h).reshape(*h.shape[:2], config.num_attention_heads, config.head_dim)
    if attention.q_norm is not None:
        q = attention.q_norm(q)
    q = rotate(q, rope)
    # Query head n reads key-value head n // repeats, as in Hugging Face's order.
    return constrain(q.reshape(*h.shape[:2], config.num_key_value_heads, -1, config.head_dim), *_QUERIES)


def _keys_values(attention: Attention, h, rope, config):
    shape = (*h.shape[:2], config.num_key_value_heads, config.head_dim)
    k, v = attention.k_proj(h).reshape(shape), attention.v_proj(h).reshape(shape)
    if attention.k_norm is not None:
        k = attention.k_norm(k)
    return constrain(rotate(k, rope), *_KEYS), constrain(v, *_KEYS)


def _after_attention(layer: Layer, x, mixed):
    x = constrain(x + layer.self_attn.o_proj(mixed.reshape(*mixed.shape[:2], -1)), *_TOKENS)
    h = layer.post_attention_layernorm(x)
    gated = jax.nn.silu(layer.mlp.gate_proj(h)) * layer.mlp.up_proj(h)
    gated = constrain(gated, "row", None, "mlp")
    return constrain(x + layer.mlp.down_proj(gated), *_TOKENS)


def _rematerialized(function, remat: RematPolicy):
    if remat == "none":
        return jax.checkpoint(function, policy=_all_but_weights, prevent_cse=False)
    keep = ("matmul", "attention") if remat == "matmuls" else ()
    return jax.checkpoint(function, policy=jax.checkpoint_policies.save_only_these_names(*keep))


def _all_but_weights(primitive: Any, *_: Any, **settings: Any) -> bool:
    """Keeps everything but a layer's weights, and what stands between them and the stack that they are taken from."""
    if primitive.name in ("dynamic_slice", "squeeze", "reshape"):
        return False
    return not (primitive.name == "name" and settings["name"] == "weight")
