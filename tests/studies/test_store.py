"""The study store: what goes in comes out, nothing is lost, nothing half-written stays."""

import dataclasses
import json
import re

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small import rehash, small_item, small_store

from socsci_jax.errors import InputError
from socsci_jax.studies.inspect import inspect_store
from socsci_jax.studies.schema import Scale
from socsci_jax.studies.split_making import make_split
from socsci_jax.studies.splits import Split
from socsci_jax.studies.store import TABLES, StudyStore
from socsci_jax.studies.store_builder import StoreBuilder


def builder() -> StoreBuilder:
    made = StoreBuilder(attributes=("age",), source="here", license="CC0", command="test")
    made.add_study("s", title="A study")
    made.add_participant("s", "p", {"age": 34})
    return made


SCALE = Scale.of_levels({1: "Oppose", 2: "", 3: "Support"}, origin="stated")


def test_an_item_comes_back_as_it_was_written(tmp_path):
    made = builder()
    item = small_item("s", "arm", "taxes", SCALE)
    item_id = made.add_item(item)
    made.add_response(item_id, "p", 3, sample_id=0)
    store = made.write(tmp_path / "store")
    assert store.item_by_id == {item_id: item}
    assert store.responses.row(0, named=True) == {
        "item_id": item_id,
        "participant_id": "p",
        "value": 3.0,
        "sample_id": 0,
        "weight": None,
    }
    assert store.participants.row(0, named=True)["attributes"] == {"age": "34"}


def test_a_scale_without_an_order_comes_back_as_one_and_is_shown_as_one(tmp_path):
    made = builder()
    nominal = Scale.of_levels({1: "Economy", 2: "Welfare"}, origin="codebook", nominal=True)
    item_id = made.add_item(small_item("s", "arm", "topic", nominal))
    made.add_response(item_id, "p", 2, sample_id=0)
    store = made.write(tmp_path / "store")
    assert store.item_by_id[item_id].scale == nominal
    assert inspect_store(store).scales["kind"].to_list() == ["nominal"]
    with pytest.raises(ValueError, match="has no levels"):
        Scale(kind="open", nominal=True)


def test_people_of_whom_nothing_is_known_are_stored(tmp_path):
    made = StoreBuilder(attributes=(), source="here", license="CC0", command="test")
    made.add_study("s")
    made.add_participant("s", "p", {})
    item_id = made.add_item(small_item("s", "arm", "taxes", SCALE))
    made.add_response(item_id, "p", 3, sample_id=0)
    store = StudyStore(made.write(tmp_path / "store").path)
    assert store.attributes == ()
    assert store.participants["participant_id"].to_list() == ["p"]


def test_an_answer_outside_its_scale_is_rejected_with_the_reason(tmp_path):
    made = builder()
    item_id = made.add_item(small_item("s", "arm", "taxes", SCALE))
    assert made.add_response(item_id, "p", 3, sample_id=0)
    assert not made.add_response(item_id, "p", 98, sample_id=1)
    store = made.write(tmp_path / "store")
    assert store.responses.height == 1
    reject = store.rejects.row(0, named=True)
    assert reject["reason"] == "answer outside its scale"
    assert json.loads(reject["record"])["value"] == 98
    assert inspect_store(store).rejects.rows() == [("response", "answer outside its scale", 1)]


def test_an_item_without_answers_is_listed_among_the_rejects(tmp_path):
    made = builder()
    made.add_response(made.add_item(small_item("s", "a", "taxes", SCALE)), "p", 1, sample_id=0)
    made.add_item(small_item("s", "b", "taxes", SCALE))
    store = made.write(tmp_path / "store")
    assert store.items["condition"].to_list() == ["a"]
    assert store.rejects["reason"].to_list() == ["item without answers"]


def test_people_without_an_answer_that_was_kept_are_counted(tmp_path):
    made = builder()
    item_id = made.add_item(small_item("s", "arm", "taxes", SCALE))
    for person, answer in (("p", 1), ("off the scale", 98)):
        made.add_participant("s", person, {})
        made.add_response(item_id, person, answer, sample_id=0)
    made.add_participant("s", "silent", {})
    store = made.write(tmp_path / "store")
    assert store.participants["participant_id"].to_list() == ["p"]
    assert store.manifest["notes"] == ["2 participants without an answer that was kept, not in the store"]


