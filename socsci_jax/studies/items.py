"""The items of a store, each made when it is asked for: hundreds of thousands of them have gigabytes of text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import polars as pl
import pyarrow as pa

from socsci_jax.studies.packed_texts import PackedTexts
from socsci_jax.studies.scale import Scale
from socsci_jax.studies.schema import Item

# Which item it is, and its words.
PLACE = ("item_id", "study_id", "condition", "outcome", "is_control")
TEXTS = ("stimulus", "question", "answer_format")
# What `Items` reads of the table besides PLACE.
READ = (*TEXTS, "scale", "factors")


class Items(Mapping[str, Item]):
    """Items by item_id, over the store's table of them; equal scales are one object, and texts are kept compressed."""

    def __init__(
        self,
        places: pl.DataFrame,
        pieces: Iterable[pa.Table],
        scale_of: Callable[[str, dict[str, Any]], Scale],
    ):
        """`places` are the columns PLACE of the table, `pieces` the columns READ of the same rows, a part of them at a time.

        `scale_of` makes a scale of an item's id and what is written of it; it is called once for each scale that is another one.
        """
        self.places = places
        self._rows = {item_id: row for row, item_id in enumerate(places["item_id"])}
        self._factors: list[dict[str, str] | None] = []
        self._scales: list[Scale] = []
        self._known: dict[str, Scale] = {}
        self._scale_of = scale_of
        self._texts = PackedTexts(map(self._taken, pieces), columns=TEXTS)

    def _taken(self, piece: pa.Table) -> pa.Table:
        """Takes scales and factors of a piece, and gives it back."""
        self._factors += [dict(of or ()) or None for of in piece["factors"].to_pylist()]
        scales = pl.Series(pl.from_arrow(piece["scale"]))
        for row, text in enumerate(scales.struct.json_encode()):
            if text not in self._known:
                self._known[text] = self._scale_of(self.places["item_id"][len(self._scales)], scales[row])
            self._scales.append(self._known[text])
        return piece

    def __getitem__(self, item_id: str) -> Item:
        row = self._rows[item_id]
        _, study_id, condition, outcome, is_control = self.places.row(row)
        stimulus, question, answer_format = self._texts[row]
        return Item(
            study_id=study_id,
            condition=condition,
            outcome=outcome,
            stimulus=stimulus,
            question=question,
            answer_format=answer_format,
            scale=self._scales[row],
            is_control=is_control,
            factors=dict(self._factors[row] or {}),
        )

    @property
    def texts(self) -> Iterable[tuple[str, ...]]:
        """Stimulus, question and answer format of every item, in the order of the table."""
        return self._texts

    @property
    def scales(self) -> dict[str, Scale]:
        """The scale of every item, without making the items."""
        return dict(zip(self._rows, self._scales, strict=True))

    @property
    def controls(self) -> list[str]:
        """The ids of the items of control conditions, without making the items."""
        return self.places.filter("is_control")["item_id"].to_list()

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)
