"""The training loop: everything is checked first, then data, state and position come together, then steps.

Several processes run the same loop over the same steps.  All that they decide (to stop, to skip a step, to resume from
another checkpoint) they decide from metrics that every one of them has, at the same step.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
from pathlib import Path

from socsci_jax.compilation import set_up_compiler
from socsci_jax.data.loader import batches
from socsci_jax.distributed.processes import Processes, StopSignals
from socsci_jax.errors import RunStopped
from socsci_jax.locks import only_writer
from socsci_jax.progress import SECONDS_BETWEEN_LINES, progress
from socsci_jax.training.begin import begin
from socsci_jax.training.compiled_step import CompiledStep
from socsci_jax.training.in_flight import StepsInFlight, StopFlags
from socsci_jax.training.log import Log
from socsci_jax.training.position import Progress, is_finished
from socsci_jax.training.prepare import prepare_on_all_processes
from socsci_jax.training.profiler import Profiler
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.saving import SHORT_RUN, Due, Saver
from socsci_jax.training.session import Session, open_session
from socsci_jax.training.speed import Speed
from socsci_jax.training.validation import Validation

logger = logging.getLogger(__name__)

# Steps that the devices are given before the metrics of the first of them are waited for: they never stand idle, and
# what goes wrong is known two steps later.
RUN_AHEAD = 2


def train(recipe: Recipe, processes: Processes = Processes()) -> Path:  # noqa: B008 (frozen)
    """Trains, or resumes an earlier run of the same recipe where it stopped; returns the run's folder.

    Raises InputError for anything wrong with recipe, data, tokenizer, model or mesh before any step is taken;
    RunStopped after a checkpoint, if a signal asked for an end; NonFinite if loss or gradient is not finite.
    """
    set_up_compiler()
    # First, so that a signal ends the run in order at any moment; until steps are taken there is nothing to save.
    with (
        StopSignals() as signals,
        only_writer(recipe.output) if processes.is_main else contextlib.nullcontext(),
    ):
        # Before any device work: everything that can be wrong with the input is found here.
        prepared = prepare_on_all_processes(recipe, processes)
        with open_session(recipe, prepared, processes) as session:
            if not is_finished(session.checkpoints.reader, total_steps=prepared.total_steps):
                _take_steps(session, signals)
    return prepared.run.path


def _take_steps(session: Session, signals: StopSignals) -> None:
    recipe, prepared, clock, journal = session.recipe, session.prepared, session.clock, session.journal
    run, total_steps, is_main = prepared.run, prepared.total_steps, session.processes.is_main
    with contextlib.ExitStack() as stack:
        # State, data position and skipped steps were saved as one and come back as one.
        with clock.spent_on("starting"):
            begun = begin(session)
        state, frozen, first_step = begun.state, begun.frozen, begun.first_step
        journal.write("begins", first_step=first_step, total_steps=total_steps, **prepared.place())
        if first_step > 0 and is_main:
            logger.info(f"resuming after step {first_step} of {total_steps}")
        report = stack.enter_context(
            progress(
                f"train {recipe.name}",
                total=total_steps,
                shown=is_main,
                # Whoever waits for few steps sees each of them.
                seconds_between=0 if total_steps < SHORT_RUN else SECONDS_BETWEEN_LINES,
            )
        )
        # Lines of the log that come after the first step are written again, and count for no validation.
        log = stack.enter_context(Log(run, recipe, from_step=first_step, writes=is_main))
        validation = None
        if recipe.validation is not None:
            validation = stack.enter_context(Validation(prepared, recipe, history=log.history))
        profiled = recipe.tracking.profile_steps if is_main else None
        profiler = stack.enter_context(Profiler(profiled, run.profile))
        saver, in_flight = Saver(session, validation), StepsInFlight(session, skipped=begun.skipped)
        speed, program = Speed(session, first_step=first_step), CompiledStep(session)
        flags = StopFlags(prepared.mesh)
        source = prepared.rows(steps=total_steps, reference=begun.reference)
        loaded = batches(source, first_step=first_step)
        # Steps give their buffers back; nothing else may hold on to the weights that they began with.
        del begun
        # From here on a signal waits for the end of a step, which is saved.
        signals.deferred = True
        for step in itertools.count(first_step):
            with clock.spent_on("input"):
                batch = next(loaded)
            profiler.before(step)
            state, metrics = program(state, batch, frozen, flags.of(signals.asked is not None))
            in_flight.add(batch, metrics)
            # Metrics of earlier steps, while the devices compute this one: what went wrong ends the run here.
            in_flight.settle(leaving=RUN_AHEAD)
            session.checkpoints.check()
            finished = step + 1
            # Whoever runs alone knows at once; several processes stop where all of them know.
            alone = session.processes.num_processes == 1
            asked = in_flight.stop_asked or (alone and signals.asked is not None)
            due = saver.due(finished, stop_asked=asked)
            if not due.anything and not profiler.waits_for(step):
                continue
            # All steps have ended before the state is looked at, so nothing is saved that came of a failed one.
            metrics = in_flight.settle(leaving=0)
            profiler.after(step)
            metrics["learning_rate"] = float(session.learning_rate(step - len(in_flight.skipped)))
            metrics |= speed.metrics(finished)
            if due.validates:
                with clock.spent_on("validation"):
                    metrics |= validation.metrics(state.params, frozen)
            # Saved before it is logged: a run that resumes finds no line of a step that it has yet to take.
            with clock.spent_on("checkpoint"):
                reached = Progress(
                    next_step=finished, total_steps=total_steps, metrics=metrics, skipped=in_flight.skipped
                )
                reached = saver.save(state, reached, due)
            log.write(finished, reached.metrics)
            report.update(finished, f"loss {metrics['loss']:.4f}")
            speed.restart(finished)
            if _ends(session, reached, due, signals):
                return


def _ends(session: Session, reached: Progress, due: Due, signals: StopSignals) -> bool:
    """Whether the run ends with the step that was just saved; raises RunStopped where a signal asked for it."""
    step, seconds = reached.next_step, session.clock.rounded_seconds()
    if due.last or reached.stopped_early:
        if reached.stopped_early and session.processes.is_main:
            metric = session.recipe.validation.metric
            logger.info(f"stopped after step {step}: validation {metric} is no better")
        session.journal.write("finished", step=step, seconds=seconds)
        return True
    if due.stops:
        session.journal.write("stopped", step=step, signal=signals.asked, seconds=seconds)
        raise RunStopped(
            f"stopped by a signal after step {step} of {reached.total_steps}, which is saved; the same command "
            "resumes there."
        )
    return False
