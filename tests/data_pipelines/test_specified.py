"""From a specification and files to a store: columns, levels, scales, loops, joins, variants, exclusions, retests."""

import json

import openpyxl
import pandas as pd
import pyreadstat
import pytest
import rdata
from small_deposit import CODEBOOK, answers, build, refused, specification, write_csv, write_deposit
from typer.testing import CliRunner

from socsci_jax.cli import app
from socsci_jax.errors import InputError, ending
from socsci_jax.studies.store import StudyStore


def values(store: StudyStore, outcome: str) -> dict[str, float]:
    items = {item_id for item_id, item in store.item_by_id.items() if item.outcome == outcome}
    rows = store.responses.iter_rows(named=True)
    return {row["participant_id"]: row["value"] for row in rows if row["item_id"] in items}


def test_all_columns_texts_and_scales_that_are_not_there_are_reported_at_once(tmp_path):
    spec = specification()
    spec["attributes"]["income"] = "incom"
    spec["outcomes"]["price"]["column"] = "prise"
    spec["factors"]["arm"]["levels"]["Human"]["text"]["heading"] = "Humans"
    spec["outcomes"]["trust"]["scale"] = {"read": {"file": "codebook", "entry": "age"}}
    message = refused(write_deposit(tmp_path / "d", spec=spec))
    for problem in (
        "attributes.income: 'incom'",
        "outcomes.price: 'prise'; did you mean 'price'?",
        "factors.arm.levels.Human.text: codebook.md: 0 lines are the heading 'Humans'",
        "outcomes.trust.scale: no scale can be read from",
    ):
        assert problem in message


@pytest.mark.parametrize("code", ["1e999", "nan", "1e16"])
def test_a_level_that_is_no_finite_number_is_refused_and_a_missing_code_may_be_one(tmp_path, code):
    spec = specification()
    spec["outcomes"]["trust"]["scale"] = {"levels": {"1": "Low", code: "High"}}
    message = refused(write_deposit(tmp_path / "level", spec=spec))
    assert f"outcomes.trust.scale: level '{code}' is not a number of at most 15 digits" in message
    spec["outcomes"]["trust"]["scale"] = {"lo": 1, "hi": 3, "missing": [code, "-99"]}
    assert build(write_deposit(tmp_path / "missing", spec=spec)).responses.height


def test_spec_check_looks_at_the_files_too(tmp_path):
    spec = specification()
    spec["outcomes"]["price"]["column"] = "prise"
    folder = write_deposit(tmp_path / "d", spec=spec)
    sentence, status = ending(CliRunner().invoke(app, ["data", "spec", "check", str(folder)]).exception)
    assert status == 2
    assert "'prise'; did you mean 'price'?" in sentence


@pytest.mark.parametrize("name", ["answers.xlsx", "answers.sav", "answers.dta", "answers.rds"])
def test_every_format_gives_the_same_store_as_csv(tmp_path, name):
    expected = build(write_deposit(tmp_path / "csv"))
    folder = write_deposit(tmp_path / "d")
    frame = pd.DataFrame(answers())
    if name.endswith("xlsx"):
        book = openpyxl.Workbook()
        for line in [list(frame.columns), *frame.to_numpy().tolist()]:
            book.active.append(line)
        book.save(folder / name)
    elif name.endswith("sav"):
        pyreadstat.write_sav(
            frame, str(folder / name), variable_value_labels={"arm": {1: "Human", 2: "Machine"}}
        )
    elif name.endswith("dta"):
        pyreadstat.write_dta(frame, str(folder / name))
    else:
        rdata.write_rds(folder / name, frame)
    spec = specification()
    spec["files"]["data"] = name
    (folder / "study.yaml").write_text(json.dumps(spec))
    found = build(folder)
    assert [
        table.equals(other)
        for table, other in (
            (found.responses, expected.responses),
            (found.items, expected.items),
            (found.participants, expected.participants),
        )
    ] == [True] * 3


