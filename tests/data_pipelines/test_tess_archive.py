"""The TESS archive becomes a study store; its codebook scales and answer formats are read and written."""

from __future__ import annotations

import collections
import dataclasses
import gzip
import json
from pathlib import Path

import polars as pl
import pytest

from data_pipelines.archives.tess import build
from data_pipelines.archives.tess_tables import plain_text
from data_pipelines.scales.sentences import read_scale
from socsci_jax.errors import InputError
from socsci_jax.studies.answer_formats import answer_format
from socsci_jax.studies.schema import Scale
from socsci_jax.studies.store import StudyStore

# --- an invented archive with every trap of the real one -------------------------------------------------------

CONDITIONS = [
    # study, title, condition.name, condition.text, blurb, Exclude
    ("kites", "Kites in parks", "control", "", "You walk in a <i>park</i>.", "0"),
    (
        "kites",
        "",
        "warning",
        "A sign says <u>no kites</u>.\n[SPACE]\nYou stop.",
        "You walk in a <i>park</i>.",
        "0",
    ),
    ("kites", "", "warning", "A sign says no kites.\n\nYou stop.", "You walk in a park.", "0"),
    ("kites", "", "excluded", "A dog barks.", "You walk in a <i>park</i>.", "1"),
    ("kites", "", "two texts", "A dog barks.", "", "0"),
    ("kites", "", "two texts", "A cat purrs.", "", "0"),
    ("soup", "Soup", "Gun Control, mild", "Mild soup.\n\nIs it good?", "Mild soup.", "0"),
    ("soup", "", "Gun Control, hot", "Hot soup.\n\nIs it good?", "", "0"),
    ("soup", "", "hot again", "Hot soup.\n\nIs it good?", "", "0"),
    ("bare", "Nothing to read", "empty", "", "", "0"),
    ("bare", "", "words", "Words.", "", "0"),
]
OUTCOMES = [
    # study, title, outcome.name, text, scale, limits, lower, upper, exclude
    *[
        (
            "kites",
            "",
            "anger",
            "How angry?",
            "1 Calm\n2\n3 Angry\n4 Haven't thought about it\n98 SKIPPED",
            "1-3",
            "",
            "",
            "0",
        )
    ],
    ("kites", "", "cost", "What should it cost?", "$ [Number Box; Range 0-9999]", "0-9999", "0", "", "0"),
    ("kites", "", "trick", "Are you a robot?", "1 Yes\n2 No", "1-2", "", "", "1"),
    ("soup", "", "taste", "", "", "1-4", "Bad", "Good", ""),
    ("bare", "", "mood", "", "", "", "", "", "0"),
]
RESPONSES = [
    # study, outcome, y, condition, gender, race, pid, age, educ, ideo, min, max
    (
        "kites",
        "anger",
        "3.0",
        "control",
        "Female",
        "White",
        "Democrat",
        "Older than 50",
        "College",
        "Liberal",
    ),
    ("kites", "anger", "1.0", "warning", "Male", "", "", "", "", ""),
    ("kites", "anger", "", "warning", "Male", "", "", "", "", ""),
    ("kites", "anger", "4.0", "warning", "Male", "", "", "", "", ""),
    ("kites", "anger", "98.0", "warning", "Male", "", "", "", "", ""),
    ("kites", "anger", "7.0", "warning", "Male", "", "", "", "", ""),
    ("kites", "anger", "many", "warning", "Male", "", "", "", "", ""),
    ("kites", "cost", "250.0", "control", "Male", "", "", "", "", ""),
    ("kites", "trick", "1.0", "control", "Male", "", "", "", "", ""),
    ("kites", "anger", "2.0", "excluded", "Male", "", "", "", "", ""),
    ("kites", "anger", "2.0", "two texts", "Male", "", "", "", "", ""),
    ("kites", "anger", "2.0", "never heard of", "Male", "", "", "", "", ""),
    ("soup", "taste", "4.0", "Gun Control, mild", "Male", "", "", "", "", ""),
    ("soup", "taste", "2.0", "Gun Control, hot", "Male", "", "", "", "", ""),
    ("soup", "taste", "2.0", "hot again", "Male", "", "", "", "", ""),
    ("bare", "mood", "2.0", "empty", "Male", "", "", "", "", ""),
    ("bare", "mood", "5.0", "words", "Male", "", "", "", "", ""),
]
BOUNDS = {"anger": ("1.0", "3.0"), "cost": ("0.0", "9999.0"), "taste": ("1.0", "4.0"), "mood": ("1.0", "5.0")}


