"""From predictions and people's answers to the evaluation table.

Each part of the split is evaluated by itself.  Metrics are computed per item, averaged within a study, then
over studies, and their intervals resample studies, or what `resampling.py` says of few studies.  Alongside the model
stand predictors that need none.  Items whose levels have no order go to `classification.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl

from socsci_jax import __version__
from socsci_jax.errors import InputError
from socsci_jax.evaluation import classification
from socsci_jax.evaluation.answer_codes import scales_of
from socsci_jax.evaluation.averaging import (
    PartValues,
    alternatives_rows,
    distribution_table,
    metric_rows,
    normalized_rows,
    part_values,
    quartile_rows,
    simbench_rows,
    validity_rows,
)
from socsci_jax.evaluation.background import background
from socsci_jax.evaluation.baselines import Baselines
from socsci_jax.evaluation.calibration import calibration
from socsci_jax.evaluation.cells import PredictionIndex
from socsci_jax.evaluation.choices import choice_rows
from socsci_jax.evaluation.condition_means import condition_means, contrast_table, mean_table
from socsci_jax.evaluation.controls import trained_controls, with_controls
from socsci_jax.evaluation.demographics import Demographics
from socsci_jax.evaluation.effects import PERMUTATIONS, contrast_rows, sensitivity_rows, true_effect_rows
from socsci_jax.evaluation.equivalents import equivalent_rows
from socsci_jax.evaluation.groups import group_rows
from socsci_jax.evaluation.intervals import RESAMPLES
from socsci_jax.evaluation.items import HALVES, ItemPredictions, brief_predictions, item_predictions
from socsci_jax.evaluation.parts import Items, Part, excluded_table, find_parts
from socsci_jax.evaluation.result import Evaluation
from socsci_jax.evaluation.robustness import over_variants, robustness_rows, variants_of
from socsci_jax.evaluation.table import CONDITION_POOLED, table_of
from socsci_jax.studies.predictions import Predictions
from socsci_jax.studies.reversed_scales import MOST_REVERSED, opposite_labels, opposite_sentences
from socsci_jax.studies.schema import Item
from socsci_jax.studies.seen import correct_parts
from socsci_jax.studies.splits import TRAIN
from socsci_jax.studies.store import StudyStore
from socsci_jax.wording import counted


class People(Items, Protocol):
    """Items and people that answers belong to: a study store, or a table made into one."""

    @property
    def path(self) -> Path: ...
    @property
    def content_hash(self) -> str: ...
    @property
    def participants(self) -> pl.DataFrame: ...


def label_without_split(store: StudyStore) -> pl.DataFrame:
    """The responses with study_id, condition, outcome and one part, "all"."""
    columns = store.items.select("item_id", "study_id", "condition", "outcome")
    return store.responses.join(columns, on="item_id", how="left").with_columns(part=pl.lit("all"))


def evaluate(
    predictions: Predictions,
    store: People,
    labeled: pl.DataFrame,
    *,
    seed: int = 0,
    minimum_n: int = 10,
    resample: str | None = None,
    also: Sequence[Predictions] = (),
    hidden: Mapping[str, np.ndarray] | None = None,
) -> Evaluation:
    """Judges predictions against the answers in `labeled`, as `Split.label` gives them, part by part.

    Only answers that have a prediction are used, for the model and for every other predictor.  Answers that the
    model was trained on, by the predictions' columns `seen` and `unseen`, leave the parts that are called unseen.  Items with fewer than
    `minimum_n` answers stay in the table but enter no average.  `resample` (studies, conditions, outcomes or
    participants) overrides what intervals resample.  `also` are other predictors' tables: the mean of all is a predictor
    where all predict; `hidden`, the model's hidden state [D] at each item, gives a linear probe.  Raises InputError if no answer has a prediction.
    """
    labeled = _with_weights(labeled, store)
    notes: list[str] = []
    variants = variants_of(predictions)
    predictions = over_variants(predictions)
    if variants:
        notes.append(
            f"Predicted in {counted(len(variants), 'variant')} ({', '.join(variants)}): their mean is judged, and how far they differ."
        )
    if {"seen", "unseen"} & set(predictions.frame.columns):
        correction = correct_parts(labeled, predictions.frame)
        labeled, notes = correction.labeled, [*notes, *correction.sentences]
    if "share" in labeled.columns and (shares := int(labeled["share"].sum())):
        notes.append(
            f"{counted(shares, 'answer is', 'answers are')} shares of groups, not people's: nothing is reported about how far people agree with each "
            "other, and intervals do not hold the error of the shares."
        )
    if "weight" in labeled.columns and (without := labeled["weight"].null_count()):
        notes.append(
            f"{counted(without, 'answer is', 'answers are')} of people without a survey weight; compared with others they weigh nothing."
        )
    scales = scales_of(store.item_by_id)
    outcomes = labeled.unique(["study_id", "outcome", "item_id"], maintain_order=True)
    notes += opposite_sentences(
        opposite_labels(
            (study, outcome, scales[i])
            for study, outcome, i in outcomes.select("study_id", "outcome", "item_id").iter_rows()
        )
    )[:MOST_REVERSED]
    is_nominal = pl.col("item_id").is_in([i for i, scale in scales.items() if scale.nominal])
    nominal = labeled.filter(is_nominal)
    ordered = labeled.filter(~is_nominal) if nominal.height else labeled
    index = PredictionIndex(predictions)
    found, coded = (
        find_parts(answers, store, index, minimum_n=minimum_n, seed=seed, resample=resample)
        for answers in (ordered, nominal)
    )
    coding = classification.judge(coded, nominal.filter(pl.col("part") == TRAIN))
    parts = [part for part in found if part.cells]
    if not parts and not coding.parts:
        raise InputError(
            f"not one answer of {store.path} has a prediction on a scale of levels; predict items and participants "
            "of this store that have answers."
        )
    people = Demographics.of(store.participants)
    context = _Context(
        labeled=ordered,
        item_by_id=store.item_by_id,
        index=index,
        baselines=Baselines.of(
            ordered,
            store,
            people,
            seed=seed,
            hidden=hidden,
            others=tuple(PredictionIndex(over_variants(other)) for other in also),
            again=_second_answers(store),
        ),
        people=people,
        truth=_truth(store),
        variants=variants,
    )
    judged = [_judge(part, context) for part in parts]
    unused = _predictions_without_answer(predictions.frame, labeled)
    if unused:
        notes.append(
            f"Not used, because the person did not answer the item: {counted(unused, 'prediction')}."
        )
    return Evaluation(
        table=pl.concat(
            [
                *(frame for one in judged for frame in one.frames),
                *(
                    frame
                    for part in _with_and_without_order(found, coded)
                    for frame in alternatives_rows(part)
                ),
                coding.table,
            ]
        ),
        counts={part.name: one.counts for part, one in zip(parts, judged, strict=True)},
        notes=tuple(notes),
        metadata={
            "predictions": dict(predictions.metadata),
            "evaluation": {
                **settings_of(store, seed=seed, minimum_n=minimum_n),
                "weighted": "weight" in labeled.columns,
            },
        },
        distributions=_stacked([one.distributions for one in judged]),
        condition_means=_stacked([one.condition_means for one in judged]),
        contrasts=_stacked([one.contrasts for one in judged]),
        excluded=excluded_table(found + coded, store),
        reliability=_stacked([one.reliability for one in judged]),
        coding=coding,
        background=background(found + coded, store),
        replicates={key: values for part in parts for key, values in part.replicates.items()},
    )


def settings_of(store: People, *, seed: int, minimum_n: int) -> dict[str, object]:
    """What the values of an evaluation rest on, as its metadata holds it."""
    return {
        "store": str(store.path),
        "store_hash": store.content_hash,
        "seed": seed,
        "minimum_n": minimum_n,
        "resamples": RESAMPLES,
        "halves": HALVES,
        "permutations": PERMUTATIONS,
        "software": f"socsci_jax {__version__}",
    }


def _with_and_without_order(ordered: Sequence[Part], nominal: Sequence[Part]) -> Iterator[Part]:
    """The parts with the cells of items of both kinds: alternatives stand beside either."""
    names = dict.fromkeys(part.name for part in (*ordered, *nominal) if part.cells)
    for name in names:
        own = [part for part in (*ordered, *nominal) if part.name == name and part.cells]
        cells = tuple(cell for part in own for cell in part.cells)
        yield own[0] if len(own) == 1 else dataclasses.replace(own[0], cells=cells)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Context:
    """What all parts are judged with."""

    labeled: pl.DataFrame
    item_by_id: Mapping[str, Item]
    index: PredictionIndex
    baselines: Baselines
    people: Demographics
    truth: pl.DataFrame | None
    variants: Mapping[str, PredictionIndex]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Judged:
    """What one part gives."""

    frames: list[pl.DataFrame]
    counts: Mapping[str, int]
    distributions: pl.DataFrame
    condition_means: pl.DataFrame
    contrasts: pl.DataFrame
    reliability: pl.DataFrame


def _judge(part: Part, context: _Context) -> _Judged:
    baselines = context.baselines
    items = [
        item_predictions(
            cell, baselines, rng=part.rng(cell.item_id), pilot_rng=part.rng(f"pilots of {cell.item_id}")
        )
        if used or not part.averaged_c.any()
        else brief_predictions(cell, baselines, rng=part.rng(cell.item_id))
        for cell, used in zip(part.cells, part.averaged_c.tolist(), strict=True)
    ]
    values: PartValues = part_values(part, items)
    means = condition_means(part, part.cells, items, others=baselines.of_models)
    compared = means
    if part.name != TRAIN:
        controls = trained_controls(part, context.labeled, context.item_by_id, context.index, baselines)
        if controls.cells:
            both = with_controls(part, items, controls)
            compared = condition_means(part, *both, borrowed=len(controls.cells), others=baselines.of_models)
    calibrated = calibration(part)
    rows = sensitivity_rows(part, means) + contrast_rows(part, compared) + choice_rows(part, means)
    rows += group_rows(part, context.people) + equivalent_rows(part, items, values) + calibrated.rows
    rows += normalized_rows(part, values) + simbench_rows(part, values) + quartile_rows(part, values)
    rows += robustness_rows(part, context.variants, means)
    if context.truth is not None:
        rows += true_effect_rows(part, items, context.truth)
    return _Judged(
        frames=[*metric_rows(part, values), *validity_rows(part), table_of(rows)],
        counts={**part.counts, **_counts(part, items, baselines)},
        distributions=distribution_table(part, items),
        condition_means=mean_table(part, means),
        contrasts=contrast_table(part, compared),
        reliability=calibrated.bins,
    )


def _second_answers(store: People) -> dict[str, dict[str, float]]:
    """What people answered when they were first asked again, by item and person."""
    found: dict[str, dict[str, float]] = {}
    if not isinstance(store, StudyStore):
        return found
    later = store.retests.sort("occasion", maintain_order=True)
    for item_id, person, value in later.select("item_id", "participant_id", "value").iter_rows():
        found.setdefault(item_id, {}).setdefault(person, value)
    return found


def _with_weights(labeled: pl.DataFrame, store: People) -> pl.DataFrame:
    """The answers with their own weights (`share`: those of whole groups) or else their people's survey weights."""
    people = store.participants
    own = labeled["weight"] if "weight" in labeled.columns else pl.Series(dtype=pl.Float64)
    if own.count():
        labeled = labeled.with_columns(share=pl.col("weight").is_not_null())
    if "weight" not in people.columns or not people["weight"].count():
        return labeled if own.count() else labeled.drop("weight", strict=False)
    weights = people.select("study_id", "participant_id", person_weight="weight")
    both = labeled.join(weights, on=["study_id", "participant_id"], how="left", maintain_order="left")
    if not own.count():
        return both.drop("weight", strict=False).rename({"person_weight": "weight"})
    return both.with_columns(weight=pl.coalesce("weight", "person_weight")).drop("person_weight")


