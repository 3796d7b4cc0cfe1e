"""Losses that see treatments: how the arms of an outcome differ, whatever their common level.

Both compare the mean prediction over the people who are asked with what people of the training part answered.  Letters: N
comparisons (a person and an arm) of a micro-batch, L levels.  Sets and cells (arms of a set) are counted within the
micro-batch, so that N bounds both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

import jax
import jax.numpy as jnp

EffectsKind = Literal["contrast", "profiled"]

# The fit of the levels' offsets ends when no level's count is further off than this share, or after so many rounds.
FIT_TOLERANCE, FIT_ROUNDS = 2e-6, 200
# The offset of a level that nobody chose in any arm.
NEVER = -15.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Effects:
    """Which loss, and `weight` (lambda) if it is mixed with another.

    Of `contrast`: `tau` is the standard deviation of what no model is expected to explain, `huber` the standardized
    residual beyond which a cell pulls no harder, `prior` (rho) the strength with which contrasts are held at `prior_slope`
    (beta_0) times those of the start.
    """

    kind: EffectsKind
    weight: float = 1.0
    tau: float = 0.03
    huber: float = 2.0
    prior: float = 0.0
    prior_slope: float = 1.0


def effects_loss(
    effects: Effects, answers: jax.Array, real: jax.Array, rows: Mapping[str, jax.Array], total: Mapping
) -> jax.Array:
    """This micro-batch's part of the mean loss: per cell (contrast), or per human answer (profiled).

    answers[G,C,L]: log-probabilities of the levels, normalized here over those that are `real`; `rows` as in `TreeRows`.
    """
    flat = _flattened(rows)
    log_probs = _normalized(answers, real)
    if effects.kind == "profiled":
        return effects.weight * profiled(log_probs, flat) / total["answers"]
    start = _normalized(rows["answer_reference"], real) if effects.prior else None
    return effects.weight * contrast(log_probs, flat, effects, start=start) / total["cells"]


def contrast(
    log_probs: jax.Array, flat: Mapping[str, jax.Array], effects: Effects, *, start: jax.Array | None = None
) -> jax.Array:
    """Generalized least squares of contrasts, summed over cells.

    log_probs[N,L] over the levels.  Of a cell c with human mean h_c and standard error s_c: v_c = s_c^2 + tau^2, weights
    w ~ 1/v within its set, d_c = mu_c - sum_k w_k mu_k and e_c likewise of h; the loss is
    1/2 sum_c (d1_c - e_c)(d2_c - e_c) / v_c, with d1 and d2 from the two halves of people, so that how people differ in
    an effect is not punished.  A cell's term is scaled down where its standardized residual is beyond `huber`, so that its
    gradient is that of Huber's loss.  `start`[N,L] are the log-probabilities of the start for the prior,
    1/2 rho sum_c (d_c - beta_0 d0_c)^2 / tau^2.
    """
    position = jnp.cumsum(flat["gap"], axis=-1) - flat["gap"]
    cells = _cells(flat)
    precision = cells.exists / (cells.of(flat["error"]) ** 2 + effects.tau**2)

    def centered(values: jax.Array) -> jax.Array:
        """Deviations [N] of cells from their set's weighted mean."""
        sums = cells.of_set(precision * values), cells.of_set(precision)
        return values - (sums[0] / jnp.maximum(sums[1], 1e-30))[cells.set_of_cell]

    def halves(log_p: jax.Array) -> list[jax.Array]:
        means = jnp.sum(jnp.exp(log_p) * position, axis=-1)
        return [centered(cells.of(means, (flat["half"] == half).astype(means.dtype))) for half in (0, 1)]

    human = centered(cells.of(flat["mean"]))
    first, second = halves(log_probs)
    scale = jnp.sqrt(precision)
    residual = jax.lax.stop_gradient(jnp.abs((first + second) / 2 - human) * scale)
    robust = jnp.minimum(1.0, effects.huber / jnp.maximum(residual, 1e-30))
    loss = 0.5 * jnp.sum(robust * precision * (first - human) * (second - human))
    if start is not None:
        before = sum(halves(start)) / 2
        away = cells.exists * ((first + second) / 2 - effects.prior_slope * before)
        loss += 0.5 * effects.prior * jnp.sum(away**2) / effects.tau**2
    return loss


def profiled(log_probs: jax.Array, flat: Mapping[str, jax.Array]) -> jax.Array:
    """Likelihood of the histograms of all arms after common offsets of the levels are fitted, summed over answers.

    log_probs[N,L] over the levels.  With H_c the counts of a cell, p~(l|i) ~ p(l|i) exp(b_l) and P~_c their mean over
    people, the loss is - sum_c sum_l H_c(l) log P~_c(l).  b [set, L] maximizes the same sum, so no gradient flows through it
    (envelope theorem): how often levels are chosen at all is b's doing, and only differences between arms teach.
    """
    cells = _cells(flat)
    counts = cells.of(flat["target"] * flat["answers"][:, None])
    offset = _offsets(jax.lax.stop_gradient(log_probs), counts, cells, flat)
    shifted = jax.nn.log_softmax(log_probs + offset[flat["set"]], axis=-1)
    mean = cells.of(jnp.exp(shifted))
    return -jnp.sum(jnp.where(counts > 0, counts * jnp.log(jnp.maximum(mean, 1e-30)), 0.0))


