"""What is done before the first step: everything that can be wrong is checked here, before any device work."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import logging
import math
from typing import Any

import jax
import numpy as np
import polars as pl

from socsci_jax.data.loader import PlannedRows
from socsci_jax.data.plan import EpochPlan
from socsci_jax.data.shards import TreeShards
from socsci_jax.data.tokenizers import Tokenizer
from socsci_jax.distributed.processes import Processes
from socsci_jax.errors import InputError
from socsci_jax.models.attention_choice import Heads, same_attention
from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.sharding import Mesh, make_mesh, micro_batch_sharding, param_shardings
from socsci_jax.studies.trained_on import ROWS_AT_A_TIME
from socsci_jax.training.inputs import TrainingInputs, load_inputs
from socsci_jax.training.model_files import run_config, run_tokenizer
from socsci_jax.training.program import batch_plan
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.recipe_blocks import ParallelismConfig
from socsci_jax.training.run import RunFolder, run_folder, software_versions
from socsci_jax.training.validator import Validator
from socsci_jax.wording import counted

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """All that a run needs besides its state.

    `batch_sharding` is that of arrays [micro-batches, rows, ...], of whose rows this process's devices hold `own_rows`.
    """

    run: RunFolder
    mesh: Mesh
    batch_sharding: jax.sharding.NamedSharding
    own_rows: slice
    config: DecoderConfig
    tokenizer: Tokenizer
    shards: TreeShards
    plan: EpochPlan
    micro_batches: int
    total_steps: int
    validator: Validator | None

    def rows(self, *, steps: int, reference: np.ndarray | None = None) -> PlannedRows:
        """This process's rows of the first `steps` steps."""
        return PlannedRows(
            self.shards,
            self.plan,
            steps=steps,
            micro_batches=self.micro_batches,
            own=self.own_rows,
            reference=reference,
        )

    def place(self) -> dict[str, Any]:
        """What the journal says of this process's share of the work."""
        return {"rows": [self.own_rows.start, self.own_rows.stop], "devices": self.mesh.size}


def prepare_on_all_processes(recipe: Recipe, processes: Processes) -> Prepared:
    """Prepares on the first process, whose run folder, tokenizer and shards the others then find; they must agree."""
    peers = processes.peers
    if not processes.is_main:
        peers.gather(None, what="preparing the data")
    prepared = prepare(recipe)
    if processes.is_main:
        peers.gather(None, what="preparing the data")
    metadata = prepared.run.metadata
    heads = Heads.of(prepared.config, recipe.model.compute_dtype)
    gather = functools.partial(peers.gather, what="comparing devices")
    peers.agree(
        **{
            "the run": metadata["run_id"],
            "study store": metadata["store_hash"],
            "split": metadata["split_hash"],
        },
        attention=same_attention(heads, gather),
    )
    return prepared


def prepare(recipe: Recipe) -> Prepared:
    """Checks recipe, data, tokenizer, model and mesh; makes the run's folder and the training shards.

    Doing it again changes nothing.  Raises InputError, and leaves no run folder behind, for anything wrong.
    """
    inputs = load_inputs(recipe)
    mesh = recipe_mesh(recipe.parallelism)
    rows = recipe.batch.rows // recipe.batch.micro_batches
    batch_sharding = micro_batch_sharding(mesh, rows=rows)
    with run_folder(recipe.output) as run:
        tokenizer = run_tokenizer(recipe.model, run, inputs)
        config = dataclasses.replace(run_config(recipe.model, run, tokenizer), adapter=recipe.adapter)
        _check_model(recipe, config, tokenizer, mesh)
        validator = None if recipe.validation is None else _validator(recipe, inputs, tokenizer)
        shards = inputs.shards(tokenizer)
        plan = batch_plan(recipe, shards.lengths)  # raises if a prompt is longer than a row
        run.begin(recipe, metadata=_metadata(recipe, inputs, tokenizer), trained_on=inputs.trained_on)
    rejected = shards.metadata["rejected"]
    if rejected and jax.process_index() == 0:
        logger.warning(
            f"some answers are not trained on; {shards.folder / 'rejects.csv'} says which and why, in {counted(rejected, 'row')}"
        )
    return Prepared(
        run=RunFolder(recipe.output),
        mesh=mesh,
        batch_sharding=batch_sharding,
        own_rows=_own_rows(batch_sharding, rows),
        config=config,
        tokenizer=tokenizer,
        shards=shards,
        plan=plan,
        micro_batches=recipe.batch.micro_batches,
        total_steps=plan.steps(recipe.optimizer.epochs),
        validator=validator,
    )


