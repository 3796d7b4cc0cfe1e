"""The plots that pages are made of: values with intervals, points against each other, distributions, matrices."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from socsci_jax.pages.drawing import Drawing, Fill, Marker, Shape, Stroke, Text, box, line, marker
from socsci_jax.pages.tables import Cell, Column, Table

_DIGIT = 5.8  # width of a character of the plots' type, about
MOST_BARS = 15


@dataclasses.dataclass(frozen=True, kw_only=True)
class Value:
    """A value with its interval, of a series, at a place (a row of a dot plot)."""

    place: str
    series: str
    value: float
    lo: float | None = None
    hi: float | None = None
    note: str = ""


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
    return f"{value:.{digits}f}".replace("-", "−")


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
    longest = 30 if wide else 20
    left = 14 + _DIGIT * min(longest, max((len(place) for place in places), default=0))
    gap = 9.0 if not one_line else 0.0
    row = 17.0 if one_line else 13 + gap * max(0, len(shown) - 1) + 6
    legend, top = (
        _legend([(series[s].title, series[s]) for s in shown], width=width) if len(shown) > 1 else ([], 8.0)
    )
    bottom = top + row * len(places)
    ends = [x for v in values for x in (v.value, v.lo, v.hi) if x is not None]
    ends += [] if reference is None else [reference]
    x = axis(ends, start=left, end=width - 14, zero=zero, ticks=6 if wide else 4)
    shapes: list[Shape] = [*legend, *_x_axis(x, top, bottom, label, width)]
    if reference is not None:
        shapes.append(
            Stroke(d=line(x.at(reference), top, x.at(reference), bottom), series="muted", dashed=True)
        )
    for number, place in enumerate(places):
        middle = top + row * (number + 0.5)
        shapes.append(Text(x=left - 8, y=middle + 4, text=shortened(place, longest), anchor="end"))
        if one_line and number:
            shapes.append(
                Stroke(d=line(left, middle - row / 2, width - 14, middle - row / 2), series="rule", thick=0.5)
            )
        for v in (v for v in values if v.place == place):
            style = series[v.series]
            y = middle + gap * (shown.index(v.series) - (len(shown) - 1) / 2)
            words = f"{place}\n{style.title}: {_with_interval(v, digits)}" + (f"\n{v.note}" if v.note else "")
            if v.lo is not None and v.hi is not None:
                shapes.append(Stroke(d=line(x.at(v.lo), y, x.at(v.hi), y), series=style.color, thick=2))
            shapes.append(Fill(d=marker(style.marker, x.at(v.value), y, 4), series=style.color, tip=words))
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
        most = 1.05 * max((max(abs(p.x), abs(p.y)) for p in points), default=0.1)
        ends = [-max(most, 1e-6), max(most, 1e-6)]
    else:
        ends = list(square)
    x = axis(ends, start=left, end=right, ticks=5)
    y = dataclasses.replace(x, start=bottom, end=top)
    shapes: list[Shape] = [*_x_axis(x, top, bottom, x_label, size), *_y_axis(y, left, right, y_label)]
    if square is None:
        shapes += [Stroke(d=line(x.at(0), top, x.at(0), bottom), series="muted", thick=0.6)]
        shapes += [Stroke(d=line(left, y.at(0), right, y.at(0)), series="muted", thick=0.6)]
    shapes.append(Stroke(d=line(left, bottom, right, top), series="muted", dashed=True))
    many = len(points) > 60
    for p in points:
        words = (
            f"{p.words}\n{names[0]} {written(p.x, digits=digits)}, {names[1]} {written(p.y, digits=digits)}"
        )
        if p.x_error is not None and not many:
            lo, hi = (max(x.least, min(x.most, p.x + k * 1.96 * p.x_error)) for k in (-1, 1))
            shapes.append(Stroke(d=line(x.at(lo), y.at(p.y), x.at(hi), y.at(p.y)), series="sky", thick=0.8))
        shapes.append(
            Fill(
                d=marker("circle", x.at(p.x), y.at(p.y), 2.5 if many else 3.5),
                series=p.series,
                tip=words,
                opacity=0.6 if many else 0.85,
            )
        )
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


def distribution(
    name: str,
    title: str,
    levels: Sequence[str],
    people: Sequence[float],
    model: Sequence[float],
    *,
    caption: str,
    labels: Sequence[str] = (),
) -> Drawing:
    """Shares of answers at each level, people alongside model; cumulative lines where there are many levels."""
    width, left, top, right = 300.0, 34.0, 22.0, 292.0
    bottom, many = 138.0, len(levels) > MOST_BARS
    sides = (("people", people), ("model", model))
    lines = {side: _cumulated(shares) if many else list(shares) for side, shares in sides}
    top_share = 1.0 if many else max(0.05, max(max(shares, default=0) for shares in lines.values()))
    y = axis([0, top_share], start=bottom, end=top, ticks=3, zero=True)
    named = [label or level for level, label in zip(levels, labels or [""] * len(levels), strict=True)]
    shapes: list[Shape] = []
    for tick in y.ticks:
        shapes.append(Stroke(d=line(left, y.at(tick), right, y.at(tick)), thick=0.5))
        shapes.append(Text(x=left - 5, y=y.at(tick) + 4, text=f"{tick:.0%}", series="muted", anchor="end"))
    step = (right - left) / max(1, len(levels))
    every = max(1, math.ceil(len(levels) * _DIGIT * (1 + max(map(len, levels), default=1)) / (right - left)))
    for k, level in enumerate(levels):
        if k % every == 0:
            shapes.append(
                Text(x=left + step * (k + 0.5), y=bottom + 14, text=level, series="muted", anchor="middle")
            )
    for place, (side, shares) in enumerate(lines.items()):
        if many:
            path = "".join(
                f"{'L' if k else 'M'}{left + step * (k + 0.5):.1f} {y.at(share):.1f}"
                for k, share in enumerate(shares)
            )
            shapes.append(Stroke(d=path, series=side, thick=1.8, dashed=side == "model"))
            continue
        for k, share in enumerate(shares):
            at = left + step * k + step * (0.1 + 0.4 * place)
            tip = f"{shortened(named[k], 60)}\npeople {people[k]:.1%}, model {model[k]:.1%}"
            high = bottom - y.at(share)
            shapes.append(
                Fill(d=box(at, y.at(share), 0.4 * step, high), series=side, tip=tip if place else "")
            )
            if not place:
                # The whole column answers to the pointer, however low its bars.
                shapes.append(
                    Fill(d=box(left + step * k, top, step, bottom - top), series="ground", tip=tip, opacity=0)
                )
    shapes += _legend([(s, Series(s, s, "square")) for s in lines], width=width, left=left)[0]
    described = "; ".join(
        f"{shortened(n, 40)}: people {p:.0%}, model {m:.0%}"
        for n, p, m in zip(named[:MOST_BARS], people, model)
    )
    return Drawing(
        name=name,
        title=title,
        description=("Cumulative shares. " if many else "Shares of answers. ") + described,
        caption=caption,
        width=width,
        height=bottom + 22,
        shapes=shapes,
        size="small",
    )


def _cumulated(shares: Sequence[float]) -> list[float]:
    total, sums = 0.0, []
    for share in shares:
        total += share
        sums.append(min(1.0, total))
    return sums


def matrix(
    name: str,
    title: str,
    labels: Sequence[str],
    counts: Sequence[Sequence[float]],
    *,
    description: str,
    caption: str,
) -> Drawing:
    """How often rows (people's labels) meet columns (the model's); darker is a greater share of the row."""
    left, top, width = 120.0, 26.0, 440.0
    size = len(labels)
    cell_w, cell_h = (width - left - 8) / size, max(16.0, min(34.0, 240 / size))
    shapes: list[Shape] = [Text(x=left, y=12, text="columns: model", series="muted")]
    shapes.append(Text(x=left - 8, y=12, text="rows: people", series="muted", anchor="end"))
    fits = max(2, int(cell_w / _DIGIT))
    for k, label in enumerate(labels):
        middle = left + cell_w * (k + 0.5)
        shapes.append(Text(x=middle, y=top - 1, text=shortened(label, fits), anchor="middle"))
        shapes.append(
            Text(x=left - 8, y=top + cell_h * (k + 0.5) + 8, text=shortened(label, 18), anchor="end")
        )
        total = sum(counts[k]) or 1.0
        for j, other in enumerate(labels):
            share = counts[k][j] / total
            d = box(left + cell_w * j + 1, top + cell_h * k + 5, cell_w - 2, cell_h - 2)
            tip = f"people: {label}\nmodel: {other}\n{counts[k][j]:,.0f} ({share:.0%} of the row)"
            shapes.append(Fill(d=d, series="model", opacity=round(0.06 + 0.6 * share, 3), tip=tip))
            if size <= 12:
                shapes.append(
                    Text(
                        x=left + cell_w * (j + 0.5),
                        y=top + cell_h * (k + 0.5) + 8,
                        text=f"{counts[k][j]:.0f}",
                        anchor="middle",
                    )
                )
    columns = [Column("People", is_number=False), *(Column(f"model: {label}") for label in labels)]
    rows = [
        [Cell(label), *(number(count, 0) for count in row)] for label, row in zip(labels, counts, strict=True)
    ]
    return Drawing(
        name=name,
        title=title,
        description=description,
        caption=caption,
        width=width,
        height=top + cell_h * size + 14,
        shapes=shapes,
        table=Table(name=name, title=title, columns=columns, rows=rows),
    )


def _legend(
    entries: Sequence[tuple[str, Series]], *, width: float, left: float = 8.0
) -> tuple[list[Shape], float]:
    """The legend's shapes, line by line, and the height that they take."""
    shapes: list[Shape] = []
    x, y = left, 12.0
    for title, style in entries:
        wide = 22 + _DIGIT * len(title)
        if x + wide > width and x > left:
            x, y = left, y + 16
        shapes.append(Fill(d=marker(style.marker, x + 5, y - 4, 4), series=style.color))
        shapes.append(Text(x=x + 13, y=y, text=title))
        x += wide
    return shapes, y + 12


def _x_axis(x: Axis, top: float, bottom: float, label: str, width: float) -> list[Shape]:
    shapes: list[Shape] = [Stroke(d=line(x.start, bottom, x.end, bottom), series="muted")]
    for tick in x.ticks:
        shapes.append(Stroke(d=line(x.at(tick), top, x.at(tick), bottom), thick=0.6))
        shapes.append(Text(x=x.at(tick), y=bottom + 14, text=x.label(tick), series="muted", anchor="middle"))
    shapes.append(Text(x=(x.start + x.end) / 2, y=bottom + 30, text=label, anchor="middle"))
    return shapes


def _y_axis(y: Axis, left: float, right: float, label: str) -> list[Shape]:
    shapes: list[Shape] = []
    for tick in y.ticks:
        shapes.append(Stroke(d=line(left, y.at(tick), right, y.at(tick)), thick=0.6))
        shapes.append(Text(x=left - 6, y=y.at(tick) + 4, text=y.label(tick), series="muted", anchor="end"))
    shapes.append(Text(x=13, y=(y.start + y.end) / 2, text=label, anchor="middle", turned=True))
    return shapes
