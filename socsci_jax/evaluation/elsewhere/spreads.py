"""Standard deviations that are predicted beside means: how they compare with people's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from socsci_jax.evaluation.averaging import PartValues, mean_rows, quartile_rows
from socsci_jax.evaluation.elsewhere.long import PLACE
from socsci_jax.evaluation.item_values import Key
from socsci_jax.evaluation.items import ItemPredictions
from socsci_jax.evaluation.metrics.distributions import standard_deviation
from socsci_jax.evaluation.parts import Part
from socsci_jax.evaluation.table import EXACT, MODEL


def spread_rows(part: Part, items: Sequence[ItemPredictions], given: pl.DataFrame) -> list[dict[str, object]]:
    """The ratio of standard deviations, predicted over people's: median and quartiles over conditions and questions.

    `given` has study, condition, outcome and `sd` in units of the scale; what is not a number of at least 0 is not judged.
    """
    sd_of = {tuple(place): sd for *place, sd in given.select(*PLACE, "sd").iter_rows()}
    ratios = np.full(len(part.cells), np.nan)
    for c, (cell, item) in enumerate(zip(part.cells, items, strict=True)):
        predicted = sd_of.get((cell.item.study_id, cell.item.condition, cell.item.outcome))
        levels = cell.levels_l.astype(float)
        human = float(standard_deviation(item.human_l, levels_l=levels)) * (levels[-1] - levels[0])
        if predicted is not None and np.isfinite(predicted) and predicted >= 0 and human > 0:
            ratios[c] = predicted / human
    if not np.isfinite(ratios[part.averaged_c]).any():
        return []
    key = Key("sd_ratio", None, EXACT, MODEL)
    part_values = PartValues(values={key: ratios}, replicates=None)
    return mean_rows(part, key, ratios, None) + quartile_rows(part, part_values)
