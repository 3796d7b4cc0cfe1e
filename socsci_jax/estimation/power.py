"""How many human answers buy which interval, when predictions are there for many more people.

The variance of an estimate from n answers and N further predictions is
(A - 2 lam C + lam^2 B) / n + lam^2 U / N, least at lam = (C / n) / (B / n + U / N): A, B, C, U are variances and
covariances of single rows' influences, and a pilot tells them.  With one number for B and U, and rho^2 = C^2 / AB,
the least variance is A / n (1 - rho^2 / (1 + n / N)): what predictions save depends on rho alone.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.optimize
import scipy.special

from socsci_jax.errors import InputError
from socsci_jax.estimation.dip import Experiment
from socsci_jax.estimation.linear import LEVEL, Family, fit
from socsci_jax.estimation.ppi import Sample

# Above this many answers, a width that is still too large is called out of reach.
MOST_LABELS = 10**9


@dataclasses.dataclass(frozen=True)
class Worth:
    """Variances of one row's influence: answers (A), their covariance with predictions (C), predictions of labeled
    rows (B) and of others (U)."""

    answers: float
    mixed: float
    labeled: float
    unlabeled: float

    @property
    def correlation(self) -> float:
        """Correlation rho of answers and predictions, of which rho^2 is the most that predictions can save."""
        return float(self.mixed / np.sqrt(self.answers * self.labeled))

    def lam(self, n: np.ndarray | float, others: float) -> np.ndarray:
        """Best weight of the predictions within [0, 1] for n answers and `others` further predictions."""
        n = np.asarray(n, float)
        return np.clip((self.mixed / n) / (self.labeled / n + self.unlabeled / others), 0, 1)

    def se(self, n: np.ndarray | float, others: float, *, lam: float | None = None) -> np.ndarray:
        """Standard error for n answers; `lam` None is the best, 0 the answers alone."""
        n = np.asarray(n, float)
        weight = self.lam(n, others) if lam is None else np.asarray(lam, float)
        of_answers = self.answers - 2 * weight * self.mixed + weight**2 * self.labeled
        return np.sqrt(of_answers / n + weight**2 * self.unlabeled / others)


@dataclasses.dataclass(frozen=True)
class Curve:
    """For each number of answers [K]: half widths of the 95 % intervals with and without predictions, the number of
    answers alone that would give the same interval, and the power to find `effect` with and without."""

    n: np.ndarray
    half_width: np.ndarray
    half_width_alone: np.ndarray
    equivalent: np.ndarray
    power: np.ndarray
    power_alone: np.ndarray


def worth_of_regression(
    labeled: Sample, unlabeled: Sample, *, coefficient: int, family: Family = "linear"
) -> Worth:
    """What a pilot says of one coefficient (of a mean, with a column of ones).  Clustered rows are not supported."""
    if labeled.clusters is not None:
        raise InputError("The worth of answers is for single people; give one row for each cluster.")
    answers, predicted = (
        _influence(labeled, target, family, coefficient) for target in (labeled.answers, labeled.prediction)
    )
    others = _influence(unlabeled, unlabeled.prediction, family, coefficient)
    return Worth(*(float(np.mean(product)) for product in (
        answers**2, answers * predicted, predicted**2, others**2
    )))  # fmt: skip


def _influence(sample: Sample, target: np.ndarray, family: Family, coefficient: int) -> np.ndarray:
    solved = fit(sample.X, target, family=family, weights=sample.weights)
    return len(sample) * solved.scores @ solved.inverse_hessian[:, coefficient]


def worth_of_experiment(experiment: Experiment) -> Worth:
    """What a pilot says of a two-arm experiment with both arms predicted; n counts people of both arms, half in each."""
    total = np.zeros((2, 2))
    for arm, s in ((0, experiment.s0), (1, experiment.s1)):
        rows = experiment.arm == arm
        total += 2 * np.cov(experiment.y[rows], s[rows])
    others = float((experiment.u1 - experiment.u0).var(ddof=1))
    return Worth(float(total[0, 0]), float(total[0, 1]), float(total[1, 1]), others)


def curve(
    worth: Worth, *, n: np.ndarray, others: float, effect: float = np.nan, level: float = LEVEL
) -> Curve:
    """Widths and power over numbers of answers `n` [K], with `others` further predictions."""
    n = np.asarray(n, float)
    z = scipy.special.ndtri((1 + level) / 2)
    together, alone = worth.se(n, others), worth.se(n, others, lam=0.0)
    return Curve(
        n=n,
        half_width=z * together,
        half_width_alone=z * alone,
        equivalent=worth.answers / together**2,
        power=_power(effect, together, z),
        power_alone=_power(effect, alone, z),
    )


def _power(effect: float, se: np.ndarray, z: float) -> np.ndarray:
    """Chance that a two-sided test finds `effect`, in either direction."""
    return scipy.special.ndtr(effect / se - z) + scipy.special.ndtr(-z - effect / se)


def labels_needed(
    worth: Worth, *, half_width: float, others: float, fewest: int = 2, level: float = LEVEL
) -> int | None:
    """Number of answers, at least `fewest`, with which the interval is at most estimate +- half_width; None if none is enough.

    Predictions alone never are: with lam within [0, 1] the interval shrinks to 0 as answers grow.
    """
    if not half_width > 0:
        raise InputError(f"A half width of {half_width}; give one above 0.")
    z = scipy.special.ndtri((1 + level) / 2)

    def excess(n: float) -> float:
        return float(z * worth.se(n, others)) - half_width

    if excess(fewest) <= 0:
        return fewest
    if excess(MOST_LABELS) > 0:
        return None
    answers = int(np.ceil(scipy.optimize.brentq(excess, fewest, MOST_LABELS, xtol=1e-3)))
    return answers if excess(answers) <= 0 else answers + 1
