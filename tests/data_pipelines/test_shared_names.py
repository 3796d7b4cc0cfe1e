"""Columns whose export tag several questions share, without import ids: told apart surely, or a named hole."""

import invented_qualtrics as q
import pytest

from data_pipelines.drafting.rules import draft_by_rules
from data_pipelines.formats.qualtrics import read_export, read_questionnaire

FEW, MANY = ("No", "Yes"), ("Never", "Rarely", "Sometimes", "Often", "Always")


def survey_of(*questions: dict) -> dict:
    ids = [one["QuestionID"] for one in questions]
    return q.survey(questions, [q.block("BL_1", "All", *ids)], [q.show("FL_2", "BL_1")])


TWO = survey_of(
    q.single("QID1", "Q1", "Do you read?", *FEW), q.single("QID2", "Q1", "How often do you read?", *MANY)
)


def export_of(folder, survey_, columns: dict[str, list[str]] | list[tuple[str, list[str]]], *, labels=None):
    named = list(columns.items()) if isinstance(columns, dict) else columns
    words = labels or [name for name, _ in named]
    header = [q.column(name, name, label=label) for (name, _), label in zip(named, words, strict=True)]
    rows = list(zip(*(cells for _, cells in named), strict=True))
    q.write_deposit(folder, survey_, header, rows, header_rows=2 if labels else 1)
    return read_export(folder / "response.csv", read_questionnaire(folder / "survey.qsf"))


def linked(export) -> list[str]:
    return [column.question for column in export.columns if column.header == "Q1"]


@pytest.mark.parametrize("turned", [False, True])
def test_cells_that_only_one_question_allows_tell_and_the_other_column_is_the_other_questions(
    tmp_path, turned
):
    columns = [("Q1", ["1", "2", "1", "2"]), ("Q1", ["5", "4", "1", "2"])]
    export = export_of(tmp_path, TWO, columns[::-1] if turned else columns)
    assert linked(export) == (["QID2", "QID1"] if turned else ["QID1", "QID2"])
    assert export.unlinked == ()


@pytest.mark.parametrize("cells", [["Often", "Never"], [" always ", "RARELY"]])
def test_labels_in_cells_tell(tmp_path, cells):
    assert linked(export_of(tmp_path, TWO, {"Q1": cells})) == ["QID2"]


def test_words_above_the_column_tell_and_the_longest_of_those_that_end_alike(tmp_path):
    asked = survey_of(
        q.single("QID1", "Q1", "do you read?", *FEW),
        q.single("QID2", "Q1", "How often do you read?", *FEW),
        q.single("QID3", "other", "Why?", *FEW),
    )
    columns = [("ResponseId", ["R1"]), ("StartDate", ["x"]), ("Q1", ["1"])]
    for label, question in (("How often do you read?", "QID2"), ("do you read?", "QID1")):
        labels = ["Response ID", "Start Date", label]
        assert linked(export_of(tmp_path, asked, columns, labels=labels)) == [question]


def same_choices() -> dict:
    return survey_of(
        q.single("QID1", "Q1", "One", *FEW),
        q.single("QID2", "Q1", "Two", *FEW),
        q.single("QID3", "trust", "I trust Kim.", *q.AGREEMENT),
    )


def test_where_neither_words_nor_cells_tell_the_columns_are_linked_with_none_whatever_their_order(tmp_path):
    export = export_of(tmp_path, same_choices(), [("Q1", ["1", "2"]), ("Q1", ["2", "1"])])
    assert linked(export) == ["", ""]
    assert [one.questions for one in export.unlinked] == [("QID1", "QID2")] * 2


def test_two_columns_that_only_one_question_allows_are_linked_with_none(tmp_path):
    export = export_of(tmp_path, TWO, [("Q1", ["5", "4", "3"]), ("Q1", ["5", "3", "4"])])
    assert linked(export) == ["", ""]
    assert all("QID2" in one.questions for one in export.unlinked)


def test_a_slip_among_the_cells_decides_nothing(tmp_path):
    cells = ["1", "2"] * 20 + ["5"]
    assert linked(export_of(tmp_path, TWO, {"Q1": cells})) == [""]


def test_a_column_that_may_be_anything_written_is_not_told_by_its_cells(tmp_path):
    asked = survey_of(
        q.single("QID1", "Q1", "Do you read?", *FEW),
        q.question("QID2", "Q1", "How many books?", type_="TE", selector="SL"),
    )
    assert linked(export_of(tmp_path, asked, {"Q1": ["1", "2", "1"]})) == [""]


def test_a_draft_names_each_column_that_is_linked_with_none(tmp_path):
    columns = [("Q1", ["1", "2"] * 3), ("Q1", ["2", "1"] * 3), ("trust", ["1", "2", "3"] * 2)]
    export_of(tmp_path, same_choices(), columns)
    specification = draft_by_rules(tmp_path).specification
    assert specification is not None
    assert {"outcomes.Q1 (1)", "outcomes.Q1 (2)"} <= set(specification.unresolved)
    assert "QID1, QID2 have the same export tag" in specification.unresolved["outcomes.Q1 (1)"]
