"""Numbers with a decimal comma, as spreadsheets of half of Europe write them into tables with semicolons or tabs."""

from __future__ import annotations

import polars as pl

_INTEGER = r"^\s*-?\d+\s*$"
_COMMA = r"^\s*-?\d+,\d+\s*$"
_PAIR = r"^\s*([1-9]\d?),([1-9]\d?)\s*$"
_POINT = r"^\s*-?\d+\.\d+\s*$"
# Rows of further headers that a survey program writes under the first.
_MOST_HEADER_ROWS = 3


def with_decimal_points(frame: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """The table with points in its decimal numbers, and the columns that changed.

    A table that has points in some numbers is left alone, and so is a column whose cells could be lists of choices
    ("1,3": both rising) or hold other text, but for the header rows at the top.
    """
    body = frame[1:]
    if any(cells.str.contains(_POINT).any() for cells in body.iter_columns()):
        return frame, []
    changed = []
    for name in frame.columns:
        filled = body[name].drop_nulls()
        filled = filled.filter(filled.str.strip_chars() != "")
        commas = filled.filter(filled.str.contains(_COMMA))
        if not len(commas) or not _are_numbers(filled):
            continue
        if _could_be_lists(commas):
            continue
        changed.append(name)
    return frame.with_columns(
        pl.when(frame[name].str.contains(_COMMA))
        .then(frame[name].str.replace(",", ".", literal=True))
        .otherwise(frame[name])
        .alias(name)
        for name in changed
    ), changed


def _are_numbers(cells: pl.Series) -> bool:
    """True if all cells are numbers, but for words in header rows at the top."""
    fits = cells.str.contains(f"{_COMMA}|{_INTEGER}")
    first = fits.arg_max() or 0
    return first < _MOST_HEADER_ROWS and bool(fits[first:].all())


def _could_be_lists(cells: pl.Series) -> bool:
    """True if all cells could be two choices in their order."""
    pairs = cells.str.extract_groups(_PAIR).struct.unnest().cast(pl.Int64)
    return bool((pairs["1"] < pairs["2"]).fill_null(False).all())
