"""Drafts from a table with its codebook: wordings, labels at the ends of a scale, codes of no answer."""

import os
import random

import polars as pl
import pytest
import yaml

import data_pipelines
from data_pipelines.drafting.codebook import find_codebook, read_entry
from data_pipelines.drafting.rules import write_draft
from data_pipelines.drafting.table_draft import draft_of_table, table_of
from data_pipelines.specified.codebook_entries import entries
from socsci_jax.errors import InputError
from socsci_jax.studies.specification_files import load_specification

ROWS = 60
CODEBOOK = """# Codebook

Trust was measured first. There were 60 people.

- `id` - participant number
- `treatment` - 1 = Human, 2 = Machine
- `sex` - What is your gender? 1 = Male, 2 = Female
- `trust` - numeric, response to the question "How much do you trust this advice?" (1 = not at all ... 7 = very much)
- `often` - How often do you ask for advice? 0 (never) to 10 (always)
- `use` - "Would you use it again?", 1 = No, 2 = Maybe, 3 = Yes; -99 = missing
- `warm` - How warm do you feel (in 3 steps), measured twice? 1 = cold
- `price` - What would you pay?
"""


def columns() -> dict[str, list]:
    draw = random.Random(0)
    return {
        "id": [f"p{i}" for i in range(ROWS)],
        "treatment": [1 + i % 2 for i in range(ROWS)],
        "sex": [draw.randint(1, 2) for _ in range(ROWS)],
        "trust": [draw.randint(2, 6) for _ in range(ROWS)],
        "often": [draw.randint(1, 9) for _ in range(ROWS)],
        "use": [draw.choice([1, 2, 3, -99]) for _ in range(ROWS)],
        "warm": [draw.randint(1, 3) for _ in range(ROWS)],
        "price": [draw.random() * 1000 for _ in range(ROWS)],
    }


@pytest.fixture
def deposit(tmp_path):
    folder = tmp_path / "deposit"
    folder.mkdir()
    pl.DataFrame(columns()).write_csv(folder / "answers.csv")
    (folder / "README.md").write_text(CODEBOOK)
    return folder


def drafted(folder):
    table = table_of(folder)
    assert table is not None
    specification = draft_of_table(table).specification
    (study,) = specification.studies.values()
    return study, specification


def test_labels_at_the_ends_arrive_with_the_ends_that_were_offered(deposit):
    study, specification = drafted(deposit)
    trust, often = study.outcomes["trust"], study.outcomes["often"]
    assert (trust.scale.lo, trust.scale.hi, dict(trust.scale.labels)) == (
        1,
        7,
        {"1": "not at all", "7": "very much"},
    )
    assert (often.scale.lo, often.scale.hi, dict(often.scale.labels)) == (
        0,
        10,
        {"0": "never", "10": "always"},
    )
    assert trust.question == ("How much do you trust this advice?",)
    assert often.question == ("How often do you ask for advice?",)
    assert not {"outcomes.trust.scale", "outcomes.often.scale"} & set(specification.unresolved)
    assert "README.md, entry trust" in specification.provenance["outcomes.trust"]
    assert specification.files["codebook"].path == "README.md"


def test_labels_of_all_codes_become_levels_arms_and_recodes_and_missing_codes_are_none_of_them(deposit):
    study, _ = drafted(deposit)
    use = study.outcomes["use"].scale
    assert (dict(use.levels), use.missing) == ({"1": "No", "2": "Maybe", "3": "Yes"}, ("-99",))
    assert list(study.factors["treatment"].levels) == ["Human", "Machine"]
    assert dict(study.attributes["gender"].recode) == {"1": "Male", "2": "Female"}


def test_an_entry_that_is_not_understood_leaves_its_hole_open_and_says_why(deposit):
    study, specification = drafted(deposit)
    hole = specification.unresolved["outcomes.warm.scale"]
    assert "ends that were observed" in hole and "README.md: " in hole
    assert study.outcomes["warm"].scale.hi == 3 and not study.outcomes["warm"].scale.labels


