"""The program of a run: one step, compiled once.  The loop runs it; `plan` compiles it from shapes alone."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from socsci_jax.compilation import same_bits_options
from socsci_jax.data.contrast_plan import ContrastPlan, MixedPlan
from socsci_jax.data.plan import BatchPlan, EpochPlan, Lengths
from socsci_jax.data.trees import RowShape, empty_rows
from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.vocabulary import logits_at_a_time
from socsci_jax.training.objectives import Objective
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.step import Batch, train_step
from socsci_jax.training.treatments import Effects


def step_program(recipe: Recipe, config: DecoderConfig, optimizer: optax.GradientTransformation) -> Any:
    """(state, batch, frozen, stop) -> (state, metrics) as `train_step`, jitted; the old state's buffers become the new's."""
    step = _step(
        optimizer=optimizer,
        objective=_objective(recipe),
        config=config,
        remat=recipe.model.remat,
        gradient_dtype=jnp.dtype(recipe.model.gradient_dtype),
        stochastic_rounding=recipe.model.stochastic_rounding,
        dropout=recipe.lora is not None and recipe.lora.dropout > 0,
        seed=recipe.seed,
        **model_settings(recipe),
    )
    on_gpus = jax.default_backend() == "gpu"  # elsewhere they would only make JAX's cache miss what it has
    options = same_bits_options(recipe.output / "autotuning") if recipe.same_bits and on_gpus else None
    return jax.jit(step, donate_argnums=0, compiler_options=options)


@functools.lru_cache(maxsize=8)
def _step(**settings: Any) -> Any:
    """The same function for the same settings: what JAX knows it by, so that a process compiles it once for all runs alike."""
    return functools.partial(train_step, **settings)


def place_rows(arrays: dict[str, np.ndarray], sharding: jax.sharding.NamedSharding) -> Batch:
    """The arrays of a whole step [micro-batches, rows, ...], of which this process gives its own rows."""
    return {name: jax.make_array_from_process_local_data(sharding, array) for name, array in arrays.items()}


def batch_plan(recipe: Recipe, lengths: Lengths) -> EpochPlan:
    """The batches of a run over data of these lengths."""
    batch, objective = recipe.batch, recipe.objective
    contrast_rows = (batch.contrast_rows or batch.rows) if objective.sees_treatments else 0
    plain = contrasts = None
    if contrast_rows < batch.rows:
        plain = BatchPlan(
            lengths.plain,
            rows=batch.rows - contrast_rows,
            tokens_per_row=batch.tokens_per_row,
            branches_per_tree=batch.branches_per_tree,
            seed=recipe.seed,
        )
    if contrast_rows:
        contrasts = ContrastPlan(
            lengths,
            rows=contrast_rows,
            micro_batches=batch.micro_batches,
            tokens_per_row=batch.tokens_per_row,
            personas=objective.contrasts.personas,
            seed=recipe.seed,
        )
    if plain is None or contrasts is None:
        return plain or contrasts
    return MixedPlan(plain, contrasts, micro_batches=batch.micro_batches)


def model_settings(recipe: Recipe) -> dict[str, Any]:
    """How the decoder computes, in training as for a reference."""
    return {
        "compute_dtype": jnp.dtype(recipe.model.compute_dtype),
        "unroll": recipe.model.unrolled_layers,
        # Of the machine that the recipe names, not of the one that is there: so a run that resumes, and `plan`, have the same.
        "logits_at_a_time": logits_at_a_time(recipe.machine.accelerator.usable),
    }


def abstract_batch(recipe: Recipe, shape: RowShape, sharding: jax.sharding.NamedSharding) -> Batch:
    """Shapes, dtypes and shardings of a step's arrays [micro-batches, rows, ...]."""
    micro_batches = recipe.batch.micro_batches
    rows = recipe.batch.rows // micro_batches
    return {
        name: jax.ShapeDtypeStruct((micro_batches, rows, *array.shape[1:]), array.dtype, sharding=sharding)
        for name, array in empty_rows(rows=1, shape=shape).arrays().items()
    }


def _objective(recipe: Recipe) -> Objective:
    chosen = recipe.objective
    if chosen.sees_treatments:
        settings = chosen.contrasts
        effects = Effects(
            kind=chosen.kind,
            weight=1.0 if chosen.mixed_with is None else settings.weight,
            tau=settings.tau,
            huber=settings.huber,
            prior=settings.prior,
            prior_slope=settings.prior_slope,
        )
        sft_share = 0.0 if chosen.mixed_with == "soft" else 1.0
        return Objective(kind=chosen.mixed_with or "none", sft_share=sft_share, effects=effects)
    if chosen.kind == "sft":
        return Objective()
    return Objective(kind=chosen.kind, beta=chosen.beta or 0.1, sft_share=chosen.sft_share or 0.0)
