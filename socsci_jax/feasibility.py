"""What a recipe needs of a machine: memory, computation and time of a step, from shapes alone.

The step is compiled ahead of time, without weights and without that machine, for as many simulated CPU devices as the
machine has.  XLA's own account of the compiled program says what each device holds; docs/feasibility.md says how far the
CPU's program differs from that of an accelerator, and where the formulas come from.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from rich.table import Table

from socsci_jax.data.plan import MULTIPLE, EpochPlan, round_up
from socsci_jax.data.shards import TreeShards
from socsci_jax.data.tokenizers import load_tokenizer
from socsci_jax.data.trees import RowShape
from socsci_jax.errors import InputError
from socsci_jax.hardware import Machine
from socsci_jax.hub import folder_at_hand
from socsci_jax.models.catalog import CATALOG
from socsci_jax.models.config import DecoderConfig, parse_config
from socsci_jax.models.huggingface import read_config_json
from socsci_jax.models.modules import parameter_count
from socsci_jax.models.sharding import Mesh, make_mesh, micro_batch_sharding
from socsci_jax.training.flops import step_flops
from socsci_jax.training.inputs import load_inputs
from socsci_jax.training.model_files import random_config, run_tokenizer
from socsci_jax.training.optimizer import make_optimizer
from socsci_jax.training.program import abstract_batch, batch_plan, step_program
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.run import RunFolder
from socsci_jax.training.start import abstract_start, abstract_state
from socsci_jax.wording import counted

# What is left of a device for libraries and fragmentation; `compilation.py` gives JAX the rest of a GPU.
MARGIN = 0.08


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataFigures:
    """What a recipe's training data are, once tokenized: an epoch of its batch plan.

    `keys` is the mean number of tokens that a processed token sees, itself included; `sharing` the tokens of all
    prompts, each for itself, over those that are processed, padding included.
    """

    row: RowShape
    steps: int
    steps_per_epoch: int
    responses: int
    keys: float
    padding: float
    sharing: float
    reads_used: float
    slots_used: float
    arms_per_step: float  # 0 where nothing is contrasted
    source: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes on each device while a step runs; temporaries are gradients, activations and the compiler's own."""

    trained: int
    frozen: int
    optimizer: int
    batch: int
    temporaries: int
    new_outputs: int  # what is returned in other buffers than those of the old state

    @property
    def arguments(self) -> int:
        return self.trained + self.frozen + self.optimizer + self.batch

    @property
    def peak(self) -> int:
        return self.arguments + self.temporaries + self.new_outputs


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What `plan` found; `assumed` says what was not at hand and how it was replaced."""

    recipe: Recipe
    machine: Machine
    config: DecoderConfig
    memory: Memory
    row: RowShape
    flops: float
    data: DataFigures | None
    assumed: tuple[str, ...]

    @property
    def usable(self) -> int:
        """Bytes of a device that a run may take."""
        return int(self.machine.accelerator.memory * (1 - MARGIN))

    @property
    def fits(self) -> bool:
        return self.memory.peak <= self.usable

    @property
    def tokens_per_step(self) -> int:
        return self.recipe.batch.rows * self.row.tokens

    def seconds_per_step(self, efficiency: float) -> float | None:
        """At a share of the accelerators' peak; None where that is not known."""
        peak = self.machine.accelerator.peak_tflops
        return None if peak is None else self.flops / (self.machine.devices * peak * 1e12 * efficiency)


def simulate_devices(count: int) -> None:
    """Gives this process `count` CPU devices in place of any other.

    Raises InputError if JAX has begun with too few: this must come before anything else that uses it.
    """
    try:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError:
        pass
    if len(jax.devices("cpu")) < count:
        raise InputError(
            f"{counted(count, 'device is', 'devices are')} to be simulated, but JAX has begun with {len(jax.devices('cpu'))}"
        )


def make_plan(recipe: Recipe, machine: Machine) -> Plan:
    """Compiles a step of the recipe for the machine's number of simulated devices (`simulate_devices`).

    Raises InputError if the mesh does not fit the machine, or the model's shape is not known here.
    """
    _check_mesh(recipe, machine)
    data, config, assumed = _data_and_config(recipe)
    config = dataclasses.replace(config, adapter=recipe.adapter)
    row = data.row if data else assumed_row(recipe)
    mesh = make_mesh(**recipe.parallelism.model_dump(), devices=jax.devices("cpu")[: machine.devices])
    return Plan(
        recipe=recipe,
        machine=machine,
        config=config,
        memory=step_memory(recipe, config, row, mesh),
        row=row,
        flops=step_flops(recipe, config, row, keys=data.keys if data else ASSUMED_KEYS),
        data=data,
        assumed=tuple(assumed),
    )


