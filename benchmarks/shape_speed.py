"""How near training and simulation come to what this machine multiplies, at the shape of a real small model.

python -m benchmarks.shape_speed --source TESS_ARCHIVE --compute-dtype bfloat16 [--steps 20]

The ceiling is the fastest of the shape's own matrix products alone, as rows of 4,096 tokens take them.  Training and
simulation are counted by formula, without tokens of padding: what is reached is of useful work.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.options import options_of
from benchmarks.pretrained import PACKAGE, PEOPLE_PER_ITEM, RECIPES, data
from benchmarks.table import save
from socsci_jax.compilation import set_up_compiler
from socsci_jax.hub import packaged_weights
from socsci_jax.model_io import open_model
from socsci_jax.models.config import DecoderConfig
from socsci_jax.pretrained import limited
from socsci_jax.simulation.exact import answer_tries, exact_distributions
from socsci_jax.simulation.predict import prepare_prediction
from socsci_jax.simulation.requests import branches_of, distinct_requests, rows_of_requests
from socsci_jax.studies.splits import Split
from socsci_jax.training.flops import step_flops, weights_by_map
from socsci_jax.training.loop import train
from socsci_jax.training.prepare import prepare
from socsci_jax.training.program import batch_plan
from socsci_jax.training.recipe_files import load_recipe

TOKENS, ROUNDS = 4096, 5


def main() -> None:
    options = options_of(__doc__)
    options.add_argument("--source", default="synthetic", help="a TESS archive, or synthetic")
    options.add_argument("--work", type=Path, default=Path("runs/benchmarks/shape-speed"))
    options.add_argument("--compute-dtype", default="bfloat16", choices=["float32", "bfloat16"])
    options.add_argument("--steps", type=int, default=20)
    options.add_argument("--predictions", type=int, default=200)
    options.add_argument("--people", type=int, default=PEOPLE_PER_ITEM)
    a = options.parse_args()
    set_up_compiler()
    store, split = data(a)
    config = open_model(str(packaged_weights(PACKAGE))).config
    ceiling = max(products(config, a.compute_dtype).values())
    trained, run = training(a, store.path, config)
    simulated, rate = simulation(a, run, split)
    table = Table("", "GFLOP/s", "of the ceiling", "a second", title=f"SmolLM2-135M, {a.compute_dtype}")
    rows = {
        "matrix products alone": (ceiling, None),
        "training": (trained["flops"], f"{trained['tokens']:,.0f} tokens"),
        "simulation": (simulated, f"{rate:.1f} predictions"),
    }
    for name, (flops, each) in rows.items():
        table.add_row(name, f"{flops / 1e9:.0f}", f"{flops / ceiling:.0%}", each or "")
    Console(width=100).print(table)
    save(f"shape-speed-{a.compute_dtype}", {"rows": {name: [*row] for name, row in rows.items()}})


def products(config: DecoderConfig, dtype: str) -> dict[str, float]:
    """FLOP/s of the product with each map's weights, by name."""
    found, width = {}, config.hidden_size
    for name, weights in weights_by_map(config).items():
        into = width if name != "down_proj" else config.intermediate_size
        x, w = jnp.ones((TOKENS, into), dtype), jnp.ones((into, weights // into), dtype)
        product = jax.jit(jnp.matmul).lower(x, w).compile()
        product(x, w).block_until_ready()
        seconds = []
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            for _ in range(10):
                y = product(x, w)
            y.block_until_ready()
            seconds.append((time.perf_counter() - begun) / 10)
        found[name] = 2 * TOKENS * weights / min(seconds)
    return found


def training(a: argparse.Namespace, store: Path, config: DecoderConfig) -> tuple[dict[str, float], str]:
    """FLOP/s and tokens a second of the steps after the first line of the log, and the run."""
    run = a.work / f"run-{a.compute_dtype}-{a.steps}"
    overrides = {
        "output": run,
        "model.init_from": packaged_weights(PACKAGE),
        "model.compute_dtype": a.compute_dtype,
        "data.store": store,
        "data.split": "main",
    }
    recipe = load_recipe(
        RECIPES / "smollm2-135m-sft.yaml", overrides=[f"{key}={value}" for key, value in overrides.items()]
    )
    recipe = limited(recipe, steps=a.steps)
    train(recipe)
    plan = batch_plan(recipe, prepare(recipe).shards.lengths)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rates = {line["step"]: line["steps_per_second"] for line in lines if "steps_per_second" in line}
    first, *_, last = sorted(rates)
    work = [plan.work(step) for step in range(first, last)]
    used, seen = (sum(of) for of in zip(*work))
    seconds = sum((step - before) / rates[step] for before, step in itertools.pairwise(sorted(rates)))
    flops = step_flops(recipe, config, plan.shape, keys=seen / used)
    share = used / (len(work) * plan.shape.tokens * recipe.batch.rows)
    return {"flops": flops * share * len(work) / seconds, "tokens": used / seconds}, str(run)


def simulation(a: argparse.Namespace, run: str, split: Split) -> tuple[float, float]:
    """FLOP/s and predictions a second of exact distributions on unseen studies."""
    model = open_model(run)
    pairs = split.pairs("unseen_studies")
    prepared = prepare_prediction(
        model, dataclasses.replace(pairs, frame=pairs.frame.sort("item_id").head(a.predictions))
    )
    tries, of_pair = answer_tries(
        model.tokenizer, [prepared.pairs.items[i].scale.levels for i in prepared.pairs.frame["item_id"]]
    )
    asked = {"tries": tries, "trie_of_pair": of_pair}
    exact_distributions(model, prepared.table, **asked)  # compiles
    begun = time.perf_counter()
    exact_distributions(model, prepared.table, **asked)
    seconds = time.perf_counter() - begun
    requests = distinct_requests(prepared.table, of_pair)
    rows = rows_of_requests(
        prepared.table.prefixes,
        requests.prefix,
        branches_of(requests, prepared.table, tries),
        rows_at_a_time=model.rows_at_a_time,
        tokens_per_row=model.tokens_per_row,
    )
    flops = 0.0
    for batch in rows:
        seen = batch.rows.end > np.arange(batch.rows.end.shape[1])
        reads = sum(len(set(of)) for of in batch.rows.read.tolist())
        flops += forward_flops(
            model.config,
            tokens=int(seen.sum()),
            reads=reads,
            keys=float((batch.rows.position[seen] + 1).mean()),
        )
    return flops / seconds, len(prepared.pairs.frame) / seconds


def forward_flops(config: DecoderConfig, *, tokens: int, reads: int, keys: float) -> float:
    """As `step_flops` counts one pass: the last layer's queries and MLP, and logits, are computed at reads alone."""
    weights = weights_by_map(config)
    keys_values = weights["k_proj"] + weights["v_proj"]
    attention = 4 * config.num_attention_heads * config.head_dim * keys
    of_token = (config.num_hidden_layers - 1) * (2 * sum(weights.values()) + attention) + 2 * keys_values
    of_read = 2 * (sum(weights.values()) - keys_values + config.hidden_size * config.vocab_size) + attention
    return tokens * of_token + reads * of_read


if __name__ == "__main__":
    main()
