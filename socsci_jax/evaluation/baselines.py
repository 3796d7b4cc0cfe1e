"""Predictors that need no model, with which every metric is compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

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
        answers = AnswerCodes.of(labeled, store.item_by_id)
        training = answers.of_part(TRAIN)
        regression, trained = _regression(training, people, seed=seed)
        return cls(
            marginals=training_marginals(counts for _, _, counts in training.counts_by_item()),
            counts=answers.counts(),
            trained=trained,
            regression=regression,
            probe=_probe(answers, training, store, hidden, seed=seed) if hidden else None,
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
        found = {
            DEMOGRAPHICS: self._by_demographics(cell),
            MEAN_OF_PREDICTORS: self._mean_of_predictors(cell),
        }
        return {name: rows for name, rows in found.items() if rows is not None}

    def _mean_of_predictors(self, cell: Cell) -> np.ndarray | None:
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
        found = {UNIFORM: uniform(size)}
        if self.marginals:
            found[TRAINING_MARGINAL] = self.marginals.get(size, uniform(size))
        own = np.bincount(cell.codes_n, weights=cell.weights_n, minlength=size)
        others = condition_pooled(self.counts[_outcome(cell.item)], own)
        if others is not None:
            found[CONDITION_POOLED] = others
        probed = None if self.probe is None else self.probe.shares(cell.item_id, cell.levels_l)
        return found if probed is None else found | {PROBE: probed}


def _probe(
    answers: AnswerCodes, training: AnswerCodes, store: Items, hidden: Mapping[str, np.ndarray], *, seed: int
) -> Probe | None:
    """Learned from the training part; from all answers, cross-fitted over studies, where nothing was trained on."""
    trained = training.frame.height > 0
    studies = dict(store.items.select("item_id", "study_id").iter_rows())
    known = [
        ProbedItem(item_id, studies[item_id], np.asarray(levels, dtype=float), own / own.sum())
        for ids, levels, counts in (training if trained else answers).counts_by_item()
        for item_id, own in zip(ids, counts, strict=True)
    ]
    return fit_probe(known, hidden, studies, trained=trained, seed=seed)


def _regression(
    training: AnswerCodes, people: Demographics | None, *, seed: int
) -> tuple[Regression | None, dict[Outcome, np.ndarray]]:
    """The regression on demographics, and the distribution of each outcome in training, over its conditions."""
    if people is None or not people.attributes:
        return None, {}
    trained = {key: own / own.sum() for key, own in training.counts(weighted=False).items()}
    rng = np.random.default_rng(seed)
    share = min(1.0, MOST_ANSWERS / max(training.frame.height, 1))
    rows = []
    for key, answers in training.by_outcome.items():
        some = answers.filter(pl.Series(rng.random(answers.height) < share))
        rows.append((key[0], some["participant_id"].to_list(), some["code"].to_numpy(), trained[key]))
    return fit(rows, people), trained


def _outcome(item: Item) -> Outcome:
    return (item.study_id, item.outcome, item.scale.levels)


def uniform(levels: int) -> np.ndarray:
    """Every level equally likely."""
    return np.full(levels, 1 / levels)


def training_marginals(counts: Iterable[np.ndarray]) -> Mapping[int, np.ndarray]:
    """Mean histogram of training items by number of levels, each item counting once, oriented as it is.

    `counts` [items, L] say how often each level was answered in training, of items that have as many levels.
    """
    sums: dict[int, np.ndarray] = {}
    items: dict[int, int] = {}
    for counts_il in counts:
        levels = counts_il.shape[1]
        shares = (counts_il / counts_il.sum(axis=1, keepdims=True)).sum(axis=0)
        sums[levels] = sums.get(levels, np.zeros(levels)) + shares
        items[levels] = items.get(levels, 0) + len(counts_il)
    return {levels: total / items[levels] for levels, total in sums.items()}


def condition_pooled(all_counts_l: np.ndarray, own_counts_l: np.ndarray) -> np.ndarray | None:
    """Answers to the same (study, outcome, levels) in all conditions, without the answers to be predicted.

    It knows the study's people and nothing of the treatment.  None where no other answer exists.
    """
    others = all_counts_l - own_counts_l
    total = others.sum()
    return others / total if total > 0 else None


def half_histograms(
    codes_n: np.ndarray, *, levels: int, splits: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Two disjoint random halves of N // 2 answers each, `splits` times: histograms [R, L], [R, L]."""
    half = codes_n.size // 2
    order = np.argsort(rng.random((splits, codes_n.size)), axis=1)
    shuffled = codes_n[order[:, : 2 * half]] + levels * np.arange(splits)[:, None]

    def count(part: np.ndarray) -> np.ndarray:
        return np.bincount(part.ravel(), minlength=splits * levels).reshape(splits, levels) / half

    return count(shuffled[:, :half]), count(shuffled[:, half:])


def pilot_histograms(
    codes_n: np.ndarray, *, people: int, levels: int, splits: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A random pilot of so many people and everybody else, `splits` times: histograms [R, L], [R, L]."""
    n = codes_n.size
    chosen = np.argpartition(rng.random((splits, n)), people - 1, axis=1)[:, :people]
    at = codes_n[chosen] + levels * np.arange(splits)[:, None]
    counts = np.bincount(at.ravel(), minlength=splits * levels).reshape(splits, levels)
    rest = np.bincount(codes_n, minlength=levels) - counts
    return counts / people, rest / (n - people)


def sample_histogram(q_l: np.ndarray, *, n: int, rng: np.random.Generator) -> np.ndarray:
    """Histogram of n draws from one distribution."""
    return rng.multinomial(n, q_l / q_l.sum()) / n


def sample_rows(probs_nl: np.ndarray, *, rng: np.random.Generator) -> np.ndarray:
    """One draw (level index) from each row of `probs_nl` [N, L]."""
    cumulative = np.cumsum(probs_nl, axis=1)
    at = rng.random((probs_nl.shape[0], 1)) * cumulative[:, -1:]
    return (cumulative <= at).sum(axis=1).clip(max=probs_nl.shape[1] - 1)
