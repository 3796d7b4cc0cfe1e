"""How rational a player is, exactly, from probabilities of what it does and of what it believes.

A options of the player, B of the other one.  Nothing is sampled: all four measures are functions of probabilities.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from socsci_jax.errors import InputError
from socsci_jax.wording import counted

# Payoffs that differ by less are equal: both options are best.
TIE = 1e-9


@dataclasses.dataclass(frozen=True)
class Rationality:
    """`rational`: probability of an option that is best against what the other one does, `by_chance` of hitting one
    blindly; `payoff` expected, with `best_payoff` the most there is; `belief_distance`: total variation between belief
    and truth; `best_reply`: probability of an option that is best if the belief were true.  The last two are NaN
    without a belief."""

    rational: float
    by_chance: float
    payoff: float
    best_payoff: float
    belief_distance: float
    best_reply: float


def rationality(
    action: np.ndarray, *, payoffs: np.ndarray, truth: np.ndarray, belief: np.ndarray | None = None
) -> Rationality:
    """Measures of one decision: action probabilities [A], payoffs [A, B], truth [B] and belief [B]."""
    action, truth = _distribution(action, "action"), _distribution(truth, "truth")
    payoffs = np.asarray(payoffs, float)
    if payoffs.shape != (len(action), len(truth)):
        raise InputError(
            f"Payoffs {payoffs.shape} for {counted(len(action), 'action')} against {len(truth)}; give one for each pair."
        )
    value = payoffs @ truth
    distance = reply = float("nan")
    if belief is not None:
        belief = _distribution(belief, "belief")
        if len(belief) != len(truth):
            raise InputError(
                f"A belief over {counted(len(belief), 'option')}, of which the other one has {len(truth)}."
            )
        distance = float(np.abs(belief - truth).sum() / 2)
        reply = float(action @ _best(payoffs @ belief))
    return Rationality(
        rational=float(action @ _best(value)),
        by_chance=float(_best(value).mean()),
        payoff=float(action @ value),
        best_payoff=float(value.max()),
        belief_distance=distance,
        best_reply=reply,
    )


def _best(value: np.ndarray) -> np.ndarray:
    return (value >= value.max() - TIE).astype(float)


def _distribution(probabilities: np.ndarray, name: str) -> np.ndarray:
    probabilities = np.asarray(probabilities, float)
    if probabilities.ndim != 1 or not ((probabilities >= 0).all() and abs(probabilities.sum() - 1) < 1e-4):
        raise InputError(
            f"The {name}'s probabilities {probabilities} are none; they are 0 or more and sum to 1."
        )
    return probabilities / probabilities.sum()
