"""Log-probabilities at target slots: the one thing that training and simulation read from the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.decoder import RematPolicy, project, read_hidden
from socsci_jax.models.modules import with_params

_MODEL_INPUTS = ("prefix_ids", "prefix_length", "branch_ids", "branch_depth", "branch_end", "read")


def read_logits(
    params: Any,
    trees: Mapping[str, jax.Array],
    *,
    config: DecoderConfig,
    compute_dtype: Any,
    remat: RematPolicy = "none",
) -> jax.Array:
    """Logits [G,B,R,V] in float32 of the rows that prompt trees read; arrays as `read_hidden` takes them."""
    model = with_params(config, params)
    inputs = {name: trees[name] for name in _MODEL_INPUTS}
    return project(model, read_hidden(model, **inputs, compute_dtype=compute_dtype, remat=remat))


def slot_log_probs(logits: jax.Array, slot_row: jax.Array, slot_id: jax.Array) -> jax.Array:
    """Log-probability [G,B,A] that each target slot's id has at the row it is predicted from.

    logits[G,B,R,V] of the rows that are read; slot_row[G,B,A] indexes R, slot_id[G,B,A] indexes V.
    """
    normaliser = jax.nn.logsumexp(logits, axis=-1)
    of_branch = jax.vmap(jax.vmap(lambda rows, row, token: rows[row, token]))
    chosen = of_branch(logits, slot_row, slot_id)
    return chosen - jnp.take_along_axis(normaliser, slot_row, axis=-1)


def tree_log_probs(params: Any, trees: Mapping[str, jax.Array], **settings: Any) -> jax.Array:
    """Log-probabilities [G,B,A] of all target slots of a batch of prompt trees; settings as `read_logits`."""
    return slot_log_probs(read_logits(params, trees, **settings), trees["slot_row"], trees["slot_id"])
