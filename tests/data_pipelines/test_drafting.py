"""Drafting by rules: arms, scales, texts and attributes of a Qualtrics deposit, and holes that are named."""

from __future__ import annotations

import collections

import invented_qualtrics as q
import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

from data_pipelines.drafting.choice_scales import coding, scale_of_choices
from data_pipelines.drafting.demographics import attribute_of
from data_pipelines.drafting.rules import draft_by_rules, write_draft
from data_pipelines.formats.qualtrics.questionnaire import Choice, Question
from data_pipelines.specified.build import build
from socsci_jax.cli import app
from socsci_jax.errors import InputError
from socsci_jax.studies.specification_files import parse_specification, render


def settled(draft):
    """The draft's specification as it is read once nothing is left open."""
    return parse_specification(
        render(draft.specification.model_copy(update={"unresolved": {}})), where="draft"
    )


def counts(draft, factor):
    design = draft.design
    levels = (design.factors | design.same_text)[factor].levels
    found = collections.Counter(design.assignments[factor].levels)
    return {levels[i].name if i is not None else None: n for i, n in found.items()}


def only_study(draft):
    return next(iter(settled(draft).studies.values()))


# --- arms -------------------------------------------------------------------------------------------------------


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
        ("split", {"when": {"FL_7_DO_WarmKim": {"present": True}}}),
        ("joined", {"values": ["WarmKim"]}),
        ("none", {"when": {"seen_warm": {"present": True}}}),
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


def vignettes(flow, questions=(), blocks=(), *, columns, rows, folder):
    """A deposit whose one outcome follows what the flow does."""
    survey_ = q.survey(
        [*questions, q.single("QID9", "mood", "How do you feel?", "Very bad", "Bad", "Good")],
        [*blocks, q.block("BL_9", "Mood", "QID9")],
        [*flow, q.show("FL_99", "BL_9")],
    )
    return draft_by_rules(q.write_deposit(folder, survey_, [*columns, q.column("mood", "QID9")], rows))


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


# --- outcomes ---------------------------------------------------------------------------------------------------


def hiring(folder, *, labels=("Very bad", "Bad", "Good")):
    """Each arm has its own block with the same two questions."""
    survey_ = q.survey(
        [
            q.single("QID1", "job_human", "A person reads your letter. Would you apply?", "Very unlikely", "Unlikely", "Likely"),
            q.single("QID2", "pay_human", "Is the pay good?", "Very bad", "Bad", "Good"),
            q.single("QID3", "job_machine", "A machine reads your letter. Would you apply?", "Very unlikely", "Unlikely", "Likely"),
            q.single("QID4", "pay_machine", "Is the pay good?", *labels),
        ],
        [q.block("BL_1", "Human", "QID1", "QID2"), q.block("BL_2", "Machine", "QID3", "QID4")],
        [q.randomizer("FL_2", q.show("FL_3", "BL_1"), q.show("FL_4", "BL_2"))],
    )  # fmt: skip
    columns = [
        q.column(name, f"QID{i}")
        for i, name in enumerate(("job_human", "pay_human", "job_machine", "pay_machine"), 1)
    ]
    rows = [["1", "2", "", ""], ["3", "1", "", ""], ["", "", "2", "3"]]
    return draft_by_rules(q.write_deposit(folder, survey_, columns, rows))


def test_questions_that_arms_answer_in_each_others_place_are_variants_of_one_outcome(tmp_path):
    study = only_study(hiring(tmp_path / "d"))
    assert list(study.outcomes) == ["job", "pay"]
    job, pay = study.outcomes["job"], study.outcomes["pay"]
    assert (job.column, job.variants[0].column, job.variants[0].arms) == (
        "job_human",
        "job_machine",
        {"FL_2": ("Machine",)},
    )
    assert [p.question for p in job.variants[0].question] == ["QID3"]
    assert pay.variants[0].question is None
    assert pay.variants[0].scale is None


def test_variants_with_other_labels_are_left_open(tmp_path):
    draft = hiring(tmp_path / "d", labels=("Good", "Bad", "Very bad"))
    assert "saw other labels" in draft.specification.unresolved["outcomes.pay"]
    assert only_study(draft).outcomes["pay"].variants[0].scale.levels["1"] == "Good"


