"""Whether intervals of subgroups cover, on invented collections in which the true effect on each group is known.

    python -m benchmarks.subgroup_coverage --collections 40

Two groups answer every outcome.  Their true effects are everybody's and a deviation, whose scale is a share of that of the
study's effects; a good model knows a third of the deviation, a useless one nothing.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from benchmarks.forecast_coverage import invented_effects
from benchmarks.options import options_of
from socsci_jax.forecasting.calibration import calibrate
from socsci_jax.forecasting.intervals import expected_effects
from socsci_jax.forecasting.judging import without_people
from socsci_jax.forecasting.table import calibration_table

KINDS, SHARES = ("good", "useless"), (0.3, 1.0)
KNOWN = 0.3  # of a group's deviation, to a good model


def invented_groups(rng: np.random.Generator, *, kind: str, studies: int, share: float) -> pl.DataFrame:
    """A calibration table with the column `true`: outcomes as each of two groups answers them."""
    everybody = invented_effects(rng, kind=kind, studies=studies)
    scale = everybody.select(pl.col("true").std().over("study").fill_null(1.0)).to_series().to_numpy()
    groups = []
    for group in ("Female", "Male"):
        deviation = rng.normal(size=everybody.height) * share * scale
        # Half of the people each.
        se = everybody["human_se"].to_numpy() * np.sqrt(2)
        true = everybody["true"].to_numpy() + deviation
        told = KNOWN * deviation if kind == "good" else 0.0
        groups.append(
            everybody.with_columns(
                outcome=pl.concat_str("outcome", pl.lit(group), separator=", "),
                true=pl.Series(true),
                predicted=pl.Series(everybody["predicted"].to_numpy() + told),
                human=pl.Series(true + rng.normal(size=everybody.height) * se),
                human_se=pl.Series(se),
                reference_se=pl.col("reference_se") * np.sqrt(2),
            )
        )
    return pl.concat(groups)


def coverage(rng: np.random.Generator, *, kind: str, share: float, studies: int = 30, new: int = 20) -> float:
    """The share of groups' true effects in new studies that 90 % intervals hold."""
    known = invented_groups(rng, kind=kind, studies=studies, share=share)
    unseen = invented_groups(rng, kind=kind, studies=new, share=share)
    asked = without_people(calibration_table(unseen))
    told = expected_effects(calibrate(calibration_table(known)), asked).with_columns(unseen["true"])
    inside = pl.col("true").is_between("lo_90", "hi_90").mean()
    return float(told.filter(pl.col("abstains") == "").select(inside).item())


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--collections", type=int, default=40)
    a = parser.parse_args()
    for k, kind in enumerate(KINDS):
        for share in SHARES:
            seeds = ([n, k, int(10 * share)] for n in range(a.collections))
            found = [coverage(np.random.default_rng(seed), kind=kind, share=share) for seed in seeds]
            error = np.std(found) / np.sqrt(a.collections)
            print(
                f"{kind} model, deviations of {share} times the effects' scale: {np.mean(found):.3f} ± {error:.3f}"
            )


if __name__ == "__main__":
    main()
