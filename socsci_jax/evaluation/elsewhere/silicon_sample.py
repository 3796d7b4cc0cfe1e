"""The Silicon Sample Benchmark's submission form: tiers T1 (people), T2 (condition means), T3 (effects), in and out.

In, the tiers are plain tables that `evaluate_tables` reads.  Out, they are made of a predictions table here, and
checked by the rules of the benchmark's validator (columns, names, one row each, intervals around their value).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.evaluation.elsewhere.columns import read_table
from socsci_jax.evaluation.elsewhere.people_tables import DRAWN
from socsci_jax.studies.predictions import Predictions
from socsci_jax.studies.schema import Item
from socsci_jax.wording import counted

Tier = Literal["T1", "T2", "T3"]
DEMOGRAPHICS = ("gender", "age_band", "race", "education", "income", "party")
COLUMNS: dict[Tier, tuple[str, ...]] = {
    "T1": ("profile_id", "condition", *DEMOGRAPHICS),
    "T2": ("condition", "outcome", "mean", "pi_lower", "pi_upper"),
    "T3": ("condition", "outcome", "ate", "pi_lower", "pi_upper"),
}
CONTROL = "control"
AGE_BANDS = ("18-29", "30-44", "45-59", "60+")


@dataclasses.dataclass(frozen=True)
class Ranges:
    """The least and greatest answer of each outcome; an outcome that is not named is not checked."""

    by_outcome: Mapping[str, tuple[float, float]]

    @classmethod
    def of_codebook(cls, path: str | Path) -> Ranges:
        """From the benchmark's codebook: sliders 0 to 100, dollars 0 to 10, yes or no 0 to 1."""
        frame = read_table(path)
        if not {"target_label", "response_options"} <= set(frame.columns):
            raise InputError(f"{path}: no codebook; columns target_label and response_options are needed.")
        ranges = {}
        for name, options in frame.select("target_label", "response_options").iter_rows():
            text = (options or "").replace("–", " to ")
            if "100" in text and ("0 =" in text or "0 to 100" in text):
                ranges[name] = (0.0, 100.0)
            elif text.startswith("$0 to $10"):
                ranges[name] = (0.0, 10.0)
            elif text in ("Yes / No", "0 / 1"):
                ranges[name] = (0.0, 1.0)
        return cls(ranges)


def tier_of(frame: pl.DataFrame) -> Tier:
    """Which tier a table is of; raises InputError where it is none."""
    for tier in ("T2", "T3", "T1"):
        if set(COLUMNS[tier][:3] if tier != "T1" else ("profile_id", "condition")) <= set(frame.columns):
            return tier
    raise InputError(
        f"the table is of no tier: T1 has profile_id and condition, T2 condition, outcome and mean, T3 condition, outcome "
        f"and ate; found {frame.columns[:20]}."
    )


def problems(frame: pl.DataFrame, *, ranges: Ranges | None = None) -> list[str]:
    """What the benchmark's validator would refuse, a sentence each; empty where the table is in order.

    `frame` as `read_table` gives it: texts, empty cells null.
    """
    tier = tier_of(frame)
    missing = [name for name in COLUMNS[tier] if name not in frame.columns]
    sentences = [f"column {name!r} is missing; {tier} needs {', '.join(COLUMNS[tier])}" for name in missing]
    limits = ranges.by_outcome if ranges else {}
    check = _people_problems if tier == "T1" else _cell_problems
    return sentences if missing else [*sentences, *check(frame, tier, limits)]


