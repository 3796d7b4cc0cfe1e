"""Profiles of a conjoint experiment in a study store: items whose factors are named `LEVEL: attribute`.

The level is the answer that chooses the profile, so one item holds all profiles of one choice task.
"""

from __future__ import annotations

import re

import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.studies.store import StudyStore

_FACTOR = re.compile(r"(?P<level>-?\d+): (?P<attribute>.+)", re.DOTALL)


def profile_factor(level: int, attribute: str) -> str:
    """The factor's name: which answer chooses the profile, and the attribute."""
    return f"{level}: {attribute}"


def profile_table(store: StudyStore, *, outcome: str | None = None) -> pl.DataFrame:
    """One row per profile that somebody judged: participant, item_id, level, chosen (0 or 1), and an attribute each.

    `outcome` picks one of the store's outcomes.  Raises InputError where no item holds profiles.
    """
    rows = []
    for item_id, item in store.item_by_id.items():
        if outcome is not None and item.outcome != outcome:
            continue
        profiles: dict[int, dict[str, str]] = {}
        for name, value in item.factors.items():
            if match := _FACTOR.fullmatch(name):
                profiles.setdefault(int(match["level"]), {})[match["attribute"]] = value
        rows += [{"item_id": item_id, "level": level, **attributes} for level, attributes in profiles.items()]
    if not rows:
        raise InputError(
            f"{store.path}: no item holds profiles of a conjoint (factors named `1: attribute`)."
        )
    shown = pl.DataFrame(rows, infer_schema_length=None)
    answers = store.responses.select("item_id", participant="participant_id", value="value")
    return (
        answers.join(shown, on="item_id", how="inner", maintain_order="left")
        .with_columns(chosen=(pl.col("value") == pl.col("level")).cast(pl.Float64))
        .drop("value")
    )
