"""What a forecast's page says of how it did on past studies, each held out in turn and forecast from the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from socsci_jax.forecasting.report.material import Material
from socsci_jax.forecasting.report.numbers import percent, plain
from socsci_jax.pages.findings import Finding
from socsci_jax.wording import counted, counted_of

Row = Mapping[str, Any]
RULE = "effects measured with their sampling error; coverage is the mean of studies' shares, errors are root mean squares"
# What a forecast is compared with, by the measure that does.
OTHERS = {
    "rmse_forecast_minus_no_effect": "expecting no effect",
    "rmse_forecast_minus_raw": "the raw predictions",
}
GAP_RULE = "the paired difference of root mean square errors, studies resampled"


def past_findings(m: Material) -> list[Finding]:
    """Coverage and error on the calibration studies, then where the forecast was behind what it is compared with."""
    measures = {row["measure"]: row for row in m.tables["past_measures"].iter_rows(named=True)}
    if "coverage_90" not in measures:
        text = "Too few past studies are known to leave some out and see whether intervals cover them."
        return [Finding("undecided", "Not checked", text)]
    return [_coverage(measures), *_behind(measures, m.calibration.slope <= 0)]


def _coverage(measures: Mapping[str, Row]) -> Finding:
    covered, error, none, raw = (
        measures[name] for name in ("coverage_90", "rmse_forecast", "rmse_no_effect", "rmse_raw")
    )
    between = (
        ""
        if covered["lo"] is None
        else f" (95 % interval {percent(covered['lo'])} to {percent(covered['hi'])})"
    )
    every = measures["abstained"]["n"]
    refused = every - covered["n"]
    abstained = (
        f" {counted_of(refused, every, 'effect', 'was', 'were')} too far from the others for a forecast "
        f"({percent(refused / every)}), and are not judged."
        if refused
        else ""
    )
    text = (
        f"Each past study was held out and forecast from the others.{abstained} 90 % intervals held {percent(covered['value'])} "
        f"of {counted(covered['n'], 'effect')}{between}. The error was {plain(error['value'])} points; expecting no effect gives "
        f"{plain(none['value'])}, believing the predictions {plain(raw['value'])}."
    )
    good = covered["hi"] is None or covered["hi"] >= 0.86
    return Finding("claim" if good else "warning", "How sure", text, RULE)


def _behind(measures: Mapping[str, Row], unused: bool) -> list[Finding]:
    """Warnings of what was nearer to people than the forecast; errors are compared on the effects that were forecast."""
    found = []
    none, raw = (measures[f"rmse_forecast_minus_{other}"] for other in ("no_effect", "raw"))
    if none["value"] > 0:
        text = f"In past studies the {compared(none)}"
        found.append(Finding("warning", "Behind expecting no effect", text, GAP_RULE))
    if raw["value"] > 0:
        smallest = measures["rmse_raw"]["value"] < measures["rmse_no_effect"]["value"]
        text = f"In past studies the {compared(raw)}"
        text += " Their error was the smallest of the three." if smallest else ""
        if unused:
            text += (
                " They are not used all the same: a small error is also that of predictions near zero, and does not say that arms "
                "predicted to be higher are higher."
            )
        found.append(Finding("warning", "Behind the raw predictions", text, GAP_RULE))
    return found


def compared(row: Row) -> str:
    """That the "forecast was nearer to people than" what it is compared with, or farther, by a measure of OTHERS, and how much."""
    than = "nearer to" if row["value"] < 0 else "farther from"
    return f"forecast was {than} people than {OTHERS[row['measure']]}, by {gap(row)}."


def gap(row: Row) -> str:
    """A difference of errors with its interval, and whether that tells it from zero."""
    said = f"{plain(abs(row['value']), 2)} points"
    if row["lo"] is None:
        return said
    lo, hi = sorted((row["lo"], row["hi"]) if row["value"] > 0 else (-row["lo"], -row["hi"]))
    told = "excludes zero" if lo > 0 or hi < 0 else "holds zero, so this may be chance"
    return f"{said} (95 % interval {plain(lo, 2)} to {plain(hi, 2)}, which {told})"


def undirected(told: pl.DataFrame) -> list[Finding]:
    """A note where effects of a table are between two arms of which none is the control."""
    number = int(told["undirected"].sum())
    if not number:
        return []
    which = "It has" if number == told.height == 1 else f"Of {counted(told.height, 'effect')} {number} have"
    text = f"{which} no control: which of the two arms is subtracted is arbitrary, and so is the sign."
    return [Finding("note", "Undirected effects", text)]
