"""What everybody would have given under every variant, from a balanced assignment in which each answered few of them.

A value (an effect) of person p under variant v is b_v + a_p + e_pv: variants are fixed, persons random with variance σ_a², and
what is left has variance σ_e².  If σ_a²/σ_e² were known, the weighted mean of all persons under a variant, most of whom were
not asked, would be predicted without bias and with the least error (Henderson 1975, Biometrics 31), and miss it by a t
distribution.  Few persons leave that ratio open, and to plug in its estimate makes intervals too narrow (Kackar and Harville
1984, JASA 79).  So predictions are averaged over the ratio, by its restricted likelihood (Patterson and Thompson 1971,
Biometrika 58; Harville 1974, Biometrika 61) and the arcsine prior Beta(1/2, 1/2) of the share of σ_a² in σ_a² + σ_e².
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.special

LEVEL = 0.9
# Logarithms of σ_a² / σ_e² at which the likelihood is looked at, first everywhere and then where it is.
_COARSE, _FINE = np.linspace(-9, 9, 19), 9
_NEGLIGIBLE = 1e-3
_BISECTIONS = 40


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
    models = _fits(values, person, variant, given_pv)
    minimum = [_predicted(model, values, person, variant, shares) for model in models]
    return _averaged(models, minimum, observed, declared)


def _exact(means: np.ndarray, observed: float, declared: int) -> EverybodysMeans:
    spread = float(np.std(means, ddof=1)) if means.size > 1 else None
    se = 0.0 if spread is None else _of_others(spread, means.size, declared)
    nothing = np.zeros(means.size)
    return EverybodysMeans(means, nothing, nothing, observed, se, _quantile(means.size - 1) * se, spread)


def _of_others(spread: float, asked: int, declared: int) -> float:
    """Standard error of a mean over variants of which only some were asked."""
    return spread * float(np.sqrt(1 / asked - 1 / declared))


def _quantile(df: int) -> float:
    return float(scipy.special.stdtrit(max(df, 1), (1 + LEVEL) / 2))


@dataclasses.dataclass(frozen=True, eq=False)
class _Model:
    """Fixed means [V], their precision [V, V], the variances of persons and of what is left, and how likely these are."""

    means: np.ndarray
    precision: np.ndarray
    person: float
    left: float
    df: int
    weight: float


def _fits(values: np.ndarray, person: np.ndarray, variant: np.ndarray, given_pv: np.ndarray) -> list[_Model]:
    """The model at each ratio of variances that is not too unlikely."""
    people, variants = given_pv.shape
    answers_p = given_pv.sum(axis=1)
    sums_p = np.bincount(person, values, minlength=people)
    sums_v = np.bincount(variant, values, minlength=variants)
    df = max(values.size - variants, 1)

    def at(ratio: float) -> tuple[float, _Model]:
        """Logarithm of the density of log(ratio) given the values, and the model, where σ_a² is `ratio` times σ_e²."""
        pulled = ratio / (1 + ratio * answers_p)
        precision = np.diag(given_pv.sum(axis=0)) - (given_pv.T * pulled) @ given_pv
        right = sums_v - given_pv.T @ (pulled * sums_p)
        means = np.linalg.solve(precision, right)
        rest = float(values @ values - pulled @ sums_p**2 - means @ right)
        left = max(rest, 1e-12 * float(values @ values) + 1e-300) / df
        deviance = df * np.log(left) + np.log1p(ratio * answers_p).sum() + np.linalg.slogdet(precision)[1]
        # Beta(1/2, 1/2) of the share ratio / (1 + ratio), as a density of log(ratio).
        prior = np.log(ratio) / 2 - np.log1p(ratio)
        return float(prior - deviance / 2), _Model(means, precision, ratio * left, left, df, 1.0)

    def likely(log_ratios: np.ndarray) -> tuple[np.ndarray, list[_Model]]:
        densities, models = zip(*(at(float(np.exp(x))) for x in log_ratios), strict=True)
        weights = np.exp(np.array(densities) - max(densities))
        return weights, list(models)

    inside = np.flatnonzero(likely(_COARSE)[0] > _NEGLIGIBLE)
    ends = _COARSE[max(inside[0] - 1, 0)], _COARSE[min(inside[-1] + 1, _COARSE.size - 1)]
    weights, models = likely(np.linspace(*ends, _FINE))
    kept = weights > _NEGLIGIBLE
    total = weights[kept].sum()
    return [
        dataclasses.replace(model, weight=float(weight / total))
        for weight, model, keep in zip(weights, models, kept, strict=True)
        if keep
    ]


@dataclasses.dataclass(frozen=True, eq=False)
class _Predicted:
    """Everybody's means [V] with the covariance [V, V] of their errors, and the variance and bias of the observed mean."""

    means: np.ndarray
    error: np.ndarray
    observed_variance: float


