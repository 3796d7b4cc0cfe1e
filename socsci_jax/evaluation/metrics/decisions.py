"""What it is worth to choose an arm by prediction.

The best arm is chosen from one half of the people, and what arms are worth is read from the other half: chosen from the
same answers, the best arm would look better than it is.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from socsci_jax.evaluation.metric import Metric

# Predictions closer than this are a tie, which is broken by chance.
TIE = 1e-12


@dataclasses.dataclass(frozen=True)
class Choice:
    """One outcome: was the best arm chosen, how much was lost, and what was gained over an arm at random."""

    hit: float
    hit_of_two: float
    regret: float
    gained: float
    gainable: float


def choose(predicted_k: np.ndarray, selecting_kr: np.ndarray, valuing_kr: np.ndarray) -> Choice:
    """Chooses among K arms by `predicted_k`; `selecting_kr` [K, R] says which is best, `valuing_kr` [K, R] what it is worth."""
    chosen_k = (predicted_k >= predicted_k.max() - TIE).astype(float)
    chosen_k /= chosen_k.sum()
    best_r = selecting_kr.argmax(axis=0)
    best_value = np.take_along_axis(valuing_kr, best_r[None], axis=0)[0].mean()
    value, at_random = (chosen_k @ valuing_kr).mean(), valuing_kr.mean()
    return Choice(
        hit=float(chosen_k[best_r].mean()),
        hit_of_two=float(_among_first(predicted_k, 2)[best_r].mean()),
        regret=float(best_value - value),
        gained=float(value - at_random),
        gainable=float(best_value - at_random),
    )


def _among_first(predicted_k: np.ndarray, count: int) -> np.ndarray:
    """Probability [K] that each arm is among the first `count` by prediction, ties broken by chance."""
    gap_kk = predicted_k[None, :] - predicted_k[:, None]
    above, tied = (gap_kk > TIE).sum(axis=1), (np.abs(gap_kk) <= TIE).sum(axis=1)
    return np.clip((count - above) / tied, 0, 1)


METRICS = (
    Metric(
        name="best_arm_hit",
        title="Chosen arm is the best one",
        unit="share of outcomes",
        high=1.0,
        better="higher",
        aggregation="clusters",
        digits=2,
        citation="–",
        formula="mean over outcomes and halves of 1[argmax l = argmax h of one half], ties by chance",
        trap="Even people reach far less than 1 where arms are close: look at the regret. “Best” is the highest mean.",
        example="Three arms, the predicted best is the best in 1 of 2 outcomes: 0.5; by chance 0.33.",
    ),
    Metric(
        name="best_arm_in_two",
        title="Best arm is among the two that are predicted highest",
        unit="share of outcomes",
        high=1.0,
        better="higher",
        aggregation="clusters",
        digits=2,
        citation="–",
        formula="mean over outcomes and halves of 1[argmax h of one half is among the two greatest l], ties by chance",
        trap="Always 1 with two arms, and 2 / K by chance with K arms.",
        example="Three arms, predicted 0.3, 0.2 and 0.1, of which the last is the best in 1 of 4 outcomes: 0.75.",
    ),
    Metric(
        name="decision_regret",
        title="Regret of the chosen arm",
        unit="range",
        low=-1.0,
        high=1.0,
        better="lower",
        aggregation="clusters",
        citation="Manski 2004, Econometrica 72(4)",
        formula="mean of (other half's mean of the best arm − that of the chosen arm)",
        trap="May be negative: the arm that one half calls best is not always the best.",
        example="Best arm 0.60, chosen arm 0.55: 0.05.",
    ),
    Metric(
        name="captured_gain",
        title="Share of the possible gain that is captured",
        unit="share",
        low=-np.inf,
        high=np.inf,
        better="higher",
        aggregation="sums",
        digits=2,
        citation="–",
        formula="Σ (chosen − mean of arms) / Σ (best − mean of arms), on the other half",
        trap="Unstable where arms hardly differ; an arm at random captures 0.",
        example="Best 0.60, mean 0.50, chosen 0.55: 0.05 / 0.10 = 0.5.",
    ),
)