def recipe_mesh(parallelism: ParallelismConfig) -> Mesh:
    """The mesh that a recipe asks for.

    On one CPU host it takes as many devices as it needs; on accelerators all of them must be used.
    """
    sizes = parallelism.model_dump()
    devices = jax.devices()
    if devices[0].platform == "cpu" and jax.process_count() == 1:
        devices = devices[: math.prod(sizes.values())]
    return make_mesh(**sizes, devices=devices)


def _own_rows(sharding: jax.sharding.NamedSharding, rows: int) -> slice:
    """The rows of a micro-batch that this process's devices hold; contiguous, as the mesh orders devices."""
    slices = [index[1] for index in sharding.addressable_devices_indices_map((1, rows)).values()]
    starts = [s.start or 0 for s in slices]
    stops = [rows if s.stop is None else s.stop for s in slices]
    return slice(min(starts), max(stops))


def _check_model(recipe: Recipe, config: DecoderConfig, tokenizer: Tokenizer, mesh: Mesh) -> None:
    tokenizer.check_fits(config.vocab_size)
    tokenizer.default_chat_template()  # raises where no export could say what was trained on
    if recipe.data.max_tokens > config.max_position_embeddings:
        raise InputError(
            f"data.max_tokens = {recipe.data.max_tokens} is more than the model's max_position_embeddings = "
            f"{config.max_position_embeddings}; lower it."
        )
    param_shardings(config, mesh)  # raises if a dimension does not divide


def _validator(recipe: Recipe, inputs: TrainingInputs, tokenizer: Tokenizer) -> Validator:
    validator = Validator(
        inputs.store,
        inputs.split,
        validation=inputs.validation,
        layout=inputs.layout,
        tokenizer=tokenizer,
        responses=recipe.validation.responses,
        seed=recipe.seed,
        longest=recipe.data.max_tokens,
    )
    if recipe.validation.metric.startswith("effect_") and not validator.sees_effects:
        raise InputError(
            f"validation.metric = {recipe.validation.metric}: no outcome of the {counted(recipe.validation.responses, 'answer')} that "
            "validate has two arms; choose another metric, or raise validation.responses."
        )
    return validator


def _metadata(recipe: Recipe, inputs: TrainingInputs, tokenizer: Tokenizer) -> dict[str, Any]:
    """What the run is and what it is trained on."""
    answers = inputs.responses.select("item_id", "participant_id", "sample_id").sort(pl.all())
    written = hashlib.sha256()
    for k, some in enumerate(answers.iter_slices(ROWS_AT_A_TIME)):
        written.update(some.write_csv(include_header=not k).encode())
    return {
        "recipe_hash": recipe.digest,
        "store_hash": inputs.store.content_hash,
        "data": {key: inputs.store.manifest.get(key) for key in ("source", "license")},
        "attributes": list(inputs.store.attributes),
        "attribute_forms": inputs.attribute_forms(),
        "split": inputs.split.name,
        "held_out": dict(inputs.split.held_out["part"].value_counts().sort("part").iter_rows()),
        "split_hash": inputs.split.content_hash,
        "tokenizer_hash": tokenizer.content_hash,
        "layout": inputs.layout.to_dict(),
        "trained_studies": sorted(inputs.responses["study_id"].unique()),
        "trained_responses": inputs.responses.height,
        "trained_responses_hash": written.hexdigest(),
        "trained_on_hash": inputs.trained_on.digest,
        "software": software_versions(),
    }
