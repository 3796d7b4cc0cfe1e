"""Decisions by prediction: which arm of an outcome to choose, and what that is worth."""

from __future__ import annotations

import numpy as np

from socsci_jax.evaluation.condition_means import ConditionMeans
from socsci_jax.evaluation.effects import clusters_of
from socsci_jax.evaluation.metrics import BY_NAME
from socsci_jax.evaluation.metrics.decisions import choose
from socsci_jax.evaluation.parts import Part
from socsci_jax.evaluation.table import MODEL, NO_EFFECT, SCALE, SPLIT_HALF, row


def choice_rows(part: Part, means: ConditionMeans) -> list[dict[str, object]]:
    """Hits, regret and captured gain of the model, of other predictors and of an arm at random; none without outcomes of
    two arms.
    """
    if means.frame.is_empty() or SPLIT_HALF not in means.samples:
        return []
    group = means.column("group")
    first = np.unique(group, return_index=True)[1]
    cluster = clusters_of(part, means.frame[first])
    predicted = means.column("model")
    halves = means.samples[SPLIT_HALF]
    rows: list[dict[str, object]] = []
    predictors = {MODEL: predicted, NO_EFFECT: np.zeros_like(predicted), **means.others}
    for name, values in predictors.items():
        own = [np.flatnonzero(group == g) for g in group[first]]
        made = [choose(values[arms], halves[0, arms], halves[1, arms]) for arms in own]
        terms = np.array([[c.hit, c.hit_of_two, c.regret, c.gained, c.gainable] for c in made])
        averaged = part.resampling.means(terms[:, :3], cluster)
        sums = part.resampling.sums(terms[:, 3:], cluster)
        with np.errstate(invalid="ignore", divide="ignore"):
            gain = np.where(sums[:, 1] > 0, sums[:, 0] / sums[:, 1], np.nan)
        by_metric = {
            "best_arm_hit": averaged[:, 0],
            "best_arm_in_two": averaged[:, 1],
            "decision_regret": averaged[:, 2],
            "captured_gain": gain,
        }
        for metric, replicates in by_metric.items():
            # People are halved here, not resampled.
            replicates = replicates[:1] if part.resampling.by_participants else replicates
            estimate = part.resampling.estimate(BY_NAME[metric], replicates, clusters=len(np.unique(cluster)))
            rows.append(
                row(
                    metric,
                    estimate,
                    part=part.name,
                    predictor=name,
                    n=len(made),
                    normalization=SCALE,
                    source=part.source,
                )
            )
    return rows
