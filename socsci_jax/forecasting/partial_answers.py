"""What everybody would have given under every variant, from a balanced assignment in which each answered few of them.

A value (an effect) of person p under variant v is b_v + a_p + e_pv: variants are fixed, persons random with variance σ_a², and
what is left has variance σ_e².  Variances are estimated by restricted maximum likelihood (Patterson and Thompson 1971,
Biometrika 58); the weighted mean of all persons under a variant, most of whom were not asked, is then predicted without bias
and with the least error (Henderson 1975, Biometrics 31).
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.optimize
import scipy.stats

LEVEL = 0.9
_MOST_RATIO = 1e4  # of σ_a² to σ_e²


@dataclasses.dataclass(frozen=True, eq=False)
class EverybodysMeans:
    """Means over all persons under each variant [V], their standard errors [V], the mean over variants as it was observed, and
    the standard deviation of means over variants without their errors; `half` and `mean_half` are half widths of intervals."""

    values: np.ndarray
    se: np.ndarray
    half: np.ndarray
    mean: float
    mean_se: float
    mean_half: float
    spread: float | None  # None for a single variant


def everybodys_means(
    values: np.ndarray,
    *,
    person: np.ndarray,
    variant: np.ndarray,
    weights: np.ndarray,
    declared: int,
) -> EverybodysMeans:
    """Means of all persons under each variant, from some of them.

    Args:
      values: [N], of a person under a variant each, no pair twice.
      person, variant: [N], their indices; every variant from 0 on occurs.
      weights: of all persons [P], those not asked included.
      declared: number of variants of which these are some, balanced over the choices.
    """
    shares = weights / weights.sum()
    size, variants, people = values.size, int(variant.max()) + 1, weights.size
    observed = float(np.average(values, weights=weights[person]))
    if size == variants * people:
        means = np.zeros(variants)
        np.add.at(means, variant, values * shares[person])
        return _exact(means, observed, declared)
    given_pv = np.zeros((people, variants))
    given_pv[person, variant] = 1
    model = _fit(values, person, variant, given_pv)
    return _predicted(model, values, person, variant, shares, observed, declared)


def _exact(means: np.ndarray, observed: float, declared: int) -> EverybodysMeans:
    spread = float(np.std(means, ddof=1)) if means.size > 1 else None
    se = 0.0 if spread is None else _of_others(spread, means.size, declared)
    nothing = np.zeros(means.size)
    return EverybodysMeans(means, nothing, nothing, observed, se, _quantile(means.size - 1) * se, spread)


def _of_others(spread: float, asked: int, declared: int) -> float:
    """Standard error of a mean over variants of which only some were asked."""
    return spread * float(np.sqrt(1 / asked - 1 / declared))


def _quantile(df: int) -> float:
    return float(scipy.stats.t.ppf((1 + LEVEL) / 2, max(df, 1)))


@dataclasses.dataclass(frozen=True, eq=False)
class _Model:
    """Fixed means [V], their precision [V, V], and the variances of persons and of what is left."""

    means: np.ndarray
    precision: np.ndarray
    person: float
    left: float
    df: int


def _fit(values: np.ndarray, person: np.ndarray, variant: np.ndarray, given_pv: np.ndarray) -> _Model:
    people, variants = given_pv.shape
    answers_p = given_pv.sum(axis=1)
    sums_p = np.bincount(person, values, minlength=people)
    sums_v = np.bincount(variant, values, minlength=variants)
    df = max(values.size - variants, 1)

    def at(ratio: float) -> tuple[float, np.ndarray, np.ndarray, float]:
        """Deviance, means, precision and residual variance where σ_a² is `ratio` times σ_e²."""
        pulled = ratio / (1 + ratio * answers_p)
        precision = np.diag(given_pv.sum(axis=0)) - (given_pv.T * pulled) @ given_pv
        right = sums_v - given_pv.T @ (pulled * sums_p)
        means = np.linalg.solve(precision, right)
        rest = float(values @ values - pulled @ sums_p**2 - means @ right)
        left = max(rest, 1e-12 * float(values @ values) + 1e-300) / df
        deviance = df * np.log(left) + np.log1p(ratio * answers_p).sum() + np.linalg.slogdet(precision)[1]
        return float(deviance), means, precision, left

    minimum = scipy.optimize.minimize_scalar(
        lambda log_ratio: at(float(np.exp(log_ratio)))[0],
        bounds=(-np.log(_MOST_RATIO), np.log(_MOST_RATIO)),
        method="bounded",
        options={"xatol": 0.01},
    )
    ratio = float(np.exp(minimum.x))
    _, means, precision, left = at(ratio)
    return _Model(means, precision, ratio * left, left, df)


def _predicted(
    model: _Model,
    values: np.ndarray,
    person: np.ndarray,
    variant: np.ndarray,
    shares: np.ndarray,
    observed: float,
    declared: int,
) -> EverybodysMeans:
    variants, people = model.means.size, shares.size
    answers_p = np.bincount(person, minlength=people)
    pulled = model.person / (model.left + model.person * answers_p)

    def solved(of: np.ndarray) -> np.ndarray:
        """The inverse of the values' covariance times `of` [N, ...]."""
        sums = np.zeros((people, *of.shape[1:]))
        np.add.at(sums, person, of)
        return (of - (pulled.reshape(-1, *[1] * (of.ndim - 1)) * sums)[person]) / model.left

    own = variant[:, None] == np.arange(variants)
    # Covariance of the values with everybody's means, and of these among themselves.
    between = shares[person][:, None] * (model.person + model.left * own)
    among = (model.person + model.left * np.eye(variants)) * float(shares @ shares)
    explained = solved(between)
    means = model.means + explained.T @ (values - model.means[variant])
    unknown = np.eye(variants) - own.T.astype(float) @ explained
    error = among - between.T @ explained + unknown.T @ np.linalg.solve(model.precision / model.left, unknown)
    se = np.sqrt(np.maximum(np.diag(error), 0))

    spread = None
    if variants > 1:
        noise = (np.trace(error) - error.sum() / variants) / (variants - 1)
        spread = float(np.sqrt(max(float(np.var(means, ddof=1)) - noise, 0.0)))
    # The observed mean is a weighted sum of the values; what it misses of everybody's.
    parts = shares[person] / shares[person].sum()
    sums_p = np.bincount(person, parts, minlength=people)
    variance = model.left * parts @ parts + model.person * sums_p @ sums_p
    variance += among.mean() - 2 * parts @ between.mean(axis=1)
    bias = parts @ model.means[variant] - model.means.mean()
    others = 0.0 if spread is None else _of_others(spread, variants, declared)
    mean_se = float(np.sqrt(max(variance, 0.0) + bias**2 + others**2))
    t = _quantile(model.df)
    mean_t = _quantile(min(model.df, variants - 1)) if others > 0 else t
    return EverybodysMeans(means, se, t * se, observed, mean_se, mean_t * mean_se, spread)
