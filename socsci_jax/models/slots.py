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

_MODEL_INPUTS = ("ids", "position", "end", "read")

# Logits that exist at a time, per device: 256 MB in float32.
LOGITS_AT_A_TIME = 1 << 26


def tree_log_probs(
    params: Any,
    rows: Mapping[str, jax.Array],
    *,
    config: DecoderConfig,
    compute_dtype: Any,
    remat: RematPolicy = "none",
    unroll: int = 1,
    dropout_key: jax.Array | None = None,
) -> jax.Array:
    """Log-probabilities [G,A] of all target slots; arrays as in `TreeRows`, settings as `read_hidden` takes them."""
    settings = {"compute_dtype": compute_dtype, "remat": remat, "unroll": unroll, "dropout_key": dropout_key}
    hidden, weight = _read(params, rows, config=config, **settings)
    return slot_log_probs(hidden, weight, rows["slot_read"], rows["slot_id"])


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


def slot_log_probs(
    hidden: jax.Array, weight: jax.Array, slot_read: jax.Array, slot_id: jax.Array
) -> jax.Array:
    """Log-probability [G,A] that each target slot's id has at the read it is predicted from.

    hidden[G,R,D] of the reads; weight[V,D]; slot_read[G,A] indexes R, slot_id[G,A] indexes V.  A slot's own logit
    takes one row of the vocabulary; all rows are needed only for the normalizer of each read.
    """
    at_slot = jnp.take_along_axis(hidden, slot_read[..., None], axis=1)
    of_slot = weight[slot_id].astype(hidden.dtype)
    chosen = jnp.sum(at_slot.astype(jnp.float32) * of_slot.astype(jnp.float32), axis=-1)
    return chosen - jnp.take_along_axis(log_normalizer(hidden, weight), slot_read, axis=-1)


def answer_log_probs(log_probs: jax.Array, path: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Log-probabilities of whole answers [G,...] from those of target slots [G,A], and which answers are real.

    path[G,...,P] are the slots of each answer, padded with -1; an answer of nothing but padding is none, and gets 0.
    """
    g = path.shape[0]
    padded = jnp.pad(log_probs, ((0, 0), (0, 1)))
    # A negative index would count from the end: what it finds there is the padding.
    found = jnp.take_along_axis(padded, jnp.where(path < 0, log_probs.shape[1], path).reshape(g, -1), axis=1)
    return found.reshape(path.shape).sum(-1), path[..., 0] >= 0


def log_normalizer(hidden: jax.Array, weight: jax.Array) -> jax.Array:
    """Log of the sum over the vocabulary of exp(logit) [G,R], in pieces of the reads if there are many logits."""
    g, r, d = hidden.shape
    pieces = 1
    while g * r // pieces * weight.shape[0] > LOGITS_AT_A_TIME and r % (2 * pieces) == 0:
        pieces *= 2

    def of_piece(piece: jax.Array) -> jax.Array:
        return jax.nn.logsumexp(_logits(piece, weight), axis=-1)

    if pieces == 1:
        return of_piece(hidden)
    # Computed again in the backward, so that no more than one piece's logits ever exist.
    cut = hidden.reshape(g, pieces, -1, d).swapaxes(0, 1)
    return jax.lax.map(jax.checkpoint(of_piece), cut).swapaxes(0, 1).reshape(g, r)


def _read(params, rows, *, config, **settings) -> tuple[jax.Array, jax.Array]:
    model = with_params(config, params)
    hidden = read_hidden(model, **{name: rows[name] for name in _MODEL_INPUTS}, **settings)
    return hidden, unembedding(model)


def _logits(hidden: jax.Array, weight: jax.Array) -> jax.Array:
    return constrain(contract_to_float32("gnd,vd->gnv", hidden, weight), "row", None, "vocab")
