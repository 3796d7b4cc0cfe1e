"""Finds columns of predictions that are no predictions: what is known of people, carried along in both tables."""

from __future__ import annotations

import re

import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.evaluation.elsewhere.people import TablePeople
from socsci_jax.wording import first_listed

# So many people are not predicted without one error by chance.
ENOUGH = 20
_KNOWN_OF_PEOPLE = re.compile(
    r"(.*[_. ])?(age|birth_?year|year_?of_?birth|yob|gender|sex|female|male|educ|education|income|race|ethnicity|"
    r"hispanic|region|state|zip|zip_?code|party|party_?id|pid\d?|ideology|religion|religiosity|marital|marital_?status|"
    r"household_?size|hh_?size|employment|employed|urban|metro)([_. ].*)?",
    re.IGNORECASE,
)


def without_carried(frame: pl.DataFrame, people: TablePeople) -> tuple[pl.DataFrame, list[str]]:
    """The predictions without demographics that equal people's answers in every row, and sentences on all that do.

    Only questions whose scale nobody declared are looked at.  Raises InputError if nothing would be left.
    """
    if frame["value"].null_count() == frame.height:
        return frame, []
    answers = people.labeled.select("item_id", "participant_id", "outcome", answer="value")
    both = frame.join(answers, on=["item_id", "participant_id"], how="inner")
    compared = both.group_by("outcome", maintain_order=True).agg(
        pl.len().alias("n"),
        (pl.col("value") == pl.col("answer")).all().alias("equal"),
        pl.col("answer").n_unique().alias("different"),
    )
    equal = compared.filter("equal", pl.col("n") >= ENOUGH, pl.col("different") >= 2)["outcome"].to_list()
    equal = [name for name in equal if name not in people.declared]
    carried = [name for name in equal if _KNOWN_OF_PEOPLE.fullmatch(name)]
    notes = []
    if carried:
        names = first_listed(list(map(repr, carried)))
        notes.append(
            f"Not judged, as both tables hold the same of everybody: {names}. Declare a scale to have it judged."
        )
        ids = people.item_ids.filter(pl.col("outcome").is_in(carried))["item_id"]
        frame = frame.filter(~pl.col("item_id").is_in(ids.to_list()))
        if frame.is_empty():
            raise InputError(
                f"{people.path}: nothing is left to judge: the tables share only what is known of people ({names}); "
                "declare the scales of those that are questions."
            )
    if rest := [name for name in equal if name not in carried]:
        notes.append(
            f"Everybody is predicted without an error in {first_listed(list(map(repr, rest)))}: if this is no answer, take it out of the tables."
        )
    return frame, notes
