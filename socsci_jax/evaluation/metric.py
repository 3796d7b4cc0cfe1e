"""What a metric is: its name, its words, its formula, and how its interval is made.

Each module of `metrics/` ends in a tuple METRICS of these objects.  The engine, the tables, the report and
docs/metrics.md iterate over them, so a new metric is a function and an object in one of those modules.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Literal

import numpy as np

Better = Literal["lower", "higher", "target", "none"]
# "items": a value for each item, averaged within studies, then over them.  "median of items": the same with medians.
# "sums": a function of sums over contrasts or answers.  "clusters": as "sums", each cluster weighing the same.
Aggregation = Literal[
    "items", "median of items", "first quartile of items", "third quartile of items", "sums", "clusters"
]
QUANTILE_OF = {"median of items": 0.5, "first quartile of items": 0.25, "third quartile of items": 0.75}
# The scale on which a t interval is symmetric.
Transform = Literal["identity", "fisher_z", "log"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric.  `low` and `high` bound its values; `target` is the best value where `better` is "target".

    `formula`, `trap` (how it misleads) and `example` (worked by hand) are texts of docs/metrics.md.
    """

    name: str
    title: str
    unit: str
    low: float = 0.0
    high: float = math.inf
    better: Better
    target: float | None = None
    citation: str
    aggregation: Aggregation
    transform: Transform = "identity"
    formula: str
    trap: str
    example: str
    digits: int = 3

    def is_better(self, value: float, other: float) -> bool:
        """Tells whether `value` is better than `other`; False where neither is."""
        if self.better == "target":
            assert self.target is not None
            return abs(value - self.target) < abs(other - self.target)
        return {"lower": value < other, "higher": value > other, "none": False}[self.better]

    @property
    def direction(self) -> str:
        """The words for which way is better."""
        words = {"lower": "lower is better", "higher": "higher is better", "none": "neither way is better"}
        return words.get(self.better, f"{self.target:g} is best" if self.target is not None else "")

    @property
    def interval(self) -> str:
        """The words for how the interval is made."""
        of = {
            "items": "the mean over items within studies, then over studies",
            "median of items": "the median over items within studies, averaged over studies",
            "first quartile of items": "the first quartile over items within studies, averaged over studies",
            "third quartile of items": "the third quartile over items within studies, averaged over studies",
            "sums": "the statistic of the sums over all contrasts, condition means or answers",
            "clusters": "the mean over clusters of the mean within each",
        }[self.aggregation]
        scale = {"identity": "", "fisher_z": " on Fisher's z scale", "log": " on the log scale"}[
            self.transform
        ]
        return f"whole clusters are resampled; each resample gives {of}; t interval{scale} below 100 clusters, percentiles from there"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pair:
    """A predicted and a human distribution over the levels of one item.

    `predicted` and `human` [..., L] are shares, never samples; leading axes broadcast.  `levels_l` [L] are the levels
    in order, `n` how many human answers stand behind `human`.
    """

    predicted: np.ndarray
    human: np.ndarray
    levels_l: np.ndarray
    n: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistributionMetric(Metric):
    """A metric of two distributions: `of` gives [...] for a Pair.

    `normalized`: its unit is the scale's range, so it has a second value in units of the range that people used.
    """

    of: Callable[[Pair], np.ndarray]
    normalized: bool = False
    aggregation: Aggregation = "items"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answers:
    """Predicted distributions [N, L] (or [1, L] for all people alike) and the level indices [N] that people chose."""

    probs_nl: np.ndarray
    codes_n: np.ndarray
    levels_l: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class IndividualMetric(Metric):
    """A metric of single answers: `of` gives a value [N] for each person, whose mean is the item's value.

    `needs_probabilities`: it means nothing for one draw per person.
    """

    of: Callable[[Answers], np.ndarray]
    needs_probabilities: bool = False
    aggregation: Aggregation = "items"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CellMetric(Metric):
    """A metric of all answers to one item that is no mean over people: `of` gives one number."""

    of: Callable[[Answers], float]
    aggregation: Aggregation = "items"


@dataclasses.dataclass(frozen=True, kw_only=True)
class EffectMetric(Metric):
    """A metric of effects, or of condition means centered within their outcome: `of` gives [...] from sums of `terms`.

    `terms` maps human h and predicted l, their human squared standard errors and `undirected` (all [..., K]) to
    [..., K, T], whose sums (aggregation "sums") or means over clusters ("clusters") over K go to `of`.
    """

    terms: Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    of: Callable[[np.ndarray], np.ndarray]
    centered: bool = False
    aggregation: Aggregation = "sums"
    # There is no value of fewer effects (or condition means).
    fewest: int = 1
    # What a value of exactly zero means, where it means something else than zero.
    flag_at_zero: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelMetric(Metric):
    """A metric of labels without an order: `of` gives [...] from counts [..., L, L] and coincidences [..., L, L]."""

    of: Callable[[np.ndarray, np.ndarray], np.ndarray]
    aggregation: Aggregation = "items"
