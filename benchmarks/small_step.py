"""One training step of a small decoder, run some times: losses and processor seconds, printed as JSON.

`step_time.py` runs this file with whichever checkout is to be imported, so it imports nothing else of benchmarks.
"""

from __future__ import annotations

import json
import time
from typing import Any

import jax
import numpy as np

from socsci_jax.data.trees import RowShape, empty_rows
from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.sharding import make_mesh
from socsci_jax.training.optimizer import make_optimizer
from socsci_jax.training.program import step_program
from socsci_jax.training.recipe_files import parse_recipe
from socsci_jax.training.start import first_state, start_params

ARCHITECTURE = {
    "model_type": "qwen3",
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
}
VOCABULARY, TOKENS, READS, PREFIX, BRANCH = 2048, 2048, 256, 320, 64
WARMUP, TIMED = 2, 6


def taken() -> dict[str, Any]:
    """Losses of some steps, and the median of a step's processor seconds."""
    recipe = parse_recipe(
        {
            "name": "step-time",
            "output": "runs/step-time",
            "hardware": "1xcpu",
            "model": {"init_from": "random", "tokenizer": "train", "architecture": ARCHITECTURE},
            "data": {"store": "runs/store", "split": "main"},
            "batch": {"rows": 1, "tokens_per_row": TOKENS, "branches_per_tree": 16},
            "optimizer": {"epochs": 1, "learning_rate": 1e-3},
            "checkpoints": {"every_steps": 1},
        },
        where="benchmark",
    )
    config = DecoderConfig(
        **ARCHITECTURE, vocab_size=VOCABULARY, max_position_embeddings=TOKENS, tie_word_embeddings=True
    )
    rng = np.random.default_rng(0)
    rows = empty_rows(rows=1, shape=RowShape(TOKENS, READS, READS))
    token = np.arange(TOKENS)
    of_branch = (token - PREFIX) // BRANCH
    rows.ids[0] = rng.integers(0, VOCABULARY, TOKENS)
    rows.position[0] = np.where(token < PREFIX, token, PREFIX + (token - PREFIX) % BRANCH)
    rows.end[0] = np.where(token < PREFIX, TOKENS, PREFIX + (of_branch + 1) * BRANCH)
    rows.read[0] = np.sort(rng.choice(token[PREFIX:], READS, replace=False))
    rows.slot_read[0] = np.arange(READS)
    rows.slot_id[0] = rng.integers(0, VOCABULARY, READS)
    rows.slot_weight[0] = 1
    mesh = make_mesh(data=1, fsdp=1, tensor=1, devices=jax.devices()[:1])
    optimizer = make_optimizer(recipe.optimizer, total_steps=1000)
    step = step_program(recipe, config, optimizer)
    losses, seconds = [], []
    with jax.set_mesh(mesh):
        state = first_state(recipe, config, optimizer, mesh, start_params(recipe, config, mesh))
        batch = {name: array[None] for name, array in rows.arrays().items()}
        for _ in range(WARMUP + TIMED):
            begun = time.process_time()
            state, metrics = step(state, batch, None)
            losses.append(float(metrics["loss"]))
            seconds.append(time.process_time() - begun)
    return {"losses": losses, "seconds": float(np.median(seconds[WARMUP:]))}


if __name__ == "__main__":
    print(json.dumps(taken()))
