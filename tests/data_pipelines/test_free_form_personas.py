"""People who are described by a text, by traits, or by both: interviews, profiles, and how a prompt shows them."""

import dataclasses
import json

import pytest
from small_deposit import answers, build, refused, specification, write_deposit
from typer.testing import CliRunner

from data_pipelines.formats.tables import read_table
from socsci_jax.cli import app
from socsci_jax.errors import InputError
from socsci_jax.studies.layouts import PERSONA_FIRST, STUDY_FIRST, load_layout
from socsci_jax.studies.prompts import Layout
from socsci_jax.studies.specification import SourceFile


def interview(person: int) -> str:
    """What somebody answered, in lines, as different as people are."""
    return f"Q: What do you do?\n  A: I have mended {person} clocks, and I would rather mend them than sell them."


@pytest.fixture
def deposit(tmp_path):
    """The small deposit with an interview of each person in a file of JSON lines."""
    spec = specification()
    spec["files"]["interviews"] = "interviews.jsonl"
    spec["join"] = {"file": "interviews", "on": "id", "key": "person"}
    spec["join"] = [spec["join"]]
    spec["attributes"] = {
        "region": spec["attributes"]["region"],
        "hobbies": "profile.tags",
        "interview": {"column": "turns", "free_text": True},
    }
    folder = write_deposit(tmp_path / "deposit", spec=spec)
    rows = [
        {
            "person": row["id"],
            "profile": {"tags": ["clocks", "tea"]},
            "turns": interview(row["id"]).split("\n"),
        }
        for row in answers()
    ]
    (folder / "interviews.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder, spec


def test_an_interview_is_shown_with_its_lines_beside_traits(deposit):
    store = build(deposit[0])
    known = store.personas["advice", "101"]
    assert known["interview"] == interview(101)
    assert known["hobbies"] == "clocks; tea"


def test_free_text_that_nobody_declared_is_refused(deposit):
    folder, spec = deposit
    spec["attributes"]["interview"] = "turns"
    (folder / "study.yaml").write_text(json.dumps(spec))
    assert "`free_text: true` if it is meant" in refused(folder)


def test_an_address_in_an_interview_is_refused_all_the_same(deposit):
    folder, _ = deposit
    path = folder / "interviews.jsonl"
    path.write_text(
        path.read_text().replace("I have mended 101", "Write to jo@example.org, I have mended 101")
    )
    assert "an e-mail address" in refused(folder)


def layout(attributes: str) -> Layout:
    return Layout.from_dict({**STUDY_FIRST.to_dict(), "name": "own", "attributes": attributes})


def test_text_traits_or_both_are_three_layouts_over_one_store(deposit):
    store = build(deposit[0])
    item = next(iter(store.item_by_id.values()))
    known = store.personas["advice", "101"]
    shown = {
        names: layout(names).prompt(item=item, attributes=known)
        for names in ("interview", "region, hobbies", "")
    }
    assert "mended 101" in shown["interview"] and "clocks; tea" not in shown["interview"]
    assert "clocks; tea" in shown["region, hobbies"] and "mended" not in shown["region, hobbies"]
    assert "mended 101" in shown[""] and "clocks; tea" in shown[""]
    with pytest.raises(
        InputError, match="attributes names 'age', which is none of people's; known are region"
    ):
        layout("age").prompt(item=item, attributes=known)


def test_the_command_writes_a_layout_that_shows_one_attribute(tmp_path):
    done = CliRunner().invoke(app, ["data", "layout", "persona_first", "--attributes", "interview"])
    (tmp_path / "text.json").write_text(done.output)
    assert load_layout(tmp_path / "text.json") == dataclasses.replace(PERSONA_FIRST, attributes="interview")


def test_json_lines_are_a_table(tmp_path):
    path = tmp_path / "people.jsonl"
    lines = [
        '{"uid": 1, "profile": {"gender": "f", "tag": ["a", "b"]}, "score": 2.0, "ok": true}',
        "[1]",
        '{"uid": 2, "turns": ["' + "x" * 50 + '", "y"], "score": null}',
        '{"uid": 3, "turns": [{"who": 1}]}',
        "{",
    ]
    path.write_text("\n".join(lines))
    table = read_table(path, SourceFile(path=path.name))
    assert table.frame.to_dicts() == [
        {"uid": "1", "profile.gender": "f", "profile.tag": "a; b", "score": "2", "ok": "true", "turns": None},
        {
            "uid": "2",
            "profile.gender": None,
            "profile.tag": None,
            "score": None,
            "ok": None,
            "turns": "x" * 50 + "\ny",
        },
    ]
    assert table.numbers.to_list() == [1, 3]
    assert [place for place, _ in table.misfits] == [2, 4, 5]


def test_a_file_without_an_object_is_no_table(tmp_path):
    path = tmp_path / "people.jsonl"
    path.write_text("[]\n")
    with pytest.raises(InputError, match="not one JSON object"):
        read_table(path, SourceFile(path=path.name))
