"""Whether a run that is stopped and resumed has the bits of one that is not, on the devices of this machine.

Steps of the recipe's model are taken from its seed's start on invented rows, twice with the recipe's `same_bits` and twice
without, each time by a process of its own that compiles anew, as a run that resumes may have to.  The second finds the
autotuner's choices that the first kept, as in a run's folder.

python -m socsci_jax.feasibility.same_bits RECIPE FILE      # one such process: writes what it found as JSON
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

from socsci_jax.compilation import DEVICE_ENVIRONMENT, set_up_compiler
from socsci_jax.data.trees import RowShape, empty_rows
from socsci_jax.errors import InputError
from socsci_jax.feasibility.shapes import assumed_row, decoder_config
from socsci_jax.models.sharding import micro_batch_sharding
from socsci_jax.training.digest import device_digests, digest_texts
from socsci_jax.training.optimizer import make_optimizer
from socsci_jax.training.prepare import recipe_mesh
from socsci_jax.training.program import step_program
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.recipe_files import load_recipe
from socsci_jax.training.recipe_objective import ObjectiveConfig
from socsci_jax.training.start import first_state, start_params

STEPS = 6
# Of a row's tokens: the prefix of its one tree, and the people after it.
PREFIX, BRANCHES = 1 / 4, 16


@dataclasses.dataclass(frozen=True)
class Steps:
    """What one process found: losses in hexadecimal, a digest of all parameters, the median seconds of a step."""

    losses: list[str]
    parameters: str
    seconds: float
    device: str


@dataclasses.dataclass(frozen=True)
class SameBits:
    """Whether two processes ended alike, and the seconds of a step in the faster of them."""

    same: bool
    seconds: float
    device: str


def same_bits(recipe: Recipe) -> dict[bool, SameBits]:
    """With the promise of the same bits (True) and without it; JAX is not begun in this process.

    Raises InputError if a process fails: the end of what it said is in the message.
    """
    found = {}
    for promised in (True, False):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "recipe.yaml"
            changes = {"same_bits": promised, "output": Path(folder) / "run"}
            file.write_text(recipe.model_copy(update=changes).rendered())
            first, second = _in_a_process(file), _in_a_process(file)
        alike = (first.losses, first.parameters) == (second.losses, second.parameters)
        found[promised] = SameBits(alike, min(first.seconds, second.seconds), first.device)
    return found


def _in_a_process(recipe: Path) -> Steps:
    out = recipe.with_suffix(".json")
    done = subprocess.run(
        [sys.executable, "-m", "socsci_jax.feasibility.same_bits", str(recipe), str(out)],
        env=DEVICE_ENVIRONMENT | os.environ,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise InputError(f"steps of {load_recipe(recipe).name} failed: {done.stderr.strip()[-1500:]}")
    return Steps(**json.loads(out.read_text()))


def take_steps(recipe: Recipe, *, steps: int = STEPS) -> Steps:
    """Takes some steps from random weights of the seed, on invented rows, waiting for each."""
    config = dataclasses.replace(decoder_config(recipe), adapter=recipe.adapter)
    recipe = recipe.model_copy(
        update={
            "objective": ObjectiveConfig(),
            "model": recipe.model.model_copy(update={"init_from": "random"}),
        }
    )
    mesh, optimizer = recipe_mesh(recipe.parallelism), make_optimizer(recipe.optimizer, total_steps=1000)
    rows = recipe.batch.rows // recipe.batch.micro_batches
    arrays = invented_rows(recipe, config.vocab_size)
    losses, seconds = [], []
    with jax.set_mesh(mesh):
        start = start_params(recipe, config, mesh)
        state = first_state(recipe, config, optimizer, mesh, start)
        frozen = start if config.adapter is not None else None
        del start
        batch = jax.device_put(arrays, micro_batch_sharding(mesh, rows=rows))
        step = step_program(recipe, config, optimizer)
        for _ in range(steps):
            begun = time.perf_counter()
            state, metrics = step(state, batch, frozen)
            losses.append(float(metrics["loss"]).hex())
            seconds.append(time.perf_counter() - begun)
        digests = digest_texts(device_digests(state.params))
    parameters = hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()
    return Steps(losses, parameters, float(np.median(seconds[1:])), jax.devices()[0].device_kind)


def invented_rows(recipe: Recipe, vocab_size: int) -> dict[str, np.ndarray]:
    """A step's arrays [micro-batches, rows, ...]: in each row a prefix, people who share it, and tokens drawn at random."""
    shape = assumed_row(recipe.model_copy(update={"objective": ObjectiveConfig()}))
    rng = np.random.default_rng(recipe.seed)
    rows = empty_rows(rows=recipe.batch.rows, shape=shape)
    _fill(rows, shape, rng, vocab_size)
    micro_batches = recipe.batch.micro_batches
    return {name: array.reshape(micro_batches, -1, *array.shape[1:]) for name, array in rows.arrays().items()}


def _fill(rows, shape: RowShape, rng: np.random.Generator, vocab_size: int) -> None:
    token = np.arange(shape.tokens)
    prefix = int(shape.tokens * PREFIX)
    branch = (shape.tokens - prefix) // BRANCHES
    end = np.minimum(prefix + ((token - prefix) // branch + 1) * branch, shape.tokens)
    rows.ids[:] = rng.integers(0, vocab_size, rows.ids.shape)
    rows.position[:] = np.where(token < prefix, token, prefix + (token - prefix) % branch)
    rows.end[:] = np.where(token < prefix, shape.tokens, end)
    for row in range(len(rows.ids)):
        rows.read[row] = np.sort(rng.choice(token[prefix:], shape.reads, replace=False))
    rows.slot_read[:] = np.arange(shape.slots) % shape.reads
    # Few ids, each many times: sums over what they have in common are what an order decides.
    rows.slot_id[:] = rng.integers(0, min(16, vocab_size), rows.slot_id.shape)
    rows.slot_weight[:] = 1


def main(recipe: str, out: str) -> None:
    set_up_compiler()
    jax.config.update("jax_enable_compilation_cache", False)
    Path(out).write_text(json.dumps(dataclasses.asdict(take_steps(load_recipe(Path(recipe))))))


if __name__ == "__main__":
    main(*sys.argv[1:])
