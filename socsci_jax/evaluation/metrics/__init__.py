"""All metrics, one module a family."""

from __future__ import annotations

from socsci_jax.evaluation.metric import DistributionMetric, Metric
from socsci_jax.evaluation.metrics import (
    calibration,
    classification,
    condition_sensitivity,
    decisions,
    distributions,
    effect_tests,
    effects,
    groups,
    humans,
    individuals,
    robustness,
    summaries,
)

EFFECTS = (*effects.METRICS, *condition_sensitivity.METRICS, *effect_tests.METRICS)
FAMILIES: dict[str, tuple[Metric, ...]] = {
    "Distributions": (*distributions.METRICS, *distributions.QUARTILES),
    "Individuals": individuals.METRICS,
    "Effects of conditions": EFFECTS,
    "Decisions by prediction": decisions.METRICS,
    "Groups": groups.METRICS,
    "Calibration": calibration.METRICS,
    "Robustness to variants of the prompt": robustness.METRICS,
    "People that a prediction is worth": humans.METRICS,
    "Summaries of a part": summaries.METRICS,
    "Labels without an order": classification.METRICS,
}
BY_NAME: dict[str, Metric] = {metric.name: metric for family in FAMILIES.values() for metric in family}


def distribution_metric(name: str) -> DistributionMetric:
    """A metric of distributions by its name."""
    metric = BY_NAME[name]
    assert isinstance(metric, DistributionMetric)
    return metric
