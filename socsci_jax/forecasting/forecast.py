"""A forecast, from top to bottom: personas, predictions of every arm, and what these have been worth in other studies."""

from __future__ import annotations

import dataclasses
import datetime
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from socsci_jax import __version__
from socsci_jax.errors import InputError
from socsci_jax.forecasting.arms import predicted_arms
from socsci_jax.forecasting.calibration import Calibration, calibrate
from socsci_jax.forecasting.collection import Collection, Predict
from socsci_jax.forecasting.composites import (
    Composite,
    check_composites,
    incomplete_composites,
    with_composites,
)
from socsci_jax.forecasting.distance import Words, texts_by_study
from socsci_jax.forecasting.effects import component_effects, predicted_effects
from socsci_jax.forecasting.intervals import draw_effects, expected_effects, ranks
from socsci_jax.forecasting.judging import checked_on
from socsci_jax.forecasting.levels import Levels, calibrate_levels
from socsci_jax.forecasting.model_checks import moved_controls
from socsci_jax.forecasting.multiverse import Multiverse, PredictVariants, multiverse, with_spread
from socsci_jax.forecasting.population import Population
from socsci_jax.forecasting.power import power_table
from socsci_jax.forecasting.subgroups import subgroup_effects
from socsci_jax.studies.pairs import Pairs
from socsci_jax.studies.predictions import Predictions
from socsci_jax.studies.schema import Item
from socsci_jax.studies.variants import StudyVariants, VariantPredictions

# A text this near to one of the calibration studies is that study.
SAME = 0.1


@dataclasses.dataclass(frozen=True, eq=False)
class Forecast:
    """What to expect of an experiment that has not been run.

    `effects` has a row for each arm and outcome (`intervals.expected_effects`); `groups` the same by subgroup
    (`subgroups.GROUPS`); `components` the effects of single factors' levels, with intervals of whole arms, which are rather too wide
    for them; `arms` the predicted distributions (`arms.ARMS`), with what mean to expect; `ranks` how likely an arm is the
    highest or the lowest; `power` what studies of several sizes would find (`power.power_table`); `multiverse` how effects
    differ between variants of the prompt.  Everything is in percentage points of the scale's range.
    """

    effects: pl.DataFrame
    groups: pl.DataFrame
    components: pl.DataFrame
    arms: pl.DataFrame
    ranks: pl.DataFrame
    power: pl.DataFrame
    multiverse: Multiverse
    calibration: Calibration
    levels: Levels
    population: Population
    predictions: Predictions
    items: tuple[Item, ...]
    composites: tuple[Composite, ...]
    collection: Collection
    metadata: Mapping[str, object]

    @functools.cached_property
    def past(self) -> pl.DataFrame:
        """Each past study forecast from the others, next to what people answered (`judging.against_people`); empty where too
        few would be left to learn from.  Takes ten more calibrations, once."""
        return checked_on(self.calibration, self.collection.effects)


def forecast(
    items: Sequence[Item],
    *,
    predict: Predict,
    population: Population,
    collection: Collection,
    subgroups: Sequence[str] = (),
    variants: Sequence[StudyVariants] = (),
    predict_variants: PredictVariants | None = None,
    composites: Sequence[Composite] = (),
    seed: int = 0,
    metadata: Mapping[str, object] | None = None,
) -> Forecast:
    """Says what to expect of an experiment, with intervals that studies the model never saw have taught.

    Args:
      items: every outcome in every arm.
      predict: gives the probabilities of pairs of items and personas.
      population: whom the experiment is about.
      collection: held-out studies that people have answered, with the same model's predictions.
      subgroups: attributes of personas by whose values effects are told apart.
      variants: other ways of asking the items, of the studies that have any.
      predict_variants: gives the probabilities of these.
      composites: means of several outcomes that are forecast like outcomes.
      seed: of what is drawn for ranks.
      metadata: what else the forecast shall say of itself.

    Raises InputError if the experiment is one of the calibration studies, or if these are too few.
    """
    check_experiment(items, population, subgroups, composites)
    check_not_known(items, collection.items)
    by_id = {item.item_id: item for item in items}
    varied = _ask_variants(variants, predict_variants, population)
    predictions = _together(items, predict, population, varied)

    def arms_of(**by: Any) -> pl.DataFrame:
        alone = predicted_arms(predictions, by_id, weights=population.weight_of, **by)
        return with_composites(alone, composites)

    def distant(effects: pl.DataFrame) -> pl.DataFrame:
        return with_distance(effects, items, collection)

    arms = arms_of()
    # Predictions of others may hold variants that no study declares.
    plain = predicted_effects(arms, by_variant=None if varied else arms_of(by_variant=True))
    differing = multiverse(
        varied, population.personas, weights=population.weight_of, composites=composites, seed=seed
    ).with_checks(moved_controls(plain, variants))
    predicted = distant(with_spread(plain, differing.summary))

    calibration = calibrate(collection.effects)
    levels = calibrate_levels(collection.levels)
    effects = expected_effects(calibration, predicted)
    draws = draw_effects(calibration, predicted, rng=np.random.default_rng(seed))
    return Forecast(
        effects=effects,
        groups=subgroup_effects(
            arms_of,
            distant,
            population,
            subgroups,
            effects=effects,
            calibration=calibration,
            past=collection.groups,
        ),
        components=expected_effects(calibration, distant(component_effects(arms, items))),
        power=power_table(effects, arms, draws=draws),
        arms=arms.with_columns(expected_mean=pl.Series(levels.expected(arms["mean"].to_numpy()))),
        ranks=ranks(calibration, predicted, rng=np.random.default_rng(seed)),
        multiverse=differing,
        calibration=calibration,
        levels=levels,
        population=population,
        predictions=predictions,
        items=tuple(items),
        composites=tuple(composites),
        collection=collection,
        metadata={
            **_made_now(),
            **_asked(items, population, predictions, varied),
            "subgroups": list(subgroups),
            "seed": seed,
            "outcomes_of_one_arm": outcomes_of_one_arm(arms),
            "composites_without_parts": incomplete_composites(arms, composites),
            **collection.metadata,
            **(metadata or {}),
        },
    )


