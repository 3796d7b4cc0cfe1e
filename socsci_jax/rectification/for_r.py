"""The joined rows of `rectify` as packages of R take them."""

from __future__ import annotations

import polars as pl

from socsci_jax.rectification.formula import Formula
from socsci_jax.rectification.predicted import ARM_0, ARM_1, PREDICTION
from socsci_jax.rectification.prepare import Prepared

# What stands in the table under these names cannot be a variable of it as well.
Y, D, S0, S1, LABELED = "Y", "D", "S0", "S1", "labeled"


def people_for_r(
    data: Prepared, keys: tuple[str, ...], formula: Formula, treatment: str | None
) -> pl.DataFrame:
    """One row a person: keys, `Y` (null for who was not asked), and every other column of both tables.

    Where both arms are predicted also `D` (1 treated, 0 control, null for personas without an arm), `S0` and `S1`, as the
    package mixedsubjects takes them; else `prediction` and `labeled` (1 for who was asked), as dsl and ipd do.
    """
    frame = data.frame
    both_arms = ARM_0 in frame.columns
    if both_arms:
        frame = pl.concat([frame.drop(PREDICTION), data.personas.select(frame.drop(PREDICTION).columns)])
        assert treatment is not None
        made = [pl.col(treatment).cast(pl.Int64).alias(D), pl.col(ARM_0).alias(S0), pl.col(ARM_1).alias(S1)]
    else:
        made = [
            pl.col(PREDICTION).alias("prediction"),
            pl.col(formula.outcome).is_not_null().cast(pl.Int64).alias(LABELED),
        ]
    made = [pl.col(formula.outcome).alias(Y), *made]
    taken = {
        *keys,
        formula.outcome,
        *((treatment,) if both_arms else ()),
        *(Y, D, S0, S1, LABELED, "prediction"),
    }
    rest = [name for name in frame.columns if name not in taken and not name.startswith("socsci_jax:")]
    return frame.select(*keys, *made, *rest)