def test_questions_that_two_factors_decide_on_together_are_no_variants(tmp_path):
    """Who is asked what depends on both, so no column stands in another's place at the levels of one."""
    flow = [
        q.randomizer("FL_2", q.fields("FL_3", a="1"), q.fields("FL_4", a="2")),
        q.randomizer("FL_5", q.fields("FL_6", b="x"), q.fields("FL_7", b="y")),
    ]
    for i, (a, b) in enumerate([("1", "x"), ("1", "y"), ("2", "x"), ("2", "y")]):
        inner = q.branch(f"FL_3{i}", "b", b, q.show(f"FL_4{i}", f"BL_{i}"))
        flow.append(q.branch(f"FL_2{i}", "a", a, inner))
    questions = [q.single(f"QID{i}", f"v{i}", "How is it?", "Very bad", "Bad", "Good") for i in range(4)]
    columns = [q.column("a", "a"), q.column("b", "b"), *[q.column(f"v{i}", f"QID{i}") for i in range(4)]]
    rows = [
        ["1", "x", "1", "", "", "", "1"],
        ["1", "y", "", "2", "", "", "1"],
        ["2", "x", "", "", "3", "", "1"],
    ]
    draft = vignettes(
        flow, questions, [q.block(f"BL_{i}", f"B{i}", f"QID{i}") for i in range(4)],
        columns=columns, rows=[*rows, ["2", "y", "", "", "", "1", "1"]], folder=tmp_path / "d",
    )  # fmt: skip
    assert {o.name: len(o.variants) for o in draft.outcomes} == {
        "v0": 0,
        "v1": 0,
        "v2": 0,
        "v3": 0,
        "mood": 0,
    }


@pytest.mark.parametrize(("cells", "is_left_out"), [(["1", "1"], True), (["1", "2"], False)])
def test_consent_that_everybody_gave_is_left_out(tmp_path, cells, is_left_out):
    consent = q.single("QID1", "c", "Do you consent to participate in this study?", "Yes", "No")
    assert ("answer" in drafted(tmp_path, consent, cells).reading.left_out) == is_left_out


def test_a_loop_is_one_outcome_with_a_factor_within_people(tmp_path):
    survey_ = q.survey(
        [q.single("QID1", "like", "Do you like ${lm://Field/1}?", "Not at all", "A little", "Very much")],
        [q.block("BL_1", "Fruit", "QID1", Looping="Static",
                 LoopingOptions={"Static": {"1": {"1": "apples"}, "2": {"1": "pears"}}})],
        [q.show("FL_2", "BL_1")],
    )  # fmt: skip
    columns = [q.column("1_like", "1_QID1"), q.column("2_like", "2_QID1")]
    study = only_study(
        draft_by_rules(q.write_deposit(tmp_path / "d", survey_, columns, [["1", "3"], ["2", "2"]]))
    )
    assert study.loop == {"loop": ("1", "2")}
    assert study.factors["loop"].levels["pears"].values == ("2",)
    assert study.outcomes["like"].column == "{loop}_like"
    assert study.outcomes["like"].question[0].replace == {"${lm://Field/1}": "{loop}"}


def test_a_loop_over_the_choices_of_a_question_is_told_by_them(tmp_path):
    survey_ = q.survey(
        [
            q.question("QID1", "use", "Which do you eat?", selector="MAVR", **q.choices("apples", "pears")),
            q.single("QID2", "like", "Do you like ${lm://Field/1}?", "Not at all", "A little", "Very much"),
        ],
        [
            q.block("BL_1", "First", "QID1"),
            q.block(
                "BL_2", "Fruit", "QID2", Looping="Question", LoopingOptions={"QID": "QID1", "Static": []}
            ),
        ],
        [q.show("FL_2", "BL_1"), q.show("FL_3", "BL_2")],
    )
    columns = [q.column("use_1", "QID1", "1"), q.column("use_2", "QID1", "2"), q.column("x1_like", "x1_QID2"),
               q.column("x2_like", "x2_QID2")]  # fmt: skip
    rows = [["1", "1", "3", "1"], ["", "1", "", "2"]]
    draft = draft_by_rules(q.write_deposit(tmp_path / "d", survey_, columns, rows))
    study = next(s for s in settled(draft).studies.values() if "like" in s.outcomes)
    assert {name: level.values for name, level in study.factors["loop"].levels.items()} == {
        "apples": ("x1",),
        "pears": ("x2",),
    }


