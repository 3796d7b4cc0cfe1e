"""Scales of questions in a plain table: declared in a small specification, or observed in people's answers."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.studies.scale import MAX_LEVELS, Number, Scale
from socsci_jax.yaml_reading import read_yaml

# Answers that are quantities are put into so many levels over their range.
BINS = 101
# What surveys write for don't know, refused, or not asked.
CODES = tuple(
    float(sign * int(digit * length))
    for sign in (-1, 1)
    for digit in "6789"
    for length in range(1, 6)
    if sign < 0 or length > 1
)
_NUMBER = re.compile(r"^-?\d+(?:\.\d+)?$")
# Steps that answers which are no whole numbers may have: half stars, quarter points.
_STEPS = (0.5, 0.25, 0.2, 0.1)
_MOST_STEPS = 50
_RANGE = re.compile(
    r"^\s*(-?\d+(?:\.\d+)?)\s*(?:to|\.\.)\s*(-?\d+(?:\.\d+)?)(?:\s+by\s+(\d+(?:\.\d+)?))?\s*$"
)


@dataclasses.dataclass(frozen=True)
class TableScale:
    """A scale; `rounded` where answers between two levels belong to the nearer one; `codes` of labels in lower case."""

    scale: Scale
    rounded: bool = False
    codes: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def levels_of(self, values: np.ndarray) -> np.ndarray:
        """Values as levels; what is no level, or outside a rounded scale, stays as it is."""
        if not self.rounded:
            return values
        levels = np.asarray(self.scale.levels, dtype=float)
        at = (
            np.abs(values[:, None] - levels[None, :]).argmin(axis=1)
            if values.size * levels.size < 5e6
            else _nearest(values, levels)
        )
        inside = (values >= levels[0]) & (values <= levels[-1])
        return np.where(inside, levels[at], values)


def _nearest(values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    at = np.searchsorted(levels, values).clip(1, levels.size - 1)
    return np.where(values - levels[at - 1] <= levels[at] - values, at - 1, at)


def read_scales(path: str | Path) -> dict[str, TableScale]:
    """Scales by the name of a question, or a pattern with *, from a YAML file.

    Each is "1 to 5", "0 to 100 by 5", "0 to 100 rounded", a list of levels, a list of labels (of 1, 2, ... in their
    order), or {levels: ..., labels: {1: never}, nominal: true}.  Raises InputError that names the question whose scale
    is none.
    """
    tree = read_yaml(Path(path))
    scales = tree.get("scales", tree) if isinstance(tree, Mapping) else None
    if not isinstance(scales, Mapping) or not scales:
        raise InputError(f"{path}: a mapping of questions to scales is needed, for instance `q1: 1 to 5`.")
    return {str(name): _scale(declared, where=f"{path}: {name!r}") for name, declared in scales.items()}


def _scale(declared: object, *, where: str) -> TableScale:
    nominal, rounded = False, False
    labels: object = None
    if isinstance(declared, Mapping):
        unknown = set(declared) - {"levels", "labels", "nominal", "rounded"}
        if unknown or not {"levels", "labels"} & set(declared):
            raise InputError(
                f"{where}: keys levels, labels, nominal and rounded are known, found {sorted(map(str, declared))}."
            )
        nominal, rounded = bool(declared.get("nominal")), bool(declared.get("rounded"))
        labels = declared.get("labels")
        declared = declared.get("levels", labels)
    codes = dict[str, str]()
    if isinstance(declared, list) and any(isinstance(level, str) for level in declared):
        labels = dict(enumerate(declared, start=1))
        declared = list(labels)
    elif isinstance(declared, Mapping):
        labels, declared = declared, [_code(code, where) for code in declared]
    if isinstance(labels, list):
        labels = dict(enumerate(labels, start=1))
    if isinstance(labels, Mapping):
        codes = {str(label).strip().lower(): f"{_code(code, where):g}" for code, label in labels.items()}
        if len(codes) < len(labels):
            raise InputError(f"{where}: two levels have the same label.")
    if isinstance(declared, str):
        rounded = rounded or declared.strip().endswith(" rounded")
        levels = _levels_of_range(declared, where)
    elif isinstance(declared, list):
        levels = tuple(declared)
    else:
        raise InputError(f"{where}: {declared!r} is no scale; write it as `1 to 5` or as a list of levels.")
    try:
        return TableScale(Scale.of_levels(levels, origin="stated", nominal=nominal), rounded, codes)
    except (ValueError, TypeError) as error:
        raise InputError(f"{where}: {error}.") from error


def _levels_of_range(text: str, where: str) -> tuple[float, ...]:
    """The levels that "1 to 5", "0 to 100 by 5" or "0 to 100 rounded" stands for."""
    match = _RANGE.match(text.strip().removesuffix(" rounded"))
    if match is None:
        raise InputError(f"{where}: {text!r} is no scale; write it as `1 to 5` or as a list of levels.")
    lo, hi, step = float(match[1]), float(match[2]), float(match[3] or 1)
    count = (hi - lo) / step
    if not 1 <= count < MAX_LEVELS or abs(count - round(count)) > 1e-9:
        raise InputError(
            f"{where}: {text!r} has to have 2 to {MAX_LEVELS} levels from its first to its last."
        )
    return tuple(lo + step * k for k in range(round(count) + 1))


def _code(code: object, where: str) -> float:
    """The level that a label belongs to."""
    try:
        return float(str(code))
    except ValueError:
        raise InputError(f"{where}: {code!r} is no level; write labels as `1: never`.") from None


def stated_scale(labels: Mapping[str, str], values: pl.Series) -> TableScale | None:
    """The scale that a file's own labels tell: from the least to the greatest labeled code, if no answer lies outside.

    None where fewer than two codes are labeled or answers are not all whole numbers among them.
    """
    codes = sorted(float(code) for code in labels if _NUMBER.match(code))
    if len(codes) < 2 or codes != [round(code) for code in codes] or codes[-1] - codes[0] >= MAX_LEVELS:
        return None
    inside = values.is_between(codes[0], codes[-1]) & (values == values.round(0))
    if not inside.all():
        return None
    names = {float(code): label for code, label in labels.items() if _NUMBER.match(code)}
    levels: dict[Number, str] = {
        int(v): names.get(float(v), "") for v in range(int(codes[0]), int(codes[-1]) + 1)
    }
    return TableScale(Scale.of_levels(levels, origin="codebook"))


def declared_for(outcome: str, scales: Mapping[str, TableScale]) -> TableScale | None:
    """The scale under the outcome's own name, else under the first pattern that fits."""
    if outcome in scales:
        return scales[outcome]
    return next((scale for pattern, scale in scales.items() if _fits(outcome, pattern)), None)


