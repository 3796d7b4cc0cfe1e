"""The training loop: everything is checked first, then data, state and position come together, then steps."""

from __future__ import annotations

import functools
import json
import math
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.multihost_utils import sync_global_devices

from socsci_jax.compilation import set_up_compiler
from socsci_jax.data.loader import PlannedRows, batches
from socsci_jax.data.plan import BatchPlan
from socsci_jax.errors import InputError
from socsci_jax.hub import resolve_folder
from socsci_jax.models.huggingface import CHECKPOINT_FILES, load_checkpoint
from socsci_jax.models.modules import init
from socsci_jax.progress import progress
from socsci_jax.training.checkpoint import Checkpoints
from socsci_jax.training.optimizer import learning_rate_schedule, make_optimizer
from socsci_jax.training.prepare import Prepared, prepare
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.run import RunFolder
from socsci_jax.training.step import initial_state, state_shardings, train_step

# Figures are fetched from the device this many steps apart: each fetch waits for the device.
LOG_EVERY = 10


def train(recipe: Recipe) -> Path:
    """Trains, or goes on where an earlier run of the same recipe stopped; returns the run's folder.

    Raises InputError for anything wrong with recipe, data, tokenizer, model or mesh before any step is taken.
    """
    set_up_compiler()
    prepared = _main_process_first(recipe)
    run, shards = prepared.run, prepared.shards
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
    step_function = jax.jit(
        functools.partial(
            train_step,
            optimizer=optimizer,
            config=prepared.config,
            compute_dtype=jnp.dtype(recipe.model.compute_dtype),
            remat=recipe.model.rematerialisation,
            unroll=recipe.model.unrolled_layers,
        ),
        donate_argnums=0,
    )

    checkpoints = Checkpoints(run.checkpoints, keep=recipe.checkpoints.keep)
    try:
        with jax.set_mesh(prepared.mesh):
            state, first_step = _state(recipe, prepared, optimizer, checkpoints)
            source = PlannedRows(
                shards,
                plan,
                steps=total_steps,
                micro_batches=recipe.batch.micro_batches,
                own=_own_rows(prepared.batch_sharding, recipe.batch.rows // recipe.batch.micro_batches),
            )
            with (
                progress(f"train {recipe.name}", total=total_steps) as report,
                _Log(run, from_step=first_step) as log,
            ):
                clock, done = time.perf_counter(), first_step
                for step, arrays in batches(source, first_step=first_step):
                    batch = {
                        name: jax.make_array_from_process_local_data(prepared.batch_sharding, array)
                        for name, array in arrays.items()
                    }
                    state, figures = step_function(state, batch)
                    finished = step + 1
                    logs = finished % LOG_EVERY == 0 or finished == total_steps
                    saves = finished % recipe.checkpoints.every_steps == 0 or finished == total_steps
                    if not (logs or saves):
                        continue
                    figures = {name: float(value) for name, value in figures.items()}
                    _check_finite(figures, finished, checkpoints)
                    seconds, clock = time.perf_counter() - clock, time.perf_counter()
                    figures["learning_rate"] = float(schedule(step))
                    figures["steps_per_second"] = (finished - done) / seconds
                    done = finished
                    log.write(finished, figures)
                    report.update(finished, f"loss {figures['loss']:.4f}")
                    if saves:
                        facts = {"next_step": finished, "total_steps": total_steps, "figures": figures}
                        checkpoints.save(finished, state=state, facts=facts)
    finally:
        checkpoints.close()
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


def _state(recipe: Recipe, prepared: Prepared, optimizer, checkpoints: Checkpoints) -> tuple[Any, int]:
    """State and the first step to take: of the newest checkpoint if there is one, else of the start."""
    config, mesh = prepared.config, prepared.mesh
    dtype = jnp.dtype(recipe.model.param_dtype)
    abstract = jax.eval_shape(functools.partial(init, config, param_dtype=dtype), key=jax.random.key(0))
    shardings = state_shardings(config, optimizer, abstract, mesh)
    latest = checkpoints.latest()
    if latest is not None:
        whole = {
            "params": abstract,
            "optimizer": jax.eval_shape(optimizer.init, abstract),
            "step": jax.ShapeDtypeStruct((), jnp.int32),
        }
        placed = jax.tree.map(
            lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s), whole, shardings
        )
        return checkpoints.restore(latest, abstract_state=placed), checkpoints.facts(latest)["next_step"]
    if recipe.model.start == "random":
        params = init(
            config, key=jax.random.key(recipe.seed), param_dtype=dtype, shardings=shardings["params"]
        )
    else:
        folder = resolve_folder(recipe.model.start, allow_patterns=CHECKPOINT_FILES)
        params = load_checkpoint(folder, mesh=mesh, param_dtype=dtype).params
    return initial_state(params, optimizer, shardings), 0


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


class _Log:
    """Figures as JSON lines and as TensorBoard scalars, written by the first process."""

    def __init__(self, run: RunFolder, *, from_step: int):
        self._run = run
        self._from_step = from_step

    def __enter__(self) -> _Log:
        self._file = self._scalars = None
        if jax.process_index() != 0:
            return self
        from tensorboard.summary import Writer

        # Lines after the checkpoint that we go on from would be written a second time.
        path = self._run.metrics
        lines = path.read_text().splitlines() if path.is_file() else []
        kept = [line for line in lines if json.loads(line)["step"] <= self._from_step]
        path.write_text("".join(f"{line}\n" for line in kept))
        self._file = path.open("a")
        self._scalars = Writer(str(self._run.tensorboard))
        return self

    def write(self, step: int, figures: dict[str, float]) -> None:
        if self._file is None:
            return
        self._file.write(json.dumps({"step": step, **figures}) + "\n")
        self._file.flush()
        for name, value in figures.items():
            self._scalars.add_scalar(name, value, step=step)

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            self._scalars.close()
