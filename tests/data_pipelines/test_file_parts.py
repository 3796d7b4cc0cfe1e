"""Files of a release that are read apart, by several processes, and not again after a build that was killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from socsci210_release import persona, row, write_shards

from data_pipelines.archives import file_parts, socsci210
from socsci_jax.errors import InputError
from socsci_jax.studies.store import StudyStore

# Ends with SIGKILL when it is about to read the third file.
KILLED = """
import os, signal, sys
from pathlib import Path
from data_pipelines.archives import socsci210

read = socsci210.read_file
def read_or_die(file):
    if file.name == "train-00002.parquet":
        os.kill(os.getpid(), signal.SIGKILL)
    return read(file)
socsci210.read_file = read_or_die
socsci210.build(Path(sys.argv[1]), Path(sys.argv[2]), command="test")
"""


def release(folder: Path) -> Path:
    """Four shards; one item and one participant stand in two of them."""
    shards = [
        [row(4 * n + k, condition_num=(n + k) % 3, participant=3 * n + k) for k in range(4)] for n in range(4)
    ]
    return write_shards(folder, *shards)


def tables(store: StudyStore) -> tuple[str, dict, list]:
    return store.content_hash, store.manifest["rows"], store.manifest["notes"]


def test_a_build_that_was_killed_goes_on_from_the_files_that_it_had_read(tmp_path, monkeypatch):
    source, out = release(tmp_path / "in"), tmp_path / "store"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(source), str(out)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not out.exists()

    whole = socsci210.build(source, tmp_path / "whole", command="test")
    read_again = []
    read = socsci210.read_file
    monkeypatch.setattr(socsci210, "read_file", lambda file: read_again.append(file.name) or read(file))
    resumed = socsci210.build(source, out, command="test")

    assert read_again == ["train-00002.parquet", "train-00003.parquet"]
    assert tables(resumed) == tables(whole)
    assert not file_parts.parts_folder(out).exists()


def test_a_file_that_changed_meanwhile_is_read_again(tmp_path):
    folder = tmp_path / "parts"
    source = release(tmp_path / "in") / "data" / "train-00000.parquet"
    reader = "data_pipelines.archives.socsci210:read_file"
    [(before, _)] = file_parts.read_in_parts([source], folder, reader=reader)
    write_shards(tmp_path / "other", [row(0, response=1)])
    source.write_bytes((tmp_path / "other" / "data" / source.name).read_bytes())
    [(after, _)] = file_parts.read_in_parts([source], folder, reader=reader)
    assert before["responses"] != after["responses"]


def test_several_processes_give_the_store_of_one(tmp_path, monkeypatch):
    source = release(tmp_path / "in")
    alone = socsci210.build(source, tmp_path / "alone", command="test")
    monkeypatch.setattr(file_parts, "BYTES_PER_PROCESS", 1)
    monkeypatch.setattr(file_parts.os, "sched_getaffinity", lambda _: {0, 1})
    together = socsci210.build(source, tmp_path / "together", command="test")
    assert tables(together) == tables(alone)


def test_what_another_process_finds_wrong_is_the_same_sentence(tmp_path, monkeypatch):
    source = release(tmp_path / "in")
    (source / "data" / "train-00001.parquet").write_bytes(b"PAR1 and nothing else")
    monkeypatch.setattr(file_parts, "BYTES_PER_PROCESS", 1)
    monkeypatch.setattr(file_parts.os, "sched_getaffinity", lambda _: {0, 1})
    with pytest.raises(InputError, match=r"train-00001\.parquet: not a readable table"):
        socsci210.build(source, tmp_path / "store", command="test")


def test_a_key_that_an_earlier_file_has_is_rejected(tmp_path):
    first, second = [row(0), row(1)], [row(1, response=5), row(2, response=9), row(0, response=9)]
    store = socsci210.build(write_shards(tmp_path / "in", first, second), tmp_path / "store", command="test")
    assert sorted(store.responses["sample_id"]) == [0, 1]
    assert store.responses["value"].to_list() == [3.0, 3.0]
    reasons = dict(store.rejects.select("place", "reason").iter_rows())
    assert reasons == {
        "train-00001.parquet:1": "(study_id, sample_id) was seen before",
        "train-00001.parquet:2": "answer outside its scale",
        "train-00001.parquet:3": "(study_id, sample_id) was seen before",
    }


def test_who_comes_back_as_somebody_else_in_a_later_file_is_noted(tmp_path):
    shards = [row(0, participant=7)], [row(1, participant=7, demographic=persona(age=20))]
    store = socsci210.build(write_shards(tmp_path / "in", *shards), tmp_path / "store", command="test")
    assert store.participants["attributes"].struct.field("age").to_list() == ["41"]
    assert store.manifest["notes"] == [
        "1 time a participant came back with another persona; the first stands (the first: study abcde, participant 7)"
    ]


def test_unknown_values_of_one_person_in_two_files_are_counted_once(tmp_path):
    shards = [[row(n, participant=7, demographic=persona(gender="NA"))] for n in range(2)]
    store = socsci210.build(write_shards(tmp_path / "in", *shards), tmp_path / "store", command="test")
    assert any("gender: 'NA' (1)" in note for note in store.manifest["notes"])
