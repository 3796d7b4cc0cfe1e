"""The tables of the TESS archive, and its texts without what the survey programs left in them."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from data_pipelines.formats.csv_table import read_csv
from data_pipelines.formats.markup import without_markup
from socsci_jax.errors import InputError
from socsci_jax.studies.specification_files import refusal
from socsci_jax.studies.store_builder import StoreBuilder

CONDITIONS, OUTCOMES, RESPONSES = "conditions.csv", "outcomes.csv", "responses.csv.gz"

COLUMNS = {
    CONDITIONS: ("study", "title", "condition.name", "condition.text", "blurb", "Exclude"),
    OUTCOMES: (
        *("study", "title", "outcome.name", "outcome.text", "outcome.scale", "outcome.limits"),
        *("outcome.lower", "outcome.upper", "exclude"),
    ),
    RESPONSES: (
        *("study", "outcome.name", "y", "condition.name", "GENDER", "race_4", "pid_3", "age_5", "EDUC4"),
        *("ideo_3", "outcome.min", "outcome.max"),
    ),
}
KINDS = {CONDITIONS: "condition", OUTCOMES: "outcome", RESPONSES: "response"}

_BLANK_MARK = re.compile(r"\[(?:BLANK )?SPACE\]")
_ANSWER_MARK = re.compile(r"\[?PARTICIPANT_ANSWERS_QUESTION\]")


def plain_text(text: str | None) -> str:
    """Text as a reader saw it: no markup, no survey-programming marks, tidy white space, tables with " | "."""
    if not text:
        return ""
    return without_markup(_ANSWER_MARK.sub("[The participant answers.]", _BLANK_MARK.sub("", text)))


def read_tables(source: Path, builder: StoreBuilder) -> dict[str, pl.DataFrame]:
    """The archive's tables; raises InputError that lists every file and column that is absent."""
    tables, problems = {}, []
    for name, columns in COLUMNS.items():
        try:
            tables[name] = read_table(source / name, builder)
        except InputError as error:
            problems.append(str(error).removesuffix("."))
            continue
        absent = [column for column in columns if column not in tables[name].columns]
        if absent:
            problems.append(
                f"{source / name}: missing columns {', '.join(map(repr, absent))}; found {tables[name].columns}"
            )
    if problems:
        raise refusal(f"{source} as a TESS archive", problems)
    return tables


def read_table(path: Path, builder: StoreBuilder) -> pl.DataFrame:
    """All columns as text, an empty field null, and `row`, the row's place from 1 on; damaged rows are rejected."""
    if not path.is_file():
        raise InputError(f"{path}: file not found; the archive's folder holds {', '.join(COLUMNS)}.")
    table = read_csv(path, delimiter=",")
    builder.notes.extend(table.notes)
    for row, why in table.misfits:
        builder.reject(KINDS.get(path.name, "study"), place=f"{path.name}, row {row + 1}", reason=why)
    blank = pl.col(pl.String).str.strip_chars() == ""
    texts = table.frame.with_columns(pl.when(blank).then(None).otherwise(pl.col(pl.String)).name.keep())
    return texts.with_columns(row=table.numbers)