TRUTH_FILE = "truth.parquet"


def _truth(store: People) -> pl.DataFrame | None:
    if not isinstance(store, StudyStore) or not (store.path / TRUTH_FILE).is_file():
        return None
    return pl.read_parquet(store.check_file(TRUTH_FILE))


def _stacked(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """One table of all parts; without columns where there is none."""
    return pl.concat(frames) if frames else pl.DataFrame()


def _counts(part: Part, items: Sequence[ItemPredictions], baselines: Baselines) -> dict[str, int]:
    averaged = part.averaged_c
    return {
        "studies": len(np.unique(part.study_c[averaged])),
        "items": int(averaged.sum()),
        "answers": int(part.n_c[averaged].sum()),
        "median_answers_per_item": int(np.median(part.n_c[averaged])) if averaged.any() else 0,
        "items_below_minimum_n": part.counts["items_below_minimum_n"],
        "items_not_levels": part.counts["items_not_levels"],
        "items_without_prediction": part.counts["items_without_prediction"],
        "items_without_probabilities": sum(cell.probs_nl is None for cell in part.cells),
        "items_where_all_answered_alike": sum(int((item.human_l > 0).sum() == 1) for item in items),
        "items_without_training_marginal": sum(c.levels_l.size not in baselines.marginals for c in part.cells)
        if baselines.marginals
        else 0,
        "items_without_pooled_answers": sum(CONDITION_POOLED not in item.baselines for item in items),
        "answers_without_prediction": part.counts["answers_without_prediction"],
        "answers_off_scale": part.counts["answers_off_scale"],
        "draws": sum(cell.draws for cell in part.cells),
        "draws_off_scale": sum(cell.draws - cell.draws_valid for cell in part.cells),
    }


def _predictions_without_answer(frame: pl.DataFrame, labeled: pl.DataFrame) -> int:
    personal = frame.filter(pl.col("participant_id").is_not_null())
    key = ["item_id", "participant_id"]
    return personal.join(labeled.select(key).unique(), on=key, how="anti").height
