"""Who is asked which variants: all of them, or a balanced assignment that costs less than three times one pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import polars as pl

from socsci_jax.studies.schema import Item
from socsci_jax.studies.variants import StudyVariants, attribute_values, drift_items

# A balanced assignment costs less than so many passes over all items and people as the experiment is written.
MOST_COST = 3.0
# Variants of an outcome that one person answers: two tell persons from variants.
EACH = 2
# People of whom it is asked whether swaps and arms move the model: a tenth of all, within these bounds.
FEWEST_CHECKED, MOST_CHECKED = 8, 20
# What separates a participant from the change to its persona.
_CHANGED = "\x1f"

# A prompt each: `purpose` is "variant", or what it checks (base, swap, drift); `item_id` the item that the answer belongs to,
# `asked` the one that is read; `person` names the persona, which may be a changed one; `variant` counts those of the item.
ROWS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("purpose", "attribute", "item_id", "participant_id"), pl.String),
    **dict.fromkeys(("asked", "person", "persona_format"), pl.String),
    "variant": pl.Int64,
}

Persona = dict[str, str | None]
A = TypeVar("A")
Cost = Callable[[pl.DataFrame], int]


@dataclasses.dataclass(frozen=True, eq=False)
class Asking:
    """All that could be asked of a study: items by id, personas by the name of the person, and the rows of the checks."""

    study: StudyVariants
    items: Mapping[str, Item]
    personas: dict[str, Persona]
    people: tuple[str, ...]
    checks: pl.DataFrame
    choices: pl.DataFrame  # item_id, outcome, variant, asked, persona_format

    def rows(self, *, variants: int, each: int, checked: int) -> pl.DataFrame:
        """ROWS where the first `variants` of each outcome are answered by `each` of them a person, in turn; and the checks of
        the first `checked` people."""
        assigned = [
            (outcome, variant, person)
            for outcome, number in self.study_outcomes().items()
            for variant, person in in_turn(self.people, min(variants, number), each)
        ]
        schema = {"outcome": pl.String, "variant": pl.Int64, "participant_id": pl.String}
        frame = pl.DataFrame(assigned, schema=schema, orient="row")
        asked = self.choices.join(frame, on=["outcome", "variant"], maintain_order="left_right").select(
            pl.lit("variant").alias("purpose"),
            pl.lit("").alias("attribute"),
            *("item_id", "participant_id", "asked"),
            pl.col("participant_id").alias("person"),
            *("persona_format", "variant"),
        )
        chosen = self.checks.filter(pl.col("participant_id").is_in(self.people[:checked]))
        return pl.concat([asked, chosen])

    def study_outcomes(self) -> dict[str, int]:
        """Number of variants of each outcome."""
        counted = self.choices.group_by("outcome", maintain_order=True).agg(pl.col("variant").max() + 1)
        return dict(counted.iter_rows())


def in_turn(people: Sequence[A], variants: int, each: int) -> list[tuple[int, A]]:
    """(variant, person): every variant by a like share of people, one or two (`each`) different ones a person."""
    if variants <= each:
        return [(variant, person) for variant in range(variants) for person in people]
    rest = len(people) % variants

    def step(place: int) -> int:
        """How far a person's second variant is from the first: another for each block of people, so that all variants are
        compared; the last block, a part of one, resumes where its first variants end."""
        return rest if place >= len(people) - rest else 1 + place // variants % (variants - 1)

    return [
        ((place + round_ * step(place)) % variants, person)
        for round_ in range(each)
        for place, person in enumerate(people)
    ]


def asking_of(study: StudyVariants, personas: pl.DataFrame, *, seed: int) -> Asking:
    """Everything that may be asked about a study's items of the personas, in an order of people drawn by the seed.

    Raises InputError for attributes to be swapped or asked for that personas do not have.
    """
    rng = np.random.default_rng(seed)
    known: dict[str, Persona] = {row.pop("participant_id"): row for row in personas.to_dicts()}
    ids = list(known)
    people = tuple(ids[i] for i in rng.permutation(len(ids)))
    drift = drift_items(study, personas)
    items = {variant.item.item_id: variant.item for own in study.of_item.values() for variant in own}
    items |= {item.item_id: item for item in drift}
    rows: list[tuple[str, str, str, str, str, str, str, int]] = []
    for attribute in study.declared.swaps:
        values = attribute_values(personas, attribute, key="swaps")
        for person in people:
            if (own := known[person][attribute]) is None:
                continue
            other = str(rng.choice([value for value in values if value != own]))
            changed = f"{person}{_CHANGED}{attribute} swapped"
            known[changed] = known[person] | {attribute: other}
            for i in study.of_item:
                rows.append(("swap", attribute, i, person, i, changed, "list", 0))
    if study.declared.swaps:
        rows += [("base", "", i, person, i, person, "list", 0) for person in people for i in study.of_item]
    for item in drift:
        attribute = item.outcome.removeprefix("drift: ")
        for person in people:
            hidden = f"{person}{_CHANGED}{attribute} hidden"
            known[hidden] = known[person] | {attribute: None}
            rows.append(("drift", attribute, item.item_id, person, item.item_id, hidden, "list", 0))
    choices = [
        (item.item_id, item.outcome, number, variant.item.item_id, variant.persona_format)
        for item in study.items
        for number, variant in enumerate(study.of_item[item.item_id])
    ]
    return Asking(
        study=study,
        items=items,
        personas=known,
        people=people,
        checks=pl.DataFrame(rows, schema=ROWS | {"variant": pl.Int64}, orient="row"),
        choices=pl.DataFrame(
            choices,
            schema={
                "item_id": pl.String,
                "outcome": pl.String,
                "variant": pl.Int64,
                "asked": pl.String,
                "persona_format": pl.String,
            },
            orient="row",
        ),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Assignment:
    """ROWS that are asked, and what they and one pass of every item as it is written cost, in tokens."""

    rows: pl.DataFrame
    cost: int
    one_pass: int


def assign(asking: Asking, *, cost: Cost) -> Assignment:
    """The rows that are asked: all variants of everybody where the study declares it, else a balanced assignment.

    The latter takes the first variants, as many as cost less than MOST_COST passes: each person answers EACH of them, and each
    is answered by a like share of people.  `cost` counts the tokens of rows.
    """
    one_pass = cost(asking.rows(variants=1, each=1, checked=0))
    most, people = asking.study.most, len(asking.people)
    if asking.study.declared.assignment == "full":
        rows = asking.rows(variants=most, each=most, checked=people)
        return Assignment(rows, cost(rows), one_pass)

    def tried(variants: int, checked: int) -> Assignment:
        rows = asking.rows(variants=variants, each=EACH, checked=checked)
        return Assignment(rows, cost(rows), one_pass)

    def fits(assignment: Assignment) -> bool:
        return assignment.cost < MOST_COST * one_pass

    # Two people answer each variant at least.
    largest, checked = min(most, people), min(max(people // 10, FEWEST_CHECKED), MOST_CHECKED)
    while checked > 1:
        best = tried(largest, checked)
        if fits(best):
            return best
        fewest, unfit = min(EACH, largest), largest
        best = tried(fewest, checked)
        if fits(best):
            break
        checked //= 2
    while unfit - fewest > max(1, fewest // 16):
        middle = (fewest + unfit) // 2
        assignment = tried(middle, checked)
        if fits(assignment):
            fewest, best = middle, assignment
        else:
            unfit = middle
    return best
