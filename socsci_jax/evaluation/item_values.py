"""The values of every metric at one item: of distributions, and of the people who answered it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from socsci_jax.evaluation.cells import Cell
from socsci_jax.evaluation.items import ItemPredictions, Samples, mean_of_drawn, retest, weighted_mean
from socsci_jax.evaluation.metric import Answers, CellMetric, IndividualMetric, Pair
from socsci_jax.evaluation.metrics import calibration, distributions, individuals
from socsci_jax.evaluation.metrics.distributions import observed_width, positions
from socsci_jax.evaluation.table import (
    CELL_MARGINAL,
    DEMOGRAPHICS,
    EXACT,
    MEAN_OF_PREDICTORS,
    MODEL,
    OBSERVED,
    SCALE,
    SPLIT_HALF,
    TEST_RETEST,
)

OF_PEOPLE = (*individuals.METRICS, *calibration.METRICS)


def _answers(cell: Cell, item: ItemPredictions) -> Iterator[tuple[str, Answers, np.ndarray | None]]:
    """Predictor, what it says of each person, and the people's weights."""
    codes, weights = cell.codes_n, cell.weights_n
    probs = cell.predicted_nl
    # People none of whose draws could be read have no accuracy.
    readable = np.isfinite(probs[:, 0])
    yield _answers_of(MODEL, probs, codes, weights, cell, readable if not readable.all() else None)
    for name, q in item.baselines.items():
        yield _answers_of(name, item.by_person.get(name, q[None, :]), codes, weights, cell, None)
    if codes.size >= 2:
        yield _answers_of(
            CELL_MARGINAL, others_of_item(codes, cell.levels_l.size), codes, weights, cell, None
        )
    twice = retest(cell)
    again = item.again if twice is None else (twice[0], codes[twice[1]])
    if again is not None:
        first, second = again
        hits = np.eye(cell.levels_l.size)[second]
        kept = None if weights is None else weights[first]
        yield _answers_of(TEST_RETEST, hits, codes[first], kept, cell, None)


def _answers_of(
    name: str,
    probs_nl: np.ndarray,
    codes_n: np.ndarray,
    weights_n: np.ndarray | None,
    cell: Cell,
    kept: np.ndarray | None,
) -> tuple[str, Answers, np.ndarray | None]:
    if kept is not None:
        probs_nl, codes_n = probs_nl[kept], codes_n[kept]
        weights_n = None if weights_n is None else weights_n[kept]
    return name, Answers(probs_nl=probs_nl, codes_n=codes_n, levels_l=cell.levels_l), weights_n


def _person_values(answers: Answers, *, name: str, exact: bool) -> Iterator[tuple[str, np.ndarray | float]]:
    """Values [N] of the people for each metric that means something for this predictor, or one for all of them."""
    for metric in OF_PEOPLE:
        if isinstance(metric, IndividualMetric):
            probable = exact and name != TEST_RETEST
            if metric.needs_probabilities and not probable:
                continue
            yield metric.name, metric.of(answers) if answers.codes_n.size else math.nan
        # The others' mean falls where the person's own answer is high: a correlation that means nothing.
        elif isinstance(metric, CellMetric) and name in (
            MODEL,
            TEST_RETEST,
            DEMOGRAPHICS,
            MEAN_OF_PREDICTORS,
        ):
            yield metric.name, metric.of(answers)


def others_of_item(codes_n: np.ndarray, levels: int) -> np.ndarray:
    """Histogram [N, L] of everybody else's answers to the item, for each person."""
    counts = np.bincount(codes_n, minlength=levels)
    without_l = (counts - np.eye(levels)) / (codes_n.size - 1)
    return without_l[codes_n]


class Key(NamedTuple):
    """Which value: the columns of the evaluation table that say how it was computed."""

    metric: str
    normalization: str | None
    source: str | None
    predictor: str


