"""Predicted effects: each arm less the control of its outcome, in percentage points of the scale's range."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from socsci_jax.forecasting.table import KEY, PREDICTED


def predicted_effects(arms: pl.DataFrame, *, by_variant: pl.DataFrame | None = None) -> pl.DataFrame:
    """A row of PREDICTED for each arm but its reference: the control, or the first arm of an outcome that has none.

    `by_variant` holds the same arms for each variant of the prompt: the standard deviation of an effect over variants is
    its `spread`.  `distance` is null here.
    """
    effects = _differences(arms)
    if by_variant is not None and by_variant["variant"].n_unique() > 1:
        spread = _differences(by_variant).group_by(*KEY).agg(spread=pl.col("predicted").std())
        effects = effects.drop("spread").join(spread, on=KEY, how="left", maintain_order="left")
    return effects.select(*PREDICTED)


def _differences(arms: pl.DataFrame) -> pl.DataFrame:
    references = reference_of(arms)
    rows = []
    for (study, outcome, variant), own in arms.group_by(["study", "outcome", "variant"], maintain_order=True):
        reference = references[str(study), str(outcome)]
        of_reference = own.filter(condition=reference)
        if of_reference.is_empty():
            continue
        base = of_reference.row(0, named=True)
        for arm in own.filter(pl.col("condition") != reference).iter_rows(named=True):
            masses = [mass for mass in (arm["mass"], base["mass"]) if mass is not None]
            rows.append(
                {
                    "study": study,
                    "outcome": outcome,
                    "condition": arm["condition"],
                    "reference": reference,
                    "undirected": not base["is_control"],
                    "predicted": arm["mean"] - base["mean"],
                    "options": float(arm["options"]),
                    "mass": min(masses, default=None),
                    "variant": variant,
                }
            )
    return pl.DataFrame(rows, schema=PREDICTED | {"variant": pl.String})


def reference_of(arms: pl.DataFrame) -> Mapping[tuple[str, str], str]:
    """The condition against which the others of each (study, outcome) are compared."""
    first = (
        arms.sort(~pl.col("is_control").fill_null(False), maintain_order=True)
        .group_by("study", "outcome", maintain_order=True)
        .agg(pl.col("condition").first())
    )
    return {(study, outcome): condition for study, outcome, condition in first.iter_rows()}
