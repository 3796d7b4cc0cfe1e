"""Three deposits of CSV, codebook and questionnaire become stores whose wordings and scales are the codebook's."""

import csv
import json
import re
import statistics
from pathlib import Path

import polars as pl
import pytest

import data_pipelines
from socsci_jax.studies.store import StudyStore

WORDS = ("competent", "warm", "moral", "lazy", "trustworthy")
# What the fields of the loops hold, in the words of the codebook.
FIRST_FIELDS = ("next", "[person]", "[person]", "{task}", "[person]")
SECOND_FIELDS = ("next", "[person]", "{task}", *("[person]",) * 5)


def asked(question: str, fields: tuple[str, ...] = ()) -> dict:
    replace = {f"${{lm://Field/{place}}}": text for place, text in enumerate(fields, start=1)}
    return {"file": "survey", "question": question, "replace": replace}


def outcome(name: str, scale: dict | None = None) -> dict:
    """Wording and scale as the codebook's entry has them."""
    quoted = {"file": "codebook", "entry": name, "after": '"', "until": '"'}
    return {
        "question": quoted,
        "scale": scale or {"read": {"file": "codebook", "entry": name, "after": "ranging"}},
    }


def specification(
    number: int, *, rows: int, columns: int, factors: dict, stimulus: list, **outcomes: dict
) -> dict:
    return {
        "study": f"outsourcing-{number}",
        "files": {
            "data": {"path": f"study{number}_data_clean.csv", "rows": rows, "columns": columns},
            "codebook": "README.md",
            "survey": f"survey_study{number}.qsf",
        },
        "participant": "id",
        "attributes": {"age": "age", "gender": {"missing": "Prefer not to say"}},
        "factors": factors,
        "stimulus": stimulus,
        "outcomes": {name: outcome(name) for name in WORDS} | outcomes,
    }


FIRST = specification(
    1,
    rows=3000,
    columns=16,
    factors={
        "treatment": {
            "levels": {
                "Control": {"text": [asked("QID46"), asked("QID50", FIRST_FIELDS)], "control": True},
                "Human outsourcing": {"text": [asked("QID47"), asked("QID54", FIRST_FIELDS)]},
                "AI outsourcing": {"text": [asked("QID48"), asked("QID55", FIRST_FIELDS)]},
            }
        },
        "task": {"within": True},
    },
    stimulus=["{treatment}"],
)
SECOND = specification(
    2,
    rows=4800,
    columns=16,
    factors={
        "treatment": {
            "levels": {
                "Control": {"text": [asked("QID46"), asked("QID50", SECOND_FIELDS)], "control": True},
                **{
                    arm: {"text": [asked("QID48"), asked(question, SECOND_FIELDS)]}
                    for arm, question in (
                        ("AI_Tool_Honest", "QID62"),
                        ("AI_Tool_Deception", "QID63"),
                        ("AI_Full_Honest", "QID64"),
                        ("AI_Full_Deception", "QID65"),
                    )
                },
            }
        },
        "task": {"within": True},
    },
    stimulus=["{treatment}"],
)
GRADES = {i: grade for i, grade in enumerate("EDCBA", start=1)}
THIRD = specification(
    3,
    rows=800,
    columns=26,
    factors={
        "treatment": {
            "levels": {
                "Control": {"text": [asked("QID71"), asked("QID75")], "control": True},
                "Tool": {"text": [asked("QID104"), asked("QID105")]},
                "Full": {"text": [asked("QID72"), asked("QID76")]},
            }
        },
        "task": {"levels": {"Social": {"text": asked("QID69")}, "NonSocial": {"text": asked("QID70")}}},
        "answer": {
            "levels": {
                essay: {"text": asked(f"Essay_{essay}")}
                for essay in ("Father", "Sister", "Friend", "Hobbit", "Buffy", "Titanic")
            }
        },
    },
    stimulus=[asked("QID68"), "{task}", "{treatment}", asked("QID74"), "{answer}"],
    well_written=outcome("well_written"),
    meaningful=outcome("meaningful"),
    authentic=outcome("authentic"),
    grade=outcome("grade", {"levels": GRADES}),
    reward=outcome("reward", {"number": True, "lo": 0, "hi": 1}),
)
STUDIES = {1: FIRST, 2: SECOND, 3: THIRD}


