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
    """Reads a predictions table, this program's or anybody's, and checks it against the store.

    Args:
      path: Parquet, or CSV in which a list is JSON; one row per item and persona with probabilities over the levels, or
        one row per draw (docs/your-predictions.md).
      store: holds the items and participants that the table names.

    Raises InputError for the first row that does not fit: unknown ids, levels that are not the scale's, probabilities
    that do not sum to 1, rows given twice.
    """
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

    Raises InputError if the predictions are of other items than the store's, or if nothing that was predicted was answered.
    """
    from socsci_jax.evaluation import evaluate as module

    if isinstance(split, str):
        split = store.split(split)
    labeled = module.label_without_split(store) if split is None else split.label()
    states = None if hidden is None else hidden.by_item
    return module.evaluate(
        predictions, store, labeled, seed=seed, minimum_n=minimum_n, also=also, hidden=states
    )
