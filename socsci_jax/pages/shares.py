"""Plots of shares: distributions of answers side by side, and how often labels meet."""

from __future__ import annotations

import math
from collections.abc import Sequence

from socsci_jax.pages.axes import DIGIT, Axis, Series, axis, legend, shortened
from socsci_jax.pages.drawing import Drawing, Fill, Shape, Stroke, Text, box, line
from socsci_jax.pages.plots import number
from socsci_jax.pages.tables import Cell, Column, Table

MOST_BARS = 15
# Of a distribution, in pixels of its picture.
WIDTH, LEFT, RIGHT, TOP, BOTTOM = 300.0, 40.0, 286.0, 22.0, 138.0


def distribution(
    name: str,
    title: str,
    levels: Sequence[str],
    people: Sequence[float],
    model: Sequence[float],
    *,
    caption: str,
    labels: Sequence[str] = (),
    names: tuple[str, str] = ("people", "model"),
) -> Drawing:
    """Shares of answers at each level, people alongside model; cumulative lines where there are many levels.

    `names` are those of the two sides in words.
    """
    many = len(levels) > MOST_BARS
    sides = {"people": people, "model": model}
    lines = {side: _cumulated(shares) if many else list(shares) for side, shares in sides.items()}
    top_share = 1.0 if many else max(0.05, max(max(shares, default=0) for shares in lines.values()))
    y = axis([0, top_share], start=BOTTOM, end=TOP, ticks=3, zero=True)
    words = [label or level for level, label in zip(levels, labels or [""] * len(levels), strict=True)]
    shapes = _share_axes(y, words if _all_fit(words) else levels)
    if many:
        shapes += [_share_line(y, side, shares) for side, shares in lines.items()]
    else:
        tips = [
            f"{shortened(word, 60)}\n{names[0]} {p:.1%}, {names[1]} {m:.1%}"
            for word, p, m in zip(words, people, model)
        ]
        for place, (side, shares) in enumerate(lines.items()):
            shapes += _bars(y, side, shares, tips, place=place)
    entries = [(n, Series(n, side, "square")) for side, n in zip(lines, names, strict=True)]
    shapes += legend(entries, width=WIDTH, left=LEFT)[0]
    described = "; ".join(
        f"{shortened(n, 40)}: {names[0]} {p:.0%}, {names[1]} {m:.0%}"
        for n, p, m in zip(words[:MOST_BARS], people, model)
    )
    return Drawing(
        name=name,
        title=title,
        description=("Cumulative shares. " if many else "Shares of answers. ") + described,
        caption=caption,
        width=WIDTH,
        height=BOTTOM + 22,
        shapes=shapes,
        size="small",
    )


def _all_fit(words: Sequence[str]) -> bool:
    """Whether each has room below its bars."""
    return max(map(len, words), default=0) + 1 <= (RIGHT - LEFT) / DIGIT / max(1, len(words))


def _share_axes(y: Axis, levels: Sequence[str]) -> list[Shape]:
    """Lines with percentages, and below them as many of the levels as have room."""
    shapes: list[Shape] = []
    for tick in y.ticks:
        shapes.append(Stroke(d=line(LEFT, y.at(tick), RIGHT, y.at(tick)), thick=0.5))
        shapes.append(Text(x=LEFT - 5, y=y.at(tick) + 4, text=f"{tick:.0%}", series="muted", anchor="end"))
    step = (RIGHT - LEFT) / max(1, len(levels))
    every = max(1, math.ceil(len(levels) * DIGIT * (1 + max(map(len, levels), default=1)) / (RIGHT - LEFT)))
    for k, level in enumerate(levels):
        if k % every == 0:
            middle = LEFT + step * (k + 0.5)
            shapes.append(Text(x=middle, y=BOTTOM + 14, text=level, series="muted", anchor="middle"))
    return shapes


def _share_line(y: Axis, side: str, shares: Sequence[float]) -> Stroke:
    step = (RIGHT - LEFT) / max(1, len(shares))
    path = "".join(
        f"{'L' if k else 'M'}{LEFT + step * (k + 0.5):.1f} {y.at(share):.1f}"
        for k, share in enumerate(shares)
    )
    return Stroke(d=path, series=side, thick=1.8, dashed=side == "model")


def _bars(y: Axis, side: str, shares: Sequence[float], tips: Sequence[str], *, place: int) -> list[Shape]:
    """The bars of one side, at the first or second place of each level."""
    step = (RIGHT - LEFT) / max(1, len(shares))
    shapes: list[Shape] = []
    for k, (share, tip) in enumerate(zip(shares, tips, strict=True)):
        at = LEFT + step * k + step * (0.1 + 0.4 * place)
        bar = box(at, y.at(share), 0.4 * step, BOTTOM - y.at(share))
        shapes.append(Fill(d=bar, series=side, tip=tip if place else ""))
        if not place:
            # The whole column answers to the pointer, however low its bars.
            column = box(LEFT + step * k, TOP, step, BOTTOM - TOP)
            shapes.append(Fill(d=column, series="ground", tip=tip, opacity=0))
    return shapes


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
    fits = max(2, int(cell_w / DIGIT))
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
