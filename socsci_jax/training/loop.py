"""The training loop: everything is checked first, then data, state and position come together, then steps.

Several processes run the same loop over the same steps.  All that they decide (to stop, to leave a step out, to go on
from another checkpoint) they decide from figures that every one of them has, at the same step.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import itertools
import math
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from socsci_jax.compilation import set_up_compiler
from socsci_jax.data.loader import LoadedBatch, PlannedRows, batches
from socsci_jax.data.plan import BatchPlan
from socsci_jax.distributed.processes import Processes, StopSignals
from socsci_jax.errors import InputError, NonFinite, RunStopped
from socsci_jax.models.attention_choice import attention_for
from socsci_jax.models.sharding import one_per_device
from socsci_jax.progress import progress
from socsci_jax.training.checkpoint import Checkpoints, Restored
from socsci_jax.training.clock import COMPUTE, Clock
from socsci_jax.training.flops import step_flops
from socsci_jax.training.journal import Journal
from socsci_jax.training.log import Log
from socsci_jax.training.optimizer import learning_rate_schedule, make_optimizer
from socsci_jax.training.prepare import Prepared, prepare
from socsci_jax.training.program import batch_plan, model_settings, step_program
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.reference import reference_log_probs
from socsci_jax.training.start import abstract_state, first_state, start_params, whole_start
from socsci_jax.training.validation import Validation
from socsci_jax.training.watchdog import Watchdog

# Figures are written this many steps apart.
LOG_EVERY = 10
# Steps that the devices are given before the figures of the first of them are waited for: they never stand idle, and
# what goes wrong is known two steps later.
RUN_AHEAD = 2


def train(recipe: Recipe, processes: Processes = Processes()) -> Path:  # noqa: B008 (frozen)
    """Trains, or goes on where an earlier run of the same recipe stopped; returns the run's folder.

    Raises InputError for anything wrong with recipe, data, tokenizer, model or mesh before any step is taken;
    RunStopped after a checkpoint, if a signal asked for an end; NonFinite if loss or gradient is no number.
    """
    set_up_compiler()
    with StopSignals() as signals:
        prepared = _main_process_first(recipe, processes)
        run = prepared.run
        with (
            Journal(run.logs, run=run.facts()["run_id"], processes=processes) as journal,
            Watchdog(recipe.watchdog, peers=processes.peers, stacks=journal.stacks) as watchdog,
        ):
            _train(recipe, processes, prepared, journal, Clock(watchdog), watchdog, signals)
    return run.path


def _train(
    recipe: Recipe,
    processes: Processes,
    prepared: Prepared,
    journal: Journal,
    clock: Clock,
    watchdog: Watchdog,
    signals: StopSignals,
) -> None:
    run, shards, config, mesh = prepared.run, prepared.shards, prepared.config, prepared.mesh
    plan = batch_plan(recipe, shards.lengths)
    total_steps = plan.steps(recipe.optimizer.epochs)
    optimizer = make_optimizer(recipe.optimizer, total_steps=total_steps)
    schedule = learning_rate_schedule(recipe.optimizer, total_steps=total_steps)
    own = _own_rows(prepared.batch_sharding, recipe.batch.rows // recipe.batch.micro_batches)
    rows = functools.partial(PlannedRows, shards, plan, micro_batches=recipe.batch.micro_batches, own=own)

    with contextlib.ExitStack() as stack:
        checkpoints = stack.enter_context(
            Checkpoints(
                run.checkpoints, keep=recipe.checkpoints.keep, keep_every=recipe.checkpoints.keep_every
            )
        )
        stack.enter_context(checkpoints.translate_storage_errors(run.path))
        latest = checkpoints.latest()
        if latest is not None and _is_done(checkpoints, latest, total_steps):
            return
        stack.enter_context(jax.set_mesh(mesh))
        reference = start = None
        with clock.spent_on("starting"):
            if recipe.objective.kind == "dpo":
                if latest is None or not run.reference.is_file():
                    start = start_params(recipe, config, mesh)
                reference = reference_log_probs(
                    None if start is None else whole_start(recipe, config, mesh, start),
                    rows(steps=plan.steps(1)),
                    plan,
                    sharding=prepared.batch_sharding,
                    file=run.reference,
                    config=config,
                    **model_settings(recipe),
                )
            restored = _restored(recipe, processes, prepared, checkpoints, optimizer, journal)
            if start is None and (restored is None or config.adapter is not None):
                start = start_params(recipe, config, mesh)
            frozen = None if config.adapter is None else start
            if restored is None:
                state, first_step, skipped = first_state(recipe, config, optimizer, mesh, start), 0, []
            else:
                state, first_step = restored.state, restored.facts["next_step"]
                skipped = restored.facts["skipped"]
            # Steps give their buffers back; nothing else may hold on to the weights that they began with.
            del start, restored
        journal.write(
            "begins",
            first_step=first_step,
            total_steps=total_steps,
            rows=[own.start, own.stop],
            devices=mesh.size,
        )
        report = stack.enter_context(
            progress(f"train {recipe.name}", total=total_steps, shown=processes.is_main)
        )
        log = stack.enter_context(Log(run, recipe, from_step=first_step, writes=processes.is_main))
        validation = None
        if recipe.validation is not None:
            validation = stack.enter_context(Validation(prepared, recipe, history=log.history))
        profiler = stack.enter_context(_Profiler(recipe, run.profile, is_main=processes.is_main))
        source = rows(steps=total_steps, reference=reference)
        loaded = batches(source, first_step=first_step)
        flags = _StopFlags(mesh)
        steps = _Steps(
            journal, watchdog, recipe.optimizer.skip_nonfinite_steps, skipped, prepared, plan, checkpoints
        )
        speed = _Speed(recipe, prepared, plan, clock, first_step)
        step_function = step_program(recipe, config, optimizer)
        # A program that was compiled ahead does not take arrays of four bits (jax 0.10).
        compiles_ahead = processes.num_processes > 1 and (recipe.lora is None or recipe.lora.base != "nf4")
        signals.deferred = True
        for step in itertools.count(first_step):
            with clock.spent_on("input"):
                batch = next(loaded)
            arrays = {
                name: jax.make_array_from_process_local_data(prepared.batch_sharding, array)
                for name, array in batch.arrays.items()
            }
            operands = (state, arrays, frozen, flags.of(signals.asked is not None))
            if step == first_step and compiles_ahead:
                with clock.spent_on("compile"):
                    step_function = step_function.lower(*operands).compile()
                    # Collectives do not wait long for a process that is still compiling.
                    processes.peers.gather(None, what="compiling")
            profiler.before(step)
            with clock.spent_on("compile") if step == first_step else contextlib.nullcontext():
                state, figures = step_function(*operands)
            del operands
            steps.given(batch, figures)
            steps.settle(leaving=RUN_AHEAD)
            checkpoints.check()
            finished = step + 1
            last = finished == total_steps
            logs = last or finished % LOG_EVERY == 0
            saves = last or finished % recipe.checkpoints.every_steps == 0
            validates = validation is not None and (last or finished % recipe.validation.every_steps == 0)
            stops = steps.stop_asked
            if not (logs or saves or validates or stops or profiler.waits_for(step)):
                continue
            shown = steps.settle(leaving=0)
            profiler.after(step)
            shown["learning_rate"] = float(schedule(step - len(skipped)))
            shown |= speed.figures(finished)
            if validates:
                with clock.spent_on("validation"):
                    shown |= validation.figures(state["params"], frozen)
            facts = {"next_step": finished, "total_steps": total_steps, "figures": shown, "skipped": skipped}
            no_better = False
            with clock.spent_on("checkpoint"):
                if validates:
                    no_better = validation.keep_best(state["params"], facts) and not last
                if saves or stops or no_better:
                    begun = time.perf_counter()
                    checkpoints.save(finished, state=state, facts=facts | {"stopped_early": no_better})
                    shown["save_pause_seconds"] = time.perf_counter() - begun
                    journal.write("saves", step=finished, pause=round(shown["save_pause_seconds"], 4))
                if stops or last or no_better:
                    checkpoints.wait()
                    journal.write("saved", step=finished)
            log.write(finished, shown)
            report.update(finished, f"loss {shown['loss']:.4f}")
            speed.restart(finished)
            if last or no_better:
                if no_better and processes.is_main:
                    print(
                        f"stopped after step {finished}: validation {recipe.validation.metric} is no better"
                    )
                journal.write("finished", step=finished, seconds=_rounded(clock.seconds()))
                return
            if stops:
                journal.write(
                    "stopped", step=finished, signal=signals.asked, seconds=_rounded(clock.seconds())
                )
                raise RunStopped(
                    f"stopped by a signal after step {finished} of {total_steps}, which is saved; the same command "
                    "goes on from there."
                )


@dataclasses.dataclass
class _Steps:
    """Steps that the devices were given, and what came of them."""

    journal: Journal
    watchdog: Watchdog
    skips_allowed: int
    skipped: list[int]
    prepared: Prepared
    plan: BatchPlan
    checkpoints: Checkpoints
    stop_asked: bool = False

    def __post_init__(self) -> None:
        self._given: collections.deque[tuple[int, int, Any]] = collections.deque()
        self._latest: dict[str, float] = {}

    def given(self, batch: LoadedBatch, figures: dict[str, jax.Array]) -> None:
        self._given.append((batch.step, batch.digest, figures))

    def settle(self, *, leaving: int) -> dict[str, float]:
        """Waits for all but the last so many steps; figures of the latest one that has come to its end."""
        while len(self._given) > leaving:
            step, digest, waited_for = self._given.popleft()
            figures = {name: value.item() for name, value in jax.device_get(waited_for).items()}
            self.watchdog.step_done(step + 1)
            self.stop_asked |= figures.pop("stop") > 0
            finite = figures.pop("finite")
            self.journal.write(
                "step", step=step + 1, digest=f"{digest:016x}", loss=figures["loss"] if finite else None
            )
            if finite:
                self._latest = figures
            else:
                self._left_out(step, figures)
        return self._latest | ({"skipped_steps": len(self.skipped)} if self.skipped else {})

    def _left_out(self, step: int, figures: dict[str, float]) -> None:
        what = "gradient" if math.isfinite(figures["loss"]) else "loss"
        keys = self.prepared.shards.prefix_index["key"]
        ids = sorted({keys[int(p)] for row in self.plan.batch(step) for p in row.prefix})
        self.journal.write("not_finite", step=step + 1, what=what, ids=ids)
        self.skipped.append(step + 1)
        if len(self.skipped) > self.skips_allowed:
            saved = self.checkpoints.latest()
            raise NonFinite(
                f"step {step + 1}: the {what} is not finite; its batch holds {', '.join(ids[:3])}"
                f"{f' and {len(ids) - 3} more' if len(ids) > 3 else ''} (all in {self.journal.stacks.parent}); lower "
                "optimizer.learning_rate, or leave such steps out with optimizer.skip_nonfinite_steps; the last good "
                f"checkpoint is {f'that of step {saved}' if saved else 'none'}."
            )
        if not self._latest:
            self._latest = figures


class _StopFlags:
    """Whether this process was asked to stop, as the step's operand: an element for each device."""

    def __init__(self, mesh: jax.sharding.Mesh):
        self._sharding = one_per_device(mesh)
        self._shape = (mesh.size,)
        self._made: dict[bool, jax.Array] = {}

    def of(self, asked: bool) -> jax.Array:
        if asked not in self._made:
            # Every process gives its own devices' elements.
            self._made[asked] = jax.make_array_from_callback(
                self._shape, self._sharding, lambda _: np.full(1, asked, np.int32)
            )
        return self._made[asked]


