"""From a predictions file and a store on disk to a folder with tables and report."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from socsci_jax.errors import InputError
from socsci_jax.evaluation.evaluate import evaluate, label_without_split
from socsci_jax.evaluation.result import Evaluation
from socsci_jax.studies.hidden import hidden_file, read_hidden_states
from socsci_jax.studies.predictions import Predictions, read_predictions
from socsci_jax.studies.splits import Split
from socsci_jax.studies.store import StudyStore

logger = logging.getLogger(__name__)


def evaluate_files(
    predictions_path: str | Path,
    store_path: str | Path,
    out_dir: str | Path,
    *,
    split_name: str | None = None,
    seed: int = 0,
    minimum_n: int = 10,
    resample: str | None = None,
    also: Sequence[str | Path] = (),
) -> Evaluation:
    """Evaluates a predictions file and writes tables and report to `out_dir`; nothing is left on failure.

    The split is `split_name`, else the one named in the file's metadata, else none: then all answers are one
    part called "all".  `also` are files of other predictors, whose mean with this one is a row of every table; a file of
    hidden states next to the predictions gives another, a linear probe.  Raises InputError for whatever cannot be read or does not fit together.
    """
    store = StudyStore(store_path)
    predictions = read_predictions(predictions_path, store)
    named = predictions.metadata.get("split")
    if split_name is None and named is not None and not isinstance(named, str):
        raise InputError(
            f"{predictions_path}: the metadata's 'split' is {named!r}, not a name; pass the split's name instead."
        )
    name = split_name or named
    if name is None:
        labeled = label_without_split(store)
        notes = ["No split was named: all answers are judged together."]
    else:
        split = Split.load(store, str(name))
        labeled = split.label()
        notes = made_under(predictions, split, where=str(predictions_path), asked=split_name is not None)
    hidden, told = _hidden_states(Path(predictions_path), predictions)
    notes += told
    evaluation = evaluate(
        predictions,
        store,
        labeled,
        seed=seed,
        minimum_n=minimum_n,
        resample=resample,
        also=[read_predictions(path, store) for path in also],
        hidden=hidden,
    )
    settings = {**evaluation.metadata["evaluation"], "predictions": str(predictions_path), "split": name}
    settings |= {"also": list(map(str, also))} if also else {}
    evaluation = dataclasses.replace(
        evaluation,
        notes=(*evaluation.notes, *notes),
        metadata={**evaluation.metadata, "evaluation": settings},
    )
    evaluation.write(out_dir)
    return evaluation


def made_under(predictions: Predictions, split: Split, *, where: str, asked: bool) -> list[str]:
    """What is to be said of predictions that were made under another split than the one that judges them.

    Raises InputError where the split of that name was made again since, unless it was `asked` for by its name: an
    earlier evaluation under the split as it was would be replaced by one that answers another question.
    """
    named, known = predictions.metadata.get("split"), predictions.metadata.get("split_hash")
    if named is None:
        return []
    if named != split.name:
        notes = [f"The predictions were made under split {named!r} and are judged under {split.name!r}."]
    elif known in (None, split.content_hash):
        return []
    elif not asked:
        raise InputError(
            f"{where}: split {named!r} was replaced since the predictions were made under it, and holds out other answers now; "
            f"predict with a model that was trained under the new one, or name the split (`split={named}`) to judge these "
            "predictions under it all the same, into another folder."
        )
    else:
        notes = [f"Split {named!r} was replaced since the predictions were made under it."]
    for note in notes:
        logger.warning(f"{where}: {note}")
    return notes


def _hidden_states(path: Path, predictions: Predictions) -> tuple[Mapping[str, np.ndarray] | None, list[str]]:
    """Hidden states by item that lie next to a predictions file, and a note where they are another model's."""
    beside = hidden_file(path)
    if not beside.is_file():
        return None, []
    states = read_hidden_states(beside)
    own = predictions.metadata.get("model_hash")
    if states.metadata.get("model_hash") != own:
        return None, [
            f"{beside.name}: hidden states of another model than the predictions; there is no probe."
        ]
    return states.by_item, []
