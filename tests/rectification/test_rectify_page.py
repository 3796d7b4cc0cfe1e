"""docs/how-to/rectify.md: its lines make what `rectify` takes of a store and of its predictions."""

import dataclasses
import re

import polars as pl
import pytest
from conftest import REPOSITORY
from evaluation_example import filled
from small import SCALE_1_5, small_item
from typer.testing import CliRunner

from socsci_jax.cli import app
from socsci_jax.studies.predictions import write_predictions
from socsci_jax.studies.store_builder import StoreBuilder

LINES = re.search(r"```python\n(.*?)```", (REPOSITORY / "docs" / "how-to" / "rectify.md").read_text(), re.S)[
    1
]
ARMS = ("audit by the county", "audit by the council", "weather")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A store of one study whose arms have names that differ at their ends, and predictions of it."""
    builder = StoreBuilder(attributes=("age",), source="made up", license="CC0-1.0", command="test")
    builder.add_study("news")
    asked = []
    for c, arm in enumerate(ARMS):
        for outcome in ("trust", "share"):
            item = dataclasses.replace(
                small_item("news", arm, outcome, SCALE_1_5), stimulus=f"This is text {c}.\n\n"
            )
            item_id = builder.add_item(item)
            for p in range(70):
                builder.add_participant("news", f"{c}-{p}", {"age": "40"})
                builder.add_response(item_id, f"{c}-{p}", 1 + (p + c) % 5, sample_id=p)
                asked.append(
                    (item_id, f"{c}-{p}", [1.0, 2.0, 3.0, 4.0, 5.0], [0.0, 0.5, 0.0, 0.5, 0.0], False)
                )
    builder.write(tmp_path / "store")
    names = ["item_id", "participant_id", "levels", "probs", "seen"]
    frame = filled(pl.DataFrame(asked, schema=names, orient="row"))
    write_predictions(tmp_path / "predictions.parquet", frame, metadata={})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_lines_of_the_page_make_the_tables_that_rectify_takes(folder):
    exec(LINES, {})
    made = pl.read_csv(folder / "predictions.csv")
    assert made.height == 210 and set(made["prediction"]) == {3.0} and set(made["treatment"]) == set(ARMS)
    words = ["rectify", "predictions.csv", "answers.csv", "--formula", "y ~ treatment"]
    found = CliRunner().invoke(app, words, catch_exceptions=False)
    assert found.exit_code == 0, found.output
    table = pl.read_csv(folder / "rectified.csv")
    assert set(table["n_labeled"]) == {0, 100}
    # The terms are whole in the terminal too, folded where they are long.
    assert "…" not in found.output
    terms = "".join(line.split("│")[2].strip() for line in found.output.splitlines() if line.startswith("│"))
    assert all(term.replace(" ", "") in terms.replace(" ", "") for term in set(table["term"]))
