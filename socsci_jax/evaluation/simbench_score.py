"""SimBench's score over the items of a part."""

from __future__ import annotations

import numpy as np

from socsci_jax.evaluation.averaging import PartValues, mean_of_defined
from socsci_jax.evaluation.item_values import Key
from socsci_jax.evaluation.metrics import BY_NAME
from socsci_jax.evaluation.metrics.summaries import simbench_scores
from socsci_jax.evaluation.parts import Part
from socsci_jax.evaluation.table import EXACT, SAMPLED, UNIFORM, row


def simbench_rows(part: Part, part_values: PartValues) -> list[dict[str, object]]:
    """SimBench's score of each predictor: the mean over items, each by the uniform guesses of its own study."""
    distance, metric = "total_variation", BY_NAME["simbench_score"]
    rows = []
    for source in (EXACT, SAMPLED):
        uniform = part_values.values.get(Key(distance, None, source, UNIFORM))
        if uniform is None:
            continue
        for key, values in part_values.values.items():
            if key.metric != distance or key.source != source:
                continue
            used = part.averaged_c & np.isfinite(values) & np.isfinite(uniform)
            scores = simbench_scores(values[used], uniform[used], part.study_c[used])
            known = np.isfinite(scores)
            if not known.any():
                continue
            replicates = _simbench_replicates(part, part_values, key, used, scores)
            clusters = len(np.unique(part.cluster_c[used][known]))
            estimate = part.resampling.estimate(metric, replicates, clusters=clusters)
            n = len(np.unique(part.study_c[used][known]))
            rows.append(
                row(metric.name, estimate, part=part.name, predictor=key.predictor, n=n, source=source)
            )
    return rows


def _simbench_replicates(
    part: Part, part_values: PartValues, key: Key, used: np.ndarray, scores: np.ndarray
) -> np.ndarray:
    """The mean score [1 + B] of the sample and of each resample."""
    known = np.isfinite(scores)
    if part.resampling.by_participants:
        own, uniform = ((part_values.replicates or {}).get(k) for k in (key, key._replace(predictor=UNIFORM)))
        first = np.array([scores[known].mean()])
        if own is None or uniform is None:
            return first
        drawn = simbench_scores(own[:, used], uniform[:, used], part.study_c[used])
        return np.concatenate([first, [mean_of_defined(one) for one in drawn]])
    # Resampled arms or outcomes of one study are judged by the sample's uniform guesses.
    terms = np.stack([scores[known], np.ones(int(known.sum()))], axis=1)
    sums = part.resampling.sums(terms, part.cluster_c[used][known])
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums[:, 0] / sums[:, 1]
