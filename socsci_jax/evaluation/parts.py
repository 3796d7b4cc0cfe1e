"""What a part of a split is to the evaluation: the items that can be judged, and what had to be excluded."""

from __future__ import annotations

import collections
import dataclasses
import functools
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl

from socsci_jax.evaluation import resampling
from socsci_jax.evaluation.cells import Cell, PredictionIndex, answers_by_item
from socsci_jax.evaluation.resampling import ReplicateKey, Replicates, Resampling
from socsci_jax.evaluation.table import EXACT, SAMPLED
from socsci_jax.studies.schema import Item
from socsci_jax.studies.splits import PARTS, TRAIN
from socsci_jax.wording import counted


class Items(Protocol):
    """Where items are looked up: a study store, or a table made into one."""

    @property
    def item_places(self) -> pl.DataFrame: ...
    @property
    def item_by_id(self) -> Mapping[str, Item]: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """The cells of one part, and of what its metrics are averages: cells [C] within studies [S].

    `counts` says what was met while the cells were joined, `excluded` (item_id, reason) which items are in no
    average, `resample` what is resampled (None: by rule).  The properties need at least one cell.
    """

    name: str
    cells: tuple[Cell, ...]
    counts: collections.Counter[str]
    excluded: tuple[tuple[str, str], ...]
    minimum_n: int
    seed: int
    resample: str | None = None
    # What was averaged, kept for paired comparisons with another predictor.
    replicates: dict[ReplicateKey, Replicates] = dataclasses.field(default_factory=dict, compare=False)

    def keep(
        self,
        metric: str,
        values_b: np.ndarray,
        *,
        clusters: int,
        normalization: str | None,
        source: str | None,
        predictor: str,
        group: str | None = None,
    ) -> None:
        """Keeps the replicates of one value of the part as a whole."""
        key = ReplicateKey(self.name, metric, normalization, source, predictor, group)
        self.replicates[key] = Replicates(values_b, self.resampling, clusters)

    @functools.cached_property
    def source(self) -> str:
        """EXACT if every cell has probabilities, else SAMPLED."""
        return EXACT if all(cell.probs_nl is not None for cell in self.cells) else SAMPLED

    @functools.cached_property
    def n_c(self) -> np.ndarray:
        """Answers of each cell."""
        return np.array([cell.codes_n.size for cell in self.cells])

    @functools.cached_property
    def averaged_c(self) -> np.ndarray:
        """Which cells have answers enough to enter averages."""
        return self.n_c >= self.minimum_n

    @functools.cached_property
    def places(self) -> dict[str, pl.Series]:
        """Study, condition and outcome of the cells that enter averages; tables of every metric share these columns."""
        items = [cell.item for cell, used in zip(self.cells, self.averaged_c, strict=True) if used]
        return {
            "study": pl.Series([item.study_id for item in items], dtype=pl.String),
            "condition": pl.Series([item.condition for item in items], dtype=pl.String),
            "outcome": pl.Series([item.outcome for item in items], dtype=pl.String),
        }

    @functools.cached_property
    def studies(self) -> tuple[str, ...]:
        return tuple(sorted({cell.item.study_id for cell in self.cells}))

    @functools.cached_property
    def study_c(self) -> np.ndarray:
        """Number of each cell's study."""
        return self.study_numbers([cell.item.study_id for cell in self.cells])

    @functools.cached_property
    def resampling(self) -> Resampling:
        """What is resampled, the same draws for all metrics of the part."""
        return resampling.choose(
            self.studies,
            sorted({cell.item.condition for cell in self.cells}),
            sorted({cell.item.outcome for cell in self.cells}),
            people=len({(cell.item.study_id, person) for cell in self.cells for person in cell.people_n}),
            asked=self.resample,
            rng=self.rng("resamples"),
            rng_within=self.rng("outcomes"),
        )

    @functools.cached_property
    def cluster_c(self) -> np.ndarray:
        """Number of each cell's cluster; of its study where people are resampled."""
        unit = self.resampling.unit
        place = {"conditions": "condition", "outcomes": "outcome"}.get(unit, "study_id")
        return self.resampling.clusters_of([getattr(cell.item, place) for cell in self.cells])

    def person_weights(self) -> list[np.ndarray]:
        """How often each person of each cell was drawn, [B, N] for each cell: a Poisson bootstrap of people.

        A person has the same weight in every item of the study.
        """
        drawn: dict[str, np.ndarray] = {}
        rows: dict[str, dict[str, int]] = {}
        for study in self.studies:
            people = sorted({p for c in self.cells if c.item.study_id == study for p in c.people_n})
            rows[study] = {person: k for k, person in enumerate(people)}
            shape = (resampling.PARTICIPANT_RESAMPLES, len(people))
            drawn[study] = self.rng(f"people of {study}").poisson(1.0, size=shape).astype(np.int8)
        weights = []
        for cell in self.cells:
            row_of = rows[cell.item.study_id]
            weights.append(drawn[cell.item.study_id][:, [row_of[person] for person in cell.people_n]])
        return weights

    def study_numbers(self, studies: list[str]) -> np.ndarray:
        number = {study: i for i, study in enumerate(self.studies)}
        return np.array([number[study] for study in studies])

    def rng(self, purpose: str) -> np.random.Generator:
        """A stream of its own for each purpose: one item's values do not depend on which others are evaluated."""
        return np.random.default_rng([self.seed, zlib.crc32(f"{self.name}/{purpose}".encode())])


