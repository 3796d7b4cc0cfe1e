"""Controls that were trained on: without them, single held-out arms would have no effect to be judged by."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from socsci_jax.evaluation.answer_codes import controls_of
from socsci_jax.evaluation.baselines import Baselines
from socsci_jax.evaluation.cells import Cell, PredictionIndex, answers_by_item, level_codes
from socsci_jax.evaluation.items import ItemPredictions, item_predictions
from socsci_jax.evaluation.metrics.distributions import histogram
from socsci_jax.evaluation.parts import Part
from socsci_jax.evaluation.table import EXACT, MODEL, SAMPLED
from socsci_jax.studies.schema import Item
from socsci_jax.studies.splits import TRAIN


@dataclasses.dataclass(frozen=True)
class Controls:
    """Cells of control conditions in the training part, and what is predicted of them.

    Where the predictions table leaves a control out, one half of its people stands for what the model knows of it and
    the other half for people: the same people on both sides would make effects agree by their common error.
    """

    cells: tuple[Cell, ...]
    items: tuple[ItemPredictions, ...]


def trained_controls(
    part: Part,
    labeled: pl.DataFrame,
    item_by_id: Mapping[str, Item],
    index: PredictionIndex,
    baselines: Baselines,
) -> Controls:
    """The controls of outcomes of this part that have arms here and their control in the training part."""
    here = {(c.item.study_id, c.item.outcome, c.item.scale.levels) for c in part.cells}
    having = {(c.item.study_id, c.item.outcome, c.item.scale.levels) for c in part.cells if c.item.is_control}
    missing = here - having
    controls = labeled.filter(
        pl.col("part") == TRAIN,
        pl.col("item_id").is_in(controls_of(item_by_id)),
        pl.col("study_id").is_in({study for study, *_ in missing}),
    )
    cells, items = [], []
    for item_id, rows in answers_by_item(controls):
        item = item_by_id[item_id]
        if (item.study_id, item.outcome, item.scale.levels) not in missing:
            continue
        rng = part.rng(f"control {item_id}")
        cell = index.cell(item_id, item, rows) if item_id in index else None
        if cell is not None:
            predicted = item_predictions(cell, baselines, rng=rng, pilot_rng=rng)
        else:
            halved = _halved(part, item_id, item, rows, rng, others=baselines.of_models)
            if halved is None:
                continue
            cell, predicted = halved
        cells.append(cell)
        items.append(predicted)
    return Controls(tuple(cells), tuple(items))


def _halved(
    part: Part,
    item_id: str,
    item: Item,
    answers: pl.DataFrame,
    rng: np.random.Generator,
    *,
    others: Sequence[str],
) -> tuple[Cell, ItemPredictions] | None:
    levels = np.asarray(item.scale.levels)
    codes = level_codes(answers["value"].to_numpy(), levels)
    kept = np.flatnonzero(codes >= 0)
    if kept.size < 2 * part.minimum_n:
        return None
    order = rng.permutation(kept)
    known, judged = order[: kept.size // 2], order[kept.size // 2 :]
    people = answers["participant_id"].to_list()
    model_l = histogram(codes[known], levels=levels.size)
    human_l = histogram(codes[judged], levels=levels.size)
    cell = Cell(
        item_id=item_id,
        item=item,
        levels_l=levels,
        codes_n=codes[judged],
        people_n=tuple(people[i] for i in judged),
        weights_n=None,
        probs_nl=None,
        draws_nl=np.broadcast_to(model_l, (judged.size, levels.size)),
        sampled=codes[known],
        draws=0,
        draws_valid=0,
        mass_on_levels=float("nan"),
        answers_without_prediction=0,
        answers_off_scale=0,
        alternatives=None,
    )
    single = {EXACT: {MODEL: model_l}, SAMPLED: {MODEL: model_l}}
    same = dict.fromkeys(others, model_l)
    return cell, ItemPredictions(human_l=human_l, single=single, samples={}, baselines=same)


def with_controls(
    part: Part, items: Sequence[ItemPredictions], controls: Controls
) -> tuple[list[Cell], list[ItemPredictions]]:
    """The part's cells and items, followed by the controls."""
    return [*part.cells, *controls.cells], [*items, *controls.items]
