"""The plots of the report, each a small SVG that stays legible on a phone."""

from __future__ import annotations

import base64
import dataclasses
import io
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import polars as pl
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from socsci_jax.evaluation.intervals import Estimate
from socsci_jax.evaluation.verdicts import number
from socsci_jax.foreign_text import PLAIN_PLOTS
from socsci_jax.studies.scale import format_value

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

HUMAN, MODEL = "#555555", "#0072b2"
# Distinct for color-blind eyes, and by marker for everybody else.
PREDICTOR_STYLE = {
    "model": (MODEL, "o"),
    "uniform": ("#d55e00", "s"),
    "training_marginal": ("#cc79a7", "D"),
    "condition_pooled": ("#009e73", "^"),
    "split_half": ("#555555", "|"),
    "coders": (HUMAN, "s"),
}
MOST_POINTS = 1_500
MOST_STUDIES = 60
MOST_CELLS_WRITTEN = 12
STYLE: dict[RcKeyType, Any] = {
    **PLAIN_PLOTS,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "svg.hashsalt": "socsci_jax",
    "figure.constrained_layout.use": True,
}


@dataclasses.dataclass(frozen=True)
class Plot:
    """An image as a data URI, what it shows in words, and the caption printed below it."""

    uri: str
    alt: str
    caption: str


def _svg(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def _shortened(text: str, *, length: int = 44) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def choose_items(distributions: pl.DataFrame, *, count: int, rng: np.random.Generator) -> pl.DataFrame:
    """Items spread over quality: one drawn from each of `count` equal slices of the list sorted by W."""
    ranked = distributions.filter(pl.col("averaged"), pl.col("wasserstein").is_finite()).sort("wasserstein")
    edges = np.linspace(0, ranked.height, min(count, ranked.height) + 1).astype(int)
    return ranked[[int(rng.integers(a, b)) for a, b in itertools.pairwise(edges)]]


def distribution(row: dict[str, Any]) -> Plot:
    """Bars (lines where there are many levels) of one item, people beside model."""
    levels, human, model = (np.array(row[name]) for name in ("levels", "human", "model"))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.1, 2.1))
        axes = figure.subplots()
        if levels.size <= 15:
            at = np.arange(levels.size)
            axes.bar(at - 0.2, human, width=0.4, color=HUMAN, label="people")
            axes.bar(at + 0.2, model, width=0.4, color=MODEL, label="model")
            axes.set_xticks(
                at, [format_value(level) for level in levels], fontsize=8 if levels.size <= 11 else 6
            )
        else:
            axes.step(levels, np.cumsum(human), where="post", color=HUMAN, label="people")
            axes.step(levels, np.cumsum(model), where="post", color=MODEL, label="model", linestyle="--")
            axes.set_ylim(0, 1.02)
        axes.set_ylabel("share of answers" if levels.size <= 15 else "share at or below")
        axes.legend(frameon=False, fontsize=8)
        uri = _svg(figure)
    caption = (
        f"{row['study']} · {_shortened(row['outcome'])} · {_shortened(row['condition'])} — "
        f"distance {number(row['wasserstein'])}, {row['n']} answers"
    )
    return Plot(uri, f"Answers of people and model to one item: {caption}", caption)


def scatter(
    human: ArrayLike,
    model: ArrayLike,
    *,
    what: str,
    caption: str,
    rng: np.random.Generator,
) -> Plot:
    """Predicted against observed, with the 45° line; a seeded sample where there are very many points."""
    x, y = np.asarray(human), np.asarray(model)
    if x.size > MOST_POINTS:
        kept = rng.choice(x.size, MOST_POINTS, replace=False)
        caption += f" {MOST_POINTS} of {x.size} points are drawn, chosen at random."
        x, y = x[kept], y[kept]
    limit = 1.08 * max(np.abs(x).max(), np.abs(y).max(), 0.01)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.9, 3.7))
        axes = figure.subplots()
        axes.axhline(0, color="#cccccc", linewidth=0.8)
        axes.axvline(0, color="#cccccc", linewidth=0.8)
        axes.plot([-limit, limit], [-limit, limit], color="#555555", linewidth=1, linestyle="--")
        axes.scatter(x, y, s=14, color=MODEL, alpha=0.55, linewidths=0)
        axes.set(
            xlim=(-limit, limit), ylim=(-limit, limit), xlabel=f"people: {what}", ylabel=f"model: {what}"
        )
        axes.set_aspect("equal")
        return Plot(
            _svg(figure), f"Scatter plot of predicted against observed {what}, {x.size} points", caption
        )