def test_texts_of_a_loop_that_were_read_before_are_a_named_hole(tmp_path):
    survey_ = q.survey(
        [
            q.text("QID1", "a", "${lm://Field/1} used a machine.", DisplayLogic=q.logic("arm", "machine")),
            q.text("QID2", "b", "${lm://Field/1} wrote alone.", DisplayLogic=q.logic("arm", "alone")),
            q.single("QID3", "trust", "Do you trust machines?", "Not at all", "A little", "Very much"),
        ],
        [
            q.block("BL_1", "People", "QID1", "QID2", Looping="Static",
                    LoopingOptions={"Static": {"1": {"1": "Kim"}, "2": {"1": "Lee"}}}),
            q.block("BL_2", "Trust", "QID3"),
        ],
        [q.randomizer("FL_2", q.fields("FL_3", arm="machine"), q.fields("FL_4", arm="alone")),
         q.show("FL_5", "BL_1"), q.show("FL_6", "BL_2")],
    )  # fmt: skip
    rows = [["machine", "1"], ["alone", "2"]]
    folder = q.write_deposit(
        tmp_path / "d", survey_, [q.column("arm", "arm"), q.column("trust", "QID3")], rows
    )
    assert (
        "texts of the loop People were read before"
        in draft_by_rules(folder).specification.unresolved["outcomes.trust"]
    )


def test_rows_of_a_matrix_are_outcomes_with_their_own_words(tmp_path):
    survey_ = q.survey(
        [
            q.text("QID1", "intro", "Think of Kim."),
            q.matrix(
                "QID2",
                "M",
                "Kim is",
                rows={"1": "warm", "117": "clever"},
                answers=("Not at all", "A bit", "Very"),
            ),
        ],
        [q.block("BL_1", "All", "QID1", "QID2")],
        [q.show("FL_2", "BL_1")],
    )
    columns = [q.column("M_1", "QID2_1"), q.column("M_2", "QID2_117")]
    study = only_study(
        draft_by_rules(q.write_deposit(tmp_path / "d", survey_, columns, [["1", "3"], ["2", "2"]]))
    )
    parts = study.outcomes["M_2"].question
    assert [getattr(p, "question", p) for p in parts] == ["QID1", "QID2", "clever"]
    assert study.outcomes["M_2"].scale.levels == {"1": "Not at all", "2": "A bit", "3": "Very"}


def drafted(tmp_path, question, cells, *, import_id=None):
    survey_ = q.survey([question], [q.block("BL_1", "All", "QID1")], [q.show("FL_2", "BL_1")])
    columns = [q.column("answer", import_id or "QID1"), q.column("also", "also")]
    other = q.single("QID8", "other", "How are you?", "Very bad", "Bad", "Good")
    survey_["SurveyElements"].insert(0, {"Element": "SQ", "Payload": other})
    survey_["SurveyElements"][-2]["Payload"][0]["BlockElements"].append(
        {"Type": "Question", "QuestionID": "QID8"}
    )
    columns.append(q.column("other", "QID8"))
    rows = [[cell, "", "1"] for cell in cells]
    return draft_by_rules(q.write_deposit(tmp_path / "d", survey_, columns, rows))


def test_questions_side_by_side_are_outcomes_with_the_words_of_all_three(tmp_path):
    side = q.question("QID1", "S", "Rate both", type_="SBS", selector="SBSMatrix", **q.choices("Kim", "Lee"))
    part = q.matrix("x", "S#1", "Warm", rows={}, answers=("Not at all", "Somewhat", "Very"))
    side["AdditionalQuestions"] = {"1": part}
    draft = drafted(tmp_path, side, ["1", "2", "3"], import_id="QID1#1_2")
    assert built_values(draft, tmp_path / "d", tmp_path / "store") == [1, 2, 3]
    parts = only_study(draft).outcomes["answer"].question
    assert [getattr(p, "question", p) for p in parts] == ["QID1", "Warm", "Lee"]


