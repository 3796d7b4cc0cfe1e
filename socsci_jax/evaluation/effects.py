"""Do predictions move with the conditions as people do?

A predictor that ignores the treatment can win on every distance between distributions, so effects are judged
on their own.  h and l are human and predicted differences in mean position (0 to 1 on the item's scale).
"""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl

# Below this a difference of means is nothing but rounding.
ZERO = 1e-12


@dataclasses.dataclass(frozen=True)
class Contrasts:
    """Index pairs into the condition means: effect = mean[treated] − mean[reference], all arrays [K].

    `undirected` marks pairs without a control, whose direction is arbitrary.
    """

    treated: np.ndarray
    reference: np.ndarray
    undirected: np.ndarray


def contrasts(group_c: np.ndarray, is_control_c: np.ndarray) -> Contrasts:
    """Each condition against its control where one is known in the group, else all pairs of the group.

    `group_c` [C] numbers the (study, outcome) of each condition mean.
    """
    treated, reference, undirected = [], [], []
    for group in np.unique(group_c):
        members = np.flatnonzero(group_c == group)
        controls = members[is_control_c[members]]
        arms = members[~is_control_c[members]]
        directed = controls.size > 0 and arms.size > 0
        if directed:
            i, j = (side.ravel() for side in np.meshgrid(arms, controls, indexing="ij"))
        else:
            i, j = (members[side] for side in np.triu_indices(members.size, k=1))
        treated.append(i)
        reference.append(j)
        undirected.append(np.full(i.size, not directed))
    if not treated:
        return Contrasts(np.zeros(0, int), np.zeros(0, int), np.zeros(0, bool))
    return Contrasts(np.concatenate(treated), np.concatenate(reference), np.concatenate(undirected))


def sign_agreement(h: np.ndarray, l: np.ndarray) -> np.ndarray:  # noqa: E741
    """1 where both effects have the same sign, 0 where they differ, 1/2 where either is exactly zero."""
    sign_h = np.where(np.abs(h) < ZERO, 0, np.sign(h))
    sign_l = np.where(np.abs(l) < ZERO, 0, np.sign(l))
    return 0.5 + 0.5 * sign_h * sign_l


def moments(x: np.ndarray, y: np.ndarray, *, undirected: np.ndarray | bool = False) -> np.ndarray:
    """Terms [K, 6] whose sums give a correlation: 1, x, y, x², y², xy.

    A pair whose direction is arbitrary counts half in each direction, so its linear terms vanish: the
    correlation does not depend on the order in which conditions are named.
    """
    linear = np.where(undirected, 0.0, 1.0)
    return np.stack([np.ones_like(x), linear * x, linear * y, x * x, y * y, x * y], axis=-1)


def correlation(sums: np.ndarray) -> np.ndarray:
    """Pearson r [...] from sums of `moments` [..., 6]; NaN where either side does not vary."""
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        var_x, var_y = xx / n - (x / n) ** 2, yy / n - (y / n) ** 2
        r = (xy / n - x * y / n**2) / np.sqrt(var_x * var_y)
        # Equal means differ in their last digits: a variance of 1e-30 is none.
        return np.where((n >= 2) & (var_x > ZERO**2) & (var_y > ZERO**2), np.clip(r, -1, 1), np.nan)


def slope_of_human(sums: np.ndarray) -> np.ndarray:
    """Slope of human on predicted, both centered: below 1 the model exaggerates, above 1 it shrinks effects."""
    _, _, _, predicted, _, product = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(predicted > ZERO**2, product / predicted, np.nan)


def spread_ratio(sums: np.ndarray) -> np.ndarray:
    """Standard deviation of predicted over that of human condition means, both centered."""
    _, _, _, predicted, human, _ = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(human > ZERO**2, np.sqrt(predicted / human), np.nan)


def centered(values_c: np.ndarray, group_c: np.ndarray) -> np.ndarray:
    """Values minus the mean of their group; `group_c` [C] holds numbers from 0."""
    size = np.bincount(group_c)
    with np.errstate(invalid="ignore"):
        means = np.bincount(group_c, weights=values_c) / size
    return values_c - means[group_c]


def permutation_null(
    predicted_c: np.ndarray,
    human_c: np.ndarray,
    group_c: np.ndarray,
    *,
    permutations: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Correlations [P] of centered values after shuffling the predictions among the conditions of an outcome.

    What remains is what a model earns that knows the outcomes and nothing of the conditions.
    """
    order = np.argsort(group_c, kind="stable")
    group, predicted, human = group_c[order], predicted_c[order], human_c[order]
    shuffled = np.stack([predicted[np.lexsort((rng.random(group.size), group))] for _ in range(permutations)])
    return correlation(moments(shuffled, np.broadcast_to(human, shuffled.shape)).sum(axis=1))


def recovered_effects(positions: pl.DataFrame, truth: pl.DataFrame) -> float | None:
    """Correlation of predicted effects with known true ones, for data whose truth is known.

    `positions` has item_id, study_id, outcome and `predicted` (mean position, 0 to 1); `truth` has item_id and
    `mean_position`.  Effects are departures from the mean of the (study, outcome).  None where undefined.
    """
    pairs = effects_beside_truth(positions, truth)
    if pairs.is_empty():
        return None
    terms = moments(pairs["predicted"].to_numpy(), pairs["true"].to_numpy())
    r = float(correlation(terms.sum(axis=0)))
    return r if np.isfinite(r) else None


def effects_beside_truth(positions: pl.DataFrame, truth: pl.DataFrame) -> pl.DataFrame:
    """study_id, outcome, `predicted` and `true` of each item, centered within its (study, outcome)."""
    within = ["study_id", "outcome"]
    return (
        positions.join(truth.select("item_id", "mean_position"), on="item_id", maintain_order="left")
        .filter(pl.col("predicted").is_finite())
        .select(
            *within,
            predicted=pl.col("predicted") - pl.col("predicted").mean().over(within),
            true=pl.col("mean_position") - pl.col("mean_position").mean().over(within),
        )
    )
