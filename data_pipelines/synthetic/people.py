"""Invented people: their attributes as a prompt shows them, and these as numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from socsci_jax.studies.schema import SOCSCI210_ATTRIBUTES

PARTIES = ("Democrat", "Lean Democrat", "Independent", "Lean Republican", "Republican")


IDEOLOGIES = ("Very liberal", "Liberal", "Moderate", "Conservative", "Very conservative")


EDUCATIONS = ("No diploma", "High school diploma", "Some college", "Bachelor's degree", "Graduate degree")


INCOMES = ("Under 25K", "25-49K", "50-74K", "75-99K", "100K or more")


METRO = ("Countryside", "Suburb", "City")


ATTRIBUTES = tuple(
    name
    for name in SOCSCI210_ATTRIBUTES
    if name in ("age", "gender", "education", "metro_status", "income", "party_id", "ideology")
)


FEATURES = ("party", "ideology", "age", "female", "education", "income", "city")


def draw_persona(rng: np.random.Generator, *, missing: float) -> dict[str, str | None]:
    """Party and ideology go together, education and income too."""
    party = int(rng.choice(5, p=(0.28, 0.12, 0.18, 0.12, 0.30)))
    education = int(rng.choice(5, p=(0.08, 0.27, 0.28, 0.23, 0.14)))
    persona = {
        "age": str(int(rng.integers(18, 86))),
        "gender": ("Female", "Male")[int(rng.integers(2))],
        "education": EDUCATIONS[education],
        "metro_status": METRO[int(rng.choice(3, p=(0.2, 0.5, 0.3)))],
        "income": INCOMES[int(np.clip(education + rng.integers(-2, 3), 0, 4))],
        "party_id": PARTIES[party],
        "ideology": IDEOLOGIES[int(np.clip(party + rng.integers(-1, 2), 0, 4))],
    }
    unknown = rng.random(len(ATTRIBUTES)) < missing
    return {name: None if gone else persona[name] for name, gone in zip(ATTRIBUTES, unknown)}


def features(attributes: Mapping[str, str | None]) -> np.ndarray:
    """[F] in the order of FEATURES, each about -1 to 1 and 0 where nothing is known."""

    def rank(name: str, ordered: Sequence[str]) -> float:
        value = attributes.get(name)
        return 0.0 if value is None else 2 * ordered.index(value) / (len(ordered) - 1) - 1

    age = attributes.get("age")
    return np.array(
        [
            rank("party_id", PARTIES),
            rank("ideology", IDEOLOGIES),
            0.0 if age is None else (int(age) - 51.5) / 33.5,
            rank("gender", ("Male", "Female")),
            rank("education", EDUCATIONS),
            rank("income", INCOMES),
            rank("metro_status", METRO),
        ]
    )
