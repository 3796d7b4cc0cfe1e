"""What is predicted of each arm: its distribution of answers, from predictions of single personas."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.studies.predictions import Predictions
from socsci_jax.studies.scale import Scale
from socsci_jax.studies.schema import Item
from socsci_jax.wording import counted

ARMS: dict[str, pl.DataType | type[pl.DataType]] = {
    **dict.fromkeys(("study", "outcome", "condition"), pl.String),
    "is_control": pl.Boolean,
    "group": pl.String,  # of people; "" for all of them
    "levels": pl.List(pl.Float64),
    "shares": pl.List(pl.Float64),
    # Percentage points of the scale's range, 0 at its lower end.
    **dict.fromkeys(("mean", "sd"), pl.Float64),
    **dict.fromkeys(("lo", "hi"), pl.Float64),
    "options": pl.Int64,
    "mass": pl.Float64,
    "personas": pl.Int64,
    "variant": pl.String,  # of the prompt; "" for all of them
}


def predicted_arms(
    predictions: Predictions,
    items: Mapping[str, Item],
    *,
    weights: Mapping[str, float] | None = None,
    groups: Mapping[str, str] | None = None,
    by_variant: bool = False,
) -> pl.DataFrame:
    """A row of ARMS for each arm of each outcome with an order, averaged over personas and texts of the arm.

    Args:
      predictions: exact probabilities of personas; a column `variant` names the variant of the prompt.
      items: of the predictions' item ids.
      weights: of each participant; by default all alike.
      groups: group of each participant; people of none are excluded.
      by_variant: one row for each variant, instead of their mean.

    Raises InputError where a prediction of an outcome with an order is a draw; of open numbers draws are all there is.
    """
    ordered = [item_id for item_id, item in items.items() if item.scale.has_order]
    frame = predictions.frame.filter(pl.col("item_id").is_in(ordered))
    if drawn := frame["probs"].null_count():
        first = items[frame.filter(pl.col("probs").is_null())["item_id"][0]]
        raise InputError(
            f"forecasts need exact probabilities; {drawn:,} of {counted(frame.height, 'prediction')} are draws, such as of "
            f"{first.outcome!r} in {first.condition!r}."
        )
    ids = frame["participant_id"].to_list()
    weight = pl.Series([1.0 if weights is None else weights.get(person, 0.0) for person in ids])
    group = pl.Series(["" if groups is None else groups.get(person) for person in ids], dtype=pl.String)
    in_variants = by_variant and "variant" in frame.columns
    variant = pl.col("variant").fill_null("") if in_variants else pl.lit("")
    frame = frame.with_columns(weight=weight, group=group, variant=variant).filter(
        pl.col("weight") > 0, pl.col("group").is_not_null()
    )
    by_arm: dict[tuple[str, ...], list[tuple[Item, pl.DataFrame]]] = {}
    for (item_id, of_group, of_variant), own in frame.group_by(
        ["item_id", "group", "variant"], maintain_order=True
    ):
        item = items[str(item_id)]
        key = (item.study_id, item.outcome, item.condition, str(of_group), str(of_variant))
        by_arm.setdefault((*key, str(item.scale.levels)), []).append((item, own))
    return pl.DataFrame([_arm(own) for own in by_arm.values()], schema=ARMS, orient="row")


def _arm(parts: list[tuple[Item, pl.DataFrame]]) -> tuple[object, ...]:
    item = parts[0][0]
    levels = np.asarray(item.scale.levels, float)
    shares = np.sum([_summed(own, levels) for _, own in parts], axis=0)
    shares = shares / shares.sum()
    mean, sd = moments(item.scale, shares)
    rows = pl.concat([own for _, own in parts])
    mass = rows.drop_nulls("mass_on_levels").select("mass_on_levels", "weight").to_numpy()
    known = float(np.average(mass[:, 0], weights=mass[:, 1])) if len(mass) else None
    first = rows.row(0, named=True)
    return (
        *(item.study_id, item.outcome, item.condition),
        *(any(bool(item.is_control) for item, _ in parts), first["group"]),
        *(levels.tolist(), shares.tolist(), mean, sd, levels[0], levels[-1], levels.size),
        *(known, rows["participant_id"].n_unique(), first["variant"]),
    )


def _summed(rows: pl.DataFrame, levels: np.ndarray) -> np.ndarray:
    """Weighted sum [L] of personas' probabilities over the levels of the scale, alternatives excluded."""
    rows_of = rows.select("levels", "probs", "weight").explode("levels", "probs")
    rows_of = rows_of.group_by("levels").agg((pl.col("probs") * pl.col("weight")).sum())
    of_level = dict(rows_of.iter_rows())
    return np.array([of_level.get(level, 0.0) for level in levels.tolist()])


def positions(levels: np.ndarray) -> np.ndarray:
    """Levels in percentage points of the range."""
    return 100 * (levels - levels[0]) / (levels[-1] - levels[0])


def moments(scale: Scale, shares: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of a distribution over a scale, in percentage points of its range."""
    at = positions(np.asarray(scale.levels, float))
    mean = float(shares @ at)
    return mean, float(np.sqrt(shares @ (at - mean) ** 2))
