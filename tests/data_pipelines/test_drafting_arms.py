"""Drafting by rules: arms, factors and their texts, told from the flow and the columns of a Qualtrics deposit."""

from __future__ import annotations

import invented_qualtrics as q
import polars as pl
import pytest
from qualtrics_drafts import counts, only_study, settled, vignettes

from data_pipelines.drafting.rules import draft_by_rules, write_draft
from data_pipelines.specified.build import build


def test_an_element_of_the_flow_without_an_id_is_named_by_its_place(tmp_path):
    folder = q.two_arms(tmp_path / "kim")
    survey = folder / "survey.qsf"
    survey.write_text(survey.read_text().replace('"Type": "Standard", "FlowID": "FL_9"', '"Type": "Unknown"'))
    draft = draft_by_rules(folder)
    assert [level.name for level in draft.design.factors["FL_7"].levels] == [
        "Warm Kim",
        "element 4 of the flow",
    ]


@pytest.mark.parametrize("assigned", ["split", "joined", "none"])
def test_arms_are_told_by_display_order_or_by_questions_of_one_arm(tmp_path, assigned):
    draft = draft_by_rules(q.two_arms(tmp_path / "kim", assigned=assigned))
    assert counts(draft, "FL_7") == {"Warm Kim": 6, "Cold Kim": 6}


@pytest.mark.parametrize(
    ("assigned", "level"),
    [
        ("split", {"when": [{"FL_7_DO_WarmKim": {"present": True}}]}),
        ("joined", {"values": ["WarmKim"]}),
        ("none", {"when": [{"seen_warm": {"present": True}}]}),
    ],
)
def test_the_assignment_is_written_as_columns(tmp_path, assigned, level):
    draft = draft_by_rules(q.two_arms(tmp_path / "kim", assigned=assigned))
    study = next(s for s in settled(draft).studies.values() if "trust" in s.outcomes)
    found = study.factors["FL_7"].levels["Warm Kim"].model_dump(exclude_defaults=True, by_alias=True)
    assert {key: found[key] for key in level} == {
        key: tuple(value) if isinstance(value, list) else value for key, value in level.items()
    }


def test_texts_that_one_arm_read_are_its_stimulus(tmp_path):
    draft = draft_by_rules(q.two_arms(tmp_path / "kim"))
    study = next(s for s in settled(draft).studies.values() if "trust" in s.outcomes)
    assert study.stimulus == ("{FL_7}",)
    assert {n: [p.question for p in level.text] for n, level in study.factors["FL_7"].levels.items()} == {
        "Warm Kim": ["QID1"],
        "Cold Kim": ["QID2"],
    }


def test_what_two_traces_say_differently_is_counted_and_left_open(tmp_path):
    folder = q.two_arms(tmp_path / "kim")
    path = folder / "response.csv"
    lines = path.read_text().splitlines()
    lines[3] = lines[3].replace("R_0,1,1,,", "R_0,1,,1,")
    path.write_text("\n".join(lines) + "\n")
    draft = draft_by_rules(folder)
    assert draft.design.assignments["FL_7"].conflicts == 1
    assert any(
        "of 1 person two columns tell different levels" in hole
        for hole in draft.specification.unresolved.values()
    )


def test_a_field_that_a_randomizer_sets_is_a_factor_and_its_value_the_piped_text(tmp_path):
    survey_ = q.survey(
        [q.single("QID1", "fair", "Is it fair to charge ${e://Field/fee}?", "Very unfair", "Unfair", "Fair")],
        [q.block("BL_1", "Fair", "QID1")],
        [q.randomizer("FL_2", q.fields("FL_3", fee="a resort fee"), q.fields("FL_4", fee="a tax")), q.show("FL_5", "BL_1")],
    )  # fmt: skip
    rows = [["a resort fee", "1"], ["a tax", "2"], ["a tax", "3"]]
    draft = draft_by_rules(
        q.write_deposit(tmp_path / "d", survey_, [q.column("fee", "fee"), q.column("fair", "QID1")], rows)
    )
    study = only_study(draft)
    assert study.factors["fee"].column == "fee"
    assert study.factors["fee"].levels["a tax"].text == ("a tax",)
    assert study.stimulus == ()
    assert study.outcomes["fair"].question[0].replace == {"${e://Field/fee}": "{fee}"}
    assert not draft.specification.unresolved