def _check_mesh(recipe: Recipe, machine: Machine) -> None:
    sizes = recipe.parallelism.model_dump()
    if (product := math.prod(sizes.values())) == machine.devices:
        return
    others = {name: size for name, size in sizes.items() if name != "fsdp"}
    if machine.devices % math.prod(others.values()):
        others = dict.fromkeys(others, 1)
    wanted = {"fsdp": machine.devices // math.prod(others.values()), **others}
    changes = " ".join(f"parallelism.{name}={size}" for name, size in wanted.items() if size != sizes[name])
    raise InputError(
        f"{recipe.name}: parallelism {' x '.join(f'{name} {size}' for name, size in sizes.items())} is {product}, but "
        f"{machine.name} has {counted(machine.devices, 'device')}; add {changes} (and batch.rows that these divide)."
    )


# --- shapes -----------------------------------------------------------------------------------------------------------

# Without data: as SocSci210 and the TESS archive have about, with Qwen's tokenizer.
ASSUMED_READS = 1 / 8  # of a row's tokens; as many target slots
ASSUMED_COMPARISONS = 1 / 32  # of a row's tokens
ASSUMED_ANSWERS = {"sft": 0, "dpo": 2, "soft": 11, "wasserstein": 11, "contrast": 11, "profiled": 11}
ASSUMED_PATH = 3  # tokens of an answer with its end
ASSUMED_KEYS = 512


def assumed_row(recipe: Recipe) -> RowShape:
    """The shape of a row where the data are not at hand."""
    tokens = recipe.batch.tokens_per_row
    reads = round_up(math.ceil(tokens * ASSUMED_READS), MULTIPLE)
    answers = ASSUMED_ANSWERS[recipe.objective.kind]
    if not answers:
        return RowShape(tokens, reads, reads)
    comparisons = round_up(math.ceil(tokens * ASSUMED_COMPARISONS), MULTIPLE)
    return RowShape(
        tokens,
        reads,
        reads,
        comparisons=comparisons,
        answers=answers,
        path=ASSUMED_PATH,
        contrasts=recipe.objective.sees_treatments,
    )


def _data_and_config(recipe: Recipe) -> tuple[DataFigures | None, DecoderConfig, list[str]]:
    """Figures of the data if store and tokenizer are here, the decoder's shape, and what had to be assumed."""
    start = recipe.model.init_from
    if start == "random":
        config = random_config(recipe.model, vocab_size=recipe.model.vocab_size)
    elif folder := folder_at_hand(start, needs="config.json"):
        config = parse_config(read_config_json(folder), where=str(folder))
    elif start in CATALOG:
        config = CATALOG[start]
    else:
        raise InputError(
            f"{recipe.name}: the shape of {start} is not known here; give model.init_from=FOLDER with its config.json, or "
            f"one of {', '.join(CATALOG)}."
        )
    missing = _missing(recipe)
    if missing is not None:
        return (
            None,
            config,
            [
                f"{missing}: a row is taken to have {ASSUMED_READS:.0%} reads, a token to see {ASSUMED_KEYS} others"
            ],
        )
    data, vocab_size = _measure_data(recipe)
    if start == "random":
        config = random_config(recipe.model, vocab_size=vocab_size)
    return data, config, []


def _missing(recipe: Recipe) -> str | None:
    """What there would have to be for this data's own figures."""
    if not (recipe.data.store / "store.json").is_file():
        return f"no study store at {recipe.data.store} (--store FOLDER)"
    tokenizer = recipe.model.tokenizer or recipe.model.init_from
    if tokenizer != "train" and folder_at_hand(tokenizer, needs="tokenizer_config.json") is None:
        return f"no tokenizer {tokenizer} on this machine (model.tokenizer=FOLDER)"
    return None


def _measure_data(recipe: Recipe) -> tuple[DataFigures, int]:
    """Figures of the recipe's data, whose training shards are made as `train` makes them; size of the vocabulary."""
    inputs = load_inputs(recipe)
    if recipe.model.tokenizer == "train":
        with tempfile.TemporaryDirectory() as folder:
            tokenizer = run_tokenizer(recipe.model, RunFolder(Path(folder)), inputs)
    else:
        name = recipe.model.tokenizer or recipe.model.init_from
        tokenizer = load_tokenizer(folder_at_hand(name, needs="tokenizer_config.json"))
    shards = inputs.shards(tokenizer)
    return data_figures(recipe, shards, source=str(inputs.store.path)), tokenizer.vocab_size


def _arms_per_step(plan: EpochPlan, steps: int) -> float:
    """Arms of outcomes that a step of the first epoch contrasts on average: the weights of an arm's people sum to 1."""
    rows = [row.contrasted for step in range(steps) for row in plan.batch(step) if row.contrasted is not None]
    return float(sum(row.weight.sum() for row in rows)) / steps


def data_figures(recipe: Recipe, shards: TreeShards, *, source: str = "") -> DataFigures:
    lengths = shards.lengths
    plan = batch_plan(recipe, lengths)
    steps = plan.steps(1)
    processed = steps * plan.rows * plan.shape.tokens
    # What a branch stands for: its responses, or one person who is asked about an arm.
    stands_for = np.maximum(shards.branch_index["responses"].to_numpy(), 1)
    whole = lengths.branch_whole * stands_for
    planned = [row.branch for step in range(steps) for row in plan.batch(step)]
    branches = np.concatenate(planned)
    work = [plan.work(step) for step in range(steps)]
    used, seen = (sum(of_step) for of_step in zip(*work))
    return DataFigures(
        row=plan.shape,
        steps=plan.steps(recipe.optimizer.epochs),
        steps_per_epoch=steps,
        responses=int(shards.metadata["responses"]),
        keys=seen / used,
        padding=1 - used / processed,
        sharing=float(whole[branches].sum()) / processed,
        reads_used=float(lengths.branch_reads[branches].sum()) / (steps * plan.rows * plan.shape.reads),
        slots_used=float(lengths.branch_slots[branches].sum()) / (steps * plan.rows * plan.shape.slots),
        arms_per_step=_arms_per_step(plan, steps),
        source=source,
    )


# --- memory -----------------------------------------------------------------------------------------------------------

# What the CPU's compiler does for CPUs alone, at the cost of memory, is left out (docs/feasibility.md has the figures):
# it lifts float32 copies of whole stacks of bfloat16 weights out of the loop over layers, and it widens whole stacks to
# replace one layer of them.  No buffer depends on how good the machine code is, and none of it is run.
LIKE_AN_ACCELERATOR = {
    "xla_disable_hlo_passes": "while-loop-invariant-code-motion,float-normalization-bf16",
    "xla_backend_optimization_level": 0,
}


def step_memory(recipe: Recipe, config: DecoderConfig, row: RowShape, mesh: Mesh) -> Memory:
    """What each device of the mesh holds while a step runs, by XLA's account of the program compiled for them."""
    state, batch, frozen = operands = step_operands(recipe, config, row, mesh)
    with jax.set_mesh(mesh):
        lowered = step_program(recipe, config, _optimizer(recipe)).lower(*operands)
    compiled = lowered.compile(compiler_options=LIKE_AN_ACCELERATOR)
    found = compiled.memory_analysis()
    return Memory(
        trained=device_bytes(state.params),
        frozen=device_bytes(frozen),
        optimizer=device_bytes((state.optimizer, state.step)),
        batch=device_bytes(batch),
        temporaries=found.temp_size_in_bytes,
        new_outputs=found.output_size_in_bytes - found.alias_size_in_bytes,
    )


def step_operands(recipe: Recipe, config: DecoderConfig, row: RowShape, mesh: Mesh) -> tuple[Any, Any, Any]:
    """Shapes, dtypes and shardings of (state, batch, frozen), which a step takes."""
    sharding = micro_batch_sharding(mesh, rows=recipe.batch.rows // recipe.batch.micro_batches)
    frozen = None if config.adapter is None else abstract_start(recipe, config, mesh)
    state = abstract_state(recipe, config, _optimizer(recipe), mesh)
    return state, abstract_batch(recipe, row, sharding), frozen


def _optimizer(recipe: Recipe) -> optax.GradientTransformation:
    # The number of steps shapes nothing.
    return make_optimizer(recipe.optimizer, total_steps=1000)


def device_bytes(tree: Any) -> int:
    """Bytes that one device holds of arrays, or of their shapes with shardings."""
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )


# --- what is said -----------------------------------------------------------------------------------------------------


def advice(plan: Plan) -> Iterator[str]:
    """Which of the recipe's numbers to change so that it fits, the cheapest first."""
    recipe, devices = plan.recipe, plan.machine.devices
    sizes, batch = recipe.parallelism, recipe.batch
    if recipe.model.remat != "layers":
        yield "model.remat=layers keeps only the inputs of layers for the backward pass"
    rows = batch.rows // batch.micro_batches // (sizes.data * sizes.fsdp)
    if rows > 1:
        yield f"batch.micro_batches={batch.micro_batches * rows} computes one row at a time on a device, now {rows}"
    if batch.tokens_per_row > recipe.data.max_tokens:
        yield f"batch.tokens_per_row={recipe.data.max_tokens} halves the activations; the longest prompt still fits"
    if sizes.data > 1:
        yield f"parallelism.fsdp={sizes.fsdp * sizes.data} parallelism.data=1 cuts weights and moments over all devices"
    if recipe.lora is None:
        yield "lora.rank=16 lora.alpha=32 model.param_dtype=bfloat16 trains an adapter and keeps moments of that alone"
    elif recipe.model.param_dtype == "float32":
        yield "model.param_dtype=bfloat16 halves the weights, which are not trained"
    needed = math.ceil(devices * plan.memory.arguments / (plan.usable / 2))
    if plan.memory.arguments > plan.usable / 2 and needed > devices:
        yield f"about {needed} such devices with parallelism.fsdp={needed} would hold it (now {devices})"


def plan_table(plan: Plan, *, efficiency: float) -> Table:
    """The plan for a terminal."""
    table = Table(title=_title(plan), title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("")
    table.add_column("", justify="right")
    table.add_column("", overflow="fold")
    for row in (*_memory_rows(plan), *_work_rows(plan, efficiency), *_data_rows(plan, efficiency)):
        table.add_row(*row)
    return table


def _title(plan: Plan) -> str:
    sizes = plan.recipe.parallelism.model_dump()
    mesh = " x ".join(f"{name} {size}" for name, size in sizes.items() if size > 1) or "one device"
    return f"{plan.recipe.name} on {plan.machine.name} ({mesh})"


def _memory_rows(plan: Plan) -> Iterator[tuple[str, str, str]]:
    memory, device = plan.memory, plan.machine.accelerator
    every = parameter_count(plan.config)
    base = parameter_count(dataclasses.replace(plan.config, adapter=None))
    trained, frozen = (every, 0) if every == base else (every - base, base)
    yield "trained parameters", gigabytes(memory.trained), f"{_count(trained)} in all"
    if frozen:
        yield "frozen parameters", gigabytes(memory.frozen), f"{_count(frozen)} in all"
    yield "optimizer", gigabytes(memory.optimizer), ""
    yield "batch", gigabytes(memory.batch), ""
    yield (
        "gradients and activations",
        gigabytes(memory.temporaries),
        "temporaries of the program compiled on CPU",
    )
    if memory.new_outputs > 1e6:
        yield "other outputs", gigabytes(memory.new_outputs), ""
    yield "peak on a device", gigabytes(memory.peak), "FITS" if plan.fits else "DOES NOT FIT"
    yield (
        "a device has",
        gigabytes(device.memory),
        f"{gigabytes(plan.usable)} usable, {MARGIN:.0%} left ({device.source})",
    )


def _work_rows(plan: Plan, efficiency: float) -> Iterator[tuple[str, str, str]]:
    yield (
        "tokens per step",
        f"{plan.tokens_per_step:,}",
        f"{counted(plan.recipe.batch.rows, 'row')} of {plan.row.tokens:,}, padding included",
    )
    yield (
        "FLOPs per step",
        f"{plan.flops / 1e12:,.1f} T",
        "6 N D with remat and attention (docs/feasibility.md)",
    )
    seconds = plan.seconds_per_step(efficiency)
    if seconds is not None:
        peak = plan.machine.accelerator.peak_tflops
        yield (
            "expected tokens/s",
            f"{plan.tokens_per_step / seconds:,.0f}",
            f"at {efficiency:.0%} of {peak:,} TFLOP/s a device",
        )


def _data_rows(plan: Plan, efficiency: float) -> Iterator[tuple[str, str, str]]:
    data = plan.data
    if data is None:
        return
    yield "responses", f"{data.responses:,}", data.source
    yield "responses per step", f"{data.responses / data.steps_per_epoch:,.0f}", ""
    yield "padding", f"{data.padding:.1%}", "of the processed tokens"
    yield "sharing", f"{data.sharing:.1f} x", "tokens of all prompts over processed tokens"
    yield (
        "reads, slots used",
        f"{data.reads_used:.0%}, {data.slots_used:.0%}",
        f"of {plan.row.reads:,} and {plan.row.slots:,} a row",
    )
    if data.arms_per_step:
        yield (
            "arms per step",
            f"{data.arms_per_step:,.1f}",
            "of outcomes that are contrasted, each with all its people",
        )
    yield "steps", f"{data.steps:,}", f"{plan.recipe.optimizer.epochs:g} epochs"
    seconds = plan.seconds_per_step(efficiency)
    if seconds is not None:
        yield "hours", f"{data.steps * seconds / 3600:,.2f}", "without validation and checkpoints"
    programs = ["the step"] + ["the reference"] * plan.recipe.objective.needs_reference
    yield "programs to compile", f"{len(programs)}", " and ".join(programs)


def gigabytes(count: int) -> str:
    return f"{count / 1e9:,.2f} GB" if count >= 1e7 else f"{count / 1e6:,.2f} MB"


def _count(parameters: int) -> str:
    return f"{parameters / 1e9:.2f} billion" if parameters >= 1e8 else f"{parameters / 1e6:.2f} million"
