"""Are probabilities as often right as they say?  Proper scores, intervals, and calibration errors.

Scores are for single answers: predicted distributions [N, L] against the chosen level indices [N].  References:
Gneiting and Raftery 2007, Journal of the American Statistical Association 102(477).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from socsci_jax.evaluation.metric import Answers, IndividualMetric, Metric
from socsci_jax.evaluation.metrics.distributions import positions

INTERVAL = 0.9
BINS = 10


def brier(probs_nl: np.ndarray, codes_n: np.ndarray) -> np.ndarray:
    """Σ_l (p_l − 1[y = l])² of each answer [N], 0 to 2 (Brier 1950)."""
    probs_nl, hit = _with_hits(probs_nl, codes_n)
    return ((probs_nl - hit) ** 2).sum(axis=1)


def log_score(probs_nl: np.ndarray, codes_n: np.ndarray) -> np.ndarray:
    """−ln p_y of each answer [N]; infinite where the answer was held impossible."""
    probs_nl = np.broadcast_to(probs_nl, (codes_n.size, probs_nl.shape[1]))
    with np.errstate(divide="ignore"):
        return -np.log(probs_nl[np.arange(codes_n.size), codes_n])


def ranked_probability(probs_nl: np.ndarray, codes_n: np.ndarray) -> np.ndarray:
    """Σ_l (F(l) − 1[y ≤ l])² over the L − 1 cuts, divided by L − 1 [N] (Epstein 1969)."""
    probs_nl, hit = _with_hits(probs_nl, codes_n)
    cuts = (np.cumsum(probs_nl, axis=1) - np.cumsum(hit, axis=1))[:, :-1]
    return (cuts**2).sum(axis=1) / max(cuts.shape[1], 1)


def central_interval(probs_nl: np.ndarray, *, coverage: float = INTERVAL) -> tuple[np.ndarray, np.ndarray]:
    """Level indices of the (1 ∓ coverage) / 2 quantiles of each row [N]."""
    cumulative = np.cumsum(probs_nl, axis=1)
    tail = (1 - coverage) / 2
    lo = np.argmax(cumulative >= tail - 1e-9, axis=1)
    return lo, np.argmax(cumulative >= 1 - tail - 1e-9, axis=1)


def winkler(lo: np.ndarray, hi: np.ndarray, y: np.ndarray, *, alpha: float) -> np.ndarray:
    """Interval score (hi − lo) + 2/α · (lo − y)⁺ + 2/α · (y − hi)⁺ (Winkler 1972)."""
    return hi - lo + 2 / alpha * (np.maximum(lo - y, 0) + np.maximum(y - hi, 0))


@dataclasses.dataclass(frozen=True)
class Reliability:
    """Bins [K] of probabilities: how many there are, their mean, and how often the level was chosen."""

    n: np.ndarray
    predicted: np.ndarray
    observed: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error: Σ n_k |predicted − observed| / Σ n_k (Naeini et al. 2015)."""
        return float((self.n * np.abs(self.predicted - self.observed)).sum() / self.n.sum())


def reliability(p: np.ndarray, hit: np.ndarray, *, equal_mass: bool, bins: int = BINS) -> Reliability:
    """Bins of equal width, or of equal numbers of probabilities, of events that happened (`hit`) or not."""
    if equal_mass:
        edges = np.quantile(p, np.linspace(0, 1, bins + 1)[1:-1])
    else:
        edges = np.linspace(0, 1, bins + 1)[1:-1]
    at = np.searchsorted(edges, p, side="left")
    n = np.bincount(at, minlength=bins)
    used = n > 0
    sums = [np.bincount(at, weights=w, minlength=bins)[used] / n[used] for w in (p, hit)]
    return Reliability(n[used], *sums)


