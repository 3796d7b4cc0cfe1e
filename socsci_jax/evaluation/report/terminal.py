"""The headline for a terminal of 80 columns."""

from __future__ import annotations

from rich.table import Table

from socsci_jax.evaluation.intervals import Estimate
from socsci_jax.evaluation.report.summary import unjudged
from socsci_jax.evaluation.result import Evaluation
from socsci_jax.evaluation.sentences import number, part_name
from socsci_jax.evaluation.table import BASELINES, MODEL, PREDICTOR_TITLES, SAMPLED


def summary_table(evaluation: Evaluation) -> Table:
    """W per part for the model and the predictors it is compared with; parts without it follow, with the reason."""
    judged = {part: unjudged(evaluation, part) for part in evaluation.parts}
    reasons = [f"\n{part_name(part)}: {why}" for part, why in judged.items() if why]
    table = Table(
        title="Wasserstein distance on the scale's own range (lower is better)",
        caption="below each value its 95 % interval; see the report for what was resampled"
        + "".join(reasons),
        box=None,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("part", no_wrap=True)
    columns = (MODEL, *BASELINES)
    for name in columns:
        table.add_column(PREDICTOR_TITLES[name].replace(" ", "\n"), justify="right", no_wrap=True)
    for part in (part for part, why in judged.items() if not why):
        studies = evaluation.counts[part]["studies"]
        size = f"{studies} {'study' if studies == 1 else 'studies'}"
        table.add_row(
            f"{part_name(part)}\n{size}{', from draws' if evaluation.source(part) == SAMPLED else ''}",
            *(_two_lines(evaluation.metric("wasserstein", part=part, predictor=name)) for name in columns),
        )
    return table


def _two_lines(estimate: Estimate | None) -> str:
    """The value, and below it its interval: eleven columns wide."""
    if estimate is None or estimate.value is None:
        return "–"
    interval = "" if estimate.lo is None else f"{number(estimate.lo)}–{number(estimate.hi)}"
    return f"{number(estimate.value)}\n{interval}"
