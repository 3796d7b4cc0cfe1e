"""Every reader, on inputs changed at random: read, or refused in one sentence; `benchmarks/fuzz.py` does it for minutes."""

from __future__ import annotations

import pytest

from benchmarks.fuzz import fuzz
from benchmarks.fuzz_readers import READERS

# These need a second or more for each input.
FEW = {"store", "predictions", "tess", "socsci210", "socsci210-parquet", "documents", "weights", "adapter"}


@pytest.mark.parametrize("name", READERS)
def test_a_changed_input_is_read_or_refused_in_one_sentence(name, tmp_path):
    found = fuzz(READERS[name], seconds=60, most=4 if name in FEW else 25, seed=7, keep=tmp_path)
    shown = "\n".join(path.read_text() for path in tmp_path.rglob("failure.txt"))
    assert (found.tracebacks, found.slow) == (0, 0), shown
    assert found.inputs
