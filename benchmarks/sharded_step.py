"""Compiles a sharded training step for simulated devices, from shapes alone, and prints what XLA made of it.

python benchmarks/sharded_step.py MESH OPTIONS      # a mesh of MESHES; options of the compiler, as JSON

Run by `benchmarks.collectives`, also over older checkouts: it uses only what these have as well.
"""

from __future__ import annotations

import json
import sys

DEVICES = 8
MESHES = {
    "data": {"data": 8},
    "fsdp": {"fsdp": 8},
    "tensor": {"data": 2, "tensor": 4},
    "all": {"data": 2, "fsdp": 2, "tensor": 2},
}
# Qwen3-0.6B with fewer layers; of as many rows as devices.  Half of a row's tokens are read, so that reads go through the
# vocabulary in several pieces.
ARCHITECTURE = {
    "model_type": "qwen3",
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 4,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
}
VOCABULARY, TOKENS, READS = 151_936, 8192, 4096


def compiled_step(mesh: str, options: dict) -> str:
    """The text of the compiled program."""
    import jax

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", DEVICES)
    from socsci_jax.data.trees import RowShape
    from socsci_jax.models.config import DecoderConfig
    from socsci_jax.models.sharding import make_mesh, micro_batch_sharding
    from socsci_jax.training.optimizer import make_optimizer
    from socsci_jax.training.program import abstract_batch, step_program
    from socsci_jax.training.recipe_files import parse_recipe
    from socsci_jax.training.start import abstract_state

    recipe = parse_recipe(
        {
            "name": "compiled",
            "output": "runs/compiled",
            "hardware": f"{DEVICES}xcpu",
            "model": {
                "init_from": "random",
                "tokenizer": "train",
                "remat": "layers",
                "architecture": ARCHITECTURE,
            },
            "data": {"store": "runs/store", "split": "main"},
            "batch": {"rows": DEVICES, "tokens_per_row": TOKENS, "branches_per_tree": 16},
            "optimizer": {"epochs": 1, "learning_rate": 1e-5},
            "checkpoints": {"every_steps": 1},
            "parallelism": MESHES[mesh],
        },
        where="benchmark",
    )
    config = DecoderConfig(
        **ARCHITECTURE, vocab_size=VOCABULARY, max_position_embeddings=TOKENS, tie_word_embeddings=True
    )
    devices = make_mesh(**{"data": 1, "fsdp": 1, "tensor": 1} | MESHES[mesh])
    optimizer = make_optimizer(recipe.optimizer, total_steps=1000)
    state = abstract_state(recipe, config, optimizer, devices)
    rows = abstract_batch(recipe, RowShape(TOKENS, READS, READS), micro_batch_sharding(devices, rows=DEVICES))
    with jax.set_mesh(devices):
        lowered = step_program(recipe, config, optimizer).lower(state, rows, None)
    return lowered.compile(compiler_options=options or None).as_text()


if __name__ == "__main__":
    print(compiled_step(sys.argv[1], json.loads(sys.argv[2])))
