"""What a reader must know besides the values: who the people were, and what they read and were asked."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import polars as pl

from socsci_jax.evaluation.demographics import banded
from socsci_jax.evaluation.parts import Items, Part
from socsci_jax.studies.scale import format_value
from socsci_jax.studies.store import StudyStore
from socsci_jax.wording import counted

MOST_VALUES = 10
_PEOPLE = {"part": pl.String, "attribute": pl.String, "value": pl.String, "n": pl.Int64}
_ITEMS: dict[str, Any] = {
    "item_id": pl.String,
    "study": pl.String,
    "condition": pl.String,
    "outcome": pl.String,
    "stimulus": pl.String,
    "question": pl.String,
    "answer_format": pl.String,
    "is_control": pl.Boolean,
    "levels": pl.List(pl.String),
    "labels": pl.List(pl.String),
}
_STUDIES = {"study": pl.String, "title": pl.String, "source": pl.String, "license": pl.String}


def _empty(schema: Mapping[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(schema=schema)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Background:
    """`people`: how many had which value of an attribute (null: not known; attribute null: all of the part).

    `items`: the texts of everything that was judged.  `studies`: titles, sources and licenses, where a store has them.
    """

    people: pl.DataFrame = dataclasses.field(default_factory=lambda: _empty(_PEOPLE))
    items: pl.DataFrame = dataclasses.field(default_factory=lambda: _empty(_ITEMS))
    studies: pl.DataFrame = dataclasses.field(default_factory=lambda: _empty(_STUDIES))


class Attributed(Items, Protocol):
    """Items, and people of whom attributes are known."""

    @property
    def participants(self) -> pl.DataFrame: ...


def background(parts: Sequence[Part], store: Attributed) -> Background:
    """The background of what the parts judge."""
    studies = _empty(_STUDIES)
    if isinstance(store, StudyStore):
        studies = store.studies.select(pl.col("study_id").alias("study"), "title", "source", "license")
    judged = dict.fromkeys(cell.item_id for part in parts for cell in part.cells)
    return Background(
        people=pl.DataFrame(list(_people(parts, store)), schema=_PEOPLE, orient="row"),
        items=_items(list(judged), store),
        studies=studies,
    )


def _items(ids: Sequence[str], store: Items) -> pl.DataFrame:
    items = [store.item_by_id[item_id] for item_id in ids]
    levels = [[format_value(level) for level in item.scale.levels] for item in items]
    labels = [list(item.scale.labels or [""] * len(own)) for item, own in zip(items, levels, strict=True)]
    texts = ("condition", "outcome", "stimulus", "question", "answer_format", "is_control")
    columns = {
        "item_id": ids,
        "study": [item.study_id for item in items],
        **{name: [getattr(item, name) for item in items] for name in texts},
        "levels": levels,
        "labels": labels,
    }
    return pl.DataFrame({name: pl.Series(name, columns[name], dtype=kind) for name, kind in _ITEMS.items()})


def _people(parts: Sequence[Part], store: Attributed) -> Iterable[tuple[str, str | None, str | None, int]]:
    """Rows of `Background.people`; the same values of an attribute in every part, those of most people of all parts."""
    heights, by_attribute = {}, collections.defaultdict[str, dict[str, collections.Counter[str]]](dict)
    for one in parts:
        people, known = _known_of(one, store)
        heights[one.name] = people.height
        yield one.name, None, None, people.height
        for name, values in known.to_dict().items():
            values = (banded(values) if name == "age" else values).cast(pl.String)
            by_attribute[name][one.name] = collections.Counter(values.drop_nulls().to_list())
    for name, counts_of in by_attribute.items():
        together = sum(counts_of.values(), collections.Counter[str]())
        # Among equals the alphabet decides, so that two runs list the same.
        most = sorted(together, key=lambda value: (-together[value], value))[:MOST_VALUES]
        others = counted(len(together) - len(most), "other value")
        counts_in = {part: counts_of.get(part, collections.Counter[str]()) for part in heights}
        unknown = {part: height - counts_in[part].total() for part, height in heights.items()}
        for part, counts in counts_in.items() if together else ():
            yield from ((part, name, value, counts[value]) for value in sorted(most))
            if len(together) > len(most):
                yield part, name, others, counts.total() - sum(counts[value] for value in most)
            if any(unknown.values()):
                yield part, name, None, unknown[part]


def _known_of(part: Part, store: Attributed) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The people of a part, and a column for each attribute of those of whom attributes are known."""
    key = ["study_id", "participant_id"]
    judged = sorted({(cell.item.study_id, person) for cell in part.cells for person in cell.people_n})
    people = pl.DataFrame(judged, schema=dict.fromkeys(key, pl.String), orient="row")
    if "attributes" not in store.participants.columns:
        return people, pl.DataFrame()
    known = people.join(store.participants.select(*key, "attributes").unique(key, keep="last"), on=key)
    return people, known["attributes"].struct.unnest() if known.height else pl.DataFrame()