def test_labels_in_cells_and_declared_codes_are_read(tmp_path):
    rows = [
        row | {"trust": ["not at all", "A  little", "A lot", "never asked"][i // 2 % 4]}
        for i, row in enumerate(answers())
    ]
    spec = specification()
    spec["outcomes"]["trust"]["scale"] |= {"codes": {"never asked": "-99"}}
    store = build(write_deposit(tmp_path / "d", rows=rows, spec=spec))
    found = values(store, "trust")
    assert [found.get(str(100 + 2 * i)) for i in range(4)] == [1, 2, 3, None]


def test_cells_with_labels_that_are_codes_of_other_levels_are_refused_until_they_are_declared(tmp_path):
    words = {1: "Completely", 2: "4", 3: "3", 4: "2", 5: "Not at all"}
    codes = [1 + i % 5 for i in range(120)]
    rows = [row | {"trust": words[c]} for row, c in zip(answers(), codes, strict=True)]
    spec = specification()
    del spec["files"]["codebook"]
    for name, level in spec["factors"]["arm"]["levels"].items():
        level["text"] = f"{name} reads the scan and tells you what it shows."
    scale = spec["outcomes"]["trust"]["scale"] = {"levels": {str(c): label for c, label in words.items()}}
    assert "'Completely' (24)" in refused(write_deposit(tmp_path / "d", rows=rows, spec=spec))
    scale["codes"] = {label: str(c) for c, label in words.items()}
    declared = values(build(write_deposit(tmp_path / "d", rows=rows, spec=spec)), "trust")
    assert declared == {str(row["id"]): c for row, c in zip(rows, codes, strict=True)}
    del scale["codes"]
    rows = [row | {"trust": c} for row, c in zip(rows, codes, strict=True)]
    assert values(build(write_deposit(tmp_path / "d", rows=rows, spec=spec)), "trust") == declared


def test_a_reversed_scale_is_turned_to_what_people_saw(tmp_path):
    spec = specification()
    spec["outcomes"]["trust"]["scale"]["reversed"] = True
    rows = answers()
    found = values(build(write_deposit(tmp_path / "d", rows=rows, spec=spec)), "trust")
    assert found == {str(row["id"]): 4 - row["trust"] for row in rows if row["trust"] != -99}


def test_an_alternative_is_an_answer_beside_the_scale(tmp_path):
    spec = specification()
    spec["outcomes"]["trust"]["scale"]["alternatives"] = {"8": "Don't know"}
    rows = answers()
    rows[0]["trust"] = 8
    store = build(write_deposit(tmp_path / "d", rows=rows, spec=spec))
    item = next(item for item in store.item_by_id.values() if item.outcome == "trust")
    assert (item.scale.levels, item.scale.alternatives, item.scale.missing) == ((1, 2, 3), (8,), (-99,))
    assert values(store, "trust")["100"] == 8


def test_levels_may_be_told_apart_by_indicator_columns(tmp_path):
    rows = [
        row | {"FL_1_DO_H": 1 if row["arm"] == 1 else "", "FL_1_DO_M": 1 if row["arm"] == 2 else ""}
        for row in answers()
    ]
    spec = specification()
    for name, column in (("Human", "FL_1_DO_H"), ("Machine", "FL_1_DO_M")):
        spec["factors"]["arm"]["levels"][name] |= {"when": {column: {"present": True}}}
        del spec["factors"]["arm"]["levels"][name]["values"]
    expected = build(write_deposit(tmp_path / "d"))
    assert build(write_deposit(tmp_path / "e", rows=rows, spec=spec)).responses.equals(expected.responses)


def test_variants_give_arms_their_own_column_and_wording(tmp_path):
    rows = [row | {f"trust_{row['arm']}": row["trust"], f"trust_{3 - row['arm']}": ""} for row in answers()]
    spec = specification()
    spec["outcomes"]["trust"]["variants"] = [
        {"arms": {"arm": "Human"}, "column": "trust_1"},
        {
            "arms": {"arm": "Machine"},
            "column": "trust_2",
            "question": "How much do you trust this\nadvice? A little?",
        },
    ]
    codebook = CODEBOOK + "\n`other`: How much do you trust this advice? A little?\n"
    expected = values(build(write_deposit(tmp_path / "d")), "trust")
    store = build(write_deposit(tmp_path / "e", rows=rows, codebook=codebook, spec=spec))
    assert values(store, "trust") == expected
    questions = {
        item.condition: item.question for item in store.item_by_id.values() if item.outcome == "trust"
    }
    assert questions["Machine"].endswith("A little?\n") and not questions["Human"].endswith("A little?\n")


def test_a_loop_reads_repetitions_that_stand_side_by_side(tmp_path):
    rows = [
        {"id": row["id"], "region": row["region"], "trust_a": row["trust"], "trust_b": 1 + i % 3}
        for i, row in enumerate(answers())
    ]
    spec = specification()
    spec["attributes"] = {"region": {"recode": {"1": "North", "2": "South"}}}
    spec["loop"] = {"scan": ["a", "b"]}
    texts = {"a": {"file": "codebook", "heading": "Human"}, "b": {"file": "codebook", "heading": "Machine"}}
    spec["factors"] = {
        "scan": {"loop": "scan", "within": True, "levels": {n: {"text": t} for n, t in texts.items()}}
    }
    spec["outcomes"] = {"trust": spec["outcomes"]["trust"] | {"column": "trust_{scan}"}}
    store = build(write_deposit(tmp_path / "d", rows=rows, spec=spec))
    assert store.responses.height == 2 * len(rows) - 1
    arm = {item_id: item.condition for item_id, item in store.item_by_id.items()}
    mine = [row for row in store.responses.iter_rows(named=True) if row["participant_id"] == "101"]
    assert {arm[row["item_id"]]: row["value"] for row in mine} == {"a": rows[1]["trust_a"], "b": 2.0}


def test_another_table_is_joined_by_its_key(tmp_path):
    rows = answers()
    folder = write_deposit(
        tmp_path / "d", rows=[{k: v for k, v in row.items() if k != "region"} for row in rows]
    )
    write_csv(folder / "people.csv", [{"person": f"{row['id']}.0", "region": row["region"]} for row in rows])
    spec = specification()
    spec["files"]["people"] = "people.csv"
    spec["join"] = [{"file": "people", "on": "id", "key": "person"}]
    (folder / "study.yaml").write_text(json.dumps(spec))
    assert build(folder).participants.equals(build(write_deposit(tmp_path / "e")).participants)


def test_rows_that_are_not_used_are_said(tmp_path):
    rows = answers()
    folder = write_deposit(tmp_path / "d", rows=rows)
    people = [f"{row['id']},x" for row in rows[2:]] + ["7,x", "8,x,y,z"]
    (folder / "people.csv").write_text("\n".join(["id,panel", *people]))
    spec = specification()
    spec["files"]["people"] = "people.csv"
    spec["join"] = [{"file": "people", "on": "id"}]
    spec["rows"] = {"region": "1"}
    (folder / "study.yaml").write_text(json.dumps(spec))
    store = build(folder)
    others = sum(row["region"] != 1 for row in rows)
    assert store.manifest["notes"][-3:] == [
        "Study advice: join: 2 of 120 rows of 'data' have no partner in 'people'.",
        "Study advice: join: 1 of 119 rows of 'people' have no partner in 'data'.",
        f"Study advice: rows: {others} of 120 rows of 'data' are not selected.",
    ]
    assert "people.csv, row 120" in store.rejects["place"].to_list()


def test_a_join_that_would_multiply_rows_is_refused(tmp_path):
    folder = write_deposit(tmp_path / "d")
    write_csv(folder / "people.csv", [{"id": 100, "x": 1}, {"id": 100, "x": 2}])
    spec = specification()
    spec["files"]["people"] = "people.csv"
    spec["join"] = [{"file": "people", "on": "id"}]
    (folder / "study.yaml").write_text(json.dumps(spec))
    assert "2 rows whose 'id' others have too" in refused(folder)


def test_excluded_rows_are_counted_with_the_reason(tmp_path):
    spec = specification()
    spec["exclude"] = [{"where": {"age": {"at_least": 70}}, "reason": "too old for the panel"}]
    rows = answers()
    store = build(write_deposit(tmp_path / "d", rows=rows, spec=spec))
    reasons = store.rejects.filter(store.rejects["kind"] == "participant")["reason"].to_list()
    assert reasons == ["excluded: too old for the panel"] * sum(row["age"] >= 70 for row in rows)


@pytest.mark.parametrize("weight", ["-1", "1e-320", "1e300", "much"])
def test_a_weight_that_none_can_be_is_refused(tmp_path, weight):
    spec = specification() | {"weight": "price"}
    rows = [row | {"price": weight} for row in answers()]
    with pytest.raises(InputError, match=f"weight '{weight}' is neither 0 nor a number from 1e-12 to"):
        build(write_deposit(tmp_path / "d", rows=rows, spec=spec))


def test_weights_and_controls_reach_the_store(tmp_path):
    spec = specification()
    spec["weight"] = "price"
    spec["factors"]["arm"]["levels"]["Human"]["control"] = True
    rows = answers()
    store = build(write_deposit(tmp_path / "d", rows=rows, spec=spec))
    assert store.participants["weight"].to_list() == [float(row["price"]) for row in rows]
    assert {item.condition: item.is_control for item in store.item_by_id.values()} == {
        "Human": True,
        "Machine": False,
    }


def test_conditions_have_texts_of_their_own_with_levels_in_slots(tmp_path):
    spec = specification()
    spec["conditions"] = {"Human": {"text": ["{arm}", "In years"]}, "Machine": {"text": "{arm}"}}
    spec["stimulus"] = ["{condition}"]
    store = build(write_deposit(tmp_path / "d", spec=spec))
    stimuli = {item.condition: item.stimulus for item in store.item_by_id.values()}
    assert (
        stimuli["Human"] == "A doctor named Ellis reads the scan and tells you what it shows.\n\nIn years\n\n"
    )


def test_answers_asked_again_are_kept_apart(tmp_path):
    rows = [row | {"trust_2": 1 + i % 3 if i % 2 else ""} for i, row in enumerate(answers())]
    spec = specification()
    spec["outcomes"]["trust"]["retest"] = "trust_2"
    store = build(write_deposit(tmp_path / "d", rows=rows, spec=spec))
    assert store.responses.height == build(write_deposit(tmp_path / "e")).responses.height
    assert store.retests.select("participant_id", "occasion", "value").rows()[:2] == [
        ("101", 2, 2.0),
        ("103", 2, 1.0),
    ]
    assert store.retests.height == 59
    assert "answered again without a first answer" in store.rejects["reason"].to_list()
    assert set(store.retests["item_id"]) <= set(store.responses["item_id"])


def test_the_store_keeps_the_specification_and_the_hashes_of_all_files(tmp_path):
    folder = write_deposit(tmp_path / "d")
    store = build(folder)
    assert (store.path / "study.yaml").read_bytes() == (folder / "study.yaml").read_bytes()
    assert set(store.manifest["sources"]) == {"data", "codebook"}
    provenance = json.loads((store.path / "provenance.json").read_text())
    assert provenance["advice"]["factors.arm.levels.Human.text"] == ["codebook.md, heading 'Human'"]


def test_a_file_that_is_not_the_expected_one_is_refused(tmp_path):
    spec = specification()
    spec["files"]["codebook"] = {"path": "codebook.md", "sha256": "0" * 64}
    assert "has the SHA-256" in refused(write_deposit(tmp_path / "d", spec=spec))


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    folder = write_deposit(tmp_path / "d")
    (tmp_path / "secret.md").write_text("a secret")
    (folder / "codebook.md").unlink()
    (folder / "codebook.md").symlink_to(tmp_path / "secret.md")
    assert "lies outside the specification's folder" in refused(folder)


def test_an_experiment_that_has_not_been_run_is_no_deposit(tmp_path):
    spec = specification()
    for key in ("files", "participant", "attributes"):
        del spec[key]
    for level in spec["factors"]["arm"]["levels"].values():
        level["text"] = "Something that people will read."
    (tmp_path / "study.yaml").write_text(json.dumps(spec))
    with pytest.raises(InputError, match="an experiment that has not been run"):
        build(tmp_path)
