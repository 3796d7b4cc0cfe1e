"""Power of a human study that is planned, from predicted spread and what is expected of its effects.

By convention here an effect is found where its 90 % interval excludes zero, and a study is large enough at 95 % power: an
effect then has to be 1.645 + 1.645 = 3.29 standard errors.  Standard errors from a pilot of n people per arm are inflated
by 1 + √(1/n), as a small pilot says little of the spread.  Effects and spreads are in percentage points of the range.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from scipy.special import ndtr, ndtri

from socsci_jax.errors import InputError
from socsci_jax.wording import counted, quoted

LEVEL, POWER = 0.90, 0.95
SIZES = (50, 100, 200, 300, 500, 1_000, 2_000, 5_000)


def standard_error(
    sd_arm: float, sd_reference: float, n: np.ndarray | float, *, pilot: float = np.inf
) -> np.ndarray:
    """Standard error of a difference of means with n people per arm; `pilot` is how many per arm the spreads are from."""
    n = np.asarray(n, float)
    if not (n > 1).all() or not pilot >= 1:
        raise InputError("a study needs at least two people per arm, and a pilot one.")
    return np.sqrt((sd_arm**2 + sd_reference**2) / n) * (1 + math.sqrt(1 / pilot))


def power(effect: np.ndarray | float, se: np.ndarray | float, *, level: float = LEVEL) -> np.ndarray:
    """Chance that the interval of `level` excludes zero, on either side."""
    z = ndtri((1 + level) / 2)
    ratio = np.asarray(effect, float) / np.asarray(se, float)
    return ndtr(ratio - z) + ndtr(-z - ratio)


def people_needed(
    effect: float,
    sd_arm: float,
    sd_reference: float,
    *,
    level: float = LEVEL,
    wanted: float = POWER,
    pilot: float = np.inf,
) -> int | None:
    """People per arm with which an effect is found with the power wanted; None for no effect.

    The chance of a finding on the wrong side is neglected: it is below 1e-4 at any power above one half.
    """
    if not effect:
        return None
    z = ndtri((1 + level) / 2) + ndtri(wanted)
    inflation = 1 + math.sqrt(1 / pilot)
    return max(2, math.ceil((z * inflation / effect) ** 2 * (sd_arm**2 + sd_reference**2)))


def nearest_to_zero(lo: float, hi: float) -> float:
    """The end of an interval that is nearer to zero; 0 where it holds zero."""
    return 0.0 if lo <= 0 <= hi else min((lo, hi), key=abs)


def power_table(
    effects: pl.DataFrame,
    arms: pl.DataFrame,
    *,
    sizes: tuple[int, ...] = SIZES,
    draws: np.ndarray | None = None,
    pilot: float = np.inf,
) -> pl.DataFrame:
    """Columns outcome, condition, n (per arm), power_expected, power_lower, assurance.

    Power is that for the expected effect, and for the end of its 50 % interval that is nearer to zero; `assurance` is
    power averaged over what the effect may be (`draws` [D, N] of `effects`, in its order), null without draws.  Only
    effects that are forecast have rows.
    """
    spread = spread_of(arms)
    rows = []
    for k, row in enumerate(effects.iter_rows(named=True)):
        if row["expected"] is None:
            continue
        sds = standard_deviations(row, spread)
        lower = nearest_to_zero(row["lo_50"], row["hi_50"])
        se_n = standard_error(*sds, np.array(sizes), pilot=pilot)
        assurance = [None] * len(sizes) if draws is None else power(draws[:, k, None], se_n).mean(axis=0)
        told = zip(sizes, se_n, power(row["expected"], se_n), power(lower, se_n), assurance)
        rows += [(row["study"], row["outcome"], row["condition"], *of_size) for of_size in told]
    schema: dict[str, type[pl.DataType]] = dict.fromkeys(("study", "outcome", "condition"), pl.String)
    schema |= {"n": pl.Int64}
    schema |= dict.fromkeys(("se", "power_expected", "power_lower", "assurance"), pl.Float64)
    return pl.DataFrame(rows, schema=schema, orient="row")


def spread_of(arms: pl.DataFrame) -> dict[tuple[str, str, str], float]:
    """Standard deviation of answers by study, outcome and condition."""
    rows = arms.select("study", "outcome", "condition", "sd").iter_rows()
    return {(study, outcome, condition): sd for study, outcome, condition, sd in rows}


def standard_deviations(
    effect: Mapping[str, Any], spread: Mapping[tuple[str, str, str], float]
) -> tuple[float, float]:
    """Of answers in the arm of an effect and in its reference."""
    arm, reference = (
        spread[effect["study"], effect["outcome"], effect[name]] for name in ("condition", "reference")
    )
    return arm, reference


def sentence(effect: Mapping[str, Any], sd_arm: float, sd_reference: float, n: int) -> str:
    """What a manuscript may say of one effect; `effect` is a row of the forecast's effects."""
    lower = nearest_to_zero(float(effect["lo_50"]), float(effect["hi_50"]))
    se = float(standard_error(sd_arm, sd_reference, n))
    smallest = (ndtri((1 + LEVEL) / 2) + ndtri(POWER)) * se
    begin = (
        f"Before data collection we expected {quoted(effect['condition'])} to change {quoted(effect['outcome'])} by "
        f"{effect['expected']:.1f} percentage points of the scale's range (90 % interval {effect['lo_90']:.1f} to "
        f"{effect['hi_90']:.1f}; 50 % interval {effect['lo_50']:.1f} to {effect['hi_50']:.1f}). "
    )
    middle = (
        f"With {counted(n, 'person')} per arm and the predicted spread of answers, effects of {smallest:.1f} points are found with "
        f"{POWER:.0%} power by a {LEVEL:.0%} interval"
    )
    if lower == 0:
        return f"{begin}{middle}; as the 50 % interval holds zero, no sample size makes a finding likely."
    needed = people_needed(lower, sd_arm, sd_reference) or 0  # None is for no effect, excluded above
    return (
        f"{begin}{middle}; the end of the 50 % interval that is nearer to zero ({lower:.1f}) has {float(power(lower, se)):.0%}"
        f" power, and {POWER:.0%} with {counted(needed, 'person')} per arm."
    )


def sentences(effects: pl.DataFrame, arms: pl.DataFrame, n: int) -> list[str]:
    """`sentence` for every effect that is forecast, with n people per arm."""
    spread = spread_of(arms)
    return [
        sentence(row, *standard_deviations(row, spread), n)
        for row in effects.filter(pl.col("expected").is_not_null()).iter_rows(named=True)
    ]
