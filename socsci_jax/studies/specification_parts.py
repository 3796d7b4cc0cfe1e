"""The parts of a study specification that stand alone: codes, texts, matches, files and scales."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Literal

import pydantic

from socsci_jax.studies.attributes import UNKNOWN_TEXTS
from socsci_jax.studies.persona_formats import PersonaFormatName

FileFormat = Literal[
    "csv", "jsonl", "excel", "spss", "stata", "r", "text", "docx", "pdf", "json", "qualtrics"
]
Name = Annotated[str, pydantic.Field(min_length=1, max_length=500)]


_NUMBER = re.compile(r"[+-]?(?:0|[1-9]\d{0,14}|(?=\.))(?:\.\d{1,15})?")


def code(value: object) -> str:
    """The code of a cell as text: 1, 1.0, "1" and " 1.0 " are all "1"; other text stays, without outer spaces.

    "007" and "1e3" are names, not numbers.
    """
    text = str(value).strip()
    if not text or not _NUMBER.fullmatch(text.replace("\u2212", "-")):
        return text
    number = float(text.replace("\u2212", "-"))
    return str(int(number)) if number == int(number) else repr(number)


def also(short: object, *, read: Callable[[object], object]) -> pydantic.BeforeValidator:
    """A shorter way of writing a value: `short` is its type for editors, `read` turns it into the whole value."""
    return pydantic.BeforeValidator(read, json_schema_input_type=short)


def _one_or_many(value: object) -> object:
    return (value,) if isinstance(value, str | int | float) else value


Code = Annotated[str, also(str | float, read=code)]
# A label: `no`, `5` and `true` are texts here.
Label = Annotated[str, also(str | float | bool, read=lambda value: value)]
Codes = Annotated[tuple[Code, ...], also(Code | list[Code], read=_one_or_many)]
Names = Annotated[tuple[Name, ...], also(Name | list[Name], read=_one_or_many)]


# How a drafted text begins that no file tells; a specification with such a text is not complete.
TO_BE_WRITTEN = "[to be written"


class Block(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True
    )


class TextFrom(Block):
    """A text that stands in a file of the deposit; white space is tidied and markup removed."""

    file: Name
    """Name of one of `files`."""
    heading: str | None = None
    """The text under this heading (of Markdown, DOCX or a line of its own), to the next heading of its rank."""
    entry: str | None = None
    """The codebook's entry of this column: from the line that names it to the next column's."""
    question: str | None = None
    """A question of a Qualtrics file, by its id (QID7) or its export tag."""
    path: str | None = None
    """JSON pointer into a JSON file: /SurveyElements/3/Payload/QuestionText."""
    row: dict[str, Code] = {}
    """The row of a table whose columns have these values; with `column`."""
    column: str | None = None
    """The column of that row."""
    after: str | None = None
    """Only what follows these words."""
    until: str | None = None
    """Only what comes before these words."""
    replace: dict[str, str] = {}
    """Words to be written otherwise, such as a survey program's field: {"${lm://Field/1}": "{task}"}."""

    @pydantic.model_validator(mode="after")
    def _one_place(self) -> TextFrom:
        places = [self.heading, self.entry, self.question, self.path, self.column]
        if sum(place is not None for place in places) > 1:
            raise ValueError("give one of heading, entry, question, path, column (with row)")
        if bool(self.row) != (self.column is not None):
            raise ValueError("row and column go together")
        return self


def _parts(value: object) -> object:
    return (value,) if isinstance(value, str | dict | TextFrom) else value


# Texts as people read them; several parts are written below each other, with a blank line between.
# {factor} stands for the text of that factor's level, {condition} for that of the condition.
Text = Annotated[tuple[str | TextFrom, ...], also(str | TextFrom | list[str | TextFrom], read=_parts)]


def _match(value: object) -> object:
    return {"is": value} if isinstance(value, str | int | float | list | tuple) else value


class Match(Block):
    """What a cell must be.  A value or a list of values stands for `is`."""

    is_: Codes | None = pydantic.Field(None, alias="is")
    """One of these codes."""
    not_: Codes | None = pydantic.Field(None, alias="not")
    """None of these codes; an empty cell is none of them."""
    at_least: float | None = None
    at_most: float | None = None
    present: bool | None = None
    """true: not empty and not a missing code; false: empty."""

    @pydantic.model_validator(mode="after")
    def _says_something(self) -> Match:
        if not self.model_fields_set:
            raise ValueError("say what the cell must be: is, not, at_least, at_most or present")
        return self


# Rows in which every named column matches.
Where = dict[str, Annotated[Match, also(Match | Code | list[Code], read=_match)]]
# Rows that match one of these.
AnyWhere = Annotated[
    tuple[Where, ...],
    also(Where | list[Where], read=lambda value: (value,) if isinstance(value, dict) else value),
]