def find_parts(
    labeled: pl.DataFrame,
    store: Items,
    index: PredictionIndex,
    *,
    minimum_n: int,
    seed: int,
    resample: str | None = None,
) -> list[Part]:
    """The parts of `labeled`, those that a split holds out first; some may be without cells."""
    present = set(labeled["part"].unique())
    ordered = [p for p in (*PARTS, TRAIN) if p in present] + sorted(present - {*PARTS, TRAIN})
    parts = (_part(name, labeled, store, index, minimum_n=minimum_n, seed=seed) for name in ordered)
    return [dataclasses.replace(part, resample=resample) for part in parts]


def _part(
    name: str,
    labeled: pl.DataFrame,
    store: Items,
    index: PredictionIndex,
    *,
    minimum_n: int,
    seed: int,
) -> Part:
    cells, excluded = [], []
    counts: collections.Counter[str] = collections.Counter()
    of_part = pl.col("part") == name
    predicted = labeled.filter(of_part, pl.col("item_id").is_in(index.items.implode()))
    asked, answered = labeled.select(
        pl.col("item_id").filter(of_part).n_unique().alias("items"), of_part.sum().alias("answers")
    ).row(0)
    counts["items_without_prediction"] = asked - predicted["item_id"].n_unique()
    counts["answers_without_prediction"] = answered - predicted.height
    for item_id, answers in answers_by_item(predicted):
        item = store.item_by_id[item_id]
        if item.scale.kind != "levels":
            counts["items_not_levels"] += 1
            excluded.append((item_id, f"its scale is {item.scale.kind}, not a list of levels"))
            continue
        cell = index.cell(item_id, item, answers)
        if cell is None:
            counts["items_without_prediction"] += 1
            counts["answers_without_prediction"] += answers.height
            continue
        counts["answers_without_prediction"] += cell.answers_without_prediction
        counts["answers_off_scale"] += cell.answers_off_scale
        if cell.codes_n.size < minimum_n:
            counts["items_below_minimum_n"] += 1
            excluded.append(
                (item_id, f"{counted(cell.codes_n.size, 'answer')}, fewer than {minimum_n}: in no average")
            )
        cells.append(cell)
    return Part(
        name=name,
        cells=tuple(cells),
        counts=counts,
        excluded=tuple(excluded),
        minimum_n=minimum_n,
        seed=seed,
    )


def excluded_table(parts: list[Part], store: Items) -> pl.DataFrame:
    """part, item_id, reason, study_id, condition and outcome of the items that are in no average."""
    rows = [(part.name, *item) for part in parts for item in part.excluded]
    schema = {"part": pl.String, "item_id": pl.String, "reason": pl.String}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    columns = store.item_places.select("item_id", "study_id", "condition", "outcome")
    return frame.join(columns, on="item_id", how="left", maintain_order="left")


class People(Items, Protocol):
    """Items and people that answers belong to: a study store, or a table made into one."""

    @property
    def path(self) -> Path: ...
    @property
    def content_hash(self) -> str: ...
    @property
    def participants(self) -> pl.DataFrame: ...