def test_of_fields_set_in_random_order_the_last_one_counts(tmp_path):
    flow = [
        q.randomizer("FL_2", q.fields("FL_3", arm="x"), q.fields("FL_4", arm="y"), shown=2),
        q.branch("FL_5", "arm", "x", q.show("FL_6", "BL_1")),
        q.branch("FL_7", "arm", "y", q.show("FL_8", "BL_2")),
    ]
    draft = vignettes(
        flow,
        [q.text("QID1", "x", "Text X"), q.text("QID2", "y", "Text Y")],
        [q.block("BL_1", "X", "QID1"), q.block("BL_2", "Y", "QID2")],
        columns=[q.column("FL_2_DO_FL_3", "FL_2_DO", "FL_3"), q.column("FL_2_DO_FL_4", "FL_2_DO", "FL_4")],
        rows=[["1", "2", "1"], ["2", "1", "1"], ["1", "2", "3"]],
        folder=tmp_path / "d",
    )
    assert counts(draft, "arm") == {"y": 2, "x": 1}


def test_a_block_that_draws_one_of_its_texts_is_a_factor(tmp_path):
    drawn = q.block("BL_1", "Story", "QID1", "QID2", RandomizeQuestions="RandomWithOnlyX",
                    Randomization={"Advanced": {"TotalRandSubset": 1}})  # fmt: skip
    draft = vignettes(
        [q.show("FL_2", "BL_1")],
        [q.text("QID1", "happy", "A happy story"), q.text("QID2", "sad", "A sad story")],
        [drawn],
        columns=[q.column("Story_DO_happy", "BL_1_DO", "happy"), q.column("Story_DO_sad", "BL_1_DO", "sad")],
        rows=[["1", "", "1"], ["", "1", "2"], ["", "1", "3"]],
        folder=tmp_path / "d",
    )
    assert counts(draft, "Story") == {"happy": 1, "sad": 2}
    assert [p.question for p in only_study(draft).factors["Story"].levels["sad"].text] == ["QID2"]


def test_a_field_from_a_link_that_decides_what_is_shown_is_a_factor(tmp_path):
    draft = vignettes(
        [q.fields("FL_2", cell=None), q.show("FL_3", "BL_1")],
        [
            q.text("QID1", "a", "Text A", DisplayLogic=q.logic("cell", "1")),
            q.text("QID2", "b", "Text B", DisplayLogic=q.logic("cell", "2")),
        ],
        [q.block("BL_1", "Texts", "QID1", "QID2")],
        columns=[q.column("cell", "cell")],
        rows=[["1", "1"], ["2", "2"], ["2", "3"]],
        folder=tmp_path / "d",
    )
    assert counts(draft, "cell") == {"1": 1, "2": 2}
    assert [p.question for p in only_study(draft).factors["cell"].levels["2"].text] == ["QID2"]


def test_the_same_draw_in_two_orders_is_one_factor_and_the_order_another(tmp_path):
    def draw(flow_id):
        return q.randomizer(
            f"FL_{flow_id}", q.show(f"FL_{flow_id + 1}", "BL_1"), q.show(f"FL_{flow_id + 2}", "BL_2")
        )

    flow = [
        q.randomizer(
            "FL_2",
            q.group("FL_3", "Before", draw(10), q.show("FL_4", "BL_3")),
            q.group("FL_5", "After", q.show("FL_6", "BL_3"), draw(20)),
        )
    ]
    draft = vignettes(
        flow,
        [q.text("QID1", "a", "Text A"), q.text("QID2", "b", "Text B"), q.text("QID3", "c", "Pause")],
        [q.block("BL_1", "A", "QID1"), q.block("BL_2", "B", "QID2"), q.block("BL_3", "C", "QID3")],
        columns=[
            q.column("FL_2_DO", "FL_2_DO"),
            q.column("FL_10_DO", "FL_10_DO"),
            q.column("FL_20_DO", "FL_20_DO"),
        ],
        rows=[["FL_3", "A", "", "1"], ["FL_5", "", "B", "2"], ["FL_3", "B", "", "3"]],
        folder=tmp_path / "d",
    )
    assert counts(draft, "FL_10") == {"A": 1, "B": 2}
    assert counts(draft, "FL_2") == {"Before": 2, "After": 1}
    study = only_study(draft)
    assert study.factors["FL_2"].same_text
    assert any("come from other columns" in hole for hole in draft.specification.unresolved.values())


