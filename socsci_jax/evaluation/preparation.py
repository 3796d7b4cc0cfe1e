"""Answers and predictions made ready to be compared, with what a reader must know of both."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import polars as pl

from socsci_jax.evaluation.answer_codes import scales_of
from socsci_jax.evaluation.cells import PredictionIndex
from socsci_jax.evaluation.parts import People
from socsci_jax.evaluation.robustness import over_variants, variants_of
from socsci_jax.studies.predictions import Predictions
from socsci_jax.studies.reversed_scales import MOST_REVERSED, opposite_labels, opposite_sentences
from socsci_jax.studies.seen import correct_parts
from socsci_jax.wording import counted


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared:
    """What is judged: predictions, the mean over variants where there are any; and answers by part, with their weights."""

    predictions: Predictions
    labeled: pl.DataFrame
    variants: Mapping[str, PredictionIndex]
    notes: tuple[str, ...]


def prepare(predictions: Predictions, store: People, labeled: pl.DataFrame) -> Prepared:
    """Weighs answers, corrects their parts by what the model has seen, and notes what a reader must know of both."""
    labeled = _with_weights(labeled, store)
    variants, predictions = variants_of(predictions), over_variants(predictions)
    notes: list[str] = []
    if variants:
        names = f"{counted(len(variants), 'variant')} ({', '.join(variants)})"
        notes.append(f"Predicted in {names}: their mean is judged, and how far they differ.")
    if {"seen", "unseen"} & set(predictions.frame.columns):
        correction = correct_parts(labeled, predictions.frame)
        labeled, notes = correction.labeled, [*notes, *correction.sentences]
    notes += [*_notes_on_weights(labeled), *_notes_on_scales(labeled, store)]
    if unused := _predictions_without_answer(predictions.frame, labeled):
        notes.append(
            f"Not used, because the person did not answer the item: {counted(unused, 'prediction')}."
        )
    return Prepared(predictions=predictions, labeled=labeled, variants=variants, notes=tuple(notes))


def _notes_on_weights(labeled: pl.DataFrame) -> Iterator[str]:
    if "share" in labeled.columns and (shares := int(labeled["share"].sum())):
        yield (
            f"{counted(shares, 'answer is', 'answers are')} shares of groups, not people's: nothing is reported about how far people agree with each "
            "other, and intervals do not hold the error of the shares."
        )
    if "weight" in labeled.columns and (without := labeled["weight"].null_count()):
        yield (
            f"{counted(without, 'answer is', 'answers are')} of people without a survey weight; compared with others they weigh nothing."
        )


def _notes_on_scales(labeled: pl.DataFrame, store: People) -> list[str]:
    """Outcomes whose labels run against those of the others of their study."""
    scales = scales_of(store.item_by_id)
    outcomes = labeled.unique(["study_id", "outcome", "item_id"], maintain_order=True)
    rows = outcomes.select("study_id", "outcome", "item_id").iter_rows()
    opposite = opposite_labels((study, outcome, scales[i]) for study, outcome, i in rows)
    return opposite_sentences(opposite)[:MOST_REVERSED]


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


def _predictions_without_answer(frame: pl.DataFrame, labeled: pl.DataFrame) -> int:
    personal = frame.filter(pl.col("participant_id").is_not_null())
    key = ["item_id", "participant_id"]
    return personal.join(labeled.select(key).unique(), on=key, how="anti").height
