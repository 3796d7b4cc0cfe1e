"""How answers of the same people hang together: correlations within and between, reliability, mediation.

Shapes: P personas, A and B answers to two items, N rows (respondents), K items.  What is computed from joint distributions
is exact; what is computed from rows has the sampling error of so many people.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from socsci_jax.errors import InputError
from socsci_jax.estimation.linear import check_design

LEVEL = 0.95
RESAMPLES = 2000
# Rows of resampling weights that are held at a time.
_AT_A_TIME = 200


@dataclasses.dataclass(frozen=True)
class Covariances:
    """Variances of two items and their covariance, over all people; and the parts of each that lie within and between personas.

    total = within + between (law of total covariance): within is E[cov(a, b | persona)], between cov(E[a | persona],
    E[b | persona]).  Each is an array [2, 2].
    """

    within: np.ndarray
    between: np.ndarray

    @property
    def total(self) -> np.ndarray:
        return self.within + self.between


def covariances(
    joints_pab: np.ndarray, at_a: np.ndarray, at_b: np.ndarray, weights: np.ndarray
) -> Covariances:
    """Covariances of two items from personas' joint distributions [P, A, B] over answers at `at_a` [A] and `at_b` [B].

    Joints need not sum to one: what they sum to is a persona's chance to give both answers, and counts with its weight, as
    a pair of missing answers would be omitted.
    """
    mass = joints_pab.sum((1, 2))
    share = weights * mass
    share = share / share.sum()
    probs = joints_pab / np.where(mass > 0, mass, 1)[:, None, None]
    at = np.stack([np.repeat(at_a, len(at_b)), np.tile(at_b, len(at_a))])
    flat = probs.reshape(len(probs), -1)
    means = flat @ at.T  # [P, 2]
    second = np.einsum("pn,in,jn->pij", flat, at, at)
    within = np.einsum("p,pij->ij", share, second - means[:, :, None] * means[:, None, :])
    centered = means - share @ means
    between = np.einsum("p,pi,pj->ij", share, centered, centered)
    return Covariances(within=within, between=between)


def correlation(covariance: np.ndarray) -> float | None:
    """The correlation of two items from their covariances [2, 2]; None where one of them does not vary."""
    spread = float(covariance[0, 0] * covariance[1, 1])
    if spread <= 1e-24:
        return None
    return float(np.clip(covariance[0, 1] / np.sqrt(spread), -1, 1))


def cramers_v(joint_ab: np.ndarray) -> float | None:
    """Cramér's V of a joint distribution [A, B]: 0 for independence, 1 for one answer that tells the other.

    √(φ² / min(A − 1, B − 1)) over answers that are given at all; None where one item has a single such answer.
    """
    joint = joint_ab[joint_ab.sum(1) > 0][:, joint_ab.sum(0) > 0]
    least = min(joint.shape) - 1
    if least < 1:
        return None
    joint = joint / joint.sum()
    independent = np.outer(joint.sum(1), joint.sum(0))
    return float(np.sqrt(((joint - independent) ** 2 / independent).sum() / least))


def cronbach_alpha(covariance: np.ndarray) -> float | None:
    """Cronbach's alpha of K items from their covariance matrix [K, K]: K / (K − 1) (1 − Σ variances / variance of the sum).

    None where the sum does not vary (Cronbach 1951, Psychometrika 16).
    """
    count, total = len(covariance), float(covariance.sum())
    if count < 2:
        raise InputError("A scale needs at least two items.")
    if total <= 1e-12 * max(float(np.trace(covariance)), 1e-12):
        return None
    return float(count / (count - 1) * (1 - np.trace(covariance) / total))


@dataclasses.dataclass(frozen=True)
class Interval:
    """An estimate with its percentile bootstrap interval; all None where it cannot be computed."""

    estimate: float | None
    lo: float | None
    hi: float | None


def alpha_of_rows(
    answers: np.ndarray, *, rng: np.random.Generator, level: float = LEVEL, resamples: int = RESAMPLES
) -> Interval:
    """Cronbach's alpha of rows [N, K] of people without missing answers, with a bootstrap interval over people."""
    centered = answers - answers.mean(0)
    pairs = np.einsum("ni,nj->nij", centered, centered).reshape(len(answers), -1)
    size = answers.shape[1]

    def alphas(counts: np.ndarray) -> np.ndarray:
        n = counts.sum(1)[:, None]
        means = counts @ centered / n
        second = (counts @ pairs / n).reshape(-1, size, size)
        covariance = second - means[:, :, None] * means[:, None, :]
        trace, total = np.trace(covariance, axis1=1, axis2=2), covariance.sum((1, 2))
        with np.errstate(divide="ignore", invalid="ignore"):
            return size / (size - 1) * (1 - trace / total)

    estimate = cronbach_alpha(np.cov(answers.T))
    drawn = np.concatenate([alphas(counts) for counts in _resamples(len(answers), resamples, rng)])
    return _interval(estimate, drawn, level)


