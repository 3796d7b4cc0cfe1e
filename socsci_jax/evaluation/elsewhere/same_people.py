"""Whether an id that both tables hold means one person."""

from __future__ import annotations

import polars as pl

from socsci_jax.evaluation.elsewhere.people import TablePeople
from socsci_jax.wording import counted

_PERSON = ["study", "participant_id"]


def in_doubt(rows: pl.DataFrame, people: TablePeople) -> list[str]:
    """A note where people are predicted in other conditions than the people of the same id were in, and not in theirs.

    `rows` are predictions with study, condition and participant_id, null for people who did not answer.  Somebody who is
    predicted in every condition is in no doubt, nor is one who skipped a question.
    """
    predicted = rows.filter(pl.col("participant_id").is_not_null()).select(*_PERSON, "condition").unique()
    was_in = people.labeled.select(pl.col("study_id").alias("study"), "participant_id", "condition").unique()
    matched = predicted.join(was_in.with_columns(own=pl.lit(True)), on=[*_PERSON, "condition"], how="left")
    own = matched.group_by(_PERSON).agg(pl.col("own").any(ignore_nulls=True))["own"]
    strangers = int((~own).sum())
    if not strangers:
        return []
    of_all = f"{strangers:,} of {counted(len(own), 'predicted person', 'predicted people')}"
    whose = "has the id of a person" if strangers == 1 else "have the ids of people"
    return [
        f"{of_all} {whose} who answered in another condition, and no prediction in that one: do these ids mean the same "
        "people? Nothing is judged of them. If they are other people, give them ids that nobody who answered has, and they "
        "stand for everybody alike."
    ]
