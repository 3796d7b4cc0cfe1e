"""Text from elsewhere is shown as text: on a terminal, in a plot, in a spreadsheet."""

from __future__ import annotations

import io

import matplotlib
import polars as pl
import pytest
from matplotlib.figure import Figure

from socsci_jax.cli.output import print_rich, print_table, say
from socsci_jax.evaluation.sweep_plot import STYLE
from socsci_jax.foreign_text import for_terminal, without_formulas, write_csv

HOSTILE = "[/bold] [red]\x1b[31m\x1b]0;title\x07 $\\frac{1} :smile: \u202eabc\x9b2J\ud800"


def test_nothing_that_a_terminal_acts_on_is_left():
    shown = for_terminal(HOSTILE)
    assert shown.startswith(
        "[/bold] [red]\\x1b[31m\\x1b]0;title\\x07 $\\frac{1} :smile: \\u202eabc\\x9b2J\\ud800"
    )
    assert shown.encode("utf-8").isascii()


def test_line_breaks_tabs_and_other_languages_stay():
    assert for_terminal("á\n\t日本 – €") == "á\n\t日本 – €"


def test_a_text_without_end_is_cut():
    assert len(for_terminal("x" * 10**6)) < 30_000


def test_a_terminal_that_knows_fewer_characters_is_no_error():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    say("á–日", file=stream)
    assert raw.getvalue() == b"\\xe1\\u2013\\u65e5\n"


def test_a_table_takes_no_text_for_markup(capsys):
    print_table(HOSTILE, pl.DataFrame({HOSTILE.replace("\ud800", ""): [HOSTILE[:20]]}))
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "[/bold] [red]\\x1b[31m" in out


def test_a_table_made_elsewhere_is_printed_as_text_too(capsys):
    from rich.table import Table

    table = Table(title=HOSTILE[:30])
    table.add_column("[/x]")
    table.add_row("[/b]\x1b[2J")
    print_rich(table)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "[/b]\\x1b[2J" in out


def test_a_plot_takes_no_text_for_mathematics():
    with matplotlib.rc_context(STYLE):
        figure = Figure()
        figure.subplots().set_title(r"from $\frac{1}$")
        figure.savefig(io.BytesIO(), format="svg")


@pytest.mark.parametrize(
    "text", ['=HYPERLINK("x")', "+1+cmd|'/c'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "＝1"]
)
def test_a_formula_is_written_as_text(tmp_path, text):
    write_csv(pl.DataFrame({"study": [text]}), tmp_path / "a.csv")
    assert pl.read_csv(tmp_path / "a.csv", infer_schema=False)["study"][0] == "'" + text


@pytest.mark.parametrize("text", ["-3", "+2.5", "-.5e-3", "a=1", "", None])
def test_what_is_no_formula_stays_as_it_is(text):
    frame = pl.DataFrame({"study": [text], "value": [-1.0]}, schema={"study": pl.String, "value": pl.Float64})
    assert without_formulas(frame).equals(frame)


def test_categories_are_no_formulas(tmp_path):
    frame = pl.DataFrame(
        {"=1+1": ["a"], "'=1+1": ["b"], "kind": pl.Series(["@SUM(1)"], dtype=pl.Categorical)}
    )
    write_csv(frame, tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == "=1+1,'=1+1,kind\na,b,'@SUM(1)\n"


@pytest.mark.parametrize("rows", [0, 1, 2, 7])
def test_a_table_written_some_rows_at_a_time_is_the_same(tmp_path, monkeypatch, rows):
    frame = pl.DataFrame({"=a": ["=1"] * rows, "b": [0.1] * rows})
    write_csv(frame, tmp_path / "whole.csv")
    monkeypatch.setattr("socsci_jax.foreign_text._ROWS_AT_A_TIME", 2)
    write_csv(frame, tmp_path / "pieces.csv")
    assert (tmp_path / "pieces.csv").read_text() == (tmp_path / "whole.csv").read_text()
    assert (tmp_path / "whole.csv").read_text().splitlines() == ["'=a,b", *["'=1,0.1"] * rows]
