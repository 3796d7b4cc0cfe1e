"""Studies that people have answered, with what is predicted of them: what calibration learns from."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Collection as Names

import numpy as np
import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.forecasting.arms import predicted_arms
from socsci_jax.forecasting.calibration import FEWEST_STUDIES
from socsci_jax.forecasting.distance import Words, texts_by_study
from socsci_jax.forecasting.effects import predicted_effects, reference_of
from socsci_jax.forecasting.human import (
    ARM,
    MINIMUM_N,
    answers_of,
    means_of_arms,
    with_human_effects,
)
from socsci_jax.forecasting.multiverse import summary_of_past, with_spread
from socsci_jax.forecasting.subgroups import past_effects
from socsci_jax.studies.pairs import Pairs
from socsci_jax.studies.predictions import Predictions
from socsci_jax.studies.schema import Item
from socsci_jax.studies.store import StudyStore
from socsci_jax.studies.trained_on import TrainedOn
from socsci_jax.studies.variants import StudyVariants, VariantPredictions
from socsci_jax.wording import counted

logger = logging.getLogger(__name__)

Predict = Callable[[Pairs], Predictions]
# Each study of the pairs with its variants, and what is predicted of these.
InVariants = Callable[[Pairs], Sequence[tuple[StudyVariants, VariantPredictions]]]
# An effect of one arm asks so many of its own participants; exact probabilities vary little between more.
PEOPLE_PER_ITEM = 20


@dataclasses.dataclass(frozen=True, eq=False)
class Collection:
    """Studies of which people's answers and predictions are known.

    `effects` is a table.CALIBRATION; `levels` has study, outcome, condition, predicted and human, mean answers in percentage
    points of the scale's range.  `groups` holds, by attribute, effects on subgroups of people (`subgroups.past_effects`).
    `items` are what people read; empty where only tables are known.  `excluded` are the studies
    of the source that were excluded by name, `seen` those excluded because the model was trained on them.
    """

    effects: pl.DataFrame
    levels: pl.DataFrame
    items: tuple[Item, ...] = ()
    source: str = "tables"
    excluded: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
    groups: Mapping[str, pl.DataFrame] = dataclasses.field(default_factory=dict)

    @property
    def metadata(self) -> dict[str, object]:
        """What a forecast says of the studies that it learned from."""
        return {
            "calibration": self.source,
            "excluded_studies": list(self.excluded),
            "seen_studies": list(self.seen),
        }


def collect(
    predict: Predict,
    store: StudyStore,
    *,
    trained_on: TrainedOn | None,
    excluded: Names[str] = (),
    people: int = PEOPLE_PER_ITEM,
    seed: int = 0,
    allow_unknown: bool = False,
    in_variants: InVariants | None = None,
    subgroups: Names[str] = (),
) -> Collection:
    """Effects of people and model in every study of a store.

    The same personas, drawn over all arms of a study, are asked every item of it: arms then differ by their texts alone.
    With `in_variants` these are asked in variants, and the spread of effects over them is known.  `subgroups` are attributes
    by which effects are told apart, in the studies of whose people they are known.

    Studies that the model was trained on are excluded, with a warning that counts them.  Raises InputError, before anything
    is predicted, where too few are left, and, unless `allow_unknown`, where it is not known what the model was trained on.
    """
    pairs = asked_pairs(store, excluded=excluded, people=people, seed=seed)
    seen = seen_studies(trained_on, pairs, allow_unknown=allow_unknown)
    left_out = {*excluded, *seen}
    answers = answers_of(store)
    human = means_of_arms(answers)
    usable = studies_with_effects(store.item_by_id.values(), human) - left_out
    check_enough(store, usable, excluded=set(excluded), seen=set(seen))
    if unusable := set(store.studies["study_id"]) - usable - left_out:
        logger.warning(
            f"{counted(len(unusable), 'study teaches', 'studies teach')} nothing: no effect with {MINIMUM_N} answers in both arms "
            f"({', '.join(sorted(unusable)[:5])}{', ...' if len(unusable) > 5 else ''})."
        )
    asked = pairs.where(pl.col("study_id").is_in(usable))
    predictions, arms, effects = _predicted(predict, in_variants, asked)
    kept = [item for item in store.item_by_id.values() if item.study_id not in left_out]
    words = Words.of(kept)
    distance = {study: words.distance(text, excluded=study) for study, text in texts_by_study(kept).items()}
    distances = pl.col("study").replace_strict(distance, return_dtype=pl.Float64)
    groups = {
        attribute: past_effects(attribute, store, answers, predictions, asked).with_columns(
            distance=distances
        )
        for attribute in subgroups
    }
    levels = arms.select(*ARM, predicted="mean").join(human, on=ARM, maintain_order="left")
    return Collection(
        effects=with_human_effects(effects.with_columns(distance=distances), human),
        levels=levels.filter(pl.col("n") >= MINIMUM_N).select(*ARM, "predicted", "human"),
        items=tuple(kept),
        source=f"store {store.path.name}, {store.content_hash}",
        excluded=tuple(sorted(excluded)),
        seen=tuple(seen),
        groups=groups,
    )


def _predicted(
    predict: Predict, in_variants: InVariants | None, pairs: Pairs
) -> tuple[Predictions, pl.DataFrame, pl.DataFrame]:
    """Predictions of the pairs, arms, and effects with their spread over variants."""
    if in_variants is None:
        predictions = predict(pairs)
        arms = predicted_arms(predictions, pairs.items)
        by_variant = predicted_arms(predictions, pairs.items, by_variant=True)
        return predictions, arms, predicted_effects(arms, by_variant=by_variant)
    varied = in_variants(pairs)
    together = Predictions(frame=pl.concat([predicted.predictions.frame for _, predicted in varied]))
    arms = predicted_arms(together, pairs.items)
    return together, arms, with_spread(predicted_effects(arms), summary_of_past(varied))


def studies_with_effects(items: Iterable[Item], human: pl.DataFrame) -> set[str]:
    """The studies in which people answered an outcome in its reference and in another arm, often enough."""
    rows = {(i.study_id, i.outcome, i.condition): bool(i.is_control) for i in items}
    schema = dict.fromkeys(ARM, pl.String) | {"is_control": pl.Boolean}
    arms = pl.DataFrame([(*key, control) for key, control in rows.items()], schema=schema, orient="row")
    references = pl.DataFrame(
        [(*key, condition) for key, condition in reference_of(arms).items()],
        schema=dict.fromkeys(ARM, pl.String),
        orient="row",
    )
    enough = human.filter(pl.col("n") >= MINIMUM_N, pl.col("se2") > 0)
    others = enough.join(references, on=ARM, how="anti")
    return set(others.join(enough.join(references, on=ARM), on=("study", "outcome"), how="semi")["study"])


def check_enough(store: StudyStore, usable: set[str], *, excluded: set[str], seen: set[str]) -> None:
    """Raises InputError where a store has too few studies to calibrate on, before anything is predicted."""
    if len(usable) >= FEWEST_STUDIES:
        return
    every = set(store.studies["study_id"])
    reasons = {
        "were excluded": every & excluded,
        "the model was trained on": (every & seen) - excluded,
        f"have no effect with {MINIMUM_N} answers in both arms": every - usable - seen - excluded,
    }
    why = ", ".join(f"{len(own)} {reason}" for reason, own in reasons.items() if own)
    raise InputError(
        f"{store.path}: {len(usable)} of {counted(len(every), 'study')} can teach calibration, and {FEWEST_STUDIES} are needed"
        + (f" ({why})." if why else ".")
    )


def asked_pairs(store: StudyStore, *, excluded: Names[str], people: int, seed: int) -> Pairs:
    """Every item with an order, with the same `people` participants of its study."""
    rng = np.random.default_rng(seed)
    by_study: dict[str, list[Item]] = {}
    for item in store.item_by_id.values():
        if item.scale.has_order and item.study_id not in excluded:
            by_study.setdefault(item.study_id, []).append(item)
    rows = []
    of_study = store.participants.group_by("study_id", maintain_order=True).agg("participant_id")
    for study, ids in of_study.iter_rows():
        chosen = rng.choice(np.array(ids, dtype=object), size=min(people, len(ids)), replace=False).tolist()
        rows += [(item.item_id, study, person) for item in by_study.get(study, ()) for person in chosen]
    if not rows:
        raise InputError(f"{store.path}: no study has questions with ordered answers.")
    schema = dict.fromkeys(("item_id", "study_id", "participant_id"), pl.String)
    return Pairs.of_store(store, pl.DataFrame(rows, schema=schema, orient="row"))


def seen_studies(trained_on: TrainedOn | None, pairs: Pairs, *, allow_unknown: bool) -> list[str]:
    """The studies of the pairs that the model was trained on; InputError where these are all, or where it is not known."""
    if trained_on is None:
        if not allow_unknown:
            raise InputError(
                "it is not known what this model was trained on, so these studies may be no test of it; pass "
                "`allow_unknown=True` if you know that they came after its training."
            )
        logger.warning("It is not known whether the model has seen the calibration studies.")
        return []
    unseen = trained_on.label(pairs)["unseen"]
    seen = pairs.frame.filter(unseen.is_null() | (unseen != "study"))["study_id"].unique().sort().to_list()
    studies = pairs.frame["study_id"].n_unique()
    if len(seen) == studies:
        raise InputError(
            f"the model was trained on every calibration study ({studies}); calibrate on studies that it never saw."
        )
    if seen:
        logger.warning(
            "The model was trained on %d of the %d calibration studies; these are excluded (%s).",
            len(seen),
            studies,
            ", ".join(seen[:5]) + (", ..." if len(seen) > 5 else ""),
        )
    return seen
