"""The columns of the tables that forecasting passes on; effects are in percentage points of the scale's range."""

from __future__ import annotations

import numpy as np
import polars as pl

from socsci_jax.errors import InputError

# What tells a contrast: the condition, less its reference, on one outcome.
KEY = ("study", "outcome", "condition", "reference")
# What calibration may use beside the predicted effect.  `spread`: standard deviation of the predicted effect over variants
# of the prompt; `distance`: 0 (the same words) to 1 (none) from the nearest study that calibration knows; `options`: number
# of response options; `mass`: probability of valid answers.  Null where it is not known.
FEATURES = ("spread", "distance", "options", "mass")
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
_OPTIONAL = ("undirected", "reference", *FEATURES, "reference_se")


def calibration_table(frame: pl.DataFrame) -> pl.DataFrame:
    """Checks a table of effects that people and predictions have in common, and fills in what may be left out.

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
    if filled.select(KEY).is_duplicated().any():
        raise InputError("the calibration table has a contrast twice; keep one row for each.")
    return filled
