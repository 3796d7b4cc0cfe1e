"""The training loop: everything is checked first, then data, state and position come together, then steps."""

from __future__ import annotations

import contextlib
import functools
import math
import time
from pathlib import Path

import jax
from jax.experimental.multihost_utils import sync_global_devices

from socsci_jax.compilation import set_up_compiler
from socsci_jax.data.loader import PlannedRows, batches
from socsci_jax.data.plan import BatchPlan
from socsci_jax.errors import InputError
from socsci_jax.progress import progress
from socsci_jax.training.checkpoint import Checkpoints
from socsci_jax.training.log import Log
from socsci_jax.training.optimizer import learning_rate_schedule, make_optimizer
from socsci_jax.training.prepare import Prepared, prepare
from socsci_jax.training.program import model_settings, step_program
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.reference import reference_log_probs
from socsci_jax.training.start import abstract_state, first_state, start_params, whole_start
from socsci_jax.training.validation import Validation

# Figures are fetched from the device this many steps apart: each fetch waits for the device.
LOG_EVERY = 10


def train(recipe: Recipe) -> Path:
    """Trains, or goes on where an earlier run of the same recipe stopped; returns the run's folder.

    Raises InputError for anything wrong with recipe, data, tokenizer, model or mesh before any step is taken.
    """
    set_up_compiler()
    prepared = _main_process_first(recipe)
    run, shards, config = prepared.run, prepared.shards, prepared.config
    plan = BatchPlan(
        shards.lengths,
        rows=recipe.batch.rows,
        tokens_per_row=recipe.batch.tokens_per_row,
        branches_per_tree=recipe.batch.branches_per_tree,
        seed=recipe.seed,
    )
    total_steps = plan.steps(recipe.optimizer.epochs)
    optimizer = make_optimizer(recipe.optimizer, total_steps=total_steps)
    schedule = learning_rate_schedule(recipe.optimizer, total_steps=total_steps)
    step_function = step_program(recipe, config, optimizer)
    rows = functools.partial(
        PlannedRows,
        shards,
        plan,
        micro_batches=recipe.batch.micro_batches,
        own=_own_rows(prepared.batch_sharding, recipe.batch.rows // recipe.batch.micro_batches),
    )

    with contextlib.ExitStack() as stack:
        checkpoints = stack.enter_context(Checkpoints(run.checkpoints, keep=recipe.checkpoints.keep))
        latest = checkpoints.latest()
        if latest is not None and checkpoints.facts(latest).get("stopped_early"):
            return run.path
        stack.enter_context(jax.set_mesh(prepared.mesh))
        reference = start = None
        if recipe.objective.kind == "dpo":
            if latest is None or not run.reference.is_file():
                start = start_params(recipe, config, prepared.mesh)
            reference = reference_log_probs(
                None if start is None else whole_start(recipe, config, prepared.mesh, start),
                rows(steps=plan.steps(1)),
                plan,
                sharding=prepared.batch_sharding,
                file=run.reference,
                config=config,
                **model_settings(recipe),
            )
        if start is None and (latest is None or config.adapter is not None):
            start = start_params(recipe, config, prepared.mesh)
        frozen = None if config.adapter is None else start
        if latest is None:
            state, first_step = first_state(recipe, config, optimizer, prepared.mesh, start), 0
        else:
            abstract = abstract_state(recipe, config, optimizer, prepared.mesh)
            state = checkpoints.restore(latest, abstract_state=abstract)
            first_step = checkpoints.facts(latest)["next_step"]
        # Steps give their buffers back; nothing else may hold on to the weights that they began with.
        del start
        source = rows(steps=total_steps, reference=reference)
        report = stack.enter_context(progress(f"train {recipe.name}", total=total_steps))
        log = stack.enter_context(Log(run, from_step=first_step))
        validation = None
        if recipe.validation is not None:
            validation = stack.enter_context(Validation(prepared, recipe, history=log.history))
        clock, done = time.perf_counter(), first_step
        for step, arrays in batches(source, first_step=first_step):
            batch = {
                name: jax.make_array_from_process_local_data(prepared.batch_sharding, array)
                for name, array in arrays.items()
            }
            state, figures = step_function(state, batch, frozen)
            finished = step + 1
            last = finished == total_steps
            logs = last or finished % LOG_EVERY == 0
            saves = last or finished % recipe.checkpoints.every_steps == 0
            validates = validation is not None and (last or finished % recipe.validation.every_steps == 0)
            if not (logs or saves or validates):
                continue
            figures = {name: float(value) for name, value in figures.items()}
            _check_finite(figures, finished, checkpoints)
            seconds = time.perf_counter() - clock
            figures["learning_rate"] = float(schedule(step))
            figures["steps_per_second"] = (finished - done) / seconds
            if validates:
                figures |= validation.figures(state["params"], frozen)
            facts = {"next_step": finished, "total_steps": total_steps, "figures": figures}
            stops = validates and validation.keep_best(state["params"], facts) and not last
            log.write(finished, figures)
            report.update(finished, f"loss {figures['loss']:.4f}")
            if saves or stops:
                checkpoints.save(finished, state=state, facts=facts | {"stopped_early": stops})
            if stops:
                print(f"stopped after step {finished}: validation {recipe.validation.metric} is no better")
                break
            # Validation and saving are not the steps' time.
            clock, done = time.perf_counter(), finished
    return run.path


def _main_process_first(recipe: Recipe) -> Prepared:
    """What the first process writes (run folder, tokenizer, shards) the others find when they look."""
    if jax.process_count() == 1:
        return prepare(recipe)
    if jax.process_index() != 0:
        sync_global_devices("prepared")
    prepared = prepare(recipe)
    if jax.process_index() == 0:
        sync_global_devices("prepared")
    return prepared


def _own_rows(sharding: jax.sharding.NamedSharding, rows: int) -> slice:
    """The rows of a micro-batch that this process's devices hold; contiguous, as the mesh orders devices."""
    slices = [index[1] for index in sharding.addressable_devices_indices_map((1, rows)).values()]
    starts = [s.start or 0 for s in slices]
    stops = [rows if s.stop is None else s.stop for s in slices]
    return slice(min(starts), max(stops))


def _check_finite(figures: dict[str, float], step: int, checkpoints: Checkpoints) -> None:
    if not all(math.isfinite(value) for value in figures.values()):
        raise InputError(
            f"step {step}: the {'loss' if not math.isfinite(figures['loss']) else 'gradient'} is not finite; "
            f"lower optimizer.learning_rate (last good checkpoint: {checkpoints.latest() or 'none'})."
        )
