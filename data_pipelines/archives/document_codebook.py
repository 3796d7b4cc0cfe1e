"""The codebook of a text classification: what `codebook.yaml` says, and the items that it asks."""

from __future__ import annotations

import collections
import re
from pathlib import Path
from typing import Annotated

import pydantic

from socsci_jax.errors import InputError
from socsci_jax.studies.answer_formats import answer_format
from socsci_jax.studies.scale import LARGEST_ANSWER, MAX_LEVELS
from socsci_jax.studies.schema import Item, Scale
from socsci_jax.yaml_reading import read_yaml

CODEBOOK, DOCUMENTS = "codebook.yaml", "documents.csv"
ID, TEXT, CODER = "id", "text", "coder"
CONDITION = "codebook"

_Words = Annotated[str, pydantic.Field(min_length=1)]


class _Block(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class Label(_Block):
    """One answer that a variable allows: the code in `documents.csv`, its name, and what falls under it."""

    code: Annotated[int, pydantic.Field(ge=-LARGEST_ANSWER, le=LARGEST_ANSWER)]
    label: _Words
    definition: str = ""


class Variable(_Block):
    """What is coded of every document; `name` is its column in `documents.csv`."""

    name: _Words
    question: _Words
    definition: str = ""
    labels: Annotated[tuple[Label, ...], pydantic.Field(min_length=2, max_length=MAX_LEVELS)]

    @pydantic.field_validator("name")
    @classmethod
    def _is_no_other_column(cls, name: str) -> str:
        if name in (ID, TEXT, CODER):
            raise ValueError(f"the column {name!r} of {DOCUMENTS} holds something else; take another name")
        return name

    @pydantic.field_validator("labels")
    @classmethod
    def _codes_differ(cls, labels: tuple[Label, ...]) -> tuple[Label, ...]:
        _stop_at_repetition("code", [label.code for label in labels])
        return labels


class Codebook(_Block):
    """The codebook as `codebook.yaml` says it."""

    title: _Words
    instructions: str = ""
    source: str = ""
    license: str = "not stated"
    variables: Annotated[tuple[Variable, ...], pydantic.Field(min_length=1)]

    @pydantic.field_validator("variables")
    @classmethod
    def _names_differ(cls, variables: tuple[Variable, ...]) -> tuple[Variable, ...]:
        _stop_at_repetition("name", [variable.name for variable in variables])
        return variables

    @property
    def study_id(self) -> str:
        return re.sub(r"\W+", "-", self.title.casefold()).strip("-") or "codebook"


def _stop_at_repetition(key: str, values: list) -> None:
    repeated = [value for value, count in collections.Counter(values).items() if count > 1]
    if repeated:
        raise ValueError(f"{key} {repeated[0]!r} is given twice")


def read_codebook(path: Path) -> Codebook:
    """Raises InputError, naming file and key, if it is missing or wrong."""
    # Every scalar as text: YAML would make a boolean of the label `no`.
    hint = f"the folder of a text classification holds {CODEBOOK} and {DOCUMENTS}"
    tree = read_yaml(path, texts=True, hint=hint)
    if not isinstance(tree, dict):
        raise InputError(f"{path}: a codebook is a mapping with the keys {', '.join(Codebook.model_fields)}.")
    try:
        return Codebook.model_validate(tree)
    except pydantic.ValidationError as error:
        problems = error.errors()
        # A list from which a wrong label was taken is reported as too short as well.
        first = [p for p in problems if not any(_is_within(other, p) for other in problems)]
        raise InputError(f"{path}: {'; '.join(map(_explain, first))}.") from None


def _is_within(problem: dict, other: dict) -> bool:
    inner, outer = problem["loc"], other["loc"]
    return len(inner) > len(outer) and inner[: len(outer)] == outer


def _explain(problem: dict) -> str:
    """The problem with its key as it stands in the file: variables[0].labels[1].code."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]]
    key = "".join(parts).removeprefix(".")
    if problem["type"] == "extra_forbidden":
        return f"key {key!r} is not known"
    if problem["type"] == "missing":
        return f"key {key!r} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    given = f" (found {problem['input']!r})" if isinstance(problem["input"], str) else ""
    return f"key {key!r}: {message[0].lower() + message[1:]}{given}"


def item_of(variable: Variable, codebook: Codebook) -> Item:
    """The codebook's text as it stands before every variable, the variable's own, and the codes it allows."""
    codes = [
        f"{label.code} = {label.label}" + (f": {label.definition}" if label.definition else "")
        for label in sorted(variable.labels, key=lambda label: label.code)
    ]
    scale = Scale.of_levels(
        {label.code: label.label for label in variable.labels}, origin="codebook", nominal=True
    )
    head = [f"Codebook: {codebook.title}", codebook.instructions]
    asked = [variable.question, variable.definition, "\n".join(codes)]
    return Item(
        study_id=codebook.study_id,
        condition=CONDITION,
        outcome=variable.name,
        stimulus="".join(f"{part}\n\n" for part in head if part),
        question="".join(f"{part}\n\n" for part in asked if part),
        # The labels stand above with their definitions: once is enough.
        answer_format=answer_format(scale, style="range"),
        scale=scale,
    )
