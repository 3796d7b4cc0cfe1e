"""Variants of an experiment's items: other orders of options, wordings and formats of the persona that should not matter."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.studies.answer_formats import answer_format, listed_levels
from socsci_jax.studies.pairs import Pairs
from socsci_jax.studies.persona_formats import PersonaFormatName
from socsci_jax.studies.predictions import Predictions
from socsci_jax.studies.scale import Number, Scale, format_value
from socsci_jax.studies.schema import Item
from socsci_jax.studies.specification_parts import MOST_ORDERS, Multiverse
from socsci_jax.wording import counted

# Attributes of more values are no question that a model answers with a number.
MOST_VALUES = 20
# Of past studies, some of which list many options, so many orders stand for all.
PAST_ORDERS = 24
DRIFT = "drift: "
A = TypeVar("A")
B = TypeVar("B")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variant:
    """One way of asking an item: what is read, and how the person is described."""

    order: str
    wording: str
    persona_format: PersonaFormatName
    item: Item

    @property
    def name(self) -> str:
        """The three choices in words."""
        order = f"options {self.order}" if self.order else ""
        return ", ".join(filter(None, (order, self.wording, self.persona_format)))


@dataclasses.dataclass(frozen=True, eq=False)
class StudyVariants:
    """The multiverse of one study.

    `of_item` holds the variants of each item id, the item itself first; items of one outcome have the same choices in the
    same order, of which the first so many are balanced over each choice.  `controls` names outcomes that no arm can move.
    """

    declared: Multiverse
    items: tuple[Item, ...]
    of_item: Mapping[str, tuple[Variant, ...]]
    controls: frozenset[str] = frozenset()

    @property
    def study_id(self) -> str:
        return self.items[0].study_id

    @property
    def varies(self) -> bool:
        """Whether more is asked than the items as they are written."""
        return self.most > 1 or bool(self.declared.swaps or self.declared.drift)

    @property
    def most(self) -> int:
        """Variants of the outcome that has most."""
        return max(map(len, self.of_item.values()))


def variants_of(
    items: Sequence[Item],
    declared: Multiverse,
    *,
    wordings: Mapping[str, Mapping[str, str]] | None = None,
    controls: Sequence[str] = (),
) -> StudyVariants:
    """The multiverse of the items of one study.

    Args:
      items: every outcome in every arm.
      declared: which choices are varied.
      wordings: other texts of the question of each item id, by name.
      controls: outcomes that no arm can move.

    Raises InputError if orders are to be varied and no item lists labeled options, or if `all` of them are too many.
    """
    formats = list(dict.fromkeys(("list", *declared.persona_formats)))
    orders = _same_in_all_arms(items, {item.item_id: orders_of(item, declared) for item in items})
    if declared.orders is not None and all(len(own) == 1 for own in orders.values()):
        raise InputError(
            "multiverse.orders: no outcome lists labeled options; give labels to a scale, without an answer_format of its own."
        )
    of_item = {}
    for item in items:
        worded = [("", item.question), *(wordings or {}).get(item.item_id, {}).items()]
        of_item[item.item_id] = tuple(
            Variant(
                order=" ".join(map(format_value, order)),
                wording=wording[0],
                persona_format=persona_format,
                item=_asked(item, order, wording[1]),
            )
            for persona_format, (order, wording) in balanced_product(
                formats, balanced_product(orders[item.item_id], worded)
            )
        )
    return StudyVariants(declared, tuple(items), of_item, frozenset(controls))


def _same_in_all_arms(
    items: Sequence[Item], orders: dict[str, list[tuple[Number, ...]]]
) -> dict[str, list[tuple[Number, ...]]]:
    """The same orders, but none where arms of an outcome list different options."""
    of_outcome: dict[str, set[tuple[tuple[Number, ...], ...]]] = {}
    for item in items:
        of_outcome.setdefault(item.outcome, set()).add(tuple(orders[item.item_id]))
    return {i.item_id: orders[i.item_id] if len(of_outcome[i.outcome]) == 1 else [()] for i in items}


def _asked(item: Item, order: Sequence[Number], question: str) -> Item:
    if order == listed_levels(item.scale) or not order:
        return dataclasses.replace(item, question=question)
    told = answer_format(item.scale, order=order)
    return dataclasses.replace(item, question=question, answer_format=told)


def orders_of(item: Item, declared: Multiverse) -> list[tuple[Number, ...]]:
    """Orders in which the item's options are listed, its own first and the reverse second; the rest are shuffled.

    An item whose answer format was not written from its scale, or that lists no labels, has one order.
    """
    listed = listed_levels(item.scale)
    if declared.orders is None or len(listed) < 2 or item.answer_format != answer_format(item.scale):
        return [listed]
    wanted = 2 if declared.orders == "reversed" else declared.orders
    number = math.factorial(len(listed))
    if wanted == "all":
        if number > MOST_ORDERS:
            raise InputError(
                f"multiverse.orders: outcome {item.outcome!r} lists {counted(len(listed), 'option')}, which have {number:,} orders; "
                f"write how many of them to take, up to {MOST_ORDERS}."
            )
        wanted = number
    rng = np.random.default_rng(0)
    orders = dict.fromkeys((listed, listed[::-1]))
    if number <= MOST_ORDERS:
        every = list(itertools.permutations(listed))
        orders |= dict.fromkeys(every[i] for i in rng.permutation(number))
    while len(orders) < min(wanted, number):
        orders[tuple(listed[i] for i in rng.permutation(len(listed)))] = None
    return list(orders)[:wanted]


def balanced_product(first: Sequence[A], second: Sequence[B]) -> list[tuple[A, B]]:
    """All pairs, the two first values together first; among the first so many each value stands about equally often.

    >>> balanced_product("ab", [1, 2])
    [('a', 1), ('b', 2), ('a', 2), ('b', 1)]
    """
    n, m = len(first), len(second)
    return [(first[i % n], second[(i + i // math.lcm(n, m)) % m]) for i in range(n * m)]


def varied_past(pairs: Pairs, declared: Multiverse) -> list[tuple[StudyVariants, pl.DataFrame]]:
    """Past studies in the orders and formats that an experiment declares, each with the personas that pairs ask of it."""
    varied = []
    for (study,), own in pairs.frame.group_by(["study_id"], maintain_order=True):
        items = [pairs.items[item_id] for item_id in own["item_id"].unique(maintain_order=True)]
        orders = PAST_ORDERS if declared.orders == "all" else declared.orders
        past = Multiverse(orders=orders, persona_formats=declared.persona_formats)
        if all(len(orders_of(item, past)) == 1 for item in items):
            past = Multiverse(persona_formats=declared.persona_formats)
        people = own["participant_id"].unique(maintain_order=True)
        rows = [{"participant_id": person, **pairs.personas[str(study), person]} for person in people]
        schema = dict.fromkeys(rows[0], pl.String)
        varied.append((variants_of(items, past), pl.DataFrame(rows, schema=schema)))
    return varied


def drift_items(study: StudyVariants, personas: pl.DataFrame) -> list[Item]:
    """A question for each attribute under `drift`, in each arm; levels are the values that personas have.

    Raises InputError for an attribute that personas lack, or whose values are too many to choose from.
    """
    arms = {(item.condition, item.stimulus): item for item in study.items}
    questions = []
    for attribute, question in study.declared.drift.items():
        values = attribute_values(personas, attribute, key="drift")
        scale = Scale.of_levels(dict(enumerate(values, start=1)), origin="codebook", nominal=True)
        asked = question or f"What is your {attribute.replace('_', ' ')}?"
        for arm in arms.values():
            questions.append(
                dataclasses.replace(
                    arm,
                    outcome=DRIFT + attribute,
                    question=f"{asked}\n",
                    answer_format=answer_format(scale),
                    scale=scale,
                )
            )
    return questions


def check_variants(studies: Sequence[StudyVariants], personas: pl.DataFrame) -> None:
    """Raises InputError if attributes are to be swapped or asked for that personas do not have."""
    for study in studies:
        for attribute in study.declared.swaps:
            attribute_values(personas, attribute, key="swaps")
        drift_items(study, personas)


def attribute_values(personas: pl.DataFrame, attribute: str, *, key: str) -> list[str]:
    """The values that personas have of an attribute; InputError unless there are 2 to MOST_VALUES."""
    if attribute not in personas.columns:
        known = [name for name in personas.columns if name != "participant_id"]
        raise InputError(f"multiverse.{key}: personas have no attribute {attribute!r}; they have {known}.")
    values: list[str] = personas[attribute].drop_nulls().unique().sort().to_list()
    if not 2 <= len(values) <= MOST_VALUES:
        raise InputError(
            f"multiverse.{key}: number of values that personas have of {attribute!r} is {len(values):,}; allowed are 2 to "
            f"{MOST_VALUES}."
        )
    return values


@dataclasses.dataclass(frozen=True, eq=False)
class VariantPredictions:
    """What a model gave to the variants of a study.

    `predictions` has a row for each item, person and `variant` (its name); the item is that of the experiment, however it was
    asked.  `checks` has the columns of CHECKED: the same for prompts that only test the model.  Tokens that were computed:
    `cost` of all of it, `one_pass` of every item as it is written with every person.
    """

    predictions: Predictions
    checks: pl.DataFrame
    cost: int
    one_pass: int


# `purpose`: base (as the experiment is written), swap (the person has another's value of `attribute`), drift (the attribute is
# hidden, and asked for).
CHECKED: dict[str, pl.DataType | type[pl.DataType]] = {
    **dict.fromkeys(("purpose", "attribute", "item_id", "participant_id"), pl.String),
    "probs": pl.List(pl.Float64),
}