@pytest.fixture(scope="module", params=STUDIES)
def built(request, shared_data, tmp_path_factory) -> tuple[dict, Path, StudyStore]:
    folder = tmp_path_factory.mktemp(f"study{request.param}")
    source = shared_data / "codebook" / f"study{request.param}"
    if not source.is_dir():
        pytest.skip(f"no deposit at {source}")
    for file in source.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "study.yaml").write_text(json.dumps(STUDIES[request.param]))
    store = data_pipelines.build("study", str(folder), folder / "store", command="")
    return STUDIES[request.param], folder, store


def rows_of(folder: Path, spec: dict) -> list[dict]:
    with (folder / spec["files"]["data"]["path"]).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def codebook_entry(folder: Path, name: str) -> str:
    text = (folder / "README.md").read_text(encoding="utf-8")
    return " ".join(re.search(rf"^- `{name}` - .*?(?=^- `|\Z)", text, re.S | re.M)[0].split())


def test_wordings_and_scales_are_the_codebooks(built):
    spec, folder, store = built
    for item in store.item_by_id.values():
        entry = codebook_entry(folder, item.outcome)
        assert f'"{item.question.strip()}"' in entry
        for level, label in zip(item.scale.levels, item.scale.labels, strict=False):
            if label and item.outcome != "grade":
                assert f"{label} ({level})" in entry
    kinds = {
        item.outcome: (item.scale.lo, item.scale.hi, item.scale.kind) for item in store.item_by_id.values()
    }
    expected = dict.fromkeys(spec["outcomes"], (1, 7, "levels"))
    expected |= {"grade": (1, 5, "levels"), "reward": (0, 1, "open")} if "grade" in expected else {}
    assert kinds == expected


def test_treatment_means_equal_those_straight_from_the_file(built):
    spec, folder, store = built
    arm_of = {item_id: item.factors["treatment"] for item_id, item in store.item_by_id.items()}
    answers = store.responses.join(store.items.select("item_id", "outcome"), on="item_id").with_columns(
        pl.col("item_id").replace_strict(arm_of).alias("treatment")
    )
    means = {
        (outcome, arm): value
        for outcome, arm, value in answers.group_by("outcome", "treatment")
        .agg(pl.col("value").mean())
        .iter_rows()
    }
    grades = {grade: number for number, grade in GRADES.items()}
    rows = rows_of(folder, spec)
    assert len(means) == len(spec["outcomes"]) * len({row["treatment"] for row in rows})
    for (name, arm), mean in means.items():
        values = [
            float(grades.get(row[name], row[name]))
            for row in rows
            if row["treatment"] == arm and row[name] != "NA"
        ]
        assert mean == pytest.approx(statistics.fmean(values), abs=1e-12)


def test_people_and_answers_are_all_there(built):
    spec, folder, store = built
    rows = rows_of(folder, spec)
    assert store.participants.height == len({row["id"] for row in rows})
    assert store.responses.height == sum(row[name] != "NA" for row in rows for name in spec["outcomes"])
    assert set(store.rejects["reason"]) <= {"missing answer"}


def test_every_gate_passes_or_says_what_the_deposit_lacks(built):
    _, _, store = built
    status = {result["gate"]: result["status"] for result in store.manifest["gates"]}
    assert status.pop("texts-of-this-study") == "unchecked"
    assert set(status.values()) == {"passed"}


def test_building_twice_gives_the_same_bytes(built, tmp_path):
    _, folder, store = built
    data_pipelines.build("study", str(folder), tmp_path / "again", command="")
    files = sorted(path.name for path in store.path.iterdir())
    assert files == sorted(path.name for path in (tmp_path / "again").iterdir())
    for name in files:
        assert (store.path / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name
