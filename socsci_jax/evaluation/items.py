"""The predictions of one item, and how far each is from the people who answered it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from socsci_jax.evaluation.baselines import (
    Baselines,
    half_counts,
    pilot_counts,
    sample_histogram,
    sample_rows,
)
from socsci_jax.evaluation.cells import Cell, level_codes
from socsci_jax.evaluation.metrics.distributions import histogram
from socsci_jax.evaluation.table import (
    EXACT,
    MEAN_OF_PREDICTORS,
    MODEL,
    PILOTS,
    SAMPLED,
    SPLIT_HALF,
    pilot,
)

HALVES = 20


@dataclasses.dataclass(frozen=True)
class Samples:
    """Two disjoint samples of the people who answered, R times, of `people` and of `n` people.

    Kept as counts [R, L] of the smallest integers that hold them: there are tens of thousands of items.
    """

    one_counts: np.ndarray
    other_counts: np.ndarray
    people: int
    n: int

    @classmethod
    def of(cls, counts: tuple[np.ndarray, np.ndarray], *, people: int, n: int) -> Samples:
        one, other = (given.astype(np.min_scalar_type(max(people, n))) for given in counts)
        return cls(one, other, people, n)

    @property
    def one(self) -> np.ndarray:
        """Histograms [R, L] of the first sample."""
        return self.one_counts.astype(float) / self.people

    @property
    def other(self) -> np.ndarray:
        """Histograms [R, L] of the second sample."""
        return self.other_counts.astype(float) / self.n


@dataclasses.dataclass(frozen=True, kw_only=True)
class ItemPredictions:
    """Distributions [L] over the levels of one item.

    `single` holds those of the model and of predictors that need none, by source; `samples` those of people for other
    people; `again` the indices [M] of people who were asked once more, and what they then chose.
    """

    human_l: np.ndarray
    single: Mapping[str, Mapping[str, np.ndarray]]
    samples: Mapping[str, Samples]
    baselines: Mapping[str, np.ndarray]
    by_person: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)  # [N, L] each
    again: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def model_l(self) -> np.ndarray:
        """From probabilities where there are any, else from draws."""
        return self.single[EXACT if EXACT in self.single else SAMPLED][MODEL]


def item_predictions(
    cell: Cell, baselines: Baselines, *, rng: np.random.Generator, pilot_rng: np.random.Generator
) -> ItemPredictions:
    """All predictions of a cell: from probabilities where it has them, and from one draw per person.

    Alongside draws also the baselines are drawn from, as often as people answered: like is compared with like.
    """
    size = cell.levels_l.size
    others = baselines.distributions(cell)
    by_person = baselines.by_person(cell)
    for name, rows_nl in by_person.items():
        # Last of all, so that the draws of the others stay what they are.
        others[name] = weighted_mean(rows_nl, cell.weights_n)
    models = {}
    if cell.probs_nl is not None:
        models[EXACT] = weighted_mean(cell.probs_nl, cell.weights_n)
    sampled = cell.sampled if cell.sampled is not None else sample_rows(cell.predicted_nl, rng=rng)
    models[SAMPLED] = histogram(sampled, levels=size)
    samples = {}
    n = cell.codes_n.size
    # Shares of groups say nothing of how far one person answers like another.
    people_told = 0 if cell.are_shares else n
    if people_told >= 2:
        halves = half_counts(cell.codes_n, levels=size, splits=HALVES, rng=rng)
        samples[SPLIT_HALF] = Samples.of(halves, people=n // 2, n=n // 2)
    for people in PILOTS:
        if people_told >= 2 * people:
            pair = pilot_counts(cell.codes_n, people=people, levels=size, splits=HALVES, rng=pilot_rng)
            samples[pilot(people)] = Samples.of(pair, people=people, n=n - people)
    single = {}
    for source, model in models.items():
        compared = others
        if source == SAMPLED:
            compared = {name: sample_histogram(q, n=n, rng=rng) for name, q in others.items()}
        single[source] = {MODEL: model, **compared}
    return ItemPredictions(
        human_l=human_histogram(cell),
        single=single,
        samples=samples,
        baselines=others,
        by_person=by_person,
        again=_asked_again(cell, baselines.again.get(cell.item_id, {})),
    )


def brief_predictions(cell: Cell, baselines: Baselines, *, rng: np.random.Generator) -> ItemPredictions:
    """What condition means need of an item whose answers are too few for any average of items.

    Conditions whose texts differ from person to person consist of such items.
    """
    n = cell.codes_n.size
    others = baselines.distributions(cell)
    mean = baselines.mean_of_predictors(cell)
    if mean is not None:
        others[MEAN_OF_PREDICTORS] = weighted_mean(mean, cell.weights_n)
    samples = {}
    if n >= 2 and not cell.are_shares:
        halves = half_counts(cell.codes_n, levels=cell.levels_l.size, splits=HALVES, rng=rng)
        samples[SPLIT_HALF] = Samples.of(halves, people=n // 2, n=n // 2)
    if cell.probs_nl is not None:
        source, model = EXACT, weighted_mean(cell.probs_nl, cell.weights_n)
    else:
        assert cell.sampled is not None, "a cell has probabilities or draws"
        source, model = SAMPLED, histogram(cell.sampled, levels=cell.levels_l.size)
    return ItemPredictions(
        human_l=human_histogram(cell), single={source: {MODEL: model}}, samples=samples, baselines=others
    )


def _asked_again(cell: Cell, values: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray] | None:
    """Indices of the people with a second answer on the scale, and these answers as level indices."""
    at = [k for k, person in enumerate(cell.people_n) if person in values] if values else []
    codes = level_codes(np.array([values[cell.people_n[k]] for k in at]), cell.levels_l)
    kept = np.flatnonzero(codes >= 0) if at else np.zeros(0, dtype=int)
    return (np.array(at)[kept], codes[kept]) if kept.size else None


def human_histogram(cell: Cell) -> np.ndarray:
    """Shares [L] of people's answers, weighted where the store has survey weights."""
    if cell.weights_n is None:
        return histogram(cell.codes_n, levels=cell.levels_l.size)
    sums = np.bincount(cell.codes_n, weights=cell.weights_n, minlength=cell.levels_l.size)
    return sums / sums.sum()


def weighted_mean(rows: np.ndarray, weights_n: np.ndarray | None) -> np.ndarray:
    """Mean [...] of rows [N, ...], weighted where there are weights."""
    return rows.mean(axis=0) if weights_n is None else np.average(rows, axis=0, weights=weights_n)


def mean_of_drawn(rows_nl: np.ndarray, w_bn: np.ndarray) -> np.ndarray:
    """Mean [B, L] of what is predicted of the people drawn, who weigh `w_bn` [B, N]; rows of NaN take no part.

    People's draws are resampled with them, so that the noise of one draw per person is in the intervals.
    """
    known = np.isfinite(rows_nl[:, 0])
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: np.ndarray = w_bn[:, known] @ rows_nl[known] / w_bn[:, known].sum(axis=1, keepdims=True)
    return mean


def retest(cell: Cell) -> tuple[np.ndarray, np.ndarray] | None:
    """Indices of two answers of one person to the same item, in both orders; None where nobody answered twice."""
    where: dict[str, list[int]] = {}
    for k, person in enumerate(cell.people_n):
        where.setdefault(person, []).append(k)
    if len(where) == len(cell.people_n):
        return None
    pairs = [(at[0], at[1]) for at in where.values() if len(at) >= 2]
    first, second = np.array(pairs).T
    return np.concatenate([first, second]), np.concatenate([second, first])
