"""Answers as one row each, from a table that is long already or has one row a person and one column a question."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.evaluation.elsewhere.columns import (
    CONDITION,
    CONTROL,
    DRAW,
    MEAN,
    OUTCOME,
    PROB,
    STUDY,
    VALUE,
    WEIGHT,
    Rejected,
    find,
    is_identifier,
    person_of,
    rejected,
    whole_ids,
    without_row_numbers,
)

# The condition of tables that name none.
NO_CONDITION = "all"
PLACE = ("study", "condition", "outcome")
YES, NO = ("true", "1", "yes"), ("false", "0", "no")
_SIGNED = r"^[-+]?\d+(?:[.,]\d+)?\s*%$|^[-+]?\d+,\d{1,2}$"
OTHER_WEIGHT = "the person has another weight in an earlier row, which is taken"
# A column of so many different texts may hold labels of answers.
MOST_LABELS = 15
INTERNAL = ["__row", "__participant_id", "__study", "__condition"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LongTable:
    """`answers`: row, study, condition, outcome, participant_id, value; `people`: study, participant_id, weight, attributes.

    `controls` are the conditions that a column marks as controls; `attributes` names what is known of people, `person`
    the column that says who they are.
    """

    answers: pl.DataFrame
    people: pl.DataFrame
    attributes: tuple[str, ...]
    person: str
    controls: frozenset[str]
    rejected: Rejected
    notes: tuple[str, ...] = ()


def is_long(frame: pl.DataFrame) -> bool:
    """Whether a row is one answer: the table has a column for the question and one for the answer."""
    return find(frame, OUTCOME) is not None and find(frame, VALUE) is not None


def as_long(
    frame: pl.DataFrame, *, table: str, id_column: str | None = None, declared: Collection[str] = ()
) -> LongTable:
    """One row an answer; empty cells are no answers, and what is not a number is rejected.

    In a wide table a column of numbers is a question, and any other column is an attribute of people; columns that
    number the rows are dropped, and those that name them are no questions unless `declared`.  Raises InputError where no
    column is a question.
    """
    person = _column(frame, id_column, table) if id_column else person_of(frame)
    frame, numbers = without_row_numbers(frame, person=person) if person else (frame, [])
    notes = [f"{table}: column {name!r} numbers the rows and is no question." for name in numbers]
    _check_has_answers(frame, table)
    person = person or _unnamed_person(frame, table)
    study, condition = find(frame, STUDY), find(frame, CONDITION)
    weight, control = find(frame, WEIGHT), find(frame, CONTROL)
    taken = {person, study, condition, weight, control, find(frame, DRAW)} - {None}
    # Names that no table has, so that any column may be a question.
    base = frame.with_row_index("__row", offset=1).with_columns(
        __participant_id=whole_ids(person),
        __study=named_or(study, "study"),
        __condition=named_or(condition, NO_CONDITION),
    )
    if is_long(frame):
        questions = [name for names in (OUTCOME, VALUE) if (name := find(frame, names))]
        melted = base.select(*INTERNAL, __outcome=pl.col(questions[0]), __raw=pl.col(questions[1]))
    else:
        questions, ids = _questions(frame, taken, declared, table)
        notes += [
            f"{table}: column {name!r} has another whole number in every row and is no question; declare its scale if it is."
            for name in ids
        ]
        melted = base.select(*INTERNAL, *questions).unpivot(
            questions, index=INTERNAL, variable_name="__outcome", value_name="__raw"
        )
    attributes = [name for name in frame.columns if name not in taken | set(questions)]
    answers, bad = _numbers(melted.rename(lambda name: name.removeprefix("__")), table)
    if not is_long(frame):
        bad = bad + _numbers_with_signs(base, attributes, table)
    people = base.select(
        pl.col("__study").alias("study"),
        pl.col("__participant_id").alias("participant_id"),
        _weights(frame[weight], table) if weight else pl.lit(None, pl.Float64).alias("weight"),
        *(pl.col(name).alias(f"attribute {name}") for name in attributes),
    )
    if weight:
        bad = bad + _other_weights(base, people["weight"], weight, table)
    marked = base.filter(yes(frame[control], table))["__condition"].unique() if control else ()
    return LongTable(
        answers=answers,
        people=people.filter(pl.col("participant_id").is_not_null()).unique(
            ["study", "participant_id"], keep="first", maintain_order=True
        ),
        attributes=tuple(attributes),
        person=person,
        controls=frozenset(marked),
        rejected=bad,
        notes=tuple(notes),
    )


def named_or(column: str | None, name: str) -> pl.Expr:
    """A column of identifiers, with `name` where a cell is empty or there is no such column."""
    return whole_ids(column).fill_null(name) if column else pl.lit(name)


def _check_has_answers(frame: pl.DataFrame, table: str) -> None:
    """Raises InputError where rows name a question and no column holds what was answered."""
    outcome = find(frame, OUTCOME)
    if outcome is not None and find(frame, (*VALUE, *MEAN, *PROB)) is None:
        raise InputError(
            f"{table}: column {outcome!r} names a question in each row, but no column holds the answer; name it value."
        )


def _unnamed_person(frame: pl.DataFrame, table: str) -> str:
    """The first column of a wide table, which says who answered if it can; raises InputError otherwise."""
    if is_long(frame):
        raise InputError(
            f"{table}: no column says who answered; found {frame.columns[:20]}, name one participant_id, or "
            "give its name (id_column)."
        )
    _check_names_people(frame, frame.columns[0], table)
    return frame.columns[0]


def _questions(
    frame: pl.DataFrame, taken: Collection[str | None], declared: Collection[str], table: str
) -> tuple[list[str], list[str]]:
    """The columns of a wide table that are questions, and those of numbers that name its rows."""
    numeric = [name for name in frame.columns if name not in taken and _is_numeric(frame[name])]
    ids = [name for name in numeric if name not in declared and is_identifier(frame[name])]
    questions = [name for name in numeric if name not in ids]
    if not questions:
        raise InputError(
            f"{table}: no column is a question with numbers; found {frame.columns[:20]}. A long table has columns "
            "participant_id, outcome and value; a wide one a column of numbers for each question."
            + _labels_hint(frame, taken)
        )
    return questions, ids


def _labels_hint(frame: pl.DataFrame, taken: Collection[str | None]) -> str:
    """What to do about a column of few texts, which may be the labels of answers."""
    for name in frame.columns:
        texts = frame[name].drop_nulls().unique(maintain_order=True).to_list()
        if name not in taken and 2 <= len(texts) <= MOST_LABELS:
            order = ", ".join(texts[:3]) + (", ..." if len(texts) > 3 else "")
            return (
                f" If {name!r} holds labels of answers, give their order in `scales=`: `{name}: [{order}]`."
            )
    return ""


def _column(frame: pl.DataFrame, name: str, table: str) -> str:
    if name not in frame.columns:
        raise InputError(f"{table}: there is no column {name!r}; found {frame.columns[1:20]}.")
    return name


def _check_names_people(frame: pl.DataFrame, first: str, table: str) -> None:
    """Raises InputError if the first column, which no name calls that of people, has another role or holds one value for
    several.
    """
    if first in {
        find(frame, names) for names in (STUDY, CONDITION, OUTCOME, VALUE, DRAW, WEIGHT, CONTROL, MEAN, PROB)
    }:
        raise InputError(
            f"{table}: no column says who answered, and the first is {first!r}; found {frame.columns[:20]}, name one "
            "participant_id, or give its name (id_column)."
        )
    one_row = [first, *(name for names in (STUDY, CONDITION, DRAW) if (name := find(frame, names)))]
    again = frame.filter(pl.struct(one_row).is_duplicated(), pl.col(first).is_not_null())
    if again.height:
        raise InputError(
            f"{table}: no column is named for people, and the first, {first!r}, holds {again[first][0]!r} in several rows; "
            "name the column that says who answered participant_id, or give its name (id_column)."
        )


def _weights(column: pl.Series, table: str) -> pl.Series:
    """Survey weights, null where the cell is empty; raises InputError for what is no weight."""
    weights = column.cast(pl.Float64, strict=False)
    good = (weights.is_finite() & (weights >= 0)).fill_null(False) | column.is_null()
    if not good.all():
        row = int(good.arg_min() or 0)
        raise InputError(
            f"{table}, row {row + 1}: column {column.name!r} holds {column[row]!r}, which is no weight; give numbers of 0 or "
            "more."
        )
    return weights.alias("weight")


def _other_weights(base: pl.DataFrame, weights: pl.Series, column: str, table: str) -> Rejected:
    """Weights that are not those of their person's first row, which stand."""
    person = ("__study", "__participant_id")
    rows = base.select(
        *person, weights.alias("weight"), row="__row", outcome=pl.lit(column), raw=column
    ).filter(pl.col("__participant_id").is_not_null())
    first = pl.col("weight").first().over(person)
    differs = pl.col("weight").is_not_null() & pl.col("weight").ne_missing(first)
    return rejected(table, rows.filter(differs), reason=OTHER_WEIGHT)


