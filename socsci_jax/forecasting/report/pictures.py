"""The plots of a forecast's page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from socsci_jax.forecasting.power import POWER
from socsci_jax.forecasting.report.material import ARM_OF, Material
from socsci_jax.forecasting.report.numbers import percent, plain, signed
from socsci_jax.forecasting.report.words import UNIT
from socsci_jax.pages import intervals, plots, shares
from socsci_jax.pages.axes import Series, shortened
from socsci_jax.pages.drawing import Drawing
from socsci_jax.pages.intervals import Curve, Interval
from socsci_jax.pages.plots import Point, Value
from socsci_jax.studies.scale import format_value
from socsci_jax.wording import counted, quoted

EXPECTED = Series("expected", "model")
RAW = Series("predicted by the model, as it stands", "orange", "diamond")
LEVELS = ("50 % interval", "90 % interval")
MOST_ARMS, MOST_OUTCOMES, MOST_DISTRIBUTIONS, MOST_CURVES, MOST_POINTS = 40, 30, 36, 12, 1_500


def expected_interval(row: dict[str, Any], *, place: str, compared: float | None, note: str) -> Interval:
    """What is expected of a row of effects, with its intervals, next to what it is compared with."""
    return Interval(
        place=place,
        value=row["expected"],
        inner=(row["lo_50"], row["hi_50"]),
        outer=(row["lo_90"], row["hi_90"]),
        compared=compared,
        note=note,
    )


def arms(m: Material) -> list[Drawing]:
    """A plot for each outcome: arms from the most likely highest to the least."""
    return [
        _arms(m, outcome, own, number)
        for number, (outcome, own) in enumerate(m.by_outcome(m.told)[:MOST_OUTCOMES], start=1)
    ]


def _arms(m: Material, outcome: str, own: pl.DataFrame, number: int) -> Drawing:
    shown = own.head(MOST_ARMS)
    rest = (
        ""
        if own.height <= MOST_ARMS
        else f" The {MOST_ARMS} most likely highest of {own.height}; the table has all."
    )
    best = shown.row(0, named=True)
    likely = m.likely_highest(best)
    highest = (
        ""
        if likely is None
        else f" The highest is most likely {quoted(shortened(likely[0], 40))} ({percent(likely[1])})."
    )
    values = [
        expected_interval(row, place=row["condition"], compared=row["predicted"], note=_odds(row))
        for row in shown.iter_rows(named=True)
    ]
    return intervals.intervals(
        f"arms-{number}",
        f"Expected effects on {quoted(shortened(outcome, 80))}",
        values,
        label=f"effect against {quoted(shortened(best['reference'], 40))}",
        series=EXPECTED,
        compared=RAW,
        levels=LEVELS,
        description=f"Expected effects of {counted(own.height, 'arm')} with 50 % and 90 % intervals. First: {quoted(shortened(best['condition'], 60))}, "
        f"{signed(best['expected'])}, 90 % interval {plain(best['lo_90'])} to {plain(best['hi_90'])}.",
        caption=f"In {UNIT}; positive is toward {quoted(shortened(m.highest_answer(best), 80))}. Ranked by the probability of "
        f"the highest mean.{highest} Thick lines hold half of what may happen, thin ones 90 %.{rest}",
    )


def _odds(row: dict[str, Any]) -> str:
    odds = f"above {quoted(row['reference'])} with probability {percent(row['p_positive'])}"
    return (
        odds
        if row["p_highest"] is None
        else f"{odds}\nhighest arm with probability {percent(row['p_highest'])}"
    )


def distributions(m: Material) -> list[Drawing]:
    """What the model predicts that people answer: arms against the reference, the leading arms of each outcome first."""
    predicted = {tuple(row[k] for k in ARM_OF): row for row in m.tables["arms"].iter_rows(named=True)}
    # Of a composite only the mean is known.
    outcomes = [
        own
        for _, own in m.by_outcome(m.effects)
        if predicted[tuple(own.row(0, named=True)[k] for k in ARM_OF)]["shares"]
    ]
    each = max(1, MOST_DISTRIBUTIONS // max(1, len(outcomes)))
    chosen = [row for own in outcomes for row in own.head(each).iter_rows(named=True)][:MOST_DISTRIBUTIONS]
    labels = {(item["study_id"], item["outcome"]): item["scale"] for item in m.items}
    drawings = []
    for number, row in enumerate(chosen, start=1):
        arm = predicted[row["study"], row["outcome"], row["condition"]]
        base = predicted[row["study"], row["outcome"], row["reference"]]
        scale = labels.get((row["study"], row["outcome"]), {})
        named = dict(zip(scale.get("levels") or (), scale.get("labels") or (), strict=False))
        drawings.append(
            shares.distribution(
                f"distribution-{number}",
                f"{quoted(shortened(row['condition'], 50))} on {quoted(shortened(m.outcome_name(row), 50))}",
                [format_value(level) for level in arm["levels"]],
                base["shares"],
                arm["shares"],
                labels=[str(named.get(level) or "") for level in arm["levels"]],
                names=(shortened(row["reference"], 18), shortened(row["condition"], 18)),
                caption=f"mean {plain(arm['mean'])}, standard deviation {plain(arm['sd'])} (in % of the range)",
            )
        )
    return drawings


def subgroups(m: Material) -> list[Drawing]:
    """For each attribute its groups' expected effects of the arm that is expected to differ most."""
    groups = m.tables["groups"].drop_nulls("expected")
    drawings = []
    for number, own in enumerate(groups.partition_by("attribute", maintain_order=True), start=1):
        top = m.largest(own).row(0, named=True)
        shown = own.filter(*(pl.col(key) == top[key] for key in ARM_OF)).head(MOST_ARMS)
        title = (
            f"By {shortened(top['attribute'], 40)}: {quoted(shortened(top['condition'], 40))} "
            f"on {quoted(shortened(m.outcome_name(top), 40))}"
        )
        draw = _groups_with_intervals if top["studies"] else _groups_alone
        drawings.append(draw(f"groups-{number}", title, shown))
    return drawings


