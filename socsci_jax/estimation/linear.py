"""Linear and logistic regression with robust and clustered covariances: the algebra that all estimators share.

Shapes: N rows, P coefficients, G clusters.  Weights are sampling weights: a row of weight 2 stands for two
people, but is one observation in a standard error.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np
import scipy.special

from socsci_jax.errors import InputError
from socsci_jax.estimation.sampling_weights import check_weights
from socsci_jax.wording import counted

Family = Literal["linear", "logit"]
Covariance = Literal["HC0", "HC1", "HC2", "CR0", "CR1"]

LEVEL = 0.95
# Newton's method for the logit: fewer than ten steps where the maximum exists.
STEPS = 100
TOLERANCE = 1e-12
# Below this share of the information that undecided answers would give, a direction is known with certainty only
# because every answer along it is predicted perfectly: its coefficient grows without end.
LEAST_INFORMATION = 1e-9


@dataclasses.dataclass(frozen=True)
class Estimates:
    """Coefficients with standard errors, 95 % intervals and two-sided p-values, all [P], and their covariance [P, P].

    `df` is infinite where the normal distribution is used; clusters - 1 where errors are clustered.
    """

    names: tuple[str, ...]
    estimate: np.ndarray
    se: np.ndarray
    lo: np.ndarray
    hi: np.ndarray
    p: np.ndarray
    covariance: np.ndarray
    df: float = np.inf

    def __getitem__(self, name: str) -> tuple[float, float]:
        """Estimate and standard error of one coefficient."""
        at = self.names.index(name)
        return float(self.estimate[at]), float(self.se[at])


def wald(
    estimate: np.ndarray | float,
    covariance: np.ndarray,
    *,
    names: Sequence[str] = (),
    df: float = np.inf,
    level: float = LEVEL,
) -> Estimates:
    """Intervals and p-values from estimates [P] and their covariance [P, P]; Student's t with `df` degrees of freedom."""
    estimate = np.atleast_1d(np.asarray(estimate, dtype=float))
    covariance = np.asarray(covariance, dtype=float).reshape(len(estimate), len(estimate))
    se = np.sqrt(np.maximum(np.diag(covariance), 0))
    half = scipy.special.stdtrit(df, (1 + level) / 2) * se
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * scipy.special.stdtr(df, -np.abs(estimate) / se)
    return Estimates(
        names=tuple(names) or tuple(f"x{column}" for column in range(len(estimate))),
        estimate=estimate,
        se=se,
        lo=estimate - half,
        hi=estimate + half,
        p=p,
        covariance=covariance,
        df=df,
    )


@dataclasses.dataclass(frozen=True)
class Fit:
    """A solved estimating equation: coefficients [P], inverse Hessian [P, P], each row's score [N, P] and leverage [N]."""

    coefficients: np.ndarray
    inverse_hessian: np.ndarray
    scores: np.ndarray
    leverage: np.ndarray

    def covariance(self, kind: Covariance = "HC0", *, clusters: np.ndarray | None = None) -> np.ndarray:
        """Sandwich covariance [P, P].

        HC0; HC1 with N / (N - P); HC2 with each squared score over 1 - leverage (MacKinnon and White 1985).
        CR0 and CR1 sum scores within clusters [N]; CR1 multiplies by G / (G - 1) (N - 1) / (N - P), as Stata and
        statsmodels do.
        """
        rows, columns = self.scores.shape
        if kind in ("CR0", "CR1"):
            if clusters is None:
                raise InputError(f"Covariance {kind} needs the cluster of each row; pass clusters.")
            sums = sum_by_cluster(self.scores, clusters)
            groups = len(sums)
            if groups < 2:
                raise InputError("Errors clustered over one cluster are 0; give at least two, better forty.")
            factor = 1.0 if kind == "CR0" else groups / (groups - 1) * (rows - 1) / (rows - columns)
            meat = factor * sums.T @ sums
        else:
            scores = self.scores
            if kind == "HC2":
                scores = scores / np.sqrt(np.maximum(1 - self.leverage, 1e-12))[:, None]
            meat = scores.T @ scores
            if kind == "HC1":
                meat = meat * rows / (rows - columns)
        return self.inverse_hessian @ meat @ self.inverse_hessian

    def estimates(
        self,
        kind: Covariance = "HC0",
        *,
        clusters: np.ndarray | None = None,
        names: Sequence[str] = (),
        df: float | None = None,
    ) -> Estimates:
        """Intervals from the covariance `kind`: t with `df` degrees of freedom, by default clusters - 1 where clustered,
        else normal."""
        if df is None:
            df = degrees(clusters) if kind in ("CR0", "CR1") else np.inf
        return wald(self.coefficients, self.covariance(kind, clusters=clusters), names=names, df=df)


def degrees(clusters: np.ndarray | None, *, rows: float = np.inf) -> float:
    """Degrees of freedom of a t interval, at least 1: clusters - 1, or `rows` without clusters."""
    return float(max(rows if clusters is None else len(np.unique(clusters)) - 1, 1))