def read_by(draft, folder, out):
    """(condition, stimulus) -> number of answers in the store that the settled draft builds."""
    write_draft(draft.specification.model_copy(update={"unresolved": {}}), folder / "study.yaml")
    store = build(folder, out)
    found = store.responses.join(store.items, on="item_id").group_by("condition", "stimulus").len()
    return {(condition, stimulus.strip()): n for condition, stimulus, n in found.iter_rows()}


def test_a_draw_within_one_arm_has_a_level_for_those_who_never_met_it(tmp_path):
    inner = q.randomizer("FL_10", q.show("FL_11", "BL_2"), q.show("FL_12", "BL_3"))
    flow = [q.randomizer("FL_2", q.show("FL_3", "BL_1"), q.group("FL_4", "Treated", inner))]
    draft = vignettes(
        flow,
        [
            q.text("QID1", "a", "Nothing happens."),
            q.text("QID2", "b", "It rains."),
            q.text("QID3", "c", "It snows."),
        ],
        [
            q.block("BL_1", "Control", "QID1"),
            q.block("BL_2", "Rain", "QID2"),
            q.block("BL_3", "Snow", "QID3"),
        ],
        columns=[q.column("FL_2_DO", "FL_2_DO"), q.column("FL_10_DO", "FL_10_DO")],
        rows=[["Control", "", "1"], ["FL_4", "Rain", "2"], ["FL_4", "Snow", "3"], ["Control", "", "2"]] * 5,
        folder=tmp_path / "d",
    )
    assert draft.design.nested["FL_10"] == {"FL_2": frozenset({1})}
    assert not only_study(draft).conditions
    assert read_by(draft, tmp_path / "d", tmp_path / "store") == {
        ("Control, not met", "Nothing happens."): 10,
        ("Treated, Rain", "It rains."): 5,
        ("Treated, Snow", "It snows."): 5,
    }


def test_a_text_that_two_factors_decide_on_together_is_that_of_their_condition(tmp_path):
    def both(a, b):
        first = q.logic("a", a)["0"]["0"]
        return {"0": {"0": first, "1": q.logic("b", b)["0"]["0"] | {"Conjuction": "And"}, "Type": "If"}}

    flow = [
        q.randomizer("FL_2", q.fields("FL_3", a="1"), q.fields("FL_4", a="2")),
        q.randomizer("FL_5", q.fields("FL_6", b="x"), q.fields("FL_7", b="y")),
        *[
            {**q.branch(f"FL_1{i}", "a", a, q.show(f"FL_2{i}", f"BL_{i}")), "BranchLogic": both(a, b)}
            for i, (a, b) in enumerate([("1", "x"), ("1", "y"), ("2", "x"), ("2", "y")])
        ],
    ]
    draft = vignettes(
        flow,
        [q.text(f"QID{i}", f"t{i}", f"Text number {i}.") for i in range(4)],
        [q.block(f"BL_{i}", f"Block {i}", f"QID{i}") for i in range(4)],
        columns=[q.column("a", "a"), q.column("b", "b")],
        rows=[["1", "x", "1"], ["1", "y", "2"], ["2", "x", "3"], ["2", "y", "1"], ["2", "y", "2"]] * 5,
        folder=tmp_path / "d",
    )
    assert read_by(draft, tmp_path / "d", tmp_path / "store") == {
        ("1, x", "Text number 0."): 5,
        ("1, y", "Text number 1."): 5,
        ("2, x", "Text number 2."): 5,
        ("2, y", "Text number 3."): 10,
    }


def test_a_random_number_that_branches_turn_into_a_text_is_a_factor(tmp_path):
    flow = [
        q.fields("FL_2", dice="${rand://int/1:2}"),
        q.branch("FL_3", "dice", "1", q.fields("FL_4", fee="a toll")),
        q.branch("FL_5", "dice", "2", q.fields("FL_6", fee="a tax")),
    ]
    survey_ = q.survey(
        [q.single("QID9", "mood", "Is ${e://Field/fee} fair?", "Very unfair", "Unfair", "Fair")],
        [q.block("BL_9", "Mood", "QID9")],
        [*flow, q.show("FL_99", "BL_9")],
    )
    columns = [q.column("dice", "dice"), q.column("mood", "QID9")]
    folder = q.write_deposit(tmp_path / "d", survey_, columns, [["1", "1"], ["2", "2"], ["2", "3"]])
    draft = draft_by_rules(folder)
    assert counts(draft, "dice") == {"1": 1, "2": 2}
    assert not draft.specification.unresolved
    write_draft(draft.specification, folder / "study.yaml")
    store = build(folder, tmp_path / "store")
    assert sorted(store.items["question"].to_list()) == ["Is a tax fair?\n", "Is a toll fair?\n"]


