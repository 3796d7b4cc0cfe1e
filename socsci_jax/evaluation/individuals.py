"""How well single answers are predicted: accuracy = 1 − |ŷ − y| / (hi − lo), on the scale's own range."""

from __future__ import annotations

import numpy as np

from socsci_jax.evaluation.distances import positions


def draw_accuracy(probs_nl: np.ndarray, codes_n: np.ndarray, *, levels_l: np.ndarray) -> np.ndarray:
    """Expected accuracy [N] of one draw from each row of `probs_nl` [N or 1, L]: exact, nothing is sampled.

    `codes_n` [N] are the level indices of the answers.
    """
    at = positions(levels_l)
    return 1 - (probs_nl * np.abs(at[None, :] - at[codes_n][:, None])).sum(axis=1)


def median_accuracy(probs_nl: np.ndarray, codes_n: np.ndarray, *, levels_l: np.ndarray) -> np.ndarray:
    """Accuracy [N] of answering the median of each row: the best single guess under absolute error."""
    at = positions(levels_l)
    return 1 - np.abs(at[median_codes(probs_nl)] - at[codes_n])


def median_codes(probs_nl: np.ndarray) -> np.ndarray:
    """Index of the lower median of each row: the first level at which half of the mass is reached."""
    # Half of a mass that was summed in floating point: 0.1 × 5 must count as half.
    return np.argmax(np.cumsum(probs_nl, axis=-1) >= 0.5 - 1e-9, axis=-1)
