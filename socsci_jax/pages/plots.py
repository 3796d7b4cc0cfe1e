"""The plots that pages are made of: values with intervals, points against each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from socsci_jax.pages.axes import DIGIT, Axis, Series, axis, legend, shortened, written, x_axis, y_axis
from socsci_jax.pages.drawing import Drawing, Fill, Shape, Stroke, Text, line, marker
from socsci_jax.pages.tables import Cell, Column, Table

MANY = 60  # points of which none shows its interval


@dataclasses.dataclass(frozen=True, kw_only=True)
class Value:
    """A value with its interval, of a series, at a place (a row of a dot plot)."""

    place: str
    series: str
    value: float
    lo: float | None = None
    hi: float | None = None
    note: str = ""


def _with_interval(value: Value, digits: int) -> str:
    interval = (
        ""
        if value.lo is None or value.hi is None
        else f" [{written(value.lo, digits=digits)}, {written(value.hi, digits=digits)}]"
    )
    return written(value.value, digits=digits) + interval


def dots(
    name: str,
    title: str,
    values: Sequence[Value],
    series: dict[str, Series],
    *,
    label: str,
    description: str,
    caption: str,
    digits: int = 3,
    zero: bool = True,
    reference: float | None = None,
    wide: bool = False,
    one_line: bool = False,
) -> Drawing:
    """Values with intervals by place: a row for each place, in which series stand below each other.

    With `one_line` all series of a place share its line, as where there are many places and no intervals.
    """
    width = 640.0 if wide else 440.0
    places = list(dict.fromkeys(value.place for value in values))
    shown = [s for s in series if any(v.series == s for v in values)]
    longest = 40 if wide else 24
    left = 14 + DIGIT * min(longest, max((len(place) for place in places), default=0))
    gap = 9.0 if not one_line else 0.0
    row = 17.0 if one_line else 13 + gap * max(0, len(shown) - 1) + 6
    entries, top = (
        legend([(series[s].title, series[s]) for s in shown], width=width) if len(shown) > 1 else ([], 8.0)
    )
    bottom = top + row * len(places)
    ends = [x for v in values for x in (v.value, v.lo, v.hi) if x is not None]
    ends += [] if reference is None else [reference]
    x = axis(ends, start=left, end=width - 14, zero=zero, ticks=6 if wide else 4)
    shapes: list[Shape] = [*entries, *x_axis(x, top, bottom, label, width)]
    if reference is not None:
        shapes.append(
            Stroke(d=line(x.at(reference), top, x.at(reference), bottom), series="muted", dashed=True)
        )
    for number, place in enumerate(places):
        middle = top + row * (number + 0.5)
        shapes.append(Text(x=left - 8, y=middle + 4, text=shortened(place, longest), anchor="end"))
        if one_line and number:
            border = line(left, middle - row / 2, width - 14, middle - row / 2)
            shapes.append(Stroke(d=border, series="rule", thick=0.5))
        for v in (v for v in values if v.place == place):
            y = middle + gap * (shown.index(v.series) - (len(shown) - 1) / 2)
            shapes += _dot(v, series[v.series], x, y, digits)
    return Drawing(
        name=name,
        title=title,
        description=description,
        caption=caption,
        width=width,
        height=bottom + 36,
        shapes=shapes,
        table=_value_table(name, title, values, series, digits),
        size="wide" if wide else "half",
    )


def _value_table(
    name: str, title: str, values: Sequence[Value], series: dict[str, Series], digits: int
) -> Table:
    return Table(
        name=name,
        title=title,
        columns=[Column("Place", is_number=False), Column("Series", is_number=False)]
        + [Column(head) for head in ("Value", "Lower", "Upper")],
        rows=[
            [Cell(v.place), Cell(series[v.series].title)] + [number(x, digits) for x in (v.value, v.lo, v.hi)]
            for v in values
        ],
    )


def number(value: float | None, digits: int) -> Cell:
    """A cell that shows a rounded number and keeps six significant digits for sorting and downloading."""
    return Cell("–") if value is None else Cell(written(value, digits=digits), float(f"{value:.6g}"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """People's value and the model's, with a standard error of people's where there is one, and what it is of."""

    x: float
    y: float
    words: str
    x_error: float | None = None
    series: str = "model"


