"""Which pairs of conditions are compared, and values less the mean of their outcome."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Contrasts:
    """Index pairs into the condition means: effect = mean[treated] − mean[reference], all arrays [K].

    `undirected` marks pairs without a control, whose direction is arbitrary.
    """

    treated: np.ndarray
    reference: np.ndarray
    undirected: np.ndarray


def contrast_pairs(group_c: np.ndarray, is_control_c: np.ndarray) -> Contrasts:
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


def centered(values_c: np.ndarray, group_c: np.ndarray) -> np.ndarray:
    """Values [..., C] minus the mean of their group; `group_c` [C] holds numbers from 0."""
    size = np.bincount(group_c)
    if values_c.ndim == 1:
        with np.errstate(invalid="ignore"):
            means = np.bincount(group_c, weights=values_c) / size
        return values_c - means[group_c]
    member = np.zeros((group_c.size, size.size))
    member[np.arange(group_c.size), group_c] = 1
    return values_c - ((values_c @ member) / size)[..., group_c]


def centered_se2(se2_c: np.ndarray, group_c: np.ndarray) -> np.ndarray:
    """Squared standard errors [C] of means less the mean of their group's k means."""
    k = np.bincount(group_c)[group_c]
    return se2_c * (1 - 2 / k) + np.bincount(group_c, weights=se2_c)[group_c] / k**2
