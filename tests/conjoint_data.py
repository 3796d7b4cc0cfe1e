"""Two published conjoint experiments, read from their deposits."""

import csv
import gzip
from pathlib import Path

import numpy as np

from socsci_jax.estimation.conjoint import Conjoint

IMMIGRATION = (
    "Education", "Gender", "CountryOfOrigin", "ReasonForApplication", "Job", "JobExperience", "JobPlans",
    "PriorEntry", "LanguageSkills",
)  # fmt: skip
TASKS, ATTRIBUTES = 8, 7


def _rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def immigration(folder: Path) -> tuple[Conjoint, np.ndarray]:
    """The immigration experiment, and the ethnocentrism [N] of the respondent of each profile (NaN unknown)."""
    rows = _rows(folder / "conjoint" / "immigration.csv.gz")
    conjoint = Conjoint(
        {name: np.array([row[name] for row in rows]) for name in IMMIGRATION},
        np.array([float(row["ChosenImmigrant"]) for row in rows]),
        np.array([row["CaseID"] for row in rows]),
    )
    return conjoint, np.array([float(row["ethnocentrism"] or "nan") for row in rows])


def communities(folder: Path, *, swapped: bool = True) -> tuple[Conjoint, np.ndarray, np.ndarray]:
    """The eight tasks about communities; who repeated the first with sides swapped [R], and whether they agree [R].

    Half of the respondents saw the repeated task with its sides as they were (`swapped` False).
    """
    rows = _rows(folder / "projoint" / "response.csv.gz")[2:]  # two more header rows of Qualtrics
    levels: dict[str, list[str]] = {}
    choice, respondent, repeated, agrees = [], [], [], []
    for row in rows:
        answers = [row[f"Q4.{task + 1}"][-1:] for task in range(1, TASKS + 1)]
        for task, answer in enumerate(answers, start=1):
            if not answer:
                continue
            for profile, side in ((1, "A"), (2, "B")):
                for place in range(1, ATTRIBUTES + 1):
                    name = row[f"K-{task}-{place}"]
                    levels.setdefault(name, []).append(row[f"K-{task}-{profile}-{place}"])
                choice.append(float(answer == side))
                respondent.append(row["ResponseId"])
        again = row["Q5.1" if swapped else "Q6.1"][-1:]
        if answers[0] and again:
            repeated.append(row["ResponseId"])
            agrees.append(float((answers[0] != again) == swapped))
    conjoint = Conjoint(
        {name: np.array(values) for name, values in levels.items()}, np.array(choice), np.array(respondent)
    )
    return conjoint, np.array(repeated), np.array(agrees)
