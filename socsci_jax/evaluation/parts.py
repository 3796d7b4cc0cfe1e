"""What a part of a split is to the evaluation: the items that can be judged, and what had to be left out."""

from __future__ import annotations

import collections
import dataclasses
import functools
import zlib

import numpy as np
import polars as pl

from socsci_jax.evaluation import intervals
from socsci_jax.evaluation.cells import Cell, PredictionIndex, answers_by_item
from socsci_jax.studies.splits import PARTS, TRAIN
from socsci_jax.studies.store import StudyStore


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """The cells of one part, and of what its figures are averages: cells [C] within studies [S].

    `counts` says what was met while the cells were joined, `left_out` (item_id, reason) which items are in no
    average.  The properties need at least one cell.
    """

    name: str
    cells: tuple[Cell, ...]
    counts: collections.Counter[str]
    left_out: tuple[tuple[str, str], ...]
    minimum_n: int
    seed: int

    @property
    def source(self) -> str:
        """ "exact" if every cell has probabilities, else "sampled"."""
        return "exact" if all(cell.probs_nl is not None for cell in self.cells) else "sampled"

    @functools.cached_property
    def n_c(self) -> np.ndarray:
        """Answers of each cell."""
        return np.array([cell.codes_n.size for cell in self.cells])

    @functools.cached_property
    def averaged_c(self) -> np.ndarray:
        """Which cells have answers enough to enter averages."""
        return self.n_c >= self.minimum_n

    @functools.cached_property
    def studies(self) -> tuple[str, ...]:
        return tuple(sorted({cell.item.study_id for cell in self.cells}))

    @functools.cached_property
    def study_c(self) -> np.ndarray:
        """Number of each cell's study."""
        return self.study_numbers([cell.item.study_id for cell in self.cells])

    @functools.cached_property
    def counts_bs(self) -> np.ndarray:
        """How often each study was drawn [1 + B, S], the same for all figures of the part."""
        return intervals.resample_counts(len(self.studies), rng=self.rng("resamples"))

    def study_numbers(self, studies: list[str]) -> np.ndarray:
        number = {study: i for i, study in enumerate(self.studies)}
        return np.array([number[study] for study in studies])

    def rng(self, purpose: str) -> np.random.Generator:
        """A stream of its own for each purpose: one item's figures do not depend on which others are evaluated."""
        return np.random.default_rng([self.seed, zlib.crc32(f"{self.name}/{purpose}".encode())])


def find_parts(
    labeled: pl.DataFrame, store: StudyStore, index: PredictionIndex, *, minimum_n: int, seed: int
) -> list[Part]:
    """The parts of `labeled`, those that a split holds out first; some may be without cells."""
    present = set(labeled["part"].unique())
    ordered = [p for p in (*PARTS, TRAIN) if p in present] + sorted(present - {*PARTS, TRAIN})
    return [_part(name, labeled, store, index, minimum_n=minimum_n, seed=seed) for name in ordered]


def _part(
    name: str,
    labeled: pl.DataFrame,
    store: StudyStore,
    index: PredictionIndex,
    *,
    minimum_n: int,
    seed: int,
) -> Part:
    cells, counts, left_out = [], collections.Counter(), []
    for item_id, answers in answers_by_item(labeled.filter(pl.col("part") == name)):
        item = store.item_by_id[item_id]
        if item_id in index and item.scale.kind != "levels":
            counts["items_not_levels"] += 1
            left_out.append((item_id, f"its scale is {item.scale.kind}, not a list of levels"))
            continue
        cell = index.cell(item_id, item, answers) if item_id in index else None
        if cell is None:
            counts["items_without_prediction"] += 1
            counts["answers_without_prediction"] += answers.height
            continue
        counts["answers_without_prediction"] += cell.answers_without_prediction
        counts["answers_off_scale"] += cell.answers_off_scale
        if cell.codes_n.size < minimum_n:
            counts["items_below_minimum_n"] += 1
            left_out.append((item_id, f"{cell.codes_n.size} answers, fewer than {minimum_n}: in no average"))
        cells.append(cell)
    return Part(
        name=name,
        cells=tuple(cells),
        counts=counts,
        left_out=tuple(left_out),
        minimum_n=minimum_n,
        seed=seed,
    )


def left_out_table(parts: list[Part], store: StudyStore) -> pl.DataFrame:
    """scope, item_id, reason, study_id, condition and outcome of the items that are in no average."""
    rows = [(part.name, *item) for part in parts for item in part.left_out]
    schema = {"scope": pl.String, "item_id": pl.String, "reason": pl.String}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    columns = store.items.select("item_id", "study_id", "condition", "outcome")
    return frame.join(columns, on="item_id", how="left", maintain_order="left")
