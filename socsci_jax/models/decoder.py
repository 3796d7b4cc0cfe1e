"""What the decoder computes: hidden states of prompt trees, and logits where they are asked for.

Letters: G trees, P prefix tokens, B branches, S tokens of a branch, N = P + B*S tokens of a tree,
R rows of a branch that are read, D features.
"""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from socsci_jax.models.attention import rows_attention, tree_attention
from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.linear import contract_to_float32
from socsci_jax.models.modules import Attention, Decoder, Layer
from socsci_jax.models.sharding import constrain, per_device

RematPolicy = Literal["none", "matmuls", "layers"]
"""What the forward keeps for the backward: everything; results of linear maps; inputs of layers."""

_TOKENS = ("tree", None, None)
_QUERIES = ("tree", None, "kv_heads", None, None)
_KEYS = ("tree", None, "kv_heads", None)


def read_hidden(
    model: Decoder,
    *,
    prefix_ids: jax.Array,
    prefix_length: jax.Array,
    branch_ids: jax.Array,
    branch_depth: jax.Array,
    branch_end: jax.Array,
    read: jax.Array,
    compute_dtype: Any = jnp.float32,
    remat: RematPolicy = "layers",
) -> jax.Array:
    """Hidden states [G,B,R,D] after the final norm, at the tokens `read` [G,B,R] of each branch.

    prefix_ids [G,P] is padded on the right, prefix_length [G] may be 0. branch_ids [G,B,S] holds each branch
    in depth-first order, branch_depth [G,B,S] how many of its own branch's tokens precede a token (its
    position is prefix_length + depth), branch_end [G,B,S] the first later token that does not descend from
    it, 0 for padding. A token sees the real prefix tokens and, of its branch, each j with j <= i < end[j].
    Under `jax.set_mesh(mesh)` activations are sharded by the table of `sharding.py`.
    """
    p, (g, b, s) = prefix_ids.shape[1], branch_ids.shape
    ids = jnp.concatenate([prefix_ids, branch_ids.reshape(g, b * s)], axis=1)
    branch_position = (prefix_length[:, None, None] + branch_depth).reshape(g, b * s)
    prefix_position = jnp.broadcast_to(jnp.arange(p, dtype=branch_position.dtype), (g, p))
    rope = _rotations(model.config, jnp.concatenate([prefix_position, branch_position], axis=1))
    x = constrain(model.model.embed_tokens.weight[...].astype(compute_dtype)[ids], *_TOKENS)

    graph, layers = nnx.split(model.model.layers)

    def layer(x: jax.Array, params: Any) -> jax.Array:
        return _layer(nnx.merge(graph, params), x, rope, prefix_length, branch_end, config=model.config)

    layer = _rematerialised(layer, remat)

    def step(x: jax.Array, xs: tuple[Any, jax.Array]) -> tuple[jax.Array, None]:
        params, is_last = xs
        return jax.lax.cond(is_last, lambda x, _: x, layer, x, params), None

    # The last layer follows the scan, for it has fewer rows. Passing over it within the scan costs nothing;
    # scanning a slice of all but the last would copy the parameters, and their gradients again.
    count = model.config.num_hidden_layers
    x, _ = jax.lax.scan(step, x, (layers, jnp.arange(count) == count - 1))
    last = nnx.merge(graph, jax.tree.map(lambda w: w[-1], layers))
    x = _last_layer(last, x, rope, prefix_length, branch_end, read, config=model.config)
    return model.model.norm(x).reshape(*read.shape, -1)


def project(model: Decoder, hidden: jax.Array) -> jax.Array:
    """Logits [G,...,V] in float32 of hidden states [G,...,D]."""
    rows = hidden.reshape(hidden.shape[0], -1, hidden.shape[-1])
    if model.lm_head is None:
        logits = contract_to_float32("gnd,vd->gnv", rows, model.model.embed_tokens.weight[...])
    else:
        logits = contract_to_float32("gnd,dv->gnv", rows, model.lm_head.weight[...])
    return constrain(logits, "tree", None, "vocab").reshape(*hidden.shape[:-1], -1)


