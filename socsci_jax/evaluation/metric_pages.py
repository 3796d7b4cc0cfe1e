"""docs/metrics.md, made of the Metric objects: `python -m socsci_jax.evaluation.metric_pages docs/metrics.md`."""

from __future__ import annotations

import math
import sys
import types
from pathlib import Path

from socsci_jax.evaluation import metrics
from socsci_jax.evaluation.metric import DistributionMetric, EffectMetric, Metric
from socsci_jax.evaluation.metrics import FAMILIES

INTRODUCTION = """# Metrics

Every metric of an evaluation: formula, source, how it misleads, and an example worked by hand. This page is made of the
objects in `socsci_jax/evaluation/metrics/` (`python -m socsci_jax.evaluation.metric_pages docs/metrics.md`); the values
are read with `evaluation.metric("NAME")` and stand in the column `metric` of the evaluation table.

Answers are positions on their scale, 0 at its lowest and 1 at its highest level (normalization `scale`); metrics in units
of the range have a second value divided by the range that people used (`observed`). p or l is what was predicted, h what
people did. Intervals are of 95 %; each metric says how they are made. What is compared with a model, resampled or corrected
is no metric: [where the rest is computed](#where-the-rest-is-computed).
"""

REST = """## Where the rest is computed

| what | formula or source | where, in `socsci_jax/` |
|---|---|---|
| uniform, training marginal, pooled over conditions, split half, pilots of n people, mean of several predictors | [why each is there](explanations/why-distance-misleads.md) | `evaluation/baselines.py` |
| regression on demographics alone | ordered logit, McCullagh 1980 | `evaluation/demographics.py` |
| linear probe of hidden states | ridge, Hoerl and Kennard 1970; Alain and Bengio 2017 | `evaluation/probe.py` |
| no effect, every arm works | effects of 0; the mean effect | `evaluation/effects.py` |
| contrasts, and values less the mean of their outcome | each condition with its control, or all pairs | `evaluation/contrasts.py`, `controls.py` |
| people's standard error of a condition's mean | sample variance / n, which is HC2 on dummies of conditions | `evaluation/condition_means.py` |
| intervals | whole clusters resampled, the same for all predictors | `evaluation/intervals.py`, `resampling.py` |
| reliable effects, equivalence | Benjamini and Hochberg 1995 at 5 %; two one-sided tests, Schuirmann 1987 | `evaluation/metrics/effect_tests.py` |
| scaling with training data | W(n) = a + b n^−c | `evaluation/saturation.py` |
| valid estimates from predictions and few answers | [DSL, PPI++, difference in predictions](estimation.md) | `estimation/dsl.py`, `ppi.py`, `dip.py`; tables: `rectification/` |
| conjoint experiments | [AMCE, marginal means](estimation.md#conjoint-experiments) | `estimation/conjoint.py`, `evaluation/conjoint.py`, `conjoint_agreement.py` |
| tables of the Silicon Sample Benchmark and of SimBench | their own rules | `evaluation/elsewhere/silicon_sample.py`, `simbench.py` |
| reporting checklists | GUIDE-LLM; the benchmark's registration form | `evaluation/report/guide_llm.py`, `registration_form.py` |
"""


def metrics_page() -> str:
    """The page as Markdown: a section for each family, a subsection for each metric."""
    sections = [INTRODUCTION]
    for family, own in FAMILIES.items():
        sections.append(f"## {family}\n")
        sections += [_entry(metric) for metric in own]
    sections.append(REST)
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
        f"- Code: `{_module(metric)}`",
    ]
    if isinstance(metric, DistributionMetric) and metric.normalized:
        lines.append("- Normalizations: `scale` and `observed`")
    if isinstance(metric, EffectMetric) and metric.fewest > 1:
        what = "condition means" if metric.centered else "contrasts"
        lines.append(f"- No value of fewer than {metric.fewest} {what}")
    if isinstance(metric, EffectMetric) and metric.flag_at_zero:
        lines.append(f"- Flag at 0: {metric.flag_at_zero}")
    return "\n".join(lines) + "\n"


def _module(metric: Metric) -> str:
    """The file of `metrics/` that defines the metric."""
    modules = (module for module in vars(metrics).values() if isinstance(module, types.ModuleType))
    [module] = [
        module
        for module in modules
        if any(metric in own for own in vars(module).values() if isinstance(own, tuple))
    ]
    return f"socsci_jax/evaluation/metrics/{module.__name__.rpartition('.')[2]}.py"


def _range(metric: Metric) -> str:
    low, high = (f"{end:g}".replace("-", "−") for end in (metric.low, metric.high))
    if math.isinf(metric.low):
        return "unbounded" if math.isinf(metric.high) else f"at most {high}"
    return f"at least {low}" if math.isinf(metric.high) else f"from {low} to {high}"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(metrics_page(), encoding="utf-8")
