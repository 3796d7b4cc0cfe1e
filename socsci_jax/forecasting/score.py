"""A locked forecast compared with what people then answered."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.forecasting.composites import Composite
from socsci_jax.forecasting.human import (
    MINIMUM_N,
    answers_of,
    means_of_arms,
    with_composite_answers,
    with_human_effects,
)
from socsci_jax.forecasting.human_tables import arms_of_table
from socsci_jax.forecasting.judging import against_people, coverage_curve, judgment
from socsci_jax.forecasting.lock import Lock
from socsci_jax.forecasting.report import score_page
from socsci_jax.forecasting.report.material import highest_answer
from socsci_jax.forecasting.report.words import toward
from socsci_jax.forecasting.table import PREDICTED
from socsci_jax.foreign_text import write_csv
from socsci_jax.storage import new_folder
from socsci_jax.studies.store import StudyStore
from socsci_jax.wording import counted, first_listed, quoted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REPORT = "report.html"
_MOST_NAMES = 20
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
    answers_from: str  # when what people answered was last changed, if that is before the lock, else ""
    excluded: Mapping[str, int]  # answers that are not used, by why
    unscored: int  # effects of the forecast of which people's answers tell nothing
    directions: Sequence[str]  # what a positive effect means, in words of the outcomes' scales

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


def last_changed(data: Path) -> datetime.datetime:
    """When a file, or the newest file of a folder, was last changed."""
    files = [path for path in data.rglob("*") if path.is_file()] if data.is_dir() else [data]
    return datetime.datetime.fromtimestamp(max(path.stat().st_mtime for path in files), datetime.UTC)


def score(
    locked: Lock, data: StudyStore | pl.DataFrame, *, changed: datetime.datetime | None = None
) -> Score:
    """Compares a lock with people's answers.

    Args:
      locked: of `read_lock`.
      data: a store of the study, or a table: a row a person with the column `condition` and one column an outcome, or a
        row an answer with condition, outcome and value; `weight` and `participant_id` are optional.  Answers are numbers or
        labels of the outcomes' scales.
      changed: when what people answered was last changed, if known; a newer time says nothing, since copies are new.

    Raises InputError where the data have none of the forecast's arms, or too few answers in all of them.
    """
    arms = locked.forecast.table("arms")
    if isinstance(data, StudyStore):
        human, excluded = arms_of_store(data, arms, locked.forecast.composites)
    else:
        human, excluded = arms_of_table(data, arms, locked.forecast.composites, locked.forecast.items)
    effects = locked.forecast.table("effects").select(*PREDICTED)
    answered = with_human_effects(effects, human).drop_nulls(["human", "human_se"])
    if answered.is_empty():
        unused = "; ".join(f"{counted(number, 'answer')} {why}" for why, number in excluded.items())
        raise InputError(
            "the data have no effect of the forecast: conditions and outcomes have other names, or an arm has fewer than "
            f"{MINIMUM_N} answers, or equal ones only{f' (excluded: {unused})' if unused else ''}.{_other_names(data, arms)}"
        )
    calibration = locked.forecast.calibration
    judged = against_people(calibration, answered)
    return Score(
        judged,
        judgment(judged),
        coverage_curve(calibration, judged.filter(pl.col("abstains") == "")),
        locked.hash,
        str(locked.record["locked"]),
        _if_older(changed, locked),
        excluded,
        effects.height - answered.height,
        toward(
            (row["outcome"], highest_answer(locked.forecast.items, locked.forecast.record["composites"], row))
            for row in judged.unique(["study", "outcome"], maintain_order=True).iter_rows(named=True)
        ),
    )


def _other_names(data: StudyStore | pl.DataFrame, arms: pl.DataFrame) -> str:
    """A sentence on conditions of the data that the forecast does not have, and those that it has; empty if there are none."""
    given = data.item_places if isinstance(data, StudyStore) else data
    known = arms["condition"].unique(maintain_order=True).to_list()
    names = given["condition"].cast(pl.String).drop_nulls().unique(maintain_order=True).to_list()
    if not (unknown := [quoted(name) for name in names if name not in known]):
        return ""
    own = first_listed([quoted(name) for name in known], _MOST_NAMES)
    return f" The data have {first_listed(unknown, _MOST_NAMES)}; the forecast has {own}."


def _if_older(changed: datetime.datetime | None, locked: Lock) -> str:
    """The time of the answers if it is before that of the lock, else ""."""
    if changed is None:
        return ""
    try:
        when = datetime.datetime.fromisoformat(str(locked.record["locked"]))
        return changed.isoformat(timespec="seconds") if changed < when else ""
    except (ValueError, TypeError):  # a lock by hand: its time is no date, or has no zone
        return ""


def arms_of_store(
    store: StudyStore, arms: pl.DataFrame, composites: Sequence[Composite] = ()
) -> tuple[pl.DataFrame, dict[str, int]]:
    """People's means by arm as `human_arms` gives them, and how many answers are excluded for which reason.

    Composites that the store lacks are made of their parts.
    """
    answers = _of_one_study(answers_of(store), arms)
    asked = store.item_places.filter(pl.col("study_id").is_in(set(arms["study"])))
    if asked.is_empty():  # the store's only study, under another name
        asked = store.item_places
    given = store.responses.join(asked.select("item_id"), on="item_id", how="semi")
    outcome, condition = (
        pl.col(name).is_in(arms[name].unique().implode()) for name in ("outcome", "condition")
    )
    reasons = {
        "of an outcome that the forecast does not have": ~outcome,
        "of a condition that the forecast does not have": outcome & ~condition,
        "of somebody whose weight is zero": outcome & condition & (pl.col("weight") <= 0),
    }
    excluded = {why: answers.filter(where).height for why, where in reasons.items()}
    excluded["without a place in the order of their scale"] = given.height - answers.height
    with_composites, lost = with_composite_answers(answers, composites)
    counted_by = {why: number for why, number in excluded.items() if number}
    return means_of_arms(with_composites), counted_by | lost


def _of_one_study(answers: pl.DataFrame, arms: pl.DataFrame) -> pl.DataFrame:
    """Answers under the forecast's name of their study; raises InputError where a store has several and none of that name."""
    names, studies = set(arms["study"]), answers["study"].unique().to_list()
    if names & set(studies):
        return answers.filter(pl.col("study").is_in(names))
    if len(names) > 1 or len(studies) > 1:
        raise InputError(
            f"the store has no study {min(names)!r}, of which the forecast is; found {', '.join(sorted(studies)[:10])}."
        )
    return answers.with_columns(study=pl.lit(min(names)))


def write_score(score: Score, path: Path, *, replace: bool = False) -> Path:
    """Writes the folder of a score: its page, tables as CSV and the plot of coverage."""
    with new_folder(path, replaces=WRITTEN if replace else None) as folder:
        write_csv(score.effects, folder / "effects.csv")
        write_csv(score.measures, folder / "measures.csv")
        write_csv(score.coverage, folder / "coverage.csv")
        (folder / REPORT).write_text(score_page.render(score), encoding="utf-8")
        score.plot().savefig(folder / "coverage.png", dpi=150)
    return path
