"""How many people to ask, in which arms, and what their answers are for.

Answers may tune a model or rectify its predictions, never both: rectified estimates are valid because the answers that
correct the predictions had no part in making them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Sequence

import numpy as np
import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.estimation.power import Worth, labels_needed
from socsci_jax.forecasting.power import LEVEL
from socsci_jax.wording import counted

TUNING, RECTIFICATION = "tuning", "rectification"


def answers_needed(
    sd: float, *, correlation: float, half_width: float, predicted: int, level: float = LEVEL
) -> int | None:
    """People to ask in one arm so that its rectified mean is known to +- half_width (percentage points).

    `correlation` of single answers with predictions comes from studies that people have answered; 0 means predictions
    save nothing.  `predicted` people are predicted besides.  None if none is enough.
    """
    if not -1 <= correlation <= 1 or not sd > 0:
        raise InputError(f"a spread of {sd} and a correlation of {correlation}; give sd > 0 and -1 to 1.")
    worth = Worth(sd**2, max(correlation, 0.0) * sd**2, sd**2, sd**2)
    return labels_needed(worth, half_width=half_width, others=predicted, level=level)


def allocation(arms: pl.DataFrame, people: int, *, control: str) -> pl.DataFrame:
    """How many of so many people each arm gets; columns condition, sd, people.

    With K arms against one control, effects are known best where the control gets √K times an arm's people (Dunnett
    1955, JASA 50), and each arm in proportion to the spread of its answers (Neyman 1934, JRSS 97).  `arms` has condition,
    outcome and sd; of several outcomes the root mean square counts.
    """
    spread = arms.group_by("condition", maintain_order=True).agg(sd=(pl.col("sd") ** 2).mean().sqrt())
    if control not in spread["condition"]:
        raise InputError(f"no arm is {control!r}; name the control.")
    is_control = (spread["condition"] == control).to_numpy()
    share = spread["sd"].to_numpy() * np.where(is_control, math.sqrt(max(len(spread) - 1, 1)), 1.0)
    exact = people * share / share.sum()
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: people - counts.sum()]] += 1
    return spread.with_columns(people=pl.Series(counts))


def purposes(participants: Sequence[str], *, tuning: float, seed: int = 0) -> dict[str, str]:
    """What each person's answers are for, drawn by a hash of id and seed: it is fixed before anybody answers."""
    if not 0 <= tuning < 1:
        raise InputError(f"a share of {tuning} for tuning; give 0 to below 1.")
    return {person: TUNING if _uniform(person, seed) < tuning else RECTIFICATION for person in participants}


def _uniform(person: str, seed: int) -> float:
    digest = hashlib.blake2b(f"{seed}/{person}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def check_purposes(tuned_on: Collection[str], rectified_by: Collection[str]) -> None:
    """Raises InputError where somebody's answers would tune the model and rectify its predictions."""
    if both := sorted(set(tuned_on) & set(rectified_by)):
        raise InputError(
            f"{counted(len(both), 'person')} ({', '.join(both[:5])}) were used in tuning; their answers cannot rectify. Use those that "
            "were put aside for it."
        )


def screening(ranks: pl.DataFrame, effects: pl.DataFrame, *, keep: int) -> pl.DataFrame:
    """The arms worth asking people about: of each outcome those most likely to be highest; columns outcome, condition,
    p_highest, expected, cumulative (probability that the highest arm is among those so far)."""
    told = ranks.join(
        effects.select("study", "outcome", "condition", "expected"),
        on=["study", "outcome", "condition"], how="left", maintain_order="left",
    )  # fmt: skip
    ordered = told.sort("p_highest", descending=True, maintain_order=True)
    ordered = ordered.with_columns(cumulative=pl.col("p_highest").cum_sum().over("study", "outcome"))
    return ordered.group_by("study", "outcome", maintain_order=True).head(keep).drop("p_lowest")
