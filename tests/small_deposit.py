"""Small deposits of an invented study: a table of answers, a codebook, a specification; each test breaks one thing."""

import copy
import csv
import json
import random
from pathlib import Path

import pytest

import data_pipelines
from socsci_jax.errors import InputError
from socsci_jax.studies.store import StudyStore

CODEBOOK = """# Advice from machines

## Vignettes

### Human

A doctor named Ellis reads the scan and tells you what it shows.

### Machine

A computer program reads the scan and tells you what it shows.

## Variables

- `id`: number of the participant
- `arm`: assignment. 1 = Human; 2 = Machine
- `age`: in years
- `region`: 1 = North; 2 = South
- `trust`: How much do you trust this advice? 1 = Not at all; 2 = A little; 3 = A lot
- `price`: What would you pay for it, in dollars?
"""

SPECIFICATION = {
    "study": "advice",
    "files": {"data": "answers.csv", "codebook": "codebook.md"},
    "participant": "id",
    "attributes": {"age": "age", "region": {"recode": {"1": "North", "2": "South"}}},
    "factors": {
        "arm": {
            "levels": {
                "Human": {"values": 1, "text": {"file": "codebook", "heading": "Human"}},
                "Machine": {"values": 2, "text": {"file": "codebook", "heading": "Machine"}},
            }
        }
    },
    "outcomes": {
        "trust": {
            "question": "How much do you trust this advice?",
            "scale": {"levels": {"1": "Not at all", "2": "A little", "3": "A lot"}, "missing": "-99"},
        },
        "price": {"question": "What would you pay for it, in dollars?", "scale": {"number": True, "lo": 0}},
    },
}


def answers(people: int = 120, seed: int = 0) -> list[dict]:
    """Rows of people in two arms, balanced, with a missing code."""
    draw = random.Random(seed)
    rows = [
        {
            "id": 100 + i,
            "arm": 1 + i % 2,
            "age": draw.randint(18, 80),
            "region": draw.randint(1, 2),
            "trust": draw.randint(1, 3),
            "price": draw.randint(0, 40),
        }
        for i in range(people)
    ]
    rows[5]["trust"] = -99
    return rows


def specification() -> dict:
    return copy.deepcopy(SPECIFICATION)


def write_csv(path: Path, rows: list[dict]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_deposit(
    folder: Path, *, rows: list[dict] | None = None, codebook: str = CODEBOOK, spec: dict | None = None
) -> Path:
    folder.mkdir(exist_ok=True)
    write_csv(folder / "answers.csv", answers() if rows is None else rows)
    (folder / "codebook.md").write_text(codebook, encoding="utf-8")
    (folder / "study.yaml").write_text(json.dumps(SPECIFICATION if spec is None else spec), encoding="utf-8")
    return folder


def build(folder: Path, *, allow: tuple[str, ...] = ()) -> StudyStore:
    return data_pipelines.build("study", str(folder), folder / "store", command="", replace=True, allow=allow)


def refused(folder: Path) -> str:
    """What a build is refused with."""
    with pytest.raises(InputError) as error:
        build(folder)
    assert not (folder / "store").exists()
    return str(error.value)


def gates_in(message: str) -> set[str]:
    """The gates that a refusal names."""
    return {
        line.strip().split(" (")[0]
        for line in message.splitlines()
        if line.startswith("  ") and line.endswith("):") and not line.startswith("   ")
    }