class _Speed:
    """Rates since the last line of the log, and where all the time went."""

    def __init__(self, recipe: Recipe, prepared: Prepared, plan: BatchPlan, clock: Clock, first_step: int):
        self._recipe, self._config, self._plan, self._clock = recipe, prepared.config, plan, clock
        self._devices = prepared.mesh.size
        self._responses = prepared.shards.branch_index["responses"].to_numpy()
        self.restart(first_step)

    def restart(self, step: int) -> None:
        self._step, self._seconds = step, self._clock.seconds()

    def figures(self, finished: int) -> dict[str, float]:
        """Of the steps since `restart`: steps, tokens (without padding) and answers a second and device, waiting for
        input, model FLOPs utilization where the recipe's hardware has a stated peak; of all, the share by cause."""
        if finished == self._step:
            return {}
        now = self._clock.seconds()
        waited = now.get("input", 0.0) - self._seconds.get("input", 0.0)
        seconds = now[COMPUTE] - self._seconds[COMPUTE] + waited
        steps = range(self._step, finished)
        used, seen = (sum(work) for work in zip(*(self._plan.work(step) for step in steps)))
        answers = sum(
            int(self._responses[row.branch].sum()) for step in steps for row in self._plan.batch(step)
        )
        each = seconds * self._devices
        found = {
            "steps_per_second": len(steps) / seconds,
            "tokens_per_second_per_device": used / each,
            "responses_per_second_per_device": answers / each,
            "input_wait_share": waited / seconds,
        }
        peak = self._recipe.machine.accelerator.peak_tflops
        if peak is not None:
            flops = step_flops(self._recipe, self._config, self._plan.shape, keys=seen / used)
            found["mfu"] = flops * len(steps) / (each * peak * 1e12)
        whole = sum(now.values())
        return found | {f"time_share/{what}": spent / whole for what, spent in now.items()}


