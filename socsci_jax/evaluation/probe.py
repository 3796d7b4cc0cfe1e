"""A linear probe: ridge regression from a model's hidden state at an item to how people answer it.

It needs no answer of the model.  What is regressed is the quantile function of people's answers on the scale's range,
whose squared distance bounds the Wasserstein distance, so items with other levels share one regression (ridge: Hoerl &
Kennard 1970, Technometrics 12; probes: Alain & Bengio 2017).  It learns from items of the training part alone.  What it
says of an item whose study it learned from, and of all items where nothing was trained on, is cross-fitted: studies are
dealt into folds, and the fold of an item's study is excluded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from socsci_jax.evaluation.metrics.distributions import positions

QUANTILES = 40
FOLDS = 5
# With fewer studies to learn from there is nothing to generalize.
FEWEST_STUDIES = 5
# Penalties per standardized feature, of which cross-validation over studies takes the best.
PENALTIES = tuple(10.0**k for k in range(-1, 6))


@dataclasses.dataclass(frozen=True, eq=False)
class ProbedItem:
    """An item to learn from: its study and people's answers as shares [L] over levels [L]."""

    item_id: str
    study: str
    levels_l: np.ndarray
    shares_l: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Probe:
    """Predicted quantile functions [QUANTILES] by item."""

    quantiles: Mapping[str, np.ndarray]

    def shares(self, item_id: str, levels_l: np.ndarray) -> np.ndarray | None:
        """The predicted distribution [L] over levels; None for an item without a hidden state."""
        quantiles = self.quantiles.get(item_id)
        return None if quantiles is None else shares_of_quantiles(quantiles, levels_l)


def fit_probe(
    items: Sequence[ProbedItem],
    hidden: Mapping[str, np.ndarray],
    studies: Mapping[str, str],
    *,
    trained: bool,
    seed: int = 0,
) -> Probe | None:
    """Learns from `items` and predicts every item that has a hidden state [D].

    `studies` names the study of each item.  Items of studies that were not learned from are predicted from all of
    `items`; if nothing was `trained` on, every study is judged and predicted from the other folds.  None where fewer than
    FEWEST_STUDIES studies can be learned from.
    """
    known = [item for item in items if item.item_id in hidden]
    names = sorted({item.study for item in known})
    if len(names) < FEWEST_STUDIES:
        return None
    order = np.random.default_rng(seed).permutation(len(names))
    fold_of = {names[study]: place % FOLDS for place, study in enumerate(order.tolist())}
    x = np.stack([hidden[item.item_id] for item in known]).astype(np.float64)
    y = np.stack([quantiles_of_shares(item.shares_l, item.levels_l) for item in known])
    fold = np.array([fold_of[item.study] for item in known])
    penalty = _best_penalty(x, y, fold)
    fitted = {k: _fit(x[fold != k], y[fold != k], penalty) for k in range(FOLDS)}
    fitted[-1] = _fit(x, y, penalty)
    learned = {item.item_id for item in known}
    predicted = {}
    for item_id, state in hidden.items():
        study = studies.get(item_id)
        if study is None:
            continue
        # A training study's held-out arm may be told by the other arms, as it is told to the model; its own answers never.
        own = fold_of.get(study, -1) if item_id in learned or not trained else -1
        predicted[item_id] = np.sort(np.clip(fitted[own](state[None].astype(np.float64))[0], 0, 1))
    return Probe(predicted)


def quantiles_of_shares(shares_l: np.ndarray, levels_l: np.ndarray) -> np.ndarray:
    """The quantile function [QUANTILES] at (k + ½) / QUANTILES, as positions from 0 to 1."""
    at = (np.arange(QUANTILES) + 0.5) / QUANTILES
    place = np.searchsorted(np.cumsum(shares_l), at - 1e-12).clip(max=levels_l.size - 1)
    return positions(levels_l)[place]


def shares_of_quantiles(quantiles_q: np.ndarray, levels_l: np.ndarray) -> np.ndarray:
    """Shares [L]: each quantile divides its mass between the two levels around it, so that the mean stays."""
    at = positions(levels_l)
    above = np.searchsorted(at, quantiles_q).clip(1, at.size - 1)
    part = (quantiles_q - at[above - 1]) / (at[above] - at[above - 1])
    shares = np.bincount(above - 1, weights=1 - part, minlength=at.size)
    shares += np.bincount(above, weights=part, minlength=at.size)
    return shares / shares.sum()


def _best_penalty(x: np.ndarray, y: np.ndarray, fold: np.ndarray) -> float:
    """The penalty with the least squared error on studies that were excluded."""
    errors = [
        sum(
            ((_fit(x[fold != k], y[fold != k], p)(x[fold == k]) - y[fold == k]) ** 2).sum()
            for k in range(FOLDS)
        )
        for p in PENALTIES
    ]
    return PENALTIES[int(np.argmin(errors))]


@dataclasses.dataclass(frozen=True, eq=False)
class _Ridge:
    center: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    intercept: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return ((x - self.center) / self.scale) @ self.weights + self.intercept


def _fit(x: np.ndarray, y: np.ndarray, penalty: float) -> _Ridge:
    """Ridge regression on standardized features; in the space of rows where these are fewer than features."""
    center, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    z, intercept = (x - center) / scale, y.mean(axis=0)
    rows, features = z.shape
    if rows < features:
        weights = z.T @ np.linalg.solve(z @ z.T + penalty * np.eye(rows), y - intercept)
    else:
        weights = np.linalg.solve(z.T @ z + penalty * np.eye(features), z.T @ (y - intercept))
    return _Ridge(center, scale, weights, intercept)
