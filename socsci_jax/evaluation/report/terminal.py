"""The headline for a terminal of 80 columns."""

from __future__ import annotations

from rich.table import Table

from socsci_jax.evaluation.report.summary import unjudged
from socsci_jax.evaluation.result import Evaluation
from socsci_jax.evaluation.sentences import part_name, studies_of, two_lines
from socsci_jax.evaluation.table import BASELINES, MODEL, PREDICTOR_TITLES, SAMPLED
from socsci_jax.wording import first_listed, quoted


def _arms(evaluation: Evaluation, part: str) -> str:
    """Which conditions are unseen: the numbers are of these alone.  Of several studies names of arms tell nothing."""
    if part != "unseen_conditions" or evaluation.distributions.is_empty():
        return ""
    own = evaluation.distributions.filter(part=part)
    if own["study"].n_unique() != 1:
        return ""
    names = own["condition"].unique().sort().to_list()
    return f"{part_name(part)}: {first_listed([quoted(name) for name in names])}\n"


def summary_table(evaluation: Evaluation) -> Table:
    """W per part for the model and the predictors it is compared with; parts without it follow, with the reason."""
    judged = {part: unjudged(evaluation, part) for part in evaluation.parts}
    reasons = [f"\n{part_name(part)}: {why}" for part, why in judged.items() if why]
    table = Table(
        title="Wasserstein distance on the scale's own range (lower is better)",
        caption="".join(_arms(evaluation, part) for part in judged)
        + "below each value its 95 % interval; see the report for what was resampled"
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
        table.add_row(
            f"{part_name(part)}\n{studies_of(evaluation, part)}{', from draws' if evaluation.source(part) == SAMPLED else ''}",
            *(two_lines(evaluation.metric("wasserstein", part=part, predictor=name)) for name in columns),
        )
    return table
