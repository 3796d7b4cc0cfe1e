"""Archives as their publishers release them, in small deposits of invented people: shares, waves, twins, transcripts."""

import csv
import json
import resource
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import data_pipelines
from data_pipelines.archives.transcripts import TRIALS_PER_PERSON
from socsci_jax.errors import InputError
from socsci_jax.studies.store import StudyStore


def build(kind: str, source: Path, out: Path) -> StudyStore:
    return data_pipelines.build(kind, str(source), out, command="test", replace=True)


def lines(path: Path, *rows: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def table(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


# ---- SubPOP ----

SHARES = {
    "qkey": "PARKS_W99",
    "attribute": "POLPARTY",
    "group": "Purple",
    "question": "Are there enough parks?",
    "options": ["Too few", "Enough", "Too many", "Refused"],
    "responses": [0.5, 0.3, 0.2],
    "refusal_rate": 0.1,
    "ordinal": [1, 2, 3],
}


def test_a_groups_answers_have_its_shares_as_their_weights(tmp_path):
    other = SHARES | {"group": "Orange", "responses": [0.1, 0.1, 0.8]}
    store = build("subpop", lines(tmp_path / "subpop_train.jsonl", SHARES, other), tmp_path / "store")
    assert store.attributes == ("polparty",)
    assert store.items.height == 1
    assert store.item_by_id[store.items["item_id"][0]].scale.labels == ("Too few", "Enough", "Too many")
    assert store.responses.filter(participant_id="polparty: Orange")["weight"].to_list() == [0.1, 0.1, 0.8]
    assert any("10.0% refused" in note for note in store.manifest["notes"])


def test_what_rounding_left_of_a_share_of_nothing_is_no_weight(tmp_path):
    record = SHARES | {"responses": [1e-17, 0.2, 0.8]}
    store = build("subpop", lines(tmp_path / "subpop_train.jsonl", record), tmp_path / "store")
    assert store.responses["weight"].to_list() == [0.0, 0.2, 0.8]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"responses": [0.5, 0.3, 0.1]}, "responses sum to 0.9"),
        ({"responses": [0.5, 0.5]}, "4 options, 2 responses"),
        ({"responses": [True, 0.0, 0.0]}, "must be numbers"),
        ({"ordinal": "1, 2, 3"}, "must be lists"),
        ({"group": ""}, "must be texts"),
    ],
)
def test_a_record_whose_numbers_do_not_fit_is_rejected_with_the_reason(tmp_path, changes, reason):
    store = build("subpop", lines(tmp_path / "s.jsonl", SHARES, SHARES | changes), tmp_path / "store")
    assert reason in store.rejects["reason"].item()


def test_all_columns_that_shares_lack_are_named_at_once(tmp_path):
    with pytest.raises(InputError, match="missing columns 'question', 'options', 'responses'"):
        build(
            "subpop",
            lines(tmp_path / "s.jsonl", {"qkey": "a", "attribute": "b", "group": "c"}),
            tmp_path / "o",
        )


# ---- OpinionQA ----


def wave(folder: Path) -> Path:
    table(
        folder / "responses.csv",
        [
            {"QKEY": 9001, "PARKS_W99": "Too few", "SEX": "Female", "WEIGHT_W99": 0.5},
            {"QKEY": 9002, "PARKS_W99": "Refused", "SEX": "Male", "WEIGHT_W99": 1.5},
            {"QKEY": 9003, "PARKS_W99": "Not sure", "SEX": "Refused", "WEIGHT_W99": 2},
            {"QKEY": 9004, "PARKS_W99": "Too many", "SEX": "Male", "WEIGHT_W99": 1},
        ],
    )
    info = {
        "key": "PARKS_W99",
        "question": "Are there enough parks?",
        "references": "['Too few', 'Enough', 'Too many', 'Not sure', 'Refused']",
        "option_ordinal": "[1.0, 2.0, 3.0]",
    }
    table(folder / "info.csv", [info, info | {"key": "OTHER_W99", "references": "__import__('os')"}])
    table(folder / "metadata.csv", [{"key": "SEX", "options": "['Male', 'Female']"}])
    return folder