def test_where_too_few_met_each_combination_factors_met_before_are_left_open(tmp_path):
    flow, questions, blocks = [], [], []
    for i in range(3):
        flow.append(q.randomizer(f"FL_{i}0", *[q.show(f"FL_{i}{k + 1}", f"BL_{i}{k}") for k in range(3)]))
        questions += [q.text(f"QID1{i}{k}", f"t{i}{k}", f"Text {i} {k}") for k in range(3)]
        blocks += [q.block(f"BL_{i}{k}", f"B{i}{k}", f"QID1{i}{k}") for k in range(3)]
    rows = [[f"B0{n % 3}", f"B1{n // 3 % 3}", f"B2{n // 9 % 3}", "1"] for n in range(27)]
    columns = [q.column(f"FL_{i}0_DO", f"FL_{i}0_DO") for i in range(3)]
    draft = vignettes(flow, questions, blocks, columns=columns, rows=rows, folder=tmp_path / "d")
    assert "too few met each combination" in draft.specification.unresolved["outcomes.mood"]
    assert not only_study(draft).factors


def test_an_arm_that_nothing_tells_is_a_named_hole(tmp_path):
    folder = q.two_arms(tmp_path / "kim", assigned="none")
    (folder / "response.csv").write_text(
        "ResponseId,Finished,trust,gender\n" + "\n".join(f"R_{i},1,{1 + i % 4},1" for i in range(9)) + "\n"
    )
    draft = draft_by_rules(folder)
    assert draft.specification.unresolved["factors.FL_7"] == "no column tells people's levels"


def test_people_who_never_met_a_draw_are_no_rows_of_its_study(tmp_path):
    draft = draft_by_rules(some_met_it(tmp_path / "d"))
    study = only_study(draft)
    assert study.rows["fee"].is_ == ("toll", "tax")
    assert draft.specification.provenance["rows"] == "1 person is at no level of fee"


def some_met_it(folder):
    survey_ = q.survey(
        [q.single("QID1", "fair", "Is a ${e://Field/fee} fair?", "Very unfair", "Unfair", "Fair")],
        [q.block("BL_1", "Fair", "QID1")],
        [q.branch("FL_9", "drives", "1",
                  q.randomizer("FL_2", q.fields("FL_3", fee="toll"), q.fields("FL_4", fee="tax")), q.show("FL_5", "BL_1"))],
    )  # fmt: skip
    rows = [["toll", "1"], ["tax", "2"], ["tax", "3"], ["", ""]]
    return q.write_deposit(folder, survey_, [q.column("fee", "fee"), q.column("fair", "QID1")], rows)


def test_a_settled_draft_builds_a_store_whose_arms_are_the_deposits(tmp_path):
    folder = q.two_arms(tmp_path / "kim")
    draft = draft_by_rules(folder)
    settled_ = draft.specification.model_copy(update={"unresolved": {}})
    write_draft(settled_, folder / "study.yaml")
    store = build(folder, tmp_path / "store")
    trust = store.items.filter(pl.col("outcome") == "trust")
    people = store.responses.join(trust, on="item_id").group_by("condition", "stimulus").len()
    assert sorted(people.rows()) == [
        ("Cold Kim", "You read that Kim frowns.\n\n", 6),
        ("Warm Kim", "You read that Kim smiles.\n\n", 6),
    ]


def asked_of(draft, folder, out, *, outcome="mood"):
    """condition -> what its people read of the question in the store that the settled draft builds."""
    write_draft(draft.specification.model_copy(update={"unresolved": {}}), folder / "study.yaml")
    items = build(folder, out).items
    return {
        row["condition"]: (row["stimulus"].strip(), row["question"].strip())
        for row in items.iter_rows(named=True)
        if row["outcome"] == outcome
    }


