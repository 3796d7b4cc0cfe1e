"""Invented releases in the published columns of SocSci210."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from socsci_jax.studies.schema import SOCSCI210_ATTRIBUTES

RATING = "Only return an integer from 1 to 5, nothing else."


def persona(**known: object) -> dict:
    return {name: known.get(name) for name in SOCSCI210_ATTRIBUTES}


def row(
    sample_id: int,
    *,
    study_id: str = "abcde",
    participant: int | None = None,
    condition_num: int = 0,
    task_num: int = 0,
    response: object = 3,
    told: str = RATING,
    demographic: dict | None = None,
    **changes: object,
) -> dict:
    """An invented answer in the published ten columns."""
    demographic = persona(age=41, gender="Male", household_size=2) if demographic is None else demographic
    stimuli = f'You read "Text {condition_num}." and then were asked: "How good is {task_num}? {told}"'
    lines = "\n".join(
        f"- {name.replace('_', ' ').title()}: {value}"
        for name, value in demographic.items()
        if value is not None
    )
    return {
        "sample_id": sample_id,
        "participant": sample_id if participant is None else participant,
        "demographic": demographic,
        "stimuli": stimuli,
        "response": response,
        "condition_num": condition_num,
        "task_num": task_num,
        "prompt": (
            f"You are a survey respondent with the following demographic profile:\n{lines}\n\nRead the question below "
            f"and answer exactly as this person would. Follow the response instructions precisely.\n\n{stimuli}"
        ),
        "reasoning": "SECRET rationale written from the answer",
        "study_id": study_id,
    } | changes


def write_lines(folder: Path, rows: list[dict], *, name: str = "rows.jsonl") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(json.dumps(r) + "\n" for r in rows))
    return folder


def write_shards(folder: Path, *shards: list[dict]) -> Path:
    (folder / "data").mkdir(parents=True)
    whole = ("age", "household_size")
    demographic = pa.struct([(n, pa.int64() if n in whole else pa.string()) for n in SOCSCI210_ATTRIBUTES])
    for number, rows in enumerate(shards):
        columns = {
            name: pa.array([r[name] for r in rows], demographic if name == "demographic" else None)
            for name in rows[0]
        }
        pq.write_table(pa.table(columns), folder / "data" / f"train-{number:05d}.parquet")
    return folder
