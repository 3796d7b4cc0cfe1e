"""The items of a store, each made when it is asked for: hundreds of thousands of them have gigabytes of text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import polars as pl

from socsci_jax.studies.scale import Scale
from socsci_jax.studies.schema import Item

_TEXTS = ("study_id", "condition", "outcome", "stimulus", "question", "answer_format")
_ROWS_AT_A_TIME = 65_536


class Items(Mapping[str, Item]):
    """Items by item_id, over the store's table of them; equal scales are one object."""

    def __init__(self, items: pl.DataFrame, scale_of_row: Callable[[int], Scale]):
        """`scale_of_row` reads the scale of a row of `items`; it is called once for each scale that is another one."""
        self._rows = {item_id: row for row, item_id in enumerate(items["item_id"])}
        self._texts = items.select(_TEXTS)
        self._is_control = items["is_control"].to_list()
        self._factors = [dict(of or {}) or None for of in items["factors"].to_list()]
        self._scales = _scales(items["scale"], scale_of_row)

    def __getitem__(self, item_id: str) -> Item:
        row = self._rows[item_id]
        return Item(
            **dict(zip(_TEXTS, self._texts.row(row), strict=True)),
            scale=self._scales[row],
            is_control=self._is_control[row],
            factors=dict(self._factors[row] or {}),
        )

    @property
    def scales(self) -> dict[str, Scale]:
        """The scale of every item, without making the items."""
        return dict(zip(self._rows, self._scales, strict=True))

    @property
    def controls(self) -> list[str]:
        """The ids of the items of control conditions, without making the items."""
        return [item_id for item_id, row in self._rows.items() if self._is_control[row]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def _scales(written: pl.Series, scale_of_row: Callable[[int], Scale]) -> list[Scale]:
    """The scale of each row; there are many items, and few scales."""
    known: dict[str, Scale] = {}
    scales: list[Scale] = []
    for some in written.to_frame("scale").iter_slices(_ROWS_AT_A_TIME):
        for text in some["scale"].struct.json_encode():
            if text not in known:
                known[text] = scale_of_row(len(scales))
            scales.append(known[text])
    return scales
