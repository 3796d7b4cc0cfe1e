"""The distribution of profiles that an actor does best to offer, in a conjoint experiment.

Source: Jerzak, Chandra and Hazra, "Selecting optimal candidate profiles in adversarial environments using conjoint
analysis and machine learning" (2025); with two-way interactions and a squared penalty there is a closed form.
The expected choice under independent attributes with probabilities pi [K] (all levels of all attributes, stacked) is
c + b'pi + pi'G pi / 2; what is maximized is this - penalty |pi - p|^2, with p the design's distribution: far from
the design nobody has seen profiles, and the penalty says how far the model is trusted.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping

import numpy as np

from socsci_jax.errors import InputError
from socsci_jax.estimation.conjoint import Conjoint
from socsci_jax.estimation.linear import Estimates, fit, wald

# A probability below this is 0: its level is not offered, and does not move with the coefficients.
ZERO = 1e-9
STEPS = 200_000


@dataclasses.dataclass(frozen=True)
class Levels:
    """All levels of all attributes, stacked [K]: their (attribute, level), and indicators [A, K] of attributes."""

    keys: tuple[tuple[str, str], ...]
    members: np.ndarray
    baseline: np.ndarray

    @classmethod
    def of(cls, conjoint: Conjoint) -> Levels:
        keys = tuple((name, level) for name, levels in conjoint.levels.items() for level in levels)
        members = np.array([[key[0] == name for key in keys] for name in conjoint.levels], dtype=float)
        baseline = np.array([key[1] == conjoint.levels[key[0]][0] for key in keys])
        return cls(keys, members, baseline)

    def pairs(self) -> list[tuple[int, int]]:
        """Pairs of levels of different attributes that have a coefficient: neither is a baseline."""
        own = np.flatnonzero(~self.baseline)
        same = self.members.T @ self.members
        return [(j, k) for j, k in itertools.combinations(own.tolist(), 2) if not same[j, k]]

    def shares(self, conjoint: Conjoint) -> np.ndarray:
        """Share [K] of each level among the profiles of its attribute."""
        return np.concatenate([conjoint.dummies(name).mean(axis=0) for name in conjoint.levels])

    def fixed(self, chosen: Mapping[str, str]) -> np.ndarray:
        """NaN [K] where a level is free to be chosen, 1 and 0 for the levels of attributes that are fixed."""
        values = np.full(len(self.keys), np.nan)
        for name, level in chosen.items():
            if (name, level) not in self.keys:
                raise InputError(
                    f"Level {level!r} of {name!r} is not in the experiment, so that it cannot be fixed."
                )
            of_attribute = np.array([key[0] == name for key in self.keys])
            values[of_attribute] = [
                key == (name, level) for key in itertools.compress(self.keys, of_attribute)
            ]
        return values


@dataclasses.dataclass(frozen=True)
class Optimum:
    """Probabilities [K] with their delta-method errors (0 where a level is not offered), the expected choice under
    them and under the design, and whether every level is offered: then the closed form needed no bounds."""

    levels: Levels
    distribution: Estimates
    value: Estimates
    value_of_design: float
    interior: bool


@dataclasses.dataclass(frozen=True)
class Quadratic:
    """Expected choice c + b'pi + pi'G pi / 2 with the covariance of its coefficients: constant, one for each level
    that is no baseline, one for each pair."""

    levels: Levels
    coefficients: np.ndarray
    covariance: np.ndarray
    df: float

    @property
    def constant(self) -> float:
        return float(self.coefficients[0])

    @property
    def linear(self) -> np.ndarray:
        vector = np.zeros(len(self.levels.keys))
        vector[~self.levels.baseline] = self.coefficients[1 : 1 + int((~self.levels.baseline).sum())]
        return vector

    @property
    def quadratic(self) -> np.ndarray:
        matrix = np.zeros((len(self.levels.keys),) * 2)
        pairs = self.levels.pairs()
        for (j, k), value in zip(pairs, self.coefficients[-len(pairs) :] if pairs else ()):
            matrix[j, k] = matrix[k, j] = value
        return matrix

    def value(self, pi: np.ndarray) -> float:
        return float(self.constant + self.linear @ pi + pi @ self.quadratic @ pi / 2)


def fit_quadratic(conjoint: Conjoint) -> Quadratic:
    """OLS of choice on all levels and all pairs of levels, with errors clustered by respondent."""
    levels = Levels.of(conjoint)
    dummies = np.hstack([conjoint.dummies(name) for name in conjoint.levels])
    pairs = levels.pairs()
    X = np.hstack(
        [
            np.ones((len(dummies), 1)),
            dummies[:, ~levels.baseline],
            *(dummies[:, [j]] * dummies[:, [k]] for j, k in pairs),
        ]
    )
    solved = fit(X, conjoint.choice, weights=conjoint.weights)
    covariance = solved.covariance("CR1", clusters=conjoint.respondent)
    return Quadratic(levels, solved.coefficients, covariance, len(np.unique(conjoint.respondent)) - 1)


def optimal_profiles(
    conjoint: Conjoint,
    *,
    penalty: float,
    design: np.ndarray | None = None,
    fixed: Mapping[str, str] | None = None,
) -> Optimum:
    """The best distribution of profiles for one actor.

    `design` [K] is the distribution that profiles were drawn from (None: the shares in the data), `fixed` names
    attributes that the actor cannot choose.  Raises InputError, with the least penalty that is enough, where the
    penalty is too small for the optimum to be unique.
    """
    model = fit_quadratic(conjoint)
    design = model.levels.shares(conjoint) if design is None else np.asarray(design, float)
    given = model.levels.fixed(fixed or {})
    check_penalty(model.quadratic, model.levels, given, penalty)
    pi, free = maximize(model, penalty, design, given)
    system = kkt(2 * penalty * np.eye(len(pi)) - model.quadratic, model.levels, free)
    moved = system[: len(pi), : len(pi)] @ _gradient_by_coefficient(model.levels, pi)
    own = np.concatenate(
        [[1.0], pi[~model.levels.baseline], [pi[j] * pi[k] for j, k in model.levels.pairs()]]
    )
    by_coefficient = own + (model.linear + model.quadratic @ pi) @ moved
    names = [f"{attribute}: {level}" for attribute, level in model.levels.keys]
    return Optimum(
        levels=model.levels,
        distribution=wald(pi, moved @ model.covariance @ moved.T, names=names, df=model.df),
        value=wald(
            model.value(pi), by_coefficient @ model.covariance @ by_coefficient, names=["value"], df=model.df
        ),
        value_of_design=model.value(design),
        interior=bool(free[np.isnan(given)].all()),
    )


def maximize(
    model: Quadratic, penalty: float, design: np.ndarray, given: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The maximum [K] and which levels are free [K]: the closed form, or where it leaves the simplex, its bounded one."""
    curvature = 2 * penalty * np.eye(len(design)) - model.quadratic
    right = model.linear + 2 * penalty * design
    free = np.isnan(given)
    pi = _closed_form(curvature, right, model.levels, free, np.where(free, 0.0, given))
    if pi.min() >= 0:
        return pi, free
    pi = project(design, model.levels, given)
    step = 1 / np.linalg.norm(curvature, 2)
    for _ in range(STEPS):
        after = project(pi + step * (right - curvature @ pi), model.levels, given)
        if np.abs(after - pi).max() < 1e-14:
            break
        pi = after
    free = free & (pi > ZERO)
    return _closed_form(curvature, right, model.levels, free, np.where(np.isnan(given), 0.0, given)), free


