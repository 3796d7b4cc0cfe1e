"""Histograms as small SVG drawings, made of numbers alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from socsci_jax.studies.scale import Scale, format_value

MOST_BARS = 24
_WIDTH, _HEIGHT = 220, 70


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar: its place, height and size in the drawing, what it stands for, and its share."""

    x: float
    y: float
    width: float
    height: float
    label: str
    count: int
    share: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Histogram:
    """Bars of one arm, with the number of answers, the ends of the axis, and the mean (None without an order)."""

    title: str
    bars: list[Bar]
    ends: tuple[str, str] | None
    n: int
    mean: float | None
    width: int = _WIDTH
    height: int = _HEIGHT


def histogram(title: str, values: Sequence[float], scale: Scale, *, highest: float) -> Histogram:
    """Shares of the scale's levels and alternatives, or of equal bins; `highest` is the share of a full bar."""
    on_scale = [value for value in values if not scale.is_alternative(value)]
    columns = _levels(values, scale)
    ends = (columns[0][0], columns[-1][0]) if columns else None
    if not columns and on_scale:
        columns, ends = _bins(on_scale), (f"{min(on_scale):.4g}", f"{max(on_scale):.4g}")
    width = _WIDTH / max(1, len(columns))
    bars = []
    for place, (label, count) in enumerate(columns):
        share = count / max(1, len(values))
        height = _HEIGHT * share / highest if highest else 0.0
        bars.append(
            Bar(
                x=round(place * width + 0.08 * width, 2),
                y=round(_HEIGHT - height, 2),
                width=round(0.84 * width, 2),
                height=round(height, 2),
                label=label,
                count=count,
                share=share,
            )
        )
    mean = None if scale.nominal or not on_scale else float(np.mean(on_scale))
    return Histogram(title=title, bars=bars, ends=ends, n=len(values), mean=mean)


def highest_share(groups: Sequence[Sequence[float]], scale: Scale) -> float:
    """The largest share of a bar among several histograms, so that they can be drawn alike."""
    shares = [
        count / len(values)
        for values in groups
        if values
        for _, count in _levels(values, scale) or _bins(values)
    ]
    return max(shares, default=0.0)


def _levels(values: Sequence[float], scale: Scale) -> list[tuple[str, int]]:
    if scale.kind != "levels" or len(scale.levels) > MOST_BARS:
        return []
    labels = dict(zip(scale.levels, scale.labels or [""] * len(scale.levels), strict=True))
    labels |= dict(zip(scale.alternatives, scale.alternative_labels, strict=True))
    counts = {level: 0 for level in labels}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return [
        (f"{format_value(level)} {labels.get(level, '')}".strip(), count) for level, count in counts.items()
    ]


def _bins(values: Sequence[float]) -> list[tuple[str, int]]:
    if not values:
        return []
    counts, edges = np.histogram(values, bins=min(MOST_BARS, max(1, len(set(values)))))
    return [
        (f"{lo:.4g} to {hi:.4g}", int(count))
        for lo, hi, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
