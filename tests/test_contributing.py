"""CONTRIBUTING.md: what it says to copy works as it stands."""

import re

import numpy as np
import pytest
from conftest import REPOSITORY

from socsci_jax.errors import InputError
from socsci_jax.evaluation.metric import DistributionMetric, Pair


@pytest.fixture(scope="module")
def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (REPOSITORY / "CONTRIBUTING.md").read_text(), re.M | re.S)


def test_the_metric_is_complete_and_gives_its_own_example(blocks):
    function, entry = blocks[0].split("\n\n\n")
    names = {"np": np, "DistributionMetric": DistributionMetric}
    exec(function, names)
    metric = eval(entry.strip().rstrip(","), names)
    assert all(text.strip() for text in (metric.unit, metric.citation, metric.formula, metric.trap))
    unlike = Pair(predicted=np.array([1, 0]), human=np.array([0, 1]), levels_l=np.arange(2), n=10)
    assert metric.of(unlike) == 1 and metric.example == "p = (1, 0), q = (0, 1): 1."
    nobody = Pair(predicted=np.array([1, 0]), human=np.full(2, np.nan), levels_l=np.arange(2), n=0)
    assert np.isnan(metric.of(nobody))


def test_the_deposit_is_built_and_what_cannot_be_read_is_counted(blocks, tmp_path):
    module = {}
    exec(blocks[1], module)
    rows = ["ann,34,,Trust?,4", "ann,34,A prize.,Trust?,5", "bob,51,,Trust?,many", "bob,51,,Trust?,9", "bob"]
    rows += [",51,,Trust?,3", "bob,51,,,3", "bob,51,,Trust?," + "9" * 400]
    (tmp_path / "polls.csv").write_text("\n".join(["person,age,text,question,answer", *rows]) + "\n")
    store = module["build"](tmp_path, tmp_path / "store", command="test")
    assert store.items["is_control"].to_list().count(True) == 1
    assert store.responses.select("participant_id", "value").rows() == [("0", 4.0), ("0", 5.0)]
    assert store.rejects["place"].to_list() == [f"polls.csv:{row}" for row in (5, 3, 4, 6, 7, 8)]
    assert "ann" not in str(store.participants) and "bob" not in str(store.rejects["record"].to_list())
    (tmp_path / "polls.csv").write_text("person,age\nann,34\nbob,51\n")
    with pytest.raises(InputError, match="no columns text, question, answer;"):
        module["build"](tmp_path, tmp_path / "store", command="test", replace=True)
