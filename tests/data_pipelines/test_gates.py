"""Each gate refuses what it is there for, and a sound deposit passes all of them."""

import json
import random

import pytest
from small_deposit import CODEBOOK, answers, build, gates_in, refused, specification, write_deposit

from data_pipelines.gates import GATES
from socsci_jax.errors import InputError


def vignettes(texts: dict[str, str], variables: str) -> str:
    """A codebook of vignettes under headings, and entries of columns."""
    sections = "\n\n".join(f"### {name}\n\n{text}" for name, text in texts.items())
    return f"# Codebook\n\n## Vignettes\n\n{sections}\n\n## Variables\n\n{variables}"


def test_a_sound_deposit_passes_every_gate(tmp_path):
    store = build(write_deposit(tmp_path / "d"))
    assert [result["gate"] for result in store.manifest["gates"]] == [gate.name for gate in GATES]
    assert {result["status"] for result in store.manifest["gates"]} <= {"passed", "unchecked"}
    assert store.responses.height == 2 * 120 - 1
    assert store.rejects["reason"].to_list() == ["missing answer (code -99)"]


# --- The five failures that audits of an earlier pipeline found ---------------------------------------------------------


def test_an_inverted_factor_with_swapped_labels_is_refused(tmp_path):
    spec = specification()
    levels = spec["factors"]["arm"]["levels"]
    levels["Human"]["values"], levels["Machine"]["values"] = 2, 1
    message = refused(write_deposit(tmp_path / "d", spec=spec))
    assert gates_in(message) == {"labels-agree"}
    assert "factors.arm.levels.Human: the deposit calls code 2 'Machine'" in message


def test_a_text_under_the_other_levels_heading_is_refused(tmp_path):
    spec = specification()
    levels = spec["factors"]["arm"]["levels"]
    levels["Human"]["text"], levels["Machine"]["text"] = levels["Machine"]["text"], levels["Human"]["text"]
    message = refused(write_deposit(tmp_path / "d", spec=spec))
    assert gates_in(message) == {"labels-agree"}
    assert "its text is that under the heading of 'Machine'" in message


def twelve_arms() -> tuple[dict, list[dict], str]:
    """Three speakers by two tones by two lengths."""
    speakers = {
        "Nurse": "A nurse speaks to you.",
        "Clerk": "A clerk speaks to you.",
        "Judge": "A judge speaks to you.",
    }
    tones = {"Warm": "The tone is warm and kind.", "Cold": "The tone is cold and short."}
    lengths = {"Brief": "It takes a single minute.", "Long": "It takes a whole hour."}
    spec = specification()
    spec["factors"] = {
        name: {"levels": {level: {"text": {"file": "codebook", "heading": level}} for level in texts}}
        for name, texts in (("speaker", speakers), ("tone", tones), ("length", lengths))
    }
    draw = random.Random(1)
    cells = [(s, t, n) for s in speakers for t in tones for n in lengths]
    rows = [
        {"id": i, "age": draw.randint(18, 80), "region": draw.randint(1, 2), "trust": draw.randint(1, 3)}
        | {"price": draw.randint(0, 40)}
        | dict(zip(("speaker", "tone", "length"), cells[i % 12], strict=True))
        for i in range(240)
    ]
    variables = CODEBOOK.split("## Variables")[1].replace("- `arm`: assignment. 1 = Human; 2 = Machine\n", "")
    return spec, rows, vignettes(speakers | tones | lengths, variables)


def test_twelve_arms_with_their_own_texts_pass(tmp_path):
    spec, rows, codebook = twelve_arms()
    store = build(write_deposit(tmp_path / "d", rows=rows, codebook=codebook, spec=spec))
    assert store.items["stimulus"].n_unique() == 12


def test_a_dropped_factor_that_leaves_twelve_arms_three_texts_is_refused(tmp_path):
    spec, rows, codebook = twelve_arms()
    spec["stimulus"] = ["{speaker}"]
    message = refused(write_deposit(tmp_path / "d", rows=rows, codebook=codebook, spec=spec))
    assert gates_in(message) == {"different-texts", "factors-change-text"}
    assert "factor 'tone': levels 'Cold' and 'Warm' give the same text" in message
    assert "factor 'length': levels 'Brief' and 'Long' give the same text" in message


