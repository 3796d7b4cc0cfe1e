"""What predictions say of each item: shares of answers, means, and how versions of a stimulus differ.

Nothing here has a standard error: the number of simulated people says nothing about how far a prediction can be trusted.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.studies.predictions import Predictions
from socsci_jax.studies.schema import Item

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ITEM = ("study", "condition", "outcome")


def shares(predictions: Predictions) -> pl.DataFrame:
    """One row per item and answer: study, condition, outcome, level, label, share (mean over personas), personas.

    Alternatives outside the order ("don't know") are answers too, where they were offered.
    """
    rows = []
    for item_id, frame in _by_item(predictions):
        item = _item(predictions, item_id)
        answers = _answers(frame, item)
        scale = item.scale
        labels = dict(zip(scale.levels, scale.labels)) | dict(
            zip(scale.alternatives, scale.alternative_labels)
        )
        of_item = (item.study_id, item.condition, item.outcome)
        rows += [
            (*of_item, level, labels.get(level, ""), share, len(answers.probs))
            for level, share in zip(answers.levels.tolist(), answers.probs.mean(axis=0).tolist(), strict=True)
        ]
    schema = {**dict.fromkeys(_ITEM, pl.String), "level": pl.Float64, "label": pl.String}
    return pl.DataFrame(rows, schema={**schema, "share": pl.Float64, "personas": pl.Int64}, orient="row")


def means(predictions: Predictions) -> pl.DataFrame:
    """One row per item with an order: study, condition, outcome, mean and sd of its answers, lo, hi, personas.

    Answers outside the order are excluded: mean and sd are those of the rest.
    """
    rows = []
    for item_id, frame in _by_item(predictions):
        item = _item(predictions, item_id)
        if item.scale.nominal:
            continue
        answers = _answers(frame, item)
        ordered = np.isin(answers.levels, np.asarray(item.scale.levels, float))
        levels, share = answers.levels[ordered], answers.probs.mean(axis=0)[ordered]
        share = share / share.sum()
        mean = share @ levels
        sd = np.sqrt(share @ (levels - mean) ** 2)
        of_item = (item.study_id, item.condition, item.outcome)
        rows.append((*of_item, mean, sd, item.scale.lo, item.scale.hi, len(answers.probs)))
    schema = {**dict.fromkeys(_ITEM, pl.String), **dict.fromkeys(("mean", "sd", "lo", "hi"), pl.Float64)}
    return pl.DataFrame(rows, schema={**schema, "personas": pl.Int64}, orient="row")


def differences(predictions: Predictions) -> pl.DataFrame:
    """One row per outcome and pair of conditions: the later mean minus the earlier one.

    Columns: study, outcome, condition, compared_with, difference (units of the scale), percent_of_range.  Conditions
    come in the order in which they were asked.
    """
    rows = []
    for (study, outcome), group in means(predictions).group_by(["study", "outcome"], maintain_order=True):
        arms = list(group.iter_rows(named=True))
        for i, first in enumerate(arms):
            for second in arms[i + 1 :]:
                change = second["mean"] - first["mean"]
                percent = 100 * change / (second["hi"] - second["lo"])
                rows.append((study, outcome, second["condition"], first["condition"], change, percent))
    schema: dict[str, type[pl.DataType]] = dict.fromkeys(
        ("study", "outcome", "condition", "compared_with"), pl.String
    )
    schema |= dict.fromkeys(("difference", "percent_of_range"), pl.Float64)
    return pl.DataFrame(rows, schema=schema, orient="row")


def plot_shares(predictions: Predictions) -> Figure:
    """Bars of the share of each answer, a panel per question and a color per condition."""
    from socsci_jax.studies.figures import ShownFigure

    table = shares(predictions)
    outcomes = list(table.group_by(["study", "outcome"], maintain_order=True))
    figure = ShownFigure(figsize=(7, 0.8 + 2.6 * len(outcomes)), layout="constrained")
    panels = figure.subplots(len(outcomes), squeeze=False)[:, 0]
    for axes, ((_, outcome), group) in zip(panels, outcomes, strict=True):
        conditions = group["condition"].unique(maintain_order=True).to_list()
        levels = group["level"].unique().sort().to_list()
        width = 0.8 / len(conditions)
        for number, condition in enumerate(conditions):
            of_level = dict(group.filter(condition=condition).select("level", "share").iter_rows())
            at = np.arange(len(levels)) + (number - (len(conditions) - 1) / 2) * width
            axes.bar(at, [of_level.get(level, 0.0) for level in levels], width)
        axes.set_ylim(0, None)
        axes.set_ylabel("share of answers")
        axes.set_title(outcome, parse_math=False, loc="left")
        labels = dict(group.select("level", "label").iter_rows())
        names = [
            f"{level:g}\n{labels[level]}".strip() if len(levels) <= 8 else f"{level:g}" for level in levels
        ]
        shown = range(0, len(levels), -(-len(levels) // 12))
        axes.set_xticks([*shown], [names[i] for i in shown], parse_math=False)
        if len(conditions) > 1:
            legend = axes.legend(conditions)
            for text in legend.get_texts():
                text.set_parse_math(False)
    return figure


def _by_item(predictions: Predictions) -> list[tuple[str, pl.DataFrame]]:
    groups = predictions.frame.group_by("item_id", maintain_order=True)
    return [(str(item_id), frame) for (item_id,), frame in groups]


def _item(predictions: Predictions, item_id: str) -> Item:
    if predictions.pairs is None:
        raise InputError(
            "these predictions do not hold the items that were asked; read them with their store."
        )
    return predictions.pairs.items[item_id]


@dataclasses.dataclass(frozen=True, eq=False)
class _Answers:
    """The answers that the prompt of an item allowed [L], and their probabilities for each persona [personas, L]."""

    levels: np.ndarray
    probs: np.ndarray


def _answers(frame: pl.DataFrame, item: Item) -> _Answers:
    """Of exact rows as they are; of draws their shares, those that are no answer excluded."""
    exact = frame.filter(pl.col("probs").is_not_null())
    if exact.height:
        return _Answers(
            levels=np.asarray(exact["levels"][0].to_list(), float), probs=np.stack(exact["probs"].to_list())
        )
    if item.scale.kind != "levels":
        raise InputError(f"item {item.outcome!r} has no finite set of levels; look at the draws in `frame`.")
    levels = np.asarray((*item.scale.levels, *item.scale.alternatives), float)
    rows = []
    for _, draws in frame.group_by("participant_id", maintain_order=True):
        counts = (draws["value"].drop_nulls().to_numpy()[:, None] == levels).sum(axis=0)
        if counts.sum():
            rows.append(counts / counts.sum())
    if not rows:
        raise InputError(f"item {item.outcome!r}: not one draw was an answer on its scale.")
    return _Answers(levels=levels, probs=np.stack(rows))
