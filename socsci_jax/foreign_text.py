"""Text from elsewhere on its way to a reader: shown as text on a terminal, in a page, in a plot, in a cell of a spreadsheet.

Markup is escaped by the templates of pages themselves (Jinja, `autoescape=True`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from socsci_jax.wording import counted

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.typing import RcKeyType

# Control characters and escape sequences, what turns the direction of writing, halves of characters, what is no character.
_CODED = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff"
# The marks of Arabic and Hebrew texts turn punctuation alone, which a browser shows right.
_UNSEEN, _UNSEEN_IN_PAGES = re.compile(f"[{_CODED}\u061c\u200e\u200f]"), re.compile(f"[{_CODED}]")
_LONGEST = 20_000
_ROWS_AT_A_TIME = 65_536
# What a spreadsheet takes for a formula.  A number with its sign is none.
_FORMULA = r"^[=+\-@\t\r\x00\uff1d\uff0b\uff0d\uff20]"
_NUMBER = r"^[+\-]?(\d+\.?\d*|\.\d+)([eE][+\-]?\d+)?$"


def for_terminal(text: object, *, longest: int = _LONGEST) -> str:
    """The text with whatever a terminal would act on written as its code (`\\\\x1b`); line breaks and tabs stay."""
    text = str(text)
    shown = text if len(text) <= longest else f"{text[:longest]}… ({counted(len(text), 'character')})"
    return _UNSEEN.sub(_code, shown)


def for_page(text: object) -> str:
    """The whole text with what a page would not show, or would show turned round, as its code; markup is not escaped."""
    return _UNSEEN_IN_PAGES.sub(_code, str(text).replace("\r\n", "\n"))


def _code(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


# Settings of matplotlib under which a text is neither mathematics nor TeX.
PLAIN_PLOTS: dict[RcKeyType, Any] = {"text.parse_math": False, "text.usetex": False}


def without_formulas(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with an apostrophe before texts that a spreadsheet would run as a formula, names of columns included."""
    import polars as pl

    frame = frame.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String))
    quoted = {name: f"'{name}" for name in frame.columns if re.match(_FORMULA, name)}
    frame = frame.rename({name: new for name, new in quoted.items() if new not in frame.columns})
    text = pl.col(pl.String)
    runs = text.str.contains(_FORMULA) & ~text.str.contains(_NUMBER)
    return frame.with_columns(pl.when(runs).then(pl.lit("'") + text).otherwise(text).name.keep())


def write_csv(frame: pl.DataFrame, path: Path) -> None:
    """A table for people, who open it in a spreadsheet; programs read the Parquet table next to it."""
    with path.open("wb") as file:
        for number, some in enumerate(frame.iter_slices(_ROWS_AT_A_TIME) if frame.height else [frame]):
            file.write(without_formulas(some).write_csv(include_header=number == 0).encode())
