"""Log-probabilities of compared answers under the frozen start, which preference training measures change against."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from socsci_jax.data.loader import PlannedRows, batches
from socsci_jax.data.plan import EpochPlan
from socsci_jax.models.slots import answer_log_probs, tree_log_probs
from socsci_jax.progress import progress
from socsci_jax.simulation.model import fetch
from socsci_jax.training.program import place_rows


def reference_log_probs(
    start: Callable[[], Any],
    source: PlannedRows,
    plan: EpochPlan,
    *,
    sharding: jax.sharding.NamedSharding,
    file: Path,
    **settings: Any,
) -> np.ndarray:
    """[N, L] for the N comparisons of all branches, as the loader wants them; computed once a run and kept in `file`.

    `start` gives the parameters, and is called only if they are needed; `source` holds steps in which every comparison stands;
    settings as `tree_log_probs` takes them.  Computing it before training
    costs one forward pass over the data, and spares a second copy of the weights besides those that are trained.
    """
    if file.is_file():
        return np.load(file, allow_pickle=False)
    log_probs = np.zeros((int(plan.lengths.branch_comparisons.sum()), plan.shape.answers), np.float32)
    params = start()
    function = jax.jit(_answers, static_argnames=tuple(settings))
    with progress("reference", total=len(source)) as report:
        for batch in batches(source, first_step=0):
            answers = fetch(function(params, place_rows(batch.arrays, sharding), **settings))
            answers = answers.reshape(plan.rows, *answers.shape[2:])
            for g, row in enumerate(plan.batch(batch.step)):
                compared = plan.lengths.comparisons_of(row.branch)
                log_probs[compared] = answers[g, : len(compared)]
            report.update(batch.step + 1)
    if jax.process_index() == 0:
        partial = file.with_name(f".{file.name}.partial")
        with partial.open("wb") as out:
            np.save(out, log_probs, allow_pickle=False)
        os.replace(partial, file)
    return log_probs


def _answers(params: Any, batch: dict[str, jax.Array], **settings: Any) -> jax.Array:
    """[M,G,C,L] of all micro-batches, one after the other."""

    def of_rows(rows: dict[str, jax.Array]) -> jax.Array:
        return answer_log_probs(tree_log_probs(params, rows, **settings), rows["answer_path"])[0]

    return jax.lax.map(of_rows, batch)
