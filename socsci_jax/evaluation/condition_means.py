"""Mean answers of people and model in each condition, with people's standard errors."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import polars as pl

from socsci_jax.evaluation.cells import Cell
from socsci_jax.evaluation.contrasts import contrast_pairs
from socsci_jax.evaluation.items import ItemPredictions, mean_of_drawn
from socsci_jax.evaluation.metrics.distributions import positions
from socsci_jax.evaluation.parts import Part


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConditionMeans:
    """Mean positions (0 to 1) by study, outcome, scale and condition [M]; texts of a condition weigh by answers.

    `frame` has a row for each, `group` numbering the outcomes; `samples` holds the means [2, M, R] of two disjoint
    samples of people by predictor; `human_bm` and `model_bm` [B, M] are replicates where people are resampled.
    `people_ratio` is the share of the people that the second of the two samples has; `others` holds the means [M] of
    other predictors that say something of conditions.
    """

    frame: pl.DataFrame
    samples: dict[str, np.ndarray]
    people_ratio: dict[str, np.ndarray]
    human_bm: np.ndarray | None
    model_bm: np.ndarray | None
    others: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def column(self, name: str) -> np.ndarray:
        return self.frame[name].to_numpy()


def standard_error_squared(cell: Cell) -> float:
    """Squared standard error of the mean position: s² / n, linearized where answers are weighted."""
    at = positions(cell.levels_l)[cell.codes_n]
    if at.size < 2:
        return float("nan")
    if cell.weights_n is None:
        return float(at.var(ddof=1) / at.size)
    weights = cell.weights_n / cell.weights_n.sum()
    mean = weights @ at
    return float((weights**2 @ (at - mean) ** 2) * at.size / (at.size - 1))


def condition_means(
    part: Part,
    cells: Sequence[Cell],
    items: Sequence[ItemPredictions],
    *,
    borrowed: int = 0,
    others: Sequence[str] = (),
) -> ConditionMeans:
    """The condition means of outcomes that have two conditions with answers enough.

    The last `borrowed` of the cells are controls from the training part.  `others` are predictors whose means are wanted;
    one that does not predict all of these cells is excluded.
    """
    at = [positions(cell.levels_l) for cell in cells]
    n_c = np.array([cell.codes_n.size for cell in cells])
    frame = (
        pl.DataFrame(
            {
                "cell": np.arange(len(cells)),
                "study": [cell.item.study_id for cell in cells],
                "outcome": [cell.item.outcome for cell in cells],
                "scale": [str(cell.item.scale.levels) for cell in cells],
                "condition": [cell.item.condition for cell in cells],
                "is_control": [bool(cell.item.is_control) for cell in cells],
                "borrowed": np.arange(len(cells)) >= len(cells) - borrowed,
                "n": n_c,
                "human": [float(item.human_l @ x) for item, x in zip(items, at, strict=True)],
                "model": [float(item.model_l @ x) for item, x in zip(items, at, strict=True)],
                "se2": [standard_error_squared(cell) for cell in cells],
            }
        )
        .group_by("study", "outcome", "scale", "condition", maintain_order=True)
        .agg(
            pl.col("cell"),
            pl.col("is_control").any(),
            pl.col("borrowed").any(),
            pl.col("n").sum(),
            *((pl.col(name) * pl.col("n")).sum() / pl.col("n").sum() for name in ("human", "model")),
            ((pl.col("n") ** 2 * pl.col("se2")).sum() / pl.col("n").sum() ** 2).alias("se2"),
        )
        .filter(pl.col("n") >= part.minimum_n, pl.col("model").is_finite())
        .filter(pl.len().over("study", "outcome", "scale") >= 2)
        .with_columns(group=pl.struct("study", "outcome", "scale").rank("dense").cast(pl.Int64) - 1)
    )
    members = [np.array(cells_of) for cells_of in frame["cell"]]
    samples, ratio = {}, {}
    for name in sorted({name for item in items for name in item.samples}):
        sampled = [_sample_means(name, own, cells, items, at) for own in members]
        known = [means for means, _ in sampled if means is not None]
        if sampled and len(known) == len(sampled):
            samples[name] = np.stack(known, axis=1)
            ratio[name] = np.array([share for _, share in sampled])
    human_bm, model_bm = None, None
    if part.resampling.by_participants and not borrowed and members:
        human_bm, model_bm = _replicates(part, members, at)
    return ConditionMeans(
        frame=frame,
        samples=samples,
        people_ratio=ratio,
        human_bm=human_bm,
        model_bm=model_bm,
        others=_means_of_others(others, members, items, at, n_c),
    )


def _means_of_others(
    names: Sequence[str],
    members: Sequence[np.ndarray],
    items: Sequence[ItemPredictions],
    at: Sequence[np.ndarray],
    n_c: np.ndarray,
) -> dict[str, np.ndarray]:
    """Condition means [M] of the predictors that predict every cell; texts of a condition weigh by answers."""
    by_predictor = {}
    for name in names:
        if members and all(name in items[c].baselines for own in members for c in own):
            means = [
                np.average([items[c].baselines[name] @ at[c] for c in own], weights=n_c[own])
                for own in members
            ]
            by_predictor[name] = np.array(means)
    return by_predictor


def _sample_means(
    name: str,
    own: np.ndarray,
    cells: Sequence[Cell],
    items: Sequence[ItemPredictions],
    at: Sequence[np.ndarray],
) -> tuple[np.ndarray | None, float]:
    """Means [2, R] of the two samples of one condition, and the share of its people in the second; None without."""
    having = [c for c in own if name in items[c].samples]
    if not having:
        return None, 0.0
    pairs = [items[c].samples[name] for c in having]
    weights = np.array([pair.n for pair in pairs])
    means = np.stack(
        [np.stack([pair.one, pair.other]) @ at[c] for pair, c in zip(pairs, having, strict=True)], axis=1
    )
    people = sum(cells[c].codes_n.size for c in own)
    return np.einsum("hcr,c->hr", means, weights / max(weights.sum(), 1)), float(weights.sum() / people)


def _replicates(
    part: Part, members: Sequence[np.ndarray], at: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Condition means [B, M] of people and model, people weighing as they were drawn."""
    human, model, total = [], [], []
    for cell, x, w_bn in zip(part.cells, at, part.person_weights(), strict=True):
        w = w_bn.astype(float) if cell.weights_n is None else w_bn * cell.weights_n
        n_b = w.sum(axis=1)
        human.append(w @ x[cell.codes_n])
        model.append(n_b * (mean_of_drawn(cell.predicted_nl, w) @ x))
        total.append(n_b)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = [
            [sum(sums[c] for c in own) / sum(total[c] for c in own) for own in members]
            for sums in (human, model)
        ]
    return np.stack(means[0], axis=1), np.stack(means[1], axis=1)


