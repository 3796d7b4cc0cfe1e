"""Every reader, on inputs changed at random: read, or refused in one sentence; `benchmarks/fuzz.py` does it for minutes."""

from __future__ import annotations

import pytest

from benchmarks.fuzz import READERS, fuzz

# These need less than a tenth of a second for each input.
QUICK = {
    "recipe",
    "run",
    "specification",
    "layout",
    "model-config",
    "tokenizer",
    "messages",
    "rationales",
    "file.csv",
    "file.md",
}


@pytest.mark.parametrize("name", READERS)
def test_a_changed_input_is_read_or_refused_in_one_sentence(name, tmp_path):
    most = 25 if name in QUICK else 1 if name.startswith("file.") else 3
    found = fuzz(READERS[name], seconds=60, most=most, seed=7, keep=tmp_path)
    shown = "\n".join(path.read_text() for path in tmp_path.rglob("failure.txt"))
    assert (found.tracebacks, found.slow) == (0, 0), shown
    assert found.inputs
