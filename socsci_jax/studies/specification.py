"""The study specification: what a deposit's files mean, or what an experiment not yet run will ask.

One YAML file (`study.yaml`) says which columns hold participants, assignments and answers, which texts people
read, and on which scales they answered.  It is data: nothing in it is executed, and it is the only thing that a
person reviews.  Without `files` the same file describes an experiment that has not been run.

A file holds one study (`study: ID` with the study's keys) or several of one deposit (`studies: {ID: ...}`).
`specification_files.py` reads and writes files, `specification_checks.py` compares their parts.
"""

from __future__ import annotations

from typing import Annotated

import pydantic

from socsci_jax.errors import InputError
from socsci_jax.studies.specification_parts import (
    AnswerScale,
    AnyWhere,
    Block,
    Code,
    Codes,
    Label,
    Multiverse,
    Name,
    Names,
    SourceFile,
    Text,
    TextFrom,
    Where,
    also,
)

# Factor -> levels; the key "condition" stands for named conditions.
Arms = dict[str, Names]


def _path(value: object) -> object:
    return {"path": value} if isinstance(value, str) else value


class Join(Block):
    """Another table whose row with an equal key is added to each row of the answers."""

    file: Name
    on: Name
    """The key's column in the table of answers."""
    key: str | None = None
    """The key's column in the other table; by default the same name."""


def _column(value: object) -> object:
    return {"column": value} if isinstance(value, str) else value


class Attribute(Block):
    """What is known of a person; a column's name alone is enough."""

    column: str | None = None
    """By default the attribute's name."""
    recode: dict[Code, Label] = pydantic.Field({})
    """Code in the column -> text in the prompt; an empty text means not known."""
    missing: Codes = ()
    """Codes that mean not known."""
    rows: Where = pydantic.Field({})
    """Rows that tell it; in the others it is not known, such as where it would give the answer away."""
    unit: str = ""
    """Written behind the value: "years"."""
    free_text: bool = False
    """People's own words or a description of them (an interview, a profile): shown as it stands, with its lines."""


def _level(value: object) -> object:
    return {"text": value} if isinstance(value, str | list | tuple) else value


class Level(Block):
    """One level of a factor; a text alone is enough."""

    text: Text | None = None
    """What people at this level read; by default the level's name. [] if they read nothing of this factor."""
    values: Codes | None = None
    """Its codes in the factor's column; by default the level's name."""
    when: AnyWhere = ()
    """Instead of the factor's column: rows at this level (an indicator such as FL_7_DO_Control: 1); a list is any of them."""
    label: str | None = None
    """What the codebook calls it, where that is not the level's name."""
    control: bool | None = None
    count: int | None = None
    """How many people the deposit says were assigned to it (after `exclude`)."""
    share: Annotated[float, pydantic.Field(gt=0, lt=1)] | None = None
    """Share of people that the design assigns to it, where shares are not equal."""
    pooled: str | None = None
    """Why several codes of the column are one level here."""


class Factor(Block):
    """What was varied between people, or between tasks of one person."""

    column: str | None = None
    """The column that holds the assignment; by default the factor's name, unless levels say `when`."""
    loop: str | None = None
    """Instead of a column: the level is the value of this `loop`."""
    within: bool = False
    """One person sees several levels."""
    levels: dict[Name, Annotated[Level, also(Level | str | list[str | TextFrom], read=_level)]] = (
        pydantic.Field({})
    )
    """By default each value of the column is a level, and its own text (a conjoint's attributes)."""
    same_text: str | None = None
    """Why levels of this factor give people the same text (an order, a picture that the deposit lacks)."""


class Condition(Block):
    """One combination of levels, where a condition's text is more than the levels' texts put together."""

    factors: Arms = pydantic.Field({})
    text: Text | None = None
    """Fills {condition} of the stimulus."""
    control: bool | None = None
    count: int | None = None
    """How many people the deposit says were assigned to it (after `exclude`)."""
    same_text: str | None = None
    """Why its text equals that of another condition."""


class Variant(Block):
    """The outcome as people of some conditions met it."""

    arms: Arms
    column: str | None = None
    question: Text | None = None
    scale: AnswerScale | Name | None = None


class Outcome(Block):
    """One question asked."""

    question: Text
    scale: AnswerScale | Name
    """A scale, or the name of one of `scales`."""
    column: str | None = None
    """By default the outcome's name."""
    rows: Where = pydantic.Field({})
    """Rows that answer this question, where one column holds answers to several."""
    answer_format: Text | None = None
    """The sentence that tells how to answer; by default written from the scale."""
    variants: tuple[Variant, ...] = ()
    retest: Names = ()
    """Columns in which the same people answered the same question again, in the order of time."""
    wordings: dict[Name, Text] = pydantic.Field({})
    """Other wordings of the question that should make no difference (`multiverse`): name -> text."""
    negative_control: bool = False
    """No arm can move this outcome; a forecast in which one does is flagged."""


