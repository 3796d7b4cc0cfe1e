"""Drafts from a table alone: what its names, labels and codes tell, and that everything else is a hole."""

import random
import subprocess
import sys

import openpyxl
import polars as pl
import pyreadstat
import pytest
import yaml

import data_pipelines
from data_pipelines.drafting.demographics import attribute_of_text
from data_pipelines.drafting.rules import write_draft
from data_pipelines.drafting.table_draft import draft_of_table, is_table
from socsci_jax.errors import InputError
from socsci_jax.studies.specification import Study
from socsci_jax.studies.specification_files import load_specification

ROWS = 60


def columns(seed: int = 0) -> dict[str, list]:
    draw = random.Random(seed)
    return {
        "id": [f"p{i}" for i in range(ROWS)],
        "treatment": [1 + i % 2 for i in range(ROWS)],
        "age": [draw.randint(18, 80) for _ in range(ROWS)],
        "sex": [draw.randint(1, 2) for _ in range(ROWS)],
        "trust": [draw.randint(1, 5) for _ in range(ROWS)],
        "price": [draw.random() * 1000 for _ in range(ROWS)],
        "mood": [draw.choice(["good", "bad", "so-so"]) for _ in range(ROWS)],
        "email": ["jo@example.org"] * ROWS,
        "comment": [f"I thought of it {i} times" for i in range(ROWS)],
        "weight": [draw.random() for _ in range(ROWS)],
    }


LABELS = {
    "trust": {1: "Not at all", 2: "A little", 3: "Somewhat", 4: "Much", 5: "Very much"},
    "sex": {1: "Male", 2: "Female"},
    "treatment": {1: "Human", 2: "Machine"},
}
WORDS = {
    "trust": "How much do you trust this advice?",
    "treatment": "Assigned arm",
    "sex": "What is your gender?",
}


def drafted(path) -> tuple[Study, dict[str, str]]:
    draft = draft_of_table(path)
    (study,) = draft.specification.studies.values()
    return study, draft.specification.unresolved


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "answers.csv"
    pl.DataFrame(columns()).write_csv(path)
    return path


def test_a_csv_tells_columns_and_codes_and_every_wording_is_a_hole(table):
    study, holes = drafted(table)
    assert study.participant == ("id",) and study.number_participants and study.weight == "weight"
    assert list(study.factors) == ["treatment"] and list(study.factors["treatment"].levels) == ["1", "2"]
    assert (study.attributes["gender"].column, list(study.attributes)) == ("sex", ["age", "gender"])
    assert list(study.outcomes) == ["trust", "price", "mood"]
    assert set(holes) == {
        "factors.treatment",
        "attributes.gender.recode",
        "outcomes.trust.scale",
        "outcomes.price.scale",
        "outcomes.mood.scale",
        "outcomes",
    }
    assert "ends that were observed" in holes["outcomes.trust.scale"]
    assert study.outcomes["mood"].scale.nominal


def test_a_draft_is_refused_until_its_texts_are_written(table, tmp_path):
    write_draft(draft_of_table(table).specification, tmp_path / "study.yaml")
    tree = yaml.safe_load((tmp_path / "study.yaml").read_text())
    assert list(tree)[-2:] == ["unresolved", "provenance"]
    assert tree["files"] == {"data": "answers.csv"}
    del tree["unresolved"]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(tree))
    with pytest.raises(InputError) as error:
        load_specification(tmp_path)
    assert "factors.treatment.levels.1.text: still to be written" in str(error.value)
    assert "outcomes.mood.question: still to be written" in str(error.value)


def completed(tree: dict) -> dict:
    for factor in tree["factors"].values():
        for name, level in factor["levels"].items():
            level["text"] = f"You are advised by {name}."
    for name, outcome in tree["outcomes"].items():
        outcome["question"] = f"What about {name}?"
    return {key: value for key, value in tree.items() if key != "unresolved"}


def test_a_completed_draft_is_a_store(table, tmp_path):
    write_draft(draft_of_table(table).specification, tmp_path / "study.yaml")
    tree = completed(yaml.safe_load((tmp_path / "study.yaml").read_text()))
    tree["attributes"]["gender"]["recode"] = {"1": "Male", "2": "Female"}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(tree))
    store = data_pipelines.build("study", str(tmp_path), tmp_path / "store", command="")
    assert (store.items.height, store.responses.height, store.rejects.height) == (6, 3 * ROWS, 0)


