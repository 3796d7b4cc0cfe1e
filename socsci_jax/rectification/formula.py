"""Formulas such as `y ~ treatment * C(party) + age`: names and operators, and nothing that could be executed.

The formula library evaluates what stands in a formula as Python.  So it never sees text from outside: a formula is
split into names and the operators below, everything else is refused by name, and names are replaced by numbered ones.
"""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.wording import counted

ALLOWED = "names, +, :, *, C(name) and 1"
# A text column with more levels than this is an identifier rather than a variable.
MOST_LEVELS = 50
_TOKEN = re.compile(r"\s*(?:(C)\s*\(\s*([^\W\d][\w.]*)\s*\)|([^\W\d][\w.]*)|(1)(?![\w.])|([+:*])|(\S))")
_STAND_IN = re.compile(r"socsci_jax_(\d+)_column")


@dataclasses.dataclass(frozen=True)
class Formula:
    """`outcome` ~ the right side, as tokens: names, `C(name)` as ("C", name), 1, and operators between them."""

    text: str
    outcome: str
    tokens: tuple[str | tuple[str, str], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of the right side, each once."""
        words = [token[1] if isinstance(token, tuple) else token for token in self.tokens]
        return tuple(dict.fromkeys(name for name in words if name not in ("+", ":", "*", "1")))

    @property
    def categorical(self) -> set[str]:
        """The columns that stand in a C(name)."""
        return {token[1] for token in self.tokens if isinstance(token, tuple)}

    @property
    def single(self) -> str | None:
        """The one variable of a right side that is a name and nothing else; None otherwise."""
        return self.tokens[0] if len(self.tokens) == 1 and self.names == self.tokens else None


@dataclasses.dataclass(frozen=True)
class Design:
    """Design matrix [N, P] and the names of its columns."""

    X: np.ndarray
    terms: tuple[str, ...]


def parse_formula(text: str) -> Formula:
    """Reads a formula; raises InputError that names what is not allowed in one."""
    left, tilde, right = text.partition("~")
    outcome = left.strip()
    if not tilde or not re.fullmatch(r"[^\W\d][\w.]*", outcome):
        raise InputError(
            f"Formula {text!r}: give the answers' column, a tilde and variables, as in 'y ~ treatment + age'."
        )
    tokens: list[str | tuple[str, str]] = []
    for c, categorical, name, one, operator, other in _TOKEN.findall(right):
        if other:
            raise InputError(
                f"Formula {text!r}: {_around(right, other)!r} is not allowed; use {ALLOWED} only."
            )
        token = (c, categorical) if c else name or one or operator
        if (token in ("+", ":", "*")) == (not tokens or tokens[-1] in ("+", ":", "*")):
            raise InputError(
                f"Formula {text!r}: {categorical or token!r} is out of place; put one of + : * between names."
            )
        if "1" in (token, *tokens[-2:-1]) and {token, *tokens[-1:]} & {":", "*"}:
            raise InputError(f"Formula {text!r}: 1 is the intercept and stands alone, as in 'y ~ 1'.")
        tokens.append(token)
    if not tokens or tokens[-1] in ("+", ":", "*"):
        raise InputError(f"Formula {text!r} ends without a variable; 'y ~ 1' asks for the mean.")
    formula = Formula(text.strip(), outcome, tuple(tokens))
    if outcome in formula.names:
        raise InputError(f"Formula {text!r}: {outcome!r} stands on both sides.")
    return formula


def _around(right: str, character: str) -> str:
    """What a refused character belongs to: the call of a function, or the word that it is part of."""
    at = right.index(character)
    start = re.search(r"[\w.]*$", right[:at]).start()
    return right[start : at + 1].strip()


def design(formula: Formula, frame: pl.DataFrame) -> Design:
    """The design of rows without missing values; texts and C(name) become dummies, the first level the baseline.

    Raises InputError for columns that cannot be variables.
    """
    from formulaic import model_matrix

    stand_in = {name: f"socsci_jax_{at}_column" for at, name in enumerate(formula.names)}
    columns = {stand_in[name]: _variable(frame[name], name in formula.categorical) for name in formula.names}
    written = [
        f"C({stand_in[token[1]]})" if isinstance(token, tuple) else stand_in.get(token, token)
        for token in formula.tokens
    ]
    if not formula.names:
        return Design(np.ones((frame.height, 1)), ("Intercept",))
    matrix = model_matrix("1 + " + " ".join(written), pl.DataFrame(columns).to_pandas())
    names = [_STAND_IN.sub(lambda match: formula.names[int(match[1])], name) for name in matrix.columns]
    return Design(np.asarray(matrix, dtype=float), tuple(names))


def baselines(formula: Formula, frame: pl.DataFrame) -> dict[str, object]:
    """The level with which each variable of dummies compares its others, which no term of `design` says."""
    variables = {name: _variable(frame[name], name in formula.categorical) for name in formula.names}
    return {
        name: column.min()
        for name, column in variables.items()
        if name in formula.categorical or column.dtype == pl.String
    }


def _variable(column: pl.Series, categorical: bool) -> pl.Series:
    if column.dtype.is_nested() or column.dtype == pl.Binary:
        raise InputError(
            f"Column {column.name!r} holds lists, records or bytes; give one value in each cell."
        )
    if column.dtype == pl.Boolean:
        column = column.cast(pl.Int8)
    if column.dtype == pl.Int128:  # a number of more than 18 digits, which pandas has no type for
        column = column.cast(pl.Float64)
    if (
        column.dtype.is_float()
        and categorical
        and ((column == column.round()) & (column.abs() < 2**53)).all()
    ):
        column = column.cast(pl.Int64)
    if categorical or not column.dtype.is_numeric():
        if not column.dtype.is_numeric():
            column = column.cast(pl.String)
        levels = column.n_unique()
        if levels > MOST_LEVELS:
            raise InputError(
                f"Column {column.name!r} has {counted(levels, 'level')}, at most {MOST_LEVELS} are allowed; it is an identifier "
                "rather than a variable, or a number that is written as text."
            )
    if column.n_unique() < 2:
        raise InputError(f"Column {column.name!r} is {column[0]!r} in all rows; remove it from the formula.")
    return column
