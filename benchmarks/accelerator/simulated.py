"""Predicted answers a second: ours at several lengths of rows, and users' own ways, on the same requests."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import scoring, table
from benchmarks.accelerator.steps import TINY, WORK
from benchmarks.workload import workload
from socsci_jax.data.tokenizer_loading import load_tokenizer
from socsci_jax.models.catalog import CATALOG
from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.config_files import to_huggingface
from socsci_jax.models.huggingface_export import export_checkpoint
from socsci_jax.models.modules import init
from socsci_jax.models.sharding import make_mesh, param_shardings
from socsci_jax.simulation.exact import exact_distributions
from socsci_jax.simulation.model import SimulationModel
from socsci_jax.studies.layouts import STUDY_FIRST


def ours(model: str, tokens_per_row: int, *, tiny: bool) -> dict[str, Any]:
    """Responses a second, and processor seconds of the thread that prepares and reads 1,000 of them."""
    folder, people = workload(WORK, shape="tiny", source="synthetic", tokenizer=None), 8 if tiny else 400
    requests, tries = scoring.read_requests(folder / f"score-few-{people}.npz")
    asked = _random_model(folder, shape_of(model, tiny=tiny))
    seconds, host = [], []
    for _ in range(2 if tiny else 4):
        begun, worked = time.perf_counter(), time.thread_time()
        exact_distributions(
            asked, requests, tries=tries, trie_of_pair=requests.pair_prefix, tokens_per_row=tokens_per_row
        )
        seconds.append(time.perf_counter() - begun)
        host.append(time.thread_time() - worked)
    count = len(requests.pair_prefix)
    return {
        "responses": count,
        "responses_per_second": count / float(np.median(seconds[1:])),
        "host_seconds_per_1000": float(np.median(host[1:])) / count * 1000,
        "first_pass_seconds": seconds[0],
    }


def peer(model: str, mode: str, *, tiny: bool) -> dict[str, Any]:
    """What `transformers` gives for the same requests, its batch as large as is usual on the device."""
    folder, people = peer_folder(model, tiny=tiny), 8 if tiny else 400
    on_cpu = jax.default_backend() == "cpu"
    options = ["--dtype", "float32" if on_cpu else "bfloat16", "--device", "cpu" if on_cpu else "cuda"]
    options += ["--batch-size", 16 if on_cpu else 64, "--repeats", 1 if tiny else 3, "--modes", mode]
    data = folder.parent / f"score-few-{people}.npz"
    return table.peer(sys.executable, "score.py", "--model", folder, "--data", data, *options)


def peer_folder(model: str, *, tiny: bool) -> Path:
    """The shape with random weights as a Hugging Face folder next to the workload's data; written once."""
    # Peers run in the project's folder, not in the one that this command was started in.
    folder = workload(WORK, shape="tiny", source="synthetic", tokenizer=None).resolve()
    out = folder / f"{Path(model).name}{'-tiny' if tiny else ''}"
    if not (out / "config.json").is_file():
        config = shape_of(model, tiny=tiny)
        params = init(config, key=jax.random.key(0), param_dtype="bfloat16")
        config_json = json.dumps(to_huggingface(config)).encode()
        export_checkpoint(params, config, out, source_folder=None, config_json=config_json, extra_files={})
    return out


def shape_of(model: str, *, tiny: bool) -> DecoderConfig:
    config = CATALOG[model]
    return dataclasses.replace(config, **TINY) if tiny else config


def _random_model(folder: Path, config: DecoderConfig) -> SimulationModel:
    mesh = make_mesh(data=1, fsdp=1, tensor=1, devices=jax.devices()[:1])
    shardings = param_shardings(config, mesh)
    return SimulationModel(
        config=config,
        params=init(config, key=jax.random.key(0), param_dtype="bfloat16", shardings=shardings),
        mesh=mesh,
        tokenizer=load_tokenizer(folder / "tokenizer"),
        layout=STUDY_FIRST,
        compute_dtype=jnp.bfloat16,
        metadata={"name": "benchmark"},
    )
