"""How many people a prediction is worth: the size of a human sample that is as far from the others as it is."""

from __future__ import annotations

import numpy as np

from socsci_jax.evaluation.metric import Metric
from socsci_jax.evaluation.metrics.distributions import positions

# Sample sizes at which the distance of a human sample is computed.
SIZES = np.geomspace(1, 5000, 160)


def sampling_spread(human_l: np.ndarray, *, people: int, levels_l: np.ndarray) -> float:
    """A in E[W] ≈ A · √(1/n + 1/m): expected W1 between samples of n and m people of one population.

    A = Σ √(2/π · F(1 − F)) · gap, from the normal approximation of the difference of two distribution functions; F(1 − F)
    is estimated without bias from so many `people`.
    """
    if people < 2:
        return float("nan")
    below = np.cumsum(human_l)[:-1]
    variance = np.maximum(below * (1 - below), 0) * people / (people - 1)
    return float(np.sqrt(2 / np.pi * variance) @ np.diff(positions(levels_l)))


def equivalent_sample(distance: float | np.ndarray, curve_g: np.ndarray) -> np.ndarray:
    """The n of SIZES at which a falling curve [..., G] of sampled distances passes `distance` [...]; ends are kept."""
    distance, curve = np.atleast_1d(distance), np.atleast_2d(curve_g)
    logs = np.log(SIZES)
    sizes = [
        np.interp(-d, -row, logs)
        for d, row in zip(distance, np.broadcast_to(curve, (distance.size, SIZES.size)))
    ]
    return np.where(np.isfinite(distance), np.exp(sizes), np.nan)


METRICS = (
    Metric(
        name="equivalent_people",
        title="People that the prediction is worth (by Wasserstein distance)",
        unit="people per item",
        low=1.0,
        high=float(SIZES[-1]),
        better="higher",
        transform="log",
        aggregation="items",
        digits=0,
        citation="–",
        formula="n at which the mean over items of A · √(1/n + 1/N) equals the prediction's mean distance, "
        "A = Σ_l √(2/π · F(1 − F)) · gap",
        trap="Of the distribution of answers only; a prediction blind to the treatment may be worth many people.",
        example="Two levels, F = 0.5: A = 0.399; N large, distance 0.0399: √(1/n) = 0.1, n = 100.",
    ),
)