@pytest.mark.parametrize("ending", ["sav", "dta", "xlsx"])
def test_labels_of_a_file_are_wordings_scales_arms_and_recodes(tmp_path, ending):
    path = tmp_path / f"answers.{ending}"
    frame = pl.DataFrame({k: v for k, v in columns().items() if k != "comment"})
    if ending == "xlsx":
        book = openpyxl.Workbook()
        for row in [frame.columns, *frame.iter_rows()]:
            book.active.append(list(row))
        book.save(path)
    elif ending == "sav":
        pyreadstat.write_sav(
            frame.to_pandas(),
            str(path),
            column_labels={name: WORDS.get(name, "") for name in frame.columns},
            variable_value_labels=LABELS,
            missing_ranges={"trust": [5]},
        )
    else:
        pyreadstat.write_dta(
            frame.to_pandas(),
            str(path),
            column_labels={name: WORDS.get(name, "") for name in frame.columns},
            variable_value_labels=LABELS,
        )
    study, holes = drafted(path)
    assert list(study.factors) == ["treatment"]
    if ending == "xlsx":
        assert "attributes.gender.recode" in holes
        return
    assert list(study.factors["treatment"].levels) == ["Human", "Machine"]
    assert study.attributes["gender"].recode == {"1": "Male", "2": "Female"}
    assert study.outcomes["trust"].question == (WORDS["trust"],)
    assert "outcomes.trust.scale" not in holes
    if ending == "sav":
        assert study.outcomes["trust"].scale.missing == ("5",)
        assert list(study.outcomes["trust"].scale.levels) == ["1", "2", "3", "4"]


def exported(path, header_rows: int) -> None:
    """A survey program's export without its survey: names, words, import ids, and a preview among the answers."""
    rows = [
        ["StartDate", "Status", "Finished", "ResponseId", "FL_7_DO_Control", "FL_7_DO_Nudge", "Q1"],
        ["Start Date", "Response Type", "Finished", "Response ID", "FL_7", "FL_7", "How happy are you?"],
        ['{"ImportId":"startDate"}', *['{"ImportId":"x"}'] * 6],
    ][: header_rows if header_rows < 3 else 3]
    for i in range(40):
        arm = ["1", ""] if i % 2 else ["", "1"]
        status = "Survey Preview" if i == 0 else "IP Address"
        rows.append(["2024-01-01", status, str(i != 5), f"R_{i:015d}", *arm, str(1 + i % 7)])
    path.write_text(
        "".join(",".join(f'"{c.replace(chr(34), chr(34) * 2)}"' for c in row) + "\n" for row in rows)
    )


@pytest.mark.parametrize("header_rows", [1, 2, 3])
def test_an_export_without_its_survey_tells_words_arms_and_previews(tmp_path, header_rows):
    path = tmp_path / "export.csv"
    exported(path, header_rows)
    study, holes = drafted(path)
    assert list(study.factors["FL_7_DO"].levels) == ["Control", "Nudge"]
    assert study.factors["FL_7_DO"].levels["Nudge"].when[0]["FL_7_DO_Nudge"].is_ == ("1",)
    (scale,) = [outcome.scale for outcome in study.outcomes.values()]
    assert (scale.lo, scale.hi) == (1, 7)
    assert study.participant == ("ResponseId",)
    assert study.exclude[0].where["Status"].is_ == ("Survey Preview",)
    assert "1 response was not finished" in holes["exclude"]
    if header_rows > 1:
        assert study.outcomes["Q1"].question == ("How happy are you?",)
        assert "outcomes" not in holes


def test_a_table_without_answers_is_refused_with_what_its_columns_are(tmp_path):
    path = tmp_path / "answers.csv"
    path.write_text("id,email\n1,a@b.org\n2,c@d.org\n")
    with pytest.raises(
        InputError, match=r"no column holds answers on a scale .*email: it is about who or where"
    ):
        draft_of_table(path)


def test_of_two_columns_that_say_the_same_arm_the_worded_one_is_kept(tmp_path):
    path = tmp_path / "answers.csv"
    rows = "".join(f"{i % 2},{'Human' if i % 2 else 'Machine'},{1 + i % 5}\n" for i in range(20))
    path.write_text(f"cond,condition_name,y\n{rows}")
    study, _ = drafted(path)
    assert list(study.factors) == ["condition_name"]


def test_a_table_is_told_by_its_name(tmp_path):
    (tmp_path / "a.csv").touch()
    (tmp_path / "a.pdf").touch()
    assert is_table(tmp_path / "a.csv") and not is_table(tmp_path / "a.pdf") and not is_table(tmp_path)


