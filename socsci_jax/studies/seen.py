"""Parts of a split, corrected by what a model has really seen: nothing seen stands under an unseen name."""

from __future__ import annotations

import dataclasses

import polars as pl

from socsci_jax.studies.splits import PARTS, TRAIN
from socsci_jax.studies.trained_on import UNSEEN
from socsci_jax.wording import counted, counted_of

_PART_OF = dict(zip(UNSEEN, (*PARTS, TRAIN), strict=True))


@dataclasses.dataclass(frozen=True, eq=False)
class Correction:
    """Labeled answers with the parts that are true of the model, and how many were moved.

    `moved` has one row per claimed and true part: claimed, true, answers.  `unknown` counts answers of held-out parts of
    which nobody knows whether the model was trained on them; where it is known of others, they are in no part
    (`excludes_unknown`).
    """

    labeled: pl.DataFrame
    moved: pl.DataFrame
    claimed: int
    unknown: int
    excludes_unknown: bool

    @property
    def sentences(self) -> list[str]:
        """What a reader must know first; empty if every part is what it says, and known to be."""
        sentences = []
        seen = int(self.moved.filter(pl.col("true") == TRAIN)["answers"].sum())
        if seen:
            sentences.append(
                f"{counted_of(seen, self.claimed, 'answer', 'that the split calls unseen was trained on; it is', 'that the split calls unseen were trained on; they are')} excluded."
            )
        for claimed, true, answers in self.moved.filter(pl.col("true") != TRAIN).iter_rows():
            sentences.append(
                f"{counted(answers, 'answer')} that the split calls {_words(claimed)} are {_words(true)} for this model, which was "
                "trained on the rest of them; they are counted there."
            )
        if self.excludes_unknown:
            sentences.append(
                f"Of {counted(self.unknown, 'answer')} that the split calls unseen it is not known whether the model was trained "
                "on them; they are excluded."
            )
        elif self.unknown:
            sentences.append(
                f"It is not known what the model was trained on: {counted(self.unknown, 'answer')} that are called unseen "
                "may have been used in training."
            )
        return sentences


def correct_parts(labeled: pl.DataFrame, predictions: pl.DataFrame) -> Correction:
    """Moves every answer to the part that it belongs to for the model that made `predictions`.

    `labeled` has item_id, participant_id and part, as `Split.label` gives them; `predictions` has `seen` or `unseen` or
    both, null where it is not known; a row without a participant is about everybody.  Where several rows are about one
    answer, that which leaves least unseen counts.  An answer of a study that the model never saw stays in whichever part
    claims it, and so does one of which only `seen` is told and false.  Answers of which nothing is told leave the
    held-out parts, unless nothing is told of any.
    """
    unseen = _least_unseen(predictions)
    held_out = ~pl.col("part").is_in([TRAIN, "validation"])
    everybody = unseen.filter(pl.col("participant_id").is_null()).select(
        "item_id", for_all="unseen", told_of_all="told"
    )
    joined = (
        labeled.join(
            unseen.with_columns(own=pl.lit(True)),
            on=["item_id", "participant_id"],
            how="left",
            maintain_order="left",
        )
        .join(everybody, on="item_id", how="left", maintain_order="left")
        # What is not known of a person's own row is not known, whatever a row about everybody says.
        .with_columns(
            unseen=pl.when("own").then("unseen").otherwise("for_all"),
            told=pl.when("own").then("told").otherwise("told_of_all"),
        )
        .drop("for_all", "own", "told_of_all")
        .join(
            predictions.select("item_id").unique().with_columns(predicted=True),
            on="item_id",
            how="left",
            maintain_order="left",
        )
    )
    true = pl.col("unseen").replace_strict(_PART_OF, default=None)
    stays = ~held_out | pl.col("unseen").is_null() | (pl.col("unseen") == "study") | (true == pl.col("part"))
    # Without a split all answers are one part, from which only what was trained on is taken.
    stays = stays | ((pl.col("part") == "all") & (true != TRAIN))
    corrected = joined.with_columns(true=pl.when(stays).then("part").otherwise(true))
    moved = (
        corrected.filter(pl.col("part") != pl.col("true"))
        .group_by(claimed="part", true="true")
        .len("answers")
        .sort("claimed", "true")
    )
    asked = held_out & pl.col("predicted").is_not_null()
    is_unknown = asked & ~pl.col("told").fill_null(False)
    claimed, unknown = joined.select(asked.sum().alias("claimed"), is_unknown.sum().alias("unknown")).row(0)
    excludes_unknown = 0 < unknown < claimed
    if excludes_unknown:
        corrected = corrected.filter(~is_unknown)
    return Correction(
        labeled=corrected.with_columns(part="true").drop("true", "unseen", "told", "predicted"),
        moved=moved,
        claimed=claimed,
        unknown=unknown,
        excludes_unknown=excludes_unknown,
    )


def _least_unseen(predictions: pl.DataFrame) -> pl.DataFrame:
    """item_id, participant_id, unseen, told: one row each; null where one of its rows is not known and none was trained on.

    `told` says whether it is known if the answer was trained on: `seen` may be false and `unseen` null.
    """
    columns = [
        pl.col(name) if name in predictions.columns else pl.lit(None).alias(name)
        for name in ("seen", "unseen")
    ]
    told = pl.when(pl.col("seen").fill_null(False)).then(pl.lit(UNSEEN[-1])).otherwise("unseen")
    rank = told.replace_strict(
        {name: at for at, name in enumerate(UNSEEN)}, default=None, return_dtype=pl.Int8
    )
    rows = predictions.select("item_id", "participant_id", *columns)
    least = (
        rows.select(
            "item_id", "participant_id", rank=rank, told=rank.is_not_null() | pl.col("seen").is_not_null()
        )
        .group_by("item_id", "participant_id")
        .agg(pl.col("rank").max(), known=pl.col("rank").is_not_null().all(), told=pl.col("told").all())
    )
    certain = pl.col("known") | (pl.col("rank") == len(UNSEEN) - 1)
    name = pl.col("rank").replace_strict(dict(enumerate(UNSEEN)), default=None, return_dtype=pl.String)
    return least.select(
        "item_id", "participant_id", unseen=pl.when(certain).then(name), told=pl.col("told") | certain
    )


def answers_seen(predictions: pl.DataFrame) -> dict[tuple[str, str | None], bool | None]:
    """Whether each answer (item, participant) was trained on, as its rows tell together; None where it is not known."""
    rows = _least_unseen(predictions)
    seen = pl.when(pl.col("told")).then((pl.col("unseen") == UNSEEN[-1]).fill_null(False))
    return {
        (item, person): value for item, person, value in rows.select("item_id", "participant_id", seen).rows()
    }


def _words(part: str) -> str:
    return part.replace("_", " ")
