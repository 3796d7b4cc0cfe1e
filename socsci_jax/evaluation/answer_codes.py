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
    """The answers that are on a scale of levels, in the order of the labeled ones.

    `frame` has item_id, study_id, outcome, participant_id, part, `scale` (a number in `levels`), `code` (index of the
    level) and `weight`: the survey weight, 0 where only others of the item have one, 1 where nobody has.
    """

    frame: pl.DataFrame
    levels: tuple[tuple[Number, ...], ...]

    @classmethod
    def of(cls, labeled: pl.DataFrame, item_by_id: Mapping[str, Item]) -> AnswerCodes:
        """From answers with study_id, outcome and part, as `Split.label` gives them."""
        scales = scales_of(item_by_id)
        numbers: dict[tuple[Number, ...], int] = {}
        asked = labeled["item_id"].unique(maintain_order=True).to_list()
        of_levels = [(i, scales[i].levels) for i in asked if scales[i].kind == "levels"]
        items = pl.DataFrame(
            [(item_id, numbers.setdefault(levels, len(numbers))) for item_id, levels in of_levels],
            schema={"item_id": pl.String, "scale": pl.UInt32},
            orient="row",
        )
        codes = pl.DataFrame(
            [(k, float(level), code) for levels, k in numbers.items() for code, level in enumerate(levels)],
            schema={"scale": pl.UInt32, "value": pl.Float64, "code": pl.Int64},
            orient="row",
        )
        weight = pl.col("weight") if "weight" in labeled.columns else pl.lit(None, pl.Float64)
        known = weight.is_finite().fill_null(False) & (weight > 0)
        frame = (
            labeled.with_columns(weight=pl.when(known).then(weight))
            .select("item_id", "study_id", "outcome", "participant_id", "part", "value", "weight")
            .join(items, on="item_id", how="inner", maintain_order="left")
            .join(codes, on=["scale", "value"], how="inner", maintain_order="left")
            .drop("value")
        )
        if frame["weight"].count():
            weighted = pl.col("weight").count().over("item_id") > 0
            frame = frame.with_columns(pl.when(weighted).then(pl.col("weight").fill_null(0.0)).otherwise(1.0))
        else:
            frame = frame.with_columns(weight=pl.lit(1.0))
        return cls(frame, tuple(numbers))

    def of_part(self, part: str) -> AnswerCodes:
        return AnswerCodes(self.frame.filter(pl.col("part") == part), self.levels)

    @functools.cached_property
    def by_outcome(self) -> dict[Outcome, pl.DataFrame]:
        """The answers to each outcome, over its conditions."""
        parts = self.frame.partition_by("study_id", "outcome", "scale", as_dict=True, maintain_order=True)
        return {(study, outcome, self.levels[scale]): rows for (study, outcome, scale), rows in parts.items()}

    def counts(self, *, weighted: bool = True) -> dict[Outcome, np.ndarray]:
        """How often each level [L] of an outcome was answered, over its conditions."""
        return {
            key: np.bincount(
                rows["code"].to_numpy(),
                weights=rows["weight"].to_numpy() if weighted else None,
                minlength=len(key[2]),
            )
            for key, rows in self.by_outcome.items()
        }

    def counts_by_item(self) -> Iterator[tuple[list[str], tuple[Number, ...], np.ndarray]]:
        """Items that have the same levels, these levels [L], and how often each was answered [items, L]."""
        for (scale,), rows in self.frame.partition_by("scale", as_dict=True, maintain_order=True).items():
            ids = rows["item_id"].unique(maintain_order=True)
            at = rows["item_id"].replace_strict(ids, pl.int_range(len(ids), eager=True)).to_numpy()
            size = len(self.levels[scale])
            flat = np.bincount(
                at * size + rows["code"].to_numpy(),
                weights=rows["weight"].to_numpy(),
                minlength=len(ids) * size,
            )
            yield ids.to_list(), self.levels[scale], flat.reshape(len(ids), size)
