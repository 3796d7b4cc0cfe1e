"""The plots of the report, made of an evaluation's tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from socsci_jax.evaluation.report.names import anchor, headline_predictors
from socsci_jax.evaluation.result import Evaluation, is_known
from socsci_jax.evaluation.sentences import number, part_name
from socsci_jax.evaluation.table import (
    CONDITION_POOLED,
    MODEL,
    PREDICTOR_TITLES,
    SCALE,
    SPLIT_HALF,
    TRAINING_MARGINAL,
    UNIFORM,
)
from socsci_jax.pages import plots
from socsci_jax.pages.axes import Series
from socsci_jax.pages.drawing import Drawing
from socsci_jax.pages.plots import Point, Value
from socsci_jax.wording import counted, first_listed

STYLES = {
    MODEL: Series("model", "model"),
    UNIFORM: Series("uniform", "orange", "square"),
    TRAINING_MARGINAL: Series("training marginal", "purple", "diamond"),
    CONDITION_POOLED: Series("pooled over conditions", "green", "triangle"),
    SPLIT_HALF: Series("split half", "people", "bar"),
}
MOST_POINTS = 1_500
MOST_STUDIES = 60
MOST_GROUPS = 40
MOST_EFFECTS = 40


def of_part(evaluation: Evaluation, part: str) -> list[Drawing]:
    """Every plot for which the part has values, the distances first."""
    made = (distances, studies, effects, sensitivity, reliability, groups)
    return [drawn for make in made if (drawn := make(evaluation, part)) is not None]


def distances(evaluation: Evaluation, part: str) -> Drawing | None:
    """The one picture: how far from people's answers the model is, and everything that it is compared with."""
    by_predictor = {
        p: evaluation.metric("wasserstein", part=part, predictor=p)
        for p in headline_predictors(evaluation, part)
    }
    known = sorted(
        ((p, v) for p, v in by_predictor.items() if v is not None and v.value is not None),
        key=lambda pair: pair[1].value or 0,
    )
    if not known:
        return None
    values = [
        Value(
            place=PREDICTOR_TITLES[p],
            series="model" if p == MODEL else "others",
            value=v.value or 0.0,
            lo=v.lo,
            hi=v.hi,
            note=PREDICTOR_MEANINGS.get(p, ""),
        )
        for p, v in known
    ]
    model = by_predictor[MODEL]
    return plots.dots(
        f"{anchor(evaluation, part)}-distance",
        f"Distance from people's answers, {part_name(part)}",
        values,
        {"model": Series("the model", "model"), "others": Series("compared with", "people", "ring")},
        label="Wasserstein distance (0: same answers; left is better)",
        description="; ".join(f"{v.place} {number(v.value)}" for v in values) + ".",
        caption="Mean distance between predicted and human distributions of answers, as a share of the scale, with "
        "95 % intervals. The dashed line is the model's.",
        reference=None if model is None else model.value,
        one_line=True,
    )


PREDICTOR_MEANINGS = {
    UNIFORM: "every response option equally likely",
    TRAINING_MARGINAL: "mean histogram of training items with as many options",
    CONDITION_POOLED: "other people's answers to the outcome, whatever their condition",
    SPLIT_HALF: "one random half of the people as a predictor of the other half",
    "demographics": "an ordered regression on who the people are",
}


def studies(evaluation: Evaluation, part: str) -> Drawing | None:
    """The distance in each study, sorted by the model's; none where there is one study."""
    per_study = evaluation.table.filter(
        pl.col("study").is_not_null() & pl.col("outcome").is_null() & pl.col("reference").is_null(),
        pl.col("group").is_null(),
        metric="wasserstein",
        part=part,
        normalization=SCALE,
        source=evaluation.source(part),
    ).filter(pl.col("predictor").is_in(list(STYLES)), pl.col("value").is_not_null())
    if per_study["study"].n_unique() < 2:
        return None
    wide = per_study.pivot(on="predictor", index="study", values="value")
    if MODEL not in wide.columns:
        return None
    wide = wide.sort(MODEL, nulls_last=True)
    caption = "Each row is one study. Left is better."
    if wide.height > MOST_STUDIES:
        kept = np.linspace(0, wide.height - 1, MOST_STUDIES).round().astype(int)
        caption += (
            f" {MOST_STUDIES} of {counted(wide.height, 'study')} are drawn, evenly spaced in this order."
        )
        wide = wide[kept]
    shown = wide[MODEL].drop_nulls().to_list() or [0.0]
    values = [
        Value(place=row["study"], series=p, value=row[p])
        for row in wide.iter_rows(named=True)
        for p in (*list(STYLES)[1:], MODEL)
        if row.get(p) is not None
    ]
    return plots.dots(
        f"{anchor(evaluation, part)}-studies",
        f"Distance in each study, {part_name(part)}",
        values,
        STYLES,
        label="Wasserstein distance",
        description=f"{counted(wide.height, 'study')}; the model's distance goes from {number(min(shown))} to {number(max(shown))}.",
        caption=caption,
        one_line=True,
    )


def _sampled(frame: pl.DataFrame, caption: str) -> tuple[pl.DataFrame, str]:
    if frame.height <= MOST_POINTS:
        return frame, caption
    chosen = frame.sample(MOST_POINTS, seed=0, shuffle=False)
    return (
        chosen,
        f"{caption} {MOST_POINTS:,} of {counted(frame.height, 'point')} are drawn, chosen at random.",
    )


