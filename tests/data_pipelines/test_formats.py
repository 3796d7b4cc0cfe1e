"""One file becomes a table with labels and missing codes, or a text; a damaged or hostile file becomes one sentence."""

import gzip
import os
import signal
import zipfile
from pathlib import Path

import docx
import openpyxl
import pandas as pd
import pyreadstat
import pytest
import rdata
from deposit_files import ANSWERS, LABELS, pdf, r_frame, workbook, written

from data_pipelines.formats import isolated, limits
from data_pipelines.formats.documents import read_document, unwrapped
from data_pipelines.formats.tables import Table, read_table
from socsci_jax.errors import InputError
from socsci_jax.studies.specification import SourceFile


def read(path: Path, **told) -> Table:
    return read_table(path, SourceFile(path=path.name, **told))


def rows(table: Table) -> list[tuple]:
    return table.frame.rows()


# --- CSV ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "text", "note"),
    [
        ("utf-8", "für 5 €", None),
        ("utf-8-sig", "für 5 €", None),
        ("cp1252", "für 5 €", "read as cp1252"),
        ("utf-16", "für 5 €", "read as utf-16"),
        ("cp1251", "Насколько вы согласны с этим утверждением", "read as cp1251"),
        ("cp932", "この質問にどの程度同意しますか", "read as cp932"),
    ],
)
def test_the_encoding_of_a_csv_is_found_and_reported(tmp_path, encoding, text, note):
    table = read(written(tmp_path / "a.csv", f"id,q\n1,{text}\n2,{text}\n".encode(encoding)))
    assert rows(table) == [("1", text), ("2", text)]
    assert any(note in found for found in table.notes) if note else not table.notes


@pytest.mark.parametrize(("delimiter", "name"), [(",", "','"), (";", "';'"), ("\t", "'\\t'"), ("|", "'|'")])
def test_the_delimiter_of_a_csv_is_found_and_reported(tmp_path, delimiter, name):
    text = 'id,q\n1,a\n2,"b, c; d"\n'.replace("id,q", f"id{delimiter}q").replace("1,a", f"1{delimiter}a")
    table = read(written(tmp_path / "a.csv", text.replace('2,"', f'2{delimiter}"').encode()))
    assert rows(table) == [("1", "a"), ("2", "b, c; d")]
    assert bool(table.notes) == (delimiter != ",")
    assert all(name in note for note in table.notes)


def test_line_breaks_and_quotation_marks_within_cells_are_kept(tmp_path):
    table = read(written(tmp_path / "a.csv", b'id,q\r\n1,"a\nb"\r\n2,"say ""no"""\r\n'))
    assert rows(table) == [("1", "a\nb"), ("2", 'say "no"')]


def test_rows_that_do_not_fit_the_header_are_named_with_their_place(tmp_path):
    table = read(written(tmp_path / "a.csv", b"id,q\n1,2\n1,2,3\n4,5\n6\n7,8\n"))
    assert rows(table) == [("1", "2"), ("4", "5"), ("7", "8")]
    assert table.numbers.to_list() == [1, 3, 5]
    assert table.misfits == (
        (2, "3 cells, where the header has 2"),
        (4, "1 cell, where the header has 2"),
    )


def test_cells_that_mean_nothing_are_empty_and_counted(tmp_path):
    table = read(written(tmp_path / "a.csv", b"id,q\n1,NA\n2, \n3,n/a\n4,None\n"))
    assert table.frame["q"].to_list() == [None, None, None, "None"]
    assert "a.csv: 1 cell 'NA' counts as empty." in table.notes


def test_columns_of_one_name_cannot_be_taken_for_each_other(tmp_path):
    table = read(written(tmp_path / "a.csv", b"q,q,\n1,2,3\n"))
    assert table.frame.columns == ["q (1)", "q (2)", "(column 3)"]


@pytest.mark.parametrize("name", ["*", "^.*$", "a b", '"q"', "value", "variable"])
def test_a_column_may_have_any_name(tmp_path, name):
    header = '"' + name.replace('"', '""') + '"'
    table = read(written(tmp_path / "a.csv", f"id,{header}\n1,NA\n2,5\n".encode()))
    assert table.frame[name].to_list() == [None, "5"]


