"""Design-based supervised learning: regressions on predictions that are corrected by answers labeled at random.

Source: Egami, Hinck, Stewart and Wei, "Using imperfect surrogates for downstream inference" (2023).
The pseudo-outcome g + (R / pi)(y - g) has the mean of the true answer whatever the prediction g, because the
probability pi of being labeled is known.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from socsci_jax.errors import InputError
from socsci_jax.estimation.linear import Estimates, Family, assign_folds, degrees, fit, wald
from socsci_jax.estimation.sampling_weights import check_weights


def pseudo_outcomes(
    prediction: np.ndarray, y: np.ndarray, labeled: np.ndarray, probability: np.ndarray | float
) -> np.ndarray:
    """Pseudo-outcomes [N]: g + (R / pi)(y - g); y and pi are read in labeled rows only.

    Raises InputError where a labeled row has no answer or a probability outside (0, 1].
    """
    prediction, y, labeled = np.asarray(prediction, float), np.asarray(y, float), np.asarray(labeled, bool)
    if not labeled.any():
        raise InputError("No row is labeled; predictions alone cannot be corrected.")
    pi = np.broadcast_to(np.asarray(probability, float), y.shape)[labeled]
    wrong = ~((pi > 0) & (pi <= 1))
    if wrong.any():
        raise InputError(f"Labeling probability {pi[np.argmax(wrong)]}; it must be above 0 and at most 1.")
    if not np.isfinite(y[labeled]).all():
        raise InputError("A labeled row has no answer; mark it as not labeled.")
    pseudo = prediction.copy()
    pseudo[labeled] += (y[labeled] - prediction[labeled]) / pi
    return pseudo


def dsl(
    X: np.ndarray,
    *,
    prediction: np.ndarray,
    y: np.ndarray,
    labeled: np.ndarray,
    probability: np.ndarray | float,
    family: Family = "linear",
    weights: np.ndarray | None = None,
    clusters: np.ndarray | None = None,
    names: Sequence[str] = (),
) -> Estimates:
    """Regresses corrected predictions on X [N, P]; all other arrays are [N], y may be NaN where not labeled.

    A linear model is OLS on the pseudo-outcome with HC0 (clustered: CR0), a logit solves X'(pseudo - expit(Xb)) = 0.
    Intervals use t with (labeled rows - P) degrees of freedom, or (clusters that hold a label - 1): the other rows
    say nothing about the correction.
    """
    labeled = np.asarray(labeled, bool)
    pseudo = pseudo_outcomes(prediction, y, labeled, probability)
    solved = fit(X, pseudo, family=family, weights=weights)
    covariance = solved.covariance("HC0" if clusters is None else "CR0", clusters=clusters)
    known = None if clusters is None else np.asarray(clusters)[labeled]
    df = degrees(known, rows=labeled.sum() - len(solved.coefficients))
    return wald(solved.coefficients, covariance, names=names, df=df)


def recalibrate(
    X: np.ndarray,
    *,
    prediction: np.ndarray,
    y: np.ndarray,
    labeled: np.ndarray,
    probability: np.ndarray | float,
    rng: np.random.Generator,
    folds: int = 5,
    weights: np.ndarray | None = None,
    clusters: np.ndarray | None = None,
) -> np.ndarray:
    """Predictions [N] mapped to the scale of the answers by OLS on (X, prediction), fitted in the other folds.

    A prediction that is biased, or spread too little, costs `dsl` precision though never validity; this removes
    what is linear in it.  No row's own answer enters its prediction.
    """
    prediction, y, labeled = np.asarray(prediction, float), np.asarray(y, float), np.asarray(labeled, bool)
    design = np.column_stack([X, prediction])
    if np.linalg.matrix_rank(design[labeled]) < design.shape[1]:
        design = np.asarray(X, float)  # the prediction is a function of X alone
    weight = (np.ones(len(y)) if weights is None else check_weights(weights, len(y))) / np.broadcast_to(
        probability, y.shape
    )
    fold = assign_folds(len(y), folds=folds, rng=rng, clusters=clusters)
    recalibrated = np.empty(len(y))
    for k in range(folds):
        train, held = labeled & (fold != k), fold == k
        recalibrated[held] = design[held] @ fit(design[train], y[train], weights=weight[train]).coefficients
    return recalibrated


def dsl_over_splits(
    X: np.ndarray,
    *,
    prediction: np.ndarray,
    y: np.ndarray,
    labeled: np.ndarray,
    probability: np.ndarray | float,
    splits: int = 10,
    folds: int = 5,
    seed: int = 0,
    family: Family = "linear",
    weights: np.ndarray | None = None,
    clusters: np.ndarray | None = None,
    names: Sequence[str] = (),
) -> Estimates:
    """`dsl` on predictions that are recalibrated over several random splits, combined by `median_of_splits`."""
    rng = np.random.default_rng(seed)
    # A row that is not labeled has no probability to weigh by, and needs none.
    pi = np.where(labeled, np.broadcast_to(np.asarray(probability, float), np.shape(y)), 1.0)
    fits = []
    for _ in range(splits):
        g = recalibrate(
            X,
            prediction=prediction,
            y=y,
            labeled=labeled,
            probability=pi,
            weights=weights,
            clusters=clusters,
            rng=rng,
            folds=folds,
        )
        one = dsl(
            X,
            prediction=g,
            y=y,
            labeled=labeled,
            probability=pi,
            weights=weights,
            clusters=clusters,
            family=family,
            names=names,
        )
        fits.append(one)
    return median_of_splits(fits)


def median_of_splits(fits: Sequence[Estimates]) -> Estimates:
    """One result of several splits: the median coefficient, se = sqrt(median(se_s^2 + (b_s - b)^2)).

    Source: Chernozhukov et al., "Double/debiased machine learning" (2018), definition 3.3.
    """
    if not fits:
        raise InputError("No split was fitted; use at least one.")
    coefficients = np.stack([one.estimate for one in fits])
    middle = np.median(coefficients, axis=0)
    spread = np.stack(
        [one.covariance + np.outer(one.estimate - middle, one.estimate - middle) for one in fits]
    )
    return wald(middle, np.median(spread, axis=0), names=fits[0].names, df=fits[0].df)
