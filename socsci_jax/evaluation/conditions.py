"""Condition means of people and model, and what they say of the effects of conditions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from socsci_jax.evaluation import distances, effects, intervals
from socsci_jax.evaluation.intervals import Clusters, Estimate
from socsci_jax.evaluation.items import ItemFigures
from socsci_jax.evaluation.parts import Part
from socsci_jax.evaluation.table import MODEL, row

PERMUTATIONS = 1_000


def condition_means(part: Part, items: Sequence[ItemFigures]) -> pl.DataFrame:
    """Mean positions of `human` and `model` by study, outcome, scale and condition; texts weigh by answers.

    Only where an outcome has two conditions with answers enough; `group` numbers these outcomes, `cell` lists
    the cells of the condition.
    """
    at = [distances.positions(cell.levels_l) for cell in part.cells]
    return (
        pl.DataFrame(
            {
                "cell": np.arange(len(part.cells)),
                "study": [cell.item.study_id for cell in part.cells],
                "outcome": [cell.item.outcome for cell in part.cells],
                "scale": [str(cell.item.scale.levels) for cell in part.cells],
                "condition": [cell.item.condition for cell in part.cells],
                "is_control": [bool(cell.item.is_control) for cell in part.cells],
                "n": part.n_c,
                "human": [float(item.human_l @ x) for item, x in zip(items, at, strict=True)],
                "model": [float(item.model_l @ x) for item, x in zip(items, at, strict=True)],
            }
        )
        .group_by("study", "outcome", "scale", "condition", maintain_order=True)
        .agg(
            pl.col("cell"),
            pl.col("is_control").any(),
            pl.col("n").sum(),
            *((pl.col(name) * pl.col("n")).sum() / pl.col("n").sum() for name in ("human", "model")),
        )
        .filter(pl.col("n") >= part.minimum_n, pl.col("model").is_finite())
        .filter(pl.len().over("study", "outcome", "scale") >= 2)
        .with_columns(group=pl.struct("study", "outcome", "scale").rank("dense").cast(pl.Int64) - 1)
    )


def effect_rows(part: Part, items: Sequence[ItemFigures], means: pl.DataFrame) -> list[tuple]:
    """Condition sensitivity and effects; none if no outcome has two conditions."""
    if means.is_empty():
        return []
    halves_2mr = _halves_of_means(part, items, means)
    clusters = _clusters(part, means["study"].to_list(), means["group"].to_numpy())
    return [
        *_sensitivity_rows(part, means, halves_2mr, clusters),
        *_contrast_rows(part, means, halves_2mr, clusters),
    ]


def _halves_of_means(part: Part, items: Sequence[ItemFigures], means: pl.DataFrame) -> np.ndarray:
    """Mean positions of the human halves of each condition mean [2, M, R]."""
    half_positions_2cr = np.stack([item.half_positions_2r for item in items], axis=1)
    halves = []
    for members in means["cell"]:
        cells = np.array(members)
        cells = cells[part.n_c[cells] >= 2]
        weights = part.n_c[cells] // 2
        halves.append(np.einsum("hcr,c->hr", half_positions_2cr[:, cells], weights / max(weights.sum(), 1)))
    return np.stack(halves, axis=1)


def _clusters(part: Part, studies: list[str], outcome_of_row: np.ndarray) -> Clusters:
    """Studies are resampled; where there is only one, its outcomes stand in."""
    if len(set(studies)) >= 2:
        return Clusters(part.study_numbers(studies), part.counts_bs)
    counts_bs = intervals.resample_counts(int(outcome_of_row.max()) + 1, rng=part.rng("outcomes"))
    return Clusters(outcome_of_row, counts_bs, said="/outcomes resampled")


def _sensitivity_rows(
    part: Part, means: pl.DataFrame, halves_2mr: np.ndarray, clusters: Clusters
) -> list[tuple]:
    """How condition means, centered within their outcome, vary together."""
    group, convention = means["group"].to_numpy(), f"stated/{part.source}{clusters.said}"
    human = effects.centered(means["human"].to_numpy(), group)
    model = effects.centered(means["model"].to_numpy(), group)
    half = halves_2mr - _group_means(halves_2mr, group)
    sums = {
        MODEL: clusters.sums(effects.moments(model, human)),
        "split_half": clusters.sums(effects.moments(half[0], half[1]).mean(axis=1)),
    }
    statistics = {
        "condition_sensitivity_r": effects.correlation,
        "condition_sensitivity_slope": effects.slope_of_human,
        "condition_sensitivity_spread_ratio": effects.spread_ratio,
    }
    figures = [
        (metric, predictor, clusters.estimate(statistic(sums[predictor])))
        for predictor in sums
        for metric, statistic in statistics.items()
    ]
    # Pooled answers say the same of every condition.
    figures.append(("condition_sensitivity_r", "pooled", Estimate(None)))
    null, p = _permutation_figures(part, model, human, group)
    figures += [("condition_sensitivity_r_null", MODEL, null), ("condition_sensitivity_p", MODEL, p)]
    return [
        row(metric, convention, part.name, predictor, figure, n=group.size)
        for metric, predictor, figure in figures
    ]


def _permutation_figures(
    part: Part, model: np.ndarray, human: np.ndarray, group: np.ndarray
) -> tuple[Estimate, Estimate]:
    """The correlation that chance alone gives, and the probability that it gives as much as was found."""
    r = float(effects.correlation(effects.moments(model, human).sum(axis=0)))
    null = effects.permutation_null(
        model, human, group, permutations=PERMUTATIONS, rng=part.rng("permutations")
    )
    null = null[np.isfinite(null)]
    if not np.isfinite(r) or not null.size:
        return Estimate(None), Estimate(None)
    lo, hi = np.quantile(null, [0.025, 0.975])
    p = (1 + int((null >= r).sum())) / (1 + null.size)
    return Estimate(float(null.mean()), float(lo), float(hi)), Estimate(p)


def _contrast_rows(
    part: Part, means: pl.DataFrame, halves_2mr: np.ndarray, clusters: Clusters
) -> list[tuple]:
    """How differences between condition means agree: the model's, no effects at all, and those of human halves."""
    pairs = effects.contrasts(means["group"].to_numpy(), means["is_control"].to_numpy())
    clusters = clusters.rows(pairs.treated)
    convention, n = f"stated/{part.source}{clusters.said}", pairs.treated.size
    human, model = (
        means[name].to_numpy()[pairs.treated] - means[name].to_numpy()[pairs.reference]
        for name in ("human", "model")
    )
    half = halves_2mr[:, pairs.treated] - halves_2mr[:, pairs.reference]
    both = {
        MODEL: (human, model),
        "no_effect": (human, np.zeros_like(human)),
        "split_half": (half[0], half[1]),
    }
    rows: list[tuple] = []

    def add(metric: str, predictor: str, replicates_b: np.ndarray) -> None:
        figure = clusters.estimate(replicates_b)
        rows.append(row(metric, convention, part.name, predictor, figure, n=n))

    signs, errors = {}, {}
    for predictor, (x, l) in both.items():  # noqa: E741
        agreement, error = effects.sign_agreement(x, l), (x - l) ** 2
        ways = pairs.undirected if x.ndim == 1 else pairs.undirected[:, None]
        terms = effects.moments(l, x, undirected=ways)
        if x.ndim == 2:
            agreement, error, terms = agreement.mean(axis=1), error.mean(axis=1), terms.mean(axis=1)
        signs[predictor] = clusters.means(agreement)
        errors[predictor] = np.sqrt(clusters.means(error))
        add("effect_sign_agreement", predictor, signs[predictor])
        add("effect_rmse", predictor, errors[predictor])
        add("effect_r", predictor, effects.correlation(clusters.sums(terms)))
    for metric, figures in (("effect_sign_agreement", signs), ("effect_rmse", errors)):
        for other in ("no_effect", "split_half"):
            add(f"{metric}_difference", f"{MODEL}-{other}", figures[MODEL] - figures[other])
    return rows


