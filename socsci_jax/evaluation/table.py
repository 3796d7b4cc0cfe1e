"""The evaluation table: its columns, the names that stand in them, and how its rows are made.

One row is one metric value.  A row with condition and outcome is one item, a row with only a study the mean over its
items, a row with neither the part of the split as a whole.  Where `reference` is given, the value is that of
`predictor` minus that of `reference`, paired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from socsci_jax.evaluation.intervals import Estimate

SCHEMA_VERSION = 2

EVALUATION_SCHEMA = pa.schema(
    [
        ("metric", pa.string()),
        # By what a distance was divided: "scale" (the scale's own range) or "observed" (the range that people used).
        ("normalization", pa.string()),
        # What predictions were read: "exact" (probabilities) or "sampled" (one draw for each person).
        ("source", pa.string()),
        ("predictor", pa.string()),
        ("reference", pa.string()),
        ("part", pa.string()),
        ("study", pa.string()),
        ("condition", pa.string()),
        ("outcome", pa.string()),
        ("group", pa.string()),
        ("value", pa.float64()),
        ("lo", pa.float64()),
        ("hi", pa.float64()),
        # Human answers of an item, items of a study, studies of a part; contrasts or condition means for effects.
        ("n", pa.int64()),
        # What was resampled for lo and hi: studies, conditions, outcomes, participants or documents.
        ("resampled", pa.string()),
        # What a reader must know of this one value.
        ("flag", pa.string()),
    ]
)
COLUMNS = tuple(EVALUATION_SCHEMA.names)
_EMPTY = pl.from_arrow(EVALUATION_SCHEMA.empty_table())
assert isinstance(_EMPTY, pl.DataFrame)
POLARS_SCHEMA = _EMPTY.schema

SCALE, OBSERVED = "scale", "observed"
EXACT, SAMPLED = "exact", "sampled"

# Predictors.  Baselines come from training answers, references from the answers that are judged.
MODEL = "model"
UNIFORM = "uniform"
TRAINING_MARGINAL = "training_marginal"
CONDITION_POOLED = "condition_pooled"
DEMOGRAPHICS = "demographics"
SPLIT_HALF = "split_half"
NO_EFFECT = "no_effect"
EVERY_ARM_WORKS = "every_arm_works"
CELL_MARGINAL = "cell_marginal"
TEST_RETEST = "test_retest"
HUMAN = "human"
PROBE = "hidden_state_probe"
MEAN_OF_PREDICTORS = "mean_of_predictors"
PILOTS = (5, 20, 50)


def pilot(people: int) -> str:
    """Name of the predictor that is a sample of so many people."""
    return f"pilot_{people}"


BASELINES = (UNIFORM, TRAINING_MARGINAL, CONDITION_POOLED, SPLIT_HALF)
MORE_BASELINES = (
    DEMOGRAPHICS,
    PROBE,
    MEAN_OF_PREDICTORS,
    *(pilot(n) for n in PILOTS),
    CELL_MARGINAL,
    TEST_RETEST,
)
PREDICTOR_TITLES = {
    MODEL: "model",
    UNIFORM: "uniform",
    TRAINING_MARGINAL: "training marginal",
    CONDITION_POOLED: "pooled over conditions",
    SPLIT_HALF: "split half",
    DEMOGRAPHICS: "demographics only",
    **{pilot(n): f"pilot of {n}" for n in PILOTS},
    PROBE: "probe of hidden states",
    MEAN_OF_PREDICTORS: "mean of predictors",
    NO_EFFECT: "no effect",
    EVERY_ARM_WORKS: "every arm works",
    CELL_MARGINAL: "item's other people",
    TEST_RETEST: "test-retest",
    HUMAN: "people",
}


def row(
    metric: str,
    estimate: Estimate,
    *,
    part: str,
    predictor: str,
    n: int,
    normalization: str | None = None,
    source: str | None = None,
    reference: str | None = None,
    study: str | None = None,
    condition: str | None = None,
    outcome: str | None = None,
    group: str | None = None,
) -> dict[str, object]:
    """One row; `resampled` is null where there is no interval."""
    return {
        "metric": metric,
        "normalization": normalization,
        "source": source,
        "predictor": predictor,
        "reference": reference,
        "part": part,
        "study": study,
        "condition": condition,
        "outcome": outcome,
        "group": group,
        "value": estimate.value,
        "lo": estimate.lo,
        "hi": estimate.hi,
        "n": n,
        "resampled": estimate.resampled if estimate.lo is not None else None,
        "flag": estimate.flag,
    }


def table_of(rows: Sequence[Mapping[str, object]]) -> pl.DataFrame:
    """The table of rows as `row` makes them."""
    return pl.DataFrame(rows, schema=POLARS_SCHEMA, orient="row")


def columns_of(
    places: Mapping[str, pl.Series],
    values: Sequence[np.ndarray],
    n: Sequence[np.ndarray],
    same: Sequence[Mapping[str, str | None]],
) -> pl.DataFrame:
    """Rows of many metrics at once, without intervals: `values` and `n` of each metric over the rows of `places`.

    `same` holds for all rows of a metric; what is not finite becomes null.
    """
    if not values:
        return table_of([])
    # Made of whole columns: a table for each of hundreds of metrics would take a third of a small evaluation's time.
    value = np.concatenate(values)
    metric = np.repeat(np.arange(len(values)), [one.size for one in values])
    given: dict[str, Any] = {"value": np.where(np.isfinite(value), value, np.nan), "n": np.concatenate(n)}
    given |= {name: pl.concat([place] * len(values)) for name, place in places.items()}
    return pl.DataFrame(
        [
            pl.Series(name, given[name], dtype=dtype, nan_to_null=True)
            if name in given
            else pl.Series(name, [one.get(name) for one in same], dtype=dtype).gather(metric)
            for name, dtype in POLARS_SCHEMA.items()
        ]
    )
