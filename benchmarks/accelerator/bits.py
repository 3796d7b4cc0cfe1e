"""Whether a run that was stopped and resumed has the bits of one that was not, with and without `same_bits`."""

from __future__ import annotations

from typing import Any

from benchmarks.accelerator.cases import TINY, TINY_TOKENS, TOKENS
from socsci_jax.feasibility.same_bits import same_bits
from socsci_jax.training.recipe_files import parse_recipe


def measured(model: str, *, tiny: bool) -> dict[str, Any]:
    """Whether two processes end with the same parameters and losses, and milliseconds a step; with the promise and without."""
    shape = {"model_type": "qwen3", **{key: value for key, value in TINY.items() if key != "vocab_size"}}
    start = (
        {"init_from": "random", "tokenizer": "train", "architecture": shape} if tiny else {"init_from": model}
    )
    recipe = parse_recipe(
        {
            "name": "bits",
            "output": "runs/bits",
            "hardware": "1xcpu",
            "model": {**start, "compute_dtype": "bfloat16", "remat": "layers"},
            "data": {"store": "runs/store", "split": "main"},
            "batch": {"rows": 1, "tokens_per_row": TINY_TOKENS if tiny else TOKENS, "branches_per_tree": 64},
            "optimizer": {"epochs": 1, "learning_rate": 1e-3},
            "checkpoints": {"every_steps": 1},
        },
        where="benchmark",
    )
    found = same_bits(recipe)
    return {
        "device": found[True].device,
        **{
            f"same_bits: {str(promised).lower()}": {
                "same": of.same,
                "ms_per_step": round(of.seconds * 1e3, 2),
            }
            for promised, of in found.items()
        },
        "cost_of_the_promise": found[True].seconds / found[False].seconds - 1,
    }