def _offsets(
    log_probs: jax.Array, counts: jax.Array, cells: _Cells, flat: Mapping[str, jax.Array]
) -> jax.Array:
    """b [set, L] by expectation-maximization: who of a cell's people gave which answers, then one round of iterative
    scaling of the expected counts to those of people.  Never decreases the likelihood (Darroch and Ratcliff 1972)."""
    in_set = cells.of_set(counts)
    chosen = in_set > 0

    def ratio(b: jax.Array) -> jax.Array:
        probs = jnp.exp(jax.nn.log_softmax(log_probs + b[flat["set"]], axis=-1))
        mean = cells.of(probs)
        share = jnp.where(mean > 0, counts / jnp.maximum(mean, 1e-30), 0.0)[flat["cell"]]
        answers = cells.share_of_people(flat["weight"]) * jnp.sum(share * probs, axis=-1)
        expected = jax.ops.segment_sum(answers[:, None] * probs, flat["set"], num_segments=cells.size)
        return jnp.where(chosen, jnp.log(jnp.maximum(in_set, 1e-30) / jnp.maximum(expected, 1e-30)), 0.0)

    def unfinished(state: tuple) -> jax.Array:
        _, step, rounds = state
        return (jnp.max(jnp.abs(step)) > FIT_TOLERANCE) & (rounds < FIT_ROUNDS)

    def improve(state: tuple) -> tuple:
        b, step, rounds = state
        b = b + step
        return b, ratio(b), rounds + 1

    begun = jnp.where(chosen, 0.0, NEVER)
    return jax.lax.while_loop(unfinished, improve, (begun, ratio(begun), 0))[0]


@dataclasses.dataclass(frozen=True, eq=False)
class _Cells:
    """Sums over the people of each cell and over the cells of each set; all arrays have `size` places, most of them empty."""

    size: int
    cell: jax.Array
    weight: jax.Array
    exists: jax.Array
    set_of_cell: jax.Array

    def of(self, values: jax.Array, chosen: jax.Array | None = None) -> jax.Array:
        """Weighted means [size, ...] over the people of each cell, or over those `chosen`[N]; 0 where there are none."""
        weight = self.weight if chosen is None else self.weight * chosen
        each = weight.reshape(-1, *[1] * (values.ndim - 1))
        sums, weights = (
            jax.ops.segment_sum(x, self.cell, num_segments=self.size) for x in (each * values, each)
        )
        return sums / jnp.maximum(weights, 1e-30)

    def of_set(self, values: jax.Array) -> jax.Array:
        """Sums [size, ...] over the cells of each set."""
        return jax.ops.segment_sum(values, self.set_of_cell, num_segments=self.size)

    def share_of_people(self, weight: jax.Array) -> jax.Array:
        """The share [N] of a cell's weight that each person has."""
        whole = jax.ops.segment_sum(weight, self.cell, num_segments=self.size)
        return weight / jnp.maximum(whole[self.cell], 1e-30)


def _cells(flat: Mapping[str, jax.Array]) -> _Cells:
    size = flat["cell"].shape[0]
    weight = flat["weight"]
    exists = jax.ops.segment_sum(weight, flat["cell"], num_segments=size) > 0
    # Padding counts as set 0 of cell 0, and sets are counted from 0.
    set_of_cell = jnp.maximum(jax.ops.segment_max(flat["set"], flat["cell"], num_segments=size), 0)
    return _Cells(size, flat["cell"], weight, exists.astype(weight.dtype), set_of_cell)


def _flattened(rows: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """The arrays of contrasts [G,C,...] as [N,...], by shorter names."""
    names = {
        "cell": "contrast_cell",
        "set": "contrast_set",
        "half": "contrast_half",
        "weight": "contrast_weight",
        "mean": "contrast_mean",
        "error": "contrast_error",
        "answers": "contrast_answers",
        "gap": "answer_gap",
        "target": "answer_target",
    }
    return {short: rows[name].reshape(-1, *rows[name].shape[2:]) for short, name in names.items()}


def _normalized(answers: jax.Array, real: jax.Array) -> jax.Array:
    """Log-probabilities [N,L] over the real levels; of padding -1e30."""
    kept = jnp.where(real, answers, -1e30).reshape(-1, answers.shape[-1])
    return jnp.where(real.reshape(kept.shape), jax.nn.log_softmax(kept, axis=-1), -1e30)
