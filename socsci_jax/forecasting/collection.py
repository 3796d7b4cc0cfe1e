"""Studies that people have answered, with what is predicted of them: what calibration learns from."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Collection as Names

import numpy as np
import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.forecasting.arms import positions, predicted_arms
from socsci_jax.forecasting.calibration import FEWEST_STUDIES
from socsci_jax.forecasting.distance import Words, texts_by_study
from socsci_jax.forecasting.effects import predicted_effects, reference_of
from socsci_jax.forecasting.multiverse import summary_of_past, with_spread
from socsci_jax.forecasting.table import CALIBRATION
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
ARM = ("study", "outcome", "condition")
MINIMUM_N = 20
# An effect of one arm asks so many of its own participants; exact probabilities vary little between more.
PEOPLE_PER_ITEM = 20


@dataclasses.dataclass(frozen=True, eq=False)
class Collection:
    """Studies of which people's answers and predictions are known.

    `effects` is a table.CALIBRATION; `levels` has study, outcome, condition, predicted and human, mean answers in percentage
    points of the scale's range.  `items` are what people read; empty where only tables are known.  `excluded` are the studies
    of the source that were excluded by name, `seen` those excluded because the model was trained on them.
    """

    effects: pl.DataFrame
    levels: pl.DataFrame
    items: tuple[Item, ...] = ()
    source: str = "tables"
    excluded: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()

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
) -> Collection:
    """Effects of people and model in every study of a store.

    The same personas, drawn over all arms of a study, are asked every item of it: arms then differ by their texts alone.
    With `in_variants` these are asked in variants, and the spread of effects over them is known.

    Studies that the model was trained on are excluded, with a warning that counts them.  Raises InputError, before anything
    is predicted, where too few are left, and, unless `allow_unknown`, where it is not known what the model was trained on.
    """
    pairs = asked_pairs(store, excluded=excluded, people=people, seed=seed)
    seen = seen_studies(trained_on, pairs, allow_unknown=allow_unknown)
    left_out = {*excluded, *seen}
    human = human_arms(store)
    usable = studies_with_effects(store.item_by_id.values(), human) - left_out
    check_enough(store, usable, excluded=set(excluded), seen=set(seen))
    asked = pairs.where(pl.col("study_id").is_in(usable))
    arms, effects = _arms_and_effects(predict, in_variants, asked)
    kept = [item for item in store.item_by_id.values() if item.study_id not in left_out]
    words = Words.of(kept)
    distance = {study: words.distance(text, excluded=study) for study, text in texts_by_study(kept).items()}
    effects = effects.with_columns(distance=pl.col("study").replace_strict(distance, return_dtype=pl.Float64))
    levels = arms.select(*ARM, predicted="mean").join(human, on=ARM, maintain_order="left")
    return Collection(
        effects=with_human_effects(effects, human),
        levels=levels.filter(pl.col("n") >= MINIMUM_N).select(*ARM, "predicted", "human"),
        items=tuple(kept),
        source=f"store {store.path.name}, {store.content_hash}",
        excluded=tuple(sorted(excluded)),
        seen=tuple(seen),
    )


def _arms_and_effects(
    predict: Predict, in_variants: InVariants | None, pairs: Pairs
) -> tuple[pl.DataFrame, pl.DataFrame]:
    if in_variants is None:
        predictions = predict(pairs)
        arms = predicted_arms(predictions, pairs.items)
        by_variant = predicted_arms(predictions, pairs.items, by_variant=True)
        return arms, predicted_effects(arms, by_variant=by_variant)
    varied = in_variants(pairs)
    together = Predictions(frame=pl.concat([predicted.predictions.frame for _, predicted in varied]))
    arms = predicted_arms(together, pairs.items)
    return arms, with_spread(predicted_effects(arms), summary_of_past(varied))


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
        if item.scale.kind == "levels" and not item.scale.nominal and item.study_id not in excluded:
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
                "--allow-unknown if you know that they came after its training."
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


def human_arms(store: StudyStore, responses: pl.DataFrame | None = None) -> pl.DataFrame:
    """Mean and squared standard error of people's answers in each arm, in percentage points of the scale's range.

    `responses` are some of the store's, by default all.  Columns study, outcome, condition, human, se2, n; texts of one arm count by their answers, survey weights as
    linearized.
    """
    people = store.participants.select("study_id", "participant_id", of_person="weight")
    responses = store.responses if responses is None else responses
    answers = responses.join(store.items.select("item_id", "study_id"), on="item_id").join(
        people, on=["study_id", "participant_id"], how="left"
    )
    rows = []
    for (item_id,), own in answers.group_by(["item_id"], maintain_order=True):
        item = store.item_by_id[str(item_id)]
        if item.scale.kind != "levels" or item.scale.nominal:
            continue
        levels = np.asarray(item.scale.levels, float)
        own = own.filter(pl.col("value").is_in(levels.tolist()))
        at = positions(levels)[np.searchsorted(levels, own["value"].to_numpy())]
        weight = own.select(pl.coalesce("weight", "of_person", pl.lit(1.0))).to_series().to_numpy()
        if at.size < 2 or not weight.sum() > 0:
            continue
        share = weight / weight.sum()
        mean = float(share @ at)
        se2 = float(share**2 @ (at - mean) ** 2) * at.size / (at.size - 1)
        rows.append((item.study_id, item.outcome, item.condition, mean, se2, at.size))
    schema: dict[str, type[pl.DataType]] = dict.fromkeys(ARM, pl.String)
    schema |= {"human": pl.Float64, "se2": pl.Float64, "n": pl.Int64}
    share = pl.col("n") / pl.col("n").sum()
    return (
        pl.DataFrame(rows, schema=schema, orient="row")
        .group_by(ARM, maintain_order=True)
        .agg(human=(share * pl.col("human")).sum(), se2=(share**2 * pl.col("se2")).sum(), n=pl.col("n").sum())
    )


def with_human_effects(effects: pl.DataFrame, human: pl.DataFrame) -> pl.DataFrame:
    """The contrasts of which both arms have MINIMUM_N answers, with people's effect and its standard errors."""
    enough = human.filter(pl.col("n") >= MINIMUM_N, pl.col("se2") > 0)
    reference = enough.rename({"condition": "reference"})
    joined = effects.join(enough, on=ARM, maintain_order="left").join(
        reference, on=["study", "outcome", "reference"], suffix="_0", maintain_order="left"
    )
    return joined.with_columns(
        human=pl.col("human") - pl.col("human_0"),
        human_se=(pl.col("se2") + pl.col("se2_0")).sqrt(),
        reference_se=pl.col("se2_0").sqrt(),
    ).select(*CALIBRATION)
