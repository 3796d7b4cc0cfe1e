"""What a notebook shows of stores' tables: short, with counts, without metadata."""

import polars as pl
from small import small_store

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


def test_a_store_shows_counts_and_splits_and_no_markup_of_its_deposit(tmp_path):
    store = small_store(tmp_path / "<b>store")
    assert "StudyStore(" in repr(store) and repr(store).endswith("splits: main)")
    assert f"{store.participants.height} people" in repr(store)
    shown = store._repr_html_()
    assert "<b>" not in shown and "&lt;b&gt;store" in shown
    assert f"<th>people</th><td>{store.participants.height:,}</td>" in shown and "<td>main</td>" in shown
