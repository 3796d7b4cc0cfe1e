"""What a distribution of profiles is worth, by inverse-probability weights and without a model of the choice.

N profiles, K levels of all attributes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from socsci_jax.errors import InputError
from socsci_jax.estimation.conjoint import Conjoint
from socsci_jax.estimation.linear import Estimates, sum_by_cluster, wald
from socsci_jax.estimation.profiles import Levels, optimal_profiles
from socsci_jax.wording import counted


def ipw_value(conjoint: Conjoint, distribution: np.ndarray, *, design: np.ndarray | None = None) -> Estimates:
    """Mean choice under another distribution [K] (or one a row [N, K]) by inverse-probability weights.

    Weights are ratios of the distribution to the `design` [K], their sum normalized to 1 (Hajek); errors are
    clustered by respondent.  No model of the choice is used: a value that a model promises is checked by it.
    """
    levels = Levels.of(conjoint)
    design = levels.shares(conjoint) if design is None else np.asarray(design, float)
    weight = conjoint.weights * profile_ratio(conjoint, levels, distribution, design)
    return hajek(conjoint.choice, weight, conjoint.respondent)


def profile_ratio(
    conjoint: Conjoint, levels: Levels, distribution: np.ndarray, design: np.ndarray
) -> np.ndarray:
    """Probability [N] of each profile under the distribution over that under the design."""
    dummies = np.hstack([conjoint.dummies(name) for name in conjoint.levels]).astype(bool)
    ratio = np.broadcast_to(distribution / design, dummies.shape)
    return ratio[dummies].reshape(len(dummies), len(levels.members)).prod(axis=1)


def hajek(outcome: np.ndarray, weight: np.ndarray, clusters: np.ndarray) -> Estimates:
    """Weighted mean with errors clustered."""
    if not weight.sum() > 0:
        raise InputError("No profile in the data has a positive probability under this distribution.")
    value = weight @ outcome / weight.sum()
    sums = sum_by_cluster(weight * (outcome - value) / weight.sum(), clusters)
    groups = len(sums)
    return wald(value, groups / (groups - 1) * sums @ sums, names=["value"], df=groups - 1)


def cross_fitted_value(
    conjoint: Conjoint,
    *,
    penalty: float,
    design: np.ndarray | None = None,
    fixed: Mapping[str, str] | None = None,
    folds: int = 5,
    seed: int = 0,
) -> Estimates:
    """What the optimum is worth to respondents it was not fitted to: by weights, over folds of respondents."""
    levels = Levels.of(conjoint)
    design = levels.shares(conjoint) if design is None else np.asarray(design, float)
    distribution = np.empty((len(conjoint.choice), len(levels.keys)))
    for held in respondent_folds(conjoint.respondent, folds=folds, seed=seed):
        train = conjoint.rows(~held)
        if train.levels != conjoint.levels:
            raise InputError(
                "A level is so rare that a fold of respondents lacks it; merge it, or use fewer folds."
            )
        best = optimal_profiles(train, penalty=penalty, design=design, fixed=fixed)
        distribution[held] = best.distribution.estimate
    return ipw_value(conjoint, distribution, design=design)


def respondent_folds(respondent: np.ndarray, *, folds: int, seed: int) -> Sequence[np.ndarray]:
    """Masks [N] of the folds: all rows of a respondent are in one."""
    people, at = np.unique(respondent, return_inverse=True)
    if len(people) < folds:
        raise InputError(f"{counted(len(people), 'respondent')} for {folds} folds; use fewer folds.")
    fold = np.random.default_rng(seed).permutation(np.arange(len(people)) % folds)[at]
    return [fold == k for k in range(folds)]
