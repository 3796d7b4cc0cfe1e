"""How well the differences between the arms of outcomes are predicted: metrics that a checkpoint may be chosen by."""

from __future__ import annotations

import numpy as np

# Standard deviation that is added to that of people's means within an outcome, so that outcomes without effects do not
# rule the mean.
SMOOTHING = 0.02


def effect_metrics(predicted: np.ndarray, human: np.ndarray, outcome: np.ndarray) -> dict[str, float]:
    """`effect_r` and `effect_rmse` of arms' means [n] on the scale's range from 0 to 1, each of its `outcome`[n].

    Both sides are centered within outcomes.  effect_r is their correlation, each outcome weighted by 1 / (variance of
    people's means + 0.02^2); effect_rmse the root mean square error over that of predicting no effect at all, so that below
    1 is better than that.  Nothing, if no outcome has two arms or people's means do not differ.
    """
    of, count = np.unique(outcome, return_inverse=True, return_counts=True)[1:]
    several = count[of] > 1
    if not several.any():
        return {}
    p, h, of = predicted[several], human[several], of[several]

    def centered(x: np.ndarray) -> np.ndarray:
        return x - (np.bincount(of, x) / np.maximum(np.bincount(of), 1))[of]

    p, h = centered(p), centered(h)
    variance = np.bincount(of, h**2) / np.maximum(np.bincount(of), 1)
    weight = 1 / (variance[of] + SMOOTHING**2)
    spread = (weight @ p**2) * (weight @ h**2)
    if not h.any():
        return {}
    return {
        "effect_r": float(weight @ (p * h) / np.sqrt(spread)) if spread > 0 else 0.0,
        "effect_rmse": float(np.sqrt(((p - h) ** 2).mean() / (h**2).mean())),
    }
