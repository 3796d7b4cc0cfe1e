"""AdamW with warm-up and cosine decay, as the field sets it up."""

from __future__ import annotations

import jax
import optax

from socsci_jax.training.recipe import Optimizer


def learning_rate_schedule(settings: Optimizer, *, total_steps: int) -> optax.Schedule:
    """Linear from 0 over the warm-up, then a half cosine to the final share."""
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=settings.learning_rate,
        # At least one step is left to fall.
        warmup_steps=min(round(settings.warmup_share * total_steps), total_steps - 1),
        decay_steps=total_steps,
        end_value=settings.learning_rate * settings.final_learning_rate_share,
    )


def make_optimizer(settings: Optimizer, *, total_steps: int) -> optax.GradientTransformation:
    return optax.chain(
        optax.clip_by_global_norm(settings.clip_norm),
        optax.adamw(
            learning_rate_schedule(settings, total_steps=total_steps),
            b1=settings.beta1,
            b2=settings.beta2,
            eps=settings.epsilon,
            weight_decay=settings.weight_decay,
            mask=decayed,
        ),
    )


def decayed(params) -> object:
    """True for the weights that decay: all but biases and norms (layers are stacked, so shapes do not tell)."""

    def decays(path: tuple, _) -> bool:
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        return "norm" not in name and "bias" not in name

    return jax.tree_util.tree_map_with_path(decays, params)