class SourceFile(Block):
    """One file of the deposit; a path alone is enough."""

    path: Name
    """Relative to the specification, within its folder."""
    format: FileFormat | None = None
    """By default as the file's name ends."""
    sheet: str | None = None
    """Excel: the sheet; by default the only one that holds a table."""
    object: str | None = None
    """R: the data frame; by default the only one."""
    encoding: str | None = None
    """Text and CSV: by default found, and reported."""
    delimiter: str | None = None
    """CSV: by default found, and reported."""
    skip_rows: tuple[Annotated[int, pydantic.Field(ge=1)], ...] = ()
    """Rows under the header that hold no answers, counted from 1 (a Qualtrics export: [1, 2])."""
    empty: Annotated[tuple[str, ...], also(str | list[str], read=_one_or_many)] = tuple(sorted(UNKNOWN_TEXTS))
    """Cells that mean "nothing here", in any case of letters."""
    rows: int | None = None
    """How many rows the deposit says that the table has."""
    columns: int | None = None
    """How many columns the deposit says that the table has."""
    sha256: str | None = None
    """Expected hash of the file; a file that differs is refused."""


def _listed(value: object) -> object:
    return dict.fromkeys(map(code, value), "") if isinstance(value, list | tuple) else value


class AnswerScale(Block):
    """The answers that a question allows: levels, a range of whole numbers, an open number, or a codebook's words."""

    levels: Annotated[dict[Code, Label], also(dict[Code, Label] | list[Code], read=_listed)] = {}
    """Code -> label, from the first to the last; a list where there are no labels."""
    lo: float | None = None
    hi: float | None = None
    step: Annotated[float, pydantic.Field(gt=0)] | None = None
    """Distance of levels between lo and hi; by default 1."""
    labels: dict[Code, Label] = {}
    """Labels of some levels of a range."""
    number: bool = False
    """A quantity: any number between lo and hi where these are given."""
    read: Text | None = None
    """The codebook's words, from which levels and labels are read."""
    nominal: bool = False
    """Codes are names without an order."""
    missing: Codes = ()
    """Codes of missing answers (-99, 98); they are counted and dropped."""
    alternatives: dict[Code, Label] = {}
    """Answers outside the order, such as {8: Don't know}."""
    codes: dict[str, Code] = {}
    """What a cell says -> the level's code, where cells hold neither codes nor labels."""
    empty: Code | None = None
    """What an empty cell says, such as a box that was not ticked (0); by default that there is no answer."""
    reversed: bool = False
    """The file counts the other way round than the scale that people saw; the build turns the numbers."""

    @pydantic.model_validator(mode="after")
    def _one_way(self) -> AnswerScale:
        ways = {
            "levels": bool(self.levels),
            "number": self.number,
            "read": self.read is not None,
            "lo and hi": not self.number and (self.lo is not None or self.hi is not None),
        }
        given = [name for name, is_given in ways.items() if is_given]
        if len(given) != 1:
            raise ValueError(
                f"give the scale in one way: levels, lo and hi, number: true, or read (found {given or 'none'})"
            )
        if given == ["lo and hi"] and (self.lo is None or self.hi is None or self.lo >= self.hi):
            raise ValueError(f"a range needs lo below hi, found {self.lo} and {self.hi}")
        if self.lo is not None and self.hi is not None and self.lo >= self.hi:
            raise ValueError(f"lo must be below hi, found {self.lo} and {self.hi}")
        if len(self.levels) == 1:
            raise ValueError("a scale needs at least two levels")
        both = (set(self.levels) | set(self.labels)) & (set(self.missing) | set(self.alternatives))
        if both:
            raise ValueError(f"code {min(both)!r} is both a level and a missing code or alternative")
        return self


# More orders of options than these are drawn from, not listed.
MOST_ORDERS = 720


def _orders(value: object) -> object:
    if value in ("all", "reversed"):
        return value
    try:
        number = int(str(value))
    except ValueError:
        number = 0
    if not 2 <= number <= MOST_ORDERS:
        raise ValueError(f"write all, reversed, or how many orders, from 2 to {MOST_ORDERS}")
    return number


def _questions(value: object) -> object:
    names = (value,) if isinstance(value, str) else value
    if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
        return dict.fromkeys(names, "")
    return names


class Multiverse(Block):
    """Ways of asking an experiment's questions that should make no difference: a forecast takes all of them together."""

    orders: Annotated[
        int | Literal["all", "reversed"] | None,
        also(Literal["all", "reversed"] | Annotated[int, pydantic.Field(ge=2, le=MOST_ORDERS)], read=_orders),
    ] = None
    """In which orders labeled response options are listed: all of them, the scale's own and its reverse, or so many."""
    persona_formats: Annotated[
        tuple[PersonaFormatName, ...],
        also(PersonaFormatName | list[PersonaFormatName], read=_one_or_many),
    ] = ()
    """How a person is described, besides the list of the model's own prompt."""
    swaps: Names = ()
    """Attributes of which a person is given another's value, to see whether predictions move."""
    drift: Annotated[dict[Name, str], also(Name | list[Name] | dict[Name, str], read=_questions)] = {}
    """Attributes that are hidden and asked for in every arm, to see whether the arm changes whom the model imagines;
    with the question, by default "What is your ...?"."""
    assignment: Literal["balanced", "full"] = "balanced"
    """balanced: each person answers few variants, for less than three times the cost of one; full: all of them."""
