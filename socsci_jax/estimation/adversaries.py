"""Two actors who offer profiles against each other: each one's best distribution, knowing that the other does the same.

Source: as `profiles`.  The share that chooses the first actor's profile is
v(a, b) = 1/2 + f(a) - f(b) + a'C b, with f of one's own profile and C antisymmetric: what a level gains against
another one.  The first maximizes v - penalty |a - p|^2, the second minimizes v + penalty |b - p|^2; the saddle
point is found by extragradient steps (Korpelevich 1976), and its errors from the equations that it solves.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping

import numpy as np

from socsci_jax.errors import InputError
from socsci_jax.estimation.conjoint import Conjoint
from socsci_jax.estimation.linear import Estimates, fit, wald
from socsci_jax.estimation.profiles import STEPS, ZERO, Levels, check_penalty, project
from socsci_jax.estimation.weighting import hajek, profile_ratio, respondent_folds


@dataclasses.dataclass(frozen=True)
class Duels:
    """Tasks of two profiles: rows of the conjoint of the first and the second profile [T]."""

    conjoint: Conjoint
    first: np.ndarray
    second: np.ndarray

    @classmethod
    def of(cls, conjoint: Conjoint, task: np.ndarray) -> Duels:
        """Pairs the rows of each respondent's `task` [N]; InputError where these are not two, one of them chosen."""
        order = np.lexsort((np.arange(len(conjoint.choice)), np.asarray(task), conjoint.respondent))
        first, second = order[::2], order[1::2]
        alike = len(order) % 2 == 0 and all(
            (values[first] == values[second]).all() for values in (np.asarray(task), conjoint.respondent)
        )
        pairs = {(r, t) for r, t in zip(conjoint.respondent.tolist(), np.asarray(task).tolist())}
        if not alike or len(pairs) != len(first):
            raise InputError("Each respondent's task must have two profiles; exclude tasks that do not.")
        if not (np.sort([conjoint.choice[first], conjoint.choice[second]], axis=0) == [[0], [1]]).all():
            raise InputError(
                "In each task one of the two profiles must be chosen, with choice 1, the other 0."
            )
        return cls(conjoint, first, second)

    def rows(self, chosen: np.ndarray) -> Duels:
        return Duels(self.conjoint, self.first[chosen], self.second[chosen])


@dataclasses.dataclass(frozen=True)
class Game:
    """The fitted vote share: f's linear [K] and quadratic [K, K] part, C [K, K], and the coefficients' covariance."""

    levels: Levels
    linear: np.ndarray
    quadratic: np.ndarray
    against: np.ndarray
    covariance: np.ndarray
    df: float

    def value(self, a: np.ndarray, b: np.ndarray) -> float:
        """Share that chooses the first actor's profile."""
        own = self.linear @ (a - b) + (a @ self.quadratic @ a - b @ self.quadratic @ b) / 2
        return float(0.5 + own + a @ self.against @ b)


@dataclasses.dataclass(frozen=True)
class Saddle:
    """Both actors' distributions [K] with errors, and the first one's vote share there."""

    levels: Levels
    first: Estimates
    second: Estimates
    value: Estimates


def fit_game(duels: Duels) -> Game:
    """OLS of whether the first profile was chosen on differences of levels and pairs, and on products between
    profiles; an intercept takes what the side alone does.  Errors are clustered by respondent."""
    conjoint = duels.conjoint
    levels = Levels.of(conjoint)
    dummies = np.hstack([conjoint.dummies(name) for name in conjoint.levels])
    one, other = dummies[duels.first], dummies[duels.second]
    own = np.flatnonzero(~levels.baseline)
    pairs, crossed = levels.pairs(), list(itertools.combinations(own.tolist(), 2))
    X = np.column_stack(
        [
            np.ones(len(one)),
            one[:, own] - other[:, own],
            *(one[:, j] * one[:, k] - other[:, j] * other[:, k] for j, k in pairs),
            *(one[:, j] * other[:, k] - one[:, k] * other[:, j] for j, k in crossed),
        ]
    )
    respondent = conjoint.respondent[duels.first]
    solved = fit(X, conjoint.choice[duels.first], weights=conjoint.weights[duels.first])
    size = len(levels.keys)
    linear, quadratic, against = np.zeros(size), np.zeros((size, size)), np.zeros((size, size))
    linear[own] = solved.coefficients[1 : 1 + len(own)]
    for (j, k), value in zip(pairs, solved.coefficients[1 + len(own) :]):
        quadratic[j, k] = quadratic[k, j] = value
    for (j, k), value in zip(crossed, solved.coefficients[1 + len(own) + len(pairs) :]):
        against[j, k], against[k, j] = value, -value
    covariance = solved.covariance("CR1", clusters=respondent)[1:, 1:]
    return Game(levels, linear, quadratic, against, covariance, len(np.unique(respondent)) - 1)


