"""An invented deposit of SocSci210's shape: its columns, its numbers of rows, people, arms and texts, its hold-outs.

No row of any real deposit is used.  Two thirds of the studies show each arm's text to everybody in it; in the others (vignette
experiments) the text is composed for each answer, which is where 600,000 distinct texts come from.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from socsci_jax.studies.schema import SOCSCI210_ATTRIBUTES

# Of the whole: SocSci210's published numbers.
ROWS, PEOPLE, STUDIES, UNSEEN_STUDIES, UNSEEN_ROWS, SHARDS = 2_901_390, 400_491, 210, 40, 482_642, 17
ARMS, TASKS = 6, 6
VIGNETTE_ROWS = 0.43  # of all rows; a vignette is seen by 2 people on average

_STATES = [
    "Alabama",
    "Alaska",
    "Arizona",
    "Arkansas",
    "California",
    "Colorado",
    "Connecticut",
    "Delaware",
    "Florida",
    "Georgia",
    "Hawaii",
    "Idaho",
    "Illinois",
    "Indiana",
    "Iowa",
    "Kansas",
    "Kentucky",
    "Louisiana",
    "Maine",
    "Maryland",
    "Michigan",
    "Minnesota",
    "Missouri",
    "Montana",
    "Nebraska",
    "Nevada",
    "Ohio",
    "Oregon",
    "Texas",
    "Utah",
]
_INCOMES = [f"{lo} to {lo + 9},999 dollars" for lo in range(0, 200, 10)]
_VALUES: dict[str, list[str]] = {
    "gender": ["Female", "Male"],
    "ethnicity": ["White", "Black", "Hispanic", "Asian", "Two or more"],
    "education": ["No high school diploma", "High school graduate", "Some college", "Bachelor's degree", "Master's degree", "Doctorate"],
    "employment": ["Employed", "Self-employed", "Looking for work", "Retired", "Not working", "On temporary layoff"],
    "marital_status": ["Married", "Widowed", "Divorced", "Separated", "Never married", "Living with partner"],
    "housing_ownership": ["Owned by you or someone in your household", "Rented for cash", "Occupied without payment"],
    "housing_type": ["A detached house", "An attached house", "A building of several apartments", "A mobile home"],
    "location": _STATES,
    "metro_status": ["Metro area", "Outside a metro area"],
    "income": _INCOMES,
    "internet_access": ["Internet household", "No internet at home"],
    "party_id": ["Strong Democrat", "Democrat", "Leans Democrat", "Independent", "Leans Republican", "Republican", "Strong Republican"],
    "ideology": ["Very liberal", "Somewhat liberal", "Moderate", "Somewhat conservative", "Very conservative"],
    "phone_service": ["Cellphone only", "Landline only", "Landline and cellphone", "No telephone"],
}  # fmt: skip
_TOPICS = ["taxes", "schools", "road repair", "water supply", "policing", "health insurance", "housing", "public parks", "immigration", "farm support", "libraries", "child care"]  # fmt: skip
_ASPECTS = ["fair", "effective", "costly", "trustworthy", "urgent", "risky", "popular", "necessary"]
_SCALES = [
    (1, 7, "where 1 means Strongly disagree and 7 means Strongly agree"),
    (1, 5, "where 1 means Not at all and 5 means Extremely"),
    (1, 4, "where 1 means Very unlikely and 4 means Very likely"),
    (0, 1, "where 0 means No and 1 means Yes"),
    (0, 10, "where 0 means None and 10 means Complete"),
    (0, 100, ""),
]
# What varies in a vignette: ten sentences of eight wordings each, of which a number below 8^10 chooses.
_WORDINGS = [
    [f"{name} is running for the city council of a town of {size} people." for name, size in zip(("Alex", "Robin", "Jamie", "Morgan", "Taylor", "Casey", "Drew", "Sam"), (900, 2400, 8000, 15000, 31000, 60000, 120000, 450000))],
    [f"The candidate is {age} years old and has lived there for {age - 20} years." for age in range(31, 71, 5)],
    [f"Before that the candidate worked as a {job} and led a small team." for job in ("nurse", "teacher", "lawyer", "farmer", "driver", "carpenter", "librarian", "shop owner")],
    [f"Asked about {topic}, the candidate said that the town should spend more than it does now." for topic in _TOPICS[:8]],
    [f"A newspaper reported that {share} percent of residents had heard of the plan." for share in range(10, 90, 10)],
    [f"The plan would cost an average household {amount} dollars a year." for amount in (5, 12, 25, 40, 75, 120, 200, 350)],
    [f"It is supported by {group}, and opposed by nobody so far." for group in ("the local union", "a business group", "two churches", "the farmers' association", "a parents' group", "the fire department", "students", "retired officers")],
    [f"If it passes, work would begin in {month} and take a year." for month in ("January", "March", "April", "June", "July", "September", "October", "November")],
    [f"An earlier vote on the same matter failed by {votes} votes." for votes in (3, 11, 25, 48, 90, 160, 300, 700)],
    [f"Turnout in the last election was {share} percent of all voters." for share in range(32, 72, 5)],
]  # fmt: skip
_HEAD = "You are a survey respondent with the following demographic profile:\n"
_MIDDLE = (
    "\n\nRead the question below and answer exactly as this person would. "
    "Follow the response instructions precisely.\n\n"
)


@dataclasses.dataclass(frozen=True)
class _Study:
    number: int
    people: int
    rows: int
    is_vignette: bool

    @property
    def id(self) -> str:
        return f"st{self.number:03d}"


def write_deposit(folder: Path, *, scale: float, seed: int = 0) -> dict[str, int]:
    """Writes 17 Parquet shards and the published mappings; returns what is in them."""
    (folder / "data").mkdir(parents=True)
    (folder / "metadata").mkdir()
    rng = np.random.default_rng(seed)
    studies = _studies(rng, scale)
    unseen = _unseen(studies, scale)
    (folder / "metadata" / "participant_mapping.json").write_text(
        json.dumps({"seen": [s.id for s in studies if s.id not in unseen], "unseen": sorted(unseen)})
    )
    mappings: dict[str, dict[str, dict[str, list[int]]]] = {"condition": {}, "task": {}}
    texts = rows = people = 0
    goal = sum(s.rows for s in studies) / SHARDS
    shard = 0
    pending: list[pl.DataFrame] = []
    for study in studies:
        frame = _study_rows(study, np.random.default_rng([seed, study.number]))
        rows, people = rows + frame.height, people + frame["participant"].n_unique()
        texts += frame.select("condition_num", "task_num", "stimuli").n_unique()
        for name, column, count in (("condition", "condition_num", ARMS), ("task", "task_num", TASKS)):
            held = pl.col(column) >= count * 3 // 4
            mappings[name][study.id] = {
                "train": frame.filter(~held)["sample_id"].to_list(),
                "eval": frame.filter(held)["sample_id"].to_list(),
            }
        pending.append(frame)
        if rows >= goal * (shard + 1) or study is studies[-1]:
            _write_shard(folder / "data" / f"train-{shard:05d}.parquet", pl.concat(pending))
            pending, shard = [], shard + 1
    for name, mapping in mappings.items():
        (folder / "metadata" / f"{name}_mapping.json").write_text(json.dumps(mapping))
    return {"rows": rows, "people": people, "items": texts, "studies": len(studies)}


def _studies(rng: np.random.Generator, scale: float) -> list[_Study]:
    weight = rng.lognormal(0.0, 0.7, STUDIES)
    people = np.maximum(12, weight / weight.sum() * PEOPLE * scale).astype(int)
    of_vignettes = np.zeros(STUDIES, bool)
    order = rng.permutation(STUDIES)
    of_vignettes[order[np.cumsum(people[order]) <= VIGNETTE_ROWS * people.sum()]] = True
    rows = np.round(people * ROWS / PEOPLE).astype(int)
    return [_Study(i, int(people[i]), int(rows[i]), bool(of_vignettes[i])) for i in range(STUDIES)]


def _unseen(studies: list[_Study], scale: float) -> set[str]:
    """40 studies that together have about as many answers as the published ones."""
    ordered = sorted(studies, key=lambda s: s.rows)
    first = min(
        range(STUDIES - UNSEEN_STUDIES),
        key=lambda i: abs(sum(s.rows for s in ordered[i : i + UNSEEN_STUDIES]) - UNSEEN_ROWS * scale),
    )
    return {s.id for s in ordered[first : first + UNSEEN_STUDIES]}


def _study_rows(study: _Study, rng: np.random.Generator) -> pl.DataFrame:
    person = np.sort(
        np.append(np.arange(study.people), rng.integers(0, study.people, study.rows - study.people))
    )
    condition = rng.integers(0, ARMS, study.people)[person]
    within = np.arange(study.rows) - np.searchsorted(person, person)
    task = within % TASKS
    of_arm = rng.integers(0, 8, (ARMS, len(_WORDINGS)))
    if study.is_vignette:
        # Each arm and task has vignettes of its own, each drawn 1.76 times: so 47 % of draws are other ones.
        each = max(1, round(study.rows / 1.76 / (ARMS * TASKS)))
        pool = rng.integers(0, 8, (ARMS * TASKS * each, len(_WORDINGS)))
        chosen = pool[(condition * TASKS + task) * each + rng.integers(0, each, study.rows)]
    else:
        chosen = of_arm[condition]
    vignette = pl.concat_str(
        [pl.Series(np.array(w, object)[chosen[:, k]].tolist(), dtype=pl.String) for k, w in enumerate(_WORDINGS)], separator=" "
    )  # fmt: skip
    scales = [_SCALES[i] for i in rng.integers(0, len(_SCALES), TASKS)]
    asked = []
    for number, (lo, hi, labels) in enumerate(scales):
        topic, aspect = (
            _TOPICS[(study.number + number) % len(_TOPICS)],
            _ASPECTS[(study.number * 3 + number) % len(_ASPECTS)],
        )
        told = f"Only return an integer from {lo} to {hi}, {labels + ', ' if labels else ''}nothing else."
        asked.append(
            f'" and then were asked: "When you think of {topic} in study {study.number}, how {aspect} is this plan? {told}"'
        )
    lo, hi = (np.array([s[k] for s in scales])[task] for k in (0, 1))
    leaning = np.clip(rng.normal(0.5, 0.2, study.people)[person] + 0.05 * (condition - 2), 0.02, 0.98)
    demographic = _people(study.people, rng)
    lines = demographic.select(
        persona=pl.concat_str(
            [pl.format("- " + n.replace("_", " ").title() + ": {}", pl.col(n)) for n in SOCSCI210_ATTRIBUTES], separator="\n", ignore_nulls=True
        )
    )["persona"]  # fmt: skip
    frame = pl.DataFrame(
        {
            "sample_id": np.arange(study.rows),
            "participant": person,
            "demographic": demographic.to_struct()[person],
            "stimuli": pl.select(pl.concat_str(pl.lit('You read "'), vignette, pl.Series([asked[t] for t in task]))).to_series(),
            "response": lo + rng.binomial(hi - lo, leaning),
            "condition_num": condition,
            "task_num": task,
        }
    )  # fmt: skip
    return frame.with_columns(
        prompt=pl.concat_str(pl.lit(_HEAD), lines[person], pl.lit(_MIDDLE), pl.col("stimuli")),
        reasoning=pl.lit(None, pl.String),
        study_id=pl.lit(study.id),
    )


def _people(count: int, rng: np.random.Generator) -> pl.DataFrame:
    """One in ten values is not known."""
    columns: dict[str, pl.Series] = {}
    for name in SOCSCI210_ATTRIBUTES:
        if name in _VALUES:
            values = pl.Series(
                np.array(_VALUES[name], object)[rng.integers(0, len(_VALUES[name]), count)].tolist(),
                dtype=pl.String,
            )
        else:
            values = pl.Series(rng.integers(18, 90, count) if name == "age" else rng.integers(1, 8, count))
        known = pl.Series(rng.random(count) >= 0.1)
        columns[name] = pl.select(pl.when(known).then(values)).to_series()
    return pl.DataFrame(columns)


def _write_shard(path: Path, frame: pl.DataFrame) -> None:
    table = frame.to_arrow()
    table = table.cast(pa.schema([pa.field(f.name, _plain(f.type)) for f in table.schema]))
    pq.write_table(table, path, row_group_size=50_000)


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _plain(field.type)) for field in kind])
    return pa.string() if pa.types.is_large_string(kind) or str(kind) == "string_view" else kind


def main() -> None:
    options = argparse.ArgumentParser(description="Writes an invented deposit of SocSci210's shape.")
    options.add_argument("folder", type=Path)
    options.add_argument("--scale", type=float, default=1 / 16, help="share of its people, rows and texts")
    a = options.parse_args()
    print(write_deposit(a.folder, scale=a.scale))


if __name__ == "__main__":
    main()
