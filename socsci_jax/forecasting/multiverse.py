"""The multiverse of a forecast: the same effects under every way of asking, what survives of them, and by which choice."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl

from socsci_jax.forecasting.composites import Composite
from socsci_jax.forecasting.effects import reference_of
from socsci_jax.forecasting.model_checks import study_checks
from socsci_jax.forecasting.partial_answers import EverybodysMeans, everybodys_means
from socsci_jax.forecasting.table import CHECKS, KEY, MULTIVERSE, VARIANTS
from socsci_jax.studies.predictions import Predictions
from socsci_jax.studies.schema import VARIANT
from socsci_jax.studies.variants import StudyVariants, Variant, VariantPredictions

logger = logging.getLogger(__name__)

# Takes a study with its variants, and personas with their `participant_id`.
PredictVariants = Callable[[StudyVariants, pl.DataFrame], VariantPredictions]
CHOICES = ("order", "wording", "persona_format")


@dataclasses.dataclass(frozen=True, eq=False)
class Multiverse:
    """What variants of the prompt say of the effects of an experiment; empty tables where none are declared.

    `variants` is the specification curve (table.VARIANTS), `summary` a row for each effect (table.MULTIVERSE), `checks` what
    was tested of the model (table.CHECKS).
    """

    variants: pl.DataFrame
    summary: pl.DataFrame
    checks: pl.DataFrame

    @classmethod
    def none(cls) -> Multiverse:
        return cls(*(pl.DataFrame(schema=schema) for schema in (VARIANTS, MULTIVERSE, CHECKS)))

    def with_checks(self, checks: pl.DataFrame) -> Multiverse:
        return dataclasses.replace(self, checks=pl.concat([self.checks, checks]))


def with_spread(effects: pl.DataFrame, summary: pl.DataFrame) -> pl.DataFrame:
    """Effects (table.PREDICTED) with their spread over variants (from rows of MULTIVERSE), where there are several."""
    spread = summary.select(*KEY, over_variants="spread")
    joined = effects.join(spread, on=KEY, how="left", maintain_order="left")
    return joined.with_columns(spread=pl.coalesce("over_variants", "spread")).select(effects.columns)


def summary_of_past(varied: Sequence[tuple[StudyVariants, VariantPredictions]]) -> pl.DataFrame:
    """Rows of MULTIVERSE for studies whose personas all count alike."""
    tables = [pl.DataFrame(schema=MULTIVERSE)]
    for study, predicted in varied:
        weights = dict.fromkeys(predicted.predictions.frame["participant_id"].to_list(), 1.0)
        tables.append(specification_curve(predicted.predictions, study, weights=weights)[1])
    return pl.concat(tables)


def multiverse(
    varied: Sequence[tuple[StudyVariants, VariantPredictions]],
    personas: pl.DataFrame,
    *,
    weights: Mapping[str, float],
    composites: Sequence[Composite] = (),
    seed: int = 0,
) -> Multiverse:
    """What the variants of some studies say of their effects; negative controls are not among its checks.

    Args:
      varied: each study with what was predicted of it.
      personas: whom they are about, with `weights`.
      composites: means of outcomes that are effects of their own.
      seed: of the tests among the checks.
    """
    tables = [Multiverse.none()]
    for study, predicted in varied:
        predictions = predicted.predictions
        curve, summary = specification_curve(predictions, study, weights=weights, composites=composites)
        checks = study_checks(
            predictions.frame, predicted.checks, study, personas, weights=weights, seed=seed
        )
        tables.append(Multiverse(curve, summary, checks))
    return Multiverse(
        variants=pl.concat([table.variants for table in tables]),
        summary=pl.concat([table.summary for table in tables]),
        checks=pl.concat([table.checks for table in tables]),
    )


def specification_curve(
    predictions: Predictions,
    study: StudyVariants,
    *,
    weights: Mapping[str, float],
    composites: Sequence[Composite] = (),
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of VARIANTS and of MULTIVERSE for the effects of a study.

    Args:
      predictions: of its items by persona and `variant`; each persona answers the same variants in all arms of an outcome.
      study: what the variants are.
      weights: of each persona; those without any are excluded.
      composites: means of outcomes, which have a curve where all their parts are asked in the same variants.
    """
    people = [person for person, weight in weights.items() if weight > 0]
    share = np.array([weights[person] for person in people])
    index = pl.DataFrame({"participant_id": people, "person": np.arange(len(people))})
    effects = _personal_effects(_positions(predictions.frame, study), study, composites).join(
        index, on="participant_id"
    )
    rows: list[tuple[object, ...]] = []
    summary: list[tuple[object, ...]] = []
    for key, own in effects.group_by(list(KEY), maintain_order=True):
        choices = study.of_item[str(own["item_id"][0])]
        by_name = {choice.name: choice for choice in choices}
        asked = [choice.name for choice in choices if choice.name in set(own["variant"])]
        number = {name: i for i, name in enumerate(asked)}
        variant = own["variant"].replace_strict(number, return_dtype=pl.Int64).to_numpy()
        means = everybodys_means(
            own["effect"].to_numpy(),
            person=own["person"].to_numpy(),
            variant=variant,
            weights=share,
            declared=len(choices),
        )
        of_variants = [by_name[name] for name in asked]
        rows += _curve(key, of_variants, means, np.bincount(variant), base=choices[0])
        summary.append((*key, len(choices), len(asked), *_summarized(means, of_variants, base=choices[0])))
    return (
        pl.DataFrame(rows, schema=VARIANTS, orient="row"),
        pl.DataFrame(summary, schema=MULTIVERSE, orient="row"),
    )


