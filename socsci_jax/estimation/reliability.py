"""Measurement error of choices, from one task that respondents answer twice with the sides swapped.

Source: Clayton, Horiuchi, Kaufman, King and Komisarchik, "Correcting measurement error bias in conjoint survey
experiments" (2023).  A respondent who swaps a choice by mistake with probability tau gives the same answer twice
with probability IRR = (1 - tau)^2 + tau^2, so tau = (1 - sqrt(2 IRR - 1)) / 2; a marginal mean m is then
tau + (1 - 2 tau) times the true one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import overload

import numpy as np

from socsci_jax.errors import InputError
from socsci_jax.estimation.conjoint import Conjoint, EffectDesign, effect_design

RESAMPLES = 2_000
# Resamples of which more than this share agree with themselves less than chance say nothing about tau.
MOST_UNDEFINED = 0.05


@overload
def swap_error(irr: float) -> float: ...
@overload
def swap_error(irr: np.ndarray) -> np.ndarray: ...
def swap_error(irr: np.ndarray | float) -> np.ndarray | float:
    """Probability tau of a mistaken choice from the reliability IRR; NaN where IRR is at most 1/2."""
    irr = np.asarray(irr, float)
    with np.errstate(invalid="ignore"):
        tau = (1 - np.sqrt(2 * irr - 1)) / 2
    return np.where(irr > 0.5, tau, np.nan)[()]


@dataclasses.dataclass(frozen=True)
class Bootstrapped:
    """A value with its bootstrap standard error and 95 % percentile interval; arrays of equal shape, or numbers."""

    value: np.ndarray
    se: np.ndarray
    lo: np.ndarray
    hi: np.ndarray


@dataclasses.dataclass(frozen=True)
class Corrected:
    """Reliability, swap error, and marginal means and AMCEs as measured and corrected, by (attribute, level).

    All intervals rest on the same resamples of respondents, in each of which tau is estimated anew.  `undefined`
    counts the resamples whose respondents agree with themselves less often than not: they have no tau.
    """

    irr: Bootstrapped
    tau: Bootstrapped
    levels: tuple[tuple[str, str], ...]
    means: Bootstrapped
    corrected_means: Bootstrapped
    effect_levels: tuple[tuple[str, str], ...]
    effects: Bootstrapped
    corrected_effects: Bootstrapped
    undefined: int


def corrected(
    conjoint: Conjoint,
    *,
    respondent: np.ndarray,
    agrees: np.ndarray,
    restricted: Sequence[Sequence[str]] = (),
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Corrected:
    """Corrects marginal means to (m - tau) / (1 - 2 tau) and AMCEs to a / (1 - 2 tau).

    `agrees` [R] says whether a `respondent` [R] chose the same profile in the repeated task as in the first; the
    repeated task itself is not part of `conjoint`.  Choices must be 0 or 1.  `restricted` as for `amce`.
    """
    if not np.isin(conjoint.choice, (0, 1)).all():
        raise InputError("A swapped choice is an error of choices; ratings cannot be corrected by it.")
    agrees = np.asarray(agrees, float)
    if not np.isin(agrees, (0, 1)).all():
        raise InputError("Agreement is 1 or 0; exclude respondents who did not answer the repeated task.")
    if len(np.unique(respondent)) < len(agrees):
        raise InputError("A respondent stands twice among those who repeated a task; give each once.")
    people, at = np.unique(np.concatenate([np.asarray(respondent), conjoint.respondent]), return_inverse=True)
    repeated, profile = at[: len(agrees)], at[len(agrees) :]
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(len(people), np.full(len(people), 1 / len(people)), size=resamples)
    counts_br = np.vstack([np.ones((1, len(people))), counts])  # the first row is the sample itself
    irr = counts_br[:, repeated] @ agrees / counts_br[:, repeated].sum(axis=1)
    tau = swap_error(irr)
    if not np.isfinite(tau[0]):
        raise InputError(
            f"Respondents agree with themselves in {irr[0]:.1%} of repeated tasks: no better than chance."
        )
    undefined = int((~np.isfinite(tau)).sum())
    if undefined > MOST_UNDEFINED * resamples:
        raise InputError(
            f"In {undefined} of {resamples} resamples respondents agree with themselves no better than chance; more "
            "repeated tasks are needed for an interval."
        )
    means = np.hstack([_means(conjoint, name, profile, counts_br) for name in conjoint.levels])
    design = effect_design(conjoint, restricted)
    effects = resampled_effects(conjoint, design, profile, counts_br)
    scale = (1 - 2 * tau)[:, None]
    return Corrected(
        irr=_summary(irr),
        tau=_summary(tau),
        levels=tuple((name, level) for name, levels in conjoint.levels.items() for level in levels),
        means=_summary(means),
        corrected_means=_summary((means - tau[:, None]) / scale),
        effect_levels=tuple(design.keys),
        effects=_summary(effects),
        corrected_effects=_summary(effects / scale),
        undefined=undefined,
    )


def _means(conjoint: Conjoint, name: str, profile: np.ndarray, counts_br: np.ndarray) -> np.ndarray:
    """Marginal means [1 + B, L] of an attribute in every resample."""
    weighted = conjoint.dummies(name) * conjoint.weights[:, None]
    top, bottom = (
        counts_br @ _by_person(values, profile, counts_br)
        for values in (weighted * conjoint.choice[:, None], weighted)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return top / bottom


def resampled_effects(
    conjoint: Conjoint, design: EffectDesign, profile: np.ndarray, counts_br: np.ndarray
) -> np.ndarray:
    """AMCEs [B, K] in every resample, from sums over respondents of X'X and X'y.

    `counts_br` [B, R] says how often each respondent was drawn, `profile` [N] whose each profile is (0 to R - 1).
    """
    X = design.X
    columns = X.shape[1]
    gram_r = np.zeros((counts_br.shape[1], columns, columns))
    weighted = X * conjoint.weights[:, None]
    order = np.argsort(profile, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(profile[order])) + 1):
        gram_r[profile[rows[0]]] = X[rows].T @ weighted[rows]
    right_r = _by_person(weighted * conjoint.choice[:, None], profile, counts_br)
    effects = np.empty((len(counts_br), len(design.keys)))
    # Some hundred resamples at a time: their Gram matrices would not fit otherwise.
    for first in range(0, len(counts_br), 256):
        counts = counts_br[first : first + 256]
        gram = (counts @ gram_r.reshape(len(gram_r), -1)).reshape(-1, columns, columns)
        try:
            solved = np.linalg.solve(gram, (counts @ right_r)[:, :, None])
        except np.linalg.LinAlgError:
            raise InputError(
                "A level is so rare that a resample of respondents lacks it; merge it with another."
            ) from None
        effects[first : first + 256] = solved[:, :, 0] @ design.contrasts.T
    return effects


def _by_person(values: np.ndarray, profile: np.ndarray, counts_br: np.ndarray) -> np.ndarray:
    sums = np.zeros((counts_br.shape[1], values.shape[1]))
    np.add.at(sums, profile, values)
    return sums


def _summary(replicates: np.ndarray) -> Bootstrapped:
    """The first replicate [1 + B, ...], with spread and percentiles of the others."""
    lo, hi = np.nanquantile(replicates[1:], [0.025, 0.975], axis=0)
    return Bootstrapped(replicates[0], np.nanstd(replicates[1:], axis=0, ddof=1), lo, hi)
