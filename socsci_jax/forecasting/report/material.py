"""What the page of a forecast is made of: its tables, joined and put in order once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from socsci_jax.forecasting.calibration import Calibration
from socsci_jax.studies.scale import format_value

ARM_OF = ("study", "outcome", "condition")
TIE = 1e-9  # effects that are no farther apart are equal but for rounding


@dataclasses.dataclass(frozen=True, eq=False)
class Material:
    """A forecast's tables by name (`files.TABLES`), what was learned, and the content of forecast.json."""

    tables: Mapping[str, pl.DataFrame]
    record: Mapping[str, Any]
    items: list[dict[str, Any]]
    calibration: Calibration

    @property
    def metadata(self) -> Mapping[str, Any]:
        return dict(self.record["metadata"])

    @property
    def effects(self) -> pl.DataFrame:
        """Effects with `p_highest` and `p_lowest`, the most likely highest arm of each outcome first, refused ones last."""
        joined = self.tables["effects"].join(
            self.tables["ranks"], on=ARM_OF, how="left", maintain_order="left"
        )
        first = pl.col("row").min().over("study", "outcome")
        return (
            joined.with_row_index("row")
            .sort(first, "p_highest", "expected", descending=[False, True, True], nulls_last=True)
            .drop("row")
        )

    @property
    def told(self) -> pl.DataFrame:
        return self.effects.filter(pl.col("abstains") == "")

    @property
    def refused(self) -> pl.DataFrame:
        return self.effects.filter(pl.col("abstains") != "")

    @property
    def studies(self) -> list[str]:
        return self.tables["effects"]["study"].unique(maintain_order=True).to_list()

    def largest(self, own: pl.DataFrame) -> pl.DataFrame:
        """The row with the effect that is farthest from zero, and those that tie with it."""
        ranked = own.sort(pl.col("expected").abs(), descending=True, maintain_order=True)
        return ranked.filter((pl.col("expected") - ranked["expected"].first()).abs() < TIE)

    def likely_highest(self, row: Mapping[str, Any]) -> tuple[str, float] | None:
        """The arm, or the reference, that most likely has the highest mean of the row's outcome, and how likely; None where
        an arm of the outcome has no forecast."""
        own = self.tables["ranks"].filter(
            pl.col("study") == row["study"], pl.col("outcome") == row["outcome"]
        )
        if own.is_empty():
            return None
        first = own.sort("p_highest", descending=True, maintain_order=True).row(0, named=True)
        return first["condition"], first["p_highest"]

    def highest_answer(self, row: Mapping[str, Any]) -> str:
        return highest_answer(self.items, self.record["composites"], row)

    def outcome_name(self, row: Mapping[str, Any]) -> str:
        """The outcome, after its study where the experiment has several."""
        return str(row["outcome"]) if len(self.studies) < 2 else f"{row['study']} · {row['outcome']}"

    def by_outcome(self, table: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
        """A table's rows of each outcome, under its name."""
        return [
            (self.outcome_name(own.row(0, named=True)), own)
            for own in table.partition_by("study", "outcome", maintain_order=True)
        ]


def highest_answer(
    items: Iterable[Mapping[str, Any]], composites: Iterable[Mapping[str, Any]], row: Mapping[str, Any]
) -> str:
    """The answer toward which a positive effect on the row's study and outcome goes, such as "completely (7)"; of a composite
    what it goes with in its parts."""
    own = (row["study"], row["outcome"])
    for composite in composites:
        if (composite["study"], composite["name"]) == own:
            turned = len(composite["reversed"])
            if turned == len(composite["of"]):
                return "lower values of its parts"
            return "higher values (lower of reversed parts)" if turned else "higher values of its parts"
    for item in items:
        if (item["study_id"], item["outcome"]) == own:
            scale = item["scale"]
            value = format_value(scale["levels"][-1])
            label = (scale["labels"] or ("",))[-1]
            return f"{label} ({value})" if label and label != value else value
    raise KeyError(f"no item asks {own[1]!r}")
