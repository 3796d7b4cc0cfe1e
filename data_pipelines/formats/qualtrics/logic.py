"""Conditions of branches and of display logic: read, and judged by what is known.

A condition is judged by embedded data alone; what depends on answers, quotas or devices is unknown (None), never
guessed.  Regular expressions of the file are not run: one without special characters is compared as text.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Literal

_QUESTION = re.compile(r"\bQID\d+\b")
_PLAIN = re.compile(r"\^?([\w \-]*)\$?")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Condition:
    """One comparison.  `source` says of what: a field of embedded data, an answer, or something else."""

    source: Literal["field", "answer", "other"]
    operand: str
    operator: str
    value: str = ""
    question: str = ""
    joined_by: Literal["and", "or"] = "and"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """Comparisons that belong together; AND binds tighter than OR."""

    conditions: tuple[Condition, ...]
    joined_by: Literal["and", "or"] = "and"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Logic:
    groups: tuple[Group, ...]

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the embedded data fields that the logic looks at."""
        named = (c.operand for g in self.groups for c in g.conditions if c.source == "field")
        return tuple(dict.fromkeys(named))

    @property
    def questions(self) -> tuple[str, ...]:
        """Ids of the questions whose answers the logic looks at."""
        named = (c.question for g in self.groups for c in g.conditions if c.source == "answer")
        return tuple(dict.fromkeys(named))

    def holds(self, fields: Mapping[str, str | None]) -> bool | None:
        """True, False, or None where embedded data alone do not decide; a field that is not named is unknown."""
        judged = [
            (group.joined_by, _joined([(c.joined_by, _judge(c, fields)) for c in group.conditions]))
            for group in self.groups
        ]
        return _joined(judged)


def read_logic(payload: Any) -> Logic | None:
    """The logic of a `BranchLogic` or `DisplayLogic` object; None where there is none."""
    if not isinstance(payload, dict):
        return None
    groups = []
    for key in sorted((k for k in payload if str(k).isdigit()), key=int):
        part = payload[key]
        if not isinstance(part, dict):
            continue
        conditions = tuple(
            _condition(part[k])
            for k in sorted((k for k in part if str(k).isdigit()), key=int)
            if isinstance(part[k], dict)
        )
        if conditions:
            joined = "or" if str(part.get("Type", "")).lower() in ("elseif", "orif", "or") else "and"
            groups.append(Group(conditions=conditions, joined_by=joined))
    return Logic(groups=tuple(groups)) if groups else None


def _condition(part: dict) -> Condition:
    kind = str(part.get("LogicType", ""))
    operand = str(part.get("LeftOperand", ""))
    # The file spells it without the second "n".
    word = str(part.get("Conjuction") or part.get("Conjunction") or "And").lower()
    question = str(part.get("QuestionID") or "")
    if not question and (match := _QUESTION.search(operand)):
        question = match[0]
    source = {"EmbeddedField": "field", "Question": "answer"}.get(kind, "other")
    return Condition(
        source=source,
        operand=operand,
        operator=str(part.get("Operator", "")),
        value=str(part.get("RightOperand") if part.get("RightOperand") is not None else ""),
        question=question,
        joined_by="or" if word == "or" else "and",
    )


def _joined(parts: list[tuple[str, bool | None]]) -> bool | None:
    """Three-valued: conjunctions of parts, joined by OR."""
    conjunctions: list[list[bool | None]] = []
    for word, judged in parts:
        if word == "or" or not conjunctions:
            conjunctions.append([])
        conjunctions[-1].append(judged)
    results = [False if False in part else None if None in part else True for part in conjunctions]
    return True if True in results else None if None in results else False


def _judge(condition: Condition, fields: Mapping[str, str | None]) -> bool | None:
    if condition.source != "field" or condition.operand not in fields:
        return None
    value, wanted = fields[condition.operand], condition.value.strip()
    if value is None or "${" in wanted or "${" in value:
        return None
    value = value.strip()
    match condition.operator:
        case "EqualTo" | "Is":
            return _equal(value, wanted)
        case "NotEqualTo" | "IsNot":
            return not _equal(value, wanted)
        case "Contains":
            return wanted.casefold() in value.casefold()
        case "DoesNotContain":
            return wanted.casefold() not in value.casefold()
        case "Empty":
            return value == ""
        case "NotEmpty":
            return value != ""
        case "MatchesRegex":
            return _matches_plain(value, wanted)
        case "GreaterThan" | "LessThan" | "GreaterThanOrEqual" | "LessThanOrEqual":
            return _compared(value, wanted, condition.operator)
    return None


def _equal(value: str, wanted: str) -> bool:
    a, b = _number(value), _number(wanted)
    return a == b if a is not None and b is not None else value.casefold() == wanted.casefold()


def _matches_plain(value: str, pattern: str) -> bool | None:
    plain = _PLAIN.fullmatch(pattern)
    if plain is None:
        return None
    if plain[1] == value:
        return True
    return False if plain[1] not in value else None


def _compared(value: str, wanted: str, operator: str) -> bool | None:
    a, b = _number(value), _number(wanted)
    if a is None or b is None:
        return None
    return {
        "GreaterThan": a > b,
        "LessThan": a < b,
        "GreaterThanOrEqual": a >= b,
        "LessThanOrEqual": a <= b,
    }[operator]


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if number == number else None
