"""What invented studies ask: questions, how strongly the attitude moves each, and the labels of scales."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from data_pipelines.synthetic.texts import Kind


@dataclasses.dataclass(frozen=True, kw_only=True)
class Question:
    """One outcome: a wording, how strongly the attitude moves it, and the families of scales that fit."""

    name: str
    text: str
    loading: float
    intercept: float
    families: tuple[str, ...]


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
