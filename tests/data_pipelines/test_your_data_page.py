"""docs/your-data.md: its example is built as it stands there, and it names all keys, gates, kinds and columns."""

import re
from pathlib import Path

import pytest

import data_pipelines
from data_pipelines.gates import GATES
from socsci_jax.studies.specification import Specification, Study
from socsci_jax.studies.specification_parts import AnswerScale, Match, SourceFile, TextFrom

PAGE = Path(__file__).parent.parent.parent / "docs" / "your-data.md"


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def block(page: str, language: str) -> str:
    return re.search(rf"^```{language}\n(.*?)^```", page, re.S | re.M)[1]


def test_the_example_is_built_as_it_stands(page, tmp_path):
    header, *rows = block(page, "").splitlines()
    # The page shows three people; as many again as it takes to compare the arms.
    more = [
        f"{i},{1 + i % 2},{30 + i},{1 + i % 3 % 2},blue,{1 + i * 7 % 5},{i * 13 % 37}" for i in range(4, 64)
    ]
    (tmp_path / "answers.csv").write_text("\n".join([header, *rows, *more]) + "\n")
    (tmp_path / "study.yaml").write_text(block(page, "yaml"))
    assert len(block(page, "yaml").splitlines()) <= 30
    store = data_pipelines.build("study", str(tmp_path / "study.yaml"), tmp_path / "store", command="")
    reasons = store.rejects["reason"].to_list()
    assert sorted(reasons) == ["excluded: failed the attention check", "missing answer (code -99)"]
    first = store.participants.row(0, named=True)
    assert first["attributes"] == {"age": "34 years", "gender": "Female"}
    item = next(item for item in store.item_by_id.values() if item.outcome == "trust" and item.is_control)
    assert item.text == (
        "A doctor reads the scan and tells you what it shows.\n\nHow much do you trust this advice?\n"
        "Only return an integer from 1 to 5, where 1 means Not at all and 5 means Completely, nothing else."
    )


@pytest.mark.parametrize(
    "names",
    [
        [gate.name for gate in GATES],
        [name for name in Study.model_fields if name not in ("data", "title")],
        [n for n in Specification.model_fields if n not in ("studies", "provenance", "unresolved")],
    ],
    ids=["gates", "study", "specification"],
)
def test_the_page_names_all(page, names):
    assert [name for name in names if f"`{name}`" not in page and f"\n{name}:" not in page] == []


@pytest.mark.parametrize("block_of_keys", [AnswerScale, SourceFile, TextFrom, Match])
def test_the_page_names_all_keys_of_short_blocks(page, block_of_keys):
    names = [field.alias or name for name, field in block_of_keys.model_fields.items()]
    assert [name for name in names if not re.search(rf"\b{name}\b", page)] == []
