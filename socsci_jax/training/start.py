"""Where a run begins: the weights of its start, what of them is trained, and the state around that."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from socsci_jax.hub import resolve_folder
from socsci_jax.models.adapters import init_adapter, join, quantize_base, split_adapter
from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.huggingface import CHECKPOINT_FILES, load_checkpoint
from socsci_jax.models.modules import init
from socsci_jax.models.quantization import NF4
from socsci_jax.models.sharding import Mesh, param_shardings
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.state import TrainingState, initial_state, state_shardings, trained_part


def start_params(recipe: Recipe, config: DecoderConfig, mesh: Mesh) -> Any:
    """The weights that the recipe starts from, without an adapter, on the devices of `mesh`; in four bits if it says so."""
    base = dataclasses.replace(config, adapter=None)
    dtype = jnp.dtype(recipe.model.param_dtype)
    if recipe.model.init_from == "random":
        key = jax.random.key(recipe.seed)
        params = init(base, key=key, param_dtype=dtype, shardings=param_shardings(base, mesh))
    else:
        folder = resolve_folder(recipe.model.init_from, allow_patterns=CHECKPOINT_FILES)
        params = load_checkpoint(folder, mesh=mesh, param_dtype=dtype).params
    if config.adapter is None or config.adapter.base != NF4:
        return params
    return quantize_base(params, config, shardings=param_shardings(config, mesh))


def whole_start(recipe: Recipe, config: DecoderConfig, mesh: Mesh, start: Any) -> Any:
    """Parameters that compute what the start does: `start`, with a fresh adapter if there is one (its B is zero)."""
    if config.adapter is None:
        return start
    return join(start, _fresh_adapter(recipe, config, mesh))


def abstract_start(recipe: Recipe, config: DecoderConfig, mesh: Mesh) -> Any:
    """Shapes, dtypes and shardings of `start_params`."""
    if config.adapter is None or config.adapter.base != NF4:
        config = dataclasses.replace(config, adapter=None)
    _, base = split_adapter(_abstract_weights(recipe, config))
    _, shardings = split_adapter(param_shardings(config, mesh))
    return _placed(base, shardings)


def abstract_trained(recipe: Recipe, config: DecoderConfig) -> Any:
    """Shapes and dtypes of what is trained: the adapter (float32) if there is one, else all weights."""
    if config.adapter is not None:
        return jax.eval_shape(functools.partial(init_adapter, config), key=jax.random.key(0))
    return _abstract_weights(recipe, config)


def abstract_state(
    recipe: Recipe, config: DecoderConfig, optimizer: optax.GradientTransformation, mesh: Mesh
) -> TrainingState:
    """Shapes, dtypes and shardings of the training state, as a checkpoint is restored onto them."""
    trained = abstract_trained(recipe, config)
    moments = jax.eval_shape(optimizer.init, trained)
    whole = TrainingState(params=trained, optimizer=moments, step=jax.ShapeDtypeStruct((), jnp.int32))
    return _placed(whole, state_shardings(config, optimizer, trained, mesh))


def first_state(
    recipe: Recipe, config: DecoderConfig, optimizer: optax.GradientTransformation, mesh: Mesh, start: Any
) -> TrainingState:
    """The state before the first step: `start` itself, or a fresh adapter over it."""
    shardings = state_shardings(config, optimizer, abstract_trained(recipe, config), mesh)
    params = start if config.adapter is None else _fresh_adapter(recipe, config, mesh)
    return initial_state(params, optimizer, shardings)


def _fresh_adapter(recipe: Recipe, config: DecoderConfig, mesh: Mesh) -> Any:
    of_adapter = trained_part(config, param_shardings(config, mesh))
    return init_adapter(config, key=jax.random.key(recipe.seed), shardings=of_adapter)


def _abstract_weights(recipe: Recipe, config: DecoderConfig) -> Any:
    dtype = jnp.dtype(recipe.model.param_dtype)
    return jax.eval_shape(functools.partial(init, config, param_dtype=dtype), key=jax.random.key(0))


def _placed(abstract: Any, shardings: Any) -> Any:
    return jax.tree.map(lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s), abstract, shardings)
