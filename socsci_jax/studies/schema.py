"""The words of the project as types, and the columns of the study store.

A study has conditions and outcomes; one item is what one person reads and answers:
(study, condition, outcome, stimulus text).  A response is one participant's answer to one item.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Literal

import pyarrow as pa

SCHEMA_VERSION = 2

ScaleKind = Literal["levels", "open", "unknown"]
ScaleOrigin = Literal["stated", "codebook", "observed", "none"]

# Beyond this many levels an answer is a quantity, not a choice: the scale stays "open" with its bounds, and
# predictions for it are draws.  0-100 sliders and "a multiple of 100 between 0 and 10000" are well inside.
MAX_LEVELS = 1001

# The sixteen attributes of SocSci210's personas, in the order in which the published prompt lists them.
SOCSCI210_ATTRIBUTES = (
    "age",
    "gender",
    "ethnicity",
    "education",
    "employment",
    "marital_status",
    "housing_ownership",
    "housing_type",
    "location",
    "metro_status",
    "income",
    "internet_access",
    "household_size",
    "party_id",
    "ideology",
    "phone_service",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scale:
    """The answers that an item allows.

    kind "levels": `levels` are all allowed integers, ascending; `labels` is empty or holds one text per level
    ("" where a level has none).  kind "open": any number, between `lo` and `hi` where these are known.
    kind "unknown": nothing could be read and nothing was guessed.
    `origin` says where the scale was read: stated in the answer format, in the codebook, observed in answers.
    `nominal`: the levels are codes of names without an order, so there is no distance between them.
    """

    kind: ScaleKind
    lo: float | None = None
    hi: float | None = None
    levels: tuple[int, ...] = ()
    labels: tuple[str, ...] = ()
    origin: ScaleOrigin = "none"
    nominal: bool = False

    def __post_init__(self) -> None:
        if self.kind == "levels":
            if len(self.levels) < 2:
                raise ValueError(f"a scale of levels needs at least two, got {self.levels}")
            if any(a >= b for a, b in zip(self.levels, self.levels[1:], strict=False)):
                raise ValueError(f"levels must ascend without repetition, got {self.levels}")
            if self.labels and len(self.labels) != len(self.levels):
                raise ValueError(f"{len(self.labels)} labels for {len(self.levels)} levels")
            if (self.lo, self.hi) != (self.levels[0], self.levels[-1]):
                raise ValueError(f"lo and hi must be the first and last level, got {self.lo}, {self.hi}")
        elif self.levels or self.labels or self.nominal:
            raise ValueError(f"a scale of kind {self.kind!r} has no levels")

    @classmethod
    def of_levels(
        cls,
        levels: Mapping[int, str] | range | tuple[int, ...],
        *,
        origin: ScaleOrigin,
        nominal: bool = False,
    ) -> Scale:
        """A scale of the given levels, in any order; a mapping gives labels ("" where a level has none)."""
        ascending = tuple(sorted(levels))
        labels = tuple(levels[v] for v in ascending) if isinstance(levels, Mapping) else ()
        if not any(labels):
            labels = ()
        return cls(
            kind="levels",
            lo=float(ascending[0]),
            hi=float(ascending[-1]),
            levels=ascending,
            labels=labels,
            origin=origin,
            nominal=nominal,
        )

    @classmethod
    def open_number(cls, *, lo: float | None = None, hi: float | None = None, origin: ScaleOrigin) -> Scale:
        return cls(kind="open", lo=lo, hi=hi, origin=origin)

    @classmethod
    def unknown(cls) -> Scale:
        return cls(kind="unknown")

    def allows(self, value: float) -> bool:
        """True if `value` is an answer on this scale; an unknown scale allows every finite number."""
        if value != value or value in (float("inf"), float("-inf")):
            return False
        if self.kind == "levels":
            return value in self._level_set
        return (self.lo is None or value >= self.lo) and (self.hi is None or value <= self.hi)

    @property
    def _level_set(self) -> frozenset[int]:
        cached = self.__dict__.get("_levels_cached")
        if cached is None:
            cached = frozenset(self.levels)
            object.__setattr__(self, "_levels_cached", cached)
        return cached

    def to_dict(self) -> dict:
        return {
            "kind": self.kind,
            "lo": self.lo,
            "hi": self.hi,
            "levels": list(self.levels),
            "labels": list(self.labels),
            "origin": self.origin,
            "nominal": self.nominal,
        }

    @classmethod
    def from_dict(cls, row: Mapping) -> Scale:
        return cls(
            kind=row["kind"],
            lo=row["lo"],
            hi=row["hi"],
            levels=tuple(row["levels"] or ()),
            labels=tuple(row["labels"] or ()),
            origin=row["origin"],
            nominal=row["nominal"],
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Item:
    """What one person reads and answers.

    `stimulus + question + answer_format`, concatenated as they are, is the whole text: separators (blank lines,
    quotation marks) belong to the parts, so that a published prompt can be given back letter for letter.
    """

    study_id: str
    condition: str
    outcome: str
    stimulus: str
    question: str
    answer_format: str
    scale: Scale
    is_control: bool | None = None
    factors: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def text(self) -> str:
        return self.stimulus + self.question + self.answer_format

    @property
    def item_id(self) -> str:
        """Study id and a digest of what makes an item an item, so that equal deposits give equal ids."""
        key = json.dumps([self.study_id, self.condition, self.outcome, self.text], ensure_ascii=False)
        return f"{self.study_id}.{hashlib.blake2b(key.encode(), digest_size=6).hexdigest()}"


def format_value(value: float) -> str:
    """The answer as the text that a person would write: "5", "-2", "2.5"."""
    if value == int(value):
        return str(int(value))
    return repr(float(value))


SCALE_TYPE = pa.struct(
    [
        pa.field("kind", pa.string(), nullable=False),
        pa.field("lo", pa.float64()),
        pa.field("hi", pa.float64()),
        pa.field("levels", pa.list_(pa.int64())),
        pa.field("labels", pa.list_(pa.string())),
        pa.field("origin", pa.string(), nullable=False),
        pa.field("nominal", pa.bool_(), nullable=False),
    ]
)

STUDIES_SCHEMA = pa.schema(
    [("study_id", pa.string()), ("title", pa.string()), ("source", pa.string()), ("license", pa.string())]
)

ITEMS_SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("study_id", pa.string()),
        ("condition", pa.string()),
        ("outcome", pa.string()),
        ("stimulus", pa.string()),
        ("question", pa.string()),
        ("answer_format", pa.string()),
        ("scale", SCALE_TYPE),
        ("is_control", pa.bool_()),
        ("factors", pa.map_(pa.string(), pa.string())),
    ]
)


def participants_schema(attributes: tuple[str, ...]) -> pa.Schema:
    """Attributes are texts, as a prompt shows them; what is not known of a person is null."""
    return pa.schema(
        [
            ("study_id", pa.string()),
            ("participant_id", pa.string()),
            ("weight", pa.float64()),
            ("attributes", pa.struct([(name, pa.string()) for name in attributes])),
        ]
    )


RESPONSES_SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("participant_id", pa.string()),
        ("value", pa.float64()),
        ("sample_id", pa.int64()),
    ]
)

# kind: response, participant, item, condition, outcome or study; place: file and row or key; record: the record as JSON.
REJECTS_SCHEMA = pa.schema(
    [("kind", pa.string()), ("place", pa.string()), ("reason", pa.string()), ("record", pa.string())]
)

# One row per item and persona (exact), or per item, persona and draw (sampled: `draw` counts from 0 and
# `value` holds the drawn number, null where the text was not a number).
PREDICTIONS_SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("participant_id", pa.string()),
        ("levels", pa.list_(pa.int64())),
        ("probs", pa.list_(pa.float64())),
        ("mass_on_levels", pa.float64()),
        ("draw", pa.int32()),
        ("value", pa.float64()),
    ]
)

# One row a figure.  `metric` and `convention` say which formula; `scope` which part of the split and which
# predictor; lo and hi bound the interval (null where none was asked for); n counts what the figure rests on.
EVALUATION_SCHEMA = pa.schema(
    [
        ("metric", pa.string()),
        ("convention", pa.string()),
        ("scope", pa.string()),
        ("predictor", pa.string()),
        ("study", pa.string()),
        ("condition", pa.string()),
        ("outcome", pa.string()),
        ("group", pa.string()),
        ("value", pa.float64()),
        ("lo", pa.float64()),
        ("hi", pa.float64()),
        ("n", pa.int64()),
    ]
)

# A sweep over shares of the training data, one row a figure: `of`, share and seed say which subset was trained on,
# units and responses how much that was.  Rows of the saturation law rest on all runs: there share, seed, units and
# responses are null, n counts the runs, and `note` says why a law could not be fitted.
SWEEP_SCHEMA = pa.schema(
    [
        ("of", pa.string()),
        ("share", pa.float64()),
        ("seed", pa.int64()),
        ("units", pa.int64()),
        ("responses", pa.int64()),
        ("part", pa.string()),
        ("predictor", pa.string()),
        ("metric", pa.string()),
        ("convention", pa.string()),
        ("value", pa.float64()),
        ("lo", pa.float64()),
        ("hi", pa.float64()),
        ("n", pa.int64()),
        ("note", pa.string()),
    ]
)