def _people_problems(frame: pl.DataFrame, tier: Tier, limits: Mapping[str, tuple[float, float]]) -> list[str]:
    sentences = []
    ids = frame["profile_id"]
    if ids.null_count() or ids.n_unique() < len(ids):
        sentences.append("profile_id has to be there and different in every row")
    if CONTROL not in frame["condition"].to_list():
        sentences.append(f"no row is of condition {CONTROL!r}")
    bands = set(frame["age_band"].drop_nulls()) - set(AGE_BANDS)
    if bands:
        sentences.append(f"age_band {min(bands)!r} is none of {', '.join(AGE_BANDS)}")
    outcomes = [name for name in frame.columns if name not in COLUMNS["T1"]]
    if not outcomes:
        sentences.append("no column is an outcome")
    for name in outcomes:
        sentences += _number_problems(frame[name], name, limits.get(name))
    return sentences


def _cell_problems(frame: pl.DataFrame, tier: Tier, limits: Mapping[str, tuple[float, float]]) -> list[str]:
    value = COLUMNS[tier][2]
    sentences = []
    if not frame.select(pl.struct("condition", "outcome").is_unique().all()).item():
        sentences.append("a pair of condition and outcome is given twice")
    conditions, outcomes = frame["condition"].n_unique(), frame["outcome"].n_unique()
    if frame.height != conditions * outcomes:
        sentences.append(
            f"{counted(conditions, 'condition')} and {counted(outcomes, 'outcome needs', 'outcomes need')} {counted(conditions * outcomes, 'row')}, found {frame.height}"
        )
    if (CONTROL in frame["condition"].to_list()) != (tier == "T2"):
        sentences.append(
            f"condition {CONTROL!r} {'is missing' if tier == 'T2' else 'has no effect of its own and must not be there'}"
        )
    for name in (value, "pi_lower", "pi_upper"):
        sentences += _number_problems(frame[name], name, None)
    numbers = frame.select(pl.col(value, "pi_lower", "pi_upper").cast(pl.Float64, strict=False))
    outside = (numbers["pi_lower"] > numbers[value]) | (numbers["pi_upper"] < numbers[value])
    if outside.any():
        row = int(outside.arg_true()[0])
        sentences.append(f"row {row + 1}: the interval does not hold its {value}")
    if tier == "T2":
        for outcome, (lo, hi) in limits.items():
            own = frame.filter(pl.col("outcome") == outcome)[value].cast(pl.Float64, strict=False)
            if len(own) and ((own < lo) | (own > hi)).any():
                sentences.append(f"outcome {outcome!r}: a mean outside {lo:g} to {hi:g}")
    return sentences


def _number_problems(column: pl.Series, name: str, limits: tuple[float, float] | None) -> list[str]:
    numbers = column.cast(pl.Float64, strict=False)
    bad = (~numbers.is_finite().fill_null(False)).arg_true()
    if len(bad):
        return [f"column {name!r}, row {int(bad[0]) + 1}: {column[int(bad[0])]!r} is not a number"]
    if limits and ((numbers < limits[0]) | (numbers > limits[1])).any():
        return [f"column {name!r}: an answer outside {limits[0]:g} to {limits[1]:g}"]
    return []


# Under which names attributes of people are known elsewhere.
_KNOWN_AS = {
    "gender": ("gender", "sex"),
    "race": ("race", "ethnicity", "race_ethnicity"),
    "education": ("education",),
    "income": ("income", "household_income"),
    "party": ("party", "party_id", "partisanship"),
}


