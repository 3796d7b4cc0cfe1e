"""What condition means say of the effects of conditions: the model's, and those of predictors that need none."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import polars as pl

from socsci_jax.evaluation import intervals
from socsci_jax.evaluation.condition_means import ConditionMeans
from socsci_jax.evaluation.contrasts import Contrasts, centered, centered_se2, contrast_pairs
from socsci_jax.evaluation.intervals import Estimate
from socsci_jax.evaluation.items import ItemPredictions
from socsci_jax.evaluation.metric import EffectMetric
from socsci_jax.evaluation.metrics import BY_NAME, EFFECTS, effects
from socsci_jax.evaluation.metrics.distributions import positions
from socsci_jax.evaluation.metrics.effect_tests import MARGIN, benjamini_hochberg, equivalent, p_values
from socsci_jax.evaluation.metrics.moments import ZERO, moments
from socsci_jax.evaluation.parts import Part
from socsci_jax.evaluation.recovery import effects_and_truth
from socsci_jax.evaluation.table import (
    CONDITION_POOLED,
    EVERY_ARM_WORKS,
    HUMAN,
    MODEL,
    NO_EFFECT,
    SCALE,
    row,
)

PERMUTATIONS = 1_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Effects:
    """Human h and predicted l effects of one predictor [K] ([K, R] for samples of people), with se² of h.

    Where people are resampled, `h_bk` and `l_bk` [B, K] are replicates.
    """

    h: np.ndarray
    l: np.ndarray  # noqa: E741
    se2: np.ndarray
    undirected: np.ndarray
    h_bk: np.ndarray | None = None
    l_bk: np.ndarray | None = None

    def terms(self, metric: EffectMetric) -> np.ndarray:
        """Terms [K, T] of a metric, averaged over samples."""
        if self.h.ndim == 1:
            return metric.terms(self.h, self.l, self.se2, self.undirected)
        return metric.terms(self.h, self.l, self.se2[:, None], self.undirected[:, None]).mean(axis=1)

    def term_replicates(self, metric: EffectMetric) -> np.ndarray | None:
        """Terms [B, K, T] where people are resampled."""
        if self.h_bk is None or self.l_bk is None:
            return None
        se2 = np.broadcast_to(self.se2, self.h_bk.shape)
        return metric.terms(self.h_bk, self.l_bk, se2, np.broadcast_to(self.undirected, self.h_bk.shape))


def replicates(part: Part, metric: EffectMetric, of: Effects, cluster: np.ndarray) -> np.ndarray:
    """The metric [1 + B] in the sample and in each resample; `cluster` [K] numbers the cluster of each row.

    One NaN where there are fewer rows than the metric needs.
    """
    terms = of.terms(metric)
    if len(terms) < metric.fewest:
        return np.full(1, np.nan)
    gather = part.resampling.means if metric.aggregation == "clusters" else part.resampling.sums
    values = metric.of(gather(terms, cluster))
    if not part.resampling.by_participants:
        return values
    by_person = of.term_replicates(metric)
    if by_person is None:
        return values[:1]
    if metric.aggregation == "clusters":
        by_cluster = [by_person[:, cluster == s].mean(axis=1) for s in np.unique(cluster)]
        gathered = np.mean(by_cluster, axis=0)
    else:
        gathered = by_person.sum(axis=1)
    return np.concatenate([values[:1], metric.of(gathered)])


def clusters_of(part: Part, frame: pl.DataFrame) -> np.ndarray:
    """Number of the cluster of each row with study, condition and outcome."""
    place = {"conditions": "condition", "outcomes": "outcome"}.get(part.resampling.unit, "study")
    return part.resampling.clusters_of(frame[place].to_list())


def sensitivity_rows(part: Part, means: ConditionMeans) -> list[dict[str, object]]:
    """How condition means, centered within their outcome, vary together; none if no outcome has two conditions."""
    if means.frame.is_empty():
        return []
    group = means.column("group")
    human, model = (centered(means.column(name), group) for name in ("human", "model"))
    se2 = centered_se2(means.column("se2"), group)
    directed = np.zeros(group.size, dtype=bool)
    by_person = [None if m is None else centered(m, group) for m in (means.human_bm, means.model_bm)]
    by_predictor = {
        MODEL: Effects(h=human, l=model, se2=se2, undirected=directed, h_bk=by_person[0], l_bk=by_person[1])
    }
    for name, values in means.others.items():
        other = centered(values, group)
        fixed = None if by_person[0] is None else np.broadcast_to(other, by_person[0].shape)
        by_predictor[name] = Effects(
            h=human, l=other, se2=se2, undirected=directed, h_bk=by_person[0], l_bk=fixed
        )
    for name, sample in means.samples.items():
        one, other = sample - _group_means(sample, group)
        by_predictor[name] = Effects(h=other, l=one, se2=se2 / means.people_ratio[name], undirected=directed)
    cluster = clusters_of(part, means.frame)
    rows = _metric_rows(part, by_predictor, cluster, n=group.size, centered=True)
    # Pooled answers say the same of every condition.
    rows.append(_row(part, "condition_sensitivity_r", CONDITION_POOLED, Estimate(None), n=group.size))
    null, p = _permutation_estimates(part, model, human, group)
    rows.append(_row(part, "condition_sensitivity_r_null", MODEL, null, n=group.size))
    rows.append(_row(part, "condition_sensitivity_p", MODEL, p, n=group.size))
    return rows


def contrast_rows(part: Part, means: ConditionMeans) -> list[dict[str, object]]:
    """How differences between condition means agree: the model's, no effects, the mean effect, other predictors', other
    people's.
    """
    if means.frame.is_empty():
        return []
    pairs = contrast_pairs(means.column("group"), means.column("is_control"))
    se2 = means.column("se2")[pairs.treated] + means.column("se2")[pairs.reference]

    def between(values: np.ndarray) -> np.ndarray:
        return values[..., pairs.treated] - values[..., pairs.reference]

    human, model = between(means.column("human")), between(means.column("model"))
    by_person = [None if m is None else between(m) for m in (means.human_bm, means.model_bm)]
    directed = ~pairs.undirected
    mean_effect = human[directed].mean() if directed.any() else 0.0
    constant = {NO_EFFECT: np.zeros_like(human), EVERY_ARM_WORKS: np.where(directed, mean_effect, 0.0)}
    same = {"se2": se2, "undirected": pairs.undirected}
    by_predictor = {MODEL: Effects(h=human, l=model, h_bk=by_person[0], l_bk=by_person[1], **same)}
    fixed = constant | {name: between(values) for name, values in means.others.items()}
    for name, effect in fixed.items():
        replicate = None if by_person[0] is None else np.broadcast_to(effect, by_person[0].shape)
        by_predictor[name] = Effects(h=human, l=effect, h_bk=by_person[0], l_bk=replicate, **same)
    for name, sample in means.samples.items():
        ratio = np.minimum(*(means.people_ratio[name][side] for side in (pairs.treated, pairs.reference)))
        one, other = sample[:, pairs.treated] - sample[:, pairs.reference]
        by_predictor[name] = Effects(h=other, l=one, se2=se2 / ratio, undirected=pairs.undirected)
    cluster = clusters_of(part, means.frame[pairs.treated])
    rows = _metric_rows(part, by_predictor, cluster, n=human.size, centered=False)
    reliable = benjamini_hochberg(p_values(human, se2))
    for name, predicted in {MODEL: model, **fixed}.items():
        signs = effects.sign_agreement(human, predicted)[reliable]
        close = equivalent(human, predicted, se2, margin=MARGIN).astype(float)
        for metric, values, own in (
            ("reliable_sign_agreement", signs, cluster[reliable]),
            ("effect_equivalence", close, cluster),
        ):
            replicates_b = part.resampling.means(values[:, None], own)[:, 0]
            if part.resampling.by_participants:
                replicates_b = replicates_b[:1]
            estimate = part.resampling.estimate(BY_NAME[metric], replicates_b, clusters=len(np.unique(own)))
            rows.append(_row(part, metric, name, estimate, n=values.size))
    return rows + _outcome_rows(part, means, pairs, by_predictor[MODEL])


def _outcome_rows(
    part: Part, means: ConditionMeans, pairs: Contrasts, model: Effects
) -> list[dict[str, object]]:
    """Slope, intercept, r and error of the model's effects within each outcome, without an interval."""
    places = means.frame[pairs.treated].select("study", "outcome").with_row_index("_k")
    rows = []
    for (study, outcome), own in places.partition_by(
        "study", "outcome", as_dict=True, maintain_order=True
    ).items():
        k = own["_k"].to_numpy()
        if k.size < effects.FEWEST_CONTRASTS:
            continue
        for name in ("effect_slope", "effect_intercept", "effect_r", "effect_rmse"):
            metric = BY_NAME[name]
            assert isinstance(metric, EffectMetric)
            terms = metric.terms(model.h[k], model.l[k], model.se2[k], model.undirected[k])
            gathered = terms.mean(axis=0) if metric.aggregation == "clusters" else terms.sum(axis=0)
            value = intervals.point(float(metric.of(gathered)))
            same = {
                "normalization": SCALE,
                "source": part.source,
                "study": str(study),
                "outcome": str(outcome),
            }
            rows.append(row(name, value, part=part.name, predictor=MODEL, n=int(k.size), **same))
    return rows


