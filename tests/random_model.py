"""A tiny model of random weights that answers: what simulation and the interface are tried on."""

import jax
import jax.numpy as jnp
import numpy as np
from small import small_config

from socsci_jax.models.modules import init
from socsci_jax.models.sharding import make_mesh, param_shardings
from socsci_jax.models.slots import read_logits, read_states
from socsci_jax.simulation.model import SimulationModel
from socsci_jax.studies.layouts import STUDY_FIRST


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


_read = jax.jit(read_logits, static_argnames=("config", "compute_dtype"))
_states = jax.jit(read_states, static_argnames=("config", "compute_dtype"))


def brute_force(asked: SimulationModel, prompt: list[int], levels) -> tuple[np.ndarray, float]:
    """Every allowed answer as a row of its own: prompt, answer and end."""
    answers = [[*asked.tokenizer.encode(str(v)), asked.tokenizer.end_of_answer_id] for v in levels]
    # Few shapes, so that most questions share one compiled program.
    length = -(-(len(prompt) + max(map(len, answers))) // 512) * 512
    ids = np.zeros((-(-len(answers) // 8) * 8, length), np.int32)
    for row, answer in zip(ids, answers):
        row[: len(prompt) + len(answer)] = [*prompt, *answer]
    every = np.broadcast_to(np.arange(length, dtype=np.int32), ids.shape)
    rows = {"ids": ids, "position": every, "end": np.full_like(ids, length), "read": every}
    logits = _read(asked.params, rows, config=asked.config, compute_dtype=jnp.float32)
    log_probs = np.asarray(jax.nn.log_softmax(logits))[:, len(prompt) - 1 :]
    totals = [sum(row[i, token] for i, token in enumerate(answer)) for row, answer in zip(log_probs, answers)]
    probs = np.exp(totals)
    return probs / probs.sum(), probs.sum()


def last_hidden_state(asked: SimulationModel, prompt: list[int]) -> np.ndarray:
    """The state [D] at the last token of a prompt that is a row of its own."""
    length = -(-len(prompt) // 256) * 256
    ids = np.zeros((1, length), np.int32)
    ids[0, : len(prompt)] = prompt
    every = np.arange(length, dtype=np.int32)[None]
    rows = {"ids": ids, "position": every, "end": np.full_like(ids, length), "read": every}
    states = _states(asked.params, rows, config=asked.config, compute_dtype=jnp.float32)
    return np.asarray(states)[0, len(prompt) - 1]
