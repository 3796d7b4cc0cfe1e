"""What a store holds in little memory and reads a piece at a time is what it would be in one piece."""

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small import rehash, small_store

from socsci_jax import bounds, tables
from socsci_jax.errors import InputError
from socsci_jax.studies import fingerprints, packed_texts, trained_on
from socsci_jax.studies.packed_texts import PackedTexts
from socsci_jax.studies.splits import Split
from socsci_jax.studies.store import StudyStore
from socsci_jax.studies.trained_on import TrainedOn
from socsci_jax.tables import read_parquet_pieces

COLUMNS = ("first", "second")
ROWS = [(f"{k} ä中", "" if k % 3 else "x" * k) for k in range(50)]


def pieces(sizes):
    start = 0
    for size in sizes:
        some = ROWS[start : start + size]
        yield pa.table({name: [row[i] for row in some] for i, name in enumerate(COLUMNS)})
        start += size


@pytest.mark.parametrize("sizes", [(50,), (7, 0, 20, 23), (16, 16, 16, 2), (1,) * 50])
def test_packed_texts_come_back_from_anywhere(monkeypatch, sizes):
    monkeypatch.setattr(packed_texts, "ROWS_TOGETHER", 8)
    packed = PackedTexts(pieces(sizes), columns=COLUMNS)
    assert list(packed) == ROWS
    order = np.random.default_rng(0).permutation(len(ROWS)).tolist()
    assert [packed[row] for row in order] == [ROWS[row] for row in order]


@pytest.mark.parametrize("small", [0, bounds.SMALL_TABLE_BYTES])
def test_items_read_in_pieces_are_those_of_the_table(tmp_path, monkeypatch, small):
    monkeypatch.setattr(tables, "BATCH_ROWS", 5)
    monkeypatch.setattr(bounds, "SMALL_TABLE_BYTES", small)
    store = small_store(tmp_path / "store")
    whole = store.items.select("study_id", "condition", "outcome", "stimulus", "question", "answer_format")
    assert store.item_places.equals(store.items.select(store.item_places.columns))
    assert list(store.item_by_id) == store.items["item_id"].to_list()
    found = [
        (i.study_id, i.condition, i.outcome, i.stimulus, i.question, i.answer_format)
        for i in store.item_by_id.values()
    ]
    assert found == whole.rows()
    assert list(store.item_by_id.texts) == whole.select("stimulus", "question", "answer_format").rows()
    assert [len(s.levels) for s in store.item_by_id.scales.values()] == [5, 101] * (len(found) // 2)


def test_answers_are_read_without_the_items_texts(tmp_path, monkeypatch):
    store = small_store(tmp_path / "store")
    asked = []

    def reading(path, schema, **settings):
        asked.extend(settings.get("columns") or schema.names)
        return tables.read_parquet(path, schema, **settings)

    monkeypatch.setattr("socsci_jax.studies.store.read_parquet", reading)
    monkeypatch.setattr("socsci_jax.studies.splits.read_parquet", reading)
    Split.load(StudyStore(store.path), "main").label()
    assert "condition" in asked and not {"stimulus", "scale"} & set(asked)


@pytest.mark.parametrize("small", [0, bounds.SMALL_TABLE_BYTES])
def test_an_empty_text_is_named_by_its_row_in_the_file(tmp_path, monkeypatch, small):
    monkeypatch.setattr(tables, "BATCH_ROWS", 5)
    monkeypatch.setattr(bounds, "SMALL_TABLE_BYTES", small)
    store = small_store(tmp_path / "store")
    question = store.items["question"].to_list()
    question[13] = None
    store.items.with_columns(question=pl.Series(question)).write_parquet(store.path / "items.parquet")
    rehash(store.path)
    with pytest.raises(InputError, match=r"items\.parquet, row 13: column 'question' is empty"):
        _ = StudyStore(store.path).item_by_id


def test_a_missing_column_is_named_when_the_places_of_items_are_read(tmp_path):
    store = small_store(tmp_path / "store")
    store.items.drop("question").write_parquet(store.path / "items.parquet")
    rehash(store.path)
    with pytest.raises(InputError, match=r"items\.parquet: column 'question' is missing"):
        _ = StudyStore(store.path).responses


def test_a_small_table_that_stands_for_very_much_is_refused_in_pieces_as_well(tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "TABLE_BYTES", 32 * bounds.MIB)
    path = tmp_path / "a.parquet"
    item = pa.DictionaryArray.from_arrays(np.zeros(2_000, np.int32), ["x" * 10**5])
    pq.write_table(pa.table({"item": item}), path, compression="zstd")
    schema = pa.schema([("item", pa.string())])
    with pytest.raises(InputError, match="bytes of memory"):
        list(read_parquet_pieces(path, schema, hint="write it again", columns=["item"]))


def test_fingerprints_and_their_hash_do_not_depend_on_how_many_studies_are_taken_at_a_time(
    tmp_path, monkeypatch
):
    store = small_store(tmp_path / "store")
    train = Split.load(store, "main").training_responses()
    whole = TrainedOn.of(store, train)
    digest = whole.digest
    monkeypatch.setattr(fingerprints, "STUDIES_AT_A_TIME", 1)
    monkeypatch.setattr(trained_on, "ROWS_AT_A_TIME", 3)
    again = TrainedOn.of(store, train)
    assert again.frame.equals(whole.frame)
    assert again.digest == digest
    everybody = fingerprints.fingerprints_of(store, fingerprints.item_rows(store))
    assert everybody.height == store.participants.height
