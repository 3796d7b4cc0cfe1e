"""A small made-up world whose true distributions are known, for the tests of the evaluation."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import polars as pl

from socsci_jax.studies.predictions import Predictions
from socsci_jax.studies.schema import PREDICTIONS_SCHEMA, Item, Scale
from socsci_jax.studies.store import StudyStore
from socsci_jax.studies.store_builder import StoreBuilder

EMPTY = pl.from_arrow(PREDICTIONS_SCHEMA.empty_table())


@dataclasses.dataclass(frozen=True)
class World:
    store: StudyStore
    truth: dict[str, np.ndarray]  # item_id -> probabilities over its levels


def shape(center: float, *, levels: int, spread: float = 0.22) -> np.ndarray:
    at = np.linspace(0, 1, levels)
    weights = np.exp(-0.5 * ((at - center) / spread) ** 2)
    return weights / weights.sum()


def make_world(
    path: Path,
    *,
    studies: int = 4,
    conditions: int = 4,
    outcomes: int = 2,
    levels: int = 7,
    n: int = 60,
    effect: float = 0.1,
    control: bool = True,
    seed: int = 0,
) -> World:
    """Between-subjects studies; condition 0 is the control; every participant answers all outcomes."""
    rng = np.random.default_rng(seed)
    builder = StoreBuilder(attributes=("age",), source="made up", license="CC0-1.0", command="test")
    truth = {}
    for s in range(studies):
        study = f"s{s:02d}"
        builder.add_study(study)
        center = rng.uniform(0.3, 0.7, size=outcomes)
        shift = np.concatenate([[0.0], rng.normal(0, effect, size=conditions - 1)])
        for c in range(conditions):
            for o in range(outcomes):
                item = Item(
                    study_id=study,
                    condition=f"c{c}",
                    outcome=f"o{o}",
                    stimulus=f"Text {c}. ",
                    question=f"Question {o}? ",
                    answer_format=f"1 to {levels}.",
                    scale=Scale.of_levels(range(1, levels + 1), origin="stated"),
                    is_control=(c == 0) if control else None,
                )
                item_id = builder.add_item(item)
                truth[item_id] = shape(center[o] + shift[c], levels=levels)
                answers = rng.choice(levels, size=n, p=truth[item_id]) + 1
                for k, answer in enumerate(answers.tolist()):
                    person = f"p{c}_{k}"
                    builder.add_participant(study, person, {"age": 20 + k})
                    builder.add_response(item_id, person, answer, sample_id=k)
    return World(builder.write(path), truth)


def label(store: StudyStore, **part_of_study: str) -> pl.DataFrame:
    """The labeled answers, as a split gives them: unseen_studies but for the studies named."""
    columns = store.items.select("item_id", "study_id", "condition", "outcome")
    return store.responses.join(columns, on="item_id", how="left").with_columns(
        part=pl.col("study_id").replace_strict(part_of_study, default="unseen_studies")
    )


def exact_predictions(world: World, probs_of: dict[str, np.ndarray]) -> Predictions:
    """The same probabilities for everybody who answered the item, a row for each person."""
    rows = world.store.responses.select("item_id", "participant_id").unique(maintain_order=True)
    levels = {i: list(world.store.item_by_id[i].scale.levels) for i in probs_of}
    frame = rows.filter(pl.col("item_id").is_in(list(probs_of))).with_columns(
        levels=pl.col("item_id").replace_strict(levels, return_dtype=pl.List(pl.Int64)),
        probs=pl.col("item_id").replace_strict(
            {i: p.tolist() for i, p in probs_of.items()}, return_dtype=pl.List(pl.Float64)
        ),
    )
    return Predictions(frame=filled(frame))


def drawn_predictions(world: World, probs_of: dict[str, np.ndarray], *, seed: int = 0) -> Predictions:
    """One draw for each person and item."""
    rng = np.random.default_rng([seed, 1])  # not the stream of the answers, which would repeat them
    rows = world.store.responses.select("item_id", "participant_id").unique(maintain_order=True)
    values = [
        float(world.store.item_by_id[i].scale.levels[rng.choice(probs_of[i].size, p=probs_of[i])])
        for i in rows["item_id"]
    ]
    return Predictions(frame=filled(rows.with_columns(draw=0, value=pl.Series(values))))


def filled(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with the missing columns of a predictions table as nulls."""
    return pl.concat([EMPTY, frame.cast({n: EMPTY.schema[n] for n in frame.columns})], how="diagonal")


def long_answers(n: int = 40, *, seed: int = 0, effect: int = 1) -> pl.DataFrame:
    """Long answers on 1 to 5 to two questions in two arms."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"{arm}{k}", arm, question, int(np.clip(rng.integers(1, 5) + effect * (arm == "b"), 1, 5)))
        for arm in ("control", "b")
        for k in range(n)
        for question in ("q1", "q2")
    ]
    return pl.DataFrame(rows, schema=["participant_id", "condition", "outcome", "value"], orient="row")