def test_a_slider_without_decimals_is_a_range(tmp_path):
    slider = q.question("QID1", "s", "How warm?", type_="Slider", selector="HSLIDER",
                        Configuration={"CSSliderMin": 0, "CSSliderMax": 100}, **q.choices("Kim"))  # fmt: skip
    scale = (
        only_study(drafted(tmp_path, slider, ["0", "55", "100"], import_id="QID1_1")).outcomes["answer"].scale
    )
    assert (scale.lo, scale.hi, scale.number) == (0, 100, False)


def test_a_written_number_is_a_quantity_and_other_writing_is_left_out(tmp_path):
    entry = q.question("QID1", "n", "How many hours?", type_="TE", selector="SL")
    draft = drafted(tmp_path, entry, ["1", "2.5", "3"], import_id="QID1_TEXT")
    assert only_study(draft).outcomes["answer"].scale.number
    draft = drafted(tmp_path, entry, ["one", "two", "3"], import_id="QID1_TEXT")
    assert draft.reading.left_out["answer"] == "free text, which has no scale"
    assert draft.specification.provenance["excluded answer"] == "free text, which has no scale"


def boxes(folder, rows):
    several = q.question("QID1", "p", "Which do you use?", selector="MAVR", **q.choices("Bus", "Bike"))
    survey_ = q.survey([several], [q.block("BL_1", "All", "QID1")], [q.show("FL_2", "BL_1")])
    columns = [q.column("p_1", "QID1", "1"), q.column("p_2", "QID1", "2")]
    return draft_by_rules(q.write_deposit(folder, survey_, columns, rows))


def test_where_everybody_ticked_some_box_an_empty_one_was_not_chosen(tmp_path):
    draft = boxes(tmp_path / "d", [["1", ""], ["", "1"], ["", "1"]])
    study = only_study(draft)
    assert study.outcomes["p_2"].question[-1] == "Bike"
    assert study.outcomes["p_2"].scale.empty == "0"
    assert not draft.specification.unresolved
    write_draft(draft.specification, tmp_path / "d" / "study.yaml")
    store = build(tmp_path / "d", tmp_path / "store")
    found = store.responses.join(store.items.select("item_id", "outcome"), on="item_id")
    assert sorted(found.select("outcome", "value").rows()) == [
        *[("p_1", 0.0), ("p_1", 0.0), ("p_1", 1.0)],
        *[("p_2", 0.0), ("p_2", 1.0), ("p_2", 1.0)],
    ]


def test_where_somebody_ticked_no_box_what_an_empty_one_means_is_left_open(tmp_path):
    draft = boxes(tmp_path / "d", [["1", ""], ["", "1"], ["", ""]])
    assert "not chosen or not asked" in draft.specification.unresolved["outcomes.p_2"]
    assert only_study(draft).outcomes["p_2"].scale.empty is None


@pytest.mark.parametrize(
    "cells",
    [["1,3", "2", "1,2,3"], ["Bus, tram,Car", "Bike", "Bus, tram,Bike,Car"]],
    ids=["codes", "labels"],
)
def test_several_choices_in_one_cell_are_an_outcome_each(tmp_path, cells):
    several = q.question(
        "QID1", "p", "Which do you use?", selector="MAVR", **q.choices("Bus, tram", "Bike", "Car")
    )
    survey_ = q.survey([several], [q.block("BL_1", "All", "QID1")], [q.show("FL_2", "BL_1")])
    folder = q.write_deposit(
        tmp_path / "d", survey_, [q.column("p", "QID1"), q.column("x", "x")], [[c, ""] for c in cells]
    )
    draft = draft_by_rules(folder)
    assert "nothing was chosen" in draft.specification.unresolved["outcomes.p_1"]
    write_draft(draft.specification.model_copy(update={"unresolved": {}}), folder / "study.yaml")
    store = build(folder, tmp_path / "store")
    found = store.responses.join(store.items, on="item_id").sort("outcome", "sample_id")
    assert {o: found.filter(pl.col("outcome") == o)["value"].to_list() for o in ("p_1", "p_2", "p_3")} == {
        "p_1": [1, 0, 1],
        "p_2": [0, 1, 1],
        "p_3": [1, 0, 1],
    }


