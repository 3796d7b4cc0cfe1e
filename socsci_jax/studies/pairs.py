"""What is to be predicted: pairs of an item and a persona, with the texts of both."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.studies.attributes import attribute_text
from socsci_jax.studies.schema import Item
from socsci_jax.studies.store import StudyStore
from socsci_jax.wording import counted

Persona = Mapping[str, object]
PAIR_COLUMNS = ("item_id", "study_id", "participant_id")


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of items and personas; no answers are needed, and none are here.

    `frame` has the columns item_id, study_id, participant_id and, where a split named it, part; one row a pair.
    `items` holds the item of each item_id.  `personas` holds the attributes of each (study_id, participant_id), as a
    prompt shows them; an attribute that is not known is None and excluded from the prompt.
    """

    frame: pl.DataFrame
    items: Mapping[str, Item]
    personas: Mapping[tuple[str, str], Mapping[str, str | None]]
    store: StudyStore | None = None  # that they are from

    def __len__(self) -> int:
        return self.frame.height

    def where(self, condition: pl.Expr) -> Pairs:
        """The pairs whose row fulfills `condition`."""
        return dataclasses.replace(self, frame=self.frame.filter(condition))

    @classmethod
    def of_store(cls, store: StudyStore, frame: pl.DataFrame) -> Pairs:
        """Pairs of a store's items and participants; `frame` has at least item_id, study_id and participant_id."""
        return cls(frame=frame, items=store.item_by_id, personas=store.personas, store=store)

    @classmethod
    def cross(cls, items: Item | Sequence[Item], personas: Sequence[Persona] | pl.DataFrame) -> Pairs:
        """Every item with every persona.

        `personas` are mappings or rows of attribute to value; they are numbered "0", "1", ... as participants, unless
        they have a key or column `participant_id`.  Values become text; None, NaN, empty texts and "NA" are not known.
        Raises InputError if there are none, or if an id or an item is given twice.
        """
        asked = [items] if isinstance(items, Item) else list(items)
        rows = personas.to_dicts() if isinstance(personas, pl.DataFrame) else [dict(row) for row in personas]
        if not asked or not rows:
            raise InputError(
                f"{counted(len(asked), 'item')} and {counted(len(rows), 'persona')} given; at least one of each is needed."
            )
        people = _with_ids(rows)
        by_id = {item.item_id: item for item in asked}
        if len(by_id) < len(asked):
            raise InputError(
                "an item is given twice; give each once, or tell conditions and outcomes apart by name."
            )
        frame = pl.DataFrame(
            [(item_id, item.study_id, person) for item_id, item in by_id.items() for person in people],
            schema=dict.fromkeys(PAIR_COLUMNS, pl.String),
            orient="row",
        )
        studies = {item.study_id for item in asked}
        known = {(study, person): row for study in studies for person, row in people.items()}
        return cls(frame=frame, items=by_id, personas=known)


def _with_ids(rows: list[dict[str, object]]) -> dict[str, dict[str, str | None]]:
    people: dict[str, dict[str, str | None]] = {}
    for number, row in enumerate(rows):
        given = row.pop("participant_id", None)
        person = str(number) if given is None else str(given)
        if person in people:
            raise InputError(f"personas: participant_id {person!r} is given twice; give each person once.")
        people[person] = {name: attribute_text(value) for name, value in row.items()}
    return people
