"""What is done between steps and when: logging, validating, saving, stopping."""

from __future__ import annotations

import dataclasses
import time

from socsci_jax.training.position import Progress
from socsci_jax.training.session import Session
from socsci_jax.training.state import TrainingState
from socsci_jax.training.validation import Validation

# Metrics are written this many steps apart; after every step of a run that has fewer than so many.
LOG_EVERY, SHORT_RUN = 10, 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Due:
    """What is to be done after a step."""

    last: bool
    logs: bool
    saves: bool
    validates: bool
    stops: bool

    @property
    def anything(self) -> bool:
        return self.logs or self.saves or self.validates or self.stops


class Saver:
    """Keeps the recipe's calendar, and writes checkpoints and the best parameters by it."""

    def __init__(self, session: Session, validation: Validation | None):
        self._recipe = session.recipe
        self._total_steps = session.prepared.total_steps
        self._checkpoints, self._journal = session.checkpoints, session.journal
        self._validation = validation

    def due(self, finished: int, *, stop_asked: bool) -> Due:
        """What is to be done once `finished` steps are taken."""
        last = finished == self._total_steps
        validation = self._recipe.validation
        return Due(
            last=last,
            logs=last or finished % LOG_EVERY == 0 or self._total_steps < SHORT_RUN,
            saves=last or finished % self._recipe.checkpoints.every_steps == 0,
            validates=validation is not None and (last or finished % validation.every_steps == 0),
            stops=stop_asked,
        )

    def save(self, state: TrainingState, progress: Progress, due: Due) -> Progress:
        """Keeps the best parameters and saves the state, as it is due; returns the progress as it was saved.

        The pause that a save costs is added to its metrics.  `stopped_early` is set where validation has not become
        better for as long as the recipe allows.
        """
        if due.validates:
            no_better = self._validation.keep_best(state.params, progress)
            progress = dataclasses.replace(progress, stopped_early=no_better and not due.last)
        if due.saves or due.stops or progress.stopped_early:
            begun = time.perf_counter()
            step = progress.next_step
            self._checkpoints.save(step, state=state.as_dict(), metadata=progress.as_metadata())
            pause = time.perf_counter() - begun
            progress = dataclasses.replace(progress, metrics=progress.metrics | {"save_pause_seconds": pause})
            self._journal.write("saves", step=step, pause=round(pause, 4))
        if due.stops or due.last or progress.stopped_early:
            # Whoever stops must know that the checkpoint is there.
            self._checkpoints.wait()
            self._journal.write("saved", step=progress.next_step)
        return progress
