"""Scales: the answers that an item allows, and the codes that stand outside them."""

from __future__ import annotations

import decimal
import functools
import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from socsci_jax.errors import InputError
from socsci_jax.wording import counted

ScaleKind = Literal["levels", "open", "unknown"]
ScaleOrigin = Literal["stated", "codebook", "observed", "none"]
Number = int | float

# Beyond this many levels an answer is a quantity, not a choice: the scale stays "open" with its bounds, and
# predictions for it are draws.  0-100 sliders and "a multiple of 100 between 0 and 10000" are well inside.
MAX_LEVELS = 1001
# Survey houses have up to a dozen; beyond this many codes something else was read for alternatives or missing codes.
MAX_CODES_OFF_SCALE = 100
# Integers up to here are exact as float64.  A larger number in a codebook or a sentence is no answer.
LARGEST_ANSWER = 10**15


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The answers that an item allows.

    kind "levels": `levels` are all allowed numbers, ascending, integers where they are integral; `labels` is empty
    or holds one text per level ("" where a level has none).  kind "open": any number, between `lo` and `hi` where
    these are known.  kind "unknown": nothing could be read and nothing was guessed.
    `origin` says where the scale was read: stated in the answer format, in the codebook, observed in answers.
    `nominal`: the levels are codes of names without an order, so there is no distance between them.
    `alternatives` are codes of answers outside the order ("don't know", "not applicable"), each with its label:
    they are answers and have shares, and are no part of any distance, mean or effect.
    `missing` are codes that stand for no answer at all.
    """

    kind: ScaleKind
    lo: float | None = None
    hi: float | None = None
    levels: tuple[Number, ...] = ()
    labels: tuple[str, ...] = ()
    origin: ScaleOrigin = "none"
    nominal: bool = False
    alternatives: tuple[Number, ...] = ()
    alternative_labels: tuple[str, ...] = ()
    missing: tuple[Number, ...] = ()

    def __post_init__(self) -> None:
        if self.kind == "levels":
            _check_levels(self)
        elif self.levels or self.labels or self.nominal:
            raise InputError(f"a scale of kind {self.kind!r} has no levels")
        if not all(math.isfinite(end) for end in (self.lo, self.hi) if end is not None):
            raise InputError(f"lo and hi must be finite, got {self.lo} and {self.hi}")
        if self.lo is not None and self.hi is not None and not self.lo < self.hi:
            raise InputError(f"lo must be below hi, got {self.lo} and {self.hi}")
        _check_beside(self)
        for name in ("levels", "alternatives", "missing"):
            object.__setattr__(self, name, tuple(map(exact_number, getattr(self, name))))

    @property
    def has_order(self) -> bool:
        """Whether answers have a place between lowest and highest, and so a mean, a distance and effects."""
        return self.kind == "levels" and not self.nominal

    @classmethod
    def of_levels(
        cls,
        levels: Mapping[Number, str] | range | tuple[Number, ...],
        *,
        origin: ScaleOrigin,
        nominal: bool = False,
        alternatives: Mapping[Number, str] | None = None,
        missing: Iterable[Number] = (),
    ) -> Scale:
        """A scale of the given levels, in any order; mappings give labels ("" where a level has none).

        Raises InputError for more than MAX_LEVELS levels, without walking through them.
        """
        if isinstance(levels, range) and levels[MAX_LEVELS:]:
            raise InputError(f"more than {MAX_LEVELS} levels, from {levels.start} to {levels.stop - 1}")
        ascending = tuple(sorted(levels))
        labels = tuple(levels[v] for v in ascending) if isinstance(levels, Mapping) else ()
        if not any(labels):
            labels = ()
        return cls(
            kind="levels",
            lo=float(ascending[0]) if ascending else None,
            hi=float(ascending[-1]) if ascending else None,
            levels=ascending,
            labels=labels,
            origin=origin,
            nominal=nominal,
            **_beside(alternatives, missing),
        )

    @classmethod
    def open_number(
        cls,
        *,
        lo: float | None = None,
        hi: float | None = None,
        origin: ScaleOrigin,
        alternatives: Mapping[Number, str] | None = None,
        missing: Iterable[Number] = (),
    ) -> Scale:
        """Any number between `lo` and `hi`, either of which may be unknown."""
        return cls(kind="open", lo=lo, hi=hi, origin=origin, **_beside(alternatives, missing))

    @classmethod
    def unknown(cls) -> Scale:
        return cls(kind="unknown")

    def allows(self, value: float) -> bool:
        """True if `value` is a place on this scale; an unknown scale allows every finite number.

        Alternatives and missing codes are no places on the scale, also where an open number's bounds hold them.
        """
        if not math.isfinite(value) or value in self._codes_beside:
            return False
        if self.kind == "levels":
            return value in self._level_set
        return (self.lo is None or value >= self.lo) and (self.hi is None or value <= self.hi)

    def is_alternative(self, value: float) -> bool:
        return value in self.alternatives

    def is_missing(self, value: float) -> bool:
        return value in self.missing

    @functools.cached_property
    def _level_set(self) -> frozenset[Number]:
        return frozenset(self.levels)

    @functools.cached_property
    def _codes_beside(self) -> frozenset[Number]:
        return frozenset((*self.alternatives, *self.missing))

    def to_dict(self) -> dict[str, Any]:
        """The scale as a row of the store's items table."""
        return {
            "kind": self.kind,
            "lo": self.lo,
            "hi": self.hi,
            "levels": list(map(float, self.levels)),
            "labels": list(self.labels),
            "origin": self.origin,
            "nominal": self.nominal,
            "alternatives": list(map(float, self.alternatives)),
            "alternative_labels": list(self.alternative_labels),
            "missing": list(map(float, self.missing)),
        }

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Scale:
        """Raises InputError for a row that is no scale."""
        lists = ("levels", "labels", "alternatives", "alternative_labels", "missing")
        return cls(
            kind=row["kind"],
            lo=row["lo"],
            hi=row["hi"],
            origin=row["origin"],
            nominal=row["nominal"],
            **{name: tuple(row[name] or ()) for name in lists},
        )