def test_cells_that_the_codebook_does_not_explain_are_named(deposit):
    table = pl.DataFrame(columns()).with_columns(trust=pl.Series([9, 8] * (ROWS // 2)))
    table.write_csv(deposit / "answers.csv")
    assert "does not explain '8', '9'" in drafted(deposit)[1].unresolved["outcomes.trust.scale"]


def test_a_codebook_whose_name_is_not_utf_8_is_not_left_out_without_a_word(deposit):
    os.rename(deposit / "README.md", os.fsencode(deposit) + b"/caf\xe9.md")
    with pytest.raises(InputError, match="the file's name is not UTF-8; give it another one"):
        draft_of_table(deposit / "answers.csv")


def test_the_draft_is_built_once_its_holes_are_settled(deposit):
    write_draft(draft_of_table(deposit / "answers.csv").specification, deposit / "study.yaml")
    tree = yaml.safe_load((deposit / "study.yaml").read_text())
    del tree["unresolved"], tree["outcomes"]["price"], tree["outcomes"]["warm"]
    for level, what in tree["factors"]["treatment"]["levels"].items():
        what["text"] = f"Advice came from a {level}."
    tree["factors"]["treatment"]["levels"]["Human"]["control"] = True
    (deposit / "study.yaml").write_text(yaml.safe_dump(tree))
    load_specification(deposit)
    store = data_pipelines.build(
        "study", str(deposit), deposit / "store", command="test", allow=["texts-in-deposit"]
    )
    scales = {item.outcome: item.scale for item in store.item_by_id.values()}
    assert scales["trust"].labels == ("not at all", "", "", "", "", "", "very much")
    assert scales["often"].levels == tuple(range(11))
    assert store.responses["value"].min() >= 1


@pytest.mark.parametrize(
    ("entry", "wording", "labels"),
    [
        ("trust | How warm is it? | 1 = not at all ... 7 = very much", "How warm is it?", ("not at all", "very much")),
        ("**trust** (1 = not at all, 7 = very much): Do you trust it?", "Do you trust it?", ("not at all", "very much")),
        ('- `trust` - 1-7 Likert, the question "How much?" ranging from Never (1) to Always (7)', "How much?", ("Never", "Always")),
        ("trust: 7-point scale, 1 = not at all, 7 = very much", "", ("not at all", "very much")),
        ("trust: 1 (not at all) – 7 (very much)", "", ("not at all", "very much")),
        ('trust: the scale "Trust in it" from 1 (low) to 7 (high)', "Trust in it", ("low", "high")),
    ],
)  # fmt: skip
def test_an_entry_tells_wording_and_ends(entry, wording, labels):
    told = read_entry(entry, "trust")
    assert (told.wording, told.scale.levels) == (wording, tuple(range(1, 8)))
    assert (told.scale.labels[0], told.scale.labels[-1]) == labels


def test_of_two_questions_neither_is_the_wording():
    assert read_entry('trust: "How warm?" or "How cold?" 1 = no, 2 = yes', "trust").wording == ""


def test_the_document_with_most_entries_is_the_codebook_and_a_mention_makes_none(deposit):
    (deposit / "notes.txt").write_text("trust: 1 = no, 2 = yes\noften: 1 = no, 2 = yes\n")
    (deposit / "a.md").write_text("trust is measured in the first week.\n")
    names = list(columns())
    found = find_codebook(deposit / "answers.csv", names)
    assert found is not None and found.path.name == "README.md"
    (deposit / "README.md").unlink()
    (deposit / "notes.txt").unlink()
    assert find_codebook(deposit / "answers.csv", names) is None


def test_a_folder_with_a_survey_file_or_several_tables_is_no_table(deposit):
    (deposit / "second.csv").write_text("a\n1\n")
    assert table_of(deposit) is None
    (deposit / "second.csv").rename(deposit / "survey.qsf")
    assert table_of(deposit) is None


@pytest.mark.parametrize(
    ("entry", "levels", "missing"),
    [
        ("x: 0-10; 999 = missing", range(11), (999,)),
        ("x: 1-7 (1 = low; 7 = high); missing: -99", range(1, 8), (-99,)),
        ("x: 0-100, 99 = don't know", (), ()),
    ],
)
def test_a_code_of_no_answer_may_stand_apart_from_the_scale(entry, levels, missing):
    told = read_entry(entry, "x")
    assert (told.scale.levels, told.scale.missing) == (tuple(levels), missing)
    assert bool(told.note) == (not levels)


def test_a_codebook_tells_codes_that_are_nobodys_age_and_amounts_between_whole_ends(deposit):
    table = columns() | {
        "age": [20 + i % 30 if i % 7 else 999 for i in range(ROWS)],
        "paid": [i / 7 for i in range(ROWS)],
    }
    pl.DataFrame(table).write_csv(deposit / "answers.csv")
    (deposit / "README.md").write_text(
        CODEBOOK + "- `age` - in years (999 = refused)\n- `paid` - dollars, 0-10\n"
    )
    study, specification = drafted(deposit)
    assert study.attributes["age"].missing == ("999",)
    assert study.outcomes["paid"].scale.number and study.outcomes["paid"].scale.hi == 10
    assert not {"attributes.age", "outcomes.paid.scale"} & set(specification.unresolved)


def test_an_entry_of_an_attribute_that_is_not_understood_is_named(deposit):
    pl.DataFrame(columns() | {"age": [20 + i % 30 for i in range(ROWS)]}).write_csv(deposit / "answers.csv")
    (deposit / "README.md").write_text(CODEBOOK + "- `age` - in years, top-coded at 45 in wave 2\n")
    assert "top-coded at 45" in drafted(deposit)[1].unresolved["attributes.age"]


def test_lines_of_a_german_codebook_are_entries_however_long_the_line_before(tmp_path):
    rows = ["VPN;Bedingung;Alter;Geschl;Zufr1;Zufr2"] + [
        f"{i};{1 + i % 2};{20 + i};{1 + i % 3};{1 + i % 5};{5 - i % 5}" for i in range(40)
    ]
    (tmp_path / "daten.csv").write_text("\n".join(rows))
    (tmp_path / "Codebuch.txt").write_text(
        "VPN: Versuchspersonennummer\nBedingung: 1 = Kontrollgruppe, 2 = Experimentalgruppe\nAlter: in Jahren\n"
        "Geschl: 1 = weiblich, 2 = männlich, 3 = divers\n"
        'Zufr1: "Ich bin mit meinem Leben zufrieden." 1 = stimme gar nicht zu, 5 = stimme voll und ganz zu\n'
        'Zufr2: "Ich bin sehr oft traurig." 1 = stimme voll zu, 5 = stimme gar nicht zu\n'
    )
    study, _ = drafted(tmp_path)
    assert study.participant == ("VPN",)
    assert list(study.factors["Bedingung"].levels) == ["Kontrollgruppe", "Experimentalgruppe"]
    assert study.attributes["age"].column == "Alter" and study.attributes["gender"].recode["1"] == "weiblich"
    assert study.outcomes["Zufr2"].question == ("Ich bin sehr oft traurig.",)
    assert study.outcomes["Zufr2"].scale.labels == {"1": "stimme voll zu", "5": "stimme gar nicht zu"}


def test_a_table_of_variables_is_a_codebook(deposit):
    (deposit / "README.md").unlink()
    (deposit / "codebook.csv").write_text(
        "variable,label,values\ntreatment,Arm,1 = Human\n,,2 = Machine\n"
        'trust,"""How much do you trust it?""","1 = not at all, 7 = very much"\nnothing,of these,1 = no\n'
    )
    study, _ = drafted(deposit)
    assert list(study.factors["treatment"].levels) == ["Human", "Machine"]
    assert study.outcomes["trust"].question == ("How much do you trust it?",)
    assert study.outcomes["trust"].scale.labels == {"1": "not at all", "7": "very much"}


@pytest.mark.parametrize(
    "names", ["anx_1 to anx_3", "anx_1-anx_3", "`anx_1`, `anx_2` and `anx_3`", "anx_1 – anx_3"]
)
def test_an_entry_of_several_columns_is_one_of_each(names):
    text = f"{names}: How tense? 0 = not at all, 3 = very\nsum: of the items\n"
    found = entries(text, ["anx_1", "anx_2", "anx_3", "sum"])
    assert list(found) == ["anx_1", "anx_2", "anx_3", "sum"]
    for name in ("anx_1", "anx_2", "anx_3"):
        told = read_entry(found[name], name)
        assert (told.wording, told.scale.levels) == ("How tense?", (0, 1, 2, 3))


def test_a_sentence_that_names_two_columns_is_no_entry_of_both():
    text = "mood and sum were measured.\nmood: 1 = bad, 2 = good\nsum: of the items\n"
    assert entries(text, ["mood", "sum"])["sum"] == "sum: of the items"
