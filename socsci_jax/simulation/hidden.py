"""Hidden states of items: what the model holds at the last token before an answer, of a person of whom nothing is known."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np

from socsci_jax.data.prompt_table import PromptTable
from socsci_jax.data.tries import NO_ANSWERS
from socsci_jax.models.slots import read_states
from socsci_jax.progress import progress, reports_to
from socsci_jax.simulation.model import SimulationModel, fetch
from socsci_jax.simulation.predict import prepare_prediction
from socsci_jax.simulation.requests import branches_of, distinct_requests, rows_of_requests
from socsci_jax.studies.hidden import HiddenStates, check_size
from socsci_jax.studies.pairs import Pairs
from socsci_jax.studies.prompts import Layout
from socsci_jax.studies.store import StudyStore

_states = jax.jit(read_states, static_argnames=("config", "compute_dtype"))


def hidden_states(
    model: SimulationModel,
    store: StudyStore,
    *,
    layout: str | Layout | None = None,
    allow_other_layout: bool = False,
    show_progress: bool = True,
) -> HiddenStates:
    """Computes one vector [D] in float16 for each item of the store that has levels, training items included.

    It is the final-norm state at the last token of the prompt, written for a persona without attributes, so that it says
    nothing of people.

    Args:
      model: what `open_model` gives.
      store: holds the items.
      layout: the order in which a prompt is written, by name or itself; by default the model's own.
      allow_other_layout: allows a layout that the model was not trained with.
      show_progress: a bar in a terminal or notebook, a log line now and then elsewhere.

    Returns:
      HiddenStates, which `evaluate` takes as `hidden`.

    Raises InputError where there is no such item, or where the vectors would take too much room.
    """
    pairs = Pairs.cross([item for item in store.item_by_id.values() if item.scale.kind == "levels"], [{}])
    check_size(len(pairs), model.config.hidden_size)
    prepared = prepare_prediction(model, pairs, layout=layout, allow_other_layout=allow_other_layout)
    with progress("hidden states", total=len(pairs), shown=show_progress) as bar:
        states = states_of_prompts(model, prepared.table, pairs=len(pairs), report=reports_to(bar))
    told = prepared.metadata
    metadata = {name: told[name] for name in ("model", "model_hash", "layout")}
    return HiddenStates(
        dict(zip(pairs.frame["item_id"], states, strict=True)), {**metadata, "store_hash": store.content_hash}
    )


def states_of_prompts(
    model: SimulationModel,
    table: PromptTable,
    *,
    pairs: int,
    report: Callable[[int, int], None],
) -> np.ndarray:
    """The states [N, D] in float16 at the last token of each pair's prompt."""
    requests = distinct_requests(table, np.zeros(pairs, np.int64))
    branches = branches_of(requests, table, [NO_ANSWERS])
    settings = {"config": model.config, "compute_dtype": model.compute_dtype}
    vectors = []
    rows = rows_of_requests(
        table.prefixes,
        requests.prefix,
        branches,
        rows_at_a_time=model.rows_at_a_time,
        tokens_per_row=model.tokens_per_row,
    )
    with jax.set_mesh(model.mesh):
        for batch in rows:
            states = fetch(_states(model.params, model.place(batch.rows.arrays()), **settings))
            vectors += [states[row, first] for row, first in zip(batch.row, batch.first_read, strict=True)]
            report(len(vectors), len(branches))
    largest = float(np.finfo(np.float16).max)
    return (
        np.stack([vectors[request] for request in requests.of_pair])
        .clip(-largest, largest)
        .astype(np.float16)
    )