def _metric_rows(
    part: Part, effects_of: dict[str, Effects], cluster: np.ndarray, *, n: int, centered: bool
) -> list[dict[str, object]]:
    """A row for each metric and predictor, and for the model's difference from each other one."""
    rows: list[dict[str, object]] = []
    clusters = len(np.unique(cluster))
    for metric in EFFECTS:
        if not isinstance(metric, EffectMetric) or metric.centered != centered:
            continue
        by_predictor = {name: replicates(part, metric, of, cluster) for name, of in effects_of.items()}
        own = by_predictor[MODEL]
        part.keep(
            metric.name, own, clusters=clusters, normalization=SCALE, source=part.source, predictor=MODEL
        )
        for name, values in by_predictor.items():
            estimate = part.resampling.estimate(metric, values, clusters=clusters)
            if metric.flag_at_zero and estimate.value == 0:
                estimate = dataclasses.replace(estimate, flag=metric.flag_at_zero)
            rows.append(_row(part, metric.name, name, estimate, n=n))
            if name != MODEL:
                # Samples of people have no replicates where people themselves are resampled.
                paired = own[: len(values)] - values
                estimate = part.resampling.estimate(metric, paired, clusters=clusters, difference=True)
                rows.append(_row(part, metric.name, MODEL, estimate, n=n, reference=name))
    return rows