def true_effect_rows(part: Part, items: Sequence[ItemFigures], truth: pl.DataFrame) -> list[tuple]:
    """Correlation with the known true effects (item_id, mean_position); a predictor without effects has none."""
    rows = []
    shares_of = {MODEL: [item.model_l for item in items], "human": [item.human_l for item in items]}
    for predictor, shares in shares_of.items():
        positions = pl.DataFrame(
            {
                "item_id": [cell.item_id for cell in part.cells],
                "study_id": [cell.item.study_id for cell in part.cells],
                "outcome": [cell.item.outcome for cell in part.cells],
                "predicted": [
                    float(p @ distances.positions(cell.levels_l))
                    for p, cell in zip(shares, part.cells, strict=True)
                ],
            }
        )
        pairs = effects.effects_beside_truth(positions, truth)
        if pairs.is_empty():
            continue
        outcome = pairs.select(pl.struct("study_id", "outcome").rank("dense").cast(pl.Int64) - 1)
        clusters = _clusters(part, pairs["study_id"].to_list(), outcome.to_series().to_numpy())
        terms = effects.moments(pairs["predicted"].to_numpy(), pairs["true"].to_numpy())
        figure = clusters.estimate(effects.correlation(clusters.sums(terms)))
        convention = f"stated/{part.source}{clusters.said}"
        rows.append(row("true_effect_correlation", convention, part.name, predictor, figure, n=pairs.height))
    convention = f"stated/{part.source}"
    return rows + [
        row("true_effect_correlation", convention, part.name, name, Estimate(None), n=len(part.cells))
        for name in ("pooled", "no_effect")
    ]


def condition_mean_table(part: Part, means: pl.DataFrame) -> pl.DataFrame:
    """The condition means, also centered within their outcome, for the report to draw."""
    centered = [
        (pl.col(name) - pl.col(name).mean().over("group")).alias(f"{name}_centered")
        for name in ("human", "model")
    ]
    columns = ["study", "outcome", "condition", "is_control", "n", "human", "model"]
    return means.select(pl.lit(part.name).alias("scope"), *columns, *centered)


def contrast_table(part: Part, means: pl.DataFrame) -> pl.DataFrame:
    """The differences between condition means, for the report to draw."""
    pairs = effects.contrasts(means["group"].to_numpy(), means["is_control"].to_numpy())
    treated, reference = means[pairs.treated], means[pairs.reference]
    return pl.DataFrame(
        {
            "scope": pl.Series([part.name] * treated.height, dtype=pl.String),
            "study": treated["study"],
            "outcome": treated["outcome"],
            "condition": treated["condition"],
            "reference": reference["condition"],
            "human": treated["human"] - reference["human"],
            "model": treated["model"] - reference["model"],
            "undirected": pl.Series(pairs.undirected, dtype=pl.Boolean),
        }
    )


def _group_means(halves_2mr: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Mean over the members of each group, given back to each member."""
    size = np.bincount(group)
    sums = intervals.sum_by(np.moveaxis(halves_2mr, 1, 0), group, size.size)
    return np.moveaxis((sums / size[:, None, None])[group], 0, 1)
