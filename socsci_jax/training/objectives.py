"""What is minimized: short pure functions over target slots and over the answers that these make up.

Each gives a sum over a row's parts; `step.py` divides by the summed weights, so that sums over micro-batches and hosts
give the right mean.  Letters: G rows, A target slots, C comparisons, L answers of a comparison.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

import jax
import jax.numpy as jnp

from socsci_jax.models.slots import answer_log_probs
from socsci_jax.training.treatments import Effects, effects_loss

Kind = Literal["sft", "dpo", "soft", "wasserstein", "none"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Objective:
    """Which loss, and the share of `sft` in a mixture with it (1 for sft itself); `beta` is dpo's.

    `effects` is added to it, or stands alone with kind "none".
    """

    kind: Kind = "sft"
    beta: float = 0.1
    sft_share: float = 1.0
    effects: Effects | None = None


def sft(log_probs: jax.Array, weight: jax.Array) -> jax.Array:
    """Supervised fine-tuning: cross entropy, summed over target tokens.

    weight[G,A] counts the responses that a slot stands for; 0 is padding.
    """
    return -jnp.sum(weight * log_probs)


def dpo(answers: jax.Array, reference: jax.Array, weight: jax.Array, *, beta: float) -> jax.Array:
    """Direct preference optimization (Rafailov et al. 2023, eq. 7), summed over pairs.

    answers[G,C,2] and reference[G,C,2]: log-probabilities of the chosen and the rejected answer under the model and
    under the frozen start; weight[G,C] counts the pairs that a comparison stands for.
    """
    margin = beta * jnp.diff(reference - answers, axis=-1)[..., 0]
    return -jnp.sum(weight * jax.nn.log_sigmoid(margin))


def soft(answers: jax.Array, real: jax.Array, target: jax.Array, weight: jax.Array) -> jax.Array:
    """Cross entropy of the distribution over allowed answers with a target distribution, summed over responses.

    answers[G,C,L]: log-probabilities, normalized here over those that are `real`; target[G,C,L] sums to one.
    """
    log_probs = _among(answers, real)
    return -jnp.sum(weight * jnp.sum(jnp.where(real, target * log_probs, 0.0), axis=-1))


def wasserstein(
    answers: jax.Array, real: jax.Array, target: jax.Array, gap: jax.Array, weight: jax.Array
) -> jax.Array:
    """Wasserstein-1 distance of the distribution over ordered levels from a target distribution, summed over responses.

    The area between the cumulative distributions (Vallender 1974), on a scale whose range is 1: gap[G,C,L] is the
    distance from a level to the next.
    """
    probs = jnp.where(real, jnp.exp(_among(answers, real)), 0.0)
    return jnp.sum(weight * jnp.sum(jnp.abs(jnp.cumsum(probs - target, axis=-1)) * gap, axis=-1))


def loss(
    objective: Objective, log_probs: jax.Array, rows: Mapping[str, jax.Array], total: Mapping
) -> jax.Array:
    """This part of the mean loss of a batch, whose summed weights are `total` (of `total_weights`).

    log_probs[G,A] of the target slots, `rows` as in `TreeRows`.
    """
    parts = []
    if objective.kind != "none" and objective.sft_share > 0:
        parts.append(objective.sft_share * sft(log_probs, rows["slot_weight"]) / total["targets"])
    if objective.kind not in ("sft", "none"):
        parts.append((1 - objective.sft_share) * _compared(objective, log_probs, rows) / total["comparisons"])
    if objective.effects is not None:
        answers, real = answer_log_probs(log_probs, rows["answer_path"])
        parts.append(effects_loss(objective.effects, answers, real, rows, total))
    return sum(parts)


def total_weights(batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """Summed weights of a whole batch: target tokens, responses or pairs that are compared, and of contrasts the cells
    and the human answers in them."""
    weights = {"targets": batch["slot_weight"].sum()}
    if "comparison_weight" in batch:
        weights["comparisons"] = batch["comparison_weight"].sum()
    if "contrast_weight" in batch:
        weights["cells"] = batch["contrast_weight"].sum()
        weights["answers"] = (batch["contrast_weight"] * batch["contrast_answers"]).sum()
    return {name: jnp.maximum(weight, 1e-9) for name, weight in weights.items()}


def _compared(objective: Objective, log_probs: jax.Array, rows: Mapping[str, jax.Array]) -> jax.Array:
    answers, real = answer_log_probs(log_probs, rows["answer_path"])
    weight, target = rows["comparison_weight"], rows["answer_target"]
    if objective.kind == "dpo":
        return dpo(answers, rows["answer_reference"], weight, beta=objective.beta)
    if objective.kind == "soft":
        return soft(answers, real, target, weight)
    if objective.kind == "wasserstein":
        return wasserstein(answers, real, target, rows["answer_gap"], weight)
    raise AssertionError(f"objective {objective.kind} compares nothing")


def _among(answers: jax.Array, real: jax.Array) -> jax.Array:
    """Log-probabilities renormalized over the real answers; finite where there is none."""
    kept = jnp.where(real, answers, -1e30)
    return kept - jax.nn.logsumexp(kept, axis=-1, keepdims=True)