def _row(
    part: Part, metric: str, predictor: str, estimate: Estimate, *, n: int, reference: str | None = None
) -> dict[str, object]:
    return row(
        metric,
        estimate,
        part=part.name,
        predictor=predictor,
        reference=reference,
        n=n,
        normalization=SCALE,
        source=part.source,
    )


def _permutation_estimates(
    part: Part, model: np.ndarray, human: np.ndarray, group: np.ndarray
) -> tuple[Estimate, Estimate]:
    """The correlation that chance alone gives, and the probability that it gives as much as was found."""
    r = float(effects.correlation(moments(model, human).sum(axis=0)))
    null = effects.permutation_null(
        model, human, group, permutations=PERMUTATIONS, rng=part.rng("permutations")
    )
    null = null[np.isfinite(null)]
    if not np.isfinite(r) or not null.size or group.size < effects.FEWEST_CONTRASTS:
        return Estimate(None), Estimate(None)
    lo, hi = np.quantile(null, [0.025, 0.975])
    # The same order of conditions gives the same r, but for rounding.
    p = (1 + int((null >= r - ZERO).sum())) / (1 + null.size)
    return Estimate(float(null.mean()), float(lo), float(hi), "permutations"), Estimate(p)


def true_effect_rows(
    part: Part, items: Sequence[ItemPredictions], truth: pl.DataFrame
) -> list[dict[str, object]]:
    """Correlation with the known true effects (item_id, mean_position); a predictor without effects has none."""
    rows = []
    metric = BY_NAME["true_effect_correlation"]
    shares_of = {MODEL: [item.model_l for item in items], HUMAN: [item.human_l for item in items]}
    for predictor, shares in shares_of.items():
        frame = pl.DataFrame(
            {
                "item_id": [cell.item_id for cell in part.cells],
                "study_id": [cell.item.study_id for cell in part.cells],
                "condition": [cell.item.condition for cell in part.cells],
                "outcome": [cell.item.outcome for cell in part.cells],
                "predicted": [
                    float(p @ positions(cell.levels_l)) for p, cell in zip(shares, part.cells, strict=True)
                ],
            }
        )
        pairs = effects_and_truth(frame, truth)
        if pairs.height < effects.FEWEST_CONTRASTS:
            continue
        cluster = clusters_of(part, pairs.rename({"study_id": "study"}))
        terms = moments(pairs["predicted"].to_numpy(), pairs["true"].to_numpy())
        correlations = effects.correlation(part.resampling.sums(terms, cluster))
        if part.resampling.by_participants:
            correlations = correlations[:1]
        estimate = part.resampling.estimate(metric, correlations, clusters=len(np.unique(cluster)))
        rows.append(_row(part, metric.name, predictor, estimate, n=pairs.height))
    return rows + [
        _row(part, metric.name, name, Estimate(None), n=len(part.cells))
        for name in (CONDITION_POOLED, NO_EFFECT)
    ]


def _group_means(samples_2mr: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Mean over the members of each group, given back to each member."""
    size = np.bincount(group)
    sums = intervals.sum_by(np.moveaxis(samples_2mr, 1, 0), group, size.size)
    return np.moveaxis((sums / size[:, None, None])[group], 0, 1)
