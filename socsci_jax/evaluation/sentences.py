"""Names, numbers and intervals as sentences of a report write them."""

from __future__ import annotations

import dataclasses
from typing import Literal

from socsci_jax.evaluation.intervals import Estimate
from socsci_jax.evaluation.result import Evaluation, MetricValue
from socsci_jax.evaluation.table import (
    CONDITION_POOLED,
    DEMOGRAPHICS,
    EVERY_ARM_WORKS,
    HUMAN,
    MEAN_OF_PREDICTORS,
    MODEL,
    NO_EFFECT,
    PILOTS,
    PROBE,
    SPLIT_HALF,
    TRAINING_MARGINAL,
    UNIFORM,
    pilot,
)
from socsci_jax.wording import counted

Kind = Literal["claim", "warning", "undecided", "note"]

PART_NAMES = {
    "unseen_studies": "unseen studies",
    "unseen_conditions": "unseen conditions",
    "unseen_outcomes": "unseen outcomes",
    "unseen_participants": "unseen participants",
    "train": "training answers",
    "all": "all answers",
}

PREDICTOR_NAMES = {
    MODEL: "the model",
    UNIFORM: "a uniform guess",
    TRAINING_MARGINAL: "the training-marginal baseline",
    CONDITION_POOLED: "human answers pooled over conditions",
    SPLIT_HALF: "one random half of the people as a predictor of the other half",
    DEMOGRAPHICS: "a regression on demographics alone",
    PROBE: "a linear probe of the model's hidden states",
    MEAN_OF_PREDICTORS: "the mean of several predictors",
    NO_EFFECT: "predicting no effect",
    EVERY_ARM_WORKS: "predicting the mean effect for every arm",
    HUMAN: "the people's own answers",
    **{pilot(n): f"a pilot of {counted(n, 'person')}" for n in PILOTS},
}

RESAMPLED_NAMES = {
    "studies": "other studies like these",
    "conditions": "other arms of this study",
    "outcomes": "other outcomes of this study",
    "participants": "other people in these very studies",
    "documents": "other documents under the same codebook",
}


@dataclasses.dataclass(frozen=True)
class Sentence:
    """A sentence, what kind it is of, and its rule."""

    kind: Kind
    text: str
    rule: str = ""

    def __str__(self) -> str:
        return self.text


def part_name(part: str) -> str:
    return PART_NAMES.get(part, part)


def number(value: float | None, *, digits: int = 3) -> str:
    if value is None:
        return "–"
    return f"{value:.{digits}f}".replace("-", "−")


def with_interval(value: Estimate | None, *, digits: int = 3) -> str:
    """ "0.151 [0.140, 0.163]", or "–" where nothing was computed."""
    if value is None or value.value is None:
        return "–"
    return number(value.value, digits=digits) + bracket(value, digits=digits)


def bracket(value: Estimate, *, digits: int = 3) -> str:
    if value.lo is None:
        return ""
    return f" [{number(value.lo, digits=digits)}, {number(value.hi, digits=digits)}]"


def two_lines(value: Estimate | None) -> str:
    """The value, and below it its interval, for a terminal: eleven columns wide."""
    if value is None or value.value is None:
        return "–"
    interval = "" if value.lo is None else f"{number(value.lo)}–{number(value.hi)}"
    return f"{number(value.value)}\n{interval}"


def difference(evaluation: Evaluation, part: str, predictor: str) -> MetricValue | None:
    """The paired difference in W, model minus predictor, in the headline's normalization and source."""
    return evaluation.metric("wasserstein", part=part, reference=predictor)


def studies_of(evaluation: Evaluation, part: str) -> str:
    return counted(evaluation.counts[part]["studies"], "study")
