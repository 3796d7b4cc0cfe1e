"""Where a run begins: afresh from the recipe's start, or from its newest whole checkpoint."""

from __future__ import annotations

import dataclasses
import functools
import logging
from typing import Any

import numpy as np

from socsci_jax.training.checkpoint_reader import Restored
from socsci_jax.training.position import Progress
from socsci_jax.training.program import model_settings
from socsci_jax.training.reference import reference_log_probs
from socsci_jax.training.session import Session
from socsci_jax.training.start import abstract_state, first_state, start_params, whole_start
from socsci_jax.training.state import TrainingState

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class Begun:
    """All that the first step takes.

    `frozen` are the weights below an adapter, in four bits if the recipe says so; None if all weights are trained.
    `reference` [N, L] are log-probabilities under the start, of preference training and of a prior toward its contrasts.
    """

    state: TrainingState
    frozen: Any
    reference: np.ndarray | None
    first_step: int
    skipped: list[int]


def begin(session: Session) -> Begun:
    """Loads or makes the state, and what of the start is needed with it; the start's weights at most once.

    Raises InputError if no checkpoint of the run is whole.
    """
    recipe, prepared = session.recipe, session.prepared
    config, mesh = prepared.config, prepared.mesh
    start = functools.cache(functools.partial(start_params, recipe, config, mesh))
    # Before the state is restored, so that start and state need not fit the devices at the same time.
    reference = None
    if recipe.objective.needs_reference:
        reference = reference_log_probs(
            lambda: whole_start(recipe, config, mesh, start()),
            prepared.rows(steps=prepared.plan.steps_of_all()),
            prepared.plan,
            sharding=prepared.batch_sharding,
            file=prepared.run.reference,
            config=config,
            **model_settings(recipe),
        )
    restored = _restored(session)
    frozen = None if config.adapter is None else start()
    if restored is None:
        state = first_state(recipe, config, session.optimizer, mesh, start())
        return Begun(state, frozen, reference, first_step=0, skipped=[])
    progress = Progress.of_checkpoint(restored.metadata)
    state = TrainingState(**restored.state)
    return Begun(state, frozen, reference, first_step=progress.next_step, skipped=progress.skipped)


def _restored(session: Session) -> Restored | None:
    prepared, processes = session.prepared, session.processes
    abstract = abstract_state(session.recipe, prepared.config, session.optimizer, prepared.mesh).as_dict()
    restored = session.checkpoints.reader.restore_newest(abstract_state=abstract, peers=processes.peers)
    for sentence in restored.damaged if restored is not None else ():
        session.journal.write("damaged", reason=sentence)
        if processes.is_main:
            logger.warning(f"{sentence}; it is quarantined, and the run resumes from step {restored.step}")
    return restored