def _beside(alternatives: Mapping[Number, str] | None, missing: Iterable[Number]) -> dict[str, Any]:
    alternatives = alternatives or {}
    return {
        "alternatives": tuple(sorted(alternatives)),
        "alternative_labels": tuple(alternatives[code] for code in sorted(alternatives)),
        "missing": tuple(sorted(set(missing))),
    }


def _check_levels(scale: Scale) -> None:
    levels = scale.levels
    if len(levels) < 2:
        raise InputError(f"a scale of levels needs at least two, got {levels}")
    if len(levels) > MAX_LEVELS:
        raise InputError(
            f"{counted(len(levels), 'level')}; a scale of more than {MAX_LEVELS:,} is an open number"
        )
    if not all(map(is_answer, levels)):
        raise InputError("levels must be numbers of at most 15 digits")
    if any(a >= b for a, b in itertools.pairwise(levels)):
        raise InputError(f"levels must ascend without repetition, got {levels}")
    if scale.labels and len(scale.labels) != len(levels):
        raise InputError(f"{counted(len(scale.labels), 'label')} for {counted(len(levels), 'level')}")
    if (scale.lo, scale.hi) != (levels[0], levels[-1]):
        raise InputError(f"lo and hi must be the first and last level, got {scale.lo}, {scale.hi}")


def _check_beside(scale: Scale) -> None:
    beside = (*scale.alternatives, *scale.missing)
    if len(beside) > MAX_CODES_OFF_SCALE:
        raise InputError(
            f"{counted(len(beside), 'alternative')} and missing codes, at most {MAX_CODES_OFF_SCALE} are allowed"
        )
    for codes in (scale.alternatives, scale.missing):
        if all(map(is_answer, codes)) and any(a >= b for a, b in itertools.pairwise(codes)):
            raise InputError(f"codes must ascend without repetition, got {codes}")
    if not all(map(is_answer, beside)):
        raise InputError("alternatives and missing codes must be numbers of at most 15 digits")
    if len(scale.alternative_labels) != len(scale.alternatives) or not all(scale.alternative_labels):
        raise InputError(
            f"each alternative needs a label, got {scale.alternative_labels} for {scale.alternatives}"
        )
    seen = set(scale.levels)
    for code in beside:
        if code in seen:
            raise InputError(f"code {code} stands for two of a level, an alternative and a missing answer")
        seen.add(code)


def is_answer(value: object) -> bool:
    """True for a finite number that float64 holds exactly enough to be compared."""
    return isinstance(value, int | float) and abs(value) <= LARGEST_ANSWER  # nor infinite or NaN


def exact_number(value: float) -> Number:
    """An integral float as the integer that it is: 2.0 is 2, 1.5 stays."""
    return int(value) if float(value).is_integer() else float(value)


def format_value(value: float) -> str:
    """The answer as the text that a person would write: "5", "-2", "1.5"; never in powers of ten."""
    if value == int(value):
        return str(int(value))
    return format(decimal.Decimal(repr(float(value))), "f")
