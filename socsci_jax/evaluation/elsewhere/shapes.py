"""Brings tables of other shapes into those that are read: labels for codes, counts of answers, questions in rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import polars as pl

from socsci_jax.bounds import COUNTED_PEOPLE
from socsci_jax.errors import InputError
from socsci_jax.evaluation.elsewhere.columns import COUNT, LEVEL, OUTCOME, PROB, PROBS, VALUE, find
from socsci_jax.reading import read_json_object

# Codes by label, in lower case, of each question.
Codes = Mapping[str, Mapping[str, str]]
# Records of counts in a JSON file of questions.
_COUNTS = ("choice_counts", "counts", "human_answer")


def with_codes(frame: pl.DataFrame, codes: Codes) -> pl.DataFrame:
    """The table with codes where it has a question's labels, in any case of letters."""
    codes = {question: own for question, own in codes.items() if own}
    if not codes:
        return frame
    outcome, cell = find(frame, OUTCOME), find(frame, VALUE) or find(frame, LEVEL)
    if outcome is None or cell is None:
        return frame.with_columns(
            _translated(frame[name], codes[name]) for name in frame.columns if name in codes
        )
    rows = [(question, label, code) for question, own in codes.items() for label, code in own.items()]
    known = pl.DataFrame(rows, schema=["_question", "_label", "_code"], orient="row")
    joined = frame.with_columns(_label=pl.col(cell).str.to_lowercase()).join(
        known,
        left_on=[outcome, "_label"],
        right_on=["_question", "_label"],
        how="left",
        maintain_order="left",
    )
    return joined.with_columns(pl.coalesce("_code", cell).alias(cell)).select(frame.columns)


def _translated(column: pl.Series, codes: Mapping[str, str]) -> pl.Series:
    as_codes = column.str.to_lowercase().replace_strict(dict(codes), default=None, return_dtype=pl.String)
    return as_codes.zip_with(as_codes.is_not_null(), column)


def people_of_counts(frame: pl.DataFrame, *, table: str) -> pl.DataFrame:
    """Counts of answers (outcome, level, count) as one row for each person who gave one; other tables as they are.

    Nobody is known to have answered twice.  Raises InputError for a count that is no whole number, and for shares, which
    do not say how many people stand behind them.
    """
    outcome, level, count = find(frame, OUTCOME), find(frame, LEVEL), find(frame, COUNT)
    if outcome is None or level is None or find(frame, VALUE) is not None:
        return frame
    if count is None:
        if find(frame, PROB) is None:
            return frame
        raise InputError(
            f"{table}: people's answers are given as shares, which do not say how many answered; give counts in a column "
            "count, or one row a person."
        )
    counts = frame[count].cast(pl.Float64, strict=False)
    good = (counts.is_finite() & (counts >= 0) & (counts == counts.round(0))).fill_null(False)
    if not good.all():
        row = int(good.arg_min() or 0)
        raise InputError(
            f"{table}, row {row + 1}: column {count!r} holds {frame[count][row]!r}, which is not a number of people."
        )
    if counts.sum() > COUNTED_PEOPLE:
        raise InputError(f"{table}: counts of more than {COUNTED_PEOPLE:,} people are not read.")
    return (
        frame.drop(count)
        .rename({level: "value"})
        .with_columns(_times=counts.cast(pl.Int64))
        .select(pl.exclude("_times").repeat_by("_times"))
        .explode(pl.selectors.all())
        .drop_nulls(["value"])
        .with_row_index("participant_id")
        .with_columns(pl.format("person {}", "participant_id").alias("participant_id"))
    )


def counts_of_json(path: Path) -> pl.DataFrame:
    """Counts of answers from a JSON object of questions: {"q1": {"1": 210, "2": 95}} or {"q1": {"choice_counts": ...}}."""
    rows = []
    for question, content in read_json_object(path).items():
        inner = next(
            (content[name] for name in _COUNTS if isinstance(content, dict) and name in content), content
        )
        if not isinstance(inner, dict) or any(isinstance(n, (dict, list)) for n in inner.values()):
            raise InputError(
                f'{path}: {question[:80]!r} has no counts of answers; write {{"question": {{"1": 210, "2": 95}}}}.'
            )
        rows += [(question, str(level), str(n)) for level, n in inner.items()]
    if not rows:
        raise InputError(f"{path}: no question is there.")
    return pl.DataFrame(rows, schema=["outcome", "level", "count"], orient="row")


def questions_in_columns(frame: pl.DataFrame, questions: Collection[str]) -> pl.DataFrame | None:
    """A table with questions in rows and people in columns turned round; None for any other table.

    It is one whose first column holds names of `questions`, while none of its columns does.
    """
    first = frame.columns[0]
    if find(frame, (*OUTCOME, *VALUE, *PROBS)) is not None or set(frame.columns) & set(questions):
        return None
    names = frame[first]
    if names.null_count() or names.n_unique() < len(names) or not names.is_in(list(questions)).any():
        return None
    return frame.drop(first).transpose(
        include_header=True, header_name="participant_id", column_names=names.to_list()
    )
