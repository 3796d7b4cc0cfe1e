"""The words of the project as types, and the columns of the study store.

A study has conditions and outcomes; one item is what one person reads and answers:
(study, condition, outcome, stimulus text).  A response is one participant's answer to one item.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping

import pyarrow as pa

from socsci_jax import bounds
from socsci_jax.studies.scale import MAX_LEVELS as MAX_LEVELS
from socsci_jax.studies.scale import Scale as Scale
from socsci_jax.studies.scale import format_value as format_value

SCHEMA_VERSION = 5

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
class Item:
    """What one person reads and answers.

    `stimulus + question + answer_format`, concatenated as they are, is the whole text: separators (blank lines,
    quotation marks) belong to the parts, so that a published prompt can be given back verbatim.
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


SCALE_TYPE = pa.struct(
    [
        pa.field("kind", pa.string(), nullable=False),
        pa.field("lo", pa.float64()),
        pa.field("hi", pa.float64()),
        pa.field("levels", pa.list_(pa.float64())),
        pa.field("labels", pa.list_(pa.string())),
        pa.field("origin", pa.string(), nullable=False),
        pa.field("nominal", pa.bool_(), nullable=False),
        pa.field("alternatives", pa.list_(pa.float64())),
        pa.field("alternative_labels", pa.list_(pa.string())),
        pa.field("missing", pa.list_(pa.float64())),
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


# Parquet has no struct without fields: of people of whom nothing is known, this is what is null.
NOTHING_KNOWN = "nothing_known"


def is_weight(number: float) -> bool:
    """Whether a survey weight can be this: 0, or within its bounds (NaN is not)."""
    return number == 0 or bounds.LEAST_WEIGHT <= number <= bounds.SURVEY_WEIGHT


def participants_schema(attributes: tuple[str, ...]) -> pa.Schema:
    """Attributes are texts, as a prompt shows them; what is not known of a person is null."""
    attributes = attributes or (NOTHING_KNOWN,)
    return pa.schema(
        [
            ("study_id", pa.string()),
            ("participant_id", pa.string()),
            ("weight", pa.float64()),
            ("attributes", pa.struct([(name, pa.string()) for name in attributes])),
        ]
    )


# `weight`: what the answer counts relative to the others to its item, such as the share of a group that gave it; null where
# an answer counts as its participant does (the survey weight, or 1).
RESPONSES_SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("participant_id", pa.string()),
        ("value", pa.float64()),
        ("sample_id", pa.int64()),
        ("weight", pa.float64()),
    ]
)

# The same people's later answers to items that they answered before; `occasion` counts from 2.  They are no part of
# training or evaluation, and say how far people agree with themselves.
RETESTS_SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("participant_id", pa.string()),
        ("occasion", pa.int32()),
        ("value", pa.float64()),
    ]
)

# kind: response, participant, attribute, item, condition, outcome or study; place: file and row or key; record: the record as JSON.
REJECTS_SCHEMA = pa.schema(
    [("kind", pa.string()), ("place", pa.string()), ("reason", pa.string()), ("record", pa.string())]
)

# One row per item and persona (exact), or per item, persona and draw (sampled: `draw` counts from 0 and
# `value` holds the drawn number, null where the text was not a number).  `levels` may hold the codes of the scale's
# alternatives as well, where these were offered.  `seen` says whether this very answer was trained on, `unseen` what is the
# largest thing of it that was not (`trained_on.UNSEEN`); null where it is not known what the model was trained on.
PREDICTIONS_SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("participant_id", pa.string()),
        ("levels", pa.list_(pa.float64())),
        ("probs", pa.list_(pa.float64())),
        ("mass_on_levels", pa.float64()),
        ("draw", pa.int32()),
        ("value", pa.float64()),
        ("seen", pa.bool_()),
        ("unseen", pa.string()),
    ]
)


# A column that simulate does not write: the same predictions with options in another order, other words, ...
VARIANT = "variant"