def profiles_table(wide: pl.DataFrame) -> pl.DataFrame:
    """T1 from a wide table of one study (`people_tables.wide_table`): demographics, and one drawn answer an outcome.

    Demographics are found by their usual names, age bands made of `age`; what is not known is empty.  Raises InputError
    where a person is predicted in several conditions, since T1 has a row for each person.
    """
    if wide["participant_id"].is_duplicated().any():
        raise InputError(
            "T1 has one row a person, but people are predicted in several conditions; use T2 or T3."
        )
    by_name = {name.lower().replace(" ", "_"): name for name in reversed(wide.columns)}

    def known(column: str) -> pl.Expr:
        source = next((by_name[name] for name in _KNOWN_AS[column] if name in by_name), None)
        return (pl.col(source) if source else pl.lit(None, pl.String)).alias(column)

    bands = pl.lit(None, pl.String).alias("age_band")
    if "age_band" in by_name:
        bands = pl.col(by_name["age_band"]).alias("age_band")
    elif "age" in by_name:
        age = pl.col(by_name["age"]).cast(pl.Float64, strict=False)
        bands = (
            pl.when(age < 18).then(None).when(age < 30).then(pl.lit(AGE_BANDS[0])).when(age < 45)
            .then(pl.lit(AGE_BANDS[1])).when(age < 60).then(pl.lit(AGE_BANDS[2])).when(age >= 60)
            .then(pl.lit(AGE_BANDS[3])).alias("age_band")
        )  # fmt: skip
    drawn = [name for name in wide.columns if name.endswith(DRAWN)]
    return wide.select(
        pl.col("participant_id").alias("profile_id"),
        "condition",
        *(bands if name == "age_band" else known(name) for name in DEMOGRAPHICS),
        *(pl.col(name).alias(name.removesuffix(DRAWN)) for name in drawn),
    )


def means_table(
    predictions: Predictions,
    item_by_id: Mapping[str, Item],
    *,
    coverage: float = 0.95,
    seed: int = 0,
    resamples: int = 1_000,
) -> pl.DataFrame:
    """T2 from a predictions table: means in units of the scale, intervals from resampled predicted people.

    They say how well the mean of these predictions is known, and nothing of how right the model is.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for (item_id,), own in sorted(predictions.frame.partition_by("item_id", as_dict=True).items()):
        item = item_by_id[item_id]
        means = _predicted_means(own, item)
        if means.size == 0:
            continue
        drawn = means[rng.integers(means.size, size=(resamples, means.size))].mean(axis=1)
        tail = (1 - coverage) / 2
        lo, hi = np.quantile(drawn, [tail, 1 - tail])
        rows.append(
            (
                item.condition,
                item.outcome,
                float(means.mean()),
                min(float(lo), means.mean()),
                max(float(hi), means.mean()),
            )
        )
    return pl.DataFrame(
        rows,
        schema=dict.fromkeys(COLUMNS["T2"][:2], pl.String) | dict.fromkeys(COLUMNS["T2"][2:], pl.Float64),
        orient="row",
    )


def effects_table(means: pl.DataFrame, *, control: str = CONTROL) -> pl.DataFrame:
    """T3 from T2: each condition less the control of its outcome, intervals as of independent means."""
    reference = means.filter(pl.col("condition") == control)
    if reference.is_empty():
        raise InputError(f"no condition is {control!r}; name the control.")
    both = means.filter(pl.col("condition") != control).join(
        reference, on="outcome", suffix="_0", maintain_order="left"
    )
    half = (
        ((pl.col("pi_upper") - pl.col("pi_lower")) / 2) ** 2
        + ((pl.col("pi_upper_0") - pl.col("pi_lower_0")) / 2) ** 2
    ).sqrt()
    ate = pl.col("mean") - pl.col("mean_0")
    return both.select("condition", "outcome", ate=ate, pi_lower=ate - half, pi_upper=ate + half)


def _predicted_means(rows: pl.DataFrame, item: Item) -> np.ndarray:
    """Mean answer of each predicted person, or each draw, in units of the scale."""
    exact = rows.filter(pl.col("probs").is_not_null())
    if exact.height:
        pairs = exact.select("levels", "probs").iter_rows()
        allowed = set(map(float, item.scale.levels))
        return np.array([_mean(levels, probs, allowed) for levels, probs in pairs])
    values = rows["value"].drop_nulls()
    return values.filter(values.is_finite()).to_numpy()


def _mean(levels: Sequence[float], probs: Sequence[float], allowed: set[float]) -> float:
    kept = [(level, p) for level, p in zip(levels, probs, strict=True) if level in allowed]
    return sum(level * p for level, p in kept) / sum(p for _, p in kept)
