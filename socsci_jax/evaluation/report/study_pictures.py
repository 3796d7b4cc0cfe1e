"""The plots of one study's page."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import polars as pl

from socsci_jax.evaluation.report.pictures import MOST_EFFECTS
from socsci_jax.evaluation.sentences import number
from socsci_jax.pages import plots, shares
from socsci_jax.pages.axes import Series, shortened
from socsci_jax.pages.drawing import Drawing
from socsci_jax.pages.plots import Value
from socsci_jax.studies.scale import format_value
from socsci_jax.wording import counted


def choose_items(distributions: pl.DataFrame, *, count: int, rng: np.random.Generator) -> pl.DataFrame:
    """Items spread over quality: one drawn from each of `count` equal slices of the list sorted by W."""
    ranked = distributions.filter(pl.col("averaged"), pl.col("wasserstein").is_finite()).sort("wasserstein")
    edges = np.linspace(0, ranked.height, min(count, ranked.height) + 1).astype(int)
    return ranked[[int(rng.integers(a, b)) for a, b in itertools.pairwise(edges)]]


def item(row: dict[str, Any], labels: dict[str, list[str]], *, name: str, with_study: bool = True) -> Drawing:
    """Answers of people and model to one item; `labels` are those of each item's response options."""
    place = [row["study"]] if with_study else []
    title = " · ".join(shortened(text, 60) for text in (*place, row["outcome"], row["condition"]))
    return shares.distribution(
        name,
        title,
        [format_value(level) for level in row["levels"]],
        row["human"],
        row["model"],
        caption=f"Distance {number(row['wasserstein'])}, {counted(row['n'], 'answer')}.",
        labels=labels.get(row["item_id"], ()),
    )


def contrasts_of_study(rows: list[dict[str, Any]], *, name: str) -> Drawing | None:
    """Effects in one study: people's with intervals, and the model's."""
    if not rows:
        return None
    shown = rows[:MOST_EFFECTS]
    several = len({row["outcome"] for row in rows}) > 1
    values = []
    for row in shown:
        against = f"{row['condition']} − {row['reference']}"
        place = f"{row['outcome']}: {against}" if several else against
        values += [
            Value(
                place=place,
                series="people",
                value=row["human"],
                lo=row["human_lo"],
                hi=row["human_hi"],
                note=against,
            ),
            Value(place=place, series="model", value=row["model"], note=against),
        ]
    more = (
        f" The first {len(shown)} of {counted(len(rows), 'contrast')} are drawn; the table has all."
        if len(rows) > len(shown)
        else ""
    )
    return plots.dots(
        name,
        "Effects of conditions",
        values,
        {"people": Series("people", "people", "square"), "model": Series("model", "model")},
        label="effect, as a share of the scale",
        description=f"{counted(len(shown), 'contrast')}.",
        caption="Difference in mean answer from the condition that each is compared with; people's with 95 % intervals."
        + more,
        reference=0.0,
        wide=True,
    )
