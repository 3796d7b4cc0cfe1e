"""From predictions and people's answers to the evaluation table.

Each part of the split is evaluated by itself.  Metrics are computed per item, averaged within a study, then
over studies, and their intervals resample studies, or what `resampling.py` says of few studies.  Alongside the model
stand predictors that need none.  Items whose levels have no order go to `classification.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl
import pyarrow as pa

from socsci_jax import __version__
from socsci_jax.errors import InputError
from socsci_jax.evaluation import classification
from socsci_jax.evaluation.answer_codes import scales_of
from socsci_jax.evaluation.averaging import alternatives_rows
from socsci_jax.evaluation.background import background
from socsci_jax.evaluation.baselines import Baselines
from socsci_jax.evaluation.cells import PredictionIndex
from socsci_jax.evaluation.demographics import Demographics
from socsci_jax.evaluation.effects import PERMUTATIONS
from socsci_jax.evaluation.intervals import RESAMPLES
from socsci_jax.evaluation.items import HALVES
from socsci_jax.evaluation.part_judging import Context, judge
from socsci_jax.evaluation.parts import Part, People, excluded_table, find_parts
from socsci_jax.evaluation.preparation import prepare
from socsci_jax.evaluation.result import Evaluation
from socsci_jax.evaluation.robustness import over_variants
from socsci_jax.studies.predictions import Predictions
from socsci_jax.studies.splits import TRAIN
from socsci_jax.studies.store import StudyStore
from socsci_jax.tables import read_parquet, to_polars


def label_without_split(store: StudyStore) -> pl.DataFrame:
    """The responses with study_id, condition, outcome and one part, "all"."""
    columns = store.item_places.select("item_id", "study_id", "condition", "outcome")
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
    prepared = prepare(predictions, store, labeled)
    predictions, labeled, scales = prepared.predictions, prepared.labeled, scales_of(store.item_by_id)
    is_nominal = pl.col("item_id").is_in([i for i, scale in scales.items() if scale.nominal])
    nominal = labeled.filter(is_nominal)
    ordered = labeled.filter(~is_nominal) if nominal.height else labeled
    index = PredictionIndex(predictions)
    with_order, coded = (
        find_parts(answers, store, index, minimum_n=minimum_n, seed=seed, resample=resample)
        for answers in (ordered, nominal)
    )
    coding = classification.judge(coded, nominal.filter(pl.col("part") == TRAIN))
    parts = [part for part in with_order if part.cells]
    if not parts and not coding.parts:
        raise InputError(
            f"not one answer of {store.path} has a prediction on a scale of response options; predict items and participants "
            "of this store that have answers."
        )
    context = _context(store, ordered, index, prepared.variants, seed=seed, also=also, hidden=hidden)
    judged = [judge(part, context) for part in parts]
    frames = [frame for one in judged for frame in one.frames]
    frames += [
        frame for part in _with_and_without_order(with_order, coded) for frame in alternatives_rows(part)
    ]
    return Evaluation(
        table=pl.concat([*frames, coding.table]),
        counts={part.name: one.counts for part, one in zip(parts, judged, strict=True)},
        notes=prepared.notes,
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
        excluded=excluded_table(with_order + coded, store),
        reliability=_stacked([one.reliability for one in judged]),
        coding=coding,
        background=background(with_order + coded, store),
        replicates={key: values for part in parts for key, values in part.replicates.items()},
    )


def _context(
    store: People,
    ordered: pl.DataFrame,
    index: PredictionIndex,
    variants: Mapping[str, PredictionIndex],
    *,
    seed: int,
    also: Sequence[Predictions],
    hidden: Mapping[str, np.ndarray] | None,
) -> Context:
    """What the parts with an order are judged with: baselines, other predictors, who the people are."""
    people = Demographics.of(store.participants)
    baselines = Baselines.of(
        ordered,
        store,
        people,
        seed=seed,
        hidden=hidden,
        others=tuple(PredictionIndex(over_variants(other)) for other in also),
        again=_second_answers(store),
    )
    return Context(
        labeled=ordered,
        item_by_id=store.item_by_id,
        index=index,
        baselines=baselines,
        people=people,
        truth=read_truth(store),
        variants=variants,
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
    """The parts with the cells of items of both kinds: alternatives belong to either."""
    names = dict.fromkeys(part.name for part in (*ordered, *nominal) if part.cells)
    for name in names:
        own = [part for part in (*ordered, *nominal) if part.name == name and part.cells]
        cells = tuple(cell for part in own for cell in part.cells)
        yield own[0] if len(own) == 1 else dataclasses.replace(own[0], cells=cells)


def _second_answers(store: People) -> dict[str, dict[str, float]]:
    """What people answered when they were first asked again, by item and person."""
    again: dict[str, dict[str, float]] = {}
    if not isinstance(store, StudyStore):
        return again
    later = store.retests.sort("occasion", maintain_order=True)
    for item_id, person, value in later.select("item_id", "participant_id", "value").iter_rows():
        again.setdefault(item_id, {}).setdefault(person, value)
    return again


TRUTH_FILE = "truth.parquet"
# What is read of it.
_TRUTH = pa.schema([("item_id", pa.string()), ("mean_position", pa.float64())])


def read_truth(store: People) -> pl.DataFrame | None:
    """The true mean of each item (item_id, mean_position) where studies were invented; raises InputError if damaged."""
    if not isinstance(store, StudyStore) or not (store.path / TRUTH_FILE).is_file():
        return None
    path, hint = store.check_file(TRUTH_FILE), "build the store again, or remove the file"
    table = to_polars(read_parquet(path, _TRUTH, hint=hint, filled=_TRUTH.names), path, hint=hint)
    if not table["mean_position"].is_finite().all() or table["item_id"].is_duplicated().any():
        raise InputError(f"{path}: needs one finite mean_position for each item_id; {hint}.")
    return table


def _stacked(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """One table of all parts; without columns where there is none."""
    return pl.concat(frames) if frames else pl.DataFrame()
