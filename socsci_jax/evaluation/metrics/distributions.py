"""Distances between distributions over the levels of one scale, and how spread out they are.

Distributions are arrays [..., L] of shares over the L levels of an item, never samples: what is given to
`scipy.stats.wasserstein_distance` as values would be wrong by orders of magnitude here.
"""

from __future__ import annotations

import math

import numpy as np

from socsci_jax.evaluation.metric import DistributionMetric, Metric, Pair

# Probability below which a distribution has no variance to speak of.
ALL_ON_ONE = 1 - 1e-9


def histogram(codes_n: np.ndarray, *, levels: int) -> np.ndarray:
    """Shares [L] of the level indices `codes_n` [N]; NaN throughout if N is 0."""
    if codes_n.size == 0:
        return np.full(levels, np.nan)
    return np.bincount(codes_n, minlength=levels) / codes_n.size


def positions(levels_l: np.ndarray) -> np.ndarray:
    """Levels rescaled by the scale's own range: 0 at the lowest, 1 at the highest."""
    return (levels_l - levels_l[0]) / (levels_l[-1] - levels_l[0])


def wasserstein(p: np.ndarray, q: np.ndarray, *, levels_l: np.ndarray) -> np.ndarray:
    """Wasserstein-1 on levels rescaled by the scale's own range; p, q [..., L], result [...] in 0 to 1.

    On the line W1 is the area between the two distribution functions (Vallender 1974), which is a sum here
    because both are constant between levels.
    """
    gaps = np.diff(positions(levels_l))
    areas = np.abs(np.cumsum(p - q, axis=-1)[..., :-1])
    # Predictors of one item are summed one by one: a value does not depend on which others are computed with it.
    return areas @ gaps if p.ndim == q.ndim else np.vecdot(areas, gaps)


def observed_width(human_l: np.ndarray, *, levels_l: np.ndarray) -> float:
    """Range of the levels that people chose, as a share of the scale's range; NaN where all chose one level.

    Dividing both sides by it is the normalization that reproduces the published values.  It is the same for both
    sides, so that all eights against all twos is not 0, and results exceed 1 where the model answers outside the
    people's range.
    """
    chosen = levels_l[human_l > 0]
    if chosen.size == 0 or chosen[0] == chosen[-1]:
        return math.nan
    return float((chosen[-1] - chosen[0]) / (levels_l[-1] - levels_l[0]))