def test_a_cell_that_is_not_made_of_choices_leaves_the_column_out(tmp_path):
    several = q.question("QID1", "p", "Which do you use?", selector="MAVR", **q.choices("Bus", "Bike"))
    draft = drafted(tmp_path, several, ["Bus,Bike", "Bus and Bike"])
    assert "not understood" in draft.reading.left_out["answer"]


def test_a_value_that_is_no_choice_is_left_open_with_its_count(tmp_path):
    draft = drafted(tmp_path, q.single("QID1", "t", "How?", "Bad", "Good"), ["1", "2", "2", "9"])
    assert draft.specification.unresolved["outcomes.answer"] == "1 cell is no choice of the survey file ('9')"


def test_a_choice_called_none_is_an_answer_and_na_is_an_empty_cell(tmp_path):
    question = q.single("QID1", "t", "How much?", "None", "A little", "Very much")
    draft = drafted(tmp_path, question, ["None", "A little", "NA"])
    assert built_values(draft, tmp_path / "d", tmp_path / "store") == [1, 2]


def test_an_attention_check_is_left_open(tmp_path):
    check = q.single("QID1", "c", 'To show that you are reading, please select "Agree" below.', *q.AGREEMENT)
    draft = drafted(tmp_path, check, ["3", "3", "1"])
    assert "attention check" in draft.specification.unresolved["outcomes.answer"]


def test_what_is_piped_in_and_told_nowhere_is_left_open(tmp_path):
    piped = q.single(
        "QID1", "x", "You said ${q://QID8/ChoiceGroup/SelectedChoices}. Sure?", "Not at all", "Very"
    )
    draft = drafted(tmp_path, piped, ["1", "2"])
    assert (
        "${q://QID8/ChoiceGroup/SelectedChoices} is piped into it"
        in draft.specification.unresolved["outcomes.answer"]
    )


def test_a_picture_is_left_open(tmp_path):
    draft = drafted(
        tmp_path, q.single("QID1", "x", '<img src="x.png">Which one?', "Left", "Right"), ["1", "2"]
    )
    assert draft.specification.unresolved["outcomes.answer"] == "it shows 1 image(s)"


def test_every_value_says_where_it_came_from(tmp_path):
    draft = draft_by_rules(q.two_arms(tmp_path / "kim"))
    for study_id, study in draft.specification.studies.items():
        at = f"studies.{study_id}." if len(draft.specification.studies) > 1 else ""
        keys = [f"outcomes.{name}.{part}" for name in study.outcomes for part in ("question", "scale")]
        keys += [f"factors.{name}" for name in study.factors] + [
            f"attributes.{name}" for name in study.attributes
        ]
        for key in [*keys, "participant"]:
            assert draft.specification.provenance[f"{at}{key}"]


def test_numeric_and_text_exports_give_the_same_scales_and_arms(tmp_path):
    numeric = draft_by_rules(q.two_arms(tmp_path / "a" / "kim"))
    words = draft_by_rules(q.two_arms(tmp_path / "b" / "kim", export="text"))
    assert {o.name: o.scale for o in numeric.outcomes} == {o.name: o.scale for o in words.outcomes}
    assert counts(numeric, "FL_7") == counts(words, "FL_7")
    assert {o.asked.coding.kind for o in words.outcomes} == {"text"}
    assert only_gender(numeric).recode == {"1": "Man", "2": "Woman"}
    assert (only_gender(words).recode, only_gender(words).missing) == ({}, ("Prefer not to say",))


def only_gender(draft):
    return next(iter(settled(draft).studies.values())).attributes["gender"]


# --- scales -----------------------------------------------------------------------------------------------------


def scale(*labels, values=None):
    values = values or [str(i) for i in range(1, len(labels) + 1)]
    return scale_of_choices([Choice(id=v, text=t, value=v) for t, v in zip(labels, values, strict=True)])


def test_dont_know_is_outside_the_scale_and_refusals_are_missing():
    found = scale("Disagree", "Agree", "Strongly agree", "Don’t know", "Prefer not to say")
    assert (dict(found.alternatives), found.missing, found.size) == ({"4": "Don’t know"}, ("5",), 3)


