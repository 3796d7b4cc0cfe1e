"""Building a study store from the published SocSci210 tables."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from socsci210_release import persona, row, write_lines, write_shards

from benchmarks.fuzz import READERS
from data_pipelines.archives import socsci210, socsci210_files
from socsci_jax.errors import InputError
from socsci_jax.studies.layouts import PERSONA_FIRST
from socsci_jax.studies.schema import SOCSCI210_ATTRIBUTES
from socsci_jax.studies.splits import Split
from socsci_jax.studies.store import StudyStore


def build(source: Path) -> StudyStore:
    return socsci210.build(source, source.parent / f"{source.name}-store", command="test")


def test_parquet_shards_and_json_lines_give_the_same_store(tmp_path: Path) -> None:
    rows = [row(0), row(1, condition_num=1, demographic=persona(age=20)), row(2, task_num=1, participant=0)]
    lines = build(write_lines(tmp_path / "lines", rows))
    shards = build(write_shards(tmp_path / "shards", rows[:2], rows[2:]))
    assert lines.content_hash == shards.content_hash
    assert lines.manifest["rows"] == {
        "studies": 1,
        "items": 3,
        "participants": 2,
        "responses": 3,
        "rejects": 0,
    }


def test_an_item_is_made_unique_by_its_text(tmp_path: Path) -> None:
    store = build(
        write_lines(tmp_path / "in", [row(0), row(1), row(2, told="Only return an integer from 1 to 9.")])
    )
    assert sorted(item.scale.hi for item in store.item_by_id.values()) == [5, 9]
    assert {(item.condition, item.outcome) for item in store.item_by_id.values()} == {("0", "0")}


def test_unknown_attributes_stay_null_and_keep_their_order(tmp_path: Path) -> None:
    store = build(
        write_shards(tmp_path / "in", [row(0, demographic=persona(age=34, party_id="Lean Democrat"))])
    )
    attributes = store.participants["attributes"][0]
    assert tuple(attributes) == SOCSCI210_ATTRIBUTES == store.attributes
    assert {k: v for k, v in attributes.items() if v is not None} == {
        "age": "34",
        "party_id": "Lean Democrat",
    }


def test_the_rationale_never_enters_the_store(tmp_path: Path) -> None:
    rows = [row(0), row(1, response=77), row(2, response=None), row(3, prompt="other")]
    store = build(write_lines(tmp_path / "in", rows))
    tables = (store.studies, store.items, store.participants, store.responses, store.rejects)
    assert "SECRET" not in json.dumps([table.to_dicts() for table in tables]) + json.dumps(store.manifest)


def test_the_prompt_is_given_back_verbatim(tmp_path: Path) -> None:
    published = [
        row(i, demographic=persona(age=30 + i, housing_type="A boat"), condition_num=i) for i in range(4)
    ]
    assert_prompts_equal(build(write_lines(tmp_path / "in", published)), published)


def test_real_prompts_are_given_back_verbatim(shared_data: Path, tmp_path: Path) -> None:
    file = shared_data / "socsci210" / "9nphm_first34.jsonl"
    store = socsci210.build(file, tmp_path / "store", command="test")
    assert store.manifest["notes"] == []
    assert_prompts_equal(store, [json.loads(line) for line in file.read_text().splitlines()])


def assert_prompts_equal(store: StudyStore, published: list[dict]) -> None:
    attributes = dict(store.participants.select("participant_id", "attributes").iter_rows())
    answers = {r["sample_id"]: r for r in store.responses.iter_rows(named=True)}
    for record in published:
        answer = answers[record["sample_id"]]
        item = store.item_by_id[answer["item_id"]]
        assert (
            PERSONA_FIRST.prompt(item=item, attributes=attributes[answer["participant_id"]])
            == record["prompt"]
        )
        assert answer["value"] == record["response"]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (row(1, response=6), "answer outside its scale"),
        (row(1, response=None), "response missing or of the wrong type"),
        (row(1, response="four"), "response missing or of the wrong type"),
        (row(1, stimuli=None), "stimuli missing or of the wrong type"),
        (row(1, prompt="Another question?"), "the published prompt does not end with the stimuli text"),
        (row(0), "(study_id, sample_id) was seen before"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_used_is_rejected_with_its_place(bad: dict, reason: str, tmp_path: Path) -> None:
    store = build(write_lines(tmp_path / "in", [row(0), bad]))
    assert store.responses["sample_id"].to_list() == [0]
    assert store.rejects.select("place", "reason").rows() == [("rows.jsonl:2", reason)]


def test_a_negative_answer_to_a_scale_without_upper_end_is_rejected(tmp_path: Path) -> None:
    told = "Only return a non-negative integer."
    store = build(write_lines(tmp_path / "in", [row(0, told=told), row(1, told=told, response=-5)]))
    assert store.rejects["reason"].to_list() == ["answer outside its scale"]


def test_a_broken_line_is_rejected(tmp_path: Path) -> None:
    folder = write_lines(tmp_path / "in", [row(0)])
    (folder / "rows.jsonl").open("a").write('{"sample_id": \n')
    assert build(folder).rejects["place"].to_list() == ["rows.jsonl:2"]


def test_places_count_the_rows_of_a_shard_across_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socsci210_files, "BATCH_ROWS", 2)
    rows = [row(i, response=9 if i == 4 else 1) for i in range(6)]
    assert build(write_shards(tmp_path / "in", rows)).rejects["place"].to_list() == ["train-00000.parquet:5"]


def test_answers_to_an_unreadable_scale_stay_and_are_counted(tmp_path: Path) -> None:
    told = "Only return what you think."
    store = build(write_lines(tmp_path / "in", [row(0), row(1, told=told), row(2, told=told, response=900)]))
    assert len(store.responses) == 3
    assert sorted(item.scale.kind for item in store.item_by_id.values()) == ["levels", "unknown"]
    assert store.manifest["notes"][0].startswith("1 item (2 answers) without a scale")


def test_a_prompt_with_another_persona_is_kept_and_noted(tmp_path: Path) -> None:
    record = row(0)
    other = record | {"sample_id": 1, "prompt": record["prompt"].replace("- Age: 41", "- Age: 42")}
    store = build(write_lines(tmp_path / "in", [record, other]))
    assert len(store.responses) == 2
    assert re.match(r"1 published prompts differ .*rows\.jsonl:2", store.manifest["notes"][0])


def test_a_participant_who_comes_back_as_somebody_else_is_noted(tmp_path: Path) -> None:
    rows = [row(0, participant=7), row(1, participant=7, demographic=persona(age=20))]
    store = build(write_lines(tmp_path / "in", rows))
    assert store.participants["attributes"][0]["age"] == "41"
    assert "another persona" in store.manifest["notes"][0]


def test_a_missing_column_names_file_and_column(tmp_path: Path) -> None:
    record = row(0)
    del record["task_num"]
    with pytest.raises(InputError, match=r"rows\.jsonl:1: missing columns 'task_num'; found"):
        build(write_lines(tmp_path / "lines", [record]))
    with pytest.raises(InputError, match=r"train-00000\.parquet: missing columns 'task_num'; found"):
        build(write_shards(tmp_path / "shards", [record]))


def test_the_reasoning_column_may_be_absent(tmp_path: Path) -> None:
    record = row(0)
    del record["reasoning"]
    assert len(build(write_shards(tmp_path / "in", [record])).responses) == 1


def test_an_attribute_that_is_not_published_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has the field 'sex'"):
        build(write_lines(tmp_path / "in", [row(0, demographic={"sex": "Male"})]))


def test_a_source_without_tables_or_a_place_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"neither \*\.parquet nor \*\.jsonl"):
        build(tmp_path)
    with pytest.raises(InputError, match="no such file or folder"):
        build(tmp_path / "nowhere")


def test_a_hub_id_that_cannot_be_fetched_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    with pytest.raises(InputError, match=r"organization/name: .*could not be fetched.*no network"):
        socsci210.build(Path("organization/name"), tmp_path / "store", command="test")


def test_a_hub_id_is_fetched_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_shards(tmp_path / "snapshot", [row(0)])
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(folder))
    store = socsci210.build(Path("organization/name"), tmp_path / "store", command="test")
    assert len(store.responses) == 1


def test_the_published_holdouts_become_splits(tmp_path: Path) -> None:
    rows = [row(i, condition_num=i % 2, task_num=i // 2) for i in range(4)] + [row(0, study_id="fghij")]
    folder = write_lines(tmp_path / "in", rows)
    (folder / "metadata").mkdir()
    mappings = {
        "participant_mapping": {"seen": ["abcde"], "unseen": ["fghij", "zzzzz"]},
        "condition_mapping": {
            "abcde": {"train": [0, 2], "eval": [1, 3]},
            "fghij": {"train": [0], "eval": []},
        },
        "task_mapping": {"abcde": {"train": [0, 1], "eval": [2, 3]}},
    }
    for name, mapping in mappings.items():
        (folder / "metadata" / f"{name}.json").write_text(json.dumps(mapping))
    store = build(folder)
    assert Split.load(store, "published_studies").units("unseen_studies").rows() == [("fghij",)]
    assert Split.load(store, "published_conditions").units("unseen_conditions").rows() == [("abcde", "1")]
    assert Split.load(store, "published_outcomes").units("unseen_outcomes").rows() == [("abcde", "1")]


def test_a_condition_on_both_sides_is_held_out_whole_and_noted(tmp_path: Path) -> None:
    folder = write_lines(tmp_path / "in", [row(0), row(1), row(2, condition_num=1)])
    (folder / "metadata").mkdir()
    (folder / "metadata" / "condition_mapping.json").write_text('{"abcde": {"train": [0, 2], "eval": [1]}}')
    split = Split.load(build(folder), "published_conditions")
    assert split.units("unseen_conditions").rows() == [("abcde", "0")]
    assert split.notes == ("1 condition has answers on both sides and is held out whole",)


def test_a_mapping_of_another_form_is_an_error(tmp_path: Path) -> None:
    folder = write_lines(tmp_path / "in", [row(0)])
    (folder / "metadata").mkdir()
    (folder / "metadata" / "task_mapping.json").write_text('{"abcde": [1, 2]}')
    with pytest.raises(InputError, match=r"task_mapping\.json: study 'abcde' needs the keys"):
        build(folder)


def lines_store(tmp_path: Path, *lines: str | bytes) -> StudyStore:
    """A store from one whole record and the given lines."""
    folder = write_lines(tmp_path / "in", [row(0)])
    with (folder / "rows.jsonl").open("ab") as file:
        for line in lines:
            file.write((line if isinstance(line, bytes) else line.encode()) + b"\n")
    return build(folder)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"sample_id": "caf\xe9"}', "not UTF-8"),
        ("7", "instead of a JSON object"),
        ('{"a": 1, "a": 2}', "given twice"),
        ("{}", "missing columns"),
        (json.dumps(row(1, response=10**30)), "response missing or of the wrong type"),
        (json.dumps(row(1, response=2.5)), "response missing or of the wrong type"),
        (json.dumps(row(1) | {"demographic": 7}), "an object of attributes is needed"),
        (json.dumps(row(1) | {"demographic": {"age": [3]}}), "a text or number is needed"),
        (json.dumps(row(1) | {"demographic": {"shoe_size": 3}}), "has the field 'shoe_size'"),
    ],
)
def test_a_damaged_record_among_good_ones_is_rejected_and_counted(line, reason, tmp_path: Path) -> None:
    store = lines_store(tmp_path, line, json.dumps(row(2)))
    assert store.responses["sample_id"].to_list() == [0, 2]
    ((place, said),) = store.rejects.select("place", "reason").rows()
    assert place == "rows.jsonl:2" and reason in said


def test_a_byte_order_mark_costs_no_record(tmp_path: Path) -> None:
    folder = write_lines(tmp_path / "in", [row(0), row(1)])
    path = folder / "rows.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert build(folder).responses["sample_id"].to_list() == [0, 1]


def test_whole_numbers_written_as_floats_are_integers_in_every_format(tmp_path: Path) -> None:
    rows = [row(0, response=3.0, demographic=persona(age=34.0)), row(1, response=2.5)]
    lines = build(write_lines(tmp_path / "lines", rows))
    folder = tmp_path / "shards"
    folder.mkdir()
    demographic = pa.struct([("age", pa.float64())])
    columns = {name: pa.array([r[name] for r in rows]) for name in rows[0] if name != "demographic"}
    columns["demographic"] = pa.array([{"age": 34.0}, {"age": None}], demographic)
    pq.write_table(pa.table(columns), folder / "rows.parquet")
    for store in (lines, build(folder)):
        assert store.responses["value"].to_list() == [3]
        assert store.participants["attributes"][0]["age"] == "34"
        assert store.rejects["reason"].to_list() == ["response missing or of the wrong type"]


def test_an_age_with_a_fraction_stays_what_it_is(tmp_path: Path) -> None:
    store = build(write_lines(tmp_path / "in", [row(0, demographic=persona(age=34.5))]))
    assert store.participants["attributes"][0]["age"] == "34.5"


def test_what_is_not_known_of_a_person_is_left_out_whatever_the_file_writes(tmp_path: Path) -> None:
    unknown = persona(age=float("nan"), gender="", income="NA", party_id=" ", location="Ohio")
    store = build(write_lines(tmp_path / "in", [row(0, demographic=unknown)]))
    known = {k: v for k, v in store.participants["attributes"][0].items() if v is not None}
    assert known == {"location": "Ohio"}
    assert "income: 'NA' (1)" in store.manifest["notes"][-1]


def test_a_text_column_of_another_type_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    columns = {name: pa.array([value]) for name, value in row(0).items()}
    columns["stimuli"] = pa.array([{"text": "Q"}])
    pq.write_table(pa.table(columns), folder / "rows.parquet")
    with pytest.raises(InputError, match="column 'stimuli' is of type struct"):
        build(folder)


def test_a_scale_of_a_billion_levels_is_an_open_number(tmp_path: Path) -> None:
    told = "Please answer with a number from 1 to 1000000000000."
    store = build(write_lines(tmp_path / "in", [row(0, told=told)]))
    (item,) = store.item_by_id.values()
    assert (item.scale.kind, item.scale.hi) == ("open", 1e12)


def test_a_shard_whose_texts_are_no_utf8_is_one_sentence(tmp_path):
    READERS["socsci210-parquet"].make(tmp_path)
    path = tmp_path / "deposit" / "rows.parquet"
    table = pq.read_table(path)
    column = table["stimuli"].cast(pa.binary()).to_pylist()
    broken = pa.array([column[0][:-1] + b"\xec", *column[1:]], pa.binary()).view(pa.string())
    pq.write_table(table.set_column(table.column_names.index("stimuli"), "stimuli", broken), path)
    with pytest.raises(InputError, match=r"rows\.parquet: not a readable table"):
        READERS["socsci210-parquet"].read(tmp_path)