def test_equal_content_has_an_equal_hash_and_other_content_another(tmp_path):
    hashes = [
        small_store(tmp_path / str(i), studies=2, seed=seed).content_hash for i, seed in enumerate((0, 0, 1))
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_nothing_is_left_behind_when_no_answer_could_be_read(tmp_path):
    made = builder()
    made.reject("response", place="file:1", reason="not a number")
    with pytest.raises(InputError, match=r"not one answer could be read.*not a number"):
        made.write(tmp_path / "store")
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_not_overwritten_unasked(tmp_path):
    small_store(tmp_path / "store")
    with pytest.raises(InputError, match="exists already"):
        small_store(tmp_path / "store")


def test_a_missing_column_is_named_with_its_file(tmp_path):
    store = small_store(tmp_path / "store")
    store.items.drop("question").write_parquet(store.path / "items.parquet")
    rehash(store.path)
    with pytest.raises(InputError, match=r"items\.parquet: column 'question' is missing"):
        _ = StudyStore(store.path).items


@pytest.mark.parametrize("table", [name for name in TABLES if name != "rejects"])
@pytest.mark.parametrize(
    "other", [pl.lit(None), pl.lit(2**62), pl.struct(a=1)], ids=["null", "number", "struct"]
)
def test_a_column_of_other_values_is_read_or_refused_in_one_sentence(tmp_path, table, other):
    store = small_store(tmp_path / "store", studies=2, people=3)
    whole = getattr(store, table)
    for column in whole.columns:
        whole.with_columns(other.alias(column)).write_parquet(store.path / f"{table}.parquet")
        rehash(store.path)
        try:
            inspect_store(StudyStore(store.path))
            make_split(StudyStore(store.path), name="x", seed=0, studies=0.5)
        except InputError as error:
            assert re.match(r".*\.parquet", str(error)) and len(str(error)) < 400


def test_a_truncated_table_is_named(tmp_path):
    store = small_store(tmp_path / "store")
    path = store.path / "responses.parquet"
    path.write_bytes(path.read_bytes()[:100])
    rehash(store.path)
    with pytest.raises(InputError, match=r"responses\.parquet: not a readable table"):
        _ = StudyStore(store.path).responses


def test_arms_that_state_different_scales_are_reported(tmp_path):
    made = builder()
    for condition, hi in (("a", 5), ("b", 7)):
        scale = Scale.of_levels(range(1, hi + 1), origin="stated")
        made.add_response(made.add_item(small_item("s", condition, "taxes", scale)), "p", 1, sample_id=hi)
    found = inspect_store(made.write(tmp_path / "store")).disagreements
    assert found.rows() == [("s", "taxes", 2, "1 to 5; 1 to 7")]


def test_one_flipped_bit_in_any_table_is_noticed(tmp_path):
    store = small_store(tmp_path / "store", studies=2, people=3)
    rng = np.random.default_rng(0)
    for name in TABLES:
        path = store.path / f"{name}.parquet"
        content = path.read_bytes()
        for bit in rng.integers(8 * len(content), size=40):
            flipped = bytearray(content)
            flipped[bit // 8] ^= 1 << (bit % 8)
            path.write_bytes(flipped)
            with pytest.raises(
                InputError, match=rf"{name}\.parquet: this file is not the one that was written"
            ):
                getattr(StudyStore(store.path), name)
        path.write_bytes(content)


def test_one_flipped_bit_in_a_split_that_changes_a_value_is_noticed(tmp_path):
    store = small_store(tmp_path / "store", studies=2, people=3)
    path = store.path / "splits" / "main.parquet"
    content, whole = path.read_bytes(), pq.read_table(path)
    changed = 0
    for bit in np.random.default_rng(0).integers(8 * len(content), size=60):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << (bit % 8)
        try:
            same = pq.read_table(pa.BufferReader(bytes(flipped))).equals(whole)
        except (OSError, pa.ArrowException):
            same = False
        if not same:
            path.write_bytes(flipped)
            with pytest.raises(InputError):
                Split.load(store, "main")
            changed += 1
    assert changed > 20


def test_what_has_not_been_asked_yet_can_be_kept(tmp_path):
    made = StoreBuilder(attributes=("age",), source="x", license="x", command="x", keeps_unanswered=True)
    made.add_study("s")
    made.add_participant("s", "p", {"age": "34"})
    made.add_participant("s", "q", {"age": None})
    item_id = made.add_item(small_item("s", "c", "taxes", SCALE))
    store = made.write(tmp_path / "store")
    assert store.responses.is_empty() and store.item_by_id[item_id].outcome == "taxes"
    pairs = store.pairs()
    assert pairs.frame.rows() == [(item_id, "s", "p"), (item_id, "s", "q")]
    assert pairs.personas["s", "p"] == {"age": "34"}


def test_replacing_a_store_keeps_its_splits(tmp_path):
    store = small_store(tmp_path / "store")
    splits = sorted(path.name for path in (store.path / "splits").iterdir())
    made = builder()
    made.add_response(made.add_item(small_item("s", "arm", "taxes", SCALE)), "p", 3, sample_id=0)
    made.write(store.path, replace=True)
    assert splits and sorted(path.name for path in (store.path / "splits").iterdir()) == splits
    assert StudyStore(store.path).responses.height == 1


def test_a_store_that_holds_something_else_is_not_replaced(tmp_path):
    store = small_store(tmp_path / "store")
    (store.path / "my_run").mkdir()
    made = builder()
    made.add_response(made.add_item(small_item("s", "arm", "taxes", SCALE)), "p", 3, sample_id=0)
    with pytest.raises(InputError, match="holds 'my_run'"):
        made.write(store.path, replace=True)
    assert StudyStore(store.path).content_hash == store.content_hash


@pytest.mark.parametrize(
    ("table", "column", "value", "found"),
    [
        ("responses", "item_id", "nowhere", "unknown item_id"),
        ("responses", "participant_id", "nobody", "unknown participant_id"),
        ("items", "study_id", "no study", "unknown study_id"),
        ("items", "item_id", "twice", "is there twice"),
        ("responses", "value", float("nan"), "value is not a number"),
    ],
)
def test_what_tables_say_of_each_other_is_checked(tmp_path, table, column, value, found):
    path = small_store(tmp_path / "store").path / f"{table}.parquet"
    frame = pl.read_parquet(path)
    rows = [value, value, *frame[column][2:]] if value == "twice" else [value, *frame[column][1:]]
    written = pq.read_table(path)
    changed = pa.array(rows, written.schema.field(column).type)
    pq.write_table(written.set_column(written.column_names.index(column), column, changed), path)
    rehash(path.parent)
    with pytest.raises(InputError, match=found):
        _ = StudyStore(path.parent).responses


@pytest.mark.parametrize(
    ("content", "found"),
    [(b"[1]", "a JSON object was expected"), (b"\xff", "not UTF-8"), (b"{}", "schema version None")],
)
def test_a_damaged_manifest_is_one_sentence(tmp_path, content, found):
    store = small_store(tmp_path / "store")
    (store.path / "store.json").write_bytes(content)
    with pytest.raises(InputError, match=found):
        StudyStore(store.path)


def test_a_manifest_without_a_hash_names_the_key(tmp_path):
    path = small_store(tmp_path / "store").path / "store.json"
    path.write_text(
        json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "content_hash"})
    )
    with pytest.raises(InputError, match="content_hash is None"):
        StudyStore(path.parent)


