"""What a measured training step is: a published shape, and the recipe that it is taken with."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax

from benchmarks.table import ROOT
from socsci_jax.hardware import ACCELERATORS
from socsci_jax.models.catalog import CATALOG
from socsci_jax.models.config import DecoderConfig
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.recipe_files import load_recipe, parse_recipe

# Instead of a published shape where only the way is tried.
TINY = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": 8192}
TINY |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
TOKENS, TINY_TOKENS = 8192, 1024
# What JAX calls slices of one chip.
TPUS = {"v6 lite": "v6e-1", "v5 lite": "v5e-1", "v5p": "v5p-2", "v4": "v4-2"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One step of one row of 8,192 tokens.  `hardware` sizes what a recipe sizes by the machine that it names."""

    model: str
    remat: str = "none"
    lora: int = 0
    flat: bool = False  # nothing is shared: a tree a person
    lean: bool = False  # as the recipe for one device has it: bfloat16 throughout, factored second moment
    attention: str = ""  # another way than the device's own
    recipe: str = ""  # of the project
    planned: bool = False  # also what `plan` says of its memory
    hardware: str = ""  # by default the machine that is there


def config_of(case: Case, recipe: Recipe, *, tiny: bool) -> DecoderConfig:
    """The published shape, or a tiny one in its place, with the recipe's adapter."""
    return dataclasses.replace(CATALOG[case.model], **TINY if tiny else {}, adapter=recipe.adapter)


def recipe_of(case: Case, folder: Path, *, tiny: bool) -> Recipe:
    """For data in the workload's folder, with the start `random`: the decoder's shape is given apart."""
    tokens = TINY_TOKENS if tiny else TOKENS
    hardware = case.hardware or this_machine()
    if case.recipe:
        changes = [f"batch.tokens_per_row={tokens}", f"hardware={hardware}"]
        given = load_recipe(ROOT.parent / "recipes" / f"{case.recipe}.yaml", changes)
    else:
        given = parse_recipe(_made(case, folder, tokens, hardware), where="benchmark")
    data = given.data.model_copy(update={"store": folder / "store", "split": "main"})
    return given.model_copy(
        update={
            "output": folder / "runs" / f"accelerator-{tokens}",
            "model": given.model.model_copy(update={"init_from": "random"}),
            "data": data,
            "batch": given.batch.model_copy(update={"rows": 1, "micro_batches": 1}),
        }
    )


def _made(case: Case, folder: Path, tokens: int, hardware: str) -> dict[str, object]:
    model: dict[str, object] = {
        "init_from": str(folder / "model"),
        "compute_dtype": "bfloat16",
        "remat": case.remat,
    }
    optimizer: dict[str, object] = {"epochs": 1, "learning_rate": 1e-5}
    if case.lean:
        model |= {"param_dtype": "bfloat16", "gradient_dtype": "bfloat16", "stochastic_rounding": True}
        optimizer |= {"second_moment": "factored", "momentum_dtype": "bfloat16"}
    elif case.lora:
        model["param_dtype"] = "bfloat16"
    made: dict[str, object] = {
        "name": "accelerator",
        "hardware": hardware,
        "output": str(folder / "runs"),
        "model": model,
        "data": {"store": str(folder / "store"), "split": "main"},
        "batch": {"rows": 1, "tokens_per_row": tokens, "branches_per_tree": 64},
        "optimizer": optimizer,
        "checkpoints": {"every_steps": 1_000_000},
    }
    return made | ({"lora": {"rank": case.lora, "alpha": 2 * case.lora}} if case.lora else {})


def this_machine() -> str:
    """The name, as recipes have it, of one device of the kind that is here; `1xcpu` for what is not known."""
    device = jax.devices()[0]
    kind = device.device_kind.lower()
    if device.platform == "tpu":
        return next((name for part, name in TPUS.items() if part in kind), "1xcpu")
    squeezed = kind.replace(" ", "")
    gpus = [a for a in ACCELERATORS.values() if a.cores_per_chip is None and a.name.split("-")[0] in squeezed]
    if device.platform == "cpu" or not gpus:
        return "1xcpu"
    there = (device.memory_stats() or {}).get("bytes_limit", 0)
    return f"1x{min(gpus, key=lambda a: abs(a.usable - there)).name}"
