"""A plan in words and numbers for a terminal, and what to change if it does not fit."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

from rich.table import Table

from socsci_jax.feasibility.plan import Plan
from socsci_jax.hardware import MARGIN
from socsci_jax.models.modules import parameter_count
from socsci_jax.wording import counted


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
