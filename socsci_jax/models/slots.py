"""Log-probabilities at target slots: the one thing that training and simulation read from the model.

Letters: G rows, R reads of a row, A target slots of a row, D features, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.decoder import RematPolicy, read_hidden, unembedding
from socsci_jax.models.linear import contract_to_float32
from socsci_jax.models.modules import with_params
from socsci_jax.models.sharding import constrain
from socsci_jax.models.vocabulary import LEAST_LOGITS, slot_log_probs

_MODEL_INPUTS = ("ids", "position", "end", "read")


def tree_log_probs(
    params: Any,
    rows: Mapping[str, jax.Array],
    *,
    config: DecoderConfig,
    compute_dtype: Any,
    remat: RematPolicy = "none",
    unroll: int = 1,
    dropout_key: jax.Array | None = None,
    logits_at_a_time: int = LEAST_LOGITS,
) -> jax.Array:
    """Log-probabilities [G,A] of all target slots; arrays as in `TreeRows`, settings as `read_hidden` takes them.

    `logits_at_a_time` bounds the logits that a device holds where many tokens are read.
    """
    settings = {"compute_dtype": compute_dtype, "remat": remat, "unroll": unroll, "dropout_key": dropout_key}
    hidden, weight = _read(params, rows, config=config, **settings)
    return slot_log_probs(hidden, weight, rows["slot_read"], rows["slot_id"], logits_at_a_time)


def read_logits(
    params: Any,
    rows: Mapping[str, jax.Array],
    *,
    config: DecoderConfig,
    compute_dtype: Any,
    dropout_key: jax.Array | None = None,
) -> jax.Array:
    """Logits [G,R,V] in float32 at every read."""
    settings = {"compute_dtype": compute_dtype, "remat": "none", "dropout_key": dropout_key}
    hidden, weight = _read(params, rows, config=config, **settings)
    return _logits(hidden, weight)


def read_states(
    params: Any, rows: Mapping[str, jax.Array], *, config: DecoderConfig, compute_dtype: Any
) -> jax.Array:
    """Hidden states [G,R,D] in float32 after the final norm, at every read."""
    hidden, _ = _read(params, rows, config=config, compute_dtype=compute_dtype, remat="none")
    return hidden.astype(jnp.float32)


def answer_log_probs(log_probs: jax.Array, path: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Log-probabilities of whole answers [G,...] from those of target slots [G,A], and which answers are real.

    path[G,...,P] are the slots of each answer, padded with -1; an answer of nothing but padding is none, and gets 0.
    """
    g = path.shape[0]
    padded = jnp.pad(log_probs, ((0, 0), (0, 1)))
    # A negative index would count from the end: what it finds there is the padding.
    of_slots = jnp.take_along_axis(
        padded, jnp.where(path < 0, log_probs.shape[1], path).reshape(g, -1), axis=1
    )
    return of_slots.reshape(path.shape).sum(-1), path[..., 0] >= 0


def _read(params, rows, *, config, **settings) -> tuple[jax.Array, jax.Array]:
    model = with_params(config, params)
    hidden = read_hidden(model, **{name: rows[name] for name in _MODEL_INPUTS}, **settings)
    return hidden, unembedding(model)


def _logits(hidden: jax.Array, weight: jax.Array) -> jax.Array:
    return constrain(contract_to_float32("gnd,vd->gnv", hidden, weight), "row", None, "vocab")
