"""A locked forecast compared with what people then answered."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.forecasting.collection import ARM, human_arms, with_human_effects
from socsci_jax.forecasting.composites import Composite, with_composite_columns
from socsci_jax.forecasting.judging import against_people, coverage_curve, judgment
from socsci_jax.forecasting.lock import Lock
from socsci_jax.forecasting.report import score_page
from socsci_jax.forecasting.table import PREDICTED
from socsci_jax.foreign_text import write_csv
from socsci_jax.storage import new_folder
from socsci_jax.studies.store import StudyStore

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REPORT = "report.html"
WRITTEN = (REPORT, "effects.csv", "measures.csv", "coverage.csv", "coverage.png")


@dataclasses.dataclass(frozen=True, eq=False)
class Score:
    """`effects` holds forecasts and people's effects, `measures` what `judgment` says of them, `coverage` the share
    of effects within intervals of each nominal level; `lock_hash` says which forecast it is of."""

    effects: pl.DataFrame
    measures: pl.DataFrame
    coverage: pl.DataFrame
    lock_hash: str
    locked: str  # when
    outside: int  # answers off their scale, which are excluded

    def value(self, measure: str) -> float:
        """One measure; raises KeyError for an unknown one."""
        row = self.measures.filter(measure=measure)
        if row.is_empty():
            raise KeyError(measure)
        return float(row["value"][0])

    def plot(self) -> Figure:
        """Share of effects within the interval, by the interval's nominal level, and the line of good calibration."""
        from socsci_jax.studies.figures import ShownFigure

        figure = ShownFigure(figsize=(4.5, 4.5), layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color="0.6", linewidth=1)
        axes.plot(self.coverage["level"], self.coverage["covered"], marker="o")
        axes.set(
            xlim=(0, 1),
            ylim=(0, 1),
            xlabel="nominal level",
            ylabel="share of effects covered",
            aspect="equal",
        )
        return figure


def score(locked: Lock, data: StudyStore | pl.DataFrame) -> Score:
    """Compares a lock with people's answers.

    Args:
      locked: of `read_lock`.
      data: a store of the study, or a table: a row a person with the column `condition` and one column an outcome, or a
        row an answer with condition, outcome and value; `weight` is optional.

    Raises InputError where the data have none of the forecast's arms, or too few answers in all of them.
    """
    arms = locked.forecast.table("arms")
    if isinstance(data, StudyStore):
        human, outside = human_arms(data), 0
        human = human.with_columns(study=pl.lit(arms["study"][0]))
    else:
        human, outside = arms_of_table(data, arms, locked.forecast.composites)
    effects = with_human_effects(locked.forecast.table("effects").select(*PREDICTED), human)
    answered = effects.drop_nulls(["human", "human_se"])
    if answered.is_empty():
        raise InputError(
            "the data have no effect of the forecast: conditions and outcomes have other names, or fewer than 20 answers."
        )
    calibration = locked.forecast.calibration
    judged = against_people(calibration, answered)
    return Score(
        judged,
        judgment(judged),
        coverage_curve(calibration, judged.filter(pl.col("abstains") == "")),
        locked.hash,
        str(locked.facts["locked"]),
        outside,
    )


def arms_of_table(
    data: pl.DataFrame, arms: pl.DataFrame, composites: Sequence[Composite] = ()
) -> tuple[pl.DataFrame, int]:
    """People's means by arm as `human_arms` gives them, and how many answers are off their scale.

    Composites that a table with a row a person lacks are made of their parts.
    """
    if "condition" not in data.columns:
        raise InputError(f"the data have no column 'condition'; found {data.columns[:10]}.")
    outcomes = arms["outcome"].unique(maintain_order=True).to_list()
    weight = "weight" if "weight" in data.columns else None
    if not {"outcome", "value"} <= set(data.columns):
        ranges = {name: (lo, hi) for name, lo, hi in arms.select("outcome", "lo", "hi").iter_rows()}
        data = with_composite_columns(data, composites, ranges)
        there = [name for name in outcomes if name in data.columns]
        if not there:
            raise InputError(f"the data have none of the outcomes {', '.join(outcomes[:10])}.")
        data = data.unpivot(
            there, index=["condition", *([weight] if weight else [])], variable_name="outcome"
        )
    own_weight = pl.col(weight).cast(pl.Float64, strict=False) if weight else pl.lit(1.0)
    scales = arms.group_by("outcome").agg(pl.col("lo").first(), pl.col("hi").first(), pl.col("study").first())
    answers = (
        data.with_columns(pl.col("value").cast(pl.Float64, strict=False), w=own_weight)
        .drop_nulls(["value", "condition"])
        .join(scales, on="outcome")
    )
    # The benchmark calls the reference "control", whatever the experiment does.
    known = set(arms["condition"])
    if "control" not in known:
        controls = arms.filter("is_control")["condition"].unique().to_list()
        if len(controls) == 1:
            answers = answers.with_columns(pl.col("condition").replace("control", controls[0]))
    inside = answers.filter(pl.col("value").is_between("lo", "hi"), pl.col("w") > 0)
    at = 100 * (pl.col("value") - pl.col("lo")) / (pl.col("hi") - pl.col("lo"))
    share = pl.col("w") / pl.col("w").sum()
    means = (
        inside.with_columns(at=at)
        .group_by(*ARM, maintain_order=True)
        .agg(
            human=(share * pl.col("at")).sum(),
            se2=(share**2 * (pl.col("at") - (share * pl.col("at")).sum()) ** 2).sum()
            * pl.len()
            / (pl.len() - 1),
            n=pl.len().cast(pl.Int64),
        )
    )
    return means, answers.height - inside.height


def write_score(score: Score, path: Path, *, replace: bool = False) -> Path:
    """Writes the folder of a score: its page, tables as CSV and the plot of coverage."""
    with new_folder(path, replaces=WRITTEN if replace else None) as folder:
        write_csv(score.effects, folder / "effects.csv")
        write_csv(score.measures, folder / "measures.csv")
        write_csv(score.coverage, folder / "coverage.csv")
        (folder / REPORT).write_text(score_page.render(score), encoding="utf-8")
        score.plot().savefig(folder / "coverage.png", dpi=150)
    return path