def effects(evaluation: Evaluation, part: str) -> Drawing | None:
    """Predicted against observed effects of conditions."""
    if evaluation.contrasts.is_empty():
        return None
    frame, caption = _sampled(
        evaluation.contrasts.filter(part=part),
        "Each point is a contrast: the difference in mean answer between a condition and its control (or another "
        "condition), as a share of the scale. On the dashed line the prediction is right.",
    )
    if frame.is_empty():
        return None
    correlation = evaluation.metric("effect_r", part=part)
    r = (
        f", r = {number(correlation.value, digits=2)}"
        if correlation is not None and is_known(correlation)
        else ""
    )
    return plots.scatter(
        f"{anchor(evaluation, part)}-effects",
        f"Predicted and observed effects, {part_name(part)}",
        [
            Point(x=row["human"], y=row["model"], x_error=row["human_se"], words=_contrast(row))
            for row in frame.iter_rows(named=True)
        ],
        x_label="people: effect",
        y_label="model: effect",
        description=f"{counted(frame.height, 'contrast')}{r}.",
        caption=caption,
        what="Contrast",
    )


def _contrast(row: dict[str, Any]) -> str:
    return f"{row['study']} · {row['outcome']}\n{row['condition']} against {row['reference']}"


def sensitivity(evaluation: Evaluation, part: str) -> Drawing | None:
    """Condition means without their outcome's mean."""
    if evaluation.condition_means.is_empty():
        return None
    frame, caption = _sampled(
        evaluation.condition_means.filter(part=part),
        "Each point is the mean answer of a condition, less the mean of its outcome. A model that knows the outcomes "
        "and ignores the conditions lies flat on the horizontal line.",
    )
    if frame.is_empty():
        return None
    return plots.scatter(
        f"{anchor(evaluation, part)}-conditions",
        f"Do predictions move with the conditions? {part_name(part).capitalize()}",
        [
            Point(
                x=row["human_centered"],
                y=row["model_centered"],
                x_error=row["human_se"],
                words=f"{row['study']} · {row['outcome']}\n{row['condition']}",
            )
            for row in frame.iter_rows(named=True)
        ],
        x_label="people: condition less the outcome's mean",
        y_label="model: the same",
        description=f"{frame.height} condition means.",
        caption=caption,
        what="Condition",
    )


def reliability(evaluation: Evaluation, part: str) -> Drawing | None:
    """How often answers were given that were predicted with a probability."""
    if evaluation.reliability.is_empty():
        return None
    frame = evaluation.reliability.filter(part=part, bins="equal mass").sort("predicted")
    if frame.is_empty():
        frame = evaluation.reliability.filter(part=part, bins="equal width").sort("predicted")
    if frame.is_empty():
        return None
    return plots.scatter(
        f"{anchor(evaluation, part)}-reliability",
        f"Do probabilities mean what they say? {part_name(part).capitalize()}",
        [
            Point(
                x=row["predicted"], y=row["observed"], words=f"{counted(row['n'], 'option')} of single people"
            )
            for row in frame.iter_rows(named=True)
        ],
        x_label="predicted probability of an answer",
        y_label="share of people who gave it",
        description=f"{counted(frame.height, 'bin')} of predicted probabilities.",
        caption="Bins of equally many predicted probabilities. Below the dashed line the model is too sure.",
        what="Bin",
        square=(0.0, max(0.2, *frame["predicted"].to_list(), *frame["observed"].to_list())),
        names=("predicted", "observed"),
    )


def groups(evaluation: Evaluation, part: str) -> Drawing | None:
    """The distance in each group of people, and that of a human half-sample."""
    frame = evaluation.table.filter(
        pl.col("group").is_not_null()
        & pl.col("study").is_null()
        & pl.col("reference").is_null()
        & pl.col("value").is_not_null(),
        pl.col("predictor").is_in([MODEL, SPLIT_HALF]),
        metric="wasserstein",
        part=part,
    )
    names = frame.filter(predictor=MODEL)["group"].unique(maintain_order=True).to_list()
    if len(names) < 2:
        return None
    caption = "Each row is a group of people; within an attribute, rows at one place are served equally well."
    absent = _absent_groups(evaluation, part, names)
    if len(names) > MOST_GROUPS:
        caption += f" The first {MOST_GROUPS} of {counted(len(names), 'group')} are drawn."
        names = names[:MOST_GROUPS]
    if absent:
        caption += f" {absent}"
    rows = {(row["group"], row["predictor"]): row for row in frame.iter_rows(named=True)}
    values = [
        Value(
            place=name.replace("=", ": ", 1),
            series=p,
            value=row["value"],
            lo=row["lo"],
            hi=row["hi"],
            note=f"{counted(row['n'], 'answer')}",
        )
        for name in names
        for p in (SPLIT_HALF, MODEL)
        if (row := rows.get((name, p))) is not None
    ]
    return plots.dots(
        f"{anchor(evaluation, part)}-groups",
        f"Distance in groups of people, {part_name(part)}",
        values,
        {p: STYLES[p] for p in (MODEL, SPLIT_HALF)},
        label="Wasserstein distance",
        description=f"{counted(len(names), 'group')}.",
        caption=caption,
        one_line=True,
    )


def _absent_groups(evaluation: Evaluation, part: str, judged: list[str]) -> str:
    """Groups of the attributes that are judged of whom too few answered an item for a distance."""
    people = evaluation.background.people
    if people.is_empty():
        return ""
    attributes = {name.split("=", 1)[0] for name in judged}
    known = people.filter(
        pl.col("part") == part, pl.col("attribute").is_in(attributes), pl.col("value").is_not_null()
    )
    every = [f"{attribute}={value}" for attribute, value in known.select("attribute", "value").iter_rows()]
    absent = [name.replace("=", ": ", 1) for name in every if name not in judged]
    return f"Too few answers for a distance: {first_listed(absent)}." if absent else ""