def sum_by_cluster(rows: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Sums [G, ...] of rows [N, ...] by cluster [N]."""
    _, at = np.unique(np.asarray(clusters), return_inverse=True)
    sums = np.zeros((np.max(at) + 1, *rows.shape[1:]))
    np.add.at(sums, at, rows)
    return sums


def fit(X: np.ndarray, y: np.ndarray, *, family: Family = "linear", weights: np.ndarray | None = None) -> Fit:
    """Regresses y [N] on X [N, P]; `logit` takes any finite y, so pseudo-outcomes outside [0, 1] may be fitted.

    Raises InputError where columns of X depend on each other, or where a logit has no finite solution.
    """
    X, y = np.asarray(X, dtype=float), np.asarray(y, dtype=float)
    check_design(X, y)
    weight = np.ones(len(y)) if weights is None else check_weights(weights, len(y))
    if family == "linear":
        coefficients = solve(weighted_gram(X, weight), X.T @ (weight * y))
        mean, slope = X @ coefficients, np.ones(len(y))
    else:
        coefficients = solve_logit(X, y, weight)
        mean = scipy.special.expit(X @ coefficients)
        slope = mean * (1 - mean)
    inverse = invert(weighted_gram(X, weight * slope))
    return Fit(
        coefficients=coefficients,
        inverse_hessian=inverse,
        scores=X * (weight * (y - mean))[:, None],
        leverage=weight * slope * ((X @ inverse) * X).sum(axis=1),
    )


def solve_logit(X: np.ndarray, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Coefficients [P] that solve sum_i weight_i x_i (target_i - expit(x_i b)) = 0; weights may be negative."""
    coefficients = np.zeros(X.shape[1])
    scale = np.abs(X * weight[:, None]).sum()

    def gradient(b: np.ndarray) -> np.ndarray:
        return X.T @ (weight * (target - scipy.special.expit(X @ b)))

    now = gradient(coefficients)
    for _ in range(STEPS):
        if np.abs(now).max() <= TOLERANCE * scale:
            break
        mean = scipy.special.expit(X @ coefficients)
        step = solve(weighted_gram(X, weight * mean * (1 - mean)), now)
        # Halved until the equation is better solved: pseudo-outcomes can make a full step overshoot.
        for _ in range(30):
            after = gradient(coefficients + step)
            if np.linalg.norm(after) < np.linalg.norm(now):
                break
            step = step / 2
        else:
            # No step improves it: rounding, if the equation is solved to a millionth of a millionth nearly.
            if np.abs(now).max() <= 1e-9 * scale:
                break
            raise InputError(
                "The logistic regression has no solution for these answers; use a linear model, or more labels."
            )
        coefficients, now = coefficients + step, after
    mean = scipy.special.expit(X @ coefficients)
    length, relative = np.linalg.norm(X, axis=0), weight / np.abs(weight).mean()
    if np.linalg.eigvalsh(weighted_gram(X / length, relative * mean * (1 - mean)))[0] < LEAST_INFORMATION:
        raise InputError(
            "The logistic regression separates the answers perfectly, so that a coefficient is infinite; "
            "exclude the variable that does, or use a linear model."
        )
    return coefficients


def weighted_gram(X: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return X.T @ (X * weight[:, None])


def solve(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    try:
        return np.linalg.solve(matrix, right)
    except np.linalg.LinAlgError:
        raise InputError(_DEPENDENT) from None


def invert(matrix: np.ndarray) -> np.ndarray:
    try:
        return np.linalg.inv(matrix)
    except np.linalg.LinAlgError:
        raise InputError(_DEPENDENT) from None


_DEPENDENT = "Columns of the design depend on each other; exclude one of them."


# Values beyond this have squares beyond what a float holds; no answer or variable is that large.
LARGEST = 1e100


def check_design(X: np.ndarray, *columns: np.ndarray) -> None:
    """Raises InputError where the design [N, P] or a column [N] cannot be fitted."""
    if X.ndim != 2:
        raise InputError(f"The design has {X.ndim} dimensions; give rows by coefficients.")
    for column in columns:
        if column.shape != (len(X),):
            raise InputError(
                f"{column.shape} values for {counted(len(X), 'row')} of the design; give one for each row."
            )
        good = np.abs(column) <= LARGEST
        if not good.all():
            row = int(np.argmin(good))
            raise InputError(
                f"Row {row} holds {column[row]}; exclude rows whose value is not finite or beyond 1e100."
            )
    good = (np.abs(X) <= LARGEST).all(axis=1)
    if not good.all():
        raise InputError(
            f"Row {int(np.argmin(good))} of the design is not finite or beyond 1e100; exclude it."
        )
    if len(X) <= X.shape[1]:
        raise InputError(
            f"{counted(len(X), 'row')} for {X.shape[1]} coefficients; more rows than coefficients are needed."
        )
    # The Gram matrix of columns of equal length: its rank costs one pass over the rows.
    length = np.linalg.norm(X, axis=0)
    if not length.all() or np.linalg.eigvalsh((X / length).T @ (X / length))[0] < 1e-11:
        raise InputError(_DEPENDENT)


def assign_folds(
    rows: int, *, folds: int, rng: np.random.Generator, clusters: np.ndarray | None = None
) -> np.ndarray:
    """Fold [N] of each row, of equal sizes up to one; all rows of a cluster are in one fold."""
    units, at = (rows, np.arange(rows)) if clusters is None else _codes(clusters)
    if units < folds:
        raise InputError(
            f"{counted(units, 'row')} or clusters for {folds} folds; use fewer folds or give lam."
        )
    return rng.permutation(np.arange(units) % folds)[at]


def _codes(clusters: np.ndarray) -> tuple[int, np.ndarray]:
    names, at = np.unique(np.asarray(clusters), return_inverse=True)
    return len(names), at
