"""The specification curve: one estimate under every way of making it, and below it which choices each way took."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from socsci_jax.pages.axes import DIGIT, axis, shortened, written, y_axis
from socsci_jax.pages.drawing import Drawing, Fill, Shape, Stroke, Text, line, marker

# A dimension of more choices is not drawn below the curve; the table and the values' words have it.
MOST_CHOICES = 30
_ROW = 13.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Specification:
    """An estimate with its interval, and the choices that made it: dimension -> choice."""

    value: float
    lo: float
    hi: float
    choices: Mapping[str, str]
    is_base: bool = False


def specification_curve(
    name: str,
    title: str,
    specifications: Sequence[Specification],
    *,
    label: str,
    expected: float | None = None,
    description: str,
    caption: str,
    digits: int = 1,
) -> Drawing:
    """Estimates from the smallest to the greatest; a mark below each shows the choices that it took.

    The base specification is an orange diamond; `expected` is drawn as a dashed line.
    """
    shown = sorted(specifications, key=lambda one: one.value)
    rows = _rows(shown)
    width, top, bottom = 640.0, 10.0, 190.0
    left = max(52.0, 20 + DIGIT * min(24, max((len(text) for _, text in rows), default=0)))
    right = width - 12
    ends = [x for one in shown for x in (one.lo, one.hi)]
    y = axis([*ends, 0.0, *([] if expected is None else [expected])], start=bottom, end=top, ticks=5)
    shapes: list[Shape] = [*y_axis(y, left, right, label)]
    shapes.append(Stroke(d=line(left, y.at(0), right, y.at(0)), series="muted"))
    if expected is not None:
        shapes.append(
            Stroke(d=line(left, y.at(expected), right, y.at(expected)), series="green", dashed=True)
        )
    step = (right - left) / max(1, len(shown))
    for place, (_, text) in enumerate(rows):
        at = bottom + 18 + _ROW * place
        shapes.append(Text(x=left - 8, y=at + 4, text=shortened(text, 24), anchor="end", series="muted"))
        shapes.append(Stroke(d=line(left, at, right, at), thick=0.4))
    number = {row: place for place, row in enumerate(rows)}
    for place, one in enumerate(shown):
        x = left + step * (place + 0.5)
        color = "orange" if one.is_base else "model"
        words = [
            f"{written(one.value, digits=digits)} [{written(one.lo, digits=digits)}, {written(one.hi, digits=digits)}]"
        ]
        words += [f"{dimension}: {shortened(choice, 60)}" for dimension, choice in one.choices.items()]
        shapes.append(Stroke(d=line(x, y.at(one.lo), x, y.at(one.hi)), series=color, thick=1.4))
        mark = marker("diamond" if one.is_base else "circle", x, y.at(one.value), 3.2)
        shapes.append(Fill(d=mark, series=color, tip="\n".join(words)))
        for row in one.choices.items():
            if row in number:
                at = bottom + 18 + _ROW * number[row]
                shapes.append(Fill(d=marker("square", x, at, min(3.0, 0.45 * step)), series=color))
    return Drawing(
        name=name,
        title=title,
        description=description,
        caption=caption,
        width=width,
        height=bottom + 24 + _ROW * len(rows),
        shapes=shapes,
        size="wide",
    )


def _rows(specifications: Sequence[Specification]) -> list[tuple[str, str]]:
    """Each choice of each dimension that varies, dimension by dimension."""
    rows: list[tuple[str, str]] = []
    for dimension in dict.fromkeys(key for one in specifications for key in one.choices):
        choices = dict.fromkeys(one.choices.get(dimension, "") for one in specifications)
        if 1 < len(choices) <= MOST_CHOICES:
            rows += [(dimension, choice) for choice in choices]
    return rows
