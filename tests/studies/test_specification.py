"""The study specification: what it may say, and that all of its problems are reported at once."""

import contextlib
import json
import subprocess
import sys

import hypothesis
import hypothesis.strategies as st
import jsonschema
import pytest
import yaml

from socsci_jax.errors import InputError
from socsci_jax.studies.specification import Specification
from socsci_jax.studies.specification_files import (
    json_schema,
    load_specification,
    parse_specification,
    render,
)
from socsci_jax.studies.specification_parts import code

GOOD = """
study: letters
title: Letters by people and by machines
license: CC0-1.0
files: {data: answers.csv, codebook: README.md}
participant: id
attributes: {age: {unit: years}, gender: {column: sex, recode: {1: Male, 2: Female}, missing: 9}}
scales:
  agreement: {levels: {1: Disagree, 2: no opinion, 3: Agree}, missing: [-99, 8]}
exclude: [{where: {attention: {not: blue}}, reason: failed the attention check}]
factors:
  writer:
    levels:
      Control: {text: [], control: true, count: 250}
      Machine: {values: 2, text: {file: codebook, heading: Machine}}
  task: {within: true}
stimulus: ["Somebody writes {task}.", "{writer}"]
outcomes:
  warm: {question: "How warm is the writer of {task}?", scale: agreement, retest: warm_2}
  price:
    question: {file: codebook, entry: price}
    scale: {number: true, lo: 0}
    variants: [{arms: {writer: Machine}, column: price_machine}]
hypotheses:
  H1: {outcome: warm, higher: {writer: Control}, lower: {writer: Machine}}
"""


def parsed(text: str = GOOD) -> Specification:
    return parse_specification(text, where="study.yaml")


def refused(text: str) -> str:
    with pytest.raises(InputError) as error:
        parsed(text)
    return str(error.value)


def test_rendering_and_reading_gives_an_equal_specification():
    assert parsed(render(parsed())) == parsed()


def test_short_forms_stand_for_the_long_ones():
    study = parsed().studies["letters"]
    assert parsed().files["data"].path == "answers.csv"
    assert study.outcomes["warm"].question == ("How warm is the writer of {task}?",)
    assert study.exclude[0].where["attention"].not_ == ("blue",)
    assert study.attributes["age"].unit == "years"


def test_a_label_that_yaml_takes_for_a_boolean_stays_a_text():
    text = GOOD.replace("2: no opinion", "2: no")
    assert parsed(text).scales["agreement"].levels == {"1": "Disagree", "2": "no", "3": "Agree"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, "1"), (1.0, "1"), (" 1.0 ", "1"), ("-99.0", "-99"), ("\u22122", "-2"), ("0.5", "0.5"), (".5", "0.5")]
    + [(text, text) for text in ("007", "1e3", "1_0", "nan", "yes", "", ".", "+-1")],
)
def test_a_code_is_the_same_however_a_table_writes_it(value, expected):
    assert code(value) == expected


def test_every_problem_is_reported_at_once():
    text = (
        GOOD.replace("scale: agreement,", "scale: agrement,")
        .replace("answers.csv", "../answers.csv")
        .replace('{writer}"]', '{reader}"]')
        .replace("higher: {writer: Control}", "higher: {writer: Nobody}")
        .replace("values: 2", "values: [2, 3]")
    )
    message = refused(text)
    assert "5 problems" in message
    for found in (
        "outcomes.warm.scale: 'agrement' is not one of scales; did you mean 'agreement'?",
        "files.data: '../answers.csv' is not a path within",
        "stimulus: nothing fills {reader}",
        "hypotheses.H1.higher.writer: 'Nobody' is not one of Control, Machine",
        "factors.writer.levels.Machine: pools the codes 2, 3",
    ):
        assert found in message


def test_a_hypothesis_may_be_about_a_composite():
    text = GOOD.replace("H1: {outcome: warm", "H1: {outcome: warmth") + "composites: {warmth: {of: [warm]}}\n"
    assert parsed(text).studies["letters"].hypotheses["H1"].outcome == "warmth"
    lacking = refused(text.replace("{warmth: {of", "{kindness: {of"))
    assert "hypotheses.H1.outcome: 'warmth' is not one of outcomes, nor of composites" in lacking


def test_another_word_for_the_end_of_a_scale_is_answered_with_ours():
    message = refused(GOOD.replace("lo: ", "min: ", 1))
    assert "min: key is not known; did you mean 'lo'?" in message


def test_every_mistyped_key_is_reported_at_once_with_the_nearest():
    message = refused(GOOD.replace('question: "', 'qestion: "').replace("factors:", "factor:"))
    assert "factor: key is not known; did you mean 'factors'?" in message
    assert "outcomes.warm.qestion: key is not known; did you mean 'question'?" in message
    assert "outcomes.warm.question: key is missing" in message


@pytest.mark.parametrize(
    ("scale", "complaint"),
    [
        ("{lo: 7, hi: 1}", "lo below hi"),
        ("{lo: 1}", "lo below hi"),
        ("{}", "in one way"),
        ("{levels: [1, 2], number: true}", "in one way"),
        ("{levels: [1]}", "at least two levels"),
        ("{levels: [1, 2, 9], missing: 9}", "both a level and a missing code"),
    ],
)
def test_a_scale_that_says_nothing_or_two_things_is_refused(scale, complaint):
    assert complaint in refused(GOOD.replace("{number: true, lo: 0}", scale))


def test_what_drafting_left_open_is_a_problem():
    message = refused(GOOD + "unresolved: {outcomes.warm.scale: no choices found}\n")
    assert "outcomes.warm.scale: drafting left this open: no choices found" in message


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: &x [1]\nb: [*x, *x]\n", "anchors and aliases"),
        ("study: a\nstudy: b\n", "line 2: key 'study' is given twice"),
        ("[" * 100_000, "not valid YAML"),
        ("a: " + "[" * 100 + "]" * 100, "nested deeper"),
        ("a: !!python/object/apply:os.system [ls]\n", "the tag 'tag:yaml.org"),
        ("study: x\nstudies: {}\n", "not both"),
        ("", "is a mapping of keys"),
        ("3", "is a mapping of keys"),
        ("{[a]: b}", "a key must be a text"),
        ("--- {a: 1}\n--- {b: 1}\n", "a second YAML document"),
    ],
)
def test_a_damaged_or_hostile_file_is_one_sentence(text, complaint):
    assert complaint in refused(text)


@hypothesis.given(st.text(alphabet="ab: {}[]&*-\n\t'\"#|>!%@`?,1\x00é", max_size=60))
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(InputError):
        parsed(text)


def test_the_schema_for_editors_accepts_what_the_reader_accepts():
    schema = json_schema()
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(json.loads(json.dumps(yaml.safe_load(GOOD))))
    wrong = json.loads(json.dumps(yaml.safe_load(GOOD.replace("factors:", "factor:"))))
    assert list(validator.iter_errors(wrong))


def test_a_file_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"study\.yaml: file not found"):
        load_specification(tmp_path)


def test_the_command_reports_all_problems_and_ends_with_status_2(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(GOOD.replace("scale: agreement,", "scale: a,").replace('{writer}"]', '{b}"]'))
    run = subprocess.run(
        [sys.executable, "-m", "socsci_jax", "data", "spec", "check", str(path)],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2
    assert "2 problems" in run.stderr
    assert "Traceback" not in run.stderr


def test_a_table_in_place_of_a_specification_is_told_how_to_get_one(tmp_path):
    with pytest.raises(InputError, match=r"this is a table.*data spec draft"):
        load_specification(tmp_path / "answers.csv")