def max_min(
    duels: Duels,
    *,
    penalty: float,
    design: np.ndarray | None = None,
    fixed_first: Mapping[str, str] | None = None,
    fixed_second: Mapping[str, str] | None = None,
) -> Saddle:
    """The saddle point of the vote share; `fixed_first` and `fixed_second` hold what an actor cannot choose.

    Without such bounds the game is symmetric, both offer the same and the share is 1/2.
    """
    game = fit_game(duels)
    design = game.levels.shares(duels.conjoint) if design is None else np.asarray(design, float)
    given = [game.levels.fixed(fixed or {}) for fixed in (fixed_first, fixed_second)]
    for one in given:
        check_penalty(game.quadratic, game.levels, one, penalty)
    a, b = extragradient(game, penalty, design, *given)
    free = [np.isnan(one) & (pi > ZERO) for one, pi in zip(given, (a, b))]
    moved_a, moved_b = _moved(game, penalty, a, b, *free)
    by_coefficient = _value_by_coefficient(game, a, b)
    by_coefficient += (game.linear + game.quadratic @ a + game.against @ b) @ moved_a
    by_coefficient -= (game.linear + game.quadratic @ b - game.against.T @ a) @ moved_b
    names = [f"{attribute}: {level}" for attribute, level in game.levels.keys]
    return Saddle(
        levels=game.levels,
        first=wald(a, moved_a @ game.covariance @ moved_a.T, names=names, df=game.df),
        second=wald(b, moved_b @ game.covariance @ moved_b.T, names=names, df=game.df),
        value=wald(
            game.value(a, b), by_coefficient @ game.covariance @ by_coefficient, names=["value"], df=game.df
        ),
    )


