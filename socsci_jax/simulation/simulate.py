"""Simulating the held-out parts of a split, in chunks that outlive the process: from a store to the predictions table."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from socsci_jax.distributed.processes import Processes
from socsci_jax.errors import InputError
from socsci_jax.simulation.chunks import (
    PAIRS_PER_CHUNK,
    FinishedChunks,
    chunks_of,
    compute_chunks,
)
from socsci_jax.simulation.model import SimulationModel
from socsci_jax.simulation.predict import PreparedPrediction, Report, prepare_prediction
from socsci_jax.simulation.sampling import Sampling
from socsci_jax.studies.predictions import write_predictions
from socsci_jax.studies.prompts import Layout
from socsci_jax.studies.splits import Split
from socsci_jax.studies.store import StudyStore

logger = logging.getLogger(__name__)
ALONE = Processes()


def simulate(
    model: SimulationModel,
    store: StudyStore,
    split: Split,
    *,
    out: Path,
    layout: str | Layout | None = None,
    allow_other_layout: bool = False,
    parts: Sequence[str] = (),
    sampling: Sampling | None = None,
    metadata: Mapping[str, Any] | None = None,
    processes: Processes = ALONE,
    pairs_per_chunk: int = PAIRS_PER_CHUNK,
) -> int:
    """Predicts every held-out (item, participant) pair and writes the table; returns the number of rows.

    Chunks that are done wait next to `out` until all are: what was stopped resumes with those that are not, whatever the
    number of processes was.  Of N `processes`, which share a folder and nothing else, each has a model on its own
    devices and computes every Nth chunk; the first then waits for the others and writes the table, the others return
    before.  Chunks of a process that shows no sign of life are computed by the first.  The table does not depend on N.

    `parts` narrows the split's held-out parts; `metadata` is added to the table's own.  See `predict` for the rest.
    Raises InputError if nothing is to be predicted.
    """
    prepared = prepare_prediction(
        model,
        split.pairs(*parts),
        layout=layout,
        allow_other_layout=allow_other_layout,
        sampling=sampling,
    )
    described = {
        **prepared.metadata,
        **split.provenance,
        "parts": sorted(prepared.pairs.frame["part"].unique()),
        "held_out": dict(split.held_out["part"].value_counts(sort=True).iter_rows()),
        "resembling": _resembling(model, store, split),
        **(metadata or {}),
    }
    predict_to_file(prepared, out, metadata=described, processes=processes, pairs_per_chunk=pairs_per_chunk)
    return prepared.rows


def predict_to_file(
    prepared: PreparedPrediction,
    out: Path,
    *,
    metadata: Mapping[str, Any],
    processes: Processes = ALONE,
    pairs_per_chunk: int = PAIRS_PER_CHUNK,
) -> None:
    """Computes all pairs in chunks and writes their table with this `metadata`; see `simulate`.

    The first process returns when the table is there; the others may return before.
    """
    finished = FinishedChunks(out, dict(metadata), pairs_per_chunk=pairs_per_chunk)
    if processes.is_main:
        finished.begin()
    elif not finished.wait_for_begin():
        return
    chunks = chunks_of(prepared.table, pairs_per_chunk=pairs_per_chunk)
    if processes.is_main and len(chunks) < processes.num_processes:
        logger.warning(
            "%d chunks for %d processes; some have nothing to do.", len(chunks), processes.num_processes
        )

    def compute(number: int, report: Report) -> None:
        finished.write(number, prepared.compute(chunks[number], report))

    try:
        compute_chunks(finished, [len(chunk) for chunk in chunks], compute, processes=processes)
    except InputError:
        # A process that was held up until the others had done its work as well.
        if finished.table_is_written():
            return
        raise
    if not processes.is_main:
        return
    try:
        write_predictions(out, finished.read(len(chunks)), metadata=dict(metadata))
    except OSError as error:
        raise InputError(
            f"{out}: cannot be written ({error.strerror}); mend this and start the same command again: nothing is "
            "computed again."
        ) from error
    finished.remove()


def _resembling(model: SimulationModel, store: StudyStore, split: Split) -> list[list[str | float]]:
    """Held-out studies that share much of their words with one that was trained on: study, training study, overlap.

    They may be one fielding in two deposits, which ids do not tell; each is logged.
    """
    if model.trained_on is None:
        return []
    studies = split.units("unseen_studies")["study_id"].unique().sort().to_list()
    pairs = model.trained_on.resembling(store, studies)
    for pair in pairs:
        logger.warning(
            "Held-out study %s resembles %s, which the model was trained on: text overlap %.0f %%.",
            pair.study,
            pair.training,
            100 * pair.overlap,
        )
    return [[pair.study, pair.training, round(pair.overlap, 3)] for pair in pairs]
