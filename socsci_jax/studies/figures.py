"""Figures that a notebook shows by themselves."""

from __future__ import annotations

import io

from matplotlib.figure import Figure


class ShownFigure(Figure):
    """A figure that a notebook shows as the value of a cell, without `pyplot`, which would keep every figure open.

    Importing `pyplot` is what teaches a notebook to show figures; until somebody does, it would print their size.
    """

    def __repr__(self) -> str:
        """What a terminal shows in the place of the picture."""
        return "<figure: a notebook shows it; elsewhere save it, as in .savefig('answers.png')>"

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=110)
        return buffer.getvalue()
