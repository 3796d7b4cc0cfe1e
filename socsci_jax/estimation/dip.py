"""Difference in predictions: the effect in a two-arm experiment, both arms predicted for every persona.

Sources: Broska, Howes and van Loon, "The mixed subjects design" (2025); van Loon and Kanopka's R package
mixedsubjects, whose columns are Y, D, S0, S1.  n_d people answered in arm d, m personas have predictions alone.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from socsci_jax.errors import InputError
from socsci_jax.estimation.linear import assign_folds, degrees, sum_by_cluster, wald
from socsci_jax.estimation.ppi import Rectified
from socsci_jax.estimation.sampling_weights import Weights, check_weights


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Answers y [n] of people in arm [n] (0 or 1), predictions of both arms s0, s1 [n] and u0, u1 [m] of others.

    Weights are sampling weights; clusters may span people and other personas.
    """

    y: np.ndarray
    arm: np.ndarray
    s0: np.ndarray
    s1: np.ndarray
    u0: np.ndarray
    u1: np.ndarray
    weights: Weights = Weights()
    weights_unlabeled: Weights = Weights()
    clusters: np.ndarray | None = None
    clusters_unlabeled: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in ("y", "arm", "s0", "s1", "u0", "u1"):
            values = np.asarray(getattr(self, name), float)
            if not np.isfinite(values).all():
                raise InputError(f"{name} holds values that are not finite; exclude these rows.")
            object.__setattr__(self, name, values)
        if not np.isin(self.arm, (0, 1)).all():
            arms = sorted(set(self.arm.tolist()))[:5]
            raise InputError(f"Arms {arms}; a difference in predictions is between arm 0 and arm 1.")
        for arm in (0, 1):
            if (self.arm == arm).sum() < 2:
                raise InputError(f"Arm {arm} has fewer than two answers; both arms need them.")
        if len(self.u0) < 2:
            raise InputError(
                "Fewer than two personas without an answer; their predictions are what is gained."
            )
        if (self.clusters is None) != (self.clusters_unlabeled is None):
            raise InputError("Clusters are given for people or for the others alone; give both or neither.")
        for name, rows in (("weights", len(self.y)), ("weights_unlabeled", len(self.u0))):
            given = getattr(self, name)
            object.__setattr__(self, name, np.ones(rows) if given is None else check_weights(given, rows))

    def keep(self, people: np.ndarray, others: np.ndarray) -> Experiment:
        return Experiment(
            y=self.y[people],
            arm=self.arm[people],
            s0=self.s0[people],
            s1=self.s1[people],
            u0=self.u0[others],
            u1=self.u1[others],
            weights=self.weights[people],
            weights_unlabeled=self.weights_unlabeled[others],
            clusters=None if self.clusters is None else self.clusters[people],
            clusters_unlabeled=None if self.clusters_unlabeled is None else self.clusters_unlabeled[others],
        )

    def centered(self) -> Experiment:
        """The same with everybody's mean prediction of an arm taken off: no effect changes by it, whatever one weight
        predictions have, while their level times weights that differ between folds would shift whole folds."""
        weights = np.concatenate([self.weights, self.weights_unlabeled])
        zero, one = (
            np.average(np.concatenate(pair), weights=weights)
            for pair in ((self.s0, self.u0), (self.s1, self.u1))
        )
        return dataclasses.replace(
            self, s0=self.s0 - zero, s1=self.s1 - one, u0=self.u0 - zero, u1=self.u1 - one
        )

    def influence(
        self, answers: float, predictions: np.ndarray | float, others: np.ndarray | float
    ) -> np.ndarray:
        """Each row's deviation [n + m] in the estimate, for weights of the answers and of the predictions.

        Its cluster sums squared are the variance; without clusters its square carries n_d / (n_d - 1).
        """
        own = np.where(self.arm == 1, self.s1, self.s0)
        value = answers * self.y - predictions * own
        deviation = np.empty(len(self.y))
        for arm in (0, 1):
            rows = self.arm == arm
            deviation[rows] = (2 * arm - 1) * self._deviation(value[rows], self.weights[rows])
        gained = self._deviation(others * (self.u1 - self.u0), self.weights_unlabeled)
        return np.concatenate([deviation, gained])

    def _deviation(self, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        share = weights / weights.sum()
        small_sample = 1.0 if self.clusters is not None else np.sqrt(len(values) / (len(values) - 1))
        return small_sample * share * (values - share @ values)

    def variance(self, first: np.ndarray, second: np.ndarray) -> float:
        """Covariance of two estimates from their influences [n + m]."""
        if self.clusters is None:
            return float(first @ second)
        clusters = np.concatenate([self.clusters, self.clusters_unlabeled])
        sums = sum_by_cluster(np.column_stack([first, second]), clusters)
        return float(len(sums) / (len(sums) - 1) * sums[:, 0] @ sums[:, 1])


def dip(experiment: Experiment, *, lam: float | None = None, folds: int = 5, seed: int = 0) -> Rectified:
    """Effect lam mean_U(S1 - S0) + mean_1(Y - lam S1) - mean_0(Y - lam S0), and its interval.

    Variance: lam^2 var_U(S1 - S0) / m + sum_d [var Y_d + lam^2 var S_d - 2 lam cov(Y, S_d)] / n_d.
    `lam` None is fitted in the other folds, within [0, 1].  Intervals use t with n - 2 degrees of freedom, or the
    clusters of people - 1.
    """
    if lam is None:
        people, others = _cross_fitted(experiment, folds, seed)
        experiment = experiment.centered()
    else:
        people, others = np.full(len(experiment.y), float(lam)), np.full(len(experiment.u0), float(lam))
    own = np.where(experiment.arm == 1, experiment.s1, experiment.s0)
    corrected = experiment.y - people * own
    effect = np.average(others * (experiment.u1 - experiment.u0), weights=experiment.weights_unlabeled)
    for arm in (0, 1):
        rows = experiment.arm == arm
        effect += (2 * arm - 1) * np.average(corrected[rows], weights=experiment.weights[rows])
    influence = experiment.influence(1.0, people, others)
    df = degrees(experiment.clusters, rows=len(experiment.y) - 2)
    variance = experiment.variance(influence, influence)
    return Rectified(wald(effect, np.array([[variance]]), names=("effect",), df=df), float(people.mean()))


def best_lam(experiment: Experiment) -> float:
    """Weight within [0, 1] that minimizes the estimated variance.

    [cov(Y, S1 | 1) / n1 + cov(Y, S0 | 0) / n0] / [var_U(S1 - S0) / m + var(S1 | 1) / n1 + var(S0 | 0) / n0].
    """
    answers = experiment.influence(1.0, 0.0, 0.0)
    predictions = experiment.influence(0.0, -1.0, -1.0)  # what lambda subtracts
    variance = experiment.variance(predictions, predictions)
    return float(np.clip(experiment.variance(answers, predictions) / variance, 0, 1)) if variance > 0 else 0.0


def _cross_fitted(experiment: Experiment, folds: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    n, m = len(experiment.y), len(experiment.u0)
    fold = np.empty(n + m, dtype=int)
    if experiment.clusters is None:
        # Within arms, so that every fold's complement has people of both.
        for rows in (*(np.flatnonzero(experiment.arm == arm) for arm in (0, 1)), n + np.arange(m)):
            fold[rows] = assign_folds(len(rows), folds=min(folds, len(rows)), rng=rng)
    else:
        clusters = np.concatenate([experiment.clusters, experiment.clusters_unlabeled])
        fold = assign_folds(n + m, folds=folds, rng=rng, clusters=clusters)
    lam = np.empty(n + m)
    for k in range(folds):
        train = fold != k
        lam[~train] = best_lam(experiment.keep(train[:n], train[n:]))
    return lam[:n], lam[n:]