def test_a_long_choice_that_speaks_of_refusing_is_a_level():
    found = scale(
        "Split the problem into parts",
        "Refuse to make an estimate until somebody has done the research",
        "Guess",
    )
    assert found.size == 3


def test_yes_and_no_answer_stay_two_levels():
    assert scale("Yes", "Don't know").size == 2


@pytest.mark.parametrize(
    ("labels", "nominal"),
    [
        (("Never", "Sometimes", "Always"), False),
        (("1 - Left", "2", "3 - Right"), False),
        (("Less than $10,000", "$10,000 to $19,999", "$20,000 or more"), False),
        (("High school", "College degree", "Postgraduate degree"), False),
        (("Bus", "Bike", "Car"), True),
        (("Joe Biden", "Donald Trump", "Other candidate"), True),
    ],
)
def test_choices_without_a_sign_of_order_are_nominal_until_somebody_says_so(labels, nominal):
    found = scale(*labels)
    assert (found.nominal, found.order_unknown) == (nominal, nominal)


def test_codes_that_run_against_the_printed_numbers_are_reversed():
    labels = ("1 - Left", "2", "3", "4 - Equal", "5", "6", "7 - Right")
    assert scale(*labels, values=list("7654321")).reversed
    assert not scale(*labels).reversed


def test_reversed_codes_are_written_as_people_saw_the_scale(tmp_path):
    labels = ("1 - Left", "2", "3 - Right")
    question = q.single("QID1", "x", "Which?", *labels, RecodeValues={"1": "3", "2": "2", "3": "1"})
    found = only_study(drafted(tmp_path, question, ["3", "2", "1"])).outcomes["answer"].scale
    assert found.reversed
    assert found.levels == {"1": "1 - Left", "2": "2", "3": "3 - Right"}


def test_codes_and_labels_are_told_apart_in_cells():
    options = [Choice(id="1", text="Very good", value="1"), Choice(id="2", text="Bad", value="2")]
    assert coding({"1": 3, "2.0": 1, "-99": 5}, options).kind == "numeric"
    assert coding({"very  good": 1, "Bad": 1}, options).kind == "text"
    found = coding({"1": 1, "7": 2}, options)
    assert (found.strange, found.strange_count) == (("7",), 2)


def built_values(draft, folder, out):
    write_draft(draft.specification.model_copy(update={"unresolved": {}}), folder / "study.yaml")
    store = build(folder, out)
    found = store.responses.join(store.items.select("item_id", "outcome"), on="item_id")
    return found.filter(pl.col("outcome") == "answer").sort("sample_id")["value"].to_list()


@pytest.mark.parametrize(
    ("labels", "cells", "values"),
    [
        (("1", "2", "3", "4", "5"), ["4", "5", "6"], [4, 5, 6]),
        (("1", "2", "3", "4 - Much"), ["1", "2 ", "4 - Much"], [1, 2, 4]),
    ],
    ids=["codes", "labels"],
)
def test_labels_that_are_codes_of_other_levels_are_not_taken_for_them(tmp_path, labels, cells, values):
    shown = {str(code): {"Display": label} for code, label in enumerate(labels, start=4)}
    question = q.single("QID1", "x", "How much?", "unused") | {"Choices": shown, "ChoiceOrder": list(shown)}
    draft = drafted(tmp_path, question, cells)
    assert built_values(draft, tmp_path / "d", tmp_path / "store") == values


def test_reversed_answers_are_turned_by_the_build(tmp_path):
    labels = ("1 - Left", "2", "3 - Right")
    question = q.single("QID1", "x", "Which?", *labels, RecodeValues={"1": "3", "2": "2", "3": "1"})
    draft = drafted(tmp_path, question, ["3", "2", "1", "1"])
    assert built_values(draft, tmp_path / "d", tmp_path / "store") == [1, 2, 3, 3]


