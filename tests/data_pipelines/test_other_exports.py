"""Exports in other shapes: other formats, decimal commas, -99 for seen but unanswered, words that are also codes."""

from __future__ import annotations

import csv
import zipfile

import invented_qualtrics as q
import openpyxl
import polars as pl
import pyreadstat
import pytest

from data_pipelines.drafting.rules import draft_by_rules, write_draft
from data_pipelines.formats.csv_table import read_csv
from data_pipelines.formats.limits import read_bytes
from data_pipelines.specified.build import build
from socsci_jax.errors import InputError


def values(folder, out):
    """Outcome -> answers in the order of the file, as the settled draft builds them."""
    draft = draft_by_rules(folder)
    write_draft(draft.specification.model_copy(update={"unresolved": {}}), folder / "study.yaml")
    store = build(folder, out)
    found = store.responses.join(store.items, on="item_id").sort("sample_id")
    return {key: rows["value"].to_list() for (key,), rows in found.group_by("outcome", maintain_order=True)}


def as_excel(rows, path):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append([int(cell) if cell.isdigit() else cell or None for cell in row])
    book.save(path.with_suffix(".xlsx"))


def as_zip(rows, path):
    del rows
    with zipfile.ZipFile(path.with_suffix(".zip"), "w") as archive:
        archive.write(path, "../Kim_November 26, 2026.csv")


def as_spss(rows, path):
    names, labels, _, *answers = rows
    cells = {
        name: pl.Series([row[i] or None for row in answers]).cast(pl.Int64 if i > 1 and "DO" not in name else pl.String)
        for i, name in enumerate(names)
    }  # fmt: skip
    frame = pl.DataFrame(cells).to_pandas()
    pyreadstat.write_sav(frame, str(path.with_suffix(".sav")), column_labels=labels,
                         variable_value_labels={"trust": {1: "Strongly disagree"}})  # fmt: skip


@pytest.mark.parametrize("save", [as_excel, as_zip, as_spss])
def test_other_formats_of_an_export_give_the_same_draft(tmp_path, save):
    folder = q.two_arms(tmp_path / "kim")
    expected = draft_by_rules(folder)
    path = folder / "response.csv"
    with path.open(encoding="utf-8", newline="") as file:
        save(list(csv.reader(file)), path)
    path.unlink()
    found = draft_by_rules(folder)
    assert {o.name: o.scale for o in found.outcomes} == {o.name: o.scale for o in expected.outcomes}
    levels = [d.design.assignments["FL_7"].levels for d in (found, expected)]
    assert levels[0] == levels[1]
    write_draft(found.specification.model_copy(update={"unresolved": {}}), folder / "study.yaml")
    assert build(folder, tmp_path / "store").participants.height == 12


def test_beside_a_csv_file_the_same_answers_in_another_format_are_not_asked_about(tmp_path):
    folder = q.two_arms(tmp_path / "kim")
    with (folder / "response.csv").open(encoding="utf-8", newline="") as file:
        as_excel(list(csv.reader(file)), folder / "response.csv")
    assert draft_by_rules(folder).data_path.name == "response.csv"


@pytest.mark.parametrize("names", [[], ["a.csv", "b.csv"]])
def test_a_zip_file_without_exactly_one_table_is_refused(tmp_path, names):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in names:
            archive.writestr(name, "a,b\n1,2\n")
    with pytest.raises(InputError, match="CSV or TSV"):
        read_bytes(tmp_path / "x.zip")


@pytest.mark.parametrize(
    ("cells", "read"),
    [
        (["3,5", "2", "-0,25"], ["3.5", "2", "-0.25"]),
        (["1,3", "2,4", "2"], ["1,3", "2,4", "2"]),
        (["3,5", "2,1,4", "1"], ["3,5", "2,1,4", "1"]),
        (["Words", "5,3", "4"], ["Words", "5.3", "4"]),
        (["5,3", "Words", "4"], ["5,3", "Words", "4"]),
    ],
    ids=["numbers", "rising pairs of choices", "lists", "a header row's words", "text"],
)
def test_decimal_commas_between_semicolons_are_points(tmp_path, cells, read):
    path = tmp_path / "x.csv"
    path.write_text("a;b\n" + "".join(f"{cell};x\n" for cell in cells))
    table = read_csv(path)
    assert table.frame["a"].to_list() == read
    assert any("decimal comma" in note for note in table.notes) == (cells != read)


