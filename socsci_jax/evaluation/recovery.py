"""Effects against known true ones, for data whose truth is known."""

from __future__ import annotations

import numpy as np
import polars as pl

from socsci_jax.evaluation.metrics.effects import correlation
from socsci_jax.evaluation.metrics.moments import moments


def recovered_effects(positions: pl.DataFrame, truth: pl.DataFrame) -> float | None:
    """Correlation of predicted effects with known true ones, for data whose truth is known.

    `positions` has item_id, study_id, outcome and `predicted` (mean position, 0 to 1); `truth` has item_id and
    `mean_position`.  Effects are departures from the mean of the (study, outcome).  None where undefined.
    """
    pairs = effects_and_truth(positions, truth)
    if pairs.is_empty():
        return None
    terms = moments(pairs["predicted"].to_numpy(), pairs["true"].to_numpy())
    r = float(correlation(terms.sum(axis=0)))
    return r if np.isfinite(r) else None


def effects_and_truth(positions: pl.DataFrame, truth: pl.DataFrame) -> pl.DataFrame:
    """study_id, outcome, `predicted` and `true` of each item, centered within its (study, outcome)."""
    within = ["study_id", "outcome"]
    kept = [*within, *(name for name in ("condition",) if name in positions.columns)]
    return (
        positions.join(truth.select("item_id", "mean_position"), on="item_id", maintain_order="left")
        .filter(pl.col("predicted").is_finite())
        .select(
            *kept,
            predicted=pl.col("predicted") - pl.col("predicted").mean().over(within),
            true=pl.col("mean_position") - pl.col("mean_position").mean().over(within),
        )
    )
