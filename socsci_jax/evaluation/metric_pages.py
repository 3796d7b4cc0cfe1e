"""docs/metrics.md, made of the Metric objects: `python -m socsci_jax.evaluation.metric_pages docs/metrics.md`."""

from __future__ import annotations

import math
import sys
from pathlib import Path

from socsci_jax.evaluation.metric import DistributionMetric, EffectMetric, Metric
from socsci_jax.evaluation.metrics import FAMILIES

INTRODUCTION = """# Metrics

Every metric of an evaluation: formula, source, how it misleads, and an example worked by hand. This page is made of the
objects in `socsci_jax/evaluation/metrics/` (`python -m socsci_jax.evaluation.metric_pages docs/metrics.md`); the values
are read with `evaluation.metric("NAME")` and stand in the column `metric` of the evaluation table.

Answers are positions on their scale, 0 at its lowest and 1 at its highest level (normalization `scale`); metrics in units
of the range have a second value divided by the range that people used (`observed`). p or l is what was predicted, h what
people did. Intervals are of 95 %; each metric says how they are made.
"""


def metrics_page() -> str:
    """The page as Markdown: a section for each family, a subsection for each metric."""
    sections = [INTRODUCTION]
    for family, metrics in FAMILIES.items():
        sections.append(f"## {family}\n")
        sections += [_entry(metric) for metric in metrics]
    return "\n".join(sections)


def _entry(metric: Metric) -> str:
    lines = [
        f"### `{metric.name}`\n",
        f"{metric.title}. Unit: {metric.unit}; {_range(metric)}; {metric.direction}.\n",
        f"- Formula: {metric.formula}",
        f"- Source: {metric.citation}",
        f"- Interval: {metric.interval}",
        f"- Trap: {metric.trap}",
        f"- Example: {metric.example}",
    ]
    if isinstance(metric, DistributionMetric) and metric.normalized:
        lines.append("- Normalizations: `scale` and `observed`")
    if isinstance(metric, EffectMetric) and metric.flag_at_zero:
        lines.append(f"- Flag at 0: {metric.flag_at_zero}")
    return "\n".join(lines) + "\n"


def _range(metric: Metric) -> str:
    low, high = (f"{end:g}".replace("-", "−") for end in (metric.low, metric.high))
    if math.isinf(metric.low):
        return "unbounded" if math.isinf(metric.high) else f"at most {high}"
    return f"at least {low}" if math.isinf(metric.high) else f"from {low} to {high}"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(metrics_page(), encoding="utf-8")
