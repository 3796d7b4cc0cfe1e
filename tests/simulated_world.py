"""A small store, split and tokenizer in a folder, and their simulation by one process of several."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
from small import small_config, small_store, small_tokenizer

from socsci_jax.data.tokenizer_loading import load_tokenizer
from socsci_jax.distributed.processes import Processes
from socsci_jax.models.modules import init
from socsci_jax.models.sharding import make_mesh, param_shardings
from socsci_jax.simulation.model import SimulationModel
from socsci_jax.simulation.simulate import simulate
from socsci_jax.studies.layouts import STUDY_FIRST
from socsci_jax.studies.splits import Split
from socsci_jax.studies.store import StudyStore

SIX_PEOPLE = 6
# Some dozen chunks.
PAIRS = 4


def world_of(folder: Path):
    """The store, split and tokenizer in a folder; made if it is new."""
    if not (folder / "store").is_dir():
        small_tokenizer(small_store(folder / "store", people=SIX_PEOPLE), folder / "tokenizer")
    store = StudyStore(folder / "store")
    return store, Split.load(store, "main"), load_tokenizer(folder / "tokenizer")


def small_model(tokenizer) -> SimulationModel:
    """Random weights, on this process's first device."""
    config = small_config(tokenizer)
    mesh = make_mesh(data=1, fsdp=1, tensor=1, devices=jax.local_devices()[:1])
    params = init(config, key=jax.random.key(3), shardings=param_shardings(config, mesh))
    return SimulationModel(
        config=config,
        params=params,
        mesh=mesh,
        tokenizer=tokenizer,
        layout=STUDY_FIRST,
        compute_dtype=jnp.float32,
        metadata={"name": "random"},
    )


def simulate_small(folder: Path, out: Path, *, processes: Processes) -> None:
    store, split, tokenizer = world_of(folder)
    simulate(
        small_model(tokenizer),
        store,
        split,
        out=out,
        layout=STUDY_FIRST,
        processes=processes,
        pairs_per_chunk=PAIRS,
    )