def _layer(layer, x, rope, prefix_length, end, *, config):
    h = layer.input_layernorm(x)
    q = _queries(layer.self_attn, h, rope, config)
    k, v = _keys_values(layer.self_attn, h, rope, config)
    return _after_attention(layer, x, _tree_by_tree(tree_attention, q, k, v, prefix_length, end))


def _last_layer(layer, x, rope, prefix_length, end, read, *, config):
    """Keys and values of all tokens, but queries, output and MLP [G,B*R,D] only of the rows that are read."""
    g, b, s = end.shape
    p = x.shape[1] - b * s
    rows = (p + jnp.arange(b)[:, None] * s + read).reshape(g, -1, 1)
    h = layer.input_layernorm(x)
    k, v = _keys_values(layer.self_attn, h, rope, config)
    h, x, *rope = (jnp.take_along_axis(a, rows, axis=1) for a in (h, x, *rope))
    q = _queries(layer.self_attn, h, rope, config)
    return _after_attention(layer, x, _tree_by_tree(rows_attention, q, k, v, prefix_length, end, read))


def _tree_by_tree(attention, q, k, v, *tree):
    """Scores outweigh everything else in memory: each device has those of one tree at a time, and keeps none."""

    def one_by_one(*arrays):
        return jax.lax.map(lambda one: jax.checkpoint(attention)(*one), arrays)

    whole_trees = [("tree",) + (None,) * (a.ndim - 1) for a in tree]
    return per_device(one_by_one, inputs=[_QUERIES, _KEYS, _KEYS, *whole_trees], output=_QUERIES)(
        q, k, v, *tree
    )


def _queries(attention: Attention, h, rope, config):
    q = attention.q_proj(h).reshape(*h.shape[:2], config.num_attention_heads, config.head_dim)
    if attention.q_norm is not None:
        q = attention.q_norm(q)
    q = _rotate(q, rope)
    # Query head n reads key-value head n // repeats, as in Hugging Face's order.
    return constrain(q.reshape(*h.shape[:2], config.num_key_value_heads, -1, config.head_dim), *_QUERIES)


def _keys_values(attention: Attention, h, rope, config):
    shape = (*h.shape[:2], config.num_key_value_heads, config.head_dim)
    k, v = attention.k_proj(h).reshape(shape), attention.v_proj(h).reshape(shape)
    if attention.k_norm is not None:
        k = attention.k_norm(k)
    return constrain(_rotate(k, rope), *_KEYS), constrain(v, *_KEYS)


def _after_attention(layer: Layer, x, mixed):
    x = constrain(x + layer.self_attn.o_proj(mixed.reshape(*mixed.shape[:2], -1)), *_TOKENS)
    h = layer.post_attention_layernorm(x)
    gated = jax.nn.silu(layer.mlp.gate_proj(h)) * layer.mlp.up_proj(h)
    gated = constrain(gated, "tree", None, "mlp")
    return constrain(x + layer.mlp.down_proj(gated), *_TOKENS)


def _rotations(config: DecoderConfig, position: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Cosines and sines [G,N,H/2] of the rotary embedding (Su et al. 2021) at each position."""
    angle = position[..., None].astype(jnp.float32) * _frequencies(config)
    return jnp.cos(angle), jnp.sin(angle)


def _frequencies(config: DecoderConfig) -> np.ndarray:
    exponent = np.arange(0, config.head_dim, 2, dtype=np.float32) / config.head_dim
    frequency = (1.0 / config.rope_theta**exponent).astype(np.float32)
    scaling = config.rope_scaling
    if scaling is None:
        return frequency
    # Llama 3.1: slow rotations are slowed by `factor`, fast ones kept, and those between interpolated.
    turns = scaling.original_max_position_embeddings * frequency / (2 * np.pi)
    keep = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    keep = np.clip(keep, 0.0, 1.0)
    return (frequency * (keep + (1 - keep) / scaling.factor)).astype(np.float32)


def _rotate(x: jax.Array, rope: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Rotate the pairs (i, i + H/2) of x [G,N,heads,H]."""
    cos, sin = (angle[:, :, None] for angle in rope)
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    rotated = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return rotated.astype(x.dtype)


def _rematerialised(function, remat: RematPolicy):
    if remat == "none":
        return function
    keep = ("matmul",) if remat == "matmuls" else ()
    return jax.checkpoint(function, policy=jax.checkpoint_policies.save_only_these_names(*keep))