# --- attributes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wording", "labels", "attribute"),
    [
        ("What is your gender identity?", ("Man", "Woman"), "gender"),
        ("Please indicate your age range", ("18-24", "25+"), "age"),
        ("With which race or ethnicity do you most identify?", ("White", "Black"), "ethnicity"),
        ("What is the highest level of education your father completed?", ("High school", "College"), None),
        ("What is the highest level of education you have completed?", ("High school", "College"), "education"),
        ("Generally, do you think of yourself as a Republican, a Democrat, or something else?", ("Republican", "Democrat"), "party_id"),
        ("Do you think of yourself as closer to the Republican or to the Democratic Party?", ("Republican", "Democrat"), None),
        ("Which best describes the area where you currently live?", ("A large city", "A rural area"), "metro_status"),
        ("Do you own your home, pay rent, or something else?", ("Own", "Rent"), "housing_ownership"),
        ("Imagine a person. What is your gender guess?", ("Man", "Woman"), None),
        ("How fair is this plan?", ("Unfair", "Fair"), None),
    ],
)  # fmt: skip
def test_questions_that_ask_for_attributes_are_known_by_their_words(wording, labels, attribute):
    options = tuple(Choice(id=str(i), text=label, value=str(i)) for i, label in enumerate(labels))
    question = Question(
        id="QID1", tag="Q1", kind="single", type="MC", selector="SAVR", text=wording, choices=options
    )
    assert attribute_of(question) == attribute


def test_codes_of_panel_data_that_no_file_explains_are_left_open(tmp_path):
    survey_ = q.survey([q.single("QID1", "x", "How?", "Bad", "Good")], [q.block("BL_1", "All", "QID1")], [])
    survey_["SurveyElements"][-1]["Payload"]["Flow"] = [q.show("FL_2", "BL_1")]
    columns = [q.column("age", "age"), q.column("education", "education"), q.column("x", "QID1")]
    draft = draft_by_rules(
        q.write_deposit(tmp_path / "d", survey_, columns, [["21", "3", "1"], ["30", "1", "2"]])
    )
    assert set(only_study(draft).attributes) == {"age", "education"}
    assert list(draft.specification.unresolved) == ["attributes.education"]


def test_previews_are_excluded_and_unfinished_responses_left_open(tmp_path):
    survey_ = q.survey(
        [q.single("QID1", "x", "How?", "Bad", "Good")],
        [q.block("BL_1", "All", "QID1")],
        [q.show("FL_2", "BL_1")],
    )
    columns = [q.column("Status", "status"), q.column("Finished", "finished"), q.column("x", "QID1")]
    rows = [["0", "1", "1"], ["1", "1", "2"], ["0", "0", "2"]]
    draft = draft_by_rules(q.write_deposit(tmp_path / "d", survey_, columns, rows))
    assert only_study(draft).exclude[0].where["Status"].is_ == ("1",)
    assert "1 response was not finished" in draft.specification.unresolved["exclude"]


# --- files ------------------------------------------------------------------------------------------------------


def test_a_folder_without_a_survey_is_refused(tmp_path):
    (tmp_path / "answers.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"a \.qsf file is missing"):
        draft_by_rules(tmp_path)


def test_a_table_that_shares_no_question_is_refused(tmp_path):
    folder = q.two_arms(tmp_path / "kim")
    (folder / "response.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="shares a question"):
        draft_by_rules(folder)


def test_a_draft_is_the_same_every_time_and_replaces_nothing_unasked(tmp_path):
    folder = q.two_arms(tmp_path / "kim")
    out = tmp_path / "study.yaml"
    write_draft(draft_by_rules(folder).specification, out)
    first = out.read_bytes()
    with pytest.raises(InputError, match="exists already"):
        write_draft(draft_by_rules(folder).specification, out)
    write_draft(draft_by_rules(folder).specification, out, replace=True)
    assert out.read_bytes() == first


def test_the_command_writes_a_draft_and_tells_people_per_arm(tmp_path):
    folder = q.two_arms(tmp_path / "kim")
    out = tmp_path / "study.yaml"
    done = CliRunner().invoke(app, ["data", "spec", "draft", str(folder), "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert "factor FL_7: Warm Kim 6, Cold Kim 6" in done.stdout
    assert yaml.safe_load(out.read_text())["files"]["data"] == {
        "path": "response.csv",
        "format": "csv",
        "skip_rows": [1, 2],
    }
