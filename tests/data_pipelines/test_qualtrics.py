"""Qualtrics surveys and exports: read as they are, linked with each other, and never run."""

from __future__ import annotations

import contextlib
import json
import time

import hypothesis
import hypothesis.strategies as st
import invented_qualtrics as q
import pytest

from data_pipelines.formats.qualtrics import read_export, read_questionnaire
from data_pipelines.formats.qualtrics.conjoint import find_conjoint
from data_pipelines.formats.qualtrics.logic import read_logic
from data_pipelines.formats.qualtrics.text import media_in, plain_text
from socsci_jax.errors import InputError


@pytest.fixture
def written(tmp_path):
    def write(questions, blocks=None, flow=None):
        ids = [question["QuestionID"] for question in questions]
        blocks = blocks or [q.block("BL_1", "All", *ids)]
        flow = flow or [q.show(f"FL_{i}", b["ID"]) for i, b in enumerate(blocks, start=2)]
        path = tmp_path / "survey.qsf"
        path.write_text(json.dumps(q.survey(questions, blocks, flow)))
        return read_questionnaire(path)

    return write


@pytest.mark.parametrize(
    ("markup", "words"),
    [
        ("<p>One<br>two</p><p>three&nbsp;&amp; four</p>", "One\ntwo\n\nthree & four"),
        (
            "<table><tr><td>A</td><td>long B</td></tr><tr><td>c c c</td><td>2</td></tr></table>",
            "A | long B\nc c c | 2",
        ),
        ("before<script>alert('x')</script><style>p{color:red}</style> after", "before after"),
        ("<script>never closed", ""),
        ("1 < 2 & 3", "1 < 2 & 3"),
        ("plain", "plain"),
        ("zero\x00\x1b[31mred", "zero[31mred"),
        ("<ul><li>a</li><li>b</li></ul>", "* a\n* b"),
        ("", ""),
    ],
)
def test_html_becomes_the_text_that_people_read(markup, words):
    assert plain_text(markup) == words


def test_text_nested_beyond_the_parser_is_kept():
    assert plain_text("<div>" * 5000 + "deep" + "</div>" * 5000) == "deep"


def test_pictures_and_films_are_named():
    assert media_in('<p><img src="a.png">x<video src="b"></video></p>') == ("image", "video")


def test_choices_keep_their_recode_values_and_the_order_of_display(written):
    survey = written(
        [
            q.single(
                "QID1",
                "Q1",
                "How?",
                "Low",
                "High",
                "Other",
                RecodeValues={"1": "7", "2": 1},
                ChoiceOrder=["2", 1, "3"],
                VariableNaming={"1": "low", "2": "Click to write Choice 2"},
            )
        ]
    )
    found = [(c.id, c.text, c.value, c.name) for c in survey.questions["QID1"].choices]
    assert found == [("2", "High", "1", ""), ("1", "Low", "7", "low"), ("3", "Other", "3", "")]


def test_recode_values_of_a_matrix_are_those_of_its_answers(written):
    survey = written(
        [
            q.matrix(
                "QID1",
                "M",
                "Rate",
                rows={"1": "a", "99": "b"},
                answers=("no", "yes"),
                RecodeValues={"1": "5"},
            )
        ]
    )
    found = survey.questions["QID1"]
    assert [c.value for c in found.choices] == ["1", "99"]
    assert [a.value for a in found.answers] == ["5", "2"]


def test_choices_may_be_a_list(written):
    survey = written(
        [q.question("QID1", "Q1", "?", Choices=[{"Display": "a"}, {"Display": "b"}], ChoiceOrder=["1", "2"])]
    )
    assert [(c.id, c.text) for c in survey.questions["QID1"].choices] == [("1", "a"), ("2", "b")]


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        ({"type_": "MC", "selector": "MAVR"}, "multiple"),
        ({"type_": "MC", "selector": "DL"}, "single"),
        ({"type_": "MC", "selector": "NPS"}, "single"),
        ({"type_": "TE", "selector": "FORM"}, "form"),
        ({"type_": "TE", "selector": "SL"}, "entry"),
        ({"type_": "Matrix", "selector": "TE"}, "matrix_entry"),
        ({"type_": "Matrix", "selector": "Bipolar"}, "matrix"),
        ({"type_": "Slider", "selector": "HSLIDER"}, "slider"),
        ({"type_": "Timing", "selector": "PageTimer"}, "timing"),
        ({"type_": "Hologram", "selector": "X"}, "other"),
    ],
)
def test_types_are_told_apart(written, payload, kind):
    survey = written([q.question("QID1", "Q1", "?", **payload)])
    assert survey.questions["QID1"].kind == kind


