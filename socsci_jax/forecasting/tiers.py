"""A forecast in the three tiers of the Silicon Sample Benchmark: people (T1), means (T2) and effects (T3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.evaluation.elsewhere.silicon_sample import AGE_BANDS, COLUMNS, CONTROL, DEMOGRAPHICS
from socsci_jax.forecasting.calibration import Calibration
from socsci_jax.forecasting.composites import composite_value, parts_of
from socsci_jax.forecasting.files import SavedForecast
from socsci_jax.forecasting.intervals import expected_effects
from socsci_jax.forecasting.table import PREDICTED

# Where personas may call an attribute otherwise.
_ALSO = {"race": ("race", "ethnicity"), "party": ("party", "party_id"), "age_band": ("age_band", "age")}
# What T2 and T3 call pi_lower and pi_upper are the forecast's 90 % intervals.
LEVEL = 0.9


def tiers(saved: SavedForecast, *, seed: int = 0) -> dict[str, pl.DataFrame]:
    """T1, T2 and T3 by name.

    Outcomes that are reported through a composite are in T1 alone, and so are names without an order; open numbers are in
    none.  Every cell has a value, as the benchmark wants: where
    the forecast abstains, it is what calibration says of the nearest that it knows, and the lock names the cell.  Raises
    InputError where outcomes are compared with different references, or where one is called like a column of T1.
    """
    arms = saved.table("arms").with_columns(
        position=pl.int_range(pl.len()), unit=(pl.col("hi") - pl.col("lo")) / 100
    )
    parts = pl.col("outcome").is_in(parts_of(saved.composites))
    arms = arms.filter(~parts)
    effects = unconditional(saved.calibration, saved.table("effects")).filter(~parts)
    references = effects["reference"].unique().to_list()
    if len(references) != 1:
        raise InputError(
            f"outcomes are compared with {', '.join(map(repr, sorted(references)))}; the benchmark's form has one control."
        )
    means = _means(arms, effects, reference=references[0], half_width=saved.levels.half_width)
    return {
        "T1": _people(saved, reference=references[0], seed=seed),
        "T2": means,
        "T3": _effects(arms, effects),
    }


def unconditional(calibration: Calibration, effects: pl.DataFrame) -> pl.DataFrame:
    """Forecasts of all effects, the refused among them."""
    return expected_effects(calibration.never_abstaining(), effects.select(*PREDICTED))


def _means(arms: pl.DataFrame, effects: pl.DataFrame, *, reference: str, half_width: float) -> pl.DataFrame:
    base = arms.filter(condition=reference).select("outcome", base="expected_mean")
    if without := sorted(set(arms["outcome"]) - set(base["outcome"])):
        raise InputError(
            f"outcome {without[0]!r} is not asked in the control, {reference!r}; the benchmark's form needs its mean there."
        )
    key = ["outcome", "condition"]
    told = effects.select(*key, "expected", half=(pl.col("hi_90") - pl.col("lo_90")) / 2)
    joined = (
        arms.join(base, on="outcome", maintain_order="left")
        .join(told, on=key, how="left", maintain_order="left")
        .with_columns(pl.col("expected", "half").fill_null(0.0))
    )
    mean = (pl.col("base") + pl.col("expected")).clip(0, 100)
    half = (pl.col("half") ** 2 + half_width**2).sqrt()
    at = {"mean": mean, "pi_lower": (mean - half).clip(0, 100), "pi_upper": (mean + half).clip(0, 100)}
    return joined.select(
        pl.when(pl.col("condition") == reference)
        .then(pl.lit(CONTROL))
        .otherwise("condition")
        .alias("condition"),
        "outcome",
        **{name: pl.col("lo") + value * pl.col("unit") for name, value in at.items()},
    ).select(COLUMNS["T2"])


def _effects(arms: pl.DataFrame, effects: pl.DataFrame) -> pl.DataFrame:
    unit = arms.select("outcome", "unit").unique("outcome")
    joined = effects.join(unit, on="outcome", maintain_order="left")
    columns = {"ate": "expected", "pi_lower": "lo_90", "pi_upper": "hi_90"}
    return joined.select(
        "condition", "outcome", **{name: pl.col(own) * pl.col("unit") for name, own in columns.items()}
    )


def _people(saved: SavedForecast, *, reference: str, seed: int) -> pl.DataFrame:
    """Every persona in every condition, with one answer to each outcome drawn from the probabilities of those on its scale: of
    alternatives ("don't know") the form has none, and the other tiers' means leave them out too."""
    items = {item["item_id"]: item for item in saved.items}
    rng = np.random.default_rng(seed)
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    answers = saved.table("predictions").select("item_id", "participant_id", "levels", "probs")
    answers = answers.filter(pl.col("probs").list.len() > 0)
    # Who was asked in several variants of the prompt answers in one of them, drawn at random.
    chance = pl.Series("chance", np.random.default_rng([seed, 1]).random(answers.height))
    first = pl.col("chance") == pl.col("chance").min().over("item_id", "participant_id")
    answers = answers.with_columns(chance).filter(first).drop("chance")
    for item_id, person, levels, probs in answers.iter_rows():
        item = items[item_id]
        beside = set(item["scale"]["alternatives"])
        probs = [0.0 if level in beside else prob for level, prob in zip(levels, probs, strict=True)]
        place = np.searchsorted(np.cumsum(probs), rng.random() * sum(probs), side="right")
        condition = CONTROL if item["condition"] == reference else item["condition"]
        row = rows.setdefault((person, condition), {})
        row[item["outcome"]] = float(levels[min(int(place), len(levels) - 1)])
    ranges = {
        name: (lo, hi) for name, lo, hi in saved.table("arms").select("outcome", "lo", "hi").iter_rows()
    }
    for composite in saved.composites:
        for row in rows.values():
            row[composite.name] = composite_value(composite, row, ranges)
    known = {person["participant_id"]: person for person in saved.table("personas").to_dicts()}
    # Open numbers have no probabilities.
    predicted = set(answers["item_id"])
    outcomes = [item["outcome"] for item in saved.items if item["item_id"] in predicted]
    outcomes += [own.name for own in saved.composites]
    if taken := [name for name in outcomes if name in COLUMNS["T1"]]:
        raise InputError(f"outcome {taken[0]!r} has the name of a column of T1; give it another.")
    table = [
        {"profile_id": f"p{number:06d}", "condition": condition, **_demographics(known[person]), **answers_to}
        for number, ((person, condition), answers_to) in enumerate(rows.items(), start=1)
    ]
    schema = dict.fromkeys(COLUMNS["T1"], pl.String) | dict.fromkeys(outcomes, pl.Float64)
    return pl.DataFrame(table, schema=schema)


def _demographics(person: Mapping[str, Any]) -> dict[str, str | None]:
    demographics = {
        name: next((person[own] for own in _ALSO.get(name, (name,)) if person.get(own)), None)
        for name in DEMOGRAPHICS
    }
    return demographics | {"age_band": _band(demographics["age_band"])}


def _band(age: str | None) -> str | None:
    """The benchmark's band of an age in years; bands of other widths are not known to it."""
    if age is None or age in AGE_BANDS:
        return age
    years = age.removesuffix(" years")
    if not years.isdecimal() or int(years) < 18:
        return None
    return AGE_BANDS[sum(int(years) >= start for start in (30, 45, 60))]
