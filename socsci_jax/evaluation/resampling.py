"""What is resampled for the intervals of a part: its studies, or within a study its arms, outcomes or people."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np

from socsci_jax.errors import InputError
from socsci_jax.evaluation import intervals
from socsci_jax.evaluation.intervals import Estimate
from socsci_jax.evaluation.metric import Metric

Unit = Literal["studies", "conditions", "outcomes", "participants"]
# A single study with so many arms, or outcomes, speaks for other arms or outcomes; with fewer only for other people.
ENOUGH_WITHIN = 6
PARTICIPANT_RESAMPLES = 500


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resampling:
    """The clusters [S] of a part and how often each was drawn [1 + B, S].

    For participants there are no clusters of items: `people` counts them, and replicates come from elsewhere.
    """

    unit: Unit
    names: tuple[str, ...]
    counts_bs: np.ndarray
    people: int = 0

    @property
    def by_participants(self) -> bool:
        return self.unit == "participants"

    def clusters_of(self, places: Sequence[str]) -> np.ndarray:
        """Number of the cluster of each of `places` (names of studies, conditions or outcomes)."""
        number = {name: k for k, name in enumerate(self.names)}
        return np.array([number[place] for place in places], dtype=int)

    def sums(self, terms: np.ndarray, cluster: np.ndarray) -> np.ndarray:
        """Sums [1 + B, ...] over the rows of `terms` [K, ...]."""
        return self.counts_bs @ intervals.sum_by(terms, cluster, len(self.names))

    def means(self, terms: np.ndarray, cluster: np.ndarray) -> np.ndarray:
        """Means [1 + B, T] over clusters of the means of their rows; `terms` [K, T]."""
        by = [intervals.mean_by(column, cluster, len(self.names)) for column in terms.T]
        return np.stack([intervals.mean_over(self.counts_bs, column) for column in by], axis=-1)

    def estimate(
        self, metric: Metric, replicates_b: np.ndarray, *, clusters: int, difference: bool = False
    ) -> Estimate:
        """The interval of one metric, or of a difference of two of its values."""
        return intervals.estimate(
            replicates_b,
            clusters=self.people if self.by_participants else clusters,
            resampled=self.unit,
            transform="identity" if difference else metric.transform,
            low=-np.inf if difference else metric.low,
            high=np.inf if difference else metric.high,
        )


class ReplicateKey(NamedTuple):
    """Of what a series of replicates is: columns of the evaluation table."""

    part: str
    metric: str
    normalization: str | None
    source: str | None
    predictor: str
    group: str | None


@dataclasses.dataclass(frozen=True)
class Replicates:
    """A value of a part in the sample and in each resample [1 + B], over so many clusters."""

    values: np.ndarray
    resampling: Resampling
    clusters: int


def choose(
    studies: Sequence[str],
    conditions: Sequence[str],
    outcomes: Sequence[str],
    *,
    people: int,
    asked: str | None,
    rng: np.random.Generator,
    rng_within: np.random.Generator,
) -> Resampling:
    """Studies from FEWEST_CLUSTERS of them on; else, in one study, arms or outcomes if there are enough, or people.

    `asked` overrides the rule.  Raises InputError for a unit that is none, or arms or outcomes of several studies.
    """
    if asked is not None and asked not in get_args(Unit):
        raise InputError(f"resample={asked!r}: one of {', '.join(get_args(Unit))}.")
    if asked in ("conditions", "outcomes") and len(studies) > 1:
        raise InputError(
            f"resample={asked!r}: {asked} are resampled within one study, here are {len(studies)}; resample studies or "
            "participants."
        )
    unit = asked
    if unit is None:
        unit = "participants"
        if len(studies) >= intervals.FEWEST_CLUSTERS:
            unit = "studies"
        elif len(studies) == 1 and len(conditions) >= ENOUGH_WITHIN:
            unit = "conditions"
        elif len(studies) == 1 and len(outcomes) >= ENOUGH_WITHIN:
            unit = "outcomes"
    if unit == "participants":
        counts = np.ones((1 + PARTICIPANT_RESAMPLES, len(studies)), dtype=np.int64)
        return Resampling(unit="participants", names=tuple(studies), counts_bs=counts, people=people)
    names = {"studies": studies, "conditions": conditions, "outcomes": outcomes}[unit]
    counts = intervals.resample_counts(len(names), rng=rng if unit == "studies" else rng_within)
    return Resampling(unit=unit, names=tuple(names), counts_bs=counts)  # type: ignore[arg-type]