@dataclasses.dataclass(frozen=True)
class Mediation:
    """What a treatment x does to y through m, by the product of coefficients (Baron and Kenny 1986; intervals by Preacher
    and Hayes 2008, percentile bootstrap over people).

    a: of x on m; b: of m on y, given x; indirect: a b; direct: of x on y, given m; total: of x on y (= indirect + direct).
    """

    a: Interval
    b: Interval
    indirect: Interval
    direct: Interval
    total: Interval


def mediation(
    x: np.ndarray,
    m: np.ndarray,
    y: np.ndarray,
    *,
    rng: np.random.Generator,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Mediation:
    """Mediation in two linear regressions of rows x, m, y [N]: m on x, and y on x and m.

    Raises InputError where x or m does not vary, or one follows from the other.
    """
    z = np.column_stack([np.ones(len(x)), x, m, y]).astype(float)
    check_design(z[:, :3], z[:, 3])
    products = np.einsum("ni,nj->nij", z, z).reshape(len(z), -1)
    paths = _paths((products.sum(0)).reshape(1, 4, 4))[0]
    drawn = np.concatenate(
        [_paths((counts @ products).reshape(-1, 4, 4)) for counts in _resamples(len(z), resamples, rng)]
    )
    return Mediation(*(_interval(float(path), drawn[:, n], level) for n, path in enumerate(paths)))


def _paths(gram: np.ndarray) -> np.ndarray:
    """a, b, a b, direct and total [B, 5] from products [B, 4, 4] of 1, x, m, y; NaN where a resample has no solution."""
    # A resample of one arm alone: its pseudo-inverse is finite and says nothing.
    singular = np.linalg.cond(gram[:, :3, :3]) > 1e12
    safe = np.where(singular[:, None, None], np.eye(3), gram[:, :3, :3])
    of_m = np.linalg.solve(safe[:, :2, :2], gram[:, :2, 2:3])[:, :, 0]
    of_y = np.linalg.solve(safe, gram[:, :3, 3:4])[:, :, 0]
    a, b, direct = of_m[:, 1], of_y[:, 2], of_y[:, 1]
    paths = np.column_stack([a, b, a * b, direct, a * b + direct])
    paths[singular] = np.nan
    return paths


def _resamples(rows: int, resamples: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """How often each row is drawn in each resample, [<= 200, N] at a time."""
    for start in range(0, resamples, _AT_A_TIME):
        drawn = rng.integers(0, rows, size=(min(_AT_A_TIME, resamples - start), rows))
        yield np.stack([np.bincount(own, minlength=rows) for own in drawn]).astype(float)


def _interval(estimate: float | None, drawn: np.ndarray, level: float) -> Interval:
    finite = drawn[np.isfinite(drawn)]
    if estimate is None or len(finite) < 0.9 * len(drawn):
        return Interval(estimate, None, None)
    lo, hi = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(lo), float(hi))
