"""A small store, split and tokenizer in a folder, and their simulation by one process of several."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import quick_programs
from small import SCALE_1_5, small_config, small_store, small_tokenizer

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
        # Scales as short as these give rows of two shapes, and so two programs.
        store = small_store(folder / "store", people=SIX_PEOPLE, parks=SCALE_1_5)
        small_tokenizer(store, folder / "tokenizer")
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
    quick_programs.few_sizes_of_attention()  # in processes of their own too, which compute the same bits
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
