"""Predicted answers a second: ours at several lengths of rows, and users' own ways, on the same requests."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
import unittest.mock
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import scoring, table
from benchmarks.accelerator.cases import TINY
from benchmarks.accelerator.steps import WORK
from benchmarks.workload import workload
from socsci_jax.data.prompt_table import PromptTable
from socsci_jax.data.tokenizer_loading import load_tokenizer
from socsci_jax.models.catalog import CATALOG
from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.config_files import to_huggingface
from socsci_jax.models.huggingface_export import source_of, write_checkpoint
from socsci_jax.models.modules import init
from socsci_jax.models.sharding import make_mesh, param_shardings
from socsci_jax.simulation import exact
from socsci_jax.simulation.exact import exact_distributions
from socsci_jax.simulation.model import SimulationModel
from socsci_jax.studies.layouts import STUDY_FIRST

COPIES = 32


def ours(model: str, tokens_per_row: int, *, tiny: bool) -> dict[str, Any]:
    """Responses a second, and the host's processor seconds for 1,000 of them: of all that is not the device's work."""
    folder, people = workload(WORK, shape="tiny", source="synthetic", tokenizer=None), 8 if tiny else 400
    requests, tries = scoring.read_requests(folder / f"score-few-{people}.npz")
    if not tiny:
        requests = _of_more_people(requests)
    asked = _random_model(folder, shape_of(model, tiny=tiny))

    def passed() -> tuple[float, float]:
        begun, worked = time.perf_counter(), time.process_time()
        exact_distributions(
            asked, requests, tries=tries, trie_of_pair=requests.pair_prefix, tokens_per_row=tokens_per_row
        )
        return time.perf_counter() - begun, time.process_time() - worked

    seconds = [passed()[0] for _ in range(2 if tiny else 4)]
    with unittest.mock.patch.object(exact, "_score", _no_work):
        host = [passed()[1] for _ in range(3)]
    count = len(requests.pair_prefix)
    return {
        "responses": count,
        "responses_per_second": count / float(np.median(seconds[1:])),
        "host_seconds_per_1000": float(np.median(host)) / count * 1000,
        "first_pass_seconds": seconds[0],
    }


def _no_work(params: Any, rows: dict[str, jax.Array], **settings: Any) -> jax.Array:
    """Log-probabilities of a device that takes no time."""
    return jnp.zeros(rows["slot_id"].shape, jnp.float32)


def _of_more_people(requests: PromptTable) -> PromptTable:
    """The requests many times over, each time of people who differ from the others in a token, as in their sixth attribute:
    a few hundred would last an accelerator for milliseconds."""
    rng = np.random.default_rng(0)
    prompts = []
    for _ in range(COPIES):
        for prompt in requests.prompts:
            other = prompt.copy()
            other[len(other) // 2] = rng.integers(5, 8000)
            prompts.append(other)
    shift = np.arange(COPIES)[:, None] * len(requests.prompts)
    return dataclasses.replace(
        requests,
        prompts=prompts,
        pair_prefix=np.tile(requests.pair_prefix, COPIES),
        pair_prompt=(requests.pair_prompt + shift).reshape(-1),
    )


def peer(model: str, mode: str, *, tiny: bool) -> dict[str, Any]:
    """What `transformers` gives for the same requests, its batch as large as is usual on the device."""
    folder, people = peer_folder(model, tiny=tiny), 8 if tiny else 400
    options = [*peer_device(), "--repeats", 1 if tiny else 3, "--modes", mode]
    options += ["--batch-size", 16 if tiny else 64]
    data = folder.parent / f"score-few-{people}.npz"
    return table.peer(sys.executable, "score.py", "--model", folder, "--data", data, *options)


def trl(model: str, *, tiny: bool) -> dict[str, Any]:
    """TRL's SFTTrainer on the same prompts, set up as for GPUs: bfloat16, flash attention if it is installed."""
    folder = peer_folder(model, tiny=tiny)
    options = [*peer_device(), "--gradient-checkpointing", "--mode", "trl"]
    options += ["--batch-size", 4 if tiny else 16, "--steps", 2 if tiny else 10]
    data = ["--model", folder, "--data", folder.parent / "train.npz"]
    return table.peer(sys.executable, "train.py", *data, *options)


def peer_device() -> list[str]:
    """What the peers compute on, asked without taking any of its memory."""
    import torch

    cuda = torch.cuda.is_available()
    return ["--dtype", "bfloat16" if cuda else "float32", "--device", "cuda" if cuda else "cpu"]


def peer_folder(model: str, *, tiny: bool) -> Path:
    """The shape with random weights as a Hugging Face folder next to the workload's data; written once."""
    # Peers run in the project's folder, not in the one that this command was started in.
    folder = workload(WORK, shape="tiny", source="synthetic", tokenizer=None).resolve()
    out = folder / f"{Path(model).name}{'-tiny' if tiny else ''}"
    if not (out / "config.json").is_file():
        config = shape_of(model, tiny=tiny)
        params = init(config, key=jax.random.key(0), param_dtype="bfloat16")
        config_json = json.dumps(to_huggingface(config)).encode()
        write_checkpoint(source_of(params, config), config, out, config_json=config_json)
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