def _positions(frame: pl.DataFrame, study: StudyVariants) -> pl.DataFrame:
    """Mean answers in percentage points of the scale's range: item_id, participant_id, variant, position."""
    by_id = {item.item_id: item for item in study.items if item.scale.has_order}
    positions = []
    for (item_id,), own in frame.filter(pl.col("item_id").is_in(by_id)).group_by(
        ["item_id"], maintain_order=True
    ):
        item = by_id[str(item_id)]
        lo, hi = item.scale.levels[0], item.scale.levels[-1]
        at = 100 * (np.asarray(own["levels"][0].to_list(), float) - lo) / (hi - lo)
        inside = np.isin(own["levels"][0].to_list(), item.scale.levels)
        probs = np.array(own["probs"].to_list())[:, inside]
        position = probs @ at[inside] / probs.sum(axis=1)
        positions.append(own.select("item_id", "participant_id", VARIANT).with_columns(position=position))
    schema = {"item_id": pl.String, "participant_id": pl.String, VARIANT: pl.String, "position": pl.Float64}
    return pl.concat(positions) if positions else pl.DataFrame(schema=schema)


def _personal_effects(
    positions: pl.DataFrame, study: StudyVariants, composites: Sequence[Composite]
) -> pl.DataFrame:
    """The effect of each arm on each persona under each variant: KEY, item_id, participant_id, variant, effect."""
    arms = pl.DataFrame(
        [
            (i.item_id, i.study_id, i.outcome, i.condition, i.is_control)
            for i in study.items
            if i.scale.has_order
        ],
        schema=["item_id", "study", "outcome", "condition", "is_control"],
        orient="row",
    )
    reference = [
        (of_study, outcome, condition) for (of_study, outcome), condition in reference_of(arms).items()
    ]
    references = pl.DataFrame(reference, schema=["study", "outcome", "reference"], orient="row")
    # An arm may have several texts.
    means = (
        positions.join(arms, on="item_id", maintain_order="left")
        .group_by("study", "outcome", "condition", "participant_id", VARIANT, maintain_order=True)
        .agg(pl.col("item_id").first(), pl.col("position").mean())
        .join(references, on=["study", "outcome"], maintain_order="left")
    )
    for composite in composites:
        if composite.study == study.study_id:
            made = _of_composite(means, composite)
            if made.is_empty() and means["outcome"].is_in(composite.of).any():
                logger.warning(
                    f"{composite.name!r} has no curve over variants: its outcomes differ in their variants or their reference."
                )
            means = pl.concat([means, made])
    base = means.filter(pl.col("condition") == pl.col("reference"))
    joined = means.filter(pl.col("condition") != pl.col("reference")).join(
        base.select("study", "outcome", "participant_id", VARIANT, base="position"),
        on=["study", "outcome", "participant_id", VARIANT],
        maintain_order="left",
    )
    return joined.with_columns(effect=pl.col("position") - pl.col("base"))