def test_a_type_that_is_not_understood_is_noted(written):
    survey = written([q.question("QID1", "Q1", "?", type_="Hologram", selector="X")])
    assert any("Hologram" in note for note in survey.notes)


def test_bounds_of_sliders_and_numbers_are_read(written):
    survey = written(
        [
            q.question("QID1", "s", "?", type_="Slider", selector="HSLIDER",
                       Configuration={"CSSliderMin": 0, "CSSliderMax": "10", "NumDecimals": "1"}),
            q.question("QID2", "n", "?", type_="TE", selector="SL",
                       Validation={"Settings": {"Type": "ContentType", "ContentType": "ValidNumber",
                                                "ValidNumber": {"Min": "-5", "Max": "99"}}}),
        ]
    )  # fmt: skip
    slider, entry = survey.questions["QID1"], survey.questions["QID2"]
    assert (slider.lo, slider.hi, slider.decimals) == (0.0, 10.0, 1)
    assert (entry.lo, entry.hi, entry.content) == (-5.0, 99.0, "number")


def test_a_block_that_draws_questions_says_how_many(written):
    survey = written(
        [q.text("QID1", "a", "A"), q.text("QID2", "b", "B"), q.text("QID3", "c", "C")],
        [
            q.block("BL_1", "Draw", "QID1", "QID2", "QID3", RandomizeQuestions="Advanced", Randomization={
                "Advanced": {"RandomSubSet": ["QID1", "QID2"], "TotalRandSubset": "1", "Undisplayed": ["QID3"]}}),
            q.block("BL_2", "Trash"),
        ],
    )  # fmt: skip
    drawn = survey.blocks["BL_1"]
    assert (drawn.drawn, drawn.pool, drawn.hidden) == (1, ("QID1", "QID2"), ("QID3",))
    assert survey.shown_questions == ("QID1", "QID2")


def test_a_loop_keeps_its_iterations(written):
    survey = written(
        [q.single("QID1", "Q1", "Do you like ${lm://Field/1}?", "No", "Yes")],
        [q.block("BL_1", "Fruit", "QID1", Looping="Static",
                 LoopingOptions={"Static": {"1": {"1": "apples"}, "2": {"1": "pears"}}})],
    )  # fmt: skip
    assert survey.blocks["BL_1"].loop.iterations == {"1": {"1": "apples"}, "2": {"1": "pears"}}


@pytest.mark.parametrize(
    ("operator", "wanted", "found", "holds"),
    [
        ("EqualTo", "2", "2.0", True),
        ("EqualTo", "a", "A ", True),
        ("NotEqualTo", "a", "b", True),
        ("Contains", "men", "women", True),
        ("MatchesRegex", "CT", "CT", True),
        ("MatchesRegex", "CT", "BT", False),
        ("MatchesRegex", "(a+)+$", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", None),
        ("GreaterThan", "3", "10", True),
        ("LessThan", "3", "ten", None),
        ("Empty", "", "", True),
        ("Quantum", "a", "a", None),
    ],
)
def test_conditions_are_judged_or_unknown(operator, wanted, found, holds):
    assert read_logic(q.logic("arm", wanted, operator=operator)).holds({"arm": found}) is holds


def test_a_condition_on_an_answer_is_unknown():
    payload = {
        "0": {
            "0": {
                "LogicType": "Question",
                "LeftOperand": "q://QID9/SelectableChoice/1",
                "Operator": "Selected",
            }
        }
    }
    found = read_logic(payload)
    assert found.holds({}) is None
    assert found.questions == ("QID9",)


def test_and_binds_tighter_than_or():
    def condition(value, word):
        return q.logic("arm", value)["0"]["0"] | {"Conjuction": word}

    payload = {
        "0": {"0": condition("a", "And"), "1": condition("b", "Or"), "2": condition("c", "And"), "Type": "If"}
    }
    assert read_logic(payload).holds({"arm": "b"}) is False
    assert read_logic(payload).holds({"arm": "a"}) is True


# --- files that are no surveys ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1, 2]",
        b"\xff\xfe\x00",
        b'{"SurveyElements": 5}',
        b'{"SurveyElements": []}',
        b'{"SurveyElements": [{"Element": "SQ", "Payload": null}]}',
        b"[" * 100_000,
    ],
    ids=range(8),
)
def test_a_file_that_is_no_survey_is_one_sentence_or_an_empty_survey(tmp_path, content):
    path = tmp_path / "survey.qsf"
    path.write_bytes(content)
    try:
        found = read_questionnaire(path)
    except InputError as error:
        assert str(path) in str(error)
        assert "\n" not in str(error)
    else:
        assert not found.questions
        assert found.notes


