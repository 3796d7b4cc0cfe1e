"""The evaluation table: how a row of it is made, and how its figures are read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import polars as pl

from socsci_jax.evaluation.classification import Coding
from socsci_jax.evaluation.intervals import Estimate
from socsci_jax.studies.schema import EVALUATION_SCHEMA

MODEL = "model"
BASELINES = ("uniform", "training_shape", "pooled", "split_half")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """`frame` is the evaluation table (EVALUATION_SCHEMA); the other tables hold what the report draws.

    All but `frame`, `left_out` and `coding` are about items whose levels have an order; `coding` is about the others.

    In `frame` a row with condition and outcome is one item (n = human answers; half of them for split_half), a
    row with only a study is a mean over its items (n = items), a row with neither is a mean over studies
    (n = studies; for effects the contrasts or condition means).  `scope` is the part of the split.
    """

    frame: pl.DataFrame
    counts: Mapping[str, Mapping[str, int]]
    notes: tuple[str, ...]
    metadata: Mapping[str, Mapping]
    distributions: pl.DataFrame
    condition_means: pl.DataFrame
    contrasts: pl.DataFrame
    left_out: pl.DataFrame
    coding: Coding

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(self.counts)

    def source(self, part: str) -> str:
        """ "exact" if every item of the part has probabilities, else "sampled"."""
        return "sampled" if self.counts[part]["items_without_probabilities"] else "exact"

    def figure(self, metric: str, *, part: str, predictor: str, convention: str) -> dict | None:
        """The part's row of one figure (all columns of the table); None if it was not computed."""
        rows = self.frame.filter(
            pl.col("study").is_null(),
            pl.col("metric") == metric,
            pl.col("scope") == part,
            pl.col("predictor") == predictor,
            pl.col("convention") == convention,
        )
        return rows.row(0, named=True) if rows.height else None


def row(
    metric: str,
    convention: str,
    scope: str,
    predictor: str,
    figure: Estimate,
    *,
    n: int,
    study: str | None = None,
    condition: str | None = None,
    outcome: str | None = None,
) -> tuple:
    """A row in the order of EVALUATION_SCHEMA; `group` stays null."""
    return (
        metric,
        convention,
        scope,
        predictor,
        study,
        condition,
        outcome,
        None,
        figure.value,
        figure.lo,
        figure.hi,
        n,
    )


def frame_of(rows: Sequence[tuple]) -> pl.DataFrame:
    """The table (EVALUATION_SCHEMA) of rows as `row` makes them."""
    return pl.DataFrame(rows, schema=pl.from_arrow(EVALUATION_SCHEMA.empty_table()).schema, orient="row")
