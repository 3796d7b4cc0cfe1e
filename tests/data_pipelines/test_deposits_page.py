"""docs/deposits.md: it names all kinds and columns, and what it shows of Many Labs 2 and of profiles is built."""

import json
import random
import re
from pathlib import Path

import pytest

import data_pipelines
from data_pipelines.archives import (
    documents,
    opinionqa,
    socsci210_files,
    subpop,
    tess_tables,
    transcripts,
    twin2k,
)
from socsci_jax.studies.specification_files import parse_specification

PAGE = Path(__file__).parent.parent.parent / "docs" / "deposits.md"


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "names",
    [
        data_pipelines.KINDS,
        [name for columns in tess_tables.COLUMNS.values() for name in columns],
        socsci210_files.COLUMNS,
        [documents.ID, documents.TEXT, documents.CODER],
        subpop.COLUMNS,
        [name for columns in opinionqa.FILES.values() for name in columns],
        twin2k.COLUMNS,
        [*transcripts.COLUMNS, *transcripts.ATTRIBUTES],
    ],
    ids=["kinds", "tess", "socsci210", "documents", "subpop", "opinionqa", "twin2k", "transcripts"],
)
def test_the_page_names_all(page, names):
    assert [name for name in names if f"`{name}`" not in page] == []


def specifications(page: str) -> list[str]:
    return re.findall(r"^```yaml\n(.*?)^```", page, re.S | re.M)


def test_many_labs_is_built_as_the_page_says(page, tmp_path):
    many_labs, _ = specifications(page)
    many_labs = many_labs.replace("PUT THE PROTOCOL'S TEXT ABOUT THE SCARF HERE", "A scarf of 45 dollars.")
    many_labs = many_labs.replace("PUT THE PROTOCOL'S TEXT ABOUT THE COAT HERE", "A coat of 55 dollars.")
    (tmp_path / "study.yaml").write_text(many_labs.replace(".csv.gz", ".csv"))
    draw = random.Random(0)
    rows = [
        f"{i},{draw.randint(0, 6)},{('Scarf', 'Coat')[i % 2]},{draw.randint(1, 4)},Atlantis,English,TRUE"
        for i in range(80)
    ]
    header = "uID,variable,factor,sex,Country,Language,case.include"
    (tmp_path / "Hsee_1_study_global_include_all_CLEAN_CASE.csv").write_text(
        "\n".join([header, *rows]) + "\n"
    )
    store = data_pipelines.build("study", str(tmp_path), tmp_path / "store", command="")
    assert (store.items.height, store.responses.height) == (2, 80)
    assert store.personas["less-is-better", "0"]["location"] == "Atlantis"


def test_the_published_file_of_an_analysis_is_built_as_the_page_says(page, tmp_path, shared_data):
    many_labs, _ = specifications(page)
    many_labs = many_labs.replace("THE SCARF HERE", "THE SCARF").replace("THE COAT HERE", "THE COAT")
    name = "Hsee_1_study_global_include_all_CLEAN_CASE.csv.gz"
    (tmp_path / name).write_bytes((shared_data / "manylabs2" / name).read_bytes())
    (tmp_path / "study.yaml").write_text(many_labs)
    store = data_pipelines.build("study", str(tmp_path), tmp_path / "store", command="")
    assert store.responses.height == 7646


def test_profiles_are_built_as_the_page_says(page, tmp_path):
    _, profiles = specifications(page)
    assert list(parse_specification(profiles, where="page").studies["late-game"].attributes) == [
        "position",
        "home",
        "interview",
    ]
    players = [
        {
            "player": f"p{i}",
            "profile": {"position": "guard", "loc": "Oslo"},
            "turns": [f"Q: And then? {i}", "A: We won."],
        }
        for i in range(30)
    ]
    (tmp_path / "people.jsonl").write_text("".join(f"{json.dumps(player)}\n" for player in players))
    (tmp_path / "games.csv").write_text("player,shot\n" + "".join(f"p{i},{1 + i % 2}\n" for i in range(30)))
    (tmp_path / "study.yaml").write_text(profiles)
    store = data_pipelines.build("study", str(tmp_path), tmp_path / "store", command="")
    assert store.personas["late-game", "p3"]["position"] == "guard"
    assert store.personas["late-game", "p3"]["interview"] == "Q: And then? 3; A: We won."