@pytest.mark.slow
def test_the_command_drafts_from_a_table(table, tmp_path):
    command = [
        sys.executable,
        "-m",
        "socsci_jax",
        "data",
        "spec",
        "draft",
        str(table),
        "-o",
        str(tmp_path / "s.yaml"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "factors: treatment" in done.stdout
    assert "6 values are left open" in done.stdout


@pytest.mark.parametrize(
    ("asked", "labels", "attribute"),
    [
        ("Wie alt sind Sie?", [], "age"),
        ("Bitte geben Sie Ihr Geschlecht an.", ["männlich", "weiblich", "divers"], "gender"),
        ("Quel est votre sexe ?", ["Femme", "Homme"], "gender"),
        ("¿Cuál es su nivel de estudios?", ["Secundaria", "Universidad"], "education"),
        ("Wie hoch ist Ihr monatliches Haushaltseinkommen?", ["bis 1.000 Euro", "über 1.000 Euro"], "income"),
        ("Qual é o seu estado civil?", ["Solteiro", "Casado"], "marital_status"),
        ("Hoeveel personen telt uw huishouden?", [], "household_size"),
        ("Ist das Geschlecht eines Arztes wichtig?", ["ja", "nein"], None),
        ("Wie viel Einkommen sollte der Staat besteuern?", ["alles", "nichts"], None),
    ],
)
def test_attributes_are_told_in_other_languages_too(asked, labels, attribute):
    assert attribute_of_text(asked, labels) == attribute


def test_codes_of_no_answer_are_no_levels_and_no_ages(tmp_path):
    rows = [
        {"cond": i % 2, "sat": [1, 2, 3, 99][i % 4], "age": [-99, 30, 41][i % 3], "hours": [-99, 2, 5][i % 3]}
        for i in range(24)
    ]
    path = tmp_path / "x.sav"
    labels = {1: "Very bad", 2: "Fair", 3: "Very good", 99: "Refused"}
    pyreadstat.write_sav(pl.DataFrame(rows).to_pandas(), str(path), variable_value_labels={"sat": labels})
    specification = draft_of_table(path).specification
    study = next(iter(specification.studies.values()))
    assert list(study.outcomes["sat"].scale.levels) == ["1", "2", "3"]
    assert study.outcomes["sat"].scale.missing == ("99",)
    assert study.outcomes["hours"].scale.missing == ("-99",)
    assert study.outcomes["hours"].scale.lo == 2
    assert study.attributes["age"].missing == ("-99",)
    assert "-99 is taken for no answer" in specification.unresolved["outcomes.hours.scale"]
    assert "-99 is taken for no answer" in specification.unresolved["attributes.age.missing"]


def test_an_id_that_repeats_is_no_outcome_but_an_open_question(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("id,cond,y\n" + "".join(f"{i // 2},{'ab'[i % 2]},{1 + i % 5}\n" for i in range(40)))
    specification = draft_of_table(path).specification
    assert list(next(iter(specification.studies.values())).outcomes) == ["y"]
    assert "20 values in 40 rows" in specification.unresolved["participant"]


def labeled(tmp_path, cells: dict[str, list], labels: dict[str, dict]):
    """The draft of an SPSS file of which some codes have labels."""
    path = tmp_path / "x.sav"
    rows = max(map(len, cells.values()))
    filled = {
        name: [float(values[i % len(values)]) for i in range(rows * 10)] for name, values in cells.items()
    }
    pyreadstat.write_sav(pl.DataFrame(filled).to_pandas(), str(path), variable_value_labels=labels)
    specification = draft_of_table(path).specification
    return next(iter(specification.studies.values())), specification.unresolved


def test_labels_of_some_codes_are_ends_of_a_scale_and_codes_beside_it(tmp_path):
    study, unresolved = labeled(
        tmp_path,
        {"agree": [0, 3, 7, 9, 88, 99], "warm": [10, 35, 60, 998]},
        {
            "agree": {0: "Not at all", 10: "Completely", 88: "Don't know", 99: "Refused"},
            "warm": {998: "Don't know"},
        },
    )
    agree, warm = study.outcomes["agree"].scale, study.outcomes["warm"].scale
    assert (agree.lo, agree.hi, agree.labels) == (0, 10, {"0": "Not at all", "10": "Completely"})
    assert (agree.alternatives, agree.missing) == ({"88": "Don't know"}, ("99",))
    assert "outcomes.agree.scale" not in unresolved
    assert (warm.lo, warm.hi, warm.alternatives) == (10, 60, {"998": "Don't know"})
    assert "observed" in unresolved["outcomes.warm.scale"]


def test_codes_that_a_file_labels_as_refusals_are_nobodys_age_and_nobodys_gender(tmp_path):
    study, unresolved = labeled(
        tmp_path,
        {"age": [22, 35, 47, 61, 99], "gender": [1, 2, 9], "ideology": [1, 4, 7, 98], "trust": [1, 2, 3]},
        {
            "age": {99: "Refused"},
            "gender": {1: "Man", 2: "Woman", 9: "Refused"},
            "ideology": {1: "Very liberal", 7: "Very conservative", 98: "Prefer not to say"},
        },
    )
    assert study.attributes["age"].missing == ("99",)
    assert (study.attributes["gender"].recode, study.attributes["gender"].missing) == (
        {"1": "Man", "2": "Woman"},
        ("9",),
    )
    assert study.attributes["ideology"].recode == {"1": "Very liberal", "7": "Very conservative"}
    assert study.attributes["ideology"].missing == ("98",)
    assert not any(key.startswith("attributes") for key in unresolved)


def test_a_column_called_group_is_an_arm(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("group,mood\n" + "\n".join(f"{'AB'[i % 2]},{i % 5}" for i in range(20)))
    study = next(iter(draft_of_table(path).specification.studies.values()))
    assert list(study.factors["group"].levels) == ["A", "B"]
