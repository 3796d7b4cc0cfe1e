"""What long work reports of how far it is."""

import logging
import re

from socsci_jax.progress import progress


def test_an_end_that_is_reported_twice_is_one_line(caplog):
    caplog.set_level(logging.INFO)
    with progress("predict", total=2) as shown:
        shown.update(0)
        shown.update(2)
        shown.update(2)
    assert caplog.messages == ["predict: 2/2"]


def test_without_seconds_between_lines_every_update_is_one(caplog):
    caplog.set_level(logging.INFO)
    for seconds_between in (0, 60):
        with progress("train", total=3, seconds_between=seconds_between) as shown:
            for step in (1, 2, 3):
                shown.update(step)
    said = [message.partition(",")[0] for message in caplog.messages]
    assert said == ["train: 1/3", "train: 2/3", "train: 3/3", "train: 3/3"]


def test_a_line_has_commas_between_what_it_says(caplog):
    caplog.set_level(logging.INFO)
    with progress("train", total=3, seconds_between=0) as shown:
        shown.update(1)
        shown.update(2, "loss 0.5")
    first, second = caplog.messages
    assert first == "train: 1/3" and re.fullmatch(r"train: 2/3, \d+ s left, loss 0\.5", second)


def test_a_terminal_has_a_bar_with_its_figures(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with progress("train", total=4) as shown:
        shown.update(1)
        shown.update(4, "loss 0.5")
    assert "train: 100%" in (bar := capsys.readouterr().err) and "4/4" in bar and "loss 0.5" in bar


def test_what_is_not_to_be_shown_is_not(caplog, capsys):
    caplog.set_level(logging.INFO)
    with progress("predict", total=1, shown=False) as shown:
        shown.update(1)
    assert not caplog.messages and capsys.readouterr() == ("", "")


def test_a_notebook_keeps_a_bar():
    """As a kernel runs it, whose standard error is no terminal."""
    nbclient, nbformat = __import__("nbclient"), __import__("nbformat")
    code = (
        "from socsci_jax.progress import progress\n"
        "with progress('predict', total=3) as shown:\n    shown.update(3, 'mass 0.9')"
    )
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(book, timeout=60, kernel_name="python3").execute()
    shown = "".join(
        output.get("text", "") + output.get("data", {}).get("text/plain", "")
        for output in book.cells[0].outputs
    )
    assert "predict: 100%" in shown and "3/3" in shown and "mass 0.9" in shown
