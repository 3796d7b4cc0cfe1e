"""People with predictions, some of whom answered, and a row of what was estimated from them."""

import functools

import numpy as np
import polars as pl

ROWS, LABELED = 600, 150


@functools.cache
def people() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Predictions with all variables, and answers of the first 150."""
    rng = np.random.default_rng(0)
    treatment, age = rng.integers(0, 2, ROWS), rng.integers(18, 80, ROWS)
    party = rng.choice(["blue", "green", "red"], ROWS)
    taste = rng.normal(size=ROWS)
    y = 3 + 0.5 * treatment + 0.01 * age + taste
    frame = pl.DataFrame(
        {
            "participant_id": [f"p{i}" for i in range(ROWS)],
            "treatment": treatment,
            "age": age,
            "party": party,
            "prediction": 3.5 + 0.1 * treatment + 0.7 * taste + 0.4 * rng.normal(size=ROWS),
        }
    )
    gold = pl.DataFrame({"participant_id": frame["participant_id"][:LABELED], "y": y[:LABELED]})
    return frame, gold


def row(found, method, term):
    """What one method says of one term."""
    return found.table.filter((pl.col("method") == method) & (pl.col("term") == term)).row(0, named=True)