TWO_EXPERIMENTS = """# Questionnaire

## Experiment 1

### Loss frame

Two hundred of six hundred people will die.

### Gain frame

Four hundred of six hundred people will live.

`trust`: How much do you trust this advice? 1 = Not at all; 2 = A little; 3 = A lot

## Experiment 2

### High anchor

Is the tower higher than 900 meters?

### Low anchor

Is the tower higher than 20 meters?

`height`: How high is the tower, in meters?
"""


def two_experiments(headings: tuple[str, str]) -> tuple[dict, list[dict]]:
    spec = specification()
    spec["attributes"] = {}
    del spec["outcomes"]["price"]
    spec["factors"]["arm"]["levels"] = {
        name: {"values": value, "text": {"file": "codebook", "heading": heading}}
        for value, (name, heading) in enumerate(zip("AB", headings, strict=True), start=1)
    }
    rows = [
        {key: row[key] for key in ("id", "arm", "trust")} | {"height": 300 + i}
        for i, row in enumerate(answers())
    ]
    return spec, rows


def test_arms_with_the_scenarios_of_another_experiment_are_refused(tmp_path):
    spec, rows = two_experiments(("High anchor", "Low anchor"))
    message = refused(write_deposit(tmp_path / "d", rows=rows, codebook=TWO_EXPERIMENTS, spec=spec))
    assert gates_in(message) == {"texts-of-this-study"}
    assert "is in a part about height, none of which is a column of this study" in message


def test_arms_with_the_scenarios_of_their_own_experiment_pass(tmp_path):
    spec, rows = two_experiments(("Loss frame", "Gain frame"))
    build(write_deposit(tmp_path / "d", rows=rows, codebook=TWO_EXPERIMENTS, spec=spec))


def test_words_of_another_experiment_that_the_specification_copies_are_refused(tmp_path):
    spec, rows = two_experiments(("Loss frame", "Gain frame"))
    levels = spec["factors"]["arm"]["levels"]
    levels["A"]["text"] = "Is the tower higher than 900 meters?"
    levels["B"]["text"] = "Is the tower higher than 20 meters?"
    message = refused(write_deposit(tmp_path / "d", rows=rows, codebook=TWO_EXPERIMENTS, spec=spec))
    assert gates_in(message) == {"texts-of-this-study"}


def test_a_numbered_experiment_whose_columns_are_not_in_the_data_is_another_one(tmp_path):
    spec, rows = two_experiments(("High anchor", "Low anchor"))
    rows = [{key: value for key, value in row.items() if key != "height"} for row in rows]
    message = refused(write_deposit(tmp_path / "d", rows=rows, codebook=TWO_EXPERIMENTS, spec=spec))
    assert (
        "is in a part of 'Experiment 2', and the columns of this study are named in 'Experiment 1'" in message
    )


def test_fifteen_experiments_merged_into_two_arms_are_refused(tmp_path):
    spec = specification()
    levels = spec["factors"]["arm"]["levels"]
    levels["Human"]["values"], levels["Machine"]["values"] = list(range(1, 9)), list(range(9, 16))
    rows = [row | {"arm": 1 + i % 15} for i, row in enumerate(answers())]
    message = refused(write_deposit(tmp_path / "d", rows=rows, spec=spec))
    assert "factors.arm.levels.Human: pools the codes 1, 2, 3, 4, 5, 6, 7, 8" in message


def test_rows_of_experiments_that_no_level_names_are_refused(tmp_path):
    rows = [row | {"arm": 1 + i % 15} for i, row in enumerate(answers())]
    message = refused(write_deposit(tmp_path / "d", rows=rows))
    assert gates_in(message) == {"assignment-counts"}
    assert "104 rows are at no level of factor 'arm'" in message


