"""The step as the loop calls it, compiled at its first call."""

from __future__ import annotations

import logging
from typing import Any

import jax

from socsci_jax.data.loader import LoadedBatch
from socsci_jax.training.program import place_rows, step_program
from socsci_jax.training.session import Session
from socsci_jax.training.state import TrainingState

logger = logging.getLogger(__name__)


class CompiledStep:
    """The session's step; the first call compiles it, and its time counts as compiling."""

    def __init__(self, session: Session):
        self._session = session
        self._step = step_program(session.recipe, session.prepared.config, session.optimizer)
        self._compiled = False

    def __call__(
        self, state: TrainingState, batch: LoadedBatch, frozen: Any, stop: jax.Array
    ) -> tuple[TrainingState, dict[str, jax.Array]]:
        """Gives the step to the devices and returns what it will yield; the old state's buffers are used up."""
        arrays = place_rows(batch.arrays, self._session.prepared.batch_sharding)
        if self._compiled:
            return self._step(state, arrays, frozen, stop)
        self._compiled = True
        if self._session.processes.is_main:
            logger.info(
                "compiling the training step, which takes a minute or two on a laptop; Ctrl-C is heard when it is done"
            )
        with self._session.clock.spent_on("compile"):
            if self._compiles_ahead:
                self._step = self._step.lower(state, arrays, frozen, stop).compile()
                # Collectives do not wait long for a process that is still compiling.
                self._session.processes.peers.gather(None, what="compiling")
            return self._step(state, arrays, frozen, stop)

    @property
    def _compiles_ahead(self) -> bool:
        lora = self._session.recipe.lora
        # A program that was compiled ahead does not take arrays of four bits (jax 0.10).
        return self._session.processes.num_processes > 1 and (lora is None or lora.base != "nf4")
