"""What people answered: means of arms with their errors, of composites and of subgroups too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl

from socsci_jax.forecasting.arms import positions
from socsci_jax.forecasting.composites import Composite, without_all_parts
from socsci_jax.forecasting.table import CALIBRATION
from socsci_jax.studies.store import StudyStore

ARM = ("study", "outcome", "condition")
# With fewer answers in an arm its mean has no error that is worth anything.
MINIMUM_N = 20
# The answers of one person to one item.
_ANSWER = ("study", "condition", "participant_id")


def answers_of(store: StudyStore, responses: pl.DataFrame | None = None) -> pl.DataFrame:
    """Every answer on an ordered scale: ARM, item_id, participant_id, at (percentage points of the scale's range), weight.

    `responses` are some of the store's, by default all.
    """
    levels = [
        (item.item_id, item.study_id, item.outcome, item.condition, level, at)
        for item in store.item_by_id.values()
        if item.scale.has_order
        for level, at in zip(item.scale.levels, positions(np.asarray(item.scale.levels, float)).tolist())
    ]
    schema = {
        **dict.fromkeys(("item_id", *ARM), pl.String),
        **dict.fromkeys(("value", "at"), pl.Float64),
    }
    people = store.participants.select(
        "participant_id", study="study_id", of_person=pl.col("weight").cast(pl.Float64)
    )
    return (
        (store.responses if responses is None else responses)
        .with_columns(pl.col("value").cast(pl.Float64))
        .join(
            pl.DataFrame(levels, schema=schema, orient="row"), on=["item_id", "value"], maintain_order="left"
        )
        .join(people, on=["study", "participant_id"], how="left", maintain_order="left")
        .with_columns(pl.coalesce("weight", "of_person", pl.lit(1.0)).alias("weight"))
        .select(*ARM, "item_id", "participant_id", "at", "weight")
    )


def with_composite_answers(
    answers: pl.DataFrame, composites: Iterable[Composite]
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Adds the composites of people who answered all parts in one condition; those that a study has itself are kept.

    A composite may have earlier ones among its parts.  Also how many answers to parts are in none, by why.
    """
    lost = {}
    for composite in composites:
        own = answers.filter(pl.col("study") == composite.study)
        if composite.name in own["outcome"]:
            continue
        parts = own.filter(pl.col("outcome").is_in(composite.of))
        lacks_others = pl.col("outcome").n_unique().over(_ANSWER) < len(composite.of)
        lost[without_all_parts(composite)] = parts.filter(lacks_others).height
        turned = pl.col("outcome").is_in(composite.reversed)
        made = (
            parts.filter(~lacks_others)
            .with_columns(pl.when(turned).then(100 - pl.col("at")).otherwise("at").alias("at"))
            # An outcome that somebody answered under several texts counts once.
            .group_by(*_ANSWER, "outcome", maintain_order=True)
            .agg(pl.col("at", "weight").mean())
            .group_by(*_ANSWER, maintain_order=True)
            .agg(pl.col("at", "weight").mean())
            .with_columns(outcome=pl.lit(composite.name), item_id=pl.lit(composite.name))
        )
        answers = pl.concat([answers, made.select(answers.columns)])
    return answers, {why: number for why, number in lost.items() if number}


def human_arms(
    store: StudyStore, responses: pl.DataFrame | None = None, *, composites: Sequence[Composite] = ()
) -> pl.DataFrame:
    """Mean and squared standard error of people's answers in each arm, in percentage points of the scale's range."""
    return means_of_arms(with_composite_answers(answers_of(store, responses), composites)[0])


def weighted_mean() -> dict[str, pl.Expr]:
    """human, se2 and n of the answers of a group: their mean `at`, its squared error, survey weights as linearized.

    Of equal answers the error is exactly zero, which rounding of the mean would make a little more.
    """
    share = pl.col("weight") / pl.col("weight").sum()
    mean = (share * pl.col("at")).sum()
    error = (share**2 * (pl.col("at") - mean) ** 2).sum() * pl.len() / (pl.len() - 1)
    return {
        "human": mean,
        "se2": pl.when(pl.col("at").max() > pl.col("at").min()).then(error).otherwise(0.0),
        "n": pl.len().cast(pl.Int64),
    }


def means_of_arms(answers: pl.DataFrame) -> pl.DataFrame:
    """Columns study, outcome, condition, human, se2, n of rows of `answers_of`; survey weights as linearized.

    Texts of one arm count by their answers; those with fewer than two are excluded.
    """
    of_items = (
        answers.filter(pl.col("weight") > 0)
        .group_by("item_id", *ARM, maintain_order=True)
        .agg(**weighted_mean())
        .filter(pl.col("n") >= 2)
    )
    part = pl.col("n") / pl.col("n").sum()
    return of_items.group_by(ARM, maintain_order=True).agg(
        human=(part * pl.col("human")).sum(), se2=(part**2 * pl.col("se2")).sum(), n=pl.col("n").sum()
    )


def with_human_effects(effects: pl.DataFrame, human: pl.DataFrame) -> pl.DataFrame:
    """The contrasts of which both arms have MINIMUM_N answers, with people's effect and its standard errors."""
    enough = human.filter(pl.col("n") >= MINIMUM_N, pl.col("se2") > 0)
    reference = enough.rename({"condition": "reference"})
    joined = effects.join(enough, on=ARM, maintain_order="left").join(
        reference, on=["study", "outcome", "reference"], suffix="_0", maintain_order="left"
    )
    return joined.with_columns(
        human=pl.col("human") - pl.col("human_0"),
        human_se=(pl.col("se2") + pl.col("se2_0")).sqrt(),
        reference_se=pl.col("se2_0").sqrt(),
    ).select(*CALIBRATION)
