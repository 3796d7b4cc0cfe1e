"""Prediction-powered inference (PPI++): many predictions, and few answers that say how wrong they are.

Source: Angelopoulos, Duchi and Zrnic, "PPI++: efficient prediction-powered inference" (2023).
lambda = 0 is the answers alone, lambda = 1 trusts the predictions as they are; the best lambda is between, and is
fitted in other folds than those it is used in (Zrnic and Candes, "Cross-prediction-powered inference", 2024).
n labeled rows, N others, P coefficients.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np
import scipy.special

from socsci_jax.errors import InputError
from socsci_jax.estimation.linear import (
    Estimates,
    Family,
    assign_folds,
    check_design,
    degrees,
    fit,
    invert,
    solve_logit,
    sum_by_cluster,
    wald,
    weighted_gram,
)
from socsci_jax.estimation.sampling_weights import Weights, check_weights

Errors = Literal["HC2", "HC0", "gradients"]


@dataclasses.dataclass(frozen=True)
class Sample:
    """Rows of one kind: design [n, P], prediction [n], and answers [n] where they are labeled.

    `weights` [n] are sampling weights (already divided by a labeling probability that varies), `clusters` [n] name
    what was sampled as one; a cluster may have rows in both samples.
    """

    X: np.ndarray
    prediction: np.ndarray
    y: np.ndarray | None = None
    weights: Weights = Weights()
    clusters: np.ndarray | None = None

    def __post_init__(self) -> None:
        X, prediction = np.asarray(self.X, float), np.asarray(self.prediction, float)
        y = None if self.y is None else np.asarray(self.y, float)
        check_design(X, prediction, *(() if y is None else (y,)))
        weights = np.ones(len(X)) if self.weights is None else check_weights(self.weights, len(X))
        clusters = None if self.clusters is None else np.asarray(self.clusters)
        values = {"X": X, "prediction": prediction, "y": y, "clusters": clusters}
        for name, value in (values | {"weights": weights / weights.mean()}).items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.X)

    @property
    def answers(self) -> np.ndarray:
        """y [n]; raises InputError for a sample without answers."""
        if self.y is None:
            raise InputError("The labeled sample has no answers; give y.")
        return self.y

    def rows(self, chosen: np.ndarray) -> Sample:
        return Sample(
            self.X[chosen],
            self.prediction[chosen],
            None if self.y is None else self.y[chosen],
            self.weights[chosen],
            None if self.clusters is None else self.clusters[chosen],
        )


@dataclasses.dataclass(frozen=True)
class Rectified:
    """Estimates, and the weight `lam` that the predictions were given: its mean over folds where it was fitted."""

    estimates: Estimates
    lam: float


def ppi(
    labeled: Sample,
    unlabeled: Sample,
    *,
    family: Family = "linear",
    lam: float | None = None,
    coefficient: int | None = None,
    errors: Errors = "HC2",
    folds: int = 5,
    seed: int = 0,
    names: Sequence[str] = (),
) -> Rectified:
    """PPI++ of a mean (X a column of ones), a linear or a logistic regression.

    `lam` None is fitted in the other folds, within [0, 1], so that the variance of `coefficient` (None: the sum of
    all variances) is least.  A linear model is OLS(X_U, lam f_U) + OLS(X_L, y - lam f_L), and its covariance the sum
    of the two sandwiches, HC2 by default: few labeled rows fit themselves a little, which HC0 does not notice.
    `errors="gradients"` is what ppi-python does for OLS, taken at the estimate itself: wider where the coefficients of
    the predictions are far from those of the answers.  A logit has the latter always.
    Intervals use t with n - P degrees of freedom, or the labeled clusters - 1 where clusters are given; the
    source's are normal.
    """
    if (labeled.clusters is None) != (unlabeled.clusters is None):
        raise InputError("Clusters are given for one of the two samples; give them for both, or for none.")
    if lam is None:
        by_row = _cross_fitted(labeled, unlabeled, family, coefficient, errors, folds, seed)
        labeled, unlabeled, lam = _weighed_alike(labeled, unlabeled, *by_row)
    theta = _solve(labeled, unlabeled, family, lam)
    influence = _influence(labeled, unlabeled, family, errors, theta, answers=1.0, lam=lam)
    covariance = _product(influence, influence, labeled, unlabeled)
    df = degrees(labeled.clusters, rows=len(labeled) - len(theta))
    return Rectified(wald(theta, covariance, names=names, df=df), float(lam))


def ppi_mean(
    y: np.ndarray,
    prediction: np.ndarray,
    prediction_unlabeled: np.ndarray,
    *,
    lam: float | None = None,
    weights: np.ndarray | None = None,
    weights_unlabeled: np.ndarray | None = None,
    clusters: np.ndarray | None = None,
    clusters_unlabeled: np.ndarray | None = None,
    errors: Errors = "HC2",
    folds: int = 5,
    seed: int = 0,
) -> Rectified:
    """PPI++ of a mean: lam mean(f_U) + mean(y - lam f_L), variance lam^2 var(f_U) / N + var(y - lam f_L) / n."""
    one = [np.ones((len(f), 1)) for f in (prediction, prediction_unlabeled)]
    labeled = Sample(one[0], prediction, y, weights, clusters)
    unlabeled = Sample(one[1], prediction_unlabeled, None, weights_unlabeled, clusters_unlabeled)
    return ppi(labeled, unlabeled, lam=lam, errors=errors, folds=folds, seed=seed, names=("mean",))


def _weighed_alike(
    labeled: Sample, unlabeled: Sample, lam_labeled: np.ndarray, lam_unlabeled: np.ndarray
) -> tuple[Sample, Sample, float]:
    """Samples whose predictions stand for a weight of their own in each row, and the one mean weight to use with them.

    Only what a prediction says beyond the design is weighted by row.  Its level times a weight that differs between
    folds would shift whole folds, and an arm of few answers has more of one fold than another.  The design's part of
    a prediction cancels between the samples whatever it is weighted by, so nothing else changes.
    """
    mean = float(lam_labeled.mean())
    if mean == 0:
        return labeled, unlabeled, mean
    rows = [
        np.concatenate([getattr(one, name) for one in (labeled, unlabeled)])
        for name in ("X", "prediction", "weights")
    ]
    explained = fit(rows[0], rows[1], weights=rows[2]).coefficients
    made = []
    for sample, lam in ((labeled, lam_labeled), (unlabeled, lam_unlabeled)):
        beyond = sample.prediction - sample.X @ explained
        made.append(dataclasses.replace(sample, prediction=sample.prediction + (lam / mean - 1) * beyond))
    return made[0], made[1], mean


def _solve(labeled: Sample, unlabeled: Sample, family: Family, lam: float) -> np.ndarray:
    """Coefficients [P] for one weight of the predictions."""
    if family == "linear":
        rectifier = fit(labeled.X, labeled.answers - lam * labeled.prediction, weights=labeled.weights)
        if lam == 0:
            return rectifier.coefficients
        imputed = fit(unlabeled.X, lam * unlabeled.prediction, weights=unlabeled.weights)
        return imputed.coefficients + rectifier.coefficients
    rows = np.concatenate([unlabeled.X, labeled.X, labeled.X])
    target = np.concatenate([unlabeled.prediction, labeled.prediction, labeled.answers])
    weight = np.concatenate(
        [
            lam * unlabeled.weights / len(unlabeled),
            -lam * labeled.weights / len(labeled),
            labeled.weights / len(labeled),
        ]
    )
    return solve_logit(rows, target, weight)


def _influence(
    labeled: Sample,
    unlabeled: Sample,
    family: Family,
    errors: Errors,
    theta: np.ndarray,
    *,
    answers: float,
    lam: float,
) -> np.ndarray:
    """What each row [n + N, P] moves in the estimate, with this weight of the answers and of the predictions."""
    if family == "linear" and errors != "gradients":
        corrected = answers * labeled.answers - lam * labeled.prediction
        fits = (
            fit(labeled.X, corrected, weights=labeled.weights),
            fit(unlabeled.X, lam * unlabeled.prediction, weights=unlabeled.weights),
        )
        leverage = [one.leverage if errors == "HC2" and labeled.clusters is None else 0.0 for one in fits]
        return np.concatenate(
            [
                one.scores @ one.inverse_hessian / np.sqrt(np.maximum(1 - h, 1e-12))[..., None]
                for h, one in zip(leverage, fits)
            ]
        )
    means = [sample.X @ theta for sample in (labeled, unlabeled)]
    if family == "logit":
        means = [scipy.special.expit(mean) for mean in means]
    gradients = (
        answers * (labeled.answers - means[0]) - lam * (labeled.prediction - means[0]),
        lam * (unlabeled.prediction - means[1]),
    )
    # The unlabeled rows have no part in the answers alone.
    both = (labeled, unlabeled) if lam != 0 else (labeled,)
    inverse = invert(_hessian(theta, family, *both))
    rows = []
    for sample, gradient in zip((labeled, unlabeled), gradients):
        scores = sample.X * (sample.weights * gradient)[:, None] @ inverse
        small_sample = np.sqrt(len(sample) / (len(sample) - 1))
        rows.append(small_sample * (scores - scores.mean(axis=0)) / len(sample))
    return np.concatenate(rows)


def _hessian(theta: np.ndarray, family: Family, *samples: Sample) -> np.ndarray:
    """Mean Hessian [P, P] over all rows of the samples."""
    total = np.zeros((len(theta), len(theta)))
    for sample in samples:
        slope = np.ones(len(sample))
        if family == "logit":
            mean = scipy.special.expit(sample.X @ theta)
            slope = mean * (1 - mean)
        total += weighted_gram(sample.X, sample.weights * slope)
    return total / sum(map(len, samples))


def _product(first: np.ndarray, second: np.ndarray, labeled: Sample, unlabeled: Sample) -> np.ndarray:
    """Covariance [P, P] of two estimates from their influences [n + N, P]."""
    if labeled.clusters is None:
        return first.T @ second
    clusters = np.concatenate([labeled.clusters, unlabeled.clusters])
    first, second = (sum_by_cluster(rows, clusters) for rows in (first, second))
    return len(first) / (len(first) - 1) * first.T @ second


def best_lam(
    labeled: Sample,
    unlabeled: Sample,
    *,
    family: Family = "linear",
    coefficient: int | None = None,
    errors: Errors = "HC2",
) -> float:
    """Weight within [0, 1] that minimizes the estimated variance, on the very rows that are given.

    With a, b the influences of answers and predictions: cov_L(a, b) / n over var_L(b) / n + var_U(b) / N.
    """
    theta = fit(labeled.X, labeled.answers, family=family, weights=labeled.weights).coefficients
    answers = _influence(labeled, unlabeled, family, errors, theta, answers=1.0, lam=0.0)
    subtracted = _influence(labeled, unlabeled, family, errors, theta, answers=0.0, lam=-1.0)
    chosen = slice(None) if coefficient is None else [coefficient]
    answers, subtracted = answers[:, chosen], subtracted[:, chosen]
    variance = np.trace(_product(subtracted, subtracted, labeled, unlabeled))
    mixed = np.trace(_product(answers, subtracted, labeled, unlabeled))
    return float(np.clip(mixed / variance, 0, 1)) if variance > 0 else 0.0


def _cross_fitted(
    labeled: Sample,
    unlabeled: Sample,
    family: Family,
    coefficient: int | None,
    errors: Errors,
    folds: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Weight of each labeled [n] and other row [N], fitted in the folds that do not hold it."""
    rng = np.random.default_rng(seed)
    n = len(labeled)
    if labeled.clusters is None:
        fold = np.concatenate([assign_folds(rows, folds=folds, rng=rng) for rows in (n, len(unlabeled))])
    else:
        clusters = np.concatenate([labeled.clusters, unlabeled.clusters])
        fold = assign_folds(len(clusters), folds=folds, rng=rng, clusters=clusters)
    lam = np.empty(len(fold))
    for k in range(folds):
        train = fold != k
        try:
            parts = labeled.rows(train[:n]), unlabeled.rows(train[n:])
            lam[~train] = best_lam(*parts, family=family, coefficient=coefficient, errors=errors)
        except InputError as error:
            raise InputError(
                f"The weight of the predictions cannot be fitted without fold {k} of {folds}: {error} "
                "More labels, fewer folds, or a lam that is given make it possible."
            ) from None
    return lam[:n], lam[n:]
