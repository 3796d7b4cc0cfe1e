"""The multiverse on a forecast's page: specification curves, what survives, and what moved that should not have moved."""

from __future__ import annotations

import polars as pl

from socsci_jax.forecasting.report.material import ARM_OF, Material
from socsci_jax.forecasting.report.numbers import percent, plain, signed
from socsci_jax.forecasting.report.tables import MOST_ROWS, share
from socsci_jax.forecasting.report.words import UNIT
from socsci_jax.forecasting.table import KEY
from socsci_jax.pages.axes import shortened
from socsci_jax.pages.curve import Specification, specification_curve
from socsci_jax.pages.drawing import Drawing
from socsci_jax.pages.findings import Finding
from socsci_jax.pages.plots import number
from socsci_jax.pages.tables import Column, Table, whole, words
from socsci_jax.wording import counted

MOST_CURVES, MOST_FLAGGED = 6, 8
DIMENSIONS = {"order": "order", "wording": "wording", "persona_format": "persona"}


def curves(m: Material) -> list[Drawing]:
    """The specification curve of each outcome's largest predicted effect."""
    summary = m.tables["multiverse"]
    drawings = []
    for place, (outcome, own) in enumerate(m.by_outcome(summary)[:MOST_CURVES], start=1):
        top = own.sort(pl.col("predicted").abs(), descending=True, maintain_order=True).row(0, named=True)
        same = [pl.col(key) == top[key] for key in KEY]
        rows = m.tables["variants"].filter(*same).sort("rank")
        expected = m.told.filter(*(pl.col(key) == top[key] for key in ARM_OF))["expected"].to_list()
        specifications = [
            Specification(
                value=row["predicted"],
                lo=row["lo"],
                hi=row["hi"],
                choices={title: row[key] or "as written" for key, title in DIMENSIONS.items()},
                is_base=bool(row["is_base"]),
            )
            for row in rows.iter_rows(named=True)
        ]
        if not specifications:
            continue
        drawings.append(
            specification_curve(
                f"curve-{place}",
                f"{shortened(top['condition'], 50)} on {shortened(outcome, 50)} under {counted(len(specifications), 'way')} of asking",
                specifications,
                label="predicted effect",
                expected=expected[0] if expected else None,
                description=f"Predicted effects from {signed(top['least'])} to {signed(top['most'])}; {percent(top['same_sign'])} have "
                "the sign of their mean.",
                caption=f"{UNIT[0].upper()}{UNIT[1:]}. Orange: as the experiment is written. Lines are the error that asking few "
                "personas each way leaves. Dashed green: what is expected of people.",
            )
        )
    return drawings


def summary(m: Material) -> Table | None:
    """What the curves say of each effect."""
    table = m.tables["multiverse"]
    if table.is_empty():
        return None
    rows = [
        [words(row["condition"]), words(m.outcome_name(row)), whole(row["asked"]), whole(row["declared"])]
        + [number(row[key], 1) for key in ("predicted", "base", "least", "most", "spread")]
        + [
            share(row["same_sign"]),
            share(row["survives"]),
            words(DIMENSIONS.get(row["decisive"], row["decisive"] or "–")),
        ]
        for row in table.head(MOST_ROWS).iter_rows(named=True)
    ]
    heads = ("Asked", "Declared", "Mean", "As written", "Least", "Most", "Spread")
    columns = [Column(head, is_number=False) for head in ("Arm", "Outcome")] + [
        Column(head) for head in heads
    ]
    columns += [
        Column("Same sign", help="share of ways of asking whose effect has the sign of the mean"),
        Column(
            "Survives",
            help="smallest effect in the mean's direction, as a share of the mean; 0 where a sign turns",
        ),
        Column("Decisive", is_number=False, help="the choice by which effects differ most"),
    ]
    return Table("multiverse", "Predicted effects over all ways of asking", columns, rows)


def checks(m: Material) -> Table | None:
    """What was tested of the model, what fell out first."""
    table = m.tables["checks"]
    if table.is_empty():
        return None
    rows = [
        [
            words(row["check"]),
            words(row["attribute"] or row["condition"] or "–"),
            words(row["outcome"] or "–"),
            number(row["moved"], 2),
            number(row["limit"], 2),
            number(row["p"], 3),
            words("flagged" if row["flagged"] else "in order"),
            words(row["finding"]),
        ]
        for row in table.sort("flagged", descending=True, maintain_order=True)
        .head(MOST_ROWS)
        .iter_rows(named=True)
    ]
    columns = [
        *(Column(head, is_number=False) for head in ("Check", "Of", "Outcome")),
        *(Column(head) for head in ("Moved", "Limit", "p")),
        *(Column(head, is_number=False) for head in ("Result", "Finding")),
    ]
    return Table("checks", "What should move, and what should not", columns, rows)


def findings(m: Material) -> list[Finding]:
    """Flagged checks, and effects that do not survive."""
    table = m.tables["checks"]
    flagged = table.filter(pl.col("flagged"))["finding"].head(MOST_FLAGGED).to_list()
    listed = [Finding("warning", "The model fails a check", text) for text in flagged]
    effects = m.tables["multiverse"]
    turned = effects.filter(pl.col("same_sign") < 1)
    if effects.height:
        survives = float(effects["survives"].fill_null(0.0).to_numpy().mean())
        least, most = float(effects["least"].to_numpy().min()), float(effects["most"].to_numpy().max())
        text = (
            f"Of {effects.height} predicted effects, {turned.height} change their sign with the way of asking; on average "
            f"{percent(survives)} of an effect survives all of them. They lie between {plain(least)} and {plain(most)} points."
        )
        listed.append(Finding("warning" if turned.height else "note", "Ways of asking", text))
    return listed
