"""What is in a study store: counts, scales and where they were read from, what disagrees, what was rejected."""

from __future__ import annotations

import dataclasses
from typing import Any

import polars as pl

from socsci_jax.studies.reversed_scales import opposite_labels
from socsci_jax.studies.scale import format_value
from socsci_jax.studies.store import StudyStore

# How many values of an attribute are named.
MOST_VALUES = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inspection:
    """Small tables about a store, ready to be shown.

    studies: one row per study with its counts; scales: items and answers by kind, range and origin, and how many
    answers are alternatives; attributes: of how many people each attribute is known, and its most frequent values;
    disagreements: outcomes whose arms state different scales; equal_texts: arms of one outcome that read the same;
    opposite: outcomes whose labels run against those of others of their study; rejects: counts by kind and reason.
    """

    studies: pl.DataFrame
    scales: pl.DataFrame
    attributes: pl.DataFrame
    disagreements: pl.DataFrame
    equal_texts: pl.DataFrame
    opposite: pl.DataFrame
    rejects: pl.DataFrame


def inspect_store(store: StudyStore) -> Inspection:
    items = store.items.with_columns(
        kind=pl.when(pl.col("scale").struct.field("nominal"))
        .then(pl.lit("nominal"))
        .otherwise(pl.col("scale").struct.field("kind")),
        origin=pl.col("scale").struct.field("origin"),
        range=pl.Series([_range(scale) for scale in store.items["scale"]], dtype=pl.String),
        labels=pl.col("scale").struct.field("labels").list.join(" | "),
        text=pl.col("stimulus") + pl.col("question") + pl.col("answer_format"),
    ).join(_answers(store), on="item_id")
    people = store.participants.group_by("study_id").len("participants")
    of_outcome = ["study_id", "outcome"]
    return Inspection(
        studies=items.group_by("study_id")
        .agg(
            conditions=pl.col("condition").n_unique(),
            outcomes=pl.col("outcome").n_unique(),
            items=pl.len(),
            responses=pl.col("responses").sum(),
        )
        .join(people, on="study_id")
        .join(store.studies.select("study_id", "title"), on="study_id")
        .sort("study_id"),
        scales=items.group_by("kind", "range", "origin")
        .agg(items=pl.len(), responses=pl.col("responses").sum(), alternatives=pl.col("alternatives").sum())
        .sort("responses", descending=True),
        attributes=_attributes(store),
        disagreements=items.group_by(of_outcome)
        .agg(
            scales=pl.struct("kind", "range", "labels").n_unique(),
            ranges=pl.col("range").unique().sort().str.join("; "),
        )
        .filter(pl.col("scales") > 1)
        .sort(of_outcome),
        equal_texts=items.group_by([*of_outcome, "text"])
        .agg(conditions=pl.col("condition").unique().sort())
        .filter(pl.col("conditions").list.len() > 1)
        .select(*of_outcome, pl.col("conditions").list.join("; "))
        .sort(of_outcome),
        opposite=opposite_labels((i.study_id, i.outcome, i.scale) for i in store.item_by_id.values()),
        rejects=rejects_by_reason(store),
    )


def rejects_by_reason(store: StudyStore) -> pl.DataFrame:
    """How many records of each kind were rejected, and why; the most frequent first, equally many by name."""
    counted = store.rejects.group_by("kind", "reason").len("count")
    return counted.sort("count", "kind", "reason", descending=[True, False, False])


def _answers(store: StudyStore) -> pl.DataFrame:
    """Responses of each item, and how many of them are alternatives ("don't know")."""
    beside = store.items.select("item_id", beside=pl.col("scale").struct.field("alternatives"))
    return (
        store.responses.join(beside, on="item_id")
        .group_by("item_id")
        .agg(
            responses=pl.len(),
            alternatives=pl.col("value").is_in(pl.col("beside")).sum(),
        )
    )


def _attributes(store: StudyStore) -> pl.DataFrame:
    """One row per attribute, in the order in which prompts list them: name, people, values, most frequent values."""
    rows = []
    for name in store.attributes:
        known = store.participants["attributes"].struct.field(name).drop_nulls()
        counts = known.value_counts().sort("count", name, descending=[True, False])
        rows.append((name, known.len(), counts.height, " | ".join(counts[name].head(MOST_VALUES))))
    schema = {
        "attribute": pl.String,
        "participants": pl.Int64,
        "values": pl.Int64,
        "most frequent": pl.String,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def _range(scale: dict[str, Any]) -> str:
    ends = [scale["lo"], scale["hi"]]
    if ends == [None, None]:
        return "-"
    return " to ".join("any" if end is None else format_value(end) for end in ends)
