"""Expected effects with intervals, signs and ranks, from what calibration learned.

A new study's scale is not known: its effects are a mixture of normal distributions around what is expected, one for each
scale of GRID.  Nothing here depends on how many people were simulated.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import scipy.special

from socsci_jax.forecasting.calibration import Calibration
from socsci_jax.forecasting.mixture import GRID

LEVELS = (0.5, 0.9)
DRAWS = 4_000
_STEPS = 60


def expected_effects(calibration: Calibration, table: pl.DataFrame) -> pl.DataFrame:
    """Adds to predicted effects what is expected of people, in percentage points of the scale's range.

    Columns: expected, lo_50, hi_50, lo_90, hi_90, p_positive, and abstains, the reason why there is no forecast, for which
    all others are null.  With a column `human_se` intervals are those of effects measured with that error.
    """
    mean, sd_k = measured_moments(calibration, table)
    columns = {"expected": mean}
    for level in LEVELS:
        for name, tail in (("lo", (1 - level) / 2), ("hi", (1 + level) / 2)):
            columns[f"{name}_{level * 100:.0f}"] = mean + quantile(tail, sd_k, calibration.weights)
    below = scipy.special.ndtr(-mean[:, None] / np.maximum(sd_k, 1e-12)) @ calibration.weights
    columns["p_positive"] = 1 - below
    abstains = pl.Series("abstains", calibration.why_not(table), dtype=pl.String)
    added = table.with_columns(
        abstains, *(pl.Series(name, own, dtype=pl.Float64) for name, own in columns.items())
    )
    told = pl.col("abstains") == ""
    return added.with_columns(pl.when(told).then(pl.col(name)).alias(name) for name in columns)


def measured_moments(calibration: Calibration, table: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Mean [N] and, for each scale a study may have, standard deviation [N, K] of an effect; with a column `human_se` of
    an effect that is measured with that error."""
    mean, variance_k = _moments(calibration, table)
    noise = table["human_se"].to_numpy() ** 2 if "human_se" in table.columns else np.zeros(len(mean))
    return mean, np.sqrt(variance_k + noise[:, None])


def _moments(calibration: Calibration, table: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Mean [N] and, for each scale a study may have, variance [N, K] of a true effect."""
    design = calibration.design(table)
    scale = np.exp(calibration.log_scale(table) @ calibration.scale)
    uncertain = np.einsum("np,pq,nq->n", design, calibration.covariance, design)
    return calibration.expected(table), (scale[:, None] * GRID) ** 2 + uncertain[:, None]


def quantile(tail: float, sd_nk: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The quantile [N] of mixtures of normal distributions around zero, by bisection."""
    sd = np.maximum(sd_nk, 1e-12)
    reach = 10 * sd.max(axis=1)
    lo, hi = -reach, reach
    for _ in range(_STEPS):
        middle = (lo + hi) / 2
        below = scipy.special.ndtr(middle[:, None] / sd) @ weights < tail
        lo, hi = np.where(below, middle, lo), np.where(below, hi, middle)
    return (lo + hi) / 2


def draw_effects(
    calibration: Calibration, table: pl.DataFrame, *, rng: np.random.Generator, draws: int = DRAWS
) -> np.ndarray:
    """Joint draws [draws, N] of true effects: one scale and one set of coefficients for a study, one deviation for each
    arm and reference of an outcome."""
    design = calibration.design(table)
    scale = np.exp(calibration.log_scale(table) @ calibration.scale)
    b = rng.multivariate_normal(np.zeros(design.shape[1]), calibration.covariance, size=draws, method="svd")
    tau = rng.choice(GRID, size=draws, p=calibration.weights / calibration.weights.sum())
    reference = table.select(pl.struct("study", "outcome", "reference").rank("dense")).to_series()
    group = reference.to_numpy().astype(int) - 1
    own = rng.standard_normal((draws, table.height))
    shared = rng.standard_normal((draws, group.max() + 1))[:, group]
    return calibration.expected(table) + b @ design.T + tau[:, None] * scale * (own - shared) / np.sqrt(2)


def ranks(
    calibration: Calibration, table: pl.DataFrame, *, rng: np.random.Generator, draws: int = DRAWS
) -> pl.DataFrame:
    """Probability that an arm, the reference among them, has the highest and the lowest mean of its outcome.

    Columns: study, outcome, condition, p_highest, p_lowest.  Of an outcome with an arm without a forecast there are none.
    """
    told = pl.Series(calibration.why_not(table)) == ""
    kept = table.with_columns(told=told).filter(pl.col("told").all().over("study", "outcome", "reference"))
    rows: list[tuple[object, ...]] = []
    if kept.is_empty():
        return _rank_table(rows)
    effects = draw_effects(calibration, kept, rng=rng, draws=draws)
    numbered = kept.with_row_index("at")
    for (study, outcome, reference), own in numbered.group_by(
        ["study", "outcome", "reference"], maintain_order=True
    ):
        with_reference = np.column_stack([effects[:, own["at"].to_numpy()], np.zeros(draws)])
        names = [*own["condition"], reference]
        for best, worst, name in zip(
            *(
                np.bincount(place, minlength=len(names)) / draws
                for place in (with_reference.argmax(axis=1), with_reference.argmin(axis=1))
            ),
            names,
        ):
            rows.append((study, outcome, name, best, worst))
    return _rank_table(rows)


def _rank_table(rows: list[tuple[object, ...]]) -> pl.DataFrame:
    schema: dict[str, type[pl.DataType]] = dict.fromkeys(("study", "outcome", "condition"), pl.String)
    schema |= dict.fromkeys(("p_highest", "p_lowest"), pl.Float64)
    return pl.DataFrame(rows, schema=schema, orient="row")
