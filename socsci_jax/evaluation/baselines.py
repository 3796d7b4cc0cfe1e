"""Predictors that need no model, with which every metric is compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import polars as pl

from socsci_jax.evaluation.answer_codes import AnswerCodes, Outcome
from socsci_jax.evaluation.cells import Cell, PredictionIndex
from socsci_jax.evaluation.demographics import MOST_ANSWERS, Demographics, Regression, fit
from socsci_jax.evaluation.parts import Items
from socsci_jax.evaluation.probe import Probe, ProbedItem, fit_probe
from socsci_jax.evaluation.table import (
    CONDITION_POOLED,
    DEMOGRAPHICS,
    MEAN_OF_PREDICTORS,
    PROBE,
    TRAINING_MARGINAL,
    UNIFORM,
)
from socsci_jax.studies.schema import Item
from socsci_jax.studies.splits import TRAIN


@dataclasses.dataclass(frozen=True, kw_only=True)
class Baselines:
    """What answers alone tell: mean histograms of training items by number of levels, counts [L] over all conditions.

    Next to them what more there is: a `probe` of hidden states, predictions of `others`, and `again`, people's second
    answers by item.
    """

    marginals: Mapping[int, np.ndarray]
    counts: Mapping[Outcome, np.ndarray]
    trained: Mapping[Outcome, np.ndarray] = dataclasses.field(default_factory=dict)
    regression: Regression | None = None
    probe: Probe | None = None
    others: tuple[PredictionIndex, ...] = ()
    again: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(
        cls,
        labeled: pl.DataFrame,
        store: Items,
        people: Demographics | None = None,
        *,
        seed: int = 0,
        hidden: Mapping[str, np.ndarray] | None = None,
        others: tuple[PredictionIndex, ...] = (),
        again: Mapping[str, Mapping[str, float]] | None = None,
    ) -> Baselines:
        """From the answers with their part, as `Split.label` gives them; `people` tells what is known of them.

        `hidden` holds a model's hidden state at each item.
        """
        training = AnswerCodes.of(labeled.filter(pl.col("part") == TRAIN), store.item_by_id)
        trained_on = training.code_a.size > 0
        regression, trained = _regression(training, people, seed=seed)
        answers = AnswerCodes.of(labeled, store.item_by_id)
        return cls(
            marginals=training.mean_shares(),
            counts=answers.counts(),
            trained=trained,
            regression=regression,
            probe=_probe(training if trained_on else answers, store, hidden, trained=trained_on, seed=seed)
            if hidden
            else None,
            others=others,
            again=again or {},
        )

    @property
    def of_models(self) -> tuple[str, ...]:
        """The predictors here that say something of conditions, and so of effects."""
        return (*((PROBE,) if self.probe else ()), *((MEAN_OF_PREDICTORS,) if self.others else ()))

    def by_person(self, cell: Cell) -> dict[str, np.ndarray]:
        """What is predicted of each person [N, L] by predictors that tell people apart.

        The regression needs training and attributes; the mean of several predictors that all predict everybody.
        """
        by_predictor = {
            DEMOGRAPHICS: self._by_demographics(cell),
            MEAN_OF_PREDICTORS: self.mean_of_predictors(cell),
        }
        return {name: rows for name, rows in by_predictor.items() if rows is not None}

    def mean_of_predictors(self, cell: Cell) -> np.ndarray | None:
        """The mean of all predictors that predict everybody of a cell [N, L]; None unless all do."""
        predicted = [cell.predicted_nl, *(index.of_people(cell) for index in self.others)]
        if not self.others or any(rows is None or not np.isfinite(rows).all() for rows in predicted):
            return None
        return np.mean(np.stack([rows for rows in predicted if rows is not None]), axis=0)

    def _by_demographics(self, cell: Cell) -> np.ndarray | None:
        if self.regression is None:
            return None
        size = cell.levels_l.size
        marginal = self.trained.get(_outcome(cell.item), self.marginals.get(size, uniform(size)))
        return self.regression.predict(marginal, study=cell.item.study_id, people=cell.people_n)

    def distributions(self, cell: Cell) -> dict[str, np.ndarray]:
        """What each predicts of a cell [L]; condition-pooled only if others answered the outcome.

        The training marginal exists only where something was trained on, and is uniform where no training item has
        as many levels.
        """
        size = cell.levels_l.size
        by_predictor = {UNIFORM: uniform(size)}
        if self.marginals:
            by_predictor[TRAINING_MARGINAL] = self.marginals.get(size, uniform(size))
        own = np.bincount(cell.codes_n, weights=cell.weights_n, minlength=size)
        others = condition_pooled(self.counts[_outcome(cell.item)], own)
        if others is not None:
            by_predictor[CONDITION_POOLED] = others
        probed = None if self.probe is None else self.probe.shares(cell.item_id, cell.levels_l)
        return by_predictor if probed is None else by_predictor | {PROBE: probed}


def _probe(
    answers: AnswerCodes, store: Items, hidden: Mapping[str, np.ndarray], *, trained: bool, seed: int
) -> Probe | None:
    """Learned from `answers`; cross-fitted over studies where nothing was trained on."""
    known = [
        ProbedItem(item_id, study, np.asarray(levels, dtype=float), shares)
        for item_id, (study, _, levels), shares in answers.shares_by_item()
    ]
    studies = dict(store.item_places.select("item_id", "study_id").iter_rows())
    return fit_probe(known, hidden, studies, trained=trained, seed=seed)


def _regression(
    training: AnswerCodes, people: Demographics | None, *, seed: int
) -> tuple[Regression | None, dict[Outcome, np.ndarray]]:
    """The regression on demographics, and the distribution of each outcome in training, over its conditions."""
    if people is None or not people.attributes:
        return None, {}
    trained = {key: own / own.sum() for key, own in training.counts(weighted=False).items() if own.any()}
    rng = np.random.default_rng(seed)
    size = training.code_a.size
    some = np.flatnonzero(rng.random(size) < min(1.0, MOST_ANSWERS / max(size, 1)))
    rows = []
    for k in np.unique(training.outcome_a[some]).tolist():
        own = some[training.outcome_a[some] == k]
        outcome = training.outcomes[k]
        names = training.participants.gather(own).to_list()
        rows.append((outcome[0], names, training.code_a[own], trained[outcome]))
    return fit(rows, people), trained


def _outcome(item: Item) -> Outcome:
    return (item.study_id, item.outcome, item.scale.levels)


def uniform(levels: int) -> np.ndarray:
    """Every level equally likely."""
    return np.full(levels, 1 / levels)


def condition_pooled(all_counts_l: np.ndarray, own_counts_l: np.ndarray) -> np.ndarray | None:
    """Answers to the same (study, outcome, levels) in all conditions, without the answers to be predicted.

    It knows the study's people and nothing of the treatment.  None where no other answer exists.
    """
    others = all_counts_l - own_counts_l
    total = others.sum()
    return others / total if total > 0 else None


def half_counts(
    codes_n: np.ndarray, *, levels: int, splits: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Answers of two disjoint random halves of N // 2 people each, `splits` times: counts [R, L], [R, L]."""
    half = codes_n.size // 2
    order = np.argsort(rng.random((splits, codes_n.size)), axis=1)
    shuffled = codes_n[order[:, : 2 * half]] + levels * np.arange(splits)[:, None]

    def count(part: np.ndarray) -> np.ndarray:
        return np.bincount(part.ravel(), minlength=splits * levels).reshape(splits, levels)

    return count(shuffled[:, :half]), count(shuffled[:, half:])


def pilot_counts(
    codes_n: np.ndarray, *, people: int, levels: int, splits: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Answers of a random pilot of so many people and of everybody else, `splits` times: counts [R, L], [R, L]."""
    n = codes_n.size
    chosen = np.argpartition(rng.random((splits, n)), people - 1, axis=1)[:, :people]
    at = codes_n[chosen] + levels * np.arange(splits)[:, None]
    counts = np.bincount(at.ravel(), minlength=splits * levels).reshape(splits, levels)
    return counts, np.bincount(codes_n, minlength=levels) - counts


def sample_histogram(q_l: np.ndarray, *, n: int, rng: np.random.Generator) -> np.ndarray:
    """Histogram of n draws from one distribution."""
    return rng.multinomial(n, q_l / q_l.sum()) / n


def sample_rows(probs_nl: np.ndarray, *, rng: np.random.Generator) -> np.ndarray:
    """One draw (level index) from each row of `probs_nl` [N, L]."""
    cumulative = np.cumsum(probs_nl, axis=1)
    at = rng.random((probs_nl.shape[0], 1)) * cumulative[:, -1:]
    return (cumulative <= at).sum(axis=1).clip(max=probs_nl.shape[1] - 1)