def _dot(value: Value, style: Series, x: Axis, y: float, digits: int) -> list[Shape]:
    """A value with its interval, at the height y."""
    words = f"{value.place}\n{style.title}: {_with_interval(value, digits)}"
    words += f"\n{value.note}" if value.note else ""
    dot = Fill(d=marker(style.marker, x.at(value.value), y, 4), series=style.color, tip=words)
    if value.lo is None or value.hi is None:
        return [dot]
    return [Stroke(d=line(x.at(value.lo), y, x.at(value.hi), y), series=style.color, thick=2), dot]


def scatter(
    name: str,
    title: str,
    points: Sequence[Point],
    *,
    x_label: str,
    y_label: str,
    description: str,
    caption: str,
    what: str = "What",
    square: tuple[float, float] | None = None,
    table: bool = True,
    digits: int = 3,
    names: tuple[str, str] = ("people", "model"),
) -> Drawing:
    """Predicted against observed with the 45° line; both axes are the same, so the line is where they agree.

    `square` fixes the ends of both axes; otherwise zero is in the middle.  `names` are those of x and y in words.
    """
    size, left, top = 420.0, 52.0, 10.0
    right, bottom = size - 12, size - 44
    if square is None:
        # Intervals are drawn unless there are many points, and have to fit as well.
        errors = [0.0 if p.x_error is None or len(points) > MANY else 1.96 * p.x_error for p in points]
        most = 1.05 * max(
            (max(abs(p.x) + e, abs(p.y)) for p, e in zip(points, errors, strict=True)), default=0.1
        )
        ends = [-max(most, 1e-6), max(most, 1e-6)]
    else:
        ends = list(square)
    x = axis(ends, start=left, end=right, ticks=5)
    y = dataclasses.replace(x, start=bottom, end=top)
    shapes: list[Shape] = [*x_axis(x, top, bottom, x_label, size), *y_axis(y, left, right, y_label)]
    if square is None:
        shapes += [Stroke(d=line(x.at(0), top, x.at(0), bottom), series="muted", thick=0.6)]
        shapes += [Stroke(d=line(left, y.at(0), right, y.at(0)), series="muted", thick=0.6)]
    shapes.append(Stroke(d=line(left, bottom, right, top), series="muted", dashed=True))
    many = len(points) > MANY
    for p in points:
        tip = f"{p.words}\n{names[0]} {written(p.x, digits=digits)}, {names[1]} {written(p.y, digits=digits)}"
        shapes += _point(p, x, y, tip=tip, many=many)
    rows = [[Cell(p.words.replace("\n", " · ")), number(p.x, digits), number(p.y, digits)] for p in points]
    columns = [Column(what, is_number=False), *(Column(name.capitalize()) for name in names)]
    return Drawing(
        name=name,
        title=title,
        description=description,
        caption=caption,
        width=size,
        height=size,
        shapes=shapes,
        table=Table(name=name, title=title, columns=columns, rows=rows) if table else None,
    )


def _point(point: Point, x: Axis, y: Axis, *, tip: str, many: bool) -> list[Shape]:
    """A point, with the interval of what was observed unless there are many."""
    place = marker("circle", x.at(point.x), y.at(point.y), 2.5 if many else 3.5)
    dot = Fill(d=place, series=point.series, tip=tip, opacity=0.6 if many else 0.85)
    if point.x_error is None or many:
        return [dot]
    lo, hi = (max(x.least, min(x.most, point.x + k * 1.96 * point.x_error)) for k in (-1, 1))
    interval = line(x.at(lo), y.at(point.y), x.at(hi), y.at(point.y))
    return [Stroke(d=interval, series="sky", thick=0.8), dot]
