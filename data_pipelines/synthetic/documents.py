"""Invented letters to a town council, coded by invented coders: for tests, and to try text classification.

Each letter is put together from sentences that say what it is about, how its writer feels and whether something is
asked for.  Coders read the same letters and each errs at a rate of their own, so the true codes, how well they can
be predicted and how far coders agree are all known.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from data_pipelines.archives import documents as text_classification
from data_pipelines.archives.document_codebook import CODEBOOK, DOCUMENTS
from socsci_jax.studies.store import StudyStore

PRESET = "documents"

# Probability with which each coder gives another label than the true one.
CODERS = {"ada": 0.03, "bo": 0.08, "cy": 0.15}
TWICE_CODED = 0.5

OPENINGS = ("Dear council,", "Good morning,", "To whom it may concern,", "Dear town clerk,")
CLOSINGS = ("Kind regards", "Yours", "A neighbor", "With thanks for reading")
ASIDES = (
    "I have lived here for many years.",
    "My neighbors say the same.",
    "We talked about it at the market.",
    "It came up again on Sunday.",
    'As they say, "small things matter".',
)
TOPICS = {
    1: ("the potholes on Mill Street", "parking near the station", "the night bus", "the new crossing"),
    2: ("the playground by the river", "the trees in the park", "the pond", "the flower beds"),
    3: ("the school kitchen", "the lessons in music", "the new classroom", "homework at the primary school"),
    4: ("the refuse collection", "the recycling bins", "the paper containers", "the compost site"),
}
STANCES = {
    1: ("I am tired of {subject}; it gets worse.", "Nobody seems to care about {subject}, and it shows."),
    2: ("You have done well with {subject}.", "What a pleasure {subject} has become!"),
    3: ("Who looks after {subject}?", "I wonder what is planned for {subject}?"),
}
REQUESTS = {
    0: ("That is all I wanted to say.", "There is nothing to be done about it."),
    1: ("Please send somebody this month.", "Kindly put it on the next agenda."),
}

_CODEBOOK = {
    "title": "Letters to the town council",
    "instructions": "Code each letter as a whole, by what it says and not by what may stand behind it.",
    "source": "Invented by data_pipelines/synthetic/documents.py",
    "license": "CC0-1.0",
    "variables": [
        {
            "name": "topic",
            "question": "What is the letter about?",
            "definition": "The one subject that takes up most of the letter.",
            "labels": [
                {"code": 1, "label": "Traffic", "definition": "roads, parking, buses"},
                {"code": 2, "label": "Parks", "definition": "green spaces and playgrounds"},
                {"code": 3, "label": "Schools", "definition": "buildings, lessons, meals"},
                {"code": 4, "label": "Waste", "definition": "refuse and recycling"},
            ],
        },
        {
            "name": "stance",
            "question": "How does the writer feel about it?",
            "labels": [
                {"code": 1, "label": "Complaint"},
                {"code": 2, "label": "Praise"},
                {"code": 3, "label": "Question", "definition": "wants to know, takes no side"},
            ],
        },
        {
            "name": "request",
            "question": "Does the writer ask the council to do something?",
            "labels": [{"code": 0, "label": "No"}, {"code": 1, "label": "Yes"}],
        },
    ],
}


def build(out: Path, *, command: str, replace: bool = False) -> StudyStore:
    """Writes the study store of 240 letters, by the way of a folder as a user would have it."""
    with tempfile.TemporaryDirectory() as folder:
        write_folder(Path(folder))
        return text_classification.build(Path(folder), out, command=command, replace=replace)


def write_folder(folder: Path, *, documents: int = 240, seed: int = 0) -> None:
    """Writes `codebook.yaml` and `documents.csv`; equal arguments give equal files."""
    rng = np.random.default_rng([seed, documents])
    (folder / CODEBOOK).write_text(yaml.safe_dump(_CODEBOOK, sort_keys=False), encoding="utf-8")
    with (folder / DOCUMENTS).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "coder", "text", *(variable["name"] for variable in _CODEBOOK["variables"])])
        for number in range(documents):
            truth = [_pick(rng, tuple(sentences)) for sentences in (TOPICS, STANCES, REQUESTS)]
            text = _letter(rng, *truth)
            readers = rng.choice(tuple(CODERS), size=1 + (rng.random() < TWICE_CODED), replace=False)
            for coder in sorted(readers.tolist()):
                labels = [
                    _coded(rng, code, tuple(sentences), error=CODERS[coder])
                    for code, sentences in zip(truth, (TOPICS, STANCES, REQUESTS))
                ]
                writer.writerow([f"letter-{number:03d}", coder, text, *labels])


def _letter(rng: np.random.Generator, topic: int, stance: int, request: int) -> str:
    body = [
        _pick(rng, STANCES[stance]).format(subject=_pick(rng, TOPICS[topic])),
        _pick(rng, ASIDES),
        _pick(rng, REQUESTS[request]),
    ]
    return f"{_pick(rng, OPENINGS)}\n\n{' '.join(body)}\n\n{_pick(rng, CLOSINGS)}"


def _coded(rng: np.random.Generator, code: int, codes: tuple[int, ...], *, error: float) -> int:
    if rng.random() >= error:
        return code
    return _pick(rng, tuple(other for other in codes if other != code))


def _pick(rng: np.random.Generator, options: Sequence) -> Any:
    return options[int(rng.integers(len(options)))]
