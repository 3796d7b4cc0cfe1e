"""Sums from which correlations and slopes are computed, so that resampling adds up terms instead of rows."""

from __future__ import annotations

import numpy as np

# Below this a difference of means is nothing but rounding.
ZERO = 1e-12


def moments(x: np.ndarray, y: np.ndarray, *, undirected: np.ndarray | bool = False) -> np.ndarray:
    """Terms [..., K, 6] whose sums give a correlation: 1, x, y, x², y², xy.

    A pair whose direction is arbitrary counts half in each direction, so its linear terms vanish: the
    correlation does not depend on the order in which conditions are named.
    """
    linear = np.where(undirected, 0.0, 1.0)
    return np.stack([np.ones_like(x), linear * x, linear * y, x * x, y * y, x * y], axis=-1)


def moments_with_error(h: np.ndarray, l: np.ndarray, se2: np.ndarray, undirected: np.ndarray) -> np.ndarray:  # noqa: E741
    """Terms [..., K, 7]: `moments` of predicted l and human h, and the squared standard error of h."""
    terms = moments(l, h, undirected=undirected)
    return np.concatenate([terms, np.broadcast_to(se2, h.shape)[..., None]], axis=-1)
