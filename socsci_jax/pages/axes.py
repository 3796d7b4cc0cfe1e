"""Axes, series and legends of plots."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from socsci_jax.pages.drawing import Fill, Marker, Shape, Stroke, Text, line, marker

DIGIT = 5.8  # width of a character of the plots' type, about


@dataclasses.dataclass(frozen=True)
class Series:
    """How a series is shown: its title, its color's class (drawing.COLORS) and its marker."""

    title: str
    color: str
    marker: Marker = "circle"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Axis:
    """A linear axis: where its ends are in the drawing, what they stand for, and its ticks."""

    start: float
    end: float
    least: float
    most: float
    ticks: Sequence[float]
    digits: int

    def at(self, value: float) -> float:
        share = (value - self.least) / (self.most - self.least)
        return self.start + share * (self.end - self.start)

    def label(self, tick: float) -> str:
        return written(tick, digits=self.digits)


def written(value: float, *, digits: int) -> str:
    """The number as a page shows it; what rounds to zero has no sign."""
    return f"{value:z.{digits}f}".replace("-", "−")


def axis(values: Sequence[float], *, start: float, end: float, ticks: int = 5, zero: bool = False) -> Axis:
    """An axis that holds all values, with round ticks; with `zero` it begins (or ends) at zero."""
    least, most = min(values, default=0.0), max(values, default=1.0)
    if zero:
        least, most = min(least, 0.0), max(most, 0.0)
    if most - least < 1e-9:
        least, most = least - 0.5, most + 0.5
    raw = (most - least) / ticks
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    first, last = math.floor(least / step + 1e-9), math.ceil(most / step - 1e-9)
    digits = max(0, -math.floor(math.log10(step) + 1e-9) + (1 if abs(step / power - 2.5) < 1e-6 else 0))
    places = [k * step for k in range(first, last + 1)]
    return Axis(start=start, end=end, least=places[0], most=places[-1], ticks=places, digits=digits)


def shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def legend(
    entries: Sequence[tuple[str, Series]], *, width: float, left: float = 8.0
) -> tuple[list[Shape], float]:
    """The legend's shapes, line by line, and the height that they take."""
    shapes: list[Shape] = []
    x, y = left, 12.0
    for title, style in entries:
        wide = 22 + DIGIT * len(title)
        if x + wide > width and x > left:
            x, y = left, y + 16
        shapes.append(Fill(d=marker(style.marker, x + 5, y - 4, 4), series=style.color))
        shapes.append(Text(x=x + 13, y=y, text=title))
        x += wide
    return shapes, y + 12


def x_axis(x: Axis, top: float, bottom: float, label: str, width: float) -> list[Shape]:
    shapes: list[Shape] = [Stroke(d=line(x.start, bottom, x.end, bottom), series="muted")]
    for tick in x.ticks:
        shapes.append(Stroke(d=line(x.at(tick), top, x.at(tick), bottom), thick=0.6))
        shapes.append(Text(x=x.at(tick), y=bottom + 14, text=x.label(tick), series="muted", anchor="middle"))
    shapes.append(Text(x=(x.start + x.end) / 2, y=bottom + 30, text=label, anchor="middle"))
    return shapes


def y_axis(y: Axis, left: float, right: float, label: str) -> list[Shape]:
    shapes: list[Shape] = []
    for tick in y.ticks:
        shapes.append(Stroke(d=line(left, y.at(tick), right, y.at(tick)), thick=0.6))
        shapes.append(Text(x=left - 6, y=y.at(tick) + 4, text=y.label(tick), series="muted", anchor="end"))
    shapes.append(Text(x=13, y=(y.start + y.end) / 2, text=label, anchor="middle", turned=True))
    return shapes
