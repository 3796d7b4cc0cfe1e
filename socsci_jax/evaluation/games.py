"""Predictions of the built-in games (`studies/games.py`) become exact measures of rationality."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.estimation.games import Rationality, rationality
from socsci_jax.studies.games import GameItem, Role, game_items
from socsci_jax.wording import counted

MEASURES = tuple(field.name for field in dataclasses.fields(Rationality))


def game_table(predictions: pl.DataFrame) -> pl.DataFrame:
    """One row a game, case and persona: game, situation, case, participant_id, the measures, off_scale.

    `predictions` has the columns of a predictions table, exact or draws; the share of draws off the
    options stands in `off_scale`, the measures rest on the others.  Rows of other items are left alone; InputError
    where no game is among them, or a case lacks its action.
    """
    by_id = {one.item.item_id: one for one in game_items()}
    rows = predictions.filter(pl.col("item_id").is_in(list(by_id)))
    if rows.is_empty():
        raise InputError(
            "The predictions hold none of the built-in games; predict the items of `data build synthetic games`."
        )
    distributions: dict[tuple[str, str, str | None], dict[Role, tuple[np.ndarray, float]]] = {}
    for (item_id, person), group in rows.group_by("item_id", "participant_id", maintain_order=True):
        one = by_id[item_id]
        distributions.setdefault((one.game, one.case, person), {})[one.role] = _probabilities(one, group)
    actions = {(one.game, one.case): one for one in by_id.values() if one.role == "action"}
    table = []
    for (game, case, person), asked in distributions.items():
        if "action" not in asked:
            raise InputError(f"Game {game}, {case}: a belief was predicted, but no action; predict both.")
        one = actions[game, case]
        belief = asked.get("belief")
        measures = rationality(
            asked["action"][0],
            payoffs=np.array(one.payoffs),
            truth=np.array(one.truth),
            belief=None if belief is None else belief[0],
        )
        table.append(
            {
                "game": game,
                "situation": case.rsplit(", order", 1)[0],
                "case": case,
                "participant_id": person,
                **dataclasses.asdict(measures),
                "off_scale": float(np.mean([share for _, share in asked.values()])),
            }
        )
    frame = pl.DataFrame(table, schema_overrides={"participant_id": pl.String})
    return frame.with_columns(pl.col(pl.Float64).fill_nan(None))


def game_summary(table: pl.DataFrame) -> pl.DataFrame:
    """Means over orders of options and personas: a row a game and situation, n the number of decisions.

    `range` is how far `rational` moves with the order in which the options are listed: 0 for who reads them.
    """
    per_order = table.group_by("game", "situation", "case", maintain_order=True).agg(
        pl.len().alias("n"), *(pl.col(name).mean() for name in (*MEASURES, "off_scale"))
    )
    return per_order.group_by("game", "situation", maintain_order=True).agg(
        pl.col("n").sum(),
        *(pl.col(name).mean() for name in (*MEASURES, "off_scale")),
        (pl.col("rational").max() - pl.col("rational").min()).alias("range"),
    )


def _probabilities(one: GameItem, rows: pl.DataFrame) -> tuple[np.ndarray, float]:
    """Probabilities of the options in the order of the scale, and the share of draws off them."""
    levels = one.item.scale.levels
    place = {float(level): at for at, level in enumerate(levels)}
    total = np.zeros(len(levels))
    probs = rows["probs"].drop_nulls()
    if len(probs):
        if len(probs) > 1:
            raise InputError(
                f"Item {one.item.item_id}: {len(probs)} exact predictions of one persona; give one."
            )
        for level, probability in zip(rows.filter(pl.col("probs").is_not_null())["levels"][0], probs[0]):
            if float(level) not in place:
                raise InputError(f"Item {one.item.item_id}: level {level:g}, but its options are {levels}.")
            total[place[float(level)]] += probability
        return total, 0.0
    drawn = rows["value"].to_list()
    on_scale = [place[value] for value in drawn if value is not None and value in place]
    if not on_scale:
        raise InputError(
            f"Item {one.item.item_id}: none of {counted(len(drawn), 'draw')} is one of its options {levels}."
        )
    np.add.at(total, on_scale, 1 / len(on_scale))
    return total, 1 - len(on_scale) / len(drawn)