def test_rows_under_the_header_that_hold_no_answers_are_skipped(tmp_path):
    table = read(written(tmp_path / "a.csv", b'Q1\nHow?\n"{""ImportId"":""QID1""}"\n5\n'), skip_rows=[1, 2])
    assert rows(table) == [("5",)]
    assert table.numbers.to_list() == [3]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "the file is empty"),
        (b'id,q\n1,"2\n3,4\n', "line 2: a quotation mark opens in this row and is never closed"),
        (b"id,q\n\x00\x00,2\n", "holds zero bytes"),
        (b"id,q\n1,2,3\n4,5,6\n", "none of the 2 rows has as many"),
        (b"\x1f\x8b\x08\x00garbage", "damaged gzip file"),
    ],
)
def test_a_damaged_csv_is_one_sentence(tmp_path, content, complaint):
    with pytest.raises(InputError, match=complaint):
        read(written(tmp_path / "a.csv", content))


def test_a_gzip_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "LARGEST_FILE", 2**20)
    monkeypatch.setattr(limits.read_bytes, "__kwdefaults__", {"most": 2**20})
    path = written(tmp_path / "a.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 2**20))
    with pytest.raises(InputError, match="more than 1 MB unpacked"):
        read(path)


# --- Excel, SPSS, Stata, R ------------------------------------------------------------------------------------------------


def test_a_workbook_gives_whole_numbers_without_a_point(tmp_path):
    table = read(
        workbook(tmp_path / "a.xlsx", answers=[["id", "q"], [1, 2.0], [2, None], [3, 1.5]], notes=[])
    )
    assert rows(table) == [("1", "2"), ("2", None), ("3", "1.5")]


def test_a_workbook_of_several_tables_needs_a_sheet(tmp_path):
    path = workbook(tmp_path / "a.xlsx", one=[["id"], [1]], two=[["id"], [2]])
    with pytest.raises(InputError, match=r"2 sheets hold cells \('one', 'two'\); say which one"):
        read(path)
    assert rows(read(path, sheet="two")) == [("2",)]


def test_an_spss_file_keeps_labels_and_missing_codes(tmp_path):
    path = tmp_path / "a.sav"
    pyreadstat.write_sav(
        ANSWERS,
        str(path),
        column_labels={"q": "How warm?"},
        variable_value_labels=LABELS,
        missing_ranges={"q": [-99], "arm": [{"lo": 8, "hi": 9}]},
    )
    table = read(path)
    assert rows(table) == [("1", "1", "5"), ("2", "2", "-99"), ("3", None, "2.5")]
    assert table.labels["q"] == "How warm?"
    assert table.value_labels["arm"] == {"1": "Control", "2": "Machine"}
    assert table.missing == {"q": frozenset({"-99"})}


def test_a_stata_file_keeps_labels_and_its_letters_of_missing_values(tmp_path):
    path = tmp_path / "a.dta"
    frame = ANSWERS.assign(q=pd.Series([5, "a", 2], dtype=object))
    pyreadstat.write_dta(
        frame, str(path), variable_value_labels=LABELS, missing_user_values={"q": ["a"]}, version=15
    )
    table = read(path)
    assert table.frame["q"].to_list() == ["5", ".a", "2"]
    assert table.missing == {"q": frozenset({".a"})}
    assert table.value_labels["arm"] == {"1": "Control", "2": "Machine"}


def test_an_r_data_frame_gives_factors_as_their_labels_and_na_as_empty(tmp_path):
    rdata.write_rds(tmp_path / "a.rds", r_frame())
    assert rows(read(tmp_path / "a.rds")) == [
        ("1", "Control", "5", "TRUE"),
        ("2", "Machine", "-99", None),
        ("3", None, "2.5", "FALSE"),
    ]


def test_an_r_workspace_of_several_frames_needs_a_name(tmp_path):
    rdata.write_rda(tmp_path / "a.RData", {"one": ANSWERS, "two": ANSWERS[["id"]], "note": [1, 2]})
    with pytest.raises(InputError, match=r"2 data frames \('one', 'two'\); say which one under `object`"):
        read(tmp_path / "a.RData")
    assert read(tmp_path / "a.RData", object="two").frame.columns == ["id"]


# --- Codebooks ------------------------------------------------------------------------------------------------------------


def test_a_docx_keeps_headings_lists_and_tables(tmp_path):
    document = docx.Document()
    document.add_heading("Variables", 2)
    document.add_paragraph("one item", style="List Bullet")
    table = document.add_table(1, 3)
    for cell, text in zip(table.rows[0].cells, ("q", "How warm?", "1 = cold; 7 = warm"), strict=True):
        cell.text = text
    inner = document.add_table(1, 2)
    inner.cell(0, 0).text = "scale"
    for row in ("1 = cold", "7 = warm"):
        inner.cell(0, 1).add_table(1, 1).cell(0, 0).text = row
    document.save(tmp_path / "a.docx")
    text = read_document(tmp_path / "a.docx", kind="docx")
    assert "## Variables\n" in text
    assert "- one item" in text
    assert "q | How warm? | 1 = cold; 7 = warm" in text
    assert "scale | 1 = cold 7 = warm" in text


def test_a_pdf_keeps_the_order_of_text_and_the_cells_of_tables(tmp_path):
    grid = "".join(f"50 {y} m 450 {y} l S\n" for y in (700, 680, 660))
    grid += "".join(f"{x} 700 m {x} 660 l S\n" for x in (50, 150, 450))
    lines = [(50, 740, "Variables"), (55, 685, "warm"), (155, 685, "How warm? 1 = cold"), (55, 665, "price")]
    lines += [(155, 665, "in dollars"), (50, 620, "End of the codebook")]
    text = read_document(written(tmp_path / "a.pdf", pdf(lines, grid)), kind="pdf")
    assert [line for line in text.splitlines() if line] == [
        "Variables",
        "warm | How warm? 1 = cold",
        "price | in dollars",
        "End of the codebook",
    ]


def test_lines_that_were_wrapped_become_one_and_lists_stay():
    text = "How well does\nthis describe you?\n\n1 Not at all\n2 Well\n"
    assert unwrapped(text, markdown=True) == "How well does this describe you?\n\n1 Not at all\n2 Well\n"
    assert unwrapped(
        "Agree\nDisagree\nA much longer line that was full here\nnow", markdown=False
    ).startswith("Agree\nDisagree\nA much")


# --- Hostile files --------------------------------------------------------------------------------------------------------


def test_a_zip_bomb_in_a_workbook_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "LARGEST_FILE", 2**20)
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b"0" * 2**21)
    with pytest.raises(InputError, match="more than 1 MB unpacked"):
        read(tmp_path / "a.xlsx")


