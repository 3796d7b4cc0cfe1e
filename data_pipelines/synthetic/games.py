"""The built-in games as a study store, answered by one player who is rational.

The answers are what follows from the rules (the best option, the most probable move of the other player), so they
say what is right and not what people do: a store of them is for predicting, not for training.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from socsci_jax.studies.games import GameItem, game_items
from socsci_jax.studies.store import StudyStore
from socsci_jax.studies.store_builder import StoreBuilder

PRESET = "games"
PLAYER = "rational"


def build(out: Path, *, command: str, replace: bool = False) -> StudyStore:
    """Writes the store of all games; equal versions of the program write equal stores."""
    builder = StoreBuilder(
        attributes=("age",),  # a table needs a column; nothing is known of the player
        source="Invented by data_pipelines/synthetic/games.py",
        license="CC0-1.0",
        command=command,
        notes=["the one participant is not a person: its answers are the best replies"],
    )
    for number, one in enumerate(game_items()):
        study = one.item.study_id
        builder.add_study(study, title=study.replace("_", " "))
        builder.add_participant(study, PLAYER, {})
        builder.add_response(builder.add_item(one.item), PLAYER, best_answer(one), sample_id=number)
    return builder.write(out, replace=replace)


def best_answer(one: GameItem) -> float:
    """The level of the best option, or of the other player's most probable one; each is unique."""
    worth = np.array(one.truth) if one.role == "belief" else np.array(one.payoffs) @ np.array(one.truth)
    return float(one.item.scale.levels[int(np.argmax(worth))])
