"""Text classification: a folder of documents and a codebook becomes a study store, and nothing is lost on the way."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import polars as pl
import pytest
import yaml

import data_pipelines
from data_pipelines.archives.document_codebook import read_codebook
from data_pipelines.archives.documents import build
from data_pipelines.scales.sentences import read_scale
from data_pipelines.synthetic import documents as synthetic_documents
from socsci_jax.errors import InputError
from socsci_jax.studies.layouts import CODEBOOK_FIRST
from socsci_jax.studies.schema import Scale
from socsci_jax.studies.split_making import make_split
from socsci_jax.studies.store import StudyStore

CODEBOOK = {
    "title": "Party manifestos",
    "instructions": "Code one sentence at a time.",
    "variables": [
        {
            "name": "topic",
            "question": "What is the sentence about?",
            "definition": "Its main subject.",
            "labels": [
                {"code": 2, "label": "Welfare"},
                {"code": 1, "label": "Economy", "definition": "jobs, prices, taxes"},
                {"code": 9, "label": "Other"},
            ],
        },
        {
            "name": "pledge",
            "question": "Is it a pledge?",
            "labels": [{"code": 0, "label": "no"}, {"code": 1, "label": "yes"}],
        },
    ],
}


def folder_of(path: Path, rows: list[list[str]], *, codebook: dict = CODEBOOK) -> Path:
    """A folder with this codebook and these rows of `documents.csv`, the header first."""
    path.mkdir(exist_ok=True)
    (path / "codebook.yaml").write_text(yaml.safe_dump(codebook, sort_keys=False))
    with (path / "documents.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def store_of(path: Path, rows: list[list[str]], **changes) -> StudyStore:
    return build(folder_of(path / "folder", rows, **changes), path / "store", command="test")


HEADER = ["id", "text", "topic", "pledge"]


def rejected(store: StudyStore) -> list[tuple[str, str]]:
    return [(row["place"], row["reason"]) for row in store.rejects.iter_rows(named=True)]


# ---- what becomes of documents and codebook ----


def test_a_codebook_is_a_study_its_variables_items_and_documents_its_participants(tmp_path):
    store = store_of(
        tmp_path, [HEADER, ["a", "We will cut taxes.", "1", "1"], ["b", "Care is dear.", "2", ""]]
    )
    assert store.studies.select("study_id", "title").rows() == [("party-manifestos", "Party manifestos")]
    topic, pledge = store.item_by_id.values()
    assert (topic.condition, topic.outcome, pledge.outcome) == ("codebook", "topic", "pledge")
    assert topic.scale == Scale.of_levels(
        {1: "Economy", 2: "Welfare", 9: "Other"}, origin="codebook", nominal=True
    )
    assert [p["document"] for p in store.participants["attributes"]] == [
        "We will cut taxes.",
        "Care is dear.",
    ]
    answers = store.responses.select("item_id", "participant_id", "value", "sample_id").rows()
    assert answers == [(topic.item_id, "a", 1, 1), (pledge.item_id, "a", 1, 1), (topic.item_id, "b", 2, 2)]
    assert rejected(store) == []


def test_the_prompt_of_a_document_reads_like_this(tmp_path):
    text = 'We say "yes", {always}:\r\n\r\n- to work,\n- to peace.\n'
    store = store_of(tmp_path, [HEADER, ["a", text, "1", ""]])
    (item,) = store.item_by_id.values()
    assert CODEBOOK_FIRST.prompt(item=item, attributes=store.participants["attributes"][0]) == (
        "Read the codebook below, then the document, and code the document.\n\n"
        "Codebook: Party manifestos\n\n"
        "Code one sentence at a time.\n\n"
        "What is the sentence about?\n\n"
        "Its main subject.\n\n"
        "1 = Economy: jobs, prices, taxes\n2 = Welfare\n9 = Other\n\n"
        "Only return one of 1, 2 or 9, nothing else.\n\n"
        'Document: We say "yes", {always}:\n\n- to work,\n- to peace.\n\n'
        "Code this document exactly as the codebook says."
    )


def test_an_answer_format_states_the_codes_of_its_variable(tmp_path):
    store = store_of(tmp_path, [HEADER, ["a", "Words.", "1", "0"]])
    for item in store.item_by_id.values():
        assert read_scale(item.answer_format).levels == item.scale.levels


def test_labels_that_yaml_takes_for_something_else_stay_words(tmp_path):
    folder = folder_of(tmp_path / "folder", [HEADER])
    text = (folder / "codebook.yaml").read_text().replace("'no'", "no").replace("'yes'", "yes")
    (folder / "codebook.yaml").write_text(text)
    pledge = read_codebook(folder / "codebook.yaml").variables[1]
    assert [(label.code, label.label) for label in pledge.labels] == [(0, "no"), (1, "yes")]


def test_coders_of_one_document_are_answers_of_one_participant(tmp_path):
    rows = [
        ["id", "coder", "text", "topic", "pledge"],
        ["a", "ada", "Words.", "1", "0"],
        ["a", "bo", "Words.", "2", ""],
    ]
    store = store_of(tmp_path, rows)
    assert store.participants["participant_id"].to_list() == ["a"]
    assert store.responses.select("participant_id", "value", "sample_id").rows() == [
        ("a", 1, 1),
        ("a", 0, 1),
        ("a", 2, 2),
    ]


def test_a_split_by_participants_keeps_all_labels_of_a_document_together(tmp_path):
    store = data_pipelines.build("synthetic", "documents", tmp_path / "store", command="test")
    parts = make_split(store, name="main", seed=0, participants=0.3).label()
    assert parts.group_by("participant_id").agg(pl.col("part").n_unique())["part"].max() == 1
    assert parts.group_by("item_id", "participant_id").len()["len"].max() == 2


def test_long_documents_are_kept_whole(tmp_path):
    text = "word " * 60_000
    store = store_of(tmp_path, [HEADER, ["a", text, "1", "1"]])
    assert store.participants["attributes"][0]["document"] == text.strip()


def test_labels_may_be_written_as_decimals(tmp_path):
    store = store_of(tmp_path, [HEADER, ["a", "Words.", "1.0", " 0 "]])
    assert store.responses["value"].to_list() == [1, 0]


def test_columns_that_are_not_read_and_equal_texts_are_mentioned(tmp_path):
    store = store_of(
        tmp_path,
        [[*HEADER, "year"], ["a", "Words.", "1", "1", "1999"], ["b", "Words.", "1", "1", "2001"]],
    )
    unread, equal = store.manifest["notes"]
    assert unread == "Columns of documents.csv that the codebook does not name were not read: year."
    assert equal.startswith("Documents with the text of another one under another id: 1;")


def test_the_invented_letters_are_the_same_every_time(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        synthetic_documents.write_folder(tmp_path / name, documents=20)
    files = [(tmp_path / name / "documents.csv").read_bytes() for name in ("first", "second")]
    assert files[0] == files[1]
    store = build(tmp_path / "first", tmp_path / "store", command="test")
    assert store.participants.height == 20
    assert rejected(store) == []


# ---- what cannot be read ----


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (["", "Words.", "1", "1"], "no id"),
        (["b", " \n ", "1", "1"], "no text"),
        (["a", "Other words.", "1", "1"], "id given before"),
        (["b", "Words.", "", ""], "no label"),
        (["b", "Words.", "1"], "not as many fields as the header has"),
        (["b", "Words, and", "more", "1", "1"], "not as many fields as the header has"),
        (["b", "Words.", "Economy", ""], "label is not in the codebook"),
        (["b", "Words.", "3", ""], "label is not in the codebook"),
        (["b", "Words.", "1.5", ""], "label is not in the codebook"),
        (["b", "Words.", "nan", ""], "no label"),
        (["b", "Words.", "1_0", ""], "label is not in the codebook"),
    ],
)
def test_what_cannot_be_kept_is_rejected_with_the_reason(tmp_path, row, reason):
    store = store_of(tmp_path, [HEADER, ["a", "Two\nlines.", "1", "1"], row])
    assert rejected(store) == [("documents.csv, line 4", reason)]
    assert store.participants["participant_id"].to_list() == ["a"]
    assert store.responses.height == 2


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (["a", "ada", "Words.", "1", "1"], "the same coder coded this id before"),
        (["a", "bo", "Other words.", "1", "1"], "id given before with another text"),
        (["b", "", "Words.", "1", "1"], "no coder"),
    ],
)
def test_what_coders_cannot_have_done_is_rejected(tmp_path, row, reason):
    store = store_of(tmp_path, [["id", "coder", *HEADER[1:]], ["a", "ada", "Words.", "1", "1"], row])
    assert rejected(store) == [("documents.csv, line 3", reason)]
    assert store.responses.height == 2


def test_a_wrong_label_leaves_the_others_of_its_document(tmp_path):
    store = store_of(tmp_path, [HEADER, ["a", "Words.", "7", "1"]])
    assert store.responses.height == 1
    label = json.loads(store.rejects.filter(kind="response")["record"][0])
    assert label == {"id": "a", "coder": "", "variable": "topic", "label": "7"}


def test_rows_in_another_encoding_or_with_stray_quotation_marks_do_not_lose_the_others(tmp_path):
    folder = folder_of(tmp_path / "folder", [HEADER, ["a", "Words.", "1", "1"]])
    with (folder / "documents.csv").open("ab") as file:
        file.write("b,Süd,1,1\r\n".encode("latin-1"))
        file.write(b'c,"He said "no" twice",1,1\r\n')
        file.write("d,Süd,2,1\r\n".encode())
    store = build(folder, tmp_path / "store", command="test")
    assert store.participants["participant_id"].to_list() == ["a", "d"]
    (_, first), (place, second) = rejected(store)
    assert first == "not UTF-8"
    assert (place, second.split(" (")[0]) == ("documents.csv, line 4", "not a row of CSV")


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    folder = folder_of(tmp_path / "folder", [HEADER, ["a", "Words.", "1", "1"]])
    content = (folder / "documents.csv").read_bytes()
    (folder / "documents.csv").write_bytes(b"\xef\xbb\xbf" + content)
    assert build(folder, tmp_path / "store", command="test").responses.height == 2


def test_a_quotation_mark_that_is_never_closed_stops(tmp_path):
    folder = folder_of(tmp_path / "folder", [HEADER, ["a", "Words.", "1", "1"]])
    with (folder / "documents.csv").open("a") as file:
        file.write('b,"Words,1,1\r\nc,Words.,1,1\r\n')
    with pytest.raises(InputError, match=r"documents\.csv, line 3: a quotation mark opens"):
        build(folder, tmp_path / "store", command="test")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (["id", "topic", "pledge"], "missing columns 'text'; found"),
        (
            ["id", "text", "topic"],
            r"missing columns 'pledge' \(variables\[1\]\.name of codebook\.yaml\)",
        ),
        ([*HEADER, "topic"], "column 'topic' stands there twice"),
    ],
)
def test_a_table_without_the_columns_it_needs_stops(tmp_path, header, message):
    with pytest.raises(InputError, match=message):
        store_of(tmp_path, [header])


def changed(**changes) -> dict:
    """The codebook with another first variable."""
    first, second = CODEBOOK["variables"]
    return {**CODEBOOK, "variables": [{**first, **changes}, second]}


@pytest.mark.parametrize(
    ("codebook", "message"),
    [
        ({**CODEBOOK, "titel": "x"}, "key 'titel' is not known"),
        ({k: v for k, v in CODEBOOK.items() if k != "title"}, "key 'title' is missing"),
        ({**CODEBOOK, "variables": []}, "key 'variables': tuple should have at least 1 item"),
        (changed(name="pledge"), "key 'variables': name 'pledge' is given twice"),
        (changed(name="text"), r"key 'variables\[0\]\.name': the column 'text'"),
        (changed(question=""), r"key 'variables\[0\]\.question'"),
        (changed(labels=[{"code": 1, "label": "One"}]), r"key 'variables\[0\]\.labels': tuple should"),
        (
            changed(labels=[{"code": 1, "label": "One"}, {"code": 1, "label": "One"}]),
            r"variables\[0\]\.labels': code 1 is given twice",
        ),
        (
            changed(labels=[{"code": "one", "label": "One"}, {"code": 2, "label": "Two"}]),
            r"key 'variables\[0\]\.labels\[0\]\.code': .*integer.* \(found 'one'\)",
        ),
        (
            changed(labels=[{"code": 1, "label": "One"}, {"kode": 2, "label": "Two"}]),
            r"key 'variables\[0\]\.labels\[1\]\.code' is missing; key '[^']*kode' is not known\.$",
        ),
        ([], "a codebook is a mapping with the keys title, instructions"),
    ],
)
def test_a_codebook_that_is_wrong_stops_with_file_and_key(tmp_path, codebook, message):
    with pytest.raises(InputError, match=rf"codebook\.yaml: .*{message}"):
        store_of(tmp_path, [HEADER, ["a", "Words.", "1", "1"]], codebook=codebook)
    assert not (tmp_path / "store").exists()


def test_files_that_are_not_there_or_no_yaml_stop(tmp_path):
    with pytest.raises(InputError, match=r"codebook\.yaml: file not found"):
        build(tmp_path, tmp_path / "store", command="test")
    (tmp_path / "codebook.yaml").write_text("title: [")
    with pytest.raises(InputError, match=r"codebook\.yaml: not valid YAML"):
        build(tmp_path, tmp_path / "store", command="test")
    (tmp_path / "codebook.yaml").write_text(yaml.safe_dump(CODEBOOK))
    with pytest.raises(InputError, match=r"documents\.csv: file not found"):
        build(tmp_path, tmp_path / "store", command="test")


@pytest.mark.parametrize("cell", ["NA", "nan", "NULL", " "])
def test_a_label_that_is_not_known_is_no_label(tmp_path, cell):
    store = store_of(tmp_path, [HEADER, ["a", "One.", "1", "1"], ["b", "Two.", cell, cell]])
    assert store.responses["participant_id"].unique().to_list() == ["a"]
    assert store.rejects["reason"].to_list() == ["no label"]
