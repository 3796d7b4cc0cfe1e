"""Names and places within the report: anchors, files, and which predictors stand in its headline."""

from __future__ import annotations

from socsci_jax.evaluation.result import Evaluation, is_known
from socsci_jax.evaluation.sentences import PART_NAMES
from socsci_jax.evaluation.table import BASELINES, MODEL, MORE_BASELINES

HEADLINE = (MODEL, *BASELINES, *MORE_BASELINES)


def anchor(evaluation: Evaluation, part: str) -> str:
    """A safe id for a part: splits of others may name theirs as they like."""
    if part in PART_NAMES:
        return part.replace("_", "-")
    return f"part-{evaluation.parts.index(part) + 1}"


def headline_predictors(evaluation: Evaluation, part: str) -> list[str]:
    """The model and everything with a distance in this part."""
    return [
        p
        for p in HEADLINE
        if p == MODEL or is_known(evaluation.metric("wasserstein", part=part, predictor=p))
    ]


def studies_of(evaluation: Evaluation) -> list[str]:
    """Every study of which items or condition means are shown."""
    frames = (evaluation.distributions, evaluation.condition_means)
    return sorted({study for frame in frames if not frame.is_empty() for study in frame["study"].unique()})


def study_files(evaluation: Evaluation) -> dict[str, str]:
    """The page of each study, named by the program."""
    return {study: f"study-{number:03d}.html" for number, study in enumerate(studies_of(evaluation), start=1)}