def test_people_of_a_wave_have_their_weights_and_no_ids_of_the_panel(tmp_path):
    wave(tmp_path / "human_resp" / "American_Trends_Panel_W99")
    store = build("opinionqa", tmp_path / "human_resp", tmp_path / "store")
    assert store.studies["study_id"].to_list() == ["wave_99"]
    assert store.participants.select("participant_id", "weight").rows() == [
        ("1", 0.5),
        ("3", 2.0),
        ("4", 1.0),
    ]
    assert store.personas["wave_99", "3"] == {"sex": None}
    (item,) = store.item_by_id.values()
    assert (item.scale.labels, item.scale.alternative_labels) == (
        ("Too few", "Enough", "Too many"),
        ("Not sure",),
    )
    assert store.responses["value"].to_list() == [1, 4, 3]
    assert set(store.rejects["reason"]) == {"refused", "references or option_ordinal is no list"}


def test_what_a_wave_lacks_is_reported_at_once(tmp_path):
    folder = wave(tmp_path / "American_Trends_Panel_W99")
    (folder / "metadata.csv").unlink()
    table(folder / "info.csv", [{"key": "PARKS_W99"}])
    with pytest.raises(InputError) as error:
        build("opinionqa", folder, tmp_path / "store")
    assert "info.csv: missing columns question, references, option_ordinal" in str(error.value)
    assert "metadata.csv: file not found" in str(error.value)


# ---- Twin-2K-500 ----


def one_choice(qid: str, text: str, options: list[str], chosen: int | None) -> dict:
    answers = {} if chosen is None else {"SelectedByPosition": chosen, "SelectedText": options[chosen - 1]}
    return {
        "QuestionID": qid,
        "QuestionText": text,
        "QuestionType": "MC",
        "Options": options,
        "Settings": {"Selector": "SAVR"},
        "Answers": answers,
    }


def blocks(name: str, *questions: dict) -> str:
    return json.dumps([{"ElementType": "Block", "BlockName": name, "Questions": list(questions)}])


AGREE = ["Disagree", "Neither agree nor disagree", "Agree"]
INTRO = {"QuestionID": "QID8", "QuestionText": "<b>Imagine</b> a shop.", "QuestionType": "DB"}


def held(first: int | None, price: float, note: str = "cheap") -> str:
    slider = {
        "QuestionID": "QID10",
        "QuestionText": "How fair is it?",
        "QuestionType": "Slider",
        "Statements": ["To you"],
        "Range": {"Min": 0, "Max": 100},
        "Answers": {"Values": [price]},
    }
    written = {
        "QuestionID": "QID11",
        "QuestionText": "Why?",
        "QuestionType": "TE",
        "Settings": {},
        "Answers": {"Text": note},
    }
    return blocks("Pricing", INTRO, one_choice("QID9", "It is a good price.", AGREE, first), slider, written)


def person(pid: int, first: int | None, again: int | None) -> dict:
    persona = blocks(
        "Demographics",
        one_choice("QID1", "What is your gender?", ["Male", "Female"], 2),
        one_choice("QID2", "I like quiet evenings.", AGREE, 3),
        one_choice("QID9", "It is a good price.", AGREE, first),
    )
    return {
        "pid": str(pid),
        "wave1_3_persona_json": persona,
        "wave4_Q_wave1_3_A": held(first, 40),
        "wave4_Q_wave4_A": held(again, 70),
    }


def test_a_twin_is_what_was_said_earlier_and_its_second_answers_are_retests(tmp_path):
    rows = [person(501, 1, 3), person(502, None, 2)]
    (tmp_path / "wave_split").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "wave_split" / "data.parquet")
    store = build("twin2k", tmp_path, tmp_path / "store")
    known = store.personas["twin2k500", "1"]
    assert known["gender"] == "Female"
    assert known["earlier_answers"] == "I like quiet evenings. Agree"
    by_outcome = {i.outcome: (item_id, i) for item_id, i in store.item_by_id.items()}
    assert set(by_outcome) == {"QID9", "QID10 1"}
    item_id, item = by_outcome["QID9"]
    assert item.stimulus == "Imagine a shop.\n\n"
    assert store.responses.filter(item_id=item_id).select("participant_id", "value").rows() == [("1", 1.0)]
    assert store.retests.filter(item_id=item_id).rows() == [(item_id, "1", 2, 3.0)]
    assert store.retests.filter(item_id=by_outcome["QID10 1"][0])["value"].to_list() == [70, 70]
    assert [r for r in store.rejects["reason"] if r.startswith("no scale")]


def test_personas_that_hold_what_is_to_be_predicted_are_refused(tmp_path):
    leaking = person(1, 1, 1) | {"persona_text": "..."}
    with pytest.raises(InputError, match="full_persona"):
        build("twin2k", lines(tmp_path / "t.jsonl", leaking), tmp_path / "store")


