"""Who the people of each part were: one list of values for all parts, the same in every run."""

from __future__ import annotations

import random
from types import SimpleNamespace

import polars as pl
import pytest

from socsci_jax.evaluation.background import MOST_VALUES, _people
from socsci_jax.evaluation.demographics import banded
from socsci_jax.evaluation.report import tables
from socsci_jax.evaluation.report.provenance import Provenance


def rows_of(towns_of: dict[str, list[str | None]]) -> list[tuple]:
    """The rows of parts whose people live in these towns."""
    parts, people = [], []
    for part, towns in towns_of.items():
        names = tuple(f"{part}{k}" for k in range(len(towns)))
        cell = SimpleNamespace(item=SimpleNamespace(study_id="s"), people_n=names)
        parts.append(SimpleNamespace(name=part, cells=[cell]))
        people += [
            {"study_id": "s", "participant_id": name, "attributes": {"town": town}}
            for name, town in zip(names, towns, strict=True)
        ]
    return list(_people(parts, SimpleNamespace(participants=pl.DataFrame(people))))


def test_every_part_lists_the_same_values_with_its_own_numbers():
    """Each part has a favorite of its own; what the other part has of it is told, not zero."""
    few = [f"t{k:02d}" for k in range(MOST_VALUES)]
    rows = rows_of({"a": [*few * 2, "x", "x", "x"], "b": [*few, "x", None]})
    told = {(part, value): n for part, name, value, n in rows if name == "town"}
    assert (told["a", "x"], told["b", "x"]) == (3, 1)
    assert [value for part, value in told if part == "a"] == [value for part, value in told if part == "b"]
    assert (told["a", None], told["b", None]) == (0, 1)
    assert (told["a", "1 other value"], told["b", "1 other value"]) == (2, 1)
    for part, people in (("a", 23), ("b", 12)):
        assert sum(n for (of, _), n in told.items() if of == part) == people


def test_ties_list_the_same_values_whatever_the_order_of_people():
    towns = [f"t{k:02d}" for k in range(3 * MOST_VALUES)]
    shuffled = random.Random(1).sample(towns, len(towns))
    assert rows_of({"a": towns}) == rows_of({"a": shuffled})


@pytest.mark.parametrize("age", ["34", "34 years", "34 years old", "34 yrs", "34.5", 34])
def test_ages_are_banded_with_or_without_their_unit(age):
    assert banded(pl.Series([age, None])).to_list() == ["30–44", None]


def test_other_texts_about_age_stay_as_they_are():
    assert banded(pl.Series(["34 years", "young"])).to_list() == ["34 years", "young"]


def test_a_part_of_whose_people_nothing_is_known_has_no_column():
    rows = [("a", None, None, 2), ("a", "town", "x", 2), ("b", None, None, 0), ("b", "town", "x", 0)]
    people = pl.DataFrame(rows, schema=["part", "attribute", "value", "n"], orient="row")
    table = tables.people(SimpleNamespace(background=SimpleNamespace(people=people)))
    assert [column.title for column in table.columns] == ["Attribute", "Value", "a (n = 2)"]
    assert {len(row) for row in table.rows} == {3}


def test_units_held_out_are_counted_in_singular_and_plural():
    held = {"unseen_conditions": 1, "unseen_participants": 120, "unseen_studies": 2}
    facts = Provenance({"held_out": held}, software="", validation="", purpose="")
    assert facts.held_out().startswith(
        "1 unseen condition, 120 unseen participants, 2 unseen studies (units of the whole split"
    )
