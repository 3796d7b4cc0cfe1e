"""How invented people answer: the true distribution of each persona at each item.

People answer by an ordered logit.  With x the features of a persona, u the person's own deviation and F the
logistic function,

    attitude = popularity + leaning·x + sum of the cues' effects (some differ by party) + u,  u ~ N(0, person_sd²)
    P(answer ≤ level k) = F(cut_k − intercept − loading · attitude),  cut_k = logit(k / number of levels)

Popularity and leaning belong to the domain of a study (`texts.py`), effects to the words of a condition (`cues.py`),
intercept and loading to a question (`questions.py`); all three recur in other studies.  On sliders people prefer round
numbers.  What is not known of a persona adds nothing, so the true distribution is a function of what a prompt shows.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np

from data_pipelines.synthetic.people import FEATURES, features


@dataclasses.dataclass(frozen=True, kw_only=True)
class ItemTruth:
    """Everything that decides how people answer one item; see the formula of this module.

    leaning_f: latent effect per feature, in the order of FEATURES.
    descending: the lowest level stands for the highest attitude ("1 = Strongly support").
    """

    levels: tuple[int, ...]
    intercept: float
    loading: float
    popularity: float
    leaning_f: tuple[float, ...]
    cue_effect: float
    cue_party_slope: float
    descending: bool
    person_sd: float


def true_distribution(truth: ItemTruth, attributes: Mapping[str, str | None]) -> np.ndarray:
    """Probabilities [L] over `truth.levels` with which somebody with these attributes answers."""
    return distributions_pl(truth, features(attributes)[None, :])[0]


def distributions_pl(truth: ItemTruth, features_pf: np.ndarray) -> np.ndarray:
    """Probabilities over levels for each persona [P, L], averaged over the person's own deviation."""
    probs_pl = np.zeros((len(features_pf), len(truth.levels)))
    for node, weight in zip(*_deviation_quadrature()):
        deviation_p = np.full(len(features_pf), truth.person_sd * node)
        probs_pl += weight * given_deviation_pl(truth, features_pf, deviation_p)
    return probs_pl


@functools.cache
def _deviation_quadrature() -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of the Gauss-Hermite rule for a standard normal variable; 15 nodes are exact to 1e-9 here."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(15)
    return nodes, weights / weights.sum()


def given_deviation_pl(truth: ItemTruth, features_pf: np.ndarray, deviation_p: np.ndarray) -> np.ndarray:
    party_p = features_pf[:, FEATURES.index("party")]
    attitude_p = (
        truth.popularity
        + features_pf @ np.asarray(truth.leaning_f)
        + truth.cue_effect
        + truth.cue_party_slope * party_p
        + deviation_p
    )
    n_levels = len(truth.levels)
    share = np.arange(1, n_levels) / n_levels
    cuts = np.log(share / (1 - share))
    eta_p = truth.intercept + truth.loading * attitude_p
    below_pl = 1 / (1 + np.exp(eta_p[:, None] - cuts))
    probs_pl = np.diff(below_pl, axis=1, prepend=0.0, append=1.0)
    if truth.descending:
        probs_pl = probs_pl[:, ::-1]
    probs_pl = probs_pl * _preference_for_round_numbers(truth.levels)
    return probs_pl / probs_pl.sum(axis=1, keepdims=True)


@functools.cache
def _preference_for_round_numbers(levels: tuple[int, ...]) -> np.ndarray:
    """Weight of each level: on sliders tens are ten times, other fives three times as likely as the rest."""
    values = np.asarray(levels)
    if len(levels) < 101:
        return np.ones(len(levels))
    return np.where(values % 10 == 0, 10.0, np.where(values % 5 == 0, 3.0, 1.0))