def yes(column: pl.Series, table: str) -> pl.Series:
    """Where a column of yes and no says yes; raises InputError for other words."""
    words = column.str.strip_chars().str.to_lowercase().str.strip_suffix(".0")
    unknown = column.filter(words.is_not_null() & ~words.is_in([*YES, *NO]))
    if len(unknown):
        raise InputError(
            f"{table}: column {column.name!r} holds {unknown[0]!r}; write {', '.join(YES)} for yes and {', '.join(NO)} for "
            "no."
        )
    return words.is_in(YES).fill_null(False)


def _numbers_with_signs(base: pl.DataFrame, attributes: list[str], table: str) -> Rejected:
    """Cells of columns that would be questions if 20% and 3,5 were numbers: they are not used as answers."""
    rejects = Rejected.none()
    for name in attributes:
        cells = base.select(row="__row", outcome=pl.lit(name), raw=name).drop_nulls("raw")
        signed = cells.filter(pl.col("raw").str.contains(_SIGNED))
        if signed.height > 0.5 * cells.height:
            reason = "a number with % or a decimal comma, taken for an attribute of people"
            rejects = rejects + rejected(table, signed, reason=reason)
    return rejects


def _is_numeric(column: pl.Series) -> bool:
    """Whether most of what stands in it is a number."""
    known = column.drop_nulls()
    return len(known) > 0 and known.cast(pl.Float64, strict=False).is_finite().sum() > 0.5 * len(known)


def _numbers(melted: pl.DataFrame, table: str) -> tuple[pl.DataFrame, Rejected]:
    known = melted.filter(pl.col("raw").is_not_null())
    value = pl.col("raw").cast(pl.Float64, strict=False)
    known = known.with_columns(value=pl.when(value.is_finite()).then(value))
    nobody = known.filter(pl.col("participant_id").is_null())
    nowhere = known.filter(pl.col("outcome").is_null() & pl.col("participant_id").is_not_null())
    kept = known.filter(pl.col("participant_id").is_not_null(), pl.col("outcome").is_not_null())
    bad = kept.filter(pl.col("value").is_null())
    rejects = rejected(table, nobody, reason="nobody is named") + rejected(
        table, nowhere, reason="no question is named"
    )
    rejects = rejects + rejected(table, bad, reason="not a number")
    return kept.filter(pl.col("value").is_not_null()).drop("raw"), rejects