def outcomes_without_order(items: Sequence[Item]) -> list[str]:
    """Outcomes whose answers have no mean: names, and numbers without a list of them."""
    return list(dict.fromkeys(i.outcome for i in items if not i.scale.has_order))


def outcomes_of_one_arm(arms: pl.DataFrame) -> list[str]:
    """Outcomes that one arm alone is asked, of which there is no effect."""
    asked = arms.group_by("study", "outcome", maintain_order=True).agg(pl.col("condition").n_unique())
    return asked.filter(pl.col("condition") < 2)["outcome"].to_list()


def _made_now() -> dict[str, object]:
    now = datetime.datetime.now(datetime.UTC)
    return {"made": now.isoformat(timespec="seconds"), "version": __version__}


def _asked(
    items: Sequence[Item],
    population: Population,
    predictions: Predictions,
    varied: Sequence[tuple[StudyVariants, VariantPredictions]],
) -> dict[str, object]:
    """Of whom and how it was asked, as the metadata of a forecast hold it."""
    return {
        "population": population.source,
        "outcomes_without_order": outcomes_without_order(items),
        "predictions": dict(predictions.metadata),
        "multiverse": {study.study_id: _multiverse_metadata(study, own) for study, own in varied},
    }


def _ask_variants(
    variants: Sequence[StudyVariants], predict: PredictVariants | None, population: Population
) -> list[tuple[StudyVariants, VariantPredictions]]:
    """The studies that vary, with the predictions of their variants."""
    if predict is None:
        return []
    return [(study, predict(study, population.personas)) for study in variants if study.varies]


def _together(
    items: Sequence[Item],
    predict: Predict,
    population: Population,
    asked: Sequence[tuple[StudyVariants, VariantPredictions]],
) -> Predictions:
    """The predictions of variants, and those of the other items as they are written."""
    varied = {study.study_id for study, _ in asked}
    plain = [item for item in items if item.study_id not in varied]
    parts = [predicted.predictions for _, predicted in asked]
    if plain:
        parts.append(predict(Pairs.cross(plain, population.personas)))
    frame = pl.concat([part.frame for part in parts], how="diagonal")
    return Predictions(frame=frame, metadata=parts[0].metadata)


def _multiverse_metadata(study: StudyVariants, predicted: VariantPredictions) -> dict[str, object]:
    return {
        **study.declared.model_dump(mode="json"),
        "variants": study.most,
        "tokens": predicted.cost,
        "tokens_of_one_pass": predicted.one_pass,
    }


def check_not_known(items: Sequence[Item], known_items: Sequence[Item]) -> None:
    """Raises InputError where the experiment is among the studies that calibration learns from."""
    words = Words.of(known_items)
    known = {item.text for item in known_items if len(item.text.split()) >= 20}
    for study, text in texts_by_study(items).items():
        same = [item for item in items if item.study_id == study and item.text in known]
        if same or (known_items and words.distance(text) < SAME):
            nearest = min(words.vectors, key=lambda other: words.between(text, other))
            raise InputError(
                f"{study}: calibration study {nearest!r} has the same texts; a forecast that has learned from its own "
                f"answers is none. Leave it out (`exclude=[{nearest}]`)."
            )


def check_experiment(
    items: Sequence[Item],
    population: Population,
    subgroups: Sequence[str],
    composites: Sequence[Composite] = (),
) -> None:
    """Raises InputError where nothing could be forecast or told apart: before anything is predicted."""
    arms: dict[tuple[str, str], set[str]] = {}
    for item in items:
        if item.scale.has_order:
            arms.setdefault((item.study_id, item.outcome), set()).add(item.condition)
    if not arms:
        raise InputError("no outcome has ordered answers, so there are no effects to forecast.")
    if max(map(len, arms.values())) < 2:
        raise InputError("the experiment has one arm; an effect needs two.")
    check_composites(composites, arms)
    for attribute in subgroups:
        if attribute not in population.personas.columns[1:]:
            raise InputError(
                f"personas have no attribute {attribute!r}; they have {population.personas.columns[1:]}."
            )


def with_distance(effects: pl.DataFrame, items: Sequence[Item], collection: Collection) -> pl.DataFrame:
    """Fills in how far the texts are from those of the calibration studies, where these are known."""
    if not collection.items:
        return effects
    words = Words.of(collection.items)
    distance = {study: words.distance(text) for study, text in texts_by_study(items).items()}
    return effects.with_columns(distance=pl.col("study").replace_strict(distance, return_dtype=pl.Float64))