def _of_composite(means: pl.DataFrame, composite: Composite) -> pl.DataFrame:
    """Rows of a composite: means of its parts; none where these differ in variants or reference."""
    parts = means.filter(pl.col("outcome").is_in(composite.of))
    asked = {tuple(own[VARIANT].unique().sort()) for own in parts.partition_by("outcome")}
    if len(asked) != 1 or parts["reference"].n_unique() != 1:
        return means.clear()
    turned = pl.col("outcome").is_in(composite.reversed)
    key = ["study", "condition", "participant_id", VARIANT]
    return (
        parts.with_columns(position=pl.when(turned).then(100 - pl.col("position")).otherwise("position"))
        .group_by(key, maintain_order=True)
        .agg(pl.col("item_id", "reference").first(), pl.col("position").mean(), parts=pl.len())
        .filter(pl.col("parts") == len(composite.of))
        .with_columns(outcome=pl.lit(composite.name))
        .select(means.columns)
    )


def _curve(
    key: tuple[object, ...],
    variants: list[Variant],
    means: EverybodysMeans,
    personas: np.ndarray,
    *,
    base: Variant,
) -> list[tuple[object, ...]]:
    rows = []
    for rank, i in enumerate(np.argsort(means.values, kind="stable").tolist(), start=1):
        variant, value, half = variants[i], float(means.values[i]), float(means.half[i])
        known = (value, float(means.se[i]), value - half, value + half)
        rows.append((*key, rank, *_choices(variant), variant == base, *known, int(personas[i])))
    return rows


def _choices(variant: Variant) -> tuple[str, ...]:
    return variant.name, *(getattr(variant, choice) for choice in CHOICES)


def _summarized(means: EverybodysMeans, variants: list[Variant], *, base: Variant) -> tuple[object, ...]:
    """The columns of MULTIVERSE after the numbers of variants."""
    sign = np.sign(means.mean)
    toward = float((sign * means.values).min())
    return (
        *(means.mean, means.mean_se, means.mean - means.mean_half, means.mean + means.mean_half),
        next((float(v) for v, own in zip(means.values, variants) if own == base), None),
        *(float(means.values.min()), float(means.values.max()), means.spread),
        float((np.sign(means.values) == sign).mean()),
        max(toward, 0.0) / abs(means.mean) if means.mean else 0.0,
        decisive(means.values, variants),
    )


def decisive(values: np.ndarray, variants: list[Variant]) -> str:
    """The choice that explains most of the variance of effects, without what it would explain by chance (Kelley's epsilon
    squared); "" where none explains any, or where each of its values stands once."""
    total = float(((values - values.mean()) ** 2).sum())
    explained = {}
    for choice in CHOICES:
        _, level = np.unique([getattr(variant, choice) for variant in variants], return_inverse=True)
        levels, rest = int(level.max()) + 1, values.size - int(level.max()) - 1
        if levels < 2 or rest < 1 or not total > 0:
            continue
        means = np.bincount(level, values) / np.bincount(level)
        within = float(((values - means[level]) ** 2).sum())
        explained[choice] = 1 - within / rest / (total / (values.size - 1))
    best = max(explained, key=explained.__getitem__, default="")
    return best if best and explained[best] > 0 else ""
