"""What a training step computes, by formula; `plan` and the log's MFU go by it."""

from __future__ import annotations

import dataclasses
import math

from socsci_jax.data.trees import RowShape
from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.modules import axis_size, parameter_axes, parameter_count
from socsci_jax.training.recipe import Recipe


def step_flops(recipe: Recipe, config: DecoderConfig, row: RowShape, *, keys: float) -> float:
    """Floating-point operations of one step: those of matrix products, by formula.

    A linear map of N weights costs 2 N a token forward, 2 N for the gradient of its input and, if trained, 2 N for
    that of its weights: the 6 N D of Kaplan et al. 2020 (section 2.1).  Attention costs 4 heads x head_dim a layer for
    each key that a token sees forward, and 10 backward, where scores are computed again (Dao et al. 2022, appendix
    B).  `remat: layers` does attention once more, and all linear maps but the last, whose result no gradient needs.  The
    last layer has queries and MLP only at reads, and logits exist only there; it is not rematerialized.
    """
    remat = recipe.model.remat
    trained = config.adapter is None
    weights = weights_by_map(config)
    keys_values = weights["k_proj"] + weights["v_proj"]
    queries_mlp = sum(weights.values()) - keys_values
    adapters = _adapter_weights(config)
    attention = config.num_attention_heads * config.head_dim * keys
    layers = config.num_hidden_layers - 1

    passes = 2 + (1 if trained else 0)
    again = sum(weights.values()) - weights["down_proj"] + adapters if remat == "layers" else 0
    of_token = layers * 2 * (passes * sum(weights.values()) + 3 * adapters + again)
    of_token += layers * attention * (14 + (4 if remat == "layers" else 0))
    of_token += 2 * passes * keys_values
    of_read = 2 * passes * (queries_mlp + config.hidden_size * config.vocab_size) + 14 * attention
    of_read += 2 * 3 * adapters
    return recipe.batch.rows * (row.tokens * of_token + row.reads * of_read)


def weights_by_map(config: DecoderConfig) -> dict[str, int]:
    """Weights of each linear map of one layer, without adapters: name -> number."""
    return {
        path[-2]: math.prod(axis_size(config, axis) for axis in axes[1:])
        for path, axes in parameter_axes(config).items()
        if path[-1] == "weight" and len(axes) == 3
    }


def _adapter_weights(config: DecoderConfig) -> int:
    """Weights of one layer's adapters."""
    every = parameter_count(config) - parameter_count(dataclasses.replace(config, adapter=None))
    return every // config.num_hidden_layers
