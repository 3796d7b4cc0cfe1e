"""Plots of values with two intervals, of curves, and of specification curves."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from socsci_jax.pages.axes import (
    DIGIT,
    Axis,
    Series,
    axis,
    legend,
    shortened,
    written,
    x_axis,
    y_axis,
)
from socsci_jax.pages.drawing import Drawing, Fill, Shape, Stroke, Text, line, marker
from socsci_jax.pages.plots import number
from socsci_jax.pages.tables import Cell, Column, Table

Ends = tuple[float, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interval:
    """What is expected at a place (a row), with its inner and outer interval, and a second value to compare it with."""

    place: str
    value: float
    inner: Ends
    outer: Ends
    compared: float | None = None
    note: str = ""


def intervals(
    name: str,
    title: str,
    values: Sequence[Interval],
    *,
    label: str,
    series: Series,
    compared: Series,
    levels: tuple[str, str],
    description: str,
    caption: str,
    digits: int = 1,
    reference: float = 0.0,
) -> Drawing:
    """A row for each value: a thick line for the inner interval, a thin one for the outer; `levels` are their names."""
    width, longest, row = 440.0, 22, 19.0
    left = 14 + DIGIT * min(longest, max((len(v.place) for v in values), default=0))
    both = any(v.compared is not None for v in values)
    entries, top = legend([(s.title, s) for s in (series, compared)], width=width) if both else ([], 8.0)
    bottom = top + row * len(values)
    ends = [x for v in values for x in (*v.outer, v.compared) if x is not None]
    x = axis([*ends, reference], start=left, end=width - 14, ticks=4)
    shapes: list[Shape] = [*entries, *x_axis(x, top, bottom, label, width)]
    shapes.append(Stroke(d=line(x.at(reference), top, x.at(reference), bottom), series="muted", dashed=True))
    for place, v in enumerate(values):
        y = top + row * (place + 0.5)
        shapes.append(Text(x=left - 8, y=y + 4, text=shortened(v.place, longest), anchor="end"))
        for (lo, hi), thick in ((v.outer, 1.3), (v.inner, 4.5)):
            shapes.append(Stroke(d=line(x.at(lo), y, x.at(hi), y), series=series.color, thick=thick))
        if v.compared is not None:
            shapes.append(Fill(d=marker(compared.marker, x.at(v.compared), y, 4), series=compared.color))
        words = [f"{v.place}", f"{series.title}: {written(v.value, digits=digits)}"]
        words += [
            f"{level}: {written(lo, digits=digits)} to {written(hi, digits=digits)}"
            for level, (lo, hi) in zip(levels, (v.inner, v.outer), strict=True)
        ]
        if v.compared is not None:
            words.append(f"{compared.title}: {written(v.compared, digits=digits)}")
        tip = "\n".join([*words, *([v.note] if v.note else [])])
        shapes.append(Fill(d=marker(series.marker, x.at(v.value), y, 4.5), series=series.color, tip=tip))
    return Drawing(
        name=name,
        title=title,
        description=description,
        caption=caption,
        width=width,
        height=bottom + 36,
        shapes=shapes,
    )


@dataclasses.dataclass(frozen=True)
class Curve:
    """Points (x, y) of one line, in the order of x."""

    series: Series
    points: Sequence[tuple[float, float]]
    dashed: bool = False


def curves(
    name: str,
    title: str,
    lines: Sequence[Curve],
    *,
    x_label: str,
    y_label: str,
    description: str,
    caption: str,
    logarithmic: bool = False,
    reference: float | None = None,
    diagonal: bool = False,
    digits: int = 2,
) -> Drawing:
    """Lines over x, y from 0 to 1; `reference` is a level of y, `diagonal` the line y = x of axes from 0 to 1."""
    width, left, right = 440.0, 52.0, 426.0
    entries, top = legend([(c.series.title, c.series) for c in lines], width=width, left=left)
    top, bottom = (top, top + 220.0) if len(lines) > 1 else (10.0, 230.0)
    y = axis([0.0, 1.0], start=bottom, end=top, ticks=5)
    xs = sorted({x for c in lines for x, _ in c.points})
    x = _log_axis(xs, left, right) if logarithmic else axis([0.0, 1.0], start=left, end=right, ticks=5)
    shapes: list[Shape] = [*(entries if len(lines) > 1 else [])]
    shapes += _log_x(x, xs, top, bottom, x_label) if logarithmic else x_axis(x, top, bottom, x_label, width)
    shapes += y_axis(y, left, right, y_label)
    if diagonal:
        shapes.append(Stroke(d=line(left, bottom, right, top), series="muted", dashed=True))
    if reference is not None:
        at = y.at(reference)
        shapes.append(Stroke(d=line(left, at, right, at), series="muted", dashed=True))
    for c in lines:
        places = [(x.at(math.log10(px) if logarithmic else px), y.at(py)) for px, py in c.points]
        path = "".join(f"{'L' if k else 'M'}{px:.1f} {py:.1f}" for k, (px, py) in enumerate(places))
        shapes.append(Stroke(d=path, series=c.series.color, thick=1.8, dashed=c.dashed))
        for (px, py), (vx, vy) in zip(places, c.points, strict=True):
            tip = f"{c.series.title}\n{x_label}: {vx:,g}\n{y_label}: {written(vy, digits=digits)}"
            shapes.append(Fill(d=marker(c.series.marker, px, py), series=c.series.color, tip=tip))
    columns = [Column("Line", is_number=False), Column(x_label), Column(y_label)]
    rows = [
        [Cell(c.series.title), Cell(f"{px:,g}", px), number(py, digits)] for c in lines for px, py in c.points
    ]
    return Drawing(
        name=name,
        title=title,
        description=description,
        caption=caption,
        width=width,
        height=bottom + 44,
        shapes=shapes,
        table=Table(name=name, title=title, columns=columns, rows=rows),
    )


def _log_axis(xs: Sequence[float], start: float, end: float) -> Axis:
    logs = [math.log10(x) for x in xs]
    least, most = (logs[0], logs[-1]) if logs[-1] > logs[0] else (logs[0] - 0.5, logs[0] + 0.5)
    return Axis(start=start + 6, end=end - 6, least=least, most=most, ticks=logs, digits=0)


def _log_x(x: Axis, xs: Sequence[float], top: float, bottom: float, label: str) -> list[Shape]:
    """A tick at each value that has room for its number."""
    shapes: list[Shape] = [Stroke(d=line(x.start, bottom, x.end, bottom), series="muted")]
    free = -math.inf
    for tick, value in zip(x.ticks, xs, strict=True):
        at, text = x.at(tick), f"{value:,g}"
        shapes.append(Stroke(d=line(at, top, at, bottom), thick=0.6))
        if at - DIGIT * len(text) / 2 > free:
            shapes.append(Text(x=at, y=bottom + 14, text=text, series="muted", anchor="middle"))
            free = at + DIGIT * len(text) / 2
    middle = (x.start + x.end) / 2
    return [*shapes, Text(x=middle, y=bottom + 32, text=label, anchor="middle")]