class Composite(Block):
    """The mean of several outcomes: a scale of several questions, an index of several scales, a question turned round."""

    of: Annotated[Names, pydantic.Field(min_length=1)]
    """Outcomes with ordered answers, or composites above this one; each by its position on its own scale."""
    reversed: Names = ()
    """Those that count the other way round."""


class Exclusion(Block):
    """Rows that are not analyzed; they are counted in the store's rejects."""

    where: Where
    reason: Name


class Hypothesis(Block):
    """What was expected: in which arms an outcome's mean is higher than in which others."""

    outcome: Name
    higher: Arms
    lower: Arms
    text: Text = ()


class Study(Block):
    """One experiment."""

    title: str = ""
    data: Name = "data"
    """Which of `files` holds the answers."""
    join: tuple[Join, ...] = ()
    rows: Where = pydantic.Field({})
    """Rows of the table that belong to this study."""
    loop: dict[Name, Names] = pydantic.Field({})
    """Repetitions that stand side by side in one row: {task: [1, 2, 3]} puts each value for {task} in column names."""
    participant: Names = ()
    """Column (or columns) whose values tell people apart; without it every row is another person."""
    number_participants: bool = False
    """People are person-1, person-2, ... in the order of the file, so that ids of panels or addresses do not enter the store.
    None of these is an id of the file: predictions joined to it by mistake match nobody, not somebody else."""
    weight: str | None = None
    """Column of survey weights."""
    attributes: dict[Name, Annotated[Attribute, also(Attribute | str, read=_column)]] = pydantic.Field({})
    """In the order in which prompts list them."""
    exclude: tuple[Exclusion, ...] = ()
    ignored: dict[Name, Name] = pydantic.Field({})
    """Columns that look like an assignment and are none, or change nothing of what people read: column -> why."""
    factors: dict[Name, Factor] = pydantic.Field({})
    conditions: dict[Name, Condition] = pydantic.Field({})
    """By default every combination of levels that occurs is a condition."""
    stimulus: Text | None = None
    """What people read before a question, with {factor} and {condition} as slots; by default all their texts."""
    outcomes: Annotated[dict[Name, Outcome], pydantic.Field(min_length=1)]
    composites: dict[Name, Composite] = pydantic.Field({})
    """Forecasts report them; a store holds the answers to single outcomes."""
    hypotheses: dict[Name, Hypothesis] = pydantic.Field({})
    multiverse: Multiverse = pydantic.Field(Multiverse())
    """Which other ways of asking a forecast of this experiment takes together."""


class Specification(Block):
    """A whole `study.yaml`."""

    source: str = ""
    """Where the deposit is from: title, authors, address."""
    license: str = "not stated"
    files: dict[Name, Annotated[SourceFile, also(SourceFile | str, read=_path)]] = pydantic.Field({})
    """Name -> file; `data` is the table of answers. None for an experiment that has not been run."""
    scales: dict[Name, AnswerScale] = pydantic.Field({})
    """Scales that several outcomes share, by name."""
    studies: Annotated[dict[Name, Study], pydantic.Field(min_length=1)]
    provenance: dict[str, str] = pydantic.Field({})
    """Where a drafted value came from: {"studies.S.outcomes.Q6.scale": "survey.qsf, QID6, choices"}."""
    unresolved: dict[str, str] = pydantic.Field({})
    """What drafting could not tell, by key; delete each line when its value is right. A build needs none left."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _one_study(cls, tree: object) -> object:
        """A file of one study has `study: ID` and the study's keys next to the deposit's."""
        if not isinstance(tree, dict) or "study" not in tree:
            return tree
        if "studies" in tree:
            raise ValueError("give study (one study) or studies (several), not both")
        own = {key: value for key, value in tree.items() if key in Study.model_fields}
        rest = {key: value for key, value in tree.items() if key not in own and key != "study"}
        return {**rest, "studies": {str(tree["study"]): own}}

    def scale(self, given: AnswerScale | str) -> AnswerScale:
        """Raises InputError for a name that `scales` does not have."""
        if isinstance(given, AnswerScale):
            return given
        if given not in self.scales:
            raise InputError(f"scale {given!r} is not one of scales: {', '.join(self.scales) or 'none'}.")
        return self.scales[given]
