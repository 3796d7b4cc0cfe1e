"""The figures of one item: how far the model, and what needs none, are from the people who answered it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from socsci_jax.evaluation import distances, individuals
from socsci_jax.evaluation.baselines import Baselines, half_histograms, sample_histogram, sample_rows
from socsci_jax.evaluation.cells import Cell
from socsci_jax.evaluation.table import MODEL

HALVES = 20
FigureName = tuple[str, str, str]  # metric, convention, predictor


@dataclasses.dataclass(frozen=True, kw_only=True)
class ItemFigures:
    """What one cell says; figures that are undefined are NaN or absent.

    `human_l`, `model_l` and `baselines` are distributions [L] over its levels, `half_positions_2r` the mean
    positions of R random halves of its people and of the other halves, NaN where it has only one answer.
    """

    values: Mapping[FigureName, float]
    human_l: np.ndarray
    model_l: np.ndarray
    baselines: Mapping[str, np.ndarray]
    half_positions_2r: np.ndarray


def item_figures(cell: Cell, baselines: Baselines, *, rng: np.random.Generator) -> ItemFigures:
    """All figures of a cell: from probabilities where it has them, and from one draw per person.

    Beside draws also the baselines are drawn from, as often as people answered: like is compared with like.
    """
    size = cell.levels_l.size
    human = distances.histogram(cell.codes_n, levels=size)
    others = baselines.distributions(cell)

    models = {}
    if cell.probs_nl is not None:
        models["exact"] = cell.probs_nl.mean(axis=0)
    sampled = cell.sampled if cell.sampled is not None else sample_rows(cell.probs_nl, rng=rng)
    models["sampled"] = distances.histogram(sampled, levels=size)

    halves = None
    if cell.codes_n.size >= 2:
        halves = half_histograms(cell.codes_n, levels=size, splits=HALVES, rng=rng)

    values: dict[FigureName, float] = {}
    for source, model in models.items():
        beside = others
        if source == "sampled":
            beside = {name: sample_histogram(q, n=cell.codes_n.size, rng=rng) for name, q in others.items()}
        for name, q in {MODEL: model, **beside}.items():
            values |= _distances(source, name, q, human, levels_l=cell.levels_l, range_of=human)
        if halves is not None:
            values |= _distances(source, "split_half", *halves, levels_l=cell.levels_l, range_of=human)

    values |= _accuracies(cell, MODEL, cell.probs_nl if cell.probs_nl is not None else cell.draws_nl)
    for name, q in others.items():
        values |= _accuracies(cell, name, q[None, :])
    half_positions = np.full((2, HALVES), np.nan)
    if halves is not None:
        values |= _accuracies_of_halves(*halves, levels_l=cell.levels_l)
        half_positions = np.stack(halves) @ distances.positions(cell.levels_l)
    return ItemFigures(
        values=values,
        human_l=human,
        model_l=models.get("exact", models["sampled"]),
        baselines=others,
        half_positions_2r=half_positions,
    )


def _distances(
    source: str,
    predictor: str,
    predicted: np.ndarray,
    human: np.ndarray,
    *,
    levels_l: np.ndarray,
    range_of: np.ndarray,
) -> dict[FigureName, float]:
    """W under both conventions and total variation; their means where there are several pairs [R, L]."""
    stated = distances.wasserstein_stated(predicted, human, levels_l=levels_l)
    observed = distances.wasserstein_observed(predicted, human, levels_l=levels_l, range_of=range_of)
    return {
        ("wasserstein", f"stated/{source}", predictor): float(np.mean(stated)),
        ("wasserstein", f"observed/{source}", predictor): float(np.mean(observed)),
        ("total_variation", source, predictor): float(np.mean(distances.total_variation(predicted, human))),
    }


def _accuracies(cell: Cell, predictor: str, probs_nl: np.ndarray) -> dict[FigureName, float]:
    """Mean accuracies over the people; `probs_nl` has a row for each of them, or one for all."""
    codes = cell.codes_n
    if probs_nl.shape[0] == codes.size:
        # People none of whose draws could be read have no accuracy.
        readable = np.isfinite(probs_nl[:, 0])
        probs_nl, codes = probs_nl[readable], codes[readable]
    rules = {"draw": individuals.draw_accuracy, "median": individuals.median_accuracy}
    return {
        ("individual_accuracy", rule, predictor): (
            float(accuracy(probs_nl, codes, levels_l=cell.levels_l).mean()) if codes.size else np.nan
        )
        for rule, accuracy in rules.items()
    }


def _accuracies_of_halves(
    one_rl: np.ndarray, other_rl: np.ndarray, *, levels_l: np.ndarray
) -> dict[FigureName, float]:
    """Accuracies where one half of the people predicts each person of the other."""
    at = distances.positions(levels_l)
    far = np.abs(at[:, None] - at[None, :])
    drawn = ((one_rl @ far) * other_rl).sum(axis=1).mean()
    medians = (far[individuals.median_codes(one_rl)] * other_rl).sum(axis=1).mean()
    return {
        ("individual_accuracy", "draw", "split_half"): float(1 - drawn),
        ("individual_accuracy", "median", "split_half"): float(1 - medians),
    }
