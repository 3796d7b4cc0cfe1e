"""What a step is made of: the decoder's shape, and rows of the recipe's data or, without them, of assumed data."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from pathlib import Path

import numpy as np

from socsci_jax.data.plan import MULTIPLE, EpochPlan
from socsci_jax.data.row_fitting import round_up
from socsci_jax.data.shards import TreeShards
from socsci_jax.data.tokenizer_loading import load_tokenizer
from socsci_jax.data.trees import RowShape
from socsci_jax.errors import InputError
from socsci_jax.hub import folder_at_hand
from socsci_jax.models.catalog import CATALOG
from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.config_files import parse_config
from socsci_jax.models.huggingface import read_config_json
from socsci_jax.training.inputs import load_inputs
from socsci_jax.training.model_files import random_config, run_tokenizer
from socsci_jax.training.program import batch_plan
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.run import RunFolder


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataStatistics:
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


def data_and_config(recipe: Recipe) -> tuple[DataStatistics | None, DecoderConfig, list[str]]:
    """Statistics of the data if store and tokenizer are here, the decoder's shape, and what had to be assumed."""
    config = decoder_config(recipe)
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
    if recipe.model.init_from == "random":
        config = random_config(recipe.model, vocab_size=vocab_size)
    return data, config, []


def decoder_config(recipe: Recipe) -> DecoderConfig:
    """The shape that the recipe starts from, without its weights; raises InputError if it is not known here."""
    start = recipe.model.init_from
    if start == "random":
        return random_config(recipe.model, vocab_size=recipe.model.vocab_size)
    if folder := folder_at_hand(start, needs="config.json"):
        return parse_config(read_config_json(folder), where=str(folder))
    if start in CATALOG:
        return CATALOG[start]
    raise InputError(
        f"{recipe.name}: the shape of {start} is not known here; give model.init_from=FOLDER with its config.json, or "
        f"one of {', '.join(CATALOG)}."
    )


def _missing(recipe: Recipe) -> str | None:
    """What there would have to be for statistics of this data."""
    if not (recipe.data.store / "store.json").is_file():
        return f"no study store at {recipe.data.store} (--store FOLDER)"
    tokenizer = recipe.model.tokenizer or recipe.model.init_from
    if tokenizer != "train" and folder_at_hand(tokenizer, needs="tokenizer_config.json") is None:
        return f"no tokenizer {tokenizer} on this machine (model.tokenizer=FOLDER)"
    return None


def _measure_data(recipe: Recipe) -> tuple[DataStatistics, int]:
    """Statistics of the recipe's data, whose training shards are made as `train` makes them; size of the vocabulary."""
    inputs = load_inputs(recipe)
    if recipe.model.tokenizer == "train":
        with tempfile.TemporaryDirectory() as folder:
            tokenizer = run_tokenizer(recipe.model, RunFolder(Path(folder)), inputs)
    else:
        name = recipe.model.tokenizer or recipe.model.init_from
        tokenizer = load_tokenizer(folder_at_hand(name, needs="tokenizer_config.json"))
    shards = inputs.shards(tokenizer)
    return data_statistics(recipe, shards, source=str(inputs.store.path)), tokenizer.vocab_size


def _arms_per_step(plan: EpochPlan, steps: int) -> float:
    """Arms of outcomes that a step of the first epoch contrasts on average: the weights of an arm's people sum to 1."""
    rows = [row.contrasted for step in range(steps) for row in plan.batch(step) if row.contrasted is not None]
    return float(sum(row.weight.sum() for row in rows)) / steps


def data_statistics(recipe: Recipe, shards: TreeShards, *, source: str = "") -> DataStatistics:
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
    return DataStatistics(
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
