"""The plot of a sweep: distances against the share of the data, with the fitted laws."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, cast

import matplotlib
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from socsci_jax.evaluation.sentences import PREDICTOR_NAMES, part_name, with_interval
from socsci_jax.evaluation.table import CONDITION_POOLED, MODEL, UNIFORM
from socsci_jax.foreign_text import PLAIN_PLOTS

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType
from socsci_jax.evaluation.sweep_table import (
    METRIC,
    PREDICTORS,
    PRIMARY,
    estimate_of,
    law_words,
    laws_of,
    of_kind,
)

# Distinct for color-blind eyes, and by marker for everybody else.
PREDICTOR_STYLE = {MODEL: ("#0072b2", "o"), UNIFORM: ("#d55e00", "s"), CONDITION_POOLED: ("#009e73", "^")}

STYLE: dict[RcKeyType, Any] = {
    **PLAIN_PLOTS,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "svg.hashsalt": "socsci_jax",
    "figure.constrained_layout.use": True,
}


def plot(table: pl.DataFrame) -> Figure:
    """W against the share of the data of the headline's kind: one panel a part, the baselines as lines."""
    rows = table.filter(pl.col("metric") == "wasserstein", of_kind(*PRIMARY))
    laws = laws_of(table)
    parts = rows["part"].unique(maintain_order=True).to_list()
    of = rows["of"][0]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(0.6 + 3.2 * len(parts), 3.6))
        panels = figure.subplots(1, len(parts), sharey=True, squeeze=False)[0]
        for axes, part in zip(panels, parts, strict=True):
            _panel(axes, rows.filter(pl.col("part") == part), laws[part])
            axes.set_title(part_name(part))
            axes.set_xlabel(f"share of the training {of}")
        panels[0].set_ylabel(f"{METRIC.title} ({METRIC.direction})")
        panels[0].set_ylim(bottom=0)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    return figure


def _panel(axes: Axes, rows: pl.DataFrame, law: dict[str, dict[str, Any]]) -> None:
    model = rows.filter(pl.col("predictor") == MODEL)
    seeds = sorted(model["seed"].unique())
    color, marker = PREDICTOR_STYLE[MODEL]
    for k, seed in enumerate(seeds):
        of_seed = model.filter(pl.col("seed") == seed, pl.col("value").is_not_null())
        # Seeds side by side, so that their intervals do not hide each other.
        nudge = 1.04 ** (k - (len(seeds) - 1) / 2)
        x, w, lo, hi = (of_seed[name].cast(pl.Float64).to_numpy() for name in ("share", "value", "lo", "hi"))
        axes.vlines(nudge * x, lo, hi, color=color, linewidth=1, alpha=0.6)
        label = PREDICTOR_NAMES[MODEL] if k == 0 else None
        axes.plot(nudge * x, w, marker=marker, color=color, markersize=4.5, linestyle="none", label=label)
    for predictor in PREDICTORS[1:]:
        values = rows.filter(pl.col("predictor") == predictor)["value"].drop_nulls()
        if values.len():
            color, _ = PREDICTOR_STYLE[predictor]
            axes.axhline(
                cast(float, values.mean()), color=color, linewidth=1.2, label=PREDICTOR_NAMES[predictor]
            )
    shares = model["share"].unique().sort().to_numpy()
    if law["a"]["value"] is not None:
        a, b, c = (law[name]["value"] for name in "abc")
        along = np.geomspace(shares[0], shares[-1], 200)
        units = along * (model["units"] / model["share"]).mean()
        axes.plot(along, a + b * units**-c, color=PREDICTOR_STYLE[MODEL][0], linewidth=1.2)
        axes.axhline(a, color=PREDICTOR_STYLE[MODEL][0], linewidth=0.8, linestyle=":")
        level = law["a"]["value"] > 0
        said = (
            f"levels off at {with_interval(estimate_of(law['a']))}"
            if level
            else "still falling where the data end"
        )
    else:
        said = law_words(law)
    axes.text(0.03, 0.03, textwrap.fill(said, 40), transform=axes.transAxes, fontsize=7)
    axes.set_xscale("log")
    axes.set_xticks(shares, [f"{share:.3g}" for share in shares])
    axes.minorticks_off()
