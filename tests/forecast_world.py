"""Invented collections of studies with known true effects, and an experiment that a planted model predicts."""

from __future__ import annotations

import numpy as np
import polars as pl

from benchmarks.forecast_coverage import invented_effects
from socsci_jax.forecasting.collection import Collection
from socsci_jax.studies.pairs import Pairs
from socsci_jax.studies.predictions import Predictions
from socsci_jax.studies.schema import Item, Scale

SEVEN = Scale.of_levels(range(1, 8), origin="stated")


def invented_collection(rng: np.random.Generator, *, kind: str = "good", studies: int = 30) -> Collection:
    effects = invented_effects(rng, kind=kind, studies=studies).drop("distance")
    levels = effects.select("study", "outcome", "condition", "predicted", "human").with_columns(
        pl.col("predicted") + 50, pl.col("human") + 55
    )
    return Collection(effects=effects, levels=levels)


def experiment_items(*, arms: int = 3, outcomes: int = 2, scale: Scale = SEVEN) -> list[Item]:
    return [
        Item(
            study_id="planned",
            condition="control" if a == 0 else f"arm {a}",
            outcome=f"outcome {o}",
            stimulus=f"You read message number {a} about the council.\n\n",
            question=f"How do you feel about matter {o}?\n",
            answer_format="Answer with a number.",
            scale=scale,
            is_control=a == 0,
        )
        for o in range(outcomes)
        for a in range(arms)
    ]


def planted_predict(pairs: Pairs) -> Predictions:
    """Means rise with the last digit of the arm's number, and for women a little more; everybody's answers spread alike."""
    rows = []
    for item_id, _, person in pairs.frame.iter_rows():
        item = pairs.items[item_id]
        arm = 0 if item.is_control else int(item.condition.split()[-1]) % 10
        levels = np.asarray(item.scale.levels, float)
        woman = pairs.personas[item.study_id, person].get("gender") == "Female"
        logits = -0.5 * ((levels - levels.mean()) / levels.std()) ** 2
        logits += (0.05 + 0.02 * woman) * arm * (levels - levels.mean()) / levels.std()
        probs = np.exp(logits) / np.exp(logits).sum()
        rows.append((item_id, person, levels.tolist(), probs.tolist(), 0.98))
    frame = pl.DataFrame(
        rows, schema=["item_id", "participant_id", "levels", "probs", "mass_on_levels"], orient="row"
    )
    return Predictions(frame=frame, pairs=pairs, metadata={"model": "planted"})


PEOPLE = [
    {"gender": gender, "age": age}
    for gender in ("Female", "Male")
    for age in ("18-34", "35-64", "65 or older")
]
