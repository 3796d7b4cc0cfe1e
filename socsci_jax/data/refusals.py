"""Responses that are not trained on, counted by item with the reason; and people told apart by what is known of them."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.studies.store import StudyStore

# item_id, reason, responses
Refusal = tuple[str, str, int]


def refusals(responses: pl.DataFrame, reason: str) -> list[Refusal]:
    """One for each item of the responses."""
    counts = responses.group_by("item_id").len().sort("item_id")
    return [(item_id, reason, number) for item_id, number in counts.iter_rows()]


def with_attributes(
    responses: pl.DataFrame, store: StudyStore, names: Sequence[str]
) -> tuple[pl.DataFrame, list[str]]:
    """The responses with a column for each attribute of the people who gave them, and these columns' names.

    Columns are named apart from the others, whatever attributes are called.  Raises InputError for an attribute that the
    store does not have.
    """
    for name in names:
        if name not in store.attributes:
            raise InputError(
                f"objective.condition_on: {name!r} is no attribute of {store.path}; known are "
                f"{', '.join(store.attributes)}."
            )
    if not names:
        return responses, []
    columns = [f"attribute {name}" for name in names]
    known = [
        pl.col("attributes").struct.field(name).alias(column)
        for name, column in zip(names, columns, strict=True)
    ]
    people = store.participants.select("study_id", "participant_id", *known)
    return responses.join(
        people, on=["study_id", "participant_id"], how="left", maintain_order="left"
    ), columns
