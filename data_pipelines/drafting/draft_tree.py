"""The tree of a specification as it is drafted, with where each value came from and what is left open."""

from __future__ import annotations

import dataclasses
import re

from data_pipelines.drafting.design import Design
from data_pipelines.drafting.wording import Part

DATA, SURVEY = "data", "survey"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rulings:
    """What was decided beyond the rules, with who says so.

    `checks` are attention checks: column, what an attentive person's cell says, who says so.  `unfinished` is
    "exclude" or "keep" for responses that were not finished ("": left open).
    """

    checks: tuple[tuple[str, str, str], ...] = ()
    unfinished: str = ""
    unfinished_told: str = ""


@dataclasses.dataclass(kw_only=True)
class Draft:
    """The tree of a specification as it grows, with provenance and holes by key."""

    design: Design
    survey_file: str
    rulings: Rulings
    provenance: dict[str, str] = dataclasses.field(default_factory=dict)
    unresolved: dict[str, str] = dataclasses.field(default_factory=dict)

    def hole(self, key: str, *reasons: str) -> None:
        for reason in reasons:
            known = self.unresolved.get(key)
            if known is not None and reason in known:
                continue
            self.unresolved[key] = f"{known}; {reason}" if known else reason


def part_tree(draft: Draft, part: Part) -> dict | str:
    if part.words:
        # Braces are slots in a specification.
        return (
            re.sub(r"\{(?!loop\})([^{}]*)\}", r"(\1)", part.words)
            if not _has_slot(draft, part.words)
            else part.words
        )
    tree: dict = {"file": SURVEY, "question": part.question}
    return {**tree, "replace": dict(part.replace)} if part.replace else tree


def _has_slot(draft: Draft, words: str) -> bool:
    return any("{" + name + "}" in words for name in draft.design.factors)


def one_line(text: str) -> str:
    return " ".join(text.split())