def forest(
    per_study: pl.DataFrame, overall: dict[str, Estimate | None], *, names: dict[str, str], caption: str
) -> Plot:
    """W of each study by predictor, the studies sorted by the model's; the mean with its interval on top.

    `per_study` has study, predictor, value; `overall` maps predictors to estimates.
    """
    wide = per_study.pivot(on="predictor", index="study", values="value").sort("model", nulls_last=True)
    if wide.height > MOST_STUDIES:
        kept = np.linspace(0, wide.height - 1, MOST_STUDIES).round().astype(int)
        caption += f" {MOST_STUDIES} of {wide.height} studies are drawn, evenly spaced in this order."
        wide = wide[kept]
    heights = np.arange(wide.height)[::-1]
    predictors = [p for p in PREDICTOR_STYLE if p in wide.columns]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.3, 2.0 + 0.17 * wide.height + 0.15 * len(predictors)))
        axes = figure.subplots()
        for k, predictor in enumerate(predictors):
            color, marker = PREDICTOR_STYLE[predictor]
            mean = overall[predictor] or Estimate(None)
            top = wide.height + 0.6 + 0.5 * (len(predictors) - 1 - k)
            if mean.lo is not None and mean.hi is not None:
                axes.plot([mean.lo, mean.hi], [top, top], color=color, linewidth=2)
            if mean.value is not None:
                axes.plot(mean.value, top, marker=marker, color=color, markersize=6, linestyle="none")
            axes.plot(
                wide[predictor].to_numpy(),
                heights,
                marker=marker,
                color=color,
                markersize=4.5,
                linestyle="none",
                label=names[predictor],
            )
        axes.axhline(wide.height - 0.1, color="#999999", linewidth=0.8)
        middle = wide.height + 0.6 + 0.25 * (len(predictors) - 1)
        axes.set_yticks(
            [middle, *heights],
            ["mean of studies", *(_shortened(s, length=18) for s in wide["study"])],
            fontsize=7,
        )
        axes.set_ylim(-0.7, wide.height + 0.6 + 0.5 * len(predictors))
        axes.set_xlim(left=0)
        axes.set_xlabel("Wasserstein distance (lower is better)")
        figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=8)
        return Plot(_svg(figure), f"Distance by study and predictor, {wide.height} studies", caption)


def agreement(
    figures: dict[str, list[dict[str, Any] | None]],
    *,
    places: Sequence[str],
    names: dict[str, str],
    caption: str,
) -> Plot:
    """One figure with its interval for each place and predictor; `figures` maps predictors to rows of the table."""
    heights = np.arange(len(places))[::-1]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.3, 1.5 + 0.38 * len(places)))
        axes = figure.subplots()
        for k, (predictor, found) in enumerate(figures.items()):
            color, marker = PREDICTOR_STYLE[predictor]
            at = heights + 0.13 * (len(figures) - 1 - 2 * k)
            known = [
                (row, y)
                for row, y in zip(found, at, strict=True)
                if row is not None and row["value"] is not None
            ]
            for row, y in known:
                if row["lo"] is not None:
                    axes.plot([row["lo"], row["hi"]], [y, y], color=color, linewidth=1.5)
            values = [row["value"] for row, _ in known]
            axes.plot(
                values,
                [y for _, y in known],
                marker=marker,
                color=color,
                markersize=5,
                linestyle="none",
                label=names[predictor],
            )
        axes.axvline(0, color="#999999", linewidth=0.8)
        axes.set_yticks(heights, [_shortened(place, length=18) for place in places], fontsize=8)
        axes.set_ylim(-0.6, len(places) - 0.4)
        axes.set_xlim(right=1.02)
        axes.set_xlabel("agreement (higher is better)")
        figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=8)
        return Plot(
            _svg(figure), f"Agreement by variable and predictor, {len(places) - 1} variables", caption
        )


def confusion(row: dict[str, Any]) -> Plot:
    """Shares of the model's labels (columns) among documents to which people gave each label (rows)."""
    counts = np.array(row["counts"])
    given = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, given, out=np.zeros_like(counts), where=given > 0)
    labels = [_shortened(label, length=16) for label in row["labels"]]
    size = len(labels)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.3, 3.4))
        axes = figure.subplots()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        if size <= MOST_CELLS_WRITTEN:
            for r, c in np.ndindex(size, size):
                color = "white" if shares[r, c] > 0.6 else "#1c1c1c"
                axes.text(c, r, f"{counts[r, c]:.0f}", ha="center", va="center", color=color, fontsize=8)
        axes.set_xticks(np.arange(size), labels, rotation=40, ha="right", rotation_mode="anchor", fontsize=7)
        axes.set_yticks(np.arange(size), labels, fontsize=7)
        axes.set(xlabel="model", ylabel="people")
        axes.spines[:].set_visible(False)
        uri = _svg(figure)
    caption = (
        f"{row['study']} · {_shortened(row['outcome'])} — {row['n']} labels: how often people gave each (rows) and the "
        "model each (columns); darker is a greater share of the row"
    )
    return Plot(uri, f"Labels of people against labels of the model: {caption}", caption)