def item_values(cell: Cell, item: ItemPredictions, *, source: str) -> dict[Key, float]:
    """All metrics of an item; `source` is that of its part, under which metrics of single people stand."""
    width = observed_width(item.human_l, levels_l=cell.levels_l)
    values: dict[Key, float] = {}
    for of_source, single in item.single.items():
        names = list(single)
        pair = Pair(
            predicted=np.stack([single[name] for name in names]),
            human=item.human_l,
            levels_l=cell.levels_l,
            n=cell.codes_n.size,
        )
        for key, person_values in _distribution_values(pair, width):
            for name, value in zip(names, person_values.tolist(), strict=True):
                values[Key(*key, of_source, name)] = value
    for name, samples in item.samples.items():
        pair = Pair(predicted=samples.one, human=samples.other, levels_l=cell.levels_l, n=samples.n)
        for key, person_values in _distribution_values(pair, width):
            for of_source in item.single:
                values[Key(*key, of_source, name)] = float(np.mean(person_values))
    for name, answers, weights_n in _answers(cell, item):
        for metric, of_people in _person_values(answers, name=name, exact=cell.probs_nl is not None):
            value = of_people if isinstance(of_people, float) else float(weighted_mean(of_people, weights_n))
            values[Key(metric, SCALE, source, name)] = value
    if SPLIT_HALF in item.samples:
        halves = item.samples[SPLIT_HALF]
        for metric, value in _accuracies_of_halves(halves, levels_l=cell.levels_l).items():
            values[Key(metric, SCALE, source, SPLIT_HALF)] = value
    return values


def item_replicates(
    cell: Cell, item: ItemPredictions, w_bn: np.ndarray, *, source: str
) -> dict[Key, np.ndarray]:
    """Values [B] of the metrics with people weighing `w_bn` [B, N], for what does not itself consist of people."""
    w_bn = w_bn if cell.weights_n is None else w_bn * cell.weights_n
    total_b = w_bn.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        share_bn = w_bn / total_b[:, None]
    hits_nl = np.eye(cell.levels_l.size)[cell.codes_n]
    human_bl = share_bn @ hits_nl
    width = observed_width(item.human_l, levels_l=cell.levels_l)
    replicates: dict[Key, np.ndarray] = {}
    for of_source, single in item.single.items():
        fixed = np.stack([q for name, q in single.items() if name != MODEL] or [item.human_l])
        model = single[MODEL]
        model_bl = np.broadcast_to(model, human_bl.shape)
        # Draws that were made here of probabilities, for their comparison with exact ones, stay as they are.
        if of_source == EXACT or cell.probs_nl is None:
            model_bl = mean_of_drawn(cell.predicted_nl, w_bn)
        predicted = np.concatenate(
            [model_bl[:, None], np.broadcast_to(fixed, (len(model_bl), *fixed.shape))], axis=1
        )
        pair = Pair(predicted=predicted, human=human_bl[:, None], levels_l=cell.levels_l, n=cell.codes_n.size)
        names = [MODEL, *(name for name in single if name != MODEL)]
        for key, values in _distribution_values(pair, width):
            for k, name in enumerate(names):
                replicates[Key(*key, of_source, name)] = values[:, k]
    for name, answers, _ in _answers(cell, item):
        if answers.codes_n.size == cell.codes_n.size:
            for metric, of_people in _person_values(answers, name=name, exact=cell.probs_nl is not None):
                if not isinstance(of_people, float):
                    with np.errstate(invalid="ignore"):
                        replicates[Key(metric, SCALE, source, name)] = share_bn @ of_people
    return replicates


def _distribution_values(pair: Pair, width: float) -> Iterator[tuple[tuple[str, str | None], np.ndarray]]:
    """(metric, normalization) and values of each distribution metric."""
    for metric in distributions.METRICS:
        values = metric.of(pair)
        yield (metric.name, SCALE if metric.normalized else None), values
        if metric.normalized:
            yield (metric.name, OBSERVED), values / width


def _accuracies_of_halves(halves: Samples, *, levels_l: np.ndarray) -> dict[str, float]:
    """Accuracies where one half of the people predicts each person of the other."""
    at = positions(levels_l)
    far = np.abs(at[:, None] - at[None, :])
    one, other = halves.one, halves.other
    drawn = ((one @ far) * other).sum(axis=1).mean()
    medians = (far[individuals.median_codes(one)] * other).sum(axis=1).mean()
    return {
        "individual_accuracy_draw": float(1 - drawn),
        "individual_accuracy_median": float(1 - medians),
    }
