"""What invented studies are about and how they are worded; `synthetic.py` draws studies from these tables.

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cue:
    """One level of a factor: what it adds, how this differs by party (-1 Democrat to 1 Republican), its wordings."""

    effect: float
    wordings: tuple[str, ...]
    party_slope: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Question:
    """One outcome: a wording, how strongly the attitude moves it, and the families of scales that fit."""

    name: str
    text: str
    loading: float
    intercept: float
    families: tuple[str, ...]


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

FACTORS: Mapping[str, Mapping[str, Cue]] = {
    "evidence": {
        "strong": Cue(
            effect=1.3,
            wordings=(
                "Ten careful trials found that {it} works very well.",
                "Ten careful trials elsewhere showed excellent results for {it}.",
            ),
        ),
        "mixed": Cue(
            effect=-0.2,
            wordings=(
                "Some trials found that {it} works, others disagree.",
                "Trials elsewhere disagree about whether {it} works.",
            ),
        ),
        "poor": Cue(
            effect=-1.4,
            wordings=(
                "Ten careful trials found that {it} does not work.",
                "Ten careful trials elsewhere showed no results for {it} at all.",
            ),
        ),
    },
    "source": {
        "experts": Cue(
            effect=1.0,
            wordings=(
                "All of this was checked by independent experts from a university.",
                "These facts were confirmed by university experts.",
            ),
        ),
        "newspaper": Cue(
            effect=0.1,
            wordings=(
                "All of this was reported by a local newspaper.",
                "These facts are taken from a local newspaper.",
            ),
        ),
        "anonymous": Cue(
            effect=-1.2,
            wordings=(
                "All of this comes from an anonymous rumor on the internet.",
                "These facts rest on an anonymous internet rumor.",
            ),
        ),
    },
    "cost": {
        "free": Cue(
            effect=1.0,
            wordings=("For you {it} would be free of charge.", "You would pay nothing for {it}, it is free."),
        ),
        "cheap": Cue(
            effect=0.3,
            wordings=(
                "For you {it} would cost two dollars a month.",
                "You would pay two dollars a month for {it}.",
            ),
        ),
        "expensive": Cue(
            effect=-1.5,
            wordings=(
                "For you {it} would cost ninety dollars a month.",
                "You would pay ninety dollars a month for {it}.",
            ),
        ),
    },
    "norm": {
        "most": Cue(
            effect=1.0,
            wordings=(
                "Nine in ten people in {town} are in favor.",
                "In a survey in {town}, nine in ten people were in favor.",
            ),
        ),
        "half": Cue(
            effect=0.0,
            wordings=(
                "About half of the people in {town} are in favor.",
                "In a survey in {town}, about half were in favor.",
            ),
        ),
        "few": Cue(
            effect=-1.0,
            wordings=(
                "Only one in ten people in {town} is in favor.",
                "In a survey in {town}, only one in ten was in favor.",
            ),
        ),
    },
    "risk": {
        "safe": Cue(
            effect=0.8,
            wordings=(
                "There has never been an accident, and inspectors call {it} perfectly safe.",
                "Inspectors looked for dangers of {it} and call it perfectly safe.",
            ),
        ),
        "slight": Cue(
            effect=-0.4,
            wordings=(
                "There have been a few slight accidents, and inspectors call {it} fairly safe.",
                "Inspectors know of a few slight accidents with {it}.",
            ),
        ),
        "grave": Cue(
            effect=-1.6,
            wordings=(
                "There have been several grave accidents, and inspectors call {it} dangerous.",
                "Inspectors know of several grave accidents and call {it} dangerous.",
            ),
        ),
    },
    "endorsement": {
        "both": Cue(
            effect=0.7,
            wordings=(
                "Leaders of both parties praise {it}.",
                "Both Democratic and Republican leaders praise {it}.",
            ),
        ),
        "democrats": Cue(
            effect=-0.1,
            party_slope=-1.2,
            wordings=(
                "Democratic leaders praise {it}, while Republican leaders reject it.",
                "Leading Democrats praise {it} and leading Republicans reject it.",
            ),
        ),
        "republicans": Cue(
            effect=-0.1,
            party_slope=1.2,
            wordings=(
                "Republican leaders praise {it}, while Democratic leaders reject it.",
                "Leading Republicans praise {it} and leading Democrats reject it.",
            ),
        ),
    },
    "merit": {
        "diligent": Cue(
            effect=1.3,
            wordings=(
                "{person} has saved every spare dollar for this since last year.",
                "{person} has worked two jobs for this since last year.",
            ),
        ),
        "unlucky": Cue(
            effect=0.4,
            wordings=(
                "{person} lost a job last year through no fault of anybody.",
                "{person} was ill for most of last year.",
            ),
        ),
        "careless": Cue(
            effect=-1.4,
            wordings=(
                "{person} gambled away the first collection last year.",
                "{person} wasted the money of the first collection last year.",
            ),
        ),
    },
}

QUESTIONS: Mapping[Kind, tuple[Question, ...]] = {
    "policy": (
        Question(
            name="support",
            text="Do you support or oppose this plan?",
            loading=1.0,
            intercept=0.5,
            families=("support",),
        ),
        Question(
            name="vote",
            text="Would you vote for this plan?",
            loading=1.0,
            intercept=-0.4,
            families=("yes_no",),
        ),
        Question(
            name="fairness",
            text="How fair do you find this plan?",
            loading=0.6,
            intercept=0.9,
            families=("amount", "ends"),
        ),
        Question(
            name="warmth",
            text="From very cold to very warm, how do you feel about this plan?",
            loading=0.9,
            intercept=0.4,
            families=("slider",),
        ),
    ),
    "product": (
        Question(
            name="purchase",
            text="How likely are you to buy this product?",
            loading=1.0,
            intercept=-1.3,
            families=("ends", "slider"),
        ),
        Question(
            name="trust",
            text="How much would you trust this product?",
            loading=0.8,
            intercept=0.5,
            families=("amount",),
        ),
        Question(
            name="price",
            text="How much would you pay for this product at most?",
            loading=0.7,
            intercept=-1.0,
            families=("dollars",),
        ),
        Question(
            name="recommend",
            text="Would you recommend this product to a friend?",
            loading=1.0,
            intercept=-0.6,
            families=("yes_no", "agree"),
        ),
    ),
    "vignette": (
        Question(
            name="deserving",
            text="Do you agree that {person} deserves help?",
            loading=1.0,
            intercept=1.0,
            families=("agree",),
        ),
        Question(
            name="donation",
            text="How much would you give to {person}?",
            loading=0.7,
            intercept=-1.1,
            families=("dollars",),
        ),
        Question(
            name="blame",
            text="How much is {person} to blame for needing help?",
            loading=-0.8,
            intercept=-0.6,
            families=("amount", "ends"),
        ),
        Question(
            name="sympathy",
            text="How much sympathy do you feel for {person}?",
            loading=0.9,
            intercept=0.8,
            families=("slider", "ends"),
        ),
    ),
}

# Labels from the lowest to the highest attitude; one list is one possible scale.
LABELS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "yes_no": (("No", "Yes"),),
    "support": (
        ("Strongly oppose", "Oppose", "Neither support nor oppose", "Support", "Strongly support"),
        ("Strongly oppose", "Somewhat oppose", "Somewhat support", "Strongly support"),
        (
            *("Strongly oppose", "Oppose", "Slightly oppose", "Neither support nor oppose"),
            *("Slightly support", "Support", "Strongly support"),
        ),
    ),
    "agree": (
        ("Strongly disagree", "Disagree", "Neither agree nor disagree", "Agree", "Strongly agree"),
        (
            *("Strongly disagree", "Disagree", "Slightly disagree"),
            *("Slightly agree", "Agree", "Strongly agree"),
        ),
        ("Disagree", "Undecided", "Agree"),
    ),
    "amount": (
        ("Not at all", "A little", "Somewhat", "Very much"),
        ("Not at all", "A little", "A moderate amount", "A lot", "A great deal"),
    ),
    "dollars": (
        ("Nothing", "$1 to $10", "$11 to $50", "More than $50"),
        ("Nothing", "$1 to $5", "$6 to $20", "$21 to $50", "$51 to $100", "More than $100"),
    ),
}
END_LABELS = ("Not at all", "Extremely")
