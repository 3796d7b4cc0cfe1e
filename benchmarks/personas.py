"""What of a person tells how they answer: what they wrote, their traits, or both; three layouts of one store.

python -m benchmarks.personas [--people 800] [--epochs 12] [--seeds 0 1 2]

Invented players answer three questions.  How bold they are shows in an interview alone, their position among their traits
alone, and both move every answer alike, so that each layout that shows one of them can learn half of what there is to
learn.  The quickstart's decoder from random weights, one recipe, as many steps for each layout as `both` takes in its epochs
(short personas fill fewer rows); a quarter of the players are held out.  The log score (nats
an answer, smaller is better) stands between that of the answers' shares and that of the true probabilities.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from benchmarks.objectives import of_steps, planned
from benchmarks.options import options_of
from benchmarks.table import save
from socsci_jax.model_io import open_model
from socsci_jax.quickstart import RECIPE
from socsci_jax.simulation.simulate import simulate
from socsci_jax.studies.answer_formats import answer_format
from socsci_jax.studies.layouts import STUDY_FIRST
from socsci_jax.studies.schema import Item, Scale
from socsci_jax.studies.split_making import make_split
from socsci_jax.studies.splits import Split
from socsci_jax.studies.store import StudyStore
from socsci_jax.studies.store_builder import StoreBuilder
from socsci_jax.training.loop import train
from socsci_jax.training.prepare import prepare
from socsci_jax.training.program import batch_plan
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.recipe_files import parse_recipe

PART = "unseen_participants"
# All show the home, which says nothing.
SIDES = {
    "neither": "home",
    "text": "home, interview",
    "traits": "home, position",
    "both": "home, position, interview",
}
# Who knows what they say: the probabilities with which answers are drawn, means over what a persona does not show.
CHANCES = {
    "true probabilities": "chance",
    "these, text alone known": "chance_by_text",
    "these, traits alone known": "chance_by_traits",
}
POSITIONS = {"guard": 1.0, "forward": 0.0, "center": -1.0}
HOMES = ("Harbor", "Hills", "Plains", "Capital")
BOLD = {
    1.6: (
        "When it counts I want the ball.",
        "I never look for somebody else at the end.",
        "I trust my hand.",
    ),
    0.0: ("It depends on the evening.", "I look at what the others do.", "Sometimes I go, sometimes I wait."),
    -1.6: (
        "I would rather set somebody up.",
        "Close games make me careful.",
        "A good pass is worth more to me.",
    ),
}
ANYBODY = (
    "We trained twice a day.",
    "My brother taught me to play.",
    "The crowd was loud.",
    "I like the mornings.",
    "Last year was long.",
)
QUESTIONS = {
    "tied": (0.0, "The score is tied and ten seconds are left. Does the player shoot or pass?"),
    "behind": (0.6, "The team is a point behind at the end. Does the player shoot or pass?"),
    "ahead": (-0.6, "The team is ahead by a point, the clock runs. Does the player shoot or pass?"),
}
SCALE = Scale.of_levels({1: "shoot", 2: "pass"}, origin="stated")


def main() -> None:
    options = options_of(__doc__)
    options.add_argument("--work", type=Path, default=Path("runs/benchmarks/personas"))
    options.add_argument("--people", type=int, default=800)
    options.add_argument("--epochs", type=float, default=12)
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    a = options.parse_args()
    results = [row for seed in a.seeds for row in _of_seed(a, seed)]
    table = Table("persona shows", "log score", "- neither", f"seeds {a.seeds}", title=PART)
    frame = pl.DataFrame(results)
    base = frame.filter(side="neither")["log_score"].mean()
    for (name,), own in frame.group_by("side", maintain_order=True):
        each = ", ".join(f"{value:.3f}" for value in own["log_score"])
        mean = own["log_score"].mean()
        table.add_row(name, f"{mean:.3f}", f"{mean - base:+.3f}", each)
    Console(width=100).print(table)
    save("personas", {"results": results})


def _of_seed(a: argparse.Namespace, seed: int) -> list[dict]:
    work = a.work / f"{a.people}-{a.epochs:g}-{seed}"
    store, chances = _store(work / "store", people=a.people, seed=seed)
    split = make_split(store, name="main", seed=seed, participants=0.25)
    split.save(replace=True)
    held = split.label().filter(part=PART).join(chances, on=["item_id", "participant_id"])
    shares = split.training_responses().group_by("item_id").agg(share=(pl.col("value") == 1).mean())
    of_shares = _log_score(held.join(shares, on="item_id"), "share")
    recipes = {name: _recipe(a, work / name, store, attributes, seed) for name, attributes in SIDES.items()}
    longest = recipes["both"]
    steps = batch_plan(longest, prepare(planned(longest)).shards.lengths).steps(a.epochs)
    rows = [
        {"side": "shares of answers", "log_score": of_shares},
        *(
            {"side": name, "log_score": _trained(of_steps(recipe, steps), store, split, held)}
            for name, recipe in recipes.items()
        ),
        *({"side": name, "log_score": _log_score(held, column)} for name, column in CHANCES.items()),
    ]
    return [{"seed": seed, **row} for row in rows]


def _store(folder: Path, *, people: int, seed: int) -> tuple[StudyStore, pl.DataFrame]:
    """The store, and of every answer the probability of `shoot` that it was drawn with."""
    rng = np.random.default_rng(seed)
    builder = StoreBuilder(
        attributes=("position", "home", "interview"),
        source="invented",
        license="CC0-1.0",
        command="benchmark",
    )
    builder.add_study("late-game", title="Late game")
    items = {
        name: builder.add_item(
            Item(
                study_id="late-game", condition="none", outcome=name, stimulus="", question=f"{text}\n",
                answer_format=answer_format(SCALE), scale=SCALE, is_control=True,
            )
        )
        for name, (_, text) in QUESTIONS.items()
    }  # fmt: skip
    chances = []

    def chance_of(name: str, bold: float, position: str) -> float:
        return 1 / (1 + np.exp(-(bold + 1.3 * POSITIONS[position] + QUESTIONS[name][0])))

    for number in range(people):
        person, position = f"p{number}", str(rng.choice(list(POSITIONS)))
        bold = float(rng.choice(list(BOLD)))
        said = [*rng.choice(BOLD[bold], 2, replace=False), *rng.choice(ANYBODY, 2, replace=False)]
        interview = " ".join(rng.permutation(said))
        traits = {"position": position, "home": str(rng.choice(HOMES))}
        builder.add_participant("late-game", person, {**traits, "interview": interview})
        for name, item_id in items.items():
            chance = chance_of(name, bold, position)
            builder.add_response(item_id, person, 1 if rng.random() < chance else 2, sample_id=0)
            by_text = np.mean([chance_of(name, bold, other) for other in POSITIONS])
            by_traits = np.mean([chance_of(name, other, position) for other in BOLD])
            chances.append((item_id, person, chance, by_text, by_traits))
    store = StudyStore(folder) if (folder / "store.json").is_file() else builder.write(folder)
    schema = {"item_id": pl.String, "participant_id": pl.String} | dict.fromkeys(CHANCES.values(), pl.Float64)
    return store, pl.DataFrame(chances, schema=schema, orient="row")


def _recipe(a: argparse.Namespace, work: Path, store: StudyStore, attributes: str, seed: int) -> Recipe:
    """That of a run whose personas show these attributes."""
    work.mkdir(parents=True, exist_ok=True)
    layout = dataclasses.replace(STUDY_FIRST, attributes=attributes)
    (work / "layout.json").write_text(json.dumps(layout.to_dict()))
    recipe = RECIPE | {
        "output": str((work / "run").resolve()),
        "seed": seed,
        "data": {
            "store": str(store.path.resolve()),
            "split": "main",
            "layout": str((work / "layout.json").resolve()),
        },
        "optimizer": RECIPE["optimizer"] | {"epochs": a.epochs},
    }
    return parse_recipe(recipe, where="benchmark")


def _trained(recipe: Recipe, store: StudyStore, split: Split, held: pl.DataFrame) -> float:
    """The log score of a run."""
    train(recipe)
    predictions = recipe.output.with_name("predictions.parquet")
    if not predictions.is_file():
        simulate(open_model(str(recipe.output)), store, split, out=predictions, parts=(PART,))
    predicted = pl.read_parquet(predictions).select(
        "item_id", "participant_id", predicted=pl.col("probs").list.get(0)
    )
    return _log_score(held.join(predicted, on=["item_id", "participant_id"]), "predicted")


def _log_score(rows: pl.DataFrame, chance: str) -> float:
    """Mean of -log of the probability of the answer that was given, nats."""
    given = pl.when(pl.col("value") == 1).then(pl.col(chance)).otherwise(1 - pl.col(chance))
    return rows.select((-given.log()).mean()).item()


if __name__ == "__main__":
    main()