def test_a_reader_that_needs_too_much_memory_is_stopped(tmp_path):
    path = workbook(tmp_path / "a.xlsx", answers=[["id"], [1]])
    book = openpyxl.load_workbook(path)
    book.active.cell(1_048_576, 16_384, "far away")
    book.save(path)
    with pytest.raises(InputError, match=r"MB of memory|columns"):
        read(path)


def test_a_reader_that_takes_too_long_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(isolated, "SECONDS", 1)
    monkeypatch.setattr(isolated, "SECONDS_PER_MB", 0)
    crowded = pdf([(i % 500, i % 700, "many words on one page") for i in range(4_000)])
    with pytest.raises(InputError, match=r"its reader broke off .* 1 s"):
        read_document(written(tmp_path / "a.pdf", crowded), kind="pdf")


def test_one_process_forks_for_every_file_and_is_started_again_when_it_is_gone(tmp_path):
    path = workbook(tmp_path / "a.xlsx", answers=[["id"], [1]])
    read(path)
    first = isolated.READER.pid
    read(path)
    assert isolated.READER.pid == first
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    assert read(path).frame["id"].to_list() == ["1"]
    assert isolated.READER.pid != first


def test_a_module_that_lies_in_a_deposits_folder_is_not_imported(tmp_path, monkeypatch):
    path = workbook(tmp_path / "a.xlsx", answers=[["id"], [1]])
    (tmp_path / "python_calamine.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    monkeypatch.chdir(tmp_path)
    isolated.READER.end()
    read(path)
    assert not (tmp_path / "ran").exists()