def _with_hits(probs_nl: np.ndarray, codes_n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    hit = np.zeros((codes_n.size, probs_nl.shape[1]))
    hit[np.arange(codes_n.size), codes_n] = 1
    return np.broadcast_to(probs_nl, hit.shape), hit


def _covered(a: Answers) -> np.ndarray:
    lo, hi = central_interval(a.probs_nl)
    return ((lo <= a.codes_n) & (a.codes_n <= hi)).astype(float)


def _winkler(a: Answers) -> np.ndarray:
    at = positions(a.levels_l)
    lo, hi = central_interval(a.probs_nl)
    return winkler(at[lo], at[hi], at[a.codes_n], alpha=1 - INTERVAL)


METRICS: tuple[Metric, ...] = (
    IndividualMetric(
        name="brier_score",
        title="Brier score",
        unit="squared probability",
        high=2.0,
        better="lower",
        needs_probabilities=True,
        citation="Brier 1950, Monthly Weather Review 78(1)",
        formula="Σ_l (p_l − 1[y = l])²",
        trap="Multi-class form, 0 to 2; for two response options it is twice the binary one.",
        example="p = (0.7, 0.3), answer 1: 0.09 + 0.09 = 0.18.",
        of=lambda a: brier(a.probs_nl, a.codes_n),
    ),
    IndividualMetric(
        name="log_score",
        title="Log score",
        unit="nats",
        better="lower",
        needs_probabilities=True,
        citation="Good 1952, Journal of the Royal Statistical Society B 14(1)",
        formula="−ln p_y",
        trap="Infinite where an answer was held impossible; such items have no value here and are counted.",
        example="p_y = 0.5: 0.693.",
        of=lambda a: log_score(a.probs_nl, a.codes_n),
    ),
    IndividualMetric(
        name="ranked_probability_score",
        title="Ranked probability score",
        unit="squared probability",
        high=1.0,
        better="lower",
        needs_probabilities=True,
        citation="Epstein 1969, Journal of Applied Meteorology 8(6)",
        formula="Σ_{l<L} (F(l) − 1[y ≤ l])² / (L − 1)",
        trap="Some programs omit the division by L − 1.",
        example="p = (0.5, 0.5, 0), answer 3: (0.25 + 1) / 2 = 0.625.",
        of=lambda a: ranked_probability(a.probs_nl, a.codes_n),
    ),
    IndividualMetric(
        name="interval_coverage",
        title="Coverage of 90 % intervals",
        unit="share of answers",
        high=1.0,
        better="target",
        target=INTERVAL,
        needs_probabilities=True,
        citation="Gneiting and Raftery 2007, JASA 102(477)",
        formula="mean of 1[q.05 ≤ y ≤ q.95]",
        trap="On scales of few response options intervals cover more than they promise.",
        example="9 of 10 answers within: 0.9.",
        of=_covered,
    ),
    IndividualMetric(
        name="winkler_score",
        title="Winkler score of 90 % intervals",
        unit="range",
        better="lower",
        needs_probabilities=True,
        citation="Winkler 1972, JASA 67(337)",
        formula="(hi − lo) + 2/α · (lo − y)⁺ + 2/α · (y − hi)⁺",
        trap="One answer outside costs 20 times its distance.",
        example="Interval 0.2 to 0.6, answer 0.7, α = 0.1: 0.4 + 20 · 0.1 = 2.4.",
        of=_winkler,
    ),
    Metric(
        name="calibration_error_width",
        title="Expected calibration error, bins of equal width",
        unit="probability",
        high=1.0,
        better="lower",
        aggregation="sums",
        citation="Naeini et al. 2015, AAAI",
        formula="Σ_k n_k |mean p − share chosen| / Σ_k n_k over 10 bins of the probabilities of all levels",
        trap="Small for scales of many response options, whose probabilities are all small; above zero for a perfect model.",
        example="One bin, mean p 0.2, chosen 0.3: 0.1.",
    ),
    Metric(
        name="calibration_error_mass",
        title="Expected calibration error, bins of equal mass",
        unit="probability",
        high=1.0,
        better="lower",
        aggregation="sums",
        citation="Nixon et al. 2019, CVPR Workshops",
        formula="as with bins of equal width, with 10 bins of equally many probabilities",
        trap="Edges move with the predictions, so two models are judged on different bins.",
        example="Two bins of 50, errors 0.1 and 0.3: 0.2.",
    ),
    Metric(
        name="mean_interval_coverage",
        title="Predicted intervals that hold people's mean",
        unit="share of condition means",
        high=1.0,
        better="target",
        target=0.95,
        aggregation="clusters",
        digits=2,
        citation="Gneiting and Raftery 2007, JASA 102(477)",
        formula="mean of 1[lo ≤ h ≤ hi] over condition means, intervals taken for 95 %",
        trap="People's means have sampling errors of their own: an interval for the true mean covers them less often.",
        example="19 of 20 means within: 0.95.",
    ),
    Metric(
        name="mean_interval_winkler",
        title="Winkler score of predicted intervals of means",
        unit="range",
        better="lower",
        aggregation="clusters",
        citation="Winkler 1972, JASA 67(337)",
        formula="(hi − lo) + 2/α · (lo − h)⁺ + 2/α · (h − hi)⁺, α = 0.05",
        trap="A mean outside costs 40 times its distance.",
        example="Interval 0.4 to 0.5, mean 0.51: 0.1 + 40 · 0.01 = 0.5.",
    ),
)
