"""The columns of the tables that forecasting passes on; effects are in percentage points of the scale's range."""

from __future__ import annotations

import numpy as np
import polars as pl

from socsci_jax.errors import InputError

# What tells a contrast: the condition, less its reference, on one outcome.
KEY = ("study", "outcome", "condition", "reference")
# What calibration may use besides the predicted effect.  `spread`: standard deviation of the predicted effect over variants
# of the prompt; `distance`: 0 (the same words) to 1 (none) from the nearest study that calibration knows; `options`: number
# of response options; `mass`: probability of valid answers; `study_size`: root mean square of all effects that are predicted of
# the study, which tells how large people's are.  Null where it is not known.
FEATURES = ("spread", "distance", "options", "mass", "study_size")
PREDICTED: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(KEY, pl.String),
    # There is no control: which of the two arms is the reference is arbitrary.
    "undirected": pl.Boolean,
    "predicted": pl.Float64,
    **dict.fromkeys(FEATURES, pl.Float64),
}
# What people answered; `human_se` is the standard error of the effect, `reference_se` that of the reference's mean, which
# all effects of an outcome share.
HUMAN: dict[str, type[pl.DataType]] = dict.fromkeys(("human", "human_se", "reference_se"), pl.Float64)
CALIBRATION = PREDICTED | HUMAN

# The specification curve: each effect under each variant of the prompt that was asked.
VARIANTS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(KEY, pl.String),
    "rank": pl.Int64,  # within the effect, from 1 for the smallest value
    "variant": pl.String,  # the three choices in words; unique within the effect
    "order": pl.String,  # codes of the response options as they are listed: "3 1 2"; "" where none are listed
    "wording": pl.String,  # name of the wording; "" for the question itself
    "persona_format": pl.String,
    "is_base": pl.Boolean,  # as the experiment is written, which is what a forecast without variants asks
    "predicted": pl.Float64,
    # The error that the balanced assignment leaves, and the 90 % interval for what all personas would have given; 0 and the
    # value itself where all were asked.
    **dict.fromkeys(("se", "lo", "hi"), pl.Float64),
    "personas": pl.Int64,  # that were asked
}
# What the curve says of each effect.
MULTIVERSE: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(KEY, pl.String),
    "declared": pl.Int64,  # variants
    "asked": pl.Int64,
    "predicted": pl.Float64,  # mean over variants and personas
    **dict.fromkeys(("se", "lo", "hi"), pl.Float64),  # of that mean, as above
    "base": pl.Float64,  # under the variant `is_base`
    **dict.fromkeys(("least", "most"), pl.Float64),  # over variants
    "spread": pl.Float64,  # standard deviation over variants, without the error of the assignment
    "same_sign": pl.Float64,  # share of variants whose effect has the sign of the mean
    "survives": pl.Float64,  # the smallest effect in the mean's direction, as a share of the mean; 0 where a sign turns
    "decisive": pl.String,  # the choice by which effects differ most: order, wording or persona_format
}
# What should move and does not, or moves and should not.  `check`: "persona swap" (answers of another persona), "attribute
# swap" (another value of one attribute), "drift" (the attribute of the implied person, arm against reference) or "negative
# control" (an outcome that no arm can move).
CHECKS: dict[str, type[pl.DataType]] = {
    "check": pl.String,
    **dict.fromkeys(KEY, pl.String),  # "" where the check has none
    "attribute": pl.String,
    "moved": pl.Float64,  # percentage points: of the scale's range; for drift, total variation
    "limit": pl.Float64,  # at which `flagged` turns
    "p": pl.Float64,  # drift only: sign-flip test over personas
    "flagged": pl.Boolean,
    "finding": pl.String,  # one sentence
}
_OPTIONAL = ("undirected", "reference", *FEATURES, "reference_se")


def with_study_size(effects: pl.DataFrame) -> pl.DataFrame:
    """Fills in `study_size`; `effects` are all that are predicted of each study."""
    return effects.with_columns(study_size=(pl.col("predicted") ** 2).mean().over("study").sqrt())


def calibration_table(frame: pl.DataFrame) -> pl.DataFrame:
    """Checks a table of effects that people and predictions have in common, and fills in what may be omitted.

    Raises InputError for a column that is missing, a number that is not finite, a standard error that is none, or a
    contrast that is given twice.
    """
    needed = [name for name in CALIBRATION if name not in _OPTIONAL]
    if missing := [name for name in needed if name not in frame.columns]:
        raise InputError(f"the calibration table lacks column {missing[0]!r}; it needs {', '.join(needed)}.")
    filled = frame.with_columns(
        pl.lit(None).alias(name) for name in _OPTIONAL if name not in frame.columns
    ).select(pl.col(name).cast(dtype, strict=False) for name, dtype in CALIBRATION.items())
    filled = filled.with_columns(
        pl.col("undirected").fill_null(False),
        pl.col("reference").fill_null(""),
        # Of two arms with errors alike, half of the variance is the reference's.
        pl.col("reference_se").fill_null(pl.col("human_se") / np.sqrt(2)),
    )
    for name in ("predicted", "human", "human_se", "reference_se"):
        bad = ~filled[name].is_finite().fill_null(False)
        if name.endswith("_se"):
            bad |= filled[name] < 0
        if bad.any():
            row = int(bad.arg_true()[0])
            raise InputError(f"the calibration table, row {row + 1}: {name} is {filled[name][row]}.")
    if filled["study_size"].null_count():
        filled = with_study_size(filled)
    if filled.select(KEY).is_duplicated().any():
        raise InputError("the calibration table has a contrast twice; keep one row for each.")
    return filled
