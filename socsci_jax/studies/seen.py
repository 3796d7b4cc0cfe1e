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
    which nobody knows whether the model was trained on them.
    """

    labeled: pl.DataFrame
    moved: pl.DataFrame
    claimed: int
    unknown: int

    @property
    def sentences(self) -> list[str]:
        """What a reader must know first; empty if every part is what it says, and known to be."""
        found = []
        seen = int(self.moved.filter(pl.col("true") == TRAIN)["answers"].sum())
        if seen:
            found.append(
                f"{counted_of(seen, self.claimed, 'answer', 'that the split calls unseen was trained on; it is', 'that the split calls unseen were trained on; they are')} excluded."
            )
        for claimed, true, answers in self.moved.filter(pl.col("true") != TRAIN).iter_rows():
            found.append(
                f"{counted(answers, 'answer')} that the split calls {_words(claimed)} are {_words(true)} for this model, which was "
                "trained on the rest of them; they are counted there."
            )
        if self.unknown:
            found.append(
                f"It is not known what the model was trained on: {counted(self.unknown, 'answer')} that are called unseen "
                "may have been used in training."
            )
        return found


def correct_parts(labeled: pl.DataFrame, predictions: pl.DataFrame) -> Correction:
    """Moves every answer to the part that it belongs to for the model that made `predictions`.

    `labeled` has item_id, participant_id and part, as `Split.label` gives them; `predictions` has `seen` or `unseen` or
    both, null where it is not known; a row without a participant is about everybody.  Where several rows are about one
    answer, that which leaves least unseen counts.  An answer of a study that the model never saw stays in whichever part
    claims it.
    """
    unseen = _least_unseen(predictions)
    held_out = ~pl.col("part").is_in([TRAIN, "validation"])
    everybody = unseen.filter(pl.col("participant_id").is_null()).select("item_id", for_all="unseen")
    joined = (
        labeled.join(
            unseen.with_columns(own=pl.lit(True)),
            on=["item_id", "participant_id"],
            how="left",
            maintain_order="left",
        )
        .join(everybody, on="item_id", how="left", maintain_order="left")
        # What is not known of a person's own row is not known, whatever a row about everybody says.
        .with_columns(unseen=pl.when("own").then("unseen").otherwise("for_all"))
        .drop("for_all", "own")
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
    predicted = predictions.select("item_id").unique()
    asked = joined.join(predicted, on="item_id", how="semi").filter(held_out)
    return Correction(
        labeled=corrected.with_columns(part="true").drop("true", "unseen"),
        moved=moved,
        claimed=asked.height,
        unknown=asked["unseen"].null_count(),
    )


def _least_unseen(predictions: pl.DataFrame) -> pl.DataFrame:
    """item_id, participant_id, unseen: one row each, null where one of its rows is not known and none was trained on."""
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
        rows.select("item_id", "participant_id", rank=rank)
        .group_by("item_id", "participant_id")
        .agg(pl.col("rank").max(), known=pl.col("rank").is_not_null().all())
    )
    certain = pl.col("known") | (pl.col("rank") == len(UNSEEN) - 1)
    name = pl.col("rank").replace_strict(dict(enumerate(UNSEEN)), default=None, return_dtype=pl.String)
    return least.select("item_id", "participant_id", unseen=pl.when(certain).then(name))


def _words(part: str) -> str:
    return part.replace("_", " ")
