"""What invented studies are about and how they are worded; `designs.py` draws studies from these tables, `cues.py` and `questions.py`.

The numbers are latent effects on a logistic scale (the noise has a standard deviation of 1.8).  A cue and a
domain mean the same in every study that uses them, so what is learned from one study holds in another.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

Kind = Literal["policy", "product", "vignette"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Domain:
    """How popular its subjects are, and how much each feature of a person adds."""

    popularity: float
    leaning: Mapping[str, float]


DOMAINS = {
    "nature": Domain(popularity=0.7, leaning={"party": -0.6, "ideology": -0.5, "age": -0.2, "city": 0.2}),
    "order": Domain(popularity=0.2, leaning={"party": 0.3, "ideology": 0.6, "age": 0.4, "education": -0.2}),
    "machines": Domain(popularity=-0.5, leaning={"age": -0.8, "education": 0.4, "city": 0.3, "female": -0.2}),
    "trade": Domain(popularity=-0.2, leaning={"party": 0.5, "income": 0.5, "education": 0.2}),
    "care": Domain(popularity=0.9, leaning={"female": 0.5, "party": -0.5, "income": -0.3}),
    "custom": Domain(popularity=-0.7, leaning={"ideology": 0.7, "age": 0.5, "city": -0.3}),
}

# kind, domain, what it is (fits "plans to ...", "will soon sell ...", "... lives there and ...").
SUBJECTS: tuple[tuple[Kind, str, str], ...] = (
    ("policy", "nature", "turn every third parking space into a small garden"),
    ("policy", "order", "close the river park to everybody after ten at night"),
    ("policy", "machines", "let driverless minibuses replace the night buses"),
    ("policy", "trade", "rent the old market hall to a private company"),
    ("policy", "care", "open a free dental clinic for people without insurance"),
    ("policy", "custom", "keep all shops closed on Sunday mornings"),
    ("product", "nature", "a lunch box grown from mushroom roots"),
    ("product", "order", "a door lock that reports every visitor to the owner"),
    ("product", "machines", "a kitchen robot that cooks dinner by itself"),
    ("product", "trade", "a card that turns small change into company shares"),
    ("product", "care", "a wristband that calls a neighbor when somebody falls"),
    ("product", "custom", "a heavy iron stove built as a century ago"),
    ("vignette", "nature", "wants help to restore a wetland behind the school"),
    ("vignette", "order", "wants help to pay for a fence after two burglaries"),
    ("vignette", "machines", "wants help to build a workshop for hobby drones"),
    ("vignette", "trade", "wants help to reopen a small bakery that went bankrupt"),
    ("vignette", "care", "wants help to look after a sick parent at home"),
    ("vignette", "custom", "wants help to keep the old harvest procession going"),
    ("policy", "nature", "ban leaf blowers and lawn mowers from May to July"),
    ("policy", "care", "pay grandparents who look after small children"),
    ("product", "machines", "a pair of glasses that translates street signs"),
    ("product", "trade", "a phone plan that is paid for by watching advertisements"),
    ("vignette", "care", "wants help to found a choir for lonely people"),
    ("vignette", "order", "wants help to organize a night patrol of volunteers"),
)

TOWNS = (
    "Ashby",
    "Brenton",
    "Calder",
    "Dunmore",
    "Eastvale",
    "Farley",
    "Glenwick",
    "Harrow",
    "Inverley",
    "Kelso",
)
FIRMS = ("Norvel", "Tamarind", "Quillon", "Ostara", "Pellworth", "Lumen and Daughters")
PEOPLE = ("Alex", "Robin", "Jamie", "Morgan", "Taylor", "Casey", "Drew", "Sam")

OPENINGS: Mapping[Kind, tuple[str, ...]] = {
    "policy": (
        "Imagine that the town of {town} plans to {subject}.",
        "Please read this short report. The council of {town} plans to {subject}.",
    ),
    "product": (
        "A company called {firm} will soon sell {subject}.",
        "Please picture the following offer. The company {firm} will soon sell {subject}.",
    ),
    "vignette": (
        "{person} lives in {town} and {subject}.",
        "Please read about somebody from {town}. {person} has two children and {subject}.",
    ),
}

DETAILS: Mapping[Kind, tuple[str, ...]] = {
    "policy": (
        "The idea came up last spring, and the council will decide about it after a public hearing.",
        "If the council agrees, the change begins next year and is reviewed after two years.",
    ),
    "product": (
        "It comes in three colors, can be ordered from home, and is delivered within a week.",
        "The first buyers in {town} receive it in spring, and it can be returned within a month.",
    ),
    "vignette": (
        "A neighbor has started a collection, and everybody in the street has been asked to join.",
        "The town has a small fund for such requests, and people who live there decide together.",
    ),
}

# The factors that fit each kind of study; {it} is what the study is about.
FACTORS_BY_KIND: Mapping[Kind, tuple[str, ...]] = {
    "policy": ("evidence", "source", "cost", "norm", "risk", "endorsement"),
    "product": ("evidence", "source", "cost", "norm", "risk"),
    "vignette": ("merit", "source", "cost", "norm", "endorsement"),
}
IT: Mapping[Kind, str] = {"policy": "the plan", "product": "the product", "vignette": "helping"}
