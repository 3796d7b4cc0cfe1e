"""What a notebook shows of stores' tables: short, with counts, without metadata."""

import polars as pl

from socsci_jax.studies.predictions import Predictions
from socsci_jax.studies.splits import Split


def test_predictions_show_items_and_personas_but_no_metadata():
    frame = pl.DataFrame({"item_id": ["a", "a", "b", "b"], "participant_id": ["p", "q", "p", "q"]})
    shown = repr(Predictions(frame=frame, metadata={"secret": 1}))
    assert shown == "Predictions(2 items × 2 personas, 4 rows)"


def test_a_split_shows_its_parts_with_counts():
    held_out = pl.DataFrame({"part": ["unseen_studies", "unseen_participants", "unseen_studies"]})
    shown = repr(Split(name="s", seed=3, store=None, held_out=held_out))
    assert shown == "Split('s', seed 3; held-out units: unseen_participants: 1, unseen_studies: 2)"
