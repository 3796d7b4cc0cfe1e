"""Host memory while a checkpoint of some gigabytes is loaded, restored and exported.

python -m benchmarks.memory [--work runs/memory] [--dtype float32]

A random model in the shape of Llama-3.2-1B (1.2 billion parameters, 4.9 GB in float32) is made some rows at a time.
Each measurement is a process of its own. Two numbers each, in GB:

peak      the most that was resident at any time (VmHWM), with the arrays that the devices hold: on CPU these live in
          the same memory
beyond    the most that was resident beyond those arrays, at any time: every few milliseconds a thread reads the
          resident size and takes off the bytes of the parameters that exist at that moment, and of the one that is being
          put together in place (pieces under way are not taken off); an export holds no arrays, so it is the peak itself

The interpreter with JAX and all of this package has `beyond` of its own, which is in all others.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

from benchmarks.options import options_of
from benchmarks.resident_memory import measured

LIMIT_GB = 1.5
SHAPE = dict(
    model_type="llama",
    vocab_size=128_256,
    hidden_size=2048,
    intermediate_size=8192,
    num_hidden_layers=16,
    num_attention_heads=32,
    num_key_value_heads=8,
    head_dim=64,
    max_position_embeddings=131_072,
    tie_word_embeddings=True,
)
MEASURED = (
    "the interpreter",
    "load on 1 device",
    "load on 8 devices",
    "restore to simulate",
    "restore to train",
    "export",
)


def main() -> None:
    options = options_of(__doc__)
    options.add_argument("--work", type=Path, default=Path("runs/memory"))
    options.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    options.add_argument("--keep", action="store_true", help="leave the checkpoints for another time")
    options.add_argument("--step", help=argparse.SUPPRESS)  # one measurement, in its own process
    a = options.parse_args()
    if a.step:
        print(json.dumps(_STEPS[a.step](a.work, a.dtype)))
        return
    from rich.console import Console
    from rich.table import Table

    from benchmarks.table import save

    a.work.mkdir(parents=True, exist_ok=True)
    try:
        for step in ("make the folder", "make the run"):
            _in_own_process(step, a)
        found = {step: _in_own_process(step, a) for step in MEASURED}
    finally:
        if not a.keep:
            shutil.rmtree(a.work)
    table = Table(
        "", "arrays GB", "peak GB", "beyond GB", f"under {LIMIT_GB}", "seconds", title="Host memory"
    )
    for step, one in found.items():
        gigabytes = [f"{one[name] / 1e9:.2f}" for name in ("arrays", "peak", "beyond")]
        table.add_row(
            step, *gigabytes, "yes" if one["beyond"] < LIMIT_GB * 1e9 else "no", f"{one['seconds']:.0f}"
        )
    Console(width=100).print(table)
    save("memory", {"shape": SHAPE, "dtype": a.dtype, "measured": found})


def _in_own_process(step: str, a: argparse.Namespace) -> dict:
    command = [
        sys.executable,
        "-m",
        "benchmarks.memory",
        "--work",
        a.work,
        "--dtype",
        a.dtype,
        "--step",
        step,
    ]
    devices = "--xla_force_host_platform_device_count=8" if "8 devices" in step else ""
    environment = {**os.environ, "XLA_FLAGS": devices, "JAX_PLATFORMS": "cpu"}
    print(f"{step} ...", file=sys.stderr, flush=True)
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{step}: exit status {done.returncode}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def _config():
    from socsci_jax.models.config import DecoderConfig

    return DecoderConfig(**SHAPE)


def _make_folder(work: Path, dtype: str) -> dict:
    """Random weights in the Hugging Face format."""
    import numpy as np

    from socsci_jax.models.huggingface import stored_tensors
    from socsci_jax.models.huggingface_export import TensorSource, write_checkpoint
    from socsci_jax.models.tensor_files import rows_at_a_time

    if (work / "model").is_dir():
        return {}

    def blocks(tensor, layer: int) -> Iterator[np.ndarray]:
        drawn = np.random.default_rng(zlib.crc32(tensor.names[layer].encode()))
        step = rows_at_a_time(tensor.shape, np.dtype(np.float32))
        for first in range(0, tensor.shape[0], step):
            rows = min(step, tensor.shape[0] - first)
            yield drawn.standard_normal((rows, *tensor.shape[1:]), np.float32) * np.float32(0.02)

    source = TensorSource({tensor: np.dtype(np.float32) for tensor in stored_tensors(_config())}, blocks)
    write_checkpoint(source, _config(), work / "model", dtype=_dtype(dtype))
    return {}


def _make_run(work: Path, dtype: str) -> dict:
    """A run whose one checkpoint holds the same weights, saved as training saves them."""
    import jax.numpy as jnp

    from socsci_jax.models.huggingface import load_checkpoint
    from socsci_jax.training.checkpoint_writer import CheckpointWriter
    from socsci_jax.training.recipe_files import parse_recipe
    from socsci_jax.training.run import RunFolder

    run = RunFolder(work / "run")
    if run.is_run():
        return {}
    run.tokenizer.mkdir(parents=True, exist_ok=True)
    recipe = {
        "name": "memory",
        "hardware": "1xcpu",
        "output": str(run.path),
        "model": {"init_from": str(work / "model"), "param_dtype": dtype},
        "data": {"store": "store", "split": "main"},
        "batch": {"rows": 1, "tokens_per_row": 64, "branches_per_tree": 1},
        "optimizer": {"epochs": 1, "learning_rate": 1e-3},
        "checkpoints": {"every_steps": 1},
    }
    (run.path / "recipe.yaml").write_text(parse_recipe(recipe, where="benchmark").rendered())
    loaded = load_checkpoint(work / "model", mesh=_mesh(1))
    run.model_config.write_bytes(loaded.config_json)
    checkpoints = CheckpointWriter(run.checkpoints, keep=1)
    state = {"params": loaded.params, "step": jnp.int32(1)}
    checkpoints.save(1, state=state, metadata={"total_steps": 1, "metrics": {}})
    checkpoints.close()
    (run.path / "run.json").write_text("{}")
    return {}


def _interpreter(work: Path, dtype: str) -> dict:
    import socsci_jax.model_io  # noqa: F401

    return measured(lambda: _mesh(1), config=_config())


def _load(work: Path, dtype: str, *, devices: int) -> dict:
    from socsci_jax.models.huggingface import load_checkpoint

    return measured(lambda: load_checkpoint(work / "model", mesh=_mesh(devices)).params, config=_config())


def _restore_to_simulate(work: Path, dtype: str) -> dict:
    from socsci_jax.model_io import find_checkpoint, restore_params
    from socsci_jax.training.run import RunFolder

    return measured(
        lambda: restore_params(
            RunFolder(work / "run"), find_checkpoint(RunFolder(work / "run"), 1), mesh=_mesh(1)
        ),
        config=_config(),
    )


def _restore_to_train(work: Path, dtype: str) -> dict:
    """As a run that resumes restores its state."""
    import jax

    from socsci_jax.distributed.peers import Peers
    from socsci_jax.models.modules import axis_size, nested, parameter_axes
    from socsci_jax.models.sharding import param_shardings, replicated
    from socsci_jax.training.checkpoint_reader import CheckpointReader
    from socsci_jax.training.run import RunFolder

    config = _config()
    shapes = {
        path: jax.ShapeDtypeStruct(tuple(axis_size(config, axis) for axis in axes), _dtype(dtype))
        for path, axes in parameter_axes(config).items()
    }
    shardings = param_shardings(config, _mesh(1))
    abstract = jax.tree.map(lambda a, s: a.update(sharding=s), nested(shapes), shardings)
    checkpoints = CheckpointReader(RunFolder(work / "run").checkpoints)
    step = jax.ShapeDtypeStruct((), jax.numpy.int32, sharding=replicated(_mesh(1)))
    state = {"params": abstract, "step": step}
    return measured(
        lambda: checkpoints.restore_newest(abstract_state=state, peers=Peers()).state, config=_config()
    )


def _export(work: Path, dtype: str) -> dict:
    from socsci_jax.model_export import export_run

    shutil.rmtree(work / "exported", ignore_errors=True)
    found = measured(lambda: export_run(work / "run", work / "exported"), config=_config())
    shutil.rmtree(work / "exported")
    return found


_STEPS = {
    "make the folder": _make_folder,
    "make the run": _make_run,
    "the interpreter": _interpreter,
    "load on 1 device": lambda work, dtype: _load(work, dtype, devices=1),
    "load on 8 devices": lambda work, dtype: _load(work, dtype, devices=8),
    "restore to simulate": _restore_to_simulate,
    "restore to train": _restore_to_train,
    "export": _export,
}


def _dtype(name: str):
    import jax.numpy as jnp

    return jnp.dtype(name)


def _mesh(devices: int):
    from socsci_jax.models.sharding import make_mesh

    return (
        make_mesh(data=1, fsdp=devices // 2, tensor=2) if devices > 1 else make_mesh(data=1, fsdp=1, tensor=1)
    )


if __name__ == "__main__":
    main()