def _closed_form(
    curvature: np.ndarray, right: np.ndarray, levels: Levels, free: np.ndarray, held: np.ndarray
) -> np.ndarray:
    """Solves for the free probabilities, the others held at their values."""
    inverse = kkt(curvature, levels, free)
    total = 1 - levels.members @ held
    solved = inverse @ np.concatenate([right - curvature @ held, total])
    return np.where(free, solved[: len(right)], held)


def kkt(curvature: np.ndarray, levels: Levels, free: np.ndarray) -> np.ndarray:
    """Inverse [K + A, K + A] of [curvature, members'; members, 0] over free levels, zero in all other rows.

    Its first K columns say how the optimum moves with the gradient.
    """
    size, attributes = len(free), len(levels.members)
    system = np.zeros((size + attributes,) * 2)
    system[:size, :size] = curvature
    system[size:, :size] = levels.members
    system[:size, size:] = levels.members.T
    kept = np.concatenate([free, (levels.members[:, free] > 0).any(axis=1)])
    inverse = np.zeros_like(system)
    inverse[np.ix_(kept, kept)] = np.linalg.inv(system[np.ix_(kept, kept)])
    return inverse


def check_penalty(quadratic: np.ndarray, levels: Levels, given: np.ndarray, penalty: float) -> None:
    """Raises InputError where the penalized objective is not concave among distributions."""
    free = np.isnan(given)
    members = levels.members[:, free]
    members = members[members.any(axis=1)]
    if not free.any():
        raise InputError("All attributes are fixed, so that nothing is left to choose.")
    _, _, rows = np.linalg.svd(members)
    tangent = rows[len(members) :].T
    largest = float(np.linalg.eigvalsh(tangent.T @ quadratic[np.ix_(free, free)] @ tangent)[-1])
    if not 2 * penalty > largest or not penalty > 0:
        raise InputError(
            f"Penalty {penalty:g} is too small: several distributions may be best. With these interactions it must be "
            f"above {max(largest / 2, 0):.3g}."
        )


def project(pi: np.ndarray, levels: Levels, given: np.ndarray) -> np.ndarray:
    """The nearest distribution: each attribute's probabilities onto the simplex, fixed attributes as they are."""
    projected = given.copy()
    for members in levels.members.astype(bool):
        if np.isnan(given[members]).any():
            values = pi[members]
            ordered = np.sort(values)[::-1]
            excess = (np.cumsum(ordered) - 1) / np.arange(1, len(values) + 1)
            projected[members] = np.maximum(values - excess[np.flatnonzero(ordered > excess)[-1]], 0)
    return projected


def _gradient_by_coefficient(levels: Levels, pi: np.ndarray) -> np.ndarray:
    """Derivative [K, P] of the gradient b + G pi by the coefficients."""
    own = np.eye(len(pi))
    columns = [np.zeros(len(pi)), *own[~levels.baseline]]
    columns += [pi[k] * own[j] + pi[j] * own[k] for j, k in levels.pairs()]
    return np.stack(columns, axis=1)