def extragradient(
    game: Game, penalty: float, design: np.ndarray, given_a: np.ndarray, given_b: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Steps to where the gradient one step ahead points; converges for every monotone game."""
    size = len(design)
    bend = 2 * penalty * np.eye(size) - game.quadratic
    jacobian = np.block([[bend, -game.against], [game.against.T, bend]])
    right = game.linear + 2 * penalty * design
    step = 0.7 / np.linalg.norm(jacobian, 2)

    def forward(z: np.ndarray, at: np.ndarray) -> np.ndarray:
        """A step from z along the direction at `at`: the first actor climbs, the second descends."""
        direction = np.concatenate([right, right]) - jacobian @ at
        after = z + step * direction
        return np.concatenate(
            [project(after[:size], game.levels, given_a), project(after[size:], game.levels, given_b)]
        )

    z = np.concatenate([project(design, game.levels, given) for given in (given_a, given_b)])
    for _ in range(STEPS):
        after = forward(z, forward(z, z))
        if np.abs(after - z).max() < 1e-13:
            return after[:size], after[size:]
        z = after
    raise InputError(f"No saddle point was found in {STEPS} steps; use a larger penalty.")


def _moved(
    game: Game, penalty: float, a: np.ndarray, b: np.ndarray, free_a: np.ndarray, free_b: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How both distributions move with the coefficients, [K, P] each: the derivative of the equations they solve."""
    size, attributes = len(a), len(game.levels.members)
    bend = 2 * penalty * np.eye(size) - game.quadratic
    jacobian = np.block([[bend, -game.against], [game.against.T, bend]])
    members = np.kron(np.eye(2), game.levels.members)
    system = np.zeros((2 * (size + attributes),) * 2)
    system[: 2 * size, : 2 * size] = jacobian
    system[2 * size :, : 2 * size] = members
    system[: 2 * size, 2 * size :] = members.T
    free = np.concatenate([free_a, free_b])
    kept = np.concatenate([free, members[:, free].any(axis=1)])
    inverse = np.zeros_like(system)
    inverse[np.ix_(kept, kept)] = np.linalg.inv(system[np.ix_(kept, kept)])
    own, pairs = np.flatnonzero(~game.levels.baseline), game.levels.pairs()
    unit = np.eye(size)
    # The first actor's gradient is b + G a + C b, the second's descent b + G b - C'a.
    for_a = [*unit[own], *(a[k] * unit[j] + a[j] * unit[k] for j, k in pairs)]
    for_b = [*unit[own], *(b[k] * unit[j] + b[j] * unit[k] for j, k in pairs)]
    for j, k in itertools.combinations(own, 2):
        for_a.append(b[k] * unit[j] - b[j] * unit[k])
        for_b.append(a[k] * unit[j] - a[j] * unit[k])
    gradient = np.concatenate([np.stack(for_a, axis=1), np.stack(for_b, axis=1)])
    moved = inverse[: 2 * size, : 2 * size] @ gradient
    return moved[:size], moved[size:]


def _value_by_coefficient(game: Game, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    own, pairs = np.flatnonzero(~game.levels.baseline), game.levels.pairs()
    crossed = itertools.combinations(own, 2)
    return np.array(
        [
            *(a[own] - b[own]),
            *(a[j] * a[k] - b[j] * b[k] for j, k in pairs),
            *(a[j] * b[k] - a[k] * b[j] for j, k in crossed),
        ]
    )


def ipw_share(
    duels: Duels, first: np.ndarray, second: np.ndarray, *, design: np.ndarray | None = None
) -> Estimates:
    """Share that chooses the first actor's profile, by inverse-probability weights and without a model.

    `first` and `second` are distributions [K], or one a row of the conjoint [N, K].  Each task counts in both orders:
    either profile may be the first actor's.
    """
    conjoint = duels.conjoint
    levels = Levels.of(conjoint)
    design = levels.shares(conjoint) if design is None else np.asarray(design, float)
    by_first, by_second = (profile_ratio(conjoint, levels, pi, design) for pi in (first, second))
    weight = np.concatenate(
        [by_first[duels.first] * by_second[duels.second], by_first[duels.second] * by_second[duels.first]]
    )
    weight = weight * np.tile(conjoint.weights[duels.first], 2)
    chosen = np.concatenate([conjoint.choice[duels.first], conjoint.choice[duels.second]])
    return hajek(chosen, weight, np.tile(conjoint.respondent[duels.first], 2))


def cross_fitted_share(
    duels: Duels,
    *,
    penalty: float,
    design: np.ndarray | None = None,
    fixed_first: Mapping[str, str] | None = None,
    fixed_second: Mapping[str, str] | None = None,
    folds: int = 5,
    seed: int = 0,
) -> Estimates:
    """The first actor's share among respondents whom neither distribution was fitted to."""
    conjoint = duels.conjoint
    levels = Levels.of(conjoint)
    design = levels.shares(conjoint) if design is None else np.asarray(design, float)
    rows = np.empty((2, len(conjoint.choice), len(levels.keys)))
    for held in respondent_folds(conjoint.respondent, folds=folds, seed=seed):
        train = duels.rows(~held[duels.first])
        solution = max_min(
            train, penalty=penalty, design=design, fixed_first=fixed_first, fixed_second=fixed_second
        )
        rows[0, held], rows[1, held] = solution.first.estimate, solution.second.estimate
    return ipw_share(duels, rows[0], rows[1], design=design)
