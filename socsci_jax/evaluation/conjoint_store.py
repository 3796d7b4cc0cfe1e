"""Profiles of a conjoint experiment in a study store: as people chose, and as a model predicts that they do."""

from __future__ import annotations

import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.evaluation.conjoint import Columns
from socsci_jax.studies.profiles import profile_table
from socsci_jax.studies.store import StudyStore
from socsci_jax.wording import counted, counted_of

AGREES = "agrees"
REPEATED = ", repeated"
_ROW = ("item_id", "participant", "level")


def profiles_of_store(store: StudyStore, *, outcome: str | None = None) -> tuple[pl.DataFrame, Columns]:
    """One row a profile that somebody chose or did not, and which column is what.

    `outcome` None takes the store's first that holds profiles.  Where a task was repeated (an outcome of that name and
    ", repeated"), AGREES says whether the person chose the same profile again; only tasks whose profiles changed
    places count, if there are any: else the same side is the same answer.
    """
    outcome = outcome or _first_outcome(store)
    table = profile_table(store, outcome=outcome)
    attributes = tuple(name for name in table.columns if name not in (*_ROW, "chosen"))
    repeated = f"{outcome}{REPEATED}"
    has_agreement = repeated in store.item_places["outcome"].to_list()
    if has_agreement:
        table = table.join(_agreement(store, table, repeated, attributes), on="participant", how="left")
    columns = Columns(
        choice="chosen",
        respondent="participant",
        attributes=attributes,
        agrees=AGREES if has_agreement else None,
    )
    return table, columns


def _first_outcome(store: StudyStore) -> str:
    profile_table(store)  # raises where there are none
    items = store.item_by_id.values()
    return next(one.outcome for one in items if one.factors and not one.outcome.endswith(REPEATED))


def _agreement(
    store: StudyStore, table: pl.DataFrame, repeated: str, attributes: tuple[str, ...]
) -> pl.DataFrame:
    """participant and AGREES of those who answered a task twice."""
    task = store.item_places.select("item_id", "condition")
    said = [
        rows.join(task, on="item_id").with_columns(profile=pl.struct(attributes))
        for rows in (table, profile_table(store, outcome=repeated).select(table.columns))
    ]
    both = said[0].join(said[1], on=["participant", "condition", "level"], suffix=":again")
    per_person = both.group_by("participant", maintain_order=True).agg(
        swapped=(pl.col("profile") != pl.col("profile:again")).any(),
        first=pl.col("profile").filter(pl.col("chosen") == 1).first(),
        again=pl.col("profile:again").filter(pl.col("chosen:again") == 1).first(),
    )
    if per_person["swapped"].any():
        per_person = per_person.filter("swapped")
    return per_person.select(
        "participant", (pl.col("first") == pl.col("again")).cast(pl.Float64).alias(AGREES)
    )


def simulated_profiles(table: pl.DataFrame, predictions: pl.DataFrame) -> pl.DataFrame:
    """The profiles that were predicted, `chosen` replaced by their predicted probability (or share of draws).

    `predictions` has the columns of a predictions table; a null participant_id is a prediction for everybody.  Draws
    that choose none of the profiles do not count; where all are such, `chosen` is null.
    """
    table = table.with_columns(pl.col("level").cast(pl.Float64))
    exact = (
        predictions.filter(pl.col("probs").is_not_null())
        .select("item_id", "participant_id", "levels", "probs")
        .explode("levels", "probs")
        .rename({"levels": "level", "probs": "share"})
    )
    drawn = _draws(predictions).join(
        table.select("item_id", value="level").unique(), on=["item_id", "value"], how="semi"
    )
    counts = drawn.group_by("item_id", "participant_id").agg(n=pl.len())
    shares = (
        drawn.group_by("item_id", "participant_id", level="value")
        .agg(drawn=pl.len())
        .join(counts, on=["item_id", "participant_id"], nulls_equal=True)
        .select("item_id", "participant_id", "level", share=pl.col("drawn") / pl.col("n"))
    )
    said = pl.concat([exact, shares], how="vertical_relaxed")
    asked = predictions.select("item_id", "participant_id").unique()
    keys = ["item_id", "participant_id"]
    everybody = asked["participant_id"].is_null().all()
    if everybody:
        said, asked, keys = said.drop("participant_id"), asked.drop("participant_id"), ["item_id"]
    elif asked["participant_id"].null_count():
        raise InputError("Some predictions are for everybody and some for one person; give one kind.")
    rows = table.rename({"participant": "participant_id"})
    rows = rows.join(asked, on=keys, how="semi", maintain_order="left")
    if rows.is_empty():
        raise InputError(
            "The predictions hold none of the conjoint's tasks; predict the items of this store."
        )
    # A level that was never drawn has no row, and a choice of which nothing is said has none at all.
    is_said = said.select(keys).unique().with_columns(is_said=pl.lit(True))
    return (
        rows.join(said, on=[*keys, "level"], how="left", maintain_order="left")
        .join(is_said, on=keys, how="left", maintain_order="left")
        .with_columns(
            chosen=pl.when("is_said").then(pl.col("share").fill_null(0.0)),
            level=pl.col("level").cast(pl.Int64),
        )
        .drop("share", "is_said")
        .rename({"participant_id": "participant"})
    )


def _draws(predictions: pl.DataFrame) -> pl.DataFrame:
    return predictions.filter(pl.col("probs").is_null() & pl.col("value").is_not_null())


def unused_predictions(table: pl.DataFrame, predictions: pl.DataFrame) -> list[str]:
    """What of the predictions stands for no profile, in sentences: other tasks, draws off the options."""
    of_tasks = predictions.join(table.select("item_id").unique(), on="item_id", how="semi")
    notes = []
    if other := predictions.height - of_tasks.height:
        notes.append(f"{counted(other, 'prediction is', 'predictions are')} of no task of this conjoint.")
    options = table.select("item_id", value=pl.col("level").cast(pl.Float64)).unique()
    draws = _draws(of_tasks)
    if off := draws.join(options, on=["item_id", "value"], how="anti").height:
        notes.append(f"{counted_of(off, draws.height, 'draw')} none of a task's profiles and excluded.")
    return notes
