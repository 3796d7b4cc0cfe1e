"""The tables of a forecast's page; they show the first rows of long ones, the files hold all."""

from __future__ import annotations

import numpy as np
import polars as pl

from socsci_jax.forecasting.calibration import WORDS, span, values
from socsci_jax.forecasting.power import (
    nearest_to_zero,
    people_needed,
    spread_of,
    standard_deviations,
)
from socsci_jax.forecasting.report.material import Material
from socsci_jax.forecasting.report.numbers import percent
from socsci_jax.pages.plots import number
from socsci_jax.pages.tables import Cell, Column, Table, whole, words
from socsci_jax.wording import listed, quoted

MOST_ROWS = 1_000


def share(value: float | None) -> Cell:
    return Cell("–") if value is None else Cell(percent(value), round(value, 6))


def _columns(texts: tuple[str, ...], numbers: tuple[tuple[str, str], ...]) -> list[Column]:
    return [
        *(Column(head, is_number=False) for head in texts),
        *(Column(head, help=help) for head, help in numbers),
    ]


def outcomes(m: Material) -> Table:
    """Of each outcome the largest effect that is expected, and the arm that is most likely the highest."""
    rows = []
    for outcome, own in m.by_outcome(m.told):
        largest = m.largest(own)
        top = largest.row(0, named=True)
        likely = m.likely_highest(top)
        sure = max(top["p_positive"], 1 - top["p_positive"])
        rows.append(
            [
                words(outcome),
                words(
                    listed([quoted(arm) for arm in largest["condition"]])
                    if largest.height > 1
                    else top["condition"]
                ),
                *(number(top[k], 1) for k in ("expected", "lo_90", "hi_90")),
                share(sure),
                words(m.highest_answer(top)),
                words("–" if likely is None else likely[0]),
                share(None if likely is None else likely[1]),
            ]
        )
    columns = [
        Column("Outcome", is_number=False),
        Column("Largest effect expected of", is_number=False),
        *(Column(head) for head in ("Expected", "90 %, lower", "90 %, upper")),
        Column("P of its direction", help="probability that the effect has the sign that is expected"),
        Column(
            "Positive is toward", is_number=False, help="the answer at the upper end of the outcome's scale"
        ),
        Column("Most likely the highest arm", is_number=False, help="the reference is one of the arms"),
        Column("P highest", help="probability that it has the highest mean"),
    ]
    return Table("outcomes", "Each outcome", columns, rows)


def effects(m: Material) -> Table:
    heads = (
        ("Expected", "in percentage points of the scale's range"),
        *(("50 %, lower", ""), ("50 %, upper", ""), ("90 %, lower", ""), ("90 %, upper", "")),
        ("P above", "probability that the arm's mean is above the reference's"),
        ("P highest", "probability that the arm has the highest mean of its outcome"),
        ("P lowest", ""),
        ("Predicted", "by the model, before anything was learned from past studies"),
    )
    ends = ("expected", "lo_50", "hi_50", "lo_90", "hi_90")
    rows = [
        [words(row["condition"]), words(m.outcome_name(row)), words(row["reference"])]
        + [number(row[name], 1) for name in ends]
        + [share(row[name]) for name in ("p_positive", "p_highest", "p_lowest")]
        + [number(row["predicted"], 1)]
        for row in m.told.head(MOST_ROWS).iter_rows(named=True)
    ]
    return Table(
        "effects", _title("Expected effects", m.told), _columns(("Arm", "Outcome", "Against"), heads), rows
    )


def _title(title: str, table: pl.DataFrame) -> str:
    return title if table.height <= MOST_ROWS else f"{title}: the first {MOST_ROWS:,} of {table.height:,}"


def refused(m: Material) -> Table | None:
    if m.refused.is_empty():
        return None
    rows = [
        [
            words(row["condition"]),
            words(m.outcome_name(row)),
            words(row["abstains"]),
            number(row["predicted"], 1),
        ]
        for row in m.refused.head(MOST_ROWS).iter_rows(named=True)
    ]
    heads = _columns(("Arm", "Outcome", "Why there is no forecast"), (("Predicted", ""),))
    return Table("refused", _title("Effects without a forecast", m.refused), heads, rows)


def components(m: Material) -> Table | None:
    """Effects of single levels of factors, such as a conjoint's attributes."""
    table = m.tables["components"].filter(pl.col("abstains") == "")
    if table.is_empty():
        return None
    rows = [
        [words(row["condition"]), words(m.outcome_name(row)), words(row["reference"])]
        + [number(row[name], 1) for name in ("expected", "lo_90", "hi_90")]
        + [share(row["p_positive"])]
        for row in table.head(MOST_ROWS).iter_rows(named=True)
    ]
    heads = (("Expected", ""), ("90 %, lower", ""), ("90 %, upper", ""), ("P above", ""))
    return Table(
        "components", "Effects of single levels", _columns(("Level", "Outcome", "Against"), heads), rows
    )