def write_archive(folder: Path, *, drop: str | None = None) -> Path:
    """The invented archive; `drop` names a column to omit."""
    folder.mkdir()
    tables = {
        "conditions.csv": (
            ["study", "title", "condition.name", "condition.text", "blurb", "Exclude"],
            CONDITIONS,
        ),
        "outcomes.csv": (
            [
                *("study", "title", "outcome.name", "outcome.text", "outcome.scale", "outcome.limits"),
                *("outcome.lower", "outcome.upper", "exclude"),
            ],
            OUTCOMES,
        ),
        "responses.csv.gz": (
            [
                *("study", "outcome.name", "y", "condition.name", "GENDER", "race_4", "pid_3", "age_5"),
                *("EDUC4", "ideo_3", "outcome.min", "outcome.max"),
            ],
            [(*row, *BOUNDS.get(row[1], ("1.0", "2.0"))) for row in RESPONSES],
        ),
    }
    for name, (columns, rows) in tables.items():
        table = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")
        text = table.drop(drop, strict=False).write_csv() if drop else table.write_csv()
        data = text.encode()
        (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> StudyStore:
    folder = tmp_path_factory.mktemp("invented")
    return build(write_archive(folder / "archive"), folder / "store", command="test")


def item(store: StudyStore, condition: str, outcome: str):
    (found,) = (i for i in store.item_by_id.values() if (i.condition, i.outcome) == (condition, outcome))
    return found


def reasons(store: StudyStore, kind: str) -> dict[str, int]:
    return collections.Counter(store.rejects.filter(pl.col("kind") == kind)["reason"])


def test_item_text_is_common_text_own_text_question_and_answer_format(store):
    assert item(store, "warning", "anger").text == (
        "You walk in a park.\n\nA sign says no kites.\n\nYou stop.\n\nHow angry?\n"
        "Only return an integer from 1 to 3, where 1 means Calm and 3 means Angry, nothing else."
    )


def test_arm_without_own_text_shows_only_the_common_text(store):
    assert item(store, "control", "anger").stimulus == "You walk in a park.\n\n"


def test_text_repeated_in_both_columns_is_shown_once(store):
    assert item(store, "Gun Control, mild", "taste").stimulus == "Mild soup.\n\nIs it good?\n\n"


def test_question_within_the_arm_text_leaves_the_question_empty(store):
    assert item(store, "Gun Control, hot", "taste").question == ""


def test_scale_without_text_takes_the_labels_of_its_ends(store):
    assert item(store, "Gun Control, hot", "taste").scale.labels == ("Bad", "", "", "Good")


def test_scale_known_only_from_the_data_says_so(store):
    assert item(store, "words", "mood").scale == Scale.of_levels(range(1, 6), origin="observed")


def test_more_than_a_thousand_levels_are_an_open_number(store):
    assert item(store, "control", "cost").scale == Scale.open_number(lo=0.0, hi=9999.0, origin="codebook")


def test_control_is_told_by_its_name_and_only_where_it_differs(store):
    assert item(store, "control", "anger").is_control is True
    assert item(store, "warning", "anger").is_control is False
    assert item(store, "Gun Control, hot", "taste").is_control is None


def test_excluded_and_ambiguous_arms_and_outcomes_are_listed(store):
    assert reasons(store, "condition") == {
        "marked Exclude = 1 in the archive": 1,
        "several texts stand under this name": 1,
    }
    assert reasons(store, "outcome") == {"marked exclude = 1 in the archive": 1}


def test_every_answer_that_is_not_kept_has_its_reason(store):
    assert reasons(store, "response") == {
        "missing answer": 1,
        "missing answer (code 98)": 1,
        "answer outside its scale": 1,
        "answer is not a number": 1,
        "outcome excluded or not in outcomes.csv": 1,
        "condition excluded or not in conditions.csv": 3,
        "neither the condition nor the outcome has a text": 1,
    }
    assert store.responses.height + sum(reasons(store, "response").values()) == len(RESPONSES)


def test_haven_t_thought_about_it_is_kept_as_an_alternative(store):
    asked = item(store, "warning", "anger")
    assert asked.scale.alternatives == (4,)
    assert 4 in store.responses.filter(item_id=asked.item_id)["value"].to_list()


def test_rejects_name_file_and_row(store):
    row = store.rejects.filter(pl.col("reason") == "missing answer").row(0, named=True)
    assert row["place"] == "responses.csv.gz, row 4"
    assert json.loads(row["record"])["condition"] == "warning"


def test_each_row_is_its_own_participant_with_its_attributes(store):
    assert store.attributes == ("age", "gender", "ethnicity", "education", "party_id", "ideology")
    people = {p: a for p, a in store.participants.select("participant_id", "attributes").iter_rows()}
    assert people["1"] == {
        "age": "Older than 50",
        "gender": "Female",
        "ethnicity": "White",
        "education": "College",
        "party_id": "Democrat",
        "ideology": "Liberal",
    }
    assert people["2"]["gender"] == "Male" and people["2"]["ideology"] is None


def test_arms_with_equal_texts_are_noted(store):
    assert [n for n in store.manifest["notes"] if "Gun Control, hot, hot again" in n]


def test_all_missing_columns_and_files_are_named_at_once(tmp_path):
    archive = write_archive(tmp_path / "archive", drop="pid_3")
    (archive / "outcomes.csv").unlink()
    with pytest.raises(InputError) as error:
        build(archive, tmp_path / "store", command="test")
    assert "responses.csv.gz: missing columns 'pid_3'; found" in str(error.value)
    assert "outcomes.csv: file not found" in str(error.value)


def test_missing_file_is_named(tmp_path):
    archive = write_archive(tmp_path / "archive")
    (archive / "outcomes.csv").unlink()
    with pytest.raises(InputError, match=r"outcomes\.csv: file not found"):
        build(archive, tmp_path / "store", command="test")


@pytest.mark.parametrize(
    ("marked_up", "plain"),
    [
        ("<u>Very</u>   <i>nice</i><br>day &amp; night", "Very nice\nday & night"),
        ("Write to <jo@example.org> now", "Write to <jo@example.org> now"),
        ("Cause\t1999\t12\nFire        2001        7", "Cause | 1999 | 12\nFire | 2001 | 7"),
        ("1.        Yes\n2.        No", "1. Yes\n2. No"),
        ("Think.\nPARTICIPANT_ANSWERS_QUESTION]", "Think.\n[The participant answers.]"),
        ("a\n \n\n\nb", "a\n\nb"),
        (None, ""),
    ],
)
def test_plain_text(marked_up, plain):
    assert plain_text(marked_up) == plain


# --- answer formats -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("levels", "sentence"),
    [
        (range(0, 101), "Only return an integer from 0 to 100, nothing else."),
        (range(0, 501, 100), "Only return a multiple of 100 between 0 and 500, nothing else."),
        ((1, 2, 5), "Only return one of 1, 2 or 5, nothing else."),
        ({1: "Yes", 2: "No"}, "Only return 1 for Yes; 2 for No, nothing else."),
        ({1: "Bad", 2: "", 3: "Good"}, "Only return an integer from 1 to 3, where 1 means Bad and 3 means Good, nothing else."),
        ({1: "Bad", 2: "So", 3: "Good"}, "Only return an integer from 1 to 3, where 1 = Bad; 2 = So; 3 = Good, nothing else."),
    ],
)  # fmt: skip
def test_answer_format_says_what_the_scale_knows(levels, sentence):
    assert answer_format(Scale.of_levels(levels, origin="codebook")) == sentence


