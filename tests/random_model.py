"""A tiny model of random weights that answers: what simulation and the interface are tried on."""

import jax
import jax.numpy as jnp
from small import small_config

from socsci_jax.models.modules import init
from socsci_jax.models.sharding import make_mesh, param_shardings
from socsci_jax.simulation.model import SimulationModel
from socsci_jax.studies.prompts import STUDY_FIRST


def random_model(world, *, sizes=(1, 1, 1)) -> SimulationModel:
    tokenizer = world[2]
    config = small_config(tokenizer, model_type="llama", tie_word_embeddings=False)
    data, fsdp, tensor = sizes
    mesh = make_mesh(data=data, fsdp=fsdp, tensor=tensor, devices=jax.devices()[: data * fsdp * tensor])
    # Large weights, so that answers differ clearly.
    params = jax.tree.map(lambda w: 4 * w, init(config, key=jax.random.key(3)))
    return SimulationModel(
        config=config,
        params=jax.device_put(params, param_shardings(config, mesh)),
        mesh=mesh,
        tokenizer=tokenizer,
        layout=STUDY_FIRST,
        compute_dtype=jnp.float32,
        metadata={"name": "random"},
    )
