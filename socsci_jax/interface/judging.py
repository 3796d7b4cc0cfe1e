"""Predictions of the public interface: read from a file, and judged by what people answered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from socsci_jax.studies.predictions import Predictions
from socsci_jax.studies.splits import Split
from socsci_jax.studies.store import StudyStore

if TYPE_CHECKING:
    from socsci_jax.evaluation.result import Evaluation
    from socsci_jax.studies.hidden import HiddenStates


def read_predictions(path: str | Path, store: StudyStore) -> Predictions:
    """A predictions table from a file, checked against the store; raises InputError for whatever does not fit."""
    from socsci_jax.studies import predictions

    return predictions.read_predictions(path, store)


def evaluate(
    predictions: Predictions,
    store: StudyStore,
    split: Split | str | None = None,
    *,
    seed: int = 0,
    minimum_n: int = 10,
    also: Sequence[Predictions] = (),
    hidden: HiddenStates | None = None,
) -> Evaluation:
    """Says how far predictions can be trusted, from the store's answers; a pure function, nothing is written.

    Args:
      predictions: of `predict`, or read from a file.
      store: holds the answers.
      split: which answers were held out, by name or itself; without one all answers are one part, "all".
      seed: of everything that is resampled.
      minimum_n: items with fewer human answers are excluded from averages.
      also: other predictors' predictions; the mean of all is one more predictor in every table.
      hidden: of `hidden_states`; a linear probe of them is one more predictor.

    Returns:
      An Evaluation: `summary()` is the table that reports begin with, `metric("wasserstein")` one value with its interval
      (docs/metrics.md lists the names), `table` all of them.
    """
    from socsci_jax.evaluation import evaluate as module

    if isinstance(split, str):
        split = store.split(split)
    labeled = module.label_without_split(store) if split is None else split.label()
    states = None if hidden is None else hidden.by_item
    return module.evaluate(
        predictions, store, labeled, seed=seed, minimum_n=minimum_n, also=also, hidden=states
    )