def _groups_with_intervals(name: str, title: str, shown: pl.DataFrame) -> Drawing:
    values = [
        expected_interval(
            row, place=row["group"], compared=row["predicted"], note=counted(row["personas"], "persona")
        )
        for row in shown.iter_rows(named=True)
    ]
    studies = counted(shown["studies"][0], "past study", "past studies")
    return intervals.intervals(
        name,
        title,
        values,
        label=f"expected effect, {UNIT}",
        series=EXPECTED,
        compared=RAW,
        levels=LEVELS,
        description="; ".join(f"{shortened(v.place, 40)}: {signed(v.value)}" for v in values[:15]),
        caption=f"Intervals are learned from effects on groups of the same attribute in {studies}.",
    )


def _groups_alone(name: str, title: str, shown: pl.DataFrame) -> Drawing:
    values = [
        Value(
            place=row["group"],
            series="group",
            value=row["expected"],
            note=counted(row["personas"], "persona"),
        )
        for row in shown.iter_rows(named=True)
    ]
    return plots.dots(
        name,
        title,
        values,
        {"group": EXPECTED},
        label=f"expected effect, {UNIT}",
        description="; ".join(f"{shortened(v.place, 40)}: {signed(v.value)}" for v in values[:15]),
        caption="Without intervals: too few past studies tell groups of this attribute apart.",
        digits=1,
        reference=0.0,
    )


def power(m: Material) -> list[Drawing]:
    """How likely studies of several sizes find the leading arm's effect, for each outcome."""
    drawings = []
    for number, (outcome, own) in enumerate(m.by_outcome(m.told)[:MOST_CURVES], start=1):
        best = m.largest(own).row(0, named=True)
        rows = m.tables["power"].filter(*(pl.col(key) == best[key] for key in ARM_OF)).sort("n")
        lines = [
            Curve(series, list(rows.drop_nulls(column).select("n", column).iter_rows()), dashed=dashed)
            for column, series, dashed in (
                ("power_expected", Series("expected effect", "model"), False),
                ("power_lower", Series("end of the 50 % interval nearer to zero", "orange", "square"), True),
                ("assurance", Series("averaged over what it may be", "green", "triangle"), False),
            )
        ]
        lines = [one for one in lines if one.points]
        if not lines:
            continue
        drawings.append(
            intervals.curves(
                f"power-{number}",
                f"Power: {shortened(best['condition'], 40)} on {shortened(outcome, 40)}",
                lines,
                x_label="people per arm",
                y_label="chance of a finding",
                logarithmic=True,
                reference=POWER,
                description="; ".join(
                    f"{one.series.title}: {percent(one.points[-1][1])} with {one.points[-1][0]:,}"
                    for one in lines
                ),
                caption=f"A finding is a 90 % interval that excludes zero; the dashed level is {percent(POWER)}.",
            )
        )
    return drawings


def past(m: Material) -> Drawing | None:
    """Past studies, each forecast from the others, against what people then answered."""
    table = m.tables["past"].drop_nulls(["expected", "human"])
    if table.is_empty():
        return None
    return against_people(
        "past",
        "Past studies, each held out and forecast from the others",
        table,
        words=lambda row: " · ".join(shortened(str(row[key]), 40) for key in ARM_OF),
        description=f"{counted(table.height, 'effect')} of {counted(table['study'].n_unique(), 'study')}; on the line a forecast equals what people answered.",
        caption="Forecasts are nearer to zero than people's effects, since they are shrunk by how little is known.",
        shows_table=table.height <= 200,
    )


def against_people(
    name: str,
    title: str,
    table: pl.DataFrame,
    *,
    words: Callable[[dict[str, Any]], str],
    description: str,
    caption: str,
    shows_table: bool,
) -> Drawing:
    """Expected effects against people's, with people's errors; `words` says what a row of the table is of."""
    points = [
        Point(x=row["human"], y=row["expected"], x_error=row["human_se"], words=words(row))
        for row in table.head(MOST_POINTS).iter_rows(named=True)
    ]
    return plots.scatter(
        name,
        title,
        points,
        x_label=f"people's effect, {UNIT}",
        y_label="expected effect",
        description=description,
        caption=caption,
        names=("people", "forecast"),
        digits=1,
        table=shows_table,
    )
