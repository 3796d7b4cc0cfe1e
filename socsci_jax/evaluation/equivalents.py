"""The size of a human sample that is as far from the others as the prediction is."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from socsci_jax.evaluation.averaging import PartValues, averaged
from socsci_jax.evaluation.item_values import Key
from socsci_jax.evaluation.items import ItemPredictions
from socsci_jax.evaluation.metrics import BY_NAME
from socsci_jax.evaluation.metrics.humans import SIZES, equivalent_sample, sampling_spread
from socsci_jax.evaluation.parts import Part
from socsci_jax.evaluation.table import EXACT, MODEL, SCALE, row


def equivalent_rows(
    part: Part, items: Sequence[ItemPredictions], part_values: PartValues
) -> list[dict[str, object]]:
    """How many people the model is worth, from its exact distance; none where there are only draws."""
    key = Key("wasserstein", SCALE, EXACT, MODEL)
    if key not in part_values.values or part.source != EXACT:
        return []
    distance = BY_NAME["wasserstein"]
    spread_c = np.array(
        [
            sampling_spread(item.human_l, people=cell.codes_n.size, levels_l=cell.levels_l)
            if used
            else np.nan
            for cell, item, used in zip(part.cells, items, part.averaged_c, strict=True)
        ]
    )
    w_c = np.where(np.isfinite(spread_c), part_values.values[key], np.nan)
    w_b = averaged(part, distance, w_c, None).overall
    curve = [averaged(part, distance, spread_c * np.sqrt(1 / n + 1 / part.n_c), None).overall for n in SIZES]
    worth_b = equivalent_sample(w_b, np.stack(curve, axis=-1))
    metric = BY_NAME["equivalent_people"]
    clusters = len(np.unique(part.cluster_c[part.averaged_c]))
    estimate = part.resampling.estimate(metric, worth_b, clusters=clusters)
    if estimate.value is not None and estimate.value >= SIZES[-1] * 0.999:
        estimate = dataclasses.replace(
            estimate, flag=f"more than {SIZES[-1]:,.0f}: no farther than sampling makes it"
        )
    elif estimate.value is not None and estimate.value <= 1.001:
        estimate = dataclasses.replace(estimate, flag="farther than a single person would be")
    n = int(part.averaged_c.sum())
    return [
        row(metric.name, estimate, part=part.name, predictor=MODEL, n=n, normalization=SCALE, source=EXACT)
    ]
