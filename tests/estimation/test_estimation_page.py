"""The examples of docs/estimation.md are run as they stand."""

import doctest
from pathlib import Path

PAGE = Path(__file__).parent.parent.parent / "docs" / "estimation.md"


def test_the_examples_worked_by_hand_come_out_as_the_page_says():
    found = doctest.testfile(str(PAGE), module_relative=False)
    assert found.attempted >= 25 and not found.failed