def test_a_damaged_persona_costs_no_other(tmp_path):
    broken = person(1, 1, 1) | {"wave4_Q_wave4_A": "[{]"}
    store = build("twin2k", lines(tmp_path / "t.jsonl", broken, person(2, 2, 2)), tmp_path / "store")
    assert store.participants["participant_id"].to_list() == ["2"]
    assert "not" in store.rejects.filter(kind="participant")["reason"].item()


# ---- transcripts ----


def transcript(participant: int, presses: str, experiment: str = "lab/bandit_1") -> dict:
    trials = "".join(f"You press <<{key}>>. You win {i}.\n" for i, key in enumerate(presses))
    text = f"You can choose between machines F and J. Press one.\n{trials}"
    return {
        "text": text,
        "experiment": experiment,
        "participant": participant,
        "age": 31.0,
        "nationality": "N/A",
    }


def test_a_trial_is_what_was_read_before_its_answer(tmp_path):
    store = build("transcripts", lines(tmp_path / "p.jsonl", transcript(0, "FJ")), tmp_path / "store")
    assert [item.stimulus.splitlines()[1:] for item in store.item_by_id.values()] == [
        ["You press", ""],
        ["You press F. You win 0.", "You press", ""],
    ]
    (first, second) = store.item_by_id.values()
    assert (first.scale.labels, first.scale.nominal, first.scale.origin) == (("F", "J"), True, "stated")
    assert store.responses["value"].to_list() == [1, 2]
    assert store.personas["lab_bandit_1", "0"]["age"] == "31"
    assert "<<" not in second.text


def test_a_key_that_was_never_pressed_is_a_level_if_the_instructions_name_it(tmp_path):
    store = build("transcripts", lines(tmp_path / "p.jsonl", transcript(0, "FF")), tmp_path / "store")
    assert {item.scale.labels for item in store.item_by_id.values()} == {("F", "J")}


def test_of_a_long_session_trials_are_kept_evenly_and_counted(tmp_path):
    store = build("transcripts", lines(tmp_path / "p.jsonl", transcript(0, "FJ" * 50)), tmp_path / "store")
    assert store.responses["sample_id"].to_list()[0] == 1
    assert store.responses["sample_id"].to_list()[-1] == 100
    assert store.responses.height == TRIALS_PER_PERSON
    assert any(f"{TRIALS_PER_PERSON} of 100 trials" in note for note in store.manifest["notes"])


def test_transcripts_without_answers_or_given_twice_are_rejected(tmp_path):
    rows = [transcript(0, "FJ"), transcript(0, "JJ"), transcript(1, ""), transcript(2, "F") | {"text": 5}]
    store = build("transcripts", lines(tmp_path / "p.jsonl", *rows), tmp_path / "store")
    assert store.rejects["reason"].to_list() == [
        "the participant of this experiment was there before",
        "no answer stands in <<double angle brackets>>",
        "text and experiment must be texts",
    ]


# ---- what is of no published form costs a record, never the program ----


def test_options_and_codes_of_other_types_are_no_answers(tmp_path):
    odd = json.loads(person(1, 1, 1)["wave1_3_persona_json"])
    odd[0]["Questions"][0]["Options"] = [1, ["a"], None]
    odd[0]["Questions"][1]["Options"] = 5
    twin = person(1, 1, 1) | {"wave1_3_persona_json": json.dumps(odd)}
    assert build("twin2k", lines(tmp_path / "t.jsonl", twin), tmp_path / "twins").responses.height == 2
    far = SHARES | {"ordinal": [1, 2, 10**30]}
    store = build("subpop", lines(tmp_path / "s.jsonl", SHARES, far), tmp_path / "shares")
    assert store.rejects["reason"].item() == "ordinal must be numbers of at most 15 digits"


def test_a_wave_whose_metadata_name_nothing_is_read_without_it(tmp_path):
    folder = wave(tmp_path / "American_Trends_Panel_W99")
    table(folder / "metadata.csv", [{"key": "", "options": "[]"}, {"key": "SEX", "options": ""}])
    assert build("opinionqa", folder, tmp_path / "store").attributes == ("sex",)
    table(folder / "metadata.csv", [{"key": "GONE", "options": ""}])
    assert build("opinionqa", folder, tmp_path / "store").responses.height == 3