def total_variation(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Half the sum of absolute differences: the share of answers that would have to change."""
    return 0.5 * np.abs(p - q).sum(axis=-1)


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Jensen-Shannon distance: the square root of the divergence with base-2 logarithms, 0 to 1 (Lin 1991)."""
    middle = 0.5 * (p + q)
    divergence = 0.5 * (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / math.log(2)
    return np.sqrt(np.maximum(divergence, 0))


def kullback_leibler(predicted: np.ndarray, human: np.ndarray) -> np.ndarray:
    """KL(human || predicted) in nats: infinite where people gave an answer that the model holds impossible."""
    return _relative_entropy(human, predicted)


def kolmogorov_smirnov(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """The greatest difference between the two distribution functions."""
    return np.abs(np.cumsum(p - q, axis=-1)).max(axis=-1)


def entropy(shares: np.ndarray) -> np.ndarray:
    """Entropy in nats of distributions [..., L]."""
    logs = np.log(shares, out=np.zeros_like(shares, dtype=float), where=shares > 0)
    return -(shares * logs).sum(axis=-1)


def standard_deviation(shares: np.ndarray, *, levels_l: np.ndarray) -> np.ndarray:
    """Standard deviation of the positions (0 to 1) under distributions [..., L]."""
    at = positions(levels_l)
    mean = shares @ at
    return np.sqrt(np.maximum(shares @ at**2 - mean**2, 0))


def _relative_entropy(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    p, q = np.broadcast_arrays(p, q)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * (np.log(p) - np.log(q)), 0.0)
    return np.where(np.isnan(p).any(axis=-1) | np.isnan(q).any(axis=-1), np.nan, terms.sum(axis=-1))


def _entropy_ratio(pair: Pair) -> np.ndarray:
    """Human entropy carries the Miller-Madow correction, (levels chosen - 1) / 2n: few answers look alike."""
    chosen = (pair.human > 0).sum(axis=-1)
    human = entropy(pair.human) + np.where(chosen > 1, (chosen - 1) / (2 * pair.n), 0.0)
    return _ratio(entropy(pair.predicted), human)


def _sd_ratio(pair: Pair) -> np.ndarray:
    predicted = standard_deviation(pair.predicted, levels_l=pair.levels_l)
    return _ratio(predicted, standard_deviation(pair.human, levels_l=pair.levels_l))


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(bottom > 1e-12, top / bottom, np.nan)


def _without_variance(pair: Pair) -> np.ndarray:
    alone = pair.predicted.max(axis=-1) >= ALL_ON_ONE
    return np.where(np.isnan(pair.predicted).any(axis=-1), np.nan, alone.astype(float))


def _mean_error(pair: Pair) -> np.ndarray:
    return (pair.predicted - pair.human) @ positions(pair.levels_l)


METRICS = (
    DistributionMetric(
        name="wasserstein",
        title="Wasserstein-1 distance",
        unit="range",
        better="lower",
        normalized=True,
        citation="Vallender 1974, Theory of Probability and its Applications 18(4)",
        formula="Σ_l |F(l) − G(l)| · (x_{l+1} − x_l) over rescaled levels x",
        trap="A predictor that ignores the treatment altogether beats most models on it, and it has a noise floor: "
        "truth against n of its own samples on seven response options gives .063 at n = 20, .030 at n = 100. Never pass "
        "probabilities as samples, and never rescale each side by its own range.",
        example="Levels 1 to 5, predicted all 2, human all 4: distance 2 of a range of 4, so 0.5.",
        of=lambda pair: wasserstein(pair.predicted, pair.human, levels_l=pair.levels_l),
    ),
    DistributionMetric(
        name="total_variation",
        title="Total variation",
        unit="share of answers",
        high=1.0,
        better="lower",
        citation="Gibbs and Su 2002, International Statistical Review 70(3)",
        formula="½ Σ_l |p_l − q_l|",
        trap="Blind to how far apart two response options are: 1 for 5 is as wrong as 4 for 5.",
        example="Predicted (0.5, 0.5, 0), human (0, 0.5, 0.5): ½ (0.5 + 0 + 0.5) = 0.5.",
        of=lambda pair: total_variation(pair.predicted, pair.human),
    ),
    DistributionMetric(
        name="overlap",
        title="Overlap of the distributions",
        unit="share of answers",
        high=1.0,
        better="higher",
        citation="Weitzman 1970, U.S. Census Bureau Technical Paper 22",
        formula="Σ_l min(p_l, q_l) over all levels of the stated scale: 1 − total variation",
        trap="On the response options that people chose alone it would be higher: what is predicted elsewhere is lost.",
        example="Predicted (0.5, 0.5, 0), human (0, 0.5, 0.5): 0.5.",
        of=lambda pair: np.minimum(pair.predicted, pair.human).sum(axis=-1),
    ),
    DistributionMetric(
        name="jensen_shannon",
        title="Jensen-Shannon distance",
        unit="root of bits",
        high=1.0,
        better="lower",
        citation="Lin 1991, IEEE Transactions on Information Theory 37(1)",
        formula="√(½ KL(p ‖ m) + ½ KL(q ‖ m)), m = ½ (p + q), logarithms to base 2",
        trap="Published values differ in the root and in the base: this is the root, to base 2.",
        example="Disjoint distributions: ½ · 1 bit + ½ · 1 bit = 1, root 1.",
        of=lambda pair: jensen_shannon(pair.predicted, pair.human),
    ),
    DistributionMetric(
        name="kl_divergence",
        title="Kullback-Leibler divergence",
        unit="nats",
        better="lower",
        aggregation="median of items",
        citation="Kullback and Leibler 1951, Annals of Mathematical Statistics 22(1)",
        formula="Σ_l h_l · ln(h_l / p_l), human h, predicted p",
        trap="One answer that the model gave no probability makes it infinite, so items are summarized by their median; "
        "drawn predictions are infinite almost everywhere.",
        example="Human (1, 0), predicted (0.5, 0.5): 1 · ln 2 = 0.693.",
        of=lambda pair: kullback_leibler(pair.predicted, pair.human),
    ),
    DistributionMetric(
        name="kolmogorov_smirnov",
        title="Kolmogorov-Smirnov distance",
        unit="share of answers",
        high=1.0,
        better="lower",
        citation="Massey 1951, Journal of the American Statistical Association 46(253)",
        formula="max_l |F(l) − G(l)|",
        trap="Looks at one response option only: two very different misfits may share it.",
        example="Predicted (0.5, 0.5, 0), human (0, 0.5, 0.5): F = (.5, 1, 1), G = (0, .5, 1), so 0.5.",
        of=lambda pair: kolmogorov_smirnov(pair.predicted, pair.human),
    ),
    DistributionMetric(
        name="mean_error",
        title="Mean error (predicted − human)",
        unit="range",
        low=-math.inf,
        better="target",
        target=0.0,
        normalized=True,
        citation="–",
        formula="Σ_l (p_l − h_l) · x_l over rescaled levels x",
        trap="On the observed range it may pass 1. Errors of opposite sign cancel between items; it says only which way predictions lean.",
        example="Levels 1 to 5, predicted mean 3.4, human mean 3.0: 0.4 / 4 = 0.1.",
        of=_mean_error,
    ),
    DistributionMetric(
        name="entropy_ratio",
        title="Entropy, predicted over human (median item)",
        unit="ratio",
        better="target",
        target=1.0,
        aggregation="median of items",
        citation="Miller 1955 for the correction of human entropy",
        formula="H(p) / (H(h) + (levels chosen − 1) / 2n)",
        trap="Spread between people, not within one: a model may be diffuse about everyone and still have ratio 1.",
        example="Predicted (0.5, 0.5), human (0.5, 0.5) of many answers: ln 2 / ln 2 = 1.",
        of=_entropy_ratio,
    ),
    DistributionMetric(
        name="sd_ratio",
        title="Standard deviation, predicted over human (median item)",
        unit="ratio",
        better="target",
        target=1.0,
        aggregation="median of items",
        citation="Bisbee et al. 2024, Political Analysis 32(4)",
        formula="sd(p) / sd(h)",
        trap="Undefined where people all agree; training for accuracy collapses it.",
        example="Predicted half 2, half 3 (sd 0.5), human half 1, half 4 (sd 1.5): 0.333.",
        of=_sd_ratio,
    ),
    DistributionMetric(
        name="mode_share",
        title="Share of the most frequent answer, predicted − human",
        unit="share of answers",
        low=-1.0,
        high=1.0,
        better="target",
        target=0.0,
        citation="Park et al. 2024, Behavior Research Methods (the 'correct answer' effect)",
        formula="max_l p_l − max_l h_l",
        trap="Says nothing of whether the same answer is the most frequent one.",
        example="Predicted (0.9, 0.1), human (0.6, 0.4): 0.3.",
        of=lambda pair: pair.predicted.max(axis=-1) - pair.human.max(axis=-1),
    ),
    DistributionMetric(
        name="without_variance",
        title="Share of items predicted without variance",
        unit="share of items",
        high=1.0,
        better="lower",
        citation="Park et al. 2024, Behavior Research Methods (the 'correct answer' effect)",
        formula="mean over items of 1[max_l p_l = 1]",
        trap="With probabilities it is almost never reached; look at it for draws.",
        example="Of 4 items one is predicted to be all 3: 0.25.",
        of=_without_variance,
    ),
)


def _quartile(of: str, title: str, which: str) -> Metric:
    number = {"first": "q1", "third": "q3"}[which]
    return Metric(
        name=f"{of}_{number}",
        title=f"{title}, predicted over human ({which} quartile of items)",
        unit="ratio",
        better="none",
        aggregation="first quartile of items" if which == "first" else "third quartile of items",
        citation="Bisbee et al. 2024, Political Analysis 32(4)",
        formula=f"{which} quartile over items of {of}, always the ratio of one item (the lower one)",
        trap="A median of 1 may hide that half of the items are far too narrow and half far too wide: look at both quartiles.",
        example={
            "first": "Items with ratios 0.4, 0.6, 0.8, 1.0 and 1.4: 0.6.",
            "third": "Items with ratios 0.4, 0.6, 0.8, 1.0 and 1.4: 1.",
        }[which],
    )


QUARTILES = tuple(
    _quartile(of, title, which)
    for of, title in (("entropy_ratio", "Entropy"), ("sd_ratio", "Standard deviation"))
    for which in ("first", "third")
)
QUARTILES_OF = {
    of: tuple(metric.name for metric in QUARTILES if metric.name.startswith(of))
    for of in ("entropy_ratio", "sd_ratio")
}