@pytest.mark.parametrize("key", ["content_hash", "source", "notes", "rows", "files", "command"])
def test_a_manifest_of_which_anything_changed_is_refused(tmp_path, key):
    path = small_store(tmp_path / "store").path / "store.json"
    manifest = json.loads(path.read_text())
    manifest[key] = [*manifest[key], "more"] if key == "notes" else type(manifest[key])()
    path.write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="not as it was written"):
        StudyStore(path.parent)


def test_an_inspection_lists_what_is_known_of_people_in_the_store_s_words(tmp_path):
    made = StoreBuilder(attributes=("gender", "age"), source="here", license="CC0", command="test")
    made.add_study("s")
    item_id = made.add_item(small_item("s", "arm", "taxes", SCALE))
    for person, gender, age in (("p", "Male", "34 years"), ("q", "Female", None), ("r", "Female", None)):
        made.add_participant("s", person, {"gender": gender, "age": age})
        made.add_response(item_id, person, 3, sample_id=0)
    found = inspect_store(made.write(tmp_path / "store")).attributes
    assert found.rows() == [("gender", 3, 2, "Female | Male"), ("age", 1, 1, "34 years")]


def test_an_inspection_counts_the_answers_that_are_alternatives(tmp_path):
    made = builder()
    scale = Scale.of_levels({1: "no", 2: "yes"}, origin="codebook", alternatives={98: "Don't know"})
    item_id = made.add_item(small_item("s", "arm", "taxes", scale))
    for sample, value in enumerate((1, 98)):
        assert made.add_response(item_id, "p", value, sample_id=sample)
    found = inspect_store(made.write(tmp_path / "store")).scales
    assert found.select("responses", "alternatives").rows() == [(2, 1)]


def test_items_with_equal_scales_share_one_and_keep_their_factors(tmp_path):
    builder = StoreBuilder(attributes=(), source="s", license="l", command="c")
    builder.add_study("s")
    builder.add_participant("s", "p", {})
    for arm, factors in (("a", {"tone": "plain", "source": "friend"}), ("b", {"tone": "warm"}), ("c", {})):
        item = dataclasses.replace(
            small_item("s", arm, "o", Scale.of_levels(range(1, 6), origin="stated")), factors=factors
        )
        builder.add_response(builder.add_item(item), "p", 1, sample_id=0)
    items = builder.write(tmp_path / "store").item_by_id
    a, b, c = items.values()
    assert a.scale is b.scale is c.scale
    assert (a.factors, b.factors, c.factors) == ({"tone": "plain", "source": "friend"}, {"tone": "warm"}, {})
    assert items == {item.item_id: item for item in (a, b, c)}