def test_rows_of_a_wave_that_do_not_fit_are_counted_and_the_others_keep_their_places(tmp_path):
    folder = wave(tmp_path / "human_resp" / "American_Trends_Panel_W99")
    lines = (folder / "responses.csv").read_text().splitlines()
    lines.insert(2, lines[1].replace("9001", "9005") + ",one cell too many")
    (folder / "responses.csv").write_text("\n".join(lines) + "\n")
    store = build("opinionqa", tmp_path / "human_resp", tmp_path / "store")
    assert store.participants["participant_id"].to_list() == ["1", "4", "5"]
    (place,) = store.rejects.filter(kind="participant")["place"]
    assert place == "American_Trends_Panel_W99/responses.csv, row 2"


def test_a_question_with_more_options_than_a_scale_has_is_rejected(tmp_path):
    folder = wave(tmp_path / "human_resp" / "American_Trends_Panel_W99")
    options = [f"option {n}" for n in range(1200)]
    info = {
        "key": "PARKS_W99",
        "question": "Which?",
        "references": str(options),
        "option_ordinal": "[1.0, 2.0]",
    }
    table(folder / "info.csv", [info])
    with pytest.raises(InputError):
        build("opinionqa", tmp_path / "human_resp", tmp_path / "store")


# ---- what is there twice, or is not a number ----


def reasons(store: StudyStore) -> list[str]:
    return store.rejects["reason"].to_list()


def test_a_group_that_answered_before_and_another_scale_for_one_text_cost_no_other_record(tmp_path):
    turned = SHARES | {"group": "Orange", "ordinal": [1, 1, 1]}
    huge = json.dumps(SHARES).replace("0.1", "9" * 400)
    alike = SHARES | {"options": ["Too few", "Too few", "Too many", "Refused"]}
    path = lines(tmp_path / "s.jsonl", SHARES, SHARES, turned, alike)
    path.write_text(path.read_text() + huge + "\n")
    store = build("subpop", path, tmp_path / "store")
    assert store.responses.height == 3
    assert sorted(reason.split(" (")[0] for reason in reasons(store)) == [
        "not valid JSON",
        "the group's answers to this question were there before",
        "the question was there before with another scale",
        "two options have one label",
    ]
    assert any("1 distribution of groups" in note for note in store.manifest["notes"])


def test_a_person_and_a_question_that_are_there_twice_are_counted(tmp_path):
    repeated = person(3, 1, None)
    question = one_choice("QID9", "It is a good price.", AGREE, 2)
    repeated["wave4_Q_wave1_3_A"] = blocks(
        "Pricing", INTRO, one_choice("QID9", "It is a good price.", AGREE, 1), question
    )
    rows = [person(1, 1, 1), person(1, 2, 2), repeated]
    store = build("twin2k", lines(tmp_path / "t.jsonl", *rows), tmp_path / "store")
    assert store.participants.height == 2
    told = [r for r in reasons(store) if "before" in r]
    assert told == [
        "the person (pid) was there before",
        "the question was there before; its first answer counts",
    ]


def test_a_session_of_nobody_is_rejected_and_marks_that_hold_no_answer_are_counted(tmp_path):
    nobody = transcript(0, "FJ") | {"participant": None}
    long = transcript(3, "FJ")
    long["text"] += f"You press <<>>. You press <<{'F' * 300}>>."
    path = lines(
        tmp_path / "t.jsonl", transcript(1, "FJ"), nobody, transcript(1, "FJ") | {"participant": 1.0}, long
    )
    store = build("transcripts", path, tmp_path / "store")
    assert store.participants["participant_id"].to_list() == ["1", "3"]
    assert reasons(store) == [
        "participant must be a text or a number",
        "the participant of this experiment was there before",
    ]
    assert any(note.startswith("2 marks << without an answer") for note in store.manifest["notes"])


def test_a_session_of_many_answers_takes_memory_for_one_text_and_not_for_each(tmp_path):
    long = transcript(1, "FJ" * 4_000)  # 8,000 texts before an answer would be 1 GB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    build("transcripts", lines(tmp_path / "t.jsonl", long), tmp_path / "store")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024


def test_a_key_and_an_attribute_of_a_wave_that_are_there_twice_are_counted(tmp_path):
    folder = wave(tmp_path)
    for name in ("info.csv", "metadata.csv"):
        path = folder / name
        path.write_text(path.read_text() + path.read_text().splitlines()[1] + "\n")
    store = build("opinionqa", folder, tmp_path / "store")
    told = store.rejects.filter(store.rejects["reason"].str.contains("before"))
    assert sorted(told["kind"].to_list()) == ["attribute", "outcome"]