def unused(scales: Mapping[str, TableScale], outcomes: Collection[str]) -> list[str]:
    """Names and patterns that fit no question."""
    return [name for name in scales if name not in outcomes and not any(_fits(o, name) for o in outcomes)]


def _fits(outcome: str, pattern: str) -> bool:
    """Whether a pattern fits: * stands for any text, anything else for itself, brackets too."""
    if "*" not in pattern:
        return False
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), outcome, re.DOTALL) is not None


def codes_of_no_answer(values: pl.Series) -> list[float]:
    """Answers such as -99 or 999 that lie farther from all others than twice these others' range."""
    distinct = values.unique().sort()
    others = distinct.filter(~distinct.is_in(CODES))
    if len(others) < 2:
        return []
    lo, hi = float(others[0]), float(others[-1])
    far = (distinct < lo - 2 * (hi - lo)) | (distinct > hi + 2 * (hi - lo))
    return distinct.filter(distinct.is_in(CODES) & far).to_list()


def observed_scale(values: pl.Series) -> TableScale:
    """All integers, or halves and other plain steps, between the least and the greatest answer; BINS levels where
    answers are quantities.

    An unknown scale where there are not two different answers.
    """
    distinct = values.unique().sort().to_numpy()
    if distinct.size < 2:
        return TableScale(Scale.unknown())
    lo, hi = float(distinct[0]), float(distinct[-1])
    if (distinct == np.round(distinct)).all() and hi - lo < MAX_LEVELS:
        return TableScale(Scale.of_levels(range(int(lo), int(hi) + 1), origin="observed"))
    for step in _STEPS:
        places = np.round(distinct / step)
        # A few answers on a grid of many say nothing of its step.
        if places[-1] - places[0] <= min(_MOST_STEPS, 3 * distinct.size) and np.allclose(
            places * step, distinct, rtol=0, atol=1e-9
        ):
            # 3 × 0.1 is 0.30000000000000004, which is nobody's answer.
            every = np.round(np.arange(places[0], places[-1] + 1) * step, 10)
            return TableScale(Scale.of_levels(tuple(every.tolist()), origin="observed"))
    levels = tuple(np.linspace(lo, hi, BINS).tolist())
    if len(set(levels)) < BINS or abs(lo) > 1e15 or abs(hi) > 1e15:
        return TableScale(Scale.unknown())
    return TableScale(Scale.of_levels(levels, origin="observed"), rounded=True)
