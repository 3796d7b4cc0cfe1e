"""Predicted effects: each arm less the control of its outcome, in percentage points of the scale's range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from socsci_jax.forecasting.table import KEY, PREDICTED, with_study_size
from socsci_jax.studies.schema import Item


def predicted_effects(arms: pl.DataFrame, *, by_variant: pl.DataFrame | None = None) -> pl.DataFrame:
    """A row of PREDICTED for each arm but its reference: the control, or the first arm of an outcome that has none.

    `by_variant` holds the same arms for each variant of the prompt: the standard deviation of an effect over variants is
    its `spread`.  `distance` is null here.
    """
    effects = _differences(arms)
    if by_variant is not None and by_variant["variant"].n_unique() > 1:
        spread = _differences(by_variant).group_by(*KEY).agg(spread=pl.col("predicted").std())
        effects = effects.drop("spread").join(spread, on=KEY, how="left", maintain_order="left")
    return with_study_size(effects).select(*PREDICTED)


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


def component_effects(arms: pl.DataFrame, items: Sequence[Item]) -> pl.DataFrame:
    """Effects of single levels of factors, as of a conjoint's attributes: rows of PREDICTED, with "factor: level" as the
    condition and the factor's first level as the reference.

    A level's effect is its mean less the first level's, over those combinations of the other factors in which both occur
    (the average marginal component effect of Hainmueller, Hopkins and Yamamoto 2014, Political Analysis 22).  Designs of
    fewer than two factors have none.
    """
    mean = {
        (study, outcome, condition): (value, options, mass)
        for study, outcome, condition, value, options, mass in arms.select(
            "study", "outcome", "condition", "mean", "options", "mass"
        ).iter_rows()
    }
    designs: dict[tuple[str, str], list[Item]] = {}
    for item in items:
        if len(item.factors) >= 2 and (item.study_id, item.outcome, item.condition) in mean:
            designs.setdefault((item.study_id, item.outcome), []).append(item)
    rows = []
    for (study, outcome), own in designs.items():
        for factor in own[0].factors:
            by_level: dict[str, dict[tuple[str, ...], tuple[float, float, float | None]]] = {}
            for item in own:
                others = tuple(level for name, level in item.factors.items() if name != factor)
                level_mean = mean[study, outcome, item.condition]
                by_level.setdefault(item.factors[factor], {})[others] = level_mean
            first, *rest = by_level
            for level in rest:
                both = [key for key in by_level[level] if key in by_level[first]]
                if not both:
                    continue
                pairs = [(by_level[level][key], by_level[first][key]) for key in both]
                rows.append(
                    {
                        "study": study,
                        "outcome": outcome,
                        "condition": f"{factor}: {level}",
                        "reference": f"{factor}: {first}",
                        "undirected": True,
                        "predicted": float(np.mean([one[0] - other[0] for one, other in pairs])),
                        "options": float(pairs[0][0][1]),
                        "mass": min((one[2] for one, _ in pairs if one[2] is not None), default=None),
                    }
                )
    return with_study_size(pl.DataFrame(rows, schema=PREDICTED))