def mean_table(part: Part, means: ConditionMeans) -> pl.DataFrame:
    """A row for each condition mean with people's standard error, also centered within its outcome."""
    centered = [
        (pl.col(name) - pl.col(name).mean().over("group")).alias(f"{name}_centered")
        for name in ("human", "model")
    ]
    columns = ["study", "outcome", "condition", "is_control", "n", "human", "model"]
    return means.frame.select(
        pl.lit(part.name).alias("part"), *columns, pl.col("se2").sqrt().alias("human_se"), *centered
    )


def contrast_table(part: Part, means: ConditionMeans) -> pl.DataFrame:
    """A row for each contrast: the effect in shares of the scale's range, with people's standard error and interval."""
    frame = means.frame
    pairs = contrast_pairs(means.column("group"), means.column("is_control"))
    treated, reference = frame[pairs.treated], frame[pairs.reference]
    h = (treated["human"] - reference["human"]).to_numpy()
    se = np.sqrt((treated["se2"] + reference["se2"]).to_numpy())
    return pl.DataFrame(
        {
            "part": pl.Series([part.name] * treated.height, dtype=pl.String),
            "study": treated["study"],
            "outcome": treated["outcome"],
            "condition": treated["condition"],
            "reference": reference["condition"],
            "n": treated["n"],
            "n_reference": reference["n"],
            "human": h,
            "human_se": se,
            "human_lo": h - 1.96 * se,
            "human_hi": h + 1.96 * se,
            "model": treated["model"] - reference["model"],
            "undirected": pl.Series(pairs.undirected, dtype=pl.Boolean),
            "reference_in_training": reference["borrowed"],
        }
    )