def test_a_flow_nested_beyond_reason_is_refused(tmp_path):
    flow: dict = q.show("FL_2", "BL_1")
    for i in range(60):
        flow = q.group(f"FL_{i + 3}", "g", flow)
    path = tmp_path / "survey.qsf"
    path.write_text(json.dumps(q.survey([q.text("QID1", "a", "A")], [q.block("BL_1", "b", "QID1")], [flow])))
    with pytest.raises(InputError, match="nested deeper"):
        read_questionnaire(path)


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 10**9)
    | st.text(max_size=8)
    | st.sampled_from(["QID1", "1", "MC"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["0", "1", "Display", "Type"]), inner)
    ),
    max_leaves=6,
)
_KEYS = ["Choices", "ChoiceOrder", "Answers", "AnswerOrder", "RecodeValues", "VariableNaming", "DisplayLogic",
         "Validation", "Configuration", "Randomization", "ChoiceDataExportTags", "AnalyzeChoices", "QuestionText",
         "DataExportTag", "Selector", "SubSelector", "AdditionalQuestions", "QuestionJS", "Graphics"]  # fmt: skip


@hypothesis.settings(max_examples=60, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(
    payload=st.dictionaries(st.sampled_from(_KEYS), _JSON, max_size=6),
    type_=st.sampled_from(["MC", "Matrix", "Slider", "TE", "SBS", "DB", "RO", "CS"]),
    options=_JSON,
    flow=_JSON,
)
def test_wrong_types_anywhere_are_survived(tmp_path, payload, type_, options, flow):
    broken = {**q.question("QID1", "Q1", "?", type_=type_), **payload}
    part = q.block("BL_1", "b", "QID1") | {"Options": options}
    node = q.show("FL_2", "BL_1") | {
        "Flow": flow,
        "EmbeddedData": flow,
        "BranchLogic": options,
        "SubSet": options,
    }
    path = tmp_path / "survey.qsf"
    path.write_text(json.dumps(q.survey([broken], [part], [node])))
    with contextlib.suppress(InputError):
        read_questionnaire(path)


def test_a_long_text_takes_no_long_time(tmp_path):
    started = time.process_time()
    assert plain_text("<table>" + "<tr><td>a</td></tr>" * 5000)
    assert time.process_time() - started < 5


# --- exports ----------------------------------------------------------------------------------------------------


def test_columns_are_linked_by_import_ids_not_names(tmp_path):
    survey_ = q.survey(
        [
            q.single("QID1", "Q1", "In the trash", "a", "b"),
            q.single("QID2", "Q1", "Used", "a", "b"),
            q.matrix("QID3", "M", "Rate", rows={"1": "x", "117": "y"}, answers=("no", "yes")),
            q.question("QID4", "P", "Which?", selector="MAVR", **q.choices("a", "b")),
            q.question("QID5", "T", "Why?", type_="TE", selector="SL"),
            q.question("QID6", "t", "Timing", type_="Timing", selector="PageTimer"),
        ],
        [q.block("BL_1", "All", "QID2", "QID3", "QID4", "QID5", "QID6")],
        [q.show("FL_2", "BL_1")],
    )
    columns = [
        q.column("Q1", "QID2"),
        q.column("M_2", "QID3_117"),
        q.column("P_2", "QID4", "2"),
        q.column("P_2_TEXT", "QID4_2_TEXT"),
        q.column("T", "QID5_TEXT"),
        q.column("t_Page Submit", "QID6_PAGE_SUBMIT"),
        q.column("FL_2_DO_x", "FL_2_DO", "x"),
        q.column("Q1_DO_1", "QID2_DO", "1"),
        q.column("SC0", "SC_abc"),
        q.column("group", "group"),
        q.column("1_Q1", "1_QID2"),
        q.column("StartDate", "startDate"),
    ]
    q.write_deposit(tmp_path, survey_, columns, [["1"] * len(columns)])
    export = read_export(tmp_path / "response.csv", read_questionnaire(tmp_path / "survey.qsf"))
    found = [(c.role, c.question, c.row, c.choice, c.iteration, c.order_of) for c in export.columns]
    assert found == [
        ("answer", "QID2", "", "", "", ""),
        ("answer", "QID3", "117", "", "", ""),
        ("answer", "QID4", "", "2", "", ""),
        ("text", "QID4", "", "2", "", ""),
        ("answer", "QID5", "", "", "", ""),
        ("timing", "QID6", "PAGE_SUBMIT", "", "", ""),
        ("order", "", "", "", "", "FL_2"),
        ("order", "", "", "", "", "QID2"),
        ("score", "", "", "", "", ""),
        ("field", "", "", "", "", ""),
        ("answer", "QID2", "", "", "1", ""),
        ("record", "", "", "", "", ""),
    ]


def test_questions_side_by_side_share_their_rows(tmp_path):
    side = q.question("QID1", "S", "Rate both", type_="SBS", selector="SBSMatrix", **q.choices("Kim", "Lee"))
    side["AdditionalQuestions"] = {
        str(i): q.matrix("x", f"S#{i}", name, rows={}, answers=("Bad", "Good"))
        for i, name in ((1, "Warm"), (2, "Able"))
    }
    survey_ = q.survey([side], [q.block("BL_1", "All", "QID1")], [q.show("FL_2", "BL_1")])
    columns = [q.column(f"S#{i}_{r}", f"QID1#{i}_{r}") for i in (1, 2) for r in (1, 2)]
    q.write_deposit(tmp_path, survey_, columns, [["1", "2", "2", "1"]])
    survey = read_questionnaire(tmp_path / "survey.qsf")
    export = read_export(tmp_path / "response.csv", survey)
    last = export.columns[-1]
    question = survey.find(last.question)
    assert (last.role, question.text, question.choice_by_id[last.row].text) == ("answer", "Able", "Lee")
    assert [a.text for a in question.answers] == ["Bad", "Good"]


@pytest.mark.parametrize("header_rows", [1, 2, 3])
def test_an_export_that_lost_header_rows_is_linked_all_the_same(tmp_path, header_rows):
    survey_ = q.survey(
        [q.single("QID1", "trust", "How much do you trust people in general?", "Little", "Much")],
        [q.block("BL_1", "All", "QID1")],
        [q.show("FL_2", "BL_1")],
    )
    columns = [q.column("StartDate", "startDate", label="Start Date"), q.column("Progress", "progress"),
               q.column("trust", "QID1", label="How much do you trust people in general?")]  # fmt: skip
    q.write_deposit(
        tmp_path, survey_, columns, [["now", "100", "1"], ["now", "100", "2"]], header_rows=header_rows
    )
    export = read_export(tmp_path / "response.csv", read_questionnaire(tmp_path / "survey.qsf"))
    assert export.header_rows == header_rows
    assert export.table.height == 2
    assert [c.role for c in export.columns] == ["record", "record", "answer"]
    assert any("import ids" in note for note in export.notes) == (header_rows < 3)


@pytest.mark.parametrize("header_rows", [1, 3])
def test_a_column_that_was_renamed_and_its_question_are_named(tmp_path, header_rows):
    survey_ = q.survey(
        [q.single("QID1", "trust", "Trust?", "a", "b"), q.single("QID2", "hope", "Hope?", "a", "b")],
        [q.block("BL_1", "All", "QID1", "QID2")],
        [q.show("FL_2", "BL_1")],
    )
    columns = [q.column("trust", "QID1"), q.column("hope_now", "hope_now")]
    q.write_deposit(tmp_path, survey_, columns, [["1", "2"]], header_rows=header_rows)
    notes = read_export(tmp_path / "response.csv", read_questionnaire(tmp_path / "survey.qsf")).notes
    assert any("no column holds the answers to hope" in note for note in notes)
    assert any("of the survey: hope_now" in note for note in notes)


def test_a_row_of_questions_with_their_rows_is_no_response(tmp_path):
    survey_ = q.survey(
        [
            q.matrix(
                "QID1",
                "trust",
                "How much do you trust...",
                rows={"1": "TV", "2": "Web"},
                answers=["Little", "Much"],
            )
        ],
        [q.block("BL_1", "All", "QID1")],
        [q.show("FL_2", "BL_1")],
    )
    columns = [
        q.column(f"trust_{i}", f"QID1_{i}", label=f"How much do you trust... - {t}")
        for i, t in ((1, "TV"), (2, "Web"))
    ]
    q.write_deposit(tmp_path, survey_, columns, [["1", "2"], ["2", "2"]], header_rows=2)
    export = read_export(tmp_path / "response.csv", read_questionnaire(tmp_path / "survey.qsf"))
    assert (export.header_rows, export.table.height) == (2, 2)


def test_a_name_that_two_questions_have_is_linked_with_neither(tmp_path):
    survey_ = q.survey(
        [q.single("QID1", "Q1", "One", "a", "b"), q.single("QID2", "Q1", "Two", "a", "b")],
        [q.block("BL_1", "All", "QID1", "QID2")],
        [q.show("FL_2", "BL_1")],
    )
    q.write_deposit(tmp_path, survey_, [q.column("Q1", "QID1")], [["1"]], header_rows=1)
    export = read_export(tmp_path / "response.csv", read_questionnaire(tmp_path / "survey.qsf"))
    assert export.columns[0].role == "unknown"
    assert any("QID1, QID2" in note for note in export.notes)


def test_columns_of_one_name_are_numbered(tmp_path):
    survey_ = q.survey([q.single("QID1", "Q1", "One", "a", "b")], [q.block("BL_1", "All", "QID1")], [])
    columns = [q.column("Q2", "a"), q.column("Q2", "b"), ("", "", "")]
    q.write_deposit(tmp_path, survey_, columns, [["1", "2", ""]])
    export = read_export(tmp_path / "response.csv", read_questionnaire(tmp_path / "survey.qsf"))
    assert export.table.columns == ["Q2 (1)", "Q2 (2)", "(column 3)"]


def test_tabs_and_utf_16_are_read(tmp_path):
    survey_ = q.survey(
        [q.single("QID1", "Q1", "Größe?", "groß", "klein")], [q.block("BL_1", "All", "QID1")], []
    )
    q.write_deposit(tmp_path, survey_, [q.column("Q1", "QID1"), q.column("x", "x")], [["groß", "1"]])
    path = tmp_path / "response.tsv"
    path.write_bytes(
        (tmp_path / "response.csv").read_text().replace('{"', "").replace(",", "\t").encode("utf-16")
    )
    export = read_export(path, read_questionnaire(tmp_path / "survey.qsf"))
    assert "groß" in export.table.row(export.table.height - 1)


@pytest.mark.parametrize(
    ("status", "is_preview"), [("0", False), ("1", True), ("IP Address", False), ("Survey Preview", True)]
)
def test_previews_are_told_from_responses(tmp_path, status, is_preview):
    survey_ = q.survey([q.single("QID1", "Q1", "One", "a", "b")], [q.block("BL_1", "All", "QID1")], [])
    q.write_deposit(
        tmp_path,
        survey_,
        [q.column("Status", "status"), q.column("Finished", "finished")],
        [[status, "True"]],
    )
    export = read_export(tmp_path / "response.csv", read_questionnaire(tmp_path / "survey.qsf"))
    assert export.is_preview == (is_preview,)
    assert export.is_finished == (True,)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\x81\x8d\x8f", b'a,"b\n1,2'], ids=range(4))
def test_a_table_that_cannot_be_read_is_one_sentence(tmp_path, content):
    survey_ = q.survey([q.single("QID1", "Q1", "One", "a", "b")], [q.block("BL_1", "All", "QID1")], [])
    q.write_deposit(tmp_path, survey_, [q.column("Q1", "QID1")], [])
    path = tmp_path / "broken.csv"
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        assert read_export(path, read_questionnaire(tmp_path / "survey.qsf")).table.height >= 0


def test_conjoint_columns_are_found(tmp_path):
    survey_ = q.survey([q.single("QID1", "Q1", "One", "a", "b")], [q.block("BL_1", "All", "QID1")], [])
    names = [f"K-{t}-{r}" for t in (1, 2) for r in (1, 2)]
    names += [f"K-{t}-{p}-{r}" for t in (1, 2) for p in (1, 2) for r in (1, 2)]
    q.write_deposit(tmp_path, survey_, [q.column(name, name) for name in names], [names])
    export = read_export(tmp_path / "response.csv", read_questionnaire(tmp_path / "survey.qsf"))
    found = find_conjoint(export)
    assert (found.tasks, found.profiles, found.rows) == ((1, 2), (1, 2), (1, 2))
    assert found.levels[2, 1, 2] == "K-2-1-2"