def test_answer_format_of_open_numbers():
    def sentence(lo, hi):
        return answer_format(Scale.open_number(lo=lo, hi=hi, origin="codebook"))

    assert sentence(0.0, 9999.0) == "Only return a number from 0 to 9999, nothing else."
    assert sentence(0.0, None) == "Only return a number of at least 0, nothing else."
    assert sentence(None, 2.5) == "Only return a number of at most 2.5, nothing else."
    assert sentence(None, None) == "Only return a number, nothing else."


def test_answer_format_styles_of_one_scale():
    scale = Scale.of_levels({1: "Bad", 2: "So", 3: "Good"}, origin="codebook")
    assert (
        answer_format(scale, style="options") == "Only return 1 for Bad; 2 for So; 3 for Good, nothing else."
    )
    assert answer_format(scale, style="range") == "Only return an integer from 1 to 3, nothing else."
    assert "where 1 means Bad and 3 means Good" in answer_format(scale, style="ends")


@pytest.mark.parametrize("style", ["ends", "labels", "options"])
def test_answer_format_refuses_a_style_that_needs_labels(style):
    with pytest.raises(ValueError, match="label"):
        answer_format(Scale.of_levels(range(1, 4), origin="codebook"), style=style)


@pytest.mark.parametrize(
    "levels",
    [
        range(101),
        range(0, 501, 100),
        (1, 2, 5),
        {1: "Yes", 2: "No"},
        {1: "Bad", 2: "", 3: "Good"},
        {0: "Bad, really", 1: "So", 2: "Good"},
        {1: "$0 to $10", 2: "More than $10"},
    ],
)
def test_answer_format_is_read_back_as_the_same_scale(levels):
    scale = Scale.of_levels(levels, origin="stated")
    assert read_scale("How is it?\n" + answer_format(scale)) == scale