def test_a_column_of_experiments_that_nothing_uses_is_refused(tmp_path):
    rows = [row | {"experiment": 1 + i // 2 % 15} for i, row in enumerate(answers())]
    message = refused(write_deposit(tmp_path / "d", rows=rows))
    assert gates_in(message) == {"assignments-used"}
    assert "column 'experiment' (15 values): its name says that it is an assignment" in message


def test_a_factor_that_only_the_codebook_tells_of_is_missed(tmp_path):
    spec, rows, codebook = twelve_arms()
    del spec["factors"]["tone"], spec["factors"]["length"]
    codebook += "- `tone`: tone of the speaker, randomly assigned\n- `length`: randomized\n"
    message = refused(write_deposit(tmp_path / "d", rows=rows, codebook=codebook, spec=spec))
    assert gates_in(message) == {"assignments-used"}
    assert "column 'tone' (2 values): the codebook says that it was assigned" in message
    assert "column 'length' (2 values)" in message


def test_an_unused_assignment_may_be_ignored_with_a_reason(tmp_path):
    rows = [row | {"version": 1 + i // 2 % 3} for i, row in enumerate(answers())]
    spec = specification()
    spec["ignored"] = {"version": "the order of the pages"}
    build(write_deposit(tmp_path / "d", rows=rows, spec=spec))


def test_a_label_beside_the_code_of_an_arm_is_no_other_assignment(tmp_path):
    rows = [row | {"condition": ["Human", "Machine"][row["arm"] - 1]} for row in answers()]
    build(write_deposit(tmp_path / "d", rows=rows))


def test_levels_by_when_that_pool_experiments_are_refused(tmp_path):
    rows = [row | {"arm": 1 + i % 15} for i, row in enumerate(answers())]
    spec = specification()
    for name, codes in (("Human", list(range(1, 9))), ("Machine", list(range(9, 16)))):
        spec["factors"]["arm"]["levels"][name] |= {"when": {"arm": codes}}
        del spec["factors"]["arm"]["levels"][name]["values"]
    message = refused(write_deposit(tmp_path / "d", rows=rows, spec=spec))
    assert "factors.arm.levels.Human: pools 8 codes of 'arm' into one arm" in message


@pytest.mark.parametrize(
    "entry",
    ["(1 = Human, 2 = Machine)", "Human = 1, Machine = 2", "(1) Human (2) Machine", "1: Human\n  2: Machine"],
)
def test_swapped_codes_are_seen_however_the_codebook_tells_them(tmp_path, entry):
    spec = specification()
    levels = spec["factors"]["arm"]["levels"]
    levels["Human"]["values"], levels["Machine"]["values"] = 2, 1
    codebook = CODEBOOK.replace("assignment. 1 = Human; 2 = Machine", f"assignment {entry}")
    message = refused(write_deposit(tmp_path / "d", codebook=codebook, spec=spec))
    assert gates_in(message) == {"labels-agree"}


def test_levels_that_swap_the_names_in_the_column_are_refused(tmp_path):
    rows = [row | {"arm": ["Human", "Machine"][row["arm"] - 1]} for row in answers()]
    spec = specification()
    levels = spec["factors"]["arm"]["levels"]
    levels["Human"]["values"], levels["Machine"]["values"] = "Machine", "Human"
    message = refused(write_deposit(tmp_path / "d", rows=rows, spec=spec))
    assert gates_in(message) == {"labels-agree"}
    assert "its code 'Machine' is the name of level 'Machine'" in message


def test_a_band_that_a_recode_makes_a_number_is_refused(tmp_path):
    rows = [row | {"income": ["$0-$1,000", "$1,001-$2,500"][i // 2 % 2]} for i, row in enumerate(answers())]
    spec = specification()
    spec["attributes"]["income"] = {"recode": {"$0-$1,000": "0", "$1,001-$2,500": "1"}}
    message = refused(write_deposit(tmp_path / "d", rows=rows, spec=spec))
    assert gates_in(message) == {"bands"}


def test_the_codebooks_number_of_people_in_an_arm_is_compared(tmp_path):
    codebook = (
        CODEBOOK.replace("reads the scan", "reads the scan", 1) + "\nHuman (n = 58), Machine (n = 60)\n"
    )
    message = refused(write_deposit(tmp_path / "d", codebook=codebook))
    assert gates_in(message) == {"assignment-counts"}
    assert "factors.arm.levels.Human: the codebook says n = 58, found are 60 people" in message


BANDS = "- `price`: What would you pay for it, in dollars? 1 = $1,001-$2,500; 2 = $2,501-$5,000; 3 = more than $5,000\n"


def with_bands() -> tuple[list[dict], str]:
    codebook = CODEBOOK.replace("- `price`: What would you pay for it, in dollars?\n", BANDS)
    return [row | {"price": 1 + i % 3} for i, row in enumerate(answers())], codebook


def test_codes_of_bands_that_become_quantities_are_refused(tmp_path):
    rows, codebook = with_bands()
    message = refused(write_deposit(tmp_path / "d", rows=rows, codebook=codebook))
    assert gates_in(message) == {"bands"}
    assert "code 1 stands for the band '$1,001-$2,500', and the scale takes it for a quantity" in message


def test_cells_of_bands_never_lose_all_but_their_first_digits(tmp_path):
    rows = [row | {"price": "$1,001-$2,500"} for row in answers()]
    message = refused(write_deposit(tmp_path / "d", rows=rows))
    assert gates_in(message) == {"bands", "values-on-scale"}


def test_bands_that_are_levels_with_these_labels_pass(tmp_path):
    rows, codebook = with_bands()
    spec = specification()
    labels = {"1": "$1,001-$2,500", "2": "$2,501-$5,000", "3": "more than $5,000"}
    spec["outcomes"]["price"]["scale"] = {"levels": labels}
    store = build(write_deposit(tmp_path / "d", rows=rows, codebook=codebook, spec=spec))
    assert {item.scale.labels[0] for item in store.item_by_id.values() if item.outcome == "price"} == {
        "$1,001-$2,500"
    }


# --- The other gates ----------------------------------------------------------------------------------------------------


def test_words_that_no_file_of_the_deposit_has_are_refused(tmp_path):
    spec = specification()
    spec["factors"]["arm"]["levels"]["Machine"]["text"] = "A robot with a kind voice reads the scan."
    message = refused(write_deposit(tmp_path / "d", spec=spec))
    assert gates_in(message) == {"texts-in-deposit"}
    assert '"A robot with a kind voice reads the scan." stands in no file' in message


def test_equal_texts_may_be_declared_with_a_reason(tmp_path):
    spec = specification()
    spec["factors"]["arm"]["same_text"] = "the arms differ in a picture"
    spec["factors"]["arm"]["levels"]["Machine"]["text"] = spec["factors"]["arm"]["levels"]["Human"]["text"]
    spec["factors"]["arm"]["levels"]["Human"]["text"] = {
        "file": "codebook",
        "after": "### Human",
        "until": "### M",
    }
    spec["factors"]["arm"]["levels"]["Machine"]["text"] = {
        "file": "codebook",
        "after": "### Human",
        "until": "### M",
    }
    build(write_deposit(tmp_path / "d", spec=spec))
    del spec["factors"]["arm"]["same_text"]
    assert gates_in(refused(write_deposit(tmp_path / "e", spec=spec))) == {
        "different-texts",
        "factors-change-text",
    }


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"count": 61}, "factors.arm.levels.Human: the deposit says 61 people, found are 60"),
        ({"values": 9}, "60 rows are at no level of factor 'arm'"),
    ],
)
def test_counts_that_are_not_the_deposits_are_refused(tmp_path, change, complaint):
    spec = specification()
    spec["factors"]["arm"]["levels"]["Human"] |= change
    message = refused(write_deposit(tmp_path / "d", spec=spec))
    assert "assignment-counts" in gates_in(message)
    assert complaint in message


def test_a_table_of_another_size_than_the_codebook_says_is_refused(tmp_path):
    spec = specification()
    spec["files"]["data"] = {"path": "answers.csv", "rows": 121, "columns": 6}
    assert "files.data: the deposit says 121 rows, found are 120" in refused(
        write_deposit(tmp_path / "d", spec=spec)
    )


def test_arms_that_differ_in_who_is_in_them_are_refused(tmp_path):
    rows = [row | {"region": row["arm"] if i % 10 else 1} for i, row in enumerate(answers())]
    message = refused(write_deposit(tmp_path / "d", rows=rows))
    assert gates_in(message) == {"balance"}
    assert "its arms differ in 'region' more than chance allows" in message


def test_arms_of_unequal_size_need_a_reason(tmp_path):
    rows = [row | {"arm": 1 if i % 10 else 2} for i, row in enumerate(answers())]
    assert gates_in(refused(write_deposit(tmp_path / "d", rows=rows))) == {"balance"}
    spec = specification()
    spec["factors"]["arm"]["levels"]["Human"]["share"] = 0.9
    build(write_deposit(tmp_path / "e", rows=rows, spec=spec))


def test_a_person_who_is_counted_twice_is_refused(tmp_path):
    rows = answers()
    rows.append(rows[0] | {"trust": 2})
    message = refused(write_deposit(tmp_path / "d", rows=rows))
    assert gates_in(message) == {"people-once"}
    assert "1 person answered the same item more than once (first: 100)" in message


def test_a_person_in_two_arms_of_a_factor_between_people_is_refused(tmp_path):
    rows = answers()
    rows += [row | {"arm": 3 - row["arm"]} for row in rows]
    message = refused(write_deposit(tmp_path / "d", rows=rows))
    assert "people-once" in gates_in(message)
    assert "say `within: true`" in message


@pytest.mark.parametrize("value", ["4", "0", "2.5", "yes", "1 or 2"])
def test_an_answer_outside_its_scale_is_refused(tmp_path, value):
    rows = answers()
    rows[3]["trust"] = value
    message = refused(write_deposit(tmp_path / "d", rows=rows))
    assert gates_in(message) == {"values-on-scale"}
    assert f"'{value}' (1)" in message


def test_a_label_that_the_codebook_does_not_have_is_refused(tmp_path):
    spec = specification()
    spec["outcomes"]["trust"]["scale"]["levels"] = {"1": "A lot", "2": "A little", "3": "Not at all"}
    message = refused(write_deposit(tmp_path / "d", spec=spec))
    assert gates_in(message) == {"labels-agree"}
    assert "code 1 is 'A lot' here, the deposit calls it 'Not at all'" in message


def test_a_recode_that_the_codebook_contradicts_is_refused(tmp_path):
    spec = specification()
    spec["attributes"]["region"]["recode"] = {"1": "South", "2": "North"}
    assert gates_in(refused(write_deposit(tmp_path / "d", spec=spec))) == {"labels-agree"}


def test_a_recode_that_misses_codes_of_the_data_is_refused_with_their_list(tmp_path):
    rows = answers()
    rows[3]["region"], rows[4]["region"], rows[6]["region"] = 3, 8, 8
    message = refused(write_deposit(tmp_path / "d", rows=rows))
    assert gates_in(message) == {"recodes-complete"}
    assert "attributes.region: the recode misses 3 (1), 8 (2)" in message
    spec = specification()
    spec["attributes"]["region"]["missing"] = [3, 8]
    assert build(write_deposit(tmp_path / "d", rows=rows, spec=spec)).responses.height > 0


def test_a_recode_of_the_ends_of_a_quantity_is_complete(tmp_path):
    rows = answers()
    rows[3]["age"] = 90
    spec = specification()
    spec["attributes"]["age"] = {"recode": {"90": "90 or older"}}
    assert build(write_deposit(tmp_path / "d", rows=rows, spec=spec)).responses.height > 0


@pytest.mark.parametrize(
    "derived",
    [
        lambda row: row["trust"],
        lambda row: "trusting" if row["trust"] == 3 else "wary",
        lambda row: f"score {row['price']}",
    ],
)
def test_an_attribute_that_gives_the_answer_away_is_refused(tmp_path, derived):
    rows = [row | {"mood": derived(row)} for row in answers()]
    spec = specification()
    spec["attributes"]["mood"] = "mood"
    message = refused(write_deposit(tmp_path / "d", rows=rows, spec=spec))
    assert "answer-in-prompt" in gates_in(message)
    assert "attributes.mood: tells the answer to" in message


def test_the_outcomes_own_column_as_an_attribute_is_refused(tmp_path):
    spec = specification()
    spec["attributes"]["trusting"] = "trust"
    assert "shows column 'trust', which is the outcome 'trust'" in refused(
        write_deposit(tmp_path / "d", spec=spec)
    )


PLANTED = {
    "e-mail": lambda i: f"ann{i}@example.org",
    "ip": lambda i: f"192.0.2.{i % 250}",
    "ipv6": lambda i: f"2001:db8:0:0:0:0:0:{i:x}",
    "coordinates": lambda i: f"{40 + i / 1000:.5f}, {-70 - i / 1000:.5f}",
    "panel": lambda i: f"{i:024x}",
    "response": lambda i: f"R_{i:015d}",
    "name": lambda i: (
        f"{['Anna', 'Bert', 'Cleo', 'Dora'][i % 4]} Xu{'abcdefghij'[i % 10]}{'klmnopqrst'[i // 10 % 10]}er"
    ),
    "birthday": lambda i: f"19{50 + i % 50}-03-1{i % 10}",
    "phone": lambda i: f"(555) 010-{1000 + i}",
    "text": lambda i: f"I am the only baker in the village number {i}, by the river behind the mill.",
}


@pytest.mark.parametrize("kind", PLANTED)
def test_personal_details_among_attributes_are_refused(tmp_path, kind):
    rows = [row | {"extra": PLANTED[kind](i)} for i, row in enumerate(answers())]
    spec = specification()
    spec["attributes"]["extra"] = "extra"
    message = refused(write_deposit(tmp_path / "d", rows=rows, spec=spec))
    assert gates_in(message) == {"personal-details"}
    assert PLANTED[kind](7) not in message


@pytest.mark.parametrize(
    "column", ["FirstName", "last_name", "RecipientEmail", "IPAddress", "LocationLatitude", "zip"]
)
def test_columns_that_name_people_are_refused(tmp_path, column):
    rows = [row | {column: f"x{i % 3}"} for i, row in enumerate(answers())]
    spec = specification()
    spec["attributes"]["where"] = column
    assert gates_in(refused(write_deposit(tmp_path / "d", rows=rows, spec=spec))) == {"personal-details"}


def test_ids_of_a_panel_are_refused_and_can_be_numbered(tmp_path):
    rows = [row | {"id": f"{row['id']:024x}"} for row in answers()]
    assert gates_in(refused(write_deposit(tmp_path / "d", rows=rows))) == {"personal-details"}
    spec = specification()
    spec["number_participants"] = True
    store = build(write_deposit(tmp_path / "e", rows=rows, spec=spec))
    assert store.participants["participant_id"].to_list()[:3] == ["person-1", "person-2", "person-3"]


def test_a_rejected_cell_keeps_no_personal_details(tmp_path):
    rows = answers()
    rows[3]["trust"] = "write to ann@example.org"
    store = build(write_deposit(tmp_path / "d", rows=rows), allow=("values-on-scale",))
    assert json.loads(store.rejects["record"][0])["cell"] == "write to [removed]"


# --- Refusals and waivers -----------------------------------------------------------------------------------------------


def test_a_failing_study_is_refused_with_the_whole_list(tmp_path):
    rows = [row | {"trust": 9, "region": row["arm"]} for row in answers()]
    spec = specification()
    spec["factors"]["arm"]["levels"]["Human"]["count"] = 10
    message = refused(write_deposit(tmp_path / "d", rows=rows, spec=spec))
    assert gates_in(message) == {"assignment-counts", "balance", "values-on-scale"}
    assert "`allow=[assignment-counts, balance, values-on-scale]`" in message


def test_a_code_beside_the_scale_is_told_where_it_belongs(tmp_path):
    rows = [row | {"trust": 98 if i == 3 else 1 + i % 3} for i, row in enumerate(answers())]
    message = refused(write_deposit(tmp_path / "d", rows=rows))
    assert "1 gate refuses it" in message
    assert "'98' (1); codes outside the scale go under its `missing` (no answer) or `alternatives`" in message


def test_a_waiver_is_recorded_in_the_store(tmp_path):
    rows = [row | {"trust": 9 if i == 3 else 1 + i % 3} for i, row in enumerate(answers())]
    store = build(write_deposit(tmp_path / "d", rows=rows), allow=("values-on-scale",))
    (waived,) = [result for result in store.manifest["gates"] if result["status"] == "waived"]
    assert waived["gate"] == "values-on-scale"
    assert "1 answer is outside the scale: '9' (1)" in waived["findings"][0]
    assert store.manifest["command"].endswith("--allow values-on-scale")


def test_a_gate_that_does_not_exist_cannot_be_waived(tmp_path):
    with pytest.raises(InputError, match=r"no such gate; did you mean 'balance'\?"):
        build(write_deposit(tmp_path / "d"), allow=("balanc",))


def test_an_address_that_the_codebook_prints_is_part_of_what_people_read(tmp_path):
    codebook = CODEBOOK.replace(
        "tells you what it shows.", "tells you what it shows, from ann@example.org.", 1
    )
    build(write_deposit(tmp_path / "d", codebook=codebook))


def test_an_attribute_that_tells_an_answer_is_kept_from_rows_that_ask_it(tmp_path):
    rows = answers()
    for i, row in enumerate(rows):
        row["asked"] = "trust" if i % 4 < 2 else "price"
        row["said"] = f"level {row['trust']}" if row["trust"] > 0 else "level 1"
    spec = specification()
    spec["attributes"]["said"] = {"column": "said"}
    for name in ("trust", "price"):
        spec["outcomes"][name]["rows"] = {"asked": name}
    assert gates_in(refused(write_deposit(tmp_path / "told", rows=rows, spec=spec))) == {"answer-in-prompt"}
    spec["attributes"]["said"]["rows"] = {"asked": {"not": "trust"}}
    store = build(write_deposit(tmp_path / "untold", rows=rows, spec=spec))
    assert sum(known["said"] is None for known in store.personas.values()) == 59