def test_commas_stay_where_other_numbers_have_points(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a;b\n3,5;1.5\n2,1;2\n")
    assert read_csv(path).frame["a"].to_list() == ["3,5", "2,1"]


def deposit(folder, columns, rows, *questions):
    ids = [question["QuestionID"] for question in questions]
    survey = q.survey(list(questions), [q.block("BL_1", "All", *ids)], [q.show("FL_2", "BL_1")])
    return q.write_deposit(folder, survey, columns, rows)


def test_seen_but_unanswered_is_missing_and_of_a_box_not_chosen(tmp_path):
    folder = deposit(
        tmp_path / "d",
        [q.column("hours", "QID1_TEXT"), q.column("how", "QID2"), q.column("p_1", "QID3", "1"),
         q.column("p_2", "QID3", "2")],
        [["2", "1", "1", "-99"], ["-99", "-99", "-99", "1"], ["7", "2", "", ""]],
        q.question("QID1", "hours", "How many hours?", type_="TE", selector="SL"),
        q.single("QID2", "how", "How was it?", "Bad", "Good"),
        q.question("QID3", "p", "Which do you use?", selector="MAVR", **q.choices("Bus", "Bike")),
    )  # fmt: skip
    assert not draft_by_rules(folder).specification.unresolved
    assert values(folder, tmp_path / "store") == {
        "hours": [2, 7],
        "how": [1, 2],
        "p_1": [1, 0],
        "p_2": [0, 1],
    }


def test_joined_boxes_that_were_seen_and_left_empty_are_not_chosen(tmp_path):
    several = q.question("QID1", "p", "Which do you use?", selector="MAVR", **q.choices("Bus", "Bike"))
    folder = deposit(
        tmp_path / "d", [q.column("p", "QID1"), q.column("x", "x")],
        [["1,2", "a"], ["-99", "a"], ["", "a"]], several,
    )  # fmt: skip
    assert not draft_by_rules(folder).specification.unresolved
    assert values(folder, tmp_path / "store") == {"p_1": [1, 0], "p_2": [1, 0]}


@pytest.mark.parametrize(
    ("other", "expected"), [(["Bad", "Good"], [1, 5, 2]), (["1", "2"], [5, 1, 4])], ids=["words", "codes"]
)
def test_cells_that_are_codes_and_labels_at_once_are_read_as_the_rest_of_the_export(
    tmp_path, other, expected
):
    """The numbers that people saw run from 1 to 5, their codes from 5 to 1."""
    turned = {str(i): str(6 - i) for i in range(1, 6)}
    folder = deposit(
        tmp_path / "d", [q.column("rating", "QID1"), q.column("how", "QID2")],
        [["1", other[0]], ["5", other[1]], ["2", other[1]]],
        q.single("QID1", "rating", "From 1 (bad) to 5 (good)?", "1", "2", "3", "4", "5", RecodeValues=turned),
        q.single("QID2", "how", "How was it?", "Bad", "Good"),
    )  # fmt: skip
    assert values(folder, tmp_path / "store")["rating"] == expected


def test_a_draw_of_some_of_several_blocks_is_a_named_hole(tmp_path):
    """Nobody is at one level of it, yet people read different texts."""
    topics = [q.text(f"QID{i}", f"t{i}", f"You read about topic {i}, which is long.") for i in (1, 2, 3)]
    blocks = [q.block(f"BL_{i}", f"Topic {i}", f"QID{i}") for i in (1, 2, 3)]
    draw = q.randomizer("FL_7", *(q.show(f"FL_1{i}", f"BL_{i}") for i in (1, 2, 3)), shown=2)
    survey = q.survey([*topics, q.single("QID5", "how", "How was it?", "Bad", "Good")],
                      [*blocks, q.block("BL_5", "Rate", "QID5")], [draw, q.show("FL_20", "BL_5")])  # fmt: skip
    columns = [q.column("how", "QID5"), q.column("FL_7_DO", "FL_7_DO")]
    folder = q.write_deposit(
        tmp_path / "d", survey, columns, [["1", "Topic1|Topic2"], ["2", "Topic3|Topic1"]]
    )
    assert (
        "2 of 3 (Topic 1, Topic 2, Topic 3)"
        in draft_by_rules(folder).specification.unresolved["factors.FL_7"]
    )


def test_seen_and_not_answered_in_a_later_iteration_is_no_answer_of_the_loop(tmp_path):
    survey_ = q.survey(
        [q.question("QID1", "pay", "What would you pay for ${lm://Field/1}?", type_="TE", selector="SL")],
        [q.block("BL_1", "Fruit", "QID1", Looping="Static",
                 LoopingOptions={"Static": {"1": {"1": "apples"}, "2": {"1": "pears"}}})],
        [q.show("FL_2", "BL_1")],
    )  # fmt: skip
    columns = [q.column("1_pay", "1_QID1_TEXT"), q.column("2_pay", "2_QID1_TEXT")]
    rows = [["3", "-99"], ["2", "5"], ["4", "6"]]
    study = next(
        iter(
            draft_by_rules(
                q.write_deposit(tmp_path / "d", survey_, columns, rows)
            ).specification.studies.values()
        )
    )
    assert study.outcomes["pay"].scale.missing == ("-99",)


def test_boxes_of_an_spss_export_are_chosen_whatever_its_labels_call_them(tmp_path):
    survey_ = q.survey(
        [q.question("QID1", "Q1", "Which do you use?", selector="MAVR", **q.choices("TV", "Web"))],
        [q.block("BL_1", "All", "QID1")],
        [q.show("FL_2", "BL_1")],
    )
    folder = q.write_deposit(tmp_path / "d", survey_, [q.column("x", "x")], [])
    (folder / "response.csv").unlink()
    frame = pl.DataFrame({"Q1_1": [1.0, None, 1.0], "Q1_2": [None, 1.0, 1.0]}).to_pandas()
    labels = {"Q1_1": {1: "TV"}, "Q1_2": {1: "Web"}}
    pyreadstat.write_sav(frame, str(folder / "x.sav"), variable_value_labels=labels)
    assert values(folder, tmp_path / "store") == {"Q1_1": [1, 0, 1], "Q1_2": [0, 1, 1]}