def loan(folder, *, blocks, flow=()):
    """Two draws of fields: a name with its pronoun, and an age, both piped into one vignette."""
    survey_ = q.survey(
        [
            q.text("QID1", "vignette", "${e://Field/name} is ${e://Field/age}. ${e://Field/she} asks for a loan."),
            q.single("QID2", "grant", "Would you grant it?", "Yes", "No"),
            q.single("QID9", "mood", "How do you feel?", "Very bad", "Bad", "Good"),
        ],
        blocks,
        [
            q.randomizer("FL_2", q.fields("FL_3", name="Ann", she="She"), q.fields("FL_4", name="Bob", she="He")),
            q.randomizer("FL_5", q.fields("FL_6", age="25"), q.fields("FL_7", age="60")),
            *[q.show(f"FL_1{i}", block["ID"]) for i, block in enumerate(blocks)],
        ],
    )  # fmt: skip
    columns = [
        q.column("mood", "QID9"),
        q.column("grant", "QID2"),
        *[q.column(f, f) for f in ("name", "she", "age")],
    ]
    rows = [
        [1 + i % 3, 1 + i % 2, *(("Ann", "She"), ("Bob", "He"))[i // 2 % 2], (25, 60)[i // 4 % 2]]
        for i in range(48)
    ]
    return draft_by_rules(q.write_deposit(folder, survey_, columns, rows))


READ = {
    "Ann, 25": "Ann is 25. She asks for a loan.",
    "Ann, 60": "Ann is 60. She asks for a loan.",
    "Bob, 25": "Bob is 25. He asks for a loan.",
    "Bob, 60": "Bob is 60. He asks for a loan.",
}


def test_a_vignette_above_its_question_is_read_as_every_arm_read_it(tmp_path):
    draft = loan(tmp_path / "d", blocks=[q.block("BL_1", "Main", "QID1", "QID9", "QID2")])
    assert not draft.specification.unresolved
    asked = asked_of(draft, tmp_path / "d", tmp_path / "store")
    assert {name: question.split("\n")[0] for name, (_, question) in asked.items()} == READ


def test_a_vignette_of_its_own_block_is_read_as_every_arm_read_it(tmp_path):
    draft = loan(
        tmp_path / "d", blocks=[q.block("BL_1", "Vignette", "QID1"), q.block("BL_2", "Main", "QID9", "QID2")]
    )
    assert not draft.specification.unresolved
    asked = asked_of(draft, tmp_path / "d", tmp_path / "store")
    assert {name: stimulus for name, (stimulus, _) in asked.items()} == READ


def test_a_field_of_the_survey_is_nobodys_attribute(tmp_path):
    draft = loan(tmp_path / "d", blocks=[q.block("BL_1", "Main", "QID1", "QID9", "QID2")])
    assert not only_study(draft).attributes


def test_what_is_piped_into_a_text_above_and_told_nowhere_is_left_open(tmp_path):
    draft = vignettes(
        [q.fields("FL_2", who=None), q.show("FL_3", "BL_1")],
        [
            q.text("QID1", "a", "Imagine ${e://Field/who}."),
            q.single("QID2", "like", "Do you like it?", "Yes", "No"),
        ],
        [q.block("BL_1", "A", "QID1", "QID2")],
        columns=[q.column("like", "QID2")],
        rows=[["1", "2"], ["2", "3"]],
        folder=tmp_path / "d",
    )
    assert "${e://Field/who} is piped into it" in draft.specification.unresolved["outcomes.like"]


def test_columns_of_arms_that_came_after_a_question_are_told_to_change_nothing_of_it(tmp_path):
    draft = vignettes(
        [q.show("FL_1", "BL_0"), q.randomizer("FL_2", q.group("FL_3", "A", q.fields("FL_4", cond="a"), q.show("FL_5", "BL_1")),
                                               q.group("FL_6", "B", q.fields("FL_7", cond="b"), q.show("FL_8", "BL_2")))],
        [q.single("QID1", "pre", "How were you?", "Very bad", "Bad", "Good"), q.text("QID2", "a", "Text A"), q.text("QID3", "b", "Text B")],
        [q.block("BL_0", "Pre", "QID1"), q.block("BL_1", "A", "QID2"), q.block("BL_2", "B", "QID3")],
        columns=[q.column("pre", "QID1"), q.column("cond", "cond")],
        rows=[[1 + i % 3, "ab"[i % 2], 1 + i % 3] for i in range(24)],
        folder=tmp_path / "d",
    )  # fmt: skip
    before = next(study for study in settled(draft).studies.values() if "pre" in study.outcomes)
    assert list(before.ignored) == ["cond"] and not before.factors
    assert asked_of(draft, tmp_path / "d", tmp_path / "store", outcome="pre").keys() == {"everybody"}


def drawn_by_a_number(folder, *, branches, numbers):
    """A random number that the export lacks; branches on it set an arm and show a block."""
    return vignettes(
        [q.fields("FL_2", arm=None, who=None), q.fields("FL_3", number="${rand://int/1:100}"), *branches],
        [q.text("QID1", "a", "A doctor speaks."), q.text("QID2", "b", "A machine speaks.")],
        [q.block("BL_1", "A", "QID1"), q.block("BL_2", "B", "QID2")],
        columns=[q.column("arm", "arm"), *([q.column("number", "number")] if numbers else [])],
        rows=[[arm, *([number] if numbers else []), 1 + i % 3]
              for i, (arm, number) in enumerate([("doctor", 3 + k) for k in range(30)] + [("machine", 60 + k) for k in range(30)])],
        folder=folder,
    )  # fmt: skip


@pytest.mark.parametrize("numbers", [True, False])
def test_what_branches_on_a_random_number_set_is_a_factor_where_the_number_is_none(tmp_path, numbers):
    branches = [
        q.branch("FL_4", "number", "51", q.fields("FL_5", arm="doctor"), q.show("FL_6", "BL_1"), operator="LessThan"),
        q.branch("FL_7", "number", "50", q.fields("FL_8", arm="machine"), q.show("FL_9", "BL_2"), operator="GreaterThan"),
    ]  # fmt: skip
    draft = drawn_by_a_number(tmp_path / "d", branches=branches, numbers=numbers)
    assert counts(draft, "arm") == {"doctor": 30, "machine": 30}
    asked = asked_of(draft, tmp_path / "d", tmp_path / "store")
    assert {arm: stimulus for arm, (stimulus, _) in asked.items()} == {
        "doctor": "A doctor speaks.",
        "machine": "A machine speaks.",
    }


def test_branches_of_which_two_may_hold_are_no_levels(tmp_path):
    branches = [
        q.branch("FL_4", "number", "70", q.fields("FL_5", arm="doctor"), operator="LessThan"),
        q.branch("FL_7", "number", "30", q.fields("FL_8", arm="machine"), operator="GreaterThan"),
    ]
    draft = drawn_by_a_number(tmp_path / "d", branches=branches, numbers=False)
    assert "arm" not in draft.design.factors


@pytest.mark.parametrize("split", [True, False])
def test_the_same_draw_within_each_arm_is_one_factor_told_by_the_columns_of_all(tmp_path, split):
    def drawn(flow_id, *inner):
        return q.randomizer(flow_id, *[q.show(i, b) for i, b in zip(inner, ("BL_3", "BL_4"), strict=True)])

    flow = [
        q.randomizer(
            "FL_2",
            q.group("FL_3", "Good", q.show("FL_4", "BL_1"), drawn("FL_5", "FL_6", "FL_7")),
            q.group("FL_8", "Bad", q.show("FL_9", "BL_2"), drawn("FL_10", "FL_11", "FL_12")),
        )
    ]
    arms = [(a, b) for a in ("Good", "Bad") for b in ("Expert", "Lay")]
    columns, rows = [q.column("FL_2_DO", "FL_2_DO")], []
    for draw in ("FL_5", "FL_10"):
        columns += (
            [q.column(f"{draw}_DO_{s}", f"{draw}_DO", s) for s in ("Expert", "Lay")]
            if split
            else [q.column(f"{draw}_DO", f"{draw}_DO")]
        )
    for i, (a, b) in enumerate(arms * 6):
        own = [str(int(b == s)).replace("0", "") for s in ("Expert", "Lay")] if split else [b]
        other = [""] * len(own)
        rows.append([a, *(own + other if a == "Good" else other + own), 1 + i % 3])
    draft = vignettes(
        flow,
        [
            q.text(f"QID{i}", f"t{i}", words)
            for i, words in enumerate(("It rose.", "It fell.", "Experts say so.", "Neighbors say so."), 1)
        ],
        [q.block(f"BL_{i}", name, f"QID{i}") for i, name in enumerate(("Rose", "Fell", "Expert", "Lay"), 1)],
        columns=columns,
        rows=rows,
        folder=tmp_path / "d",
    )
    assert not draft.specification.unresolved
    assert read_by(draft, tmp_path / "d", tmp_path / "store") == {
        ("Good, Expert", "It rose.\n\nExperts say so."): 6,
        ("Good, Lay", "It rose.\n\nNeighbors say so."): 6,
        ("Bad, Expert", "It fell.\n\nExperts say so."): 6,
        ("Bad, Lay", "It fell.\n\nNeighbors say so."): 6,
    }
