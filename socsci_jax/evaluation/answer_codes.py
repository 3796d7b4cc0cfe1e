"""Answers as level indices, of all items at once: a store has hundreds of thousands of items with few answers each."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl

from socsci_jax.studies.items import Items
from socsci_jax.studies.scale import Number, Scale
from socsci_jax.studies.schema import Item

Outcome = tuple[str, str, tuple[Number, ...]]  # study, outcome, levels


def scales_of(item_by_id: Mapping[str, Item]) -> Mapping[str, Scale]:
    """The scale of every item; those of a store without making its items, whose texts take gigabytes."""
    if isinstance(item_by_id, Items):
        return item_by_id.scales
    return {item_id: item.scale for item_id, item in item_by_id.items()}


def controls_of(item_by_id: Mapping[str, Item]) -> list[str]:
    """The ids of items of control conditions."""
    if isinstance(item_by_id, Items):
        return item_by_id.controls
    return [item_id for item_id, item in item_by_id.items() if item.is_control]


@dataclasses.dataclass(frozen=True)
class AnswerCodes:
    """The answers [A] that are on a scale of levels, in the order of the labeled ones.

    `item_a` and `outcome_a` are numbers in `items` and `outcomes`, `code_a` the index of the level, `weight_a` the survey
    weight: 0 where only others of the item have one, 1 where nobody has.
    """

    items: tuple[str, ...]
    outcomes: tuple[Outcome, ...]
    participants: pl.Series
    item_a: np.ndarray
    outcome_a: np.ndarray
    code_a: np.ndarray
    weight_a: np.ndarray

    @classmethod
    def of(cls, labeled: pl.DataFrame, item_by_id: Mapping[str, Item]) -> AnswerCodes:
        """From answers with study_id and outcome, as `Split.label` gives them."""
        scales = scales_of(item_by_id)
        asked = labeled.select("item_id", "study_id", "outcome").unique("item_id", maintain_order=True)
        items: list[str] = []
        of_items: list[int] = []
        outcomes: dict[Outcome, int] = {}
        for item_id, study, outcome in asked.iter_rows():
            if scales[item_id].kind == "levels":
                items.append(item_id)
                place = (study, outcome, scales[item_id].levels)
                of_items.append(outcomes.setdefault(place, len(outcomes)))
        places = pl.DataFrame({"item_id": pl.Series(items, dtype=pl.String)}).with_columns(
            item=pl.int_range(pl.len(), dtype=pl.UInt32), of=pl.Series(of_items, dtype=pl.UInt32)
        )
        levels = pl.DataFrame(
            [(k, float(level), code) for (*_, at), k in outcomes.items() for code, level in enumerate(at)],
            schema={"of": pl.UInt32, "value": pl.Float64, "code": pl.Int32},
            orient="row",
        )
        weight = pl.col("weight") if "weight" in labeled.columns else pl.lit(None, pl.Float64)
        known = weight.is_finite().fill_null(False) & (weight > 0)
        frame = (
            labeled.select("item_id", "participant_id", "value", weight=pl.when(known).then(weight))
            .join(places, on="item_id", how="inner", maintain_order="left")
            .drop("item_id")
            .join(levels, on=["of", "value"], how="inner", maintain_order="left")
        )
        weighted = pl.col("weight").count().over("item") > 0 if frame["weight"].count() else pl.lit(False)
        weights = pl.when(weighted).then(pl.col("weight").fill_null(0.0)).otherwise(1.0)
        return cls(
            items=tuple(items),
            outcomes=tuple(outcomes),
            participants=frame["participant_id"],
            item_a=frame["item"].to_numpy(),
            outcome_a=frame["of"].to_numpy(),
            code_a=frame["code"].to_numpy(),
            weight_a=frame.select(weights).to_series().to_numpy(),
        )

    @functools.cached_property
    def sizes(self) -> np.ndarray:
        """How many levels each outcome has."""
        return np.array([len(levels) for *_, levels in self.outcomes], dtype=int)

    def counts(self, *, weighted: bool = True) -> dict[Outcome, np.ndarray]:
        """How often each level [L] of an outcome was answered, over its conditions."""
        starts = np.concatenate([[0], np.cumsum(self.sizes)])
        weights = self.weight_a if weighted else None
        flat = np.bincount(starts[self.outcome_a] + self.code_a, weights=weights, minlength=starts[-1])
        return dict(zip(self.outcomes, np.split(flat, starts[1:-1]), strict=True)) if self.outcomes else {}

    def mean_shares(self) -> dict[int, np.ndarray]:
        """Mean histogram [L] of items by their number of levels, each item counting once, oriented as it is."""
        totals = np.bincount(self.item_a, weights=self.weight_a, minlength=len(self.items))
        means = {}
        size_a = self.sizes[self.outcome_a]
        for size in np.unique(size_a).tolist():
            at = size_a == size
            shares = self.weight_a[at] / totals[self.item_a[at]]
            sums = np.bincount(self.code_a[at], weights=shares, minlength=size)
            means[size] = sums / np.unique(self.item_a[at]).size
        return means

    def shares_by_item(self) -> Iterator[tuple[str, Outcome, np.ndarray]]:
        """Each item with answers, its outcome, and the shares [L] of its levels."""
        order = np.argsort(self.item_a, kind="stable")
        edges = np.flatnonzero(np.diff(self.item_a[order])) + 1
        for at in np.split(order, edges) if order.size else ():
            outcome = self.outcomes[self.outcome_a[at[0]]]
            own = np.bincount(self.code_a[at], weights=self.weight_a[at], minlength=len(outcome[2]))
            yield self.items[self.item_a[at[0]]], outcome, own / own.sum()