class _Profiler:
    """Records the recipe's `profile_steps` for TensorBoard's profiler; the steps around them run ahead as ever."""

    def __init__(self, recipe: Recipe, folder: Path, *, is_main: bool):
        self._steps = recipe.tracking.profile_steps if is_main else None
        self._folder = folder
        self._runs = False

    def before(self, step: int) -> None:
        if self._steps is not None and step + 1 == self._steps[0]:
            jax.profiler.start_trace(str(self._folder))
            self._runs = True

    def waits_for(self, step: int) -> bool:
        return self._runs and step + 1 >= self._steps[1]

    def after(self, step: int) -> None:
        if self.waits_for(step):
            jax.profiler.stop_trace()
            self._runs = False

    def __enter__(self) -> _Profiler:
        return self

    def __exit__(self, *_: object) -> None:
        if self._runs:
            jax.profiler.stop_trace()


def _is_done(checkpoints: Checkpoints, latest: int, total_steps: int) -> bool:
    try:
        facts = checkpoints.facts(latest)
    except InputError:
        return False  # damaged: an older one will be gone on from
    return facts.get("stopped_early", False) or facts["next_step"] == total_steps


def _restored(
    recipe: Recipe,
    processes: Processes,
    prepared: Prepared,
    checkpoints: Checkpoints,
    optimizer: Any,
    journal: Journal,
) -> Restored | None:
    abstract = abstract_state(recipe, prepared.config, optimizer, prepared.mesh)
    restored = checkpoints.restore_newest(abstract_state=abstract, peers=processes.peers)
    for sentence in restored.damaged if restored is not None else ():
        journal.write("damaged", reason=sentence)
        if processes.is_main:
            print(
                f"warning: {sentence}; it is set aside, and the run goes on from step {restored.step}",
                flush=True,
            )
    return restored


def _main_process_first(recipe: Recipe, processes: Processes) -> Prepared:
    """What the first process writes (run folder, tokenizer, shards) the others find when they look."""
    peers = processes.peers
    if not processes.is_main:
        peers.gather(None, what="preparing the data")
    prepared = prepare(recipe)
    if processes.is_main:
        peers.gather(None, what="preparing the data")
    facts = prepared.run.facts()
    peers.agree(
        **{"the run": facts["run_id"], "study store": facts["store_hash"], "split": facts["split_hash"]},
        attention=attention_for(prepared.config.head_dim, recipe.model.compute_dtype).name,
    )
    return prepared


def _own_rows(sharding: jax.sharding.NamedSharding, rows: int) -> slice:
    """The rows of a micro-batch that this process's devices hold; contiguous, as the mesh orders devices."""
    slices = [index[1] for index in sharding.addressable_devices_indices_map((1, rows)).values()]
    starts = [s.start or 0 for s in slices]
    stops = [rows if s.stop is None else s.stop for s in slices]
    return slice(min(starts), max(stops))


def _rounded(seconds: dict[str, float]) -> dict[str, float]:
    return {what: round(spent, 2) for what, spent in seconds.items()}
