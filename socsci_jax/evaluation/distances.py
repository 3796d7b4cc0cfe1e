"""Distances between distributions over the levels of one scale.

Distributions are arrays [..., L] of shares over the L levels of an item, never samples: what is given to
`scipy.stats.wasserstein_distance` as values would be wrong by orders of magnitude here.
"""

from __future__ import annotations

import numpy as np


def histogram(codes_n: np.ndarray, *, levels: int) -> np.ndarray:
    """Shares [L] of the level indices `codes_n` [N]; NaN throughout if N is 0."""
    if codes_n.size == 0:
        return np.full(levels, np.nan)
    return np.bincount(codes_n, minlength=levels) / codes_n.size


def positions(levels_l: np.ndarray) -> np.ndarray:
    """Levels rescaled by the scale's own range: 0 at the lowest, 1 at the highest."""
    return (levels_l - levels_l[0]) / (levels_l[-1] - levels_l[0])


def wasserstein_stated(p: np.ndarray, q: np.ndarray, *, levels_l: np.ndarray) -> np.ndarray:
    """Wasserstein-1 on levels rescaled by the scale's own range; p, q [..., L], result [...] in 0 to 1.

    On the line W1 is the area between the two distribution functions (Vallender 1974), which is a sum here
    because both are constant between levels.
    """
    gaps = np.diff(positions(levels_l))
    return np.abs(np.cumsum(p - q, axis=-1)[..., :-1]) @ gaps


def wasserstein_observed(
    model: np.ndarray, human: np.ndarray, *, levels_l: np.ndarray, range_of: np.ndarray | None = None
) -> np.ndarray:
    """Wasserstein-1 with both sides rescaled by the least and greatest level that people of the cell chose.

    `model` [..., L]; `human` [L], or [..., L] with `range_of` [L]: everybody's distribution where `human` is only
    some of them.  The same rescaling for both sides, so that all eights against all twos is not 0; NaN where
    people all gave one answer.  May exceed 1 where the model answers outside the people's range.  This is the
    convention that reproduces the published figures.
    """
    chosen = levels_l[(human if range_of is None else range_of) > 0]
    if chosen.size == 0 or chosen[0] == chosen[-1]:
        return np.full(np.broadcast_shapes(model.shape, human.shape)[:-1], np.nan)
    width = (chosen[-1] - chosen[0]) / (levels_l[-1] - levels_l[0])
    return wasserstein_stated(model, human, levels_l=levels_l) / width


def total_variation(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Half the sum of absolute differences: the share of answers that would have to change."""
    return 0.5 * np.abs(p - q).sum(axis=-1)
