"""Plain tables of any format, judged without a store: the readers of deposits meet the evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.evaluation.compare import Comparison
from socsci_jax.evaluation.elsewhere import comparison, tables
from socsci_jax.evaluation.elsewhere.columns import PlainTable, read_table, without_empty
from socsci_jax.evaluation.elsewhere.shapes import counts_of_json
from socsci_jax.evaluation.elsewhere.tables import TableEvaluation

if TYPE_CHECKING:
    from data_pipelines.formats.tables import Table


def evaluate_tables(
    answers: str | Path,
    human: str | Path,
    *,
    scales: str | Path | None = None,
    id_column: str | None = None,
    controls: Sequence[str] = (),
    seed: int = 0,
    minimum_n: int = 10,
    resample: str | None = None,
    also: Sequence[str | Path] = (),
) -> TableEvaluation:
    """Judges the predictions in one plain table by people's answers in another, without a store or a model.

    Args:
      answers: predictions, long, wide, as probabilities or as means, in a file that `open_table` reads.
      human: people's answers, long, wide or as counts.
      scales: YAML, `question: 1 to 5`; without it scales are a file's own labels, or observed in people's answers.
      id_column: the column that says who answered.
      controls: names of control conditions.
      seed: of every resample and draw.
      minimum_n: items with fewer answers stay in the table and enter no average.
      resample: studies, conditions, outcomes or participants; by default as the design says.
      also: other predictors' tables; the mean of all is a row of the tables of distributions and people.

    Raises InputError where nothing can be matched; single rows that cannot be used are rejected and counted.
    """
    asked = open_table(human)
    return tables.judge_table(
        open_table(answers),
        asked,
        tables.people_in(asked, scales, id_column=id_column, controls=controls),
        id_column=id_column,
        seed=seed,
        minimum_n=minimum_n,
        resample=resample,
        also=[open_table(path) for path in also],
    )


def compare_tables(
    a: str | Path,
    b: str | Path,
    human: str | Path,
    *,
    scales: str | Path | None = None,
    id_column: str | None = None,
    controls: Sequence[str] = (),
    seed: int = 0,
    minimum_n: int = 10,
    resample: str | None = None,
) -> Comparison:
    """Judges two tables of predictions by the same people's answers; arguments are those of `evaluate_tables`.

    Only answers that both predict count, and intervals of differences are paired.  Raises InputError where the two have
    nothing in common, or where one holds means and the other answers.
    """
    asked = open_table(human)
    return comparison.judge_two_tables(
        [open_table(a), open_table(b)],
        asked,
        tables.people_in(asked, scales, id_column=id_column, controls=controls),
        id_column=id_column,
        seed=seed,
        minimum_n=minimum_n,
        resample=resample,
    )


def open_table(path: str | Path) -> PlainTable:
    """A plain table for `evaluate_tables`: CSV of any delimiter and encoding, Parquet, Excel, OpenDocument, SPSS, Stata,
    R, JSON lines, or a JSON object with counts of answers.

    `book.xlsx#Sheet` names a sheet (or the data frame of an R file).  Codes that a file declares as missing are empty
    cells.  Raises InputError for what cannot be read.
    """
    whole, part = Path(path), None
    if "#" in str(path) and not whole.exists():
        name, _, part = str(path).rpartition("#")
        whole = Path(name)
    suffixes = [suffix.lower() for suffix in whole.suffixes if suffix.lower() != ".gz"]
    suffix = suffixes[-1] if suffixes else ""
    if suffix == ".json":
        return PlainTable(path=whole, frame=counts_of_json(whole))
    if suffix in ("", ".parquet", ".pq"):
        return PlainTable(path=whole, frame=read_table(whole))
    if suffix != ".csv":
        return _of_any_format(_read(whole, part, is_r=suffix in (".rds", ".rda", ".rdata")), whole)
    problem = None
    try:
        frame = read_table(whole)
        if frame.width > 1:
            return PlainTable(path=whole, frame=frame)
    except InputError as error:
        problem = error
    table = _read(whole, part)
    # Another encoding or delimiter explains what was wrong; nothing else does.
    if problem is not None and not any("read " in note for note in table.notes):
        raise problem
    return _of_any_format(table, whole)


def _read(path: Path, part: str | None, *, is_r: bool = False) -> Table:
    """The table, or the part of a file that is named, as deposits are read."""
    from data_pipelines.formats.tables import read_table as read_any
    from data_pipelines.formats.tables import source_of

    source = source_of(path.name, sheet=None if is_r else part, object_name=part if is_r else None)
    try:
        return read_any(path, source)
    except InputError as error:
        hint = f"name it after the file: {path.name}#NAME"
        raise InputError(str(error).replace("say which one under `sheet`", hint)) from None


def _of_any_format(table: Table, path: Path) -> PlainTable:
    """A table of a deposit with the codes that it declares as missing empty."""
    names = set(table.frame.columns)
    if again := [name for name in sorted(names) if name.endswith(" (1)") and f"{name[:-4]} (2)" in names]:
        raise InputError(f"{path}: two columns are called {again[0][:-4]!r}; give each a name of its own.")
    columns = [
        column.set(column.is_in(sorted(table.missing[column.name])), None)
        if column.name in table.missing
        else column
        for column in table.frame.iter_columns()
    ]
    return PlainTable(
        path=path,
        frame=without_empty(pl.DataFrame(columns)),
        labels=table.value_labels,
        misfits=table.misfits,
    )
