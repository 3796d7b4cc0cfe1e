"""The page of a score: a locked forecast next to what people then answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from socsci_jax.forecasting.human import MINIMUM_N
from socsci_jax.forecasting.report import tables
from socsci_jax.forecasting.report.numbers import percent, plain
from socsci_jax.forecasting.report.past import GAP_RULE, OTHERS, compared, undirected
from socsci_jax.forecasting.report.pictures import (
    MOST_ARMS,
    MOST_OUTCOMES,
    against_people,
    expected_interval,
)
from socsci_jax.forecasting.report.words import MOST_DIRECTIONS
from socsci_jax.pages import intervals, page
from socsci_jax.pages.axes import Series, shortened
from socsci_jax.pages.drawing import Drawing
from socsci_jax.pages.findings import Finding
from socsci_jax.pages.intervals import Curve
from socsci_jax.pages.plots import number
from socsci_jax.pages.tables import Cell, Column, Table, whole, words
from socsci_jax.wording import counted, counted_of, quoted

if TYPE_CHECKING:
    from socsci_jax.forecasting.score import Score

# One study covered less than this is worth a warning: its effects err together, so 90 % itself is often missed.
ENOUGH = 0.8
FORECAST = Series("forecast", "model")
PEOPLE = Series("people", "people", "diamond")
MEASURES = {
    "abstained": "share of effects without a forecast",
    "coverage_50": "share within 50 % intervals",
    "coverage_90": "share within 90 % intervals",
    "rmse_forecast": "error of the forecast",
    "rmse_raw": "error of the raw predictions",
    "rmse_no_effect": "error of expecting no effect",
    "rmse_forecast_minus_raw": "error of the forecast less that of the raw predictions",
    "rmse_forecast_minus_no_effect": "error of the forecast less that of expecting no effect",
    "width_90": "mean width of 90 % intervals",
}


def render(score: Score) -> str:
    """The page as HTML; nothing is fetched."""
    told = score.effects.filter(pl.col("abstains") == "")
    return page.render(
        "socsci_jax.forecasting.report",
        "score.html.jinja",
        study=", ".join(score.effects["study"].unique(maintain_order=True)),
        hash=score.lock_hash,
        locked=score.locked,
        lead=_lead(score, told),
        directions=score.directions[:MOST_DIRECTIONS],
        findings=_findings(score, told),
        measures=_measures(score.measures),
        calibration=None if told.is_empty() else _curve(score.coverage, told.height),
        scatter=None if told.is_empty() else _scatter(told),
        arms=_arms(told),
        effects=_effects(score.effects),
        excluded=score.excluded,
    )


def _lead(score: Score, told: pl.DataFrame) -> str:
    if told.is_empty():
        return "Nothing can be judged: there was no forecast of any effect that people answered."
    return (
        f"Of {counted(told.height, 'effect')}, 90 % intervals held {percent(float(told['covered_90'].to_numpy().mean()))}. The forecast missed people's "
        f"effects by {plain(score.value('rmse_forecast'))} points; expecting no effect would have missed by "
        f"{plain(score.value('rmse_no_effect'))}, the raw predictions by {plain(score.value('rmse_raw'))}."
    )


def _findings(score: Score, told: pl.DataFrame) -> list[Finding]:
    made = []
    if refused := score.effects.height - told.height:
        made.append(
            Finding(
                "note",
                "No forecast",
                f"{refused} of {counted(score.effects.height, 'effect')} had none; they are not judged.",
            )
        )
    if score.unscored:
        of = counted_of(score.unscored, score.effects.height + score.unscored, "effect")
        made.append(
            Finding(
                "note",
                "Not scored",
                f"{of} not judged: an arm has fewer than {MINIMUM_N} answers, or equal ones only.",
            )
        )
    if score.answers_from:
        made.append(
            Finding(
                "warning",
                "Answers may be older than the lock",
                f"What people answered was last changed {score.answers_from}, before the forecast was locked {score.locked}: "
                "whether anybody had seen it by then is not known here.",
            )
        )
    made += undirected(told)
    if told.is_empty():
        return made
    held = score.value("coverage_90")
    made.append(
        Finding(
            "claim" if held >= ENOUGH else "warning",
            "Intervals held" if held >= ENOUGH else "Intervals were too narrow",
            f"{percent(held)} of effects lie within their 90 % intervals, {percent(score.value('coverage_50'))} within those of "
            "50 %. Effects of one study err together, so one study can be far from the nominal share by chance.",
            "intervals are those of effects measured with people's sampling error",
        )
    )
    for measure, name in OTHERS.items():
        row = score.measures.row(by_predicate=pl.col("measure") == measure, named=True)
        is_ahead = row["value"] < 0
        text = f"The {compared(row)}"
        made.append(Finding("claim" if is_ahead else "warning", f"Against {name}", text, GAP_RULE))
    signs = told.filter(pl.col("human").abs() > 1.64 * pl.col("human_se"))
    if signs.height:
        right = float(((signs["human"] > 0) == (signs["p_positive"] > 0.5)).to_numpy().mean())
        text = f"Of {counted(signs.height, 'effect')} that people's answers tell from zero, {percent(right)} have the sign that was more likely."
        made.append(Finding("note", "Signs", text, "people's 90 % interval excludes zero"))
    return made


def _measures(measures: pl.DataFrame) -> Table:
    rows = [
        [
            Cell(MEASURES.get(row["measure"], row["measure"])),
            *(number(row[k], 2) for k in ("value", "lo", "hi")),
            whole(row["n"]),
        ]
        for row in measures.iter_rows(named=True)
    ]
    heads = [
        Column("Measure", is_number=False),
        Column("Value"),
        *(Column(head, help="95 % interval over studies; none for one study") for head in ("Lower", "Upper")),
        Column("Effects"),
    ]
    return Table(
        "measures", "Errors are root mean squares in percentage points of the scale's range", heads, rows
    )


def _curve(coverage: pl.DataFrame, effects: int) -> Drawing:
    points = list(coverage.select("level", "covered").iter_rows())
    return intervals.curves(
        "calibration",
        "Calibration",
        [Curve(FORECAST, points)],
        x_label="nominal level of the interval",
        y_label="share of effects within",
        diagonal=True,
        description="; ".join(f"{percent(level)} intervals held {percent(share)}" for level, share in points),
        caption=f"{counted(effects, 'effect')}. On the dashed line intervals hold what they promise; below it they are too narrow.",
    )


def _scatter(told: pl.DataFrame) -> Drawing:
    return against_people(
        "scatter",
        "Forecast against people",
        told,
        words=lambda row: f"{quoted(row['condition'])} on {quoted(row['outcome'])}",
        description=f"{counted(told.height, 'effect')}; on the dashed line the forecast equals what people answered.",
        caption="Forecasts are nearer to zero than effects that people show, since they are shrunk by how little was known.",
        shows_table=False,
    )


def _arms(told: pl.DataFrame) -> list[Drawing]:
    """For each outcome its arms, those with the highest expectation first, next to what people answered."""
    outcomes = told.partition_by("study", "outcome", maintain_order=True)[:MOST_OUTCOMES]
    return [_outcome(own, number) for number, own in enumerate(outcomes, start=1)]


def _outcome(own: pl.DataFrame, number: int) -> Drawing:
    shown = own.sort("expected", descending=True, maintain_order=True).head(MOST_ARMS)
    values = [
        expected_interval(
            row,
            place=row["condition"],
            compared=row["human"],
            note=f"people's standard error: {row['human_se']:.1f}",
        )
        for row in shown.iter_rows(named=True)
    ]
    first = shown.row(0, named=True)
    held = own["covered_90"].sum()
    return intervals.intervals(
        f"outcome-{number}",
        shortened(first["outcome"], 80),
        values,
        label=f"effect against {quoted(shortened(first['reference'], 40))}",
        series=FORECAST,
        compared=PEOPLE,
        levels=("50 % interval", "90 % interval"),
        description=f"Of {counted(own.height, 'effect')} {held} lie within their 90 % intervals.",
        caption=f"{held} of {own.height} within the 90 % interval, which allows for people's sampling error.",
    )


def _effects(effects: pl.DataFrame) -> Table:
    has_refused = (effects["abstains"] != "").any()
    rows = [
        [words(row["condition"]), words(row["outcome"])]
        + [number(row[k], 1) for k in ("human", "human_se", "expected", "lo_90", "hi_90", "predicted")]
        + [words("–" if row["abstains"] else "inside" if row["covered_90"] else "outside")]
        + ([words(row["abstains"])] if has_refused else [])
        for row in effects.head(tables.MOST_ROWS).iter_rows(named=True)
    ]
    heads = ("People", "Standard error", "Forecast", "90 %, lower", "90 %, upper", "Raw prediction")
    columns = [Column(head, is_number=False) for head in ("Arm", "Outcome")]
    columns += [*(Column(head) for head in heads), Column("90 % interval", is_number=False)]
    columns += [Column("Why there is no forecast", is_number=False)] if has_refused else []
    return Table("effects", "Every effect", columns, rows)
