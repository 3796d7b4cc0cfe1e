"""One start of a run: what was prepared, and what is open while steps are taken."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterator

import jax
import optax

from socsci_jax.distributed.processes import Processes
from socsci_jax.training.checkpoint_writer import CheckpointWriter
from socsci_jax.training.clock import Clock
from socsci_jax.training.journal import Journal
from socsci_jax.training.optimizer import learning_rate_schedule, make_optimizer
from socsci_jax.training.prepare import Prepared
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.watchdog import Watchdog

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Session:
    """What the parts of the loop share."""

    recipe: Recipe
    processes: Processes
    prepared: Prepared
    optimizer: optax.GradientTransformation
    learning_rate: optax.Schedule
    checkpoints: CheckpointWriter
    journal: Journal
    watchdog: Watchdog
    clock: Clock


@contextlib.contextmanager
def open_session(recipe: Recipe, prepared: Prepared, processes: Processes) -> Iterator[Session]:
    """Opens journal, watchdog and checkpoints, and makes the run's mesh the current one."""
    run = prepared.run
    with contextlib.ExitStack() as stack:
        # The journal outlives what follows and names what ended it; the watchdog limits every wait from here on.
        journal = stack.enter_context(Journal(run.logs, run=run.metadata["run_id"], processes=processes))
        watchdog = stack.enter_context(
            Watchdog(recipe.watchdog, peers=processes.peers, stacks=journal.stacks)
        )
        # Before anything else is written, so that a full disk is reported with the checkpoint that is safe.
        kept = recipe.checkpoints
        if kept.folder is not None and "://" in str(kept.folder) and processes.is_main:
            logger.info(
                f"{kept.folder}: object storage has no lock that ends with its holder; no other run may name this folder"
            )
        checkpoints = stack.enter_context(
            CheckpointWriter(run.checkpoints, keep=kept.keep, keep_every=kept.keep_every)
        )
        stack.enter_context(checkpoints.translate_storage_errors(run.path))
        stack.enter_context(jax.set_mesh(prepared.mesh))
        yield Session(
            recipe=recipe,
            processes=processes,
            prepared=prepared,
            optimizer=make_optimizer(recipe.optimizer, total_steps=prepared.total_steps),
            learning_rate=learning_rate_schedule(recipe.optimizer, total_steps=prepared.total_steps),
            checkpoints=checkpoints,
            journal=journal,
            watchdog=watchdog,
            clock=Clock(watchdog),
        )