def groups(m: Material) -> Table | None:
    table = m.tables["groups"]
    if table.is_empty():
        return None
    rows = [
        [
            words(row["group"]),
            words(row["attribute"]),
            words(row["condition"]),
            words(m.outcome_name(row)),
            *(number(row[name], 1) for name in ("expected", "lo_50", "hi_50", "lo_90", "hi_90", "predicted")),
            whole(row["studies"]),
            whole(row["personas"]),
        ]
        for row in table.head(MOST_ROWS).iter_rows(named=True)
    ]
    heads = (
        ("Expected", ""),
        *((head, "") for head in ("50 %, lower", "50 %, upper", "90 %, lower", "90 %, upper")),
        ("Predicted", ""),
        (
            "Past studies",
            "with effects on groups of this attribute, from which intervals were learned; 0 for too few",
        ),
        ("Personas", ""),
    )
    columns = _columns(("Group", "Attribute", "Arm", "Outcome"), heads)
    return Table("groups", _title("Effects by subgroup", table), columns, rows)


def people(m: Material) -> Table:
    """How many people per arm find each effect."""
    spread = spread_of(m.tables["arms"])
    rows = []
    for row in m.told.head(MOST_ROWS).iter_rows(named=True):
        sds = standard_deviations(row, spread)
        lower = nearest_to_zero(row["lo_50"], row["hi_50"])
        needed = [people_needed(effect, *sds) for effect in (row["expected"], lower)]
        rows.append(
            [
                words(row["condition"]),
                words(m.outcome_name(row)),
                number(row["expected"], 1),
                number(lower, 1),
                *(_needed(n) for n in needed),
            ]
        )
    heads = (
        ("Expected", ""),
        ("Cautious", "the end of the 50 % interval that is nearer to zero; 0 where it holds zero"),
        (
            "People per arm, expected",
            "with which the expected effect is found with 95 % power by a 90 % interval",
        ),
        ("People per arm, cautious", "the same for the cautious effect"),
    )
    return Table(
        "people-per-arm", _title("People per arm", m.told), _columns(("Arm", "Outcome"), heads), rows
    )


def _needed(n: int | None) -> Cell:
    return Cell("not possible") if n is None else Cell("over 1,000,000", n) if n > 1_000_000 else whole(n)


def learned(m: Material) -> Table:
    """The features that calibration uses: what past studies span, and where this experiment is."""
    here = m.tables["effects"]
    rows = []
    for feature in m.calibration.features:
        own = values(here, feature.name)
        own = own[np.isfinite(own)]
        lies = span(feature.name, float(own.min()), float(own.max())) if own.size else "not known"
        past = span(feature.name, feature.least, feature.most)
        rows.append([words(WORDS[feature.name]), words(past), words(lies)])
    columns = [Column(head, is_number=False) for head in ("Feature", "Past studies", "This experiment")]
    return Table("features", "What is known of, and where this experiment lies", columns, rows)


def studies(m: Material) -> Table:
    """The studies that calibration learned from."""
    table = m.tables["calibration"].drop_nulls(["human", "human_se"])
    each = table.group_by("study", maintain_order=True).agg(
        pl.len(),
        pl.col("outcome").n_unique(),
        error=(pl.col("human") - pl.col("predicted")).pow(2).mean().sqrt(),
    )
    rows = [
        [words(study), whole(outcomes), whole(effects), number(error, 1)]
        for study, effects, outcomes, error in each.head(MOST_ROWS).iter_rows()
    ]
    heads = (
        ("Outcomes", ""),
        ("Effects", ""),
        ("Error of raw predictions", "root mean square, percentage points"),
    )
    return Table("studies", "Past studies that people have answered", _columns(("Study",), heads), rows)


def population(m: Material) -> Table:
    """What weighting did to each attribute."""
    rows = [
        [words("not known" if row["value"] is None else row["value"]), words(row["attribute"])]
        + [share(row[name]) for name in ("unweighted", "weighted", "margin")]
        for row in m.tables["population"].head(MOST_ROWS).iter_rows(named=True)
    ]
    heads = (("Personas", ""), ("Weighted", ""), ("Population", "the margin that was given"))
    return Table("population", "Whom it is about", _columns(("Value", "Attribute"), heads), rows)


def weights(m: Material) -> Table:
    """How uneven the weights are; 1 is the mean."""
    own = m.tables["personas"]["weight"]
    relative = own / (own.mean() or 1.0)
    quantiles = {"Least": 0.0, "10 %": 0.1, "Median": 0.5, "90 %": 0.9, "Greatest": 1.0}
    row = [
        words("weight relative to the mean"),
        *(number(float(relative.quantile(q) or 0.0), 2) for q in quantiles.values()),
    ]
    return Table(
        "weights",
        "Weights of personas",
        _columns(("Of personas",), tuple((head, "") for head in quantiles)),
        [row],
    )
