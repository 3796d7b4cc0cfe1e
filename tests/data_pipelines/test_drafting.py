"""Drafting by rules: outcomes, scales and attributes of a Qualtrics deposit, and holes that are named."""

from __future__ import annotations

import invented_qualtrics as q
import polars as pl
import pytest
import yaml
from qualtrics_drafts import counts, only_study, settled, vignettes
from typer.testing import CliRunner

from data_pipelines.drafting.choice_scales import coding, scale_of_choices
from data_pipelines.drafting.demographics import attribute_of
from data_pipelines.drafting.rules import draft_by_rules, write_draft
from data_pipelines.formats.qualtrics.questionnaire import Choice, Question
from data_pipelines.specified.build import build
from socsci_jax.cli import app
from socsci_jax.errors import InputError

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


@pytest.mark.parametrize(
    "label", ["I would prefer not to buy it", "Refused the offer", "I don't know him", "Something is missing"]
)
def test_a_choice_that_speaks_of_not_knowing_or_refusing_something_is_a_level(label):
    assert scale("Good", "Fair", label).size == 3


@pytest.mark.parametrize(
    ("label", "missing"),
    [("Prefer not to answer this question", True), ("I'd rather not say", True), ("Don't know / Refused", True), ("Keine Angabe", True),
     ("Weiß ich nicht", False), ("Je ne sais pas", False), ("N/A", False)],
)  # fmt: skip
def test_what_says_no_answer_in_any_language_is_no_level(label, missing):
    found = scale("Good", "Fair", "Bad", label)
    assert (found.size, bool(found.missing), bool(found.alternatives)) == (3, missing, not missing)


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
        (("1", "2", "3", "4", "5+"), ["1", "4", "5+"], [4, 7, 8]),
    ],
    ids=["codes", "labels", "labels that are codes of other levels"],
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


def test_words_at_the_ends_of_sliders_and_of_rows_with_two_words_are_labels_of_the_ends(tmp_path):
    slider = q.question("QID1", "x", "How warm?", type_="Slider", selector="HSLIDER", **q.choices("Kim"),
                        Configuration={"CSSliderMin": -50, "CSSliderMax": 50},
                        Labels={"1": {"Display": "cold"}, "2": {"Display": ""}, "3": {"Display": "warm"}})  # fmt: skip
    draft = drafted(tmp_path / "a", slider, ["3", "-4"], import_id="QID1_1")
    scale = only_study(draft).outcomes["answer"].scale
    assert (scale.lo, scale.hi, scale.labels) == (-50, 50, {"-50": "cold", "50": "warm"})
    rows = q.matrix("QID1", "x", "Rate it.", rows={"1": "Bad:Good"}, answers=[""] * 5) | {
        "Selector": "Bipolar"
    }
    outcome = only_study(drafted(tmp_path / "b", rows, ["3", "5"], import_id="QID1_1")).outcomes["answer"]
    assert (outcome.scale.levels["1"], outcome.scale.levels["5"]) == ("Bad", "Good")
    assert outcome.question[-1] == "Bad – Good"


def test_a_year_of_birth_is_no_age(tmp_path):
    asked = q.question("QID1", "born", "In what year were you born?", type_="TE", selector="SL")
    attributes = only_study(drafted(tmp_path, asked, ["1987", "2001"], import_id="QID1_TEXT")).attributes
    assert list(attributes) == ["birth_year"]
