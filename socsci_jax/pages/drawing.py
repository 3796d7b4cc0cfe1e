"""What a plot consists of: shapes with their places, and the words and the table that stand for it.

One description serves twice: inside a page, where colors follow the theme and marks say their values, and as an SVG file
for a paper, where colors are those of the light theme.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

from socsci_jax.pages.page import environment
from socsci_jax.pages.tables import Table

Marker = Literal["circle", "square", "diamond", "triangle", "bar", "cross", "ring"]

# Colors of the light theme (theme.css) by the class that the page colors.
COLORS = {
    "ink": "#1b1f23",
    "muted": "#565e66",
    "rule": "#d9dde1",
    "ground": "#ffffff",
    "people": "#50565c",
    "model": "#0072b2",
    "orange": "#c25200",
    "green": "#00805e",
    "purple": "#a8508a",
    "gold": "#8f6a00",
    "sky": "#3d87b5",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Text:
    x: float
    y: float
    text: str
    series: str = "ink"
    anchor: Literal["start", "middle", "end"] = "start"
    turned: bool = False
    bold: bool = False
    kind: str = "text"

    @property
    def color(self) -> str:
        return COLORS[self.series]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fill:
    """A filled path; `tip` is what it says on hover, focus and to a screen reader."""

    d: str
    series: str
    tip: str = ""
    opacity: float = 1.0
    kind: str = "fill"

    @property
    def color(self) -> str:
        return COLORS[self.series]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stroke:
    d: str
    series: str = "rule"
    thick: float = 1.0
    dashed: bool = False
    tip: str = ""
    kind: str = "stroke"

    @property
    def color(self) -> str:
        return COLORS[self.series]


Shape = Text | Fill | Stroke


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawing:
    """A plot: `name` is its id in the page and its file's name; `description` says in words what it shows."""

    name: str
    title: str
    description: str
    caption: str
    width: float
    height: float
    shapes: Sequence[Shape]
    table: Table | None = None
    size: Literal["wide", "half", "small"] = "half"

    def named(self, name: str) -> Drawing:
        """The same under another id, for a page that shows it twice."""
        return dataclasses.replace(self, name=name)

    def svg(self) -> str:
        """The plot as an SVG file of its own."""
        return environment("socsci_jax.pages").get_template("plot.svg.jinja").render(plot=self)


def line(x0: float, y0: float, x1: float, y1: float) -> str:
    return f"M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}"


def box(x: float, y: float, width: float, height: float) -> str:
    return f"M{x:.1f} {y:.1f}h{width:.1f}v{height:.1f}h{-width:.1f}z"


def marker(kind: Marker, x: float, y: float, r: float = 3.5) -> str:
    """A mark around (x, y); markers differ in shape, so that color is never all that tells them apart."""
    if kind == "circle":
        return f"M{x - r:.1f} {y:.1f}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0z"
    if kind == "ring":
        inner = r - 1.6
        return (
            marker("circle", x, y, r)
            + f"M{x - inner:.1f} {y:.1f}a{inner:.1f} {inner:.1f} 0 1 1 {2 * inner:.1f} 0a{inner:.1f} {inner:.1f} 0 1 1 {-2 * inner:.1f} 0z"
        )
    if kind == "square":
        return box(x - 0.9 * r, y - 0.9 * r, 1.8 * r, 1.8 * r)
    if kind == "diamond":
        return f"M{x:.1f} {y - 1.2 * r:.1f}l{1.2 * r:.1f} {1.2 * r:.1f}l{-1.2 * r:.1f} {1.2 * r:.1f}l{-1.2 * r:.1f} {-1.2 * r:.1f}z"
    if kind == "triangle":
        return f"M{x:.1f} {y - 1.15 * r:.1f}l{1.15 * r:.1f} {2.1 * r:.1f}h{-2.3 * r:.1f}z"
    if kind == "bar":
        return box(x - 1, y - 1.3 * r, 2, 2.6 * r)
    w = 0.8
    return box(x - r, y - w, 2 * r, 2 * w) + box(x - w, y - r, 2 * w, 2 * r)
