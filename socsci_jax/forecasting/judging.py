"""How forecasts did against what people answered: coverage, and error compared with "no effect" and the raw predictions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from socsci_jax.forecasting.calibration import FEWEST_STUDIES, Calibration, calibrate
from socsci_jax.forecasting.intervals import LEVELS, expected_effects, measured_moments, quantile
from socsci_jax.forecasting.table import HUMAN, calibration_table

RESAMPLES = 2_000
FOLDS = 10
CURVE = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
Statistic = Callable[[np.ndarray], float]


def leaving_studies_out(table: pl.DataFrame, *, folds: int = FOLDS, seed: int = 0) -> pl.DataFrame:
    """Forecasts of every study by calibration on the others: `against_people` of each fold, in the table's order."""
    table = calibration_table(table).with_row_index("row")
    studies = table["study"].unique().sort().to_numpy()
    folds = min(folds, studies.size)
    fold_of = dict(
        zip(np.random.default_rng(seed).permutation(studies), np.arange(studies.size) % folds, strict=True)
    )
    fold = table["study"].replace_strict(fold_of, return_dtype=pl.Int64)
    forecasts = []
    for k in range(folds):
        own = table.filter(fold == k)
        forecasts.append(against_people(calibrate(table.filter(fold != k).drop("row")), own))
    return pl.concat(forecasts).sort("row").drop("row")


def checked_on(calibration: Calibration, effects: pl.DataFrame) -> pl.DataFrame:
    """Forecasts of the calibration's own studies, each from the others; empty where too few would be left to learn from."""
    known = effects.drop_nulls(["human", "human_se"])
    studies = known["study"].n_unique()
    enough = studies - -(-studies // min(FOLDS, studies)) >= FEWEST_STUDIES
    return leaving_studies_out(known) if enough else against_people(calibration, known.clear())


def against_people(calibration: Calibration, table: pl.DataFrame) -> pl.DataFrame:
    """Forecasts and measured effects; intervals are those of an effect that is measured with its standard error."""
    judged = expected_effects(calibration, table)
    return judged.with_columns(
        pl.when(pl.col("abstains") == "")
        .then(pl.col("human").is_between(f"lo_{level * 100:.0f}", f"hi_{level * 100:.0f}"))
        .alias(f"covered_{level * 100:.0f}")
        for level in LEVELS
    )


def coverage_curve(
    calibration: Calibration, table: pl.DataFrame, *, levels: tuple[float, ...] = CURVE
) -> pl.DataFrame:
    """Columns level and covered: the share of measured effects within intervals of each nominal level."""
    if table.is_empty():
        return pl.DataFrame(schema={"level": pl.Float64, "covered": pl.Float64})
    mean, sd_k = measured_moments(calibration, table)
    inside = []
    for level in levels:
        ends = [
            mean + quantile(tail, sd_k, calibration.weights) for tail in ((1 - level) / 2, (1 + level) / 2)
        ]
        human = table["human"].to_numpy()
        inside.append(float(((ends[0] <= human) & (human <= ends[1])).mean()))
    return pl.DataFrame({"level": levels, "covered": inside})


def judgment(judged: pl.DataFrame, *, seed: int = 0) -> pl.DataFrame:
    """Columns measure, value, lo, hi (95 %, studies resampled; null for one study), n; over forecasts that were given.

    Coverage is the mean over studies of each study's share.  Errors are root mean squares over contrasts, in percentage
    points, sampling error of people included; `..._minus_...` are differences, paired: below zero where the forecast is nearer.
    """
    told = judged.filter(pl.col("abstains") == "")
    abstained = 1 - told.height / max(judged.height, 1)
    rows: list[tuple[object, ...]] = [("abstained", abstained, None, None, judged.height)]
    if not told.is_empty():
        study = told["study"].rank("dense").to_numpy().astype(int) - 1
        human = told["human"].to_numpy()
        size = study.max() + 1
        n_s = np.bincount(study)
        rng = np.random.default_rng(seed)
        weights = np.concatenate(
            [np.ones((1, size)), rng.multinomial(size, np.full(size, 1 / size), RESAMPLES)]
        )

        def add(measure: str, values: np.ndarray) -> None:
            ends = np.quantile(values[1:], [0.025, 0.975]) if size > 1 else (None, None)
            rows.append((measure, float(values[0]), *ends, told.height))

        for level in LEVELS:
            covered = told[f"covered_{level * 100:.0f}"].to_numpy().astype(float)
            by_study = np.bincount(study, weights=covered) / n_s
            add(f"coverage_{level * 100:.0f}", weights @ by_study / weights.sum(axis=1))
        errors = {}
        for name, predicted in (
            ("forecast", told["expected"].to_numpy()),
            ("raw", told["predicted"].to_numpy()),
            ("no_effect", np.zeros_like(human)),
        ):
            squares = np.bincount(study, weights=(human - predicted) ** 2)
            errors[name] = np.sqrt(weights @ squares / (weights @ n_s))
            add(f"rmse_{name}", errors[name])
        add("rmse_forecast_minus_raw", errors["forecast"] - errors["raw"])
        add("rmse_forecast_minus_no_effect", errors["forecast"] - errors["no_effect"])
        width = (told["hi_90"] - told["lo_90"]).to_numpy()
        add("width_90", weights @ np.bincount(study, weights=width) / (weights @ n_s))
    schema = {"measure": pl.String, **dict.fromkeys(("value", "lo", "hi"), pl.Float64), "n": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def without_people(table: pl.DataFrame) -> pl.DataFrame:
    """The same contrasts as if nobody had been asked."""
    return table.drop(HUMAN, strict=False)
