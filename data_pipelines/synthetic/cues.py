"""What is varied in invented studies: the levels of every factor, what each adds to an attitude, and its wordings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cue:
    """One level of a factor: what it adds, how this differs by party (-1 Democrat to 1 Republican), its wordings."""

    effect: float
    wordings: tuple[str, ...]
    party_slope: float = 0.0


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
