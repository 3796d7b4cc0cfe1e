"""Two predictors that are plain tables, judged on the same people's answers without a store."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypedDict

import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.evaluation.compare import Comparison, compare, paired
from socsci_jax.evaluation.elsewhere import tables
from socsci_jax.evaluation.elsewhere.columns import MEAN, PlainTable, Rejected, find
from socsci_jax.evaluation.elsewhere.long import PLACE
from socsci_jax.evaluation.elsewhere.means import evaluate_means, given_means
from socsci_jax.evaluation.elsewhere.people import TablePeople
from socsci_jax.wording import counted

Given = tuple[PlainTable, pl.DataFrame]


class _Resampling(TypedDict):
    """What both predictors are resampled with."""

    seed: int
    minimum_n: int
    resample: str | None


def judge_two_tables(
    predicted: Sequence[PlainTable],
    asked: PlainTable,
    people: TablePeople,
    *,
    id_column: str | None,
    seed: int,
    minimum_n: int,
    resample: str | None,
) -> Comparison:
    """Judges both tables of predictions by the answers in `asked` that both predict, with the same resamples.

    `people_in` has read them as `people`; forms of tables are those of `judge_table`.  Two tables of means (or of effects)
    are compared by effects, on the conditions and questions that both have.  Raises InputError where the two have nothing
    in common, or where one holds means and the other answers.
    """
    given = [(table, tables.in_shape(table, people)[0]) for table in predicted]
    same: _Resampling = {"seed": seed, "minimum_n": minimum_n, "resample": resample}
    of_means = [tables.holds_means(frame) for _, frame in given]
    if all(of_means):
        comparison, bad = _of_means(given, people, same)
        notes: list[str] = []
    elif any(of_means):
        means, answers = (given[k][0].path for k in (of_means.index(True), of_means.index(False)))
        raise InputError(
            f"{means} holds means and {answers} answers; give the means of both, or the answers of both."
        )
    else:
        read = [
            tables.predictions_in(frame, people, path=table.path, id_column=id_column)
            for table, frame in given
        ]
        comparison = compare(read[0].predictions, read[1].predictions, people, people.labeled, **same)
        bad = read[0].rejected + read[1].rejected
        notes = [note for one in read for note in one.notes]
    every = tables.unusable(people, bad, (asked, *predicted))
    if every.height:
        rows = counted(every.height, "row or cell", "rows or cells")
        notes.append(f"{rows} could not be used: {tables.reasons(every)}.")
    told = dict.fromkeys((*people.notes_on(tables.judged_in(comparison.a)), *notes, *comparison.notes))
    return dataclasses.replace(comparison, notes=tuple(told))


def _of_means(given: list[Given], people: TablePeople, same: _Resampling) -> tuple[Comparison, Rejected]:
    kinds = {find(frame, MEAN) == find(frame, ("ate",)) for _, frame in given}
    if len(kinds) > 1:
        raise InputError("one table holds means and the other effects (column ate); give the same of both.")
    places = [given_means(frame, people, table.path)[0].select(PLACE) for table, frame in given]
    common = places[0].join(places[1], on=list(PLACE), how="semi")
    if common.is_empty():
        raise InputError("no condition and question is predicted by both; give both tables the same names.")
    judged = [evaluate_means(frame, people, path=table.path, only=common, **same) for table, frame in given]
    (first, bad), (second, more) = judged
    items = people.item_ids.join(common, on=list(PLACE), how="semi")
    answers = people.labeled.join(items, on="item_id", how="semi").height
    comparison = Comparison(
        table=paired(first, second),
        a=first,
        b=second,
        answers=answers,
        excluded=people.labeled.height - answers,
    )
    return comparison, bad + more
