"""A smaller study store: some answers to each item, for a first look at a large deposit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from socsci_jax.studies.store import StudyStore
from socsci_jax.studies.store_builder import StoreBuilder
from socsci_jax.wording import counted


def sample_responses(
    store: StudyStore, out: Path, *, per_item: int, seed: int, command: str, replace: bool = False
) -> StudyStore:
    """Writes a store with at most `per_item` participants of each item, drawn by `seed`.

    Participants are put into one order, of which each item takes its first, so those who are kept are kept with most of
    their answers.  Studies and items stay; the notes say what was drawn from.
    """
    answers = store.responses.join(store.item_places.select("item_id", "study_id"), on="item_id")
    people = answers.select("study_id", "participant_id").unique().sort(pl.all())
    order = pl.Series("order", np.random.default_rng(seed).permutation(people.height))
    kept = (
        answers.join(people.with_columns(order), on=people.columns)
        .filter(pl.col("order").rank("dense").over("item_id") <= per_item)
        .sort("sample_id")
    )

    note = (
        f"{kept.height:,} of {counted(answers.height, 'answer')}: at most {counted(per_item, 'participant')} of each item, "
        f"drawn with seed {seed} from a store with content {store.content_hash[:12]}"
    )
    return keep_responses(store, kept, out, note=note, command=command, replace=replace)


def keep_responses(
    store: StudyStore, kept: pl.DataFrame, out: Path, *, note: str, command: str, replace: bool = False
) -> StudyStore:
    """Writes a store with those of a store's responses that `kept` holds, and who gave them; studies and items stay.

    `kept` has the columns of `store.responses` and study_id; `note` says which were kept.
    """
    manifest = store.manifest
    builder = StoreBuilder(
        attributes=store.attributes,
        verbatim=store.attributes,
        source=manifest["source"],
        license=manifest["license"],
        command=command,
        notes=[*manifest["notes"], note],
    )
    for study in store.studies.iter_rows(named=True):
        builder.add_study(**study)
    for item in store.item_by_id.values():
        builder.add_item(item)
    chosen = kept.select("study_id", "participant_id").unique()
    for person in store.participants.join(chosen, on=chosen.columns, how="semi").iter_rows(named=True):
        builder.add_participant(
            person["study_id"], person["participant_id"], person["attributes"], weight=person["weight"]
        )
    for answer in kept.iter_rows(named=True):
        builder.add_response(
            answer["item_id"],
            answer["participant_id"],
            answer["value"],
            sample_id=answer["sample_id"],
            weight=answer["weight"],
        )
    return builder.write(out, replace=replace)