# --- the real archive -----------------------------------------------------------------------------------------


# Fast: the invented archive above has every trap of this one.
of_the_real_archive = pytest.mark.slow


@pytest.fixture(scope="module")
def real_store(shared_data, tmp_path_factory) -> StudyStore:
    return build(shared_data / "tess_archive", tmp_path_factory.mktemp("tess") / "store", command="test")


@of_the_real_archive
def test_real_archive_accounts_for_every_response(real_store):
    rejected = reasons(real_store, "response")
    assert rejected["missing answer"] == 3479
    assert real_store.responses.height + sum(rejected.values()) == 167_798
    assert "answer outside its scale" not in rejected


@of_the_real_archive
def test_real_archive_has_its_studies_cells_and_outcomes(real_store):
    items = real_store.items
    assert real_store.studies.height == 49
    assert items.select("study_id", "outcome").n_unique() == 96
    # 476 cells, less the five of the two arms whose text belongs to another study.
    assert items.height == items.select("study_id", "condition", "outcome").n_unique() == 471
    assert reasons(real_store, "condition").total() == 2


@of_the_real_archive
def test_real_archive_conditions_of_an_outcome_differ_in_text(real_store):
    texts = real_store.items.with_columns(text=pl.concat_str("stimulus", "question", "answer_format"))
    assert texts.select("study_id", "outcome", "text").n_unique() == texts.height


@of_the_real_archive
def test_real_archive_scales_have_the_bounds_of_the_data(real_store, shared_data):
    bounds = {
        (study, outcome): (float(lo), float(hi))
        for study, outcome, lo, hi in pl.read_csv(shared_data / "tess_archive/responses.csv.gz", infer_schema_length=0)
        .select("study", "outcome.name", "outcome.min", "outcome.max")
        .unique()
        .iter_rows()
    }  # fmt: skip
    scales = {(i.study_id, i.outcome): i.scale for i in real_store.item_by_id.values()}
    assert {key: (scale.lo, scale.hi) for key, scale in scales.items()} == bounds
    assert {scale.origin for scale in scales.values()} == {"codebook"}
    assert sum(scale.kind == "open" for scale in scales.values()) == 2
    # No missing-answer code has become a level.
    labels = " ".join(label for scale in scales.values() for label in scale.labels)
    assert "SKIPPED" not in labels and "REFUSED" not in labels and "thought" not in labels


@of_the_real_archive
def test_real_archive_items_state_their_scales(real_store):
    for item in real_store.item_by_id.values():
        # Alternatives are named only where they are offered.
        told = {"origin": "stated", "alternatives": (), "alternative_labels": (), "missing": ()}
        assert read_scale(item.text) == dataclasses.replace(item.scale, **told), item.text
