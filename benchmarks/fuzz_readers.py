"""The fuzzed readers of stores and tables: how a whole input is made in a folder, and how it is read."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Reader:
    """`make` fills an empty folder with a whole input, `read` reads it from such a folder.

    `changes` are the files that are changed, a pattern within the folder.
    """

    name: str
    make: Callable[[Path], None]
    read: Callable[[Path], object]
    changes: str = "**/*"


# --- stores and tables ------------------------------------------------------------------------------------------------


def make_store(folder: Path) -> None:
    from data_pipelines.synthetic import studies
    from socsci_jax.studies.split_making import make_split

    store = studies.build(folder / "store", config=studies.PRESETS["small"], command="fuzz")
    make_split(store, name="main", seed=0, studies=0.3, conditions=0.3).save()


def _read_store(folder: Path) -> None:
    from socsci_jax.studies.inspect import inspect_store
    from socsci_jax.studies.splits import Split
    from socsci_jax.studies.store import StudyStore

    store = StudyStore(folder / "store")
    _ = store.responses, store.rejects, store.personas, store.item_by_id
    Split.load(store, "main").label()
    inspect_store(store)


def _read_store_with_hashes(folder: Path) -> None:
    """What whoever writes a store of their own can bring in: the hashes are right."""
    manifest = folder / "store" / "store.json"
    tree = json.loads(manifest.read_bytes())
    for path in (folder / "store").glob("*.parquet"):
        tree["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(tree))
    _read_store(folder)


def _read_split(folder: Path) -> None:
    from socsci_jax.studies.splits import Split
    from socsci_jax.studies.store import StudyStore

    store = StudyStore(folder / "store")
    Split.load(store, "main").label()


def _make_trained_on(folder: Path) -> None:
    from socsci_jax.studies.splits import Split
    from socsci_jax.studies.store import StudyStore
    from socsci_jax.studies.trained_on import TRAINED_ON_FILE, TrainedOn

    make_store(folder)
    store = StudyStore(folder / "store")
    train = Split.load(store, "main").training_responses()
    TrainedOn.of(store, train).write(folder / TRAINED_ON_FILE)


def _read_trained_on(folder: Path) -> None:
    from socsci_jax.studies.store import StudyStore
    from socsci_jax.studies.trained_on import TRAINED_ON_FILE, TrainedOn

    store = StudyStore(folder / "store")
    known = TrainedOn.read(folder / TRAINED_ON_FILE)
    _ = known.digest, known.label(store.pairs())
    known.resembling(store, store.studies["study_id"].to_list())


def _make_predictions(folder: Path) -> None:
    import polars as pl

    from socsci_jax.studies.store import StudyStore

    make_store(folder)
    store = StudyStore(folder / "store")
    rows = [
        {"item_id": i, "participant_id": None, "levels": list(item.scale.levels), "probs": [1 / n] * n}
        for i, item in store.item_by_id.items()
        if (n := len(item.scale.levels))
    ]
    frame = pl.DataFrame(rows, schema_overrides={"participant_id": pl.String})
    frame.write_parquet(folder / "p.parquet")
    lists = [
        pl.col(name).map_elements(lambda v: json.dumps(list(v)), pl.String) for name in ("levels", "probs")
    ]
    frame.with_columns(lists).write_csv(folder / "p.csv")


def _read_predictions(folder: Path) -> None:
    from socsci_jax.errors import InputError
    from socsci_jax.studies.predictions import read_predictions
    from socsci_jax.studies.store import StudyStore

    store, refused = StudyStore(folder / "store"), None
    for name in ("p.parquet", "p.csv"):
        try:
            read_predictions(folder / name, store)
        except InputError as error:
            refused = error
    if refused:
        raise refused


def _make_rationales(folder: Path) -> None:
    import polars as pl

    frame = pl.DataFrame(
        {"item_id": ["a", "b"], "participant_id": ["p", "p"], "rationale": ["Because.", "So."]}
    )
    frame.write_csv(folder / "r.csv")
    frame.write_parquet(folder / "r.parquet")


def _read_rationales(folder: Path) -> None:
    from socsci_jax.data.rationales import read_rationales

    for name in ("r.csv", "r.parquet"):
        read_rationales(folder / name, end=" ")


def _make_plain_tables(folder: Path) -> None:
    rows = [(f"p{i}", ("a", "b")[i % 2], 1 + i % 5) for i in range(24)]
    human = "".join(f"{who},{arm},warm,{value},1.5\n" for who, arm, value in rows)
    told = "".join(f"{who},{arm},warm,{1 + value % 5},unseen study\n" for who, arm, value in rows)
    (folder / "human.csv").write_text("participant_id,condition,outcome,value,weight\n" + human)
    (folder / "answers.csv").write_text("participant_id,condition,outcome,value,note\n" + told)
    (folder / "scales.yaml").write_text("warm: 1 to 5\n")


def _read_plain_tables(folder: Path) -> None:
    from socsci_jax.plain_tables import evaluate_tables

    evaluate_tables(folder / "answers.csv", folder / "human.csv", scales=folder / "scales.yaml")


def _make_estimates(folder: Path) -> None:
    people = [(f"p{i}", i % 2, 20 + i, 3 + i % 2 + (i * 7 % 5) / 3) for i in range(60)]
    predicted = "".join(f"{who},{arm},{age},{y + age % 3 / 10}\n" for who, arm, age, y in people)
    answered = "".join(f"{who},{y}\n" for who, _, _, y in people[:40])
    (folder / "predictions.csv").write_text("participant_id,treatment,age,prediction\n" + predicted)
    (folder / "gold.csv").write_text("participant_id,y\n" + answered)


def _read_estimates(folder: Path) -> None:
    from socsci_jax.rectification.rectify import rectify
    from socsci_jax.tables import read_table

    predictions, gold = (read_table(folder / name) for name in ("predictions.csv", "gold.csv"))
    rectify(predictions, gold, "y ~ treatment + age")


TABLE_READERS = (
    Reader("store", make_store, _read_store),
    Reader("store-with-hashes", make_store, _read_store_with_hashes, changes="store/*.parquet"),
    Reader("split", make_store, _read_split, changes="store/splits/*"),
    Reader("trained-on", _make_trained_on, _read_trained_on, changes="*.parquet"),
    Reader("predictions", _make_predictions, _read_predictions, changes="p.*"),
    Reader("plain-tables", _make_plain_tables, _read_plain_tables),
    Reader("estimates", _make_estimates, _read_estimates),
    Reader("rationales", _make_rationales, _read_rationales),
)