def _predicted(
    model: _Model, values: np.ndarray, person: np.ndarray, variant: np.ndarray, shares: np.ndarray
) -> _Predicted:
    variants, people = model.means.size, shares.size
    answers = (person[:, None] == np.arange(people)).astype(float)
    answers_p = answers.sum(axis=0)
    pulled = model.person / (model.left + model.person * answers_p)

    def solved(of: np.ndarray) -> np.ndarray:
        """The inverse of the values' covariance times `of` [N, ...]."""
        sums = answers.T @ of
        return (of - (pulled.reshape(-1, *[1] * (of.ndim - 1)) * sums)[person]) / model.left

    own = variant[:, None] == np.arange(variants)
    # Covariance of the values with everybody's means, and of these among themselves.
    between = shares[person][:, None] * (model.person + model.left * own)
    among = (model.person + model.left * np.eye(variants)) * float(shares @ shares)
    explained = solved(between)
    means = model.means + explained.T @ (values - model.means[variant])
    unknown = np.eye(variants) - own.T.astype(float) @ explained
    error = among - between.T @ explained + unknown.T @ np.linalg.solve(model.precision / model.left, unknown)

    # The observed mean is a weighted sum of the values; what it misses of everybody's.
    parts = shares[person] / shares[person].sum()
    sums_p = answers.T @ parts
    variance = model.left * parts @ parts + model.person * sums_p @ sums_p
    variance += among.mean() - 2 * parts @ between.mean(axis=1)
    bias = parts @ model.means[variant] - model.means.mean()
    return _Predicted(means, error, float(max(variance, 0.0) + bias**2))


def _averaged(
    models: list[_Model], minimum: list[_Predicted], observed: float, declared: int
) -> EverybodysMeans:
    """What is known of everybody's means where the ratio of variances is as likely as `models` say."""
    weights = np.array([model.weight for model in models])
    means_kv = np.stack([one.means for one in minimum])
    error = np.einsum("k,kvw->vw", weights, np.stack([one.error for one in minimum]))
    se_kv = np.sqrt(np.maximum(np.stack([np.diag(one.error) for one in minimum]), 0))
    means = weights @ means_kv
    shifted = means_kv - means
    error = error + np.einsum("k,kv,kw->vw", weights, shifted, shifted)
    se = np.sqrt(np.maximum(np.diag(error), 0))
    df, variants = models[0].df, means.size

    spread = None
    if variants > 1:
        noise = (np.trace(error) - error.sum() / variants) / (variants - 1)
        spread = float(np.sqrt(max(float(np.var(means, ddof=1)) - noise, 0.0)))
    others = 0.0 if spread is None else _of_others(spread, variants, declared)
    mean_se = float(np.sqrt(weights @ [one.observed_variance for one in minimum] + others**2))
    mean_t = _quantile(min(df, variants - 1) if others > 0 else df)
    half = _half_width(shifted, se_kv, weights, df)
    return EverybodysMeans(means, se, half, observed, mean_se, mean_t * mean_se, spread)


def _half_width(shifted_kv: np.ndarray, se_kv: np.ndarray, weights: np.ndarray, df: int) -> np.ndarray:
    """Half widths [V] of intervals around 0 that hold LEVEL of mixtures of t distributions, by bisection."""
    scale = np.maximum(se_kv, 1e-300)
    lo = np.zeros(shifted_kv.shape[1])
    hi = np.abs(shifted_kv).max(axis=0) + _quantile(df) * scale.max(axis=0)
    for _ in range(_BISECTIONS):
        middle = (lo + hi) / 2
        ends = (middle - shifted_kv) / scale, (-middle - shifted_kv) / scale
        inside = weights @ (scipy.special.stdtr(df, ends[0]) - scipy.special.stdtr(df, ends[1]))
        lo, hi = np.where(inside < LEVEL, middle, lo), np.where(inside < LEVEL, hi, middle)
    return hi
