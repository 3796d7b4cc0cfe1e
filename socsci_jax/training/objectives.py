"""What is minimised: short pure functions over target slots.

Numerator and denominator stay apart, so that sums over micro-batches and hosts give the right mean.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp


def sft(log_probs: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(summed loss, summed weight) of supervised fine-tuning: cross entropy per target token.

    weight[G,A] counts the responses that a slot stands for; 0 is padding.
    """
    return -jnp.sum(weight * log_probs), jnp.sum(weight)
