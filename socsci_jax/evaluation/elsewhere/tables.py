"""Evaluates predictions of a plain table against people's answers of another, without any store."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.evaluation.elsewhere.carried import without_carried
from socsci_jax.evaluation.elsewhere.columns import (
    MEAN,
    OUTCOME,
    VALUE,
    PlainTable,
    Rejected,
    find,
    person_of,
)
from socsci_jax.evaluation.elsewhere.long import MOST_LABELS, as_long, yes
from socsci_jax.evaluation.elsewhere.means import evaluate_means
from socsci_jax.evaluation.elsewhere.people import TablePeople, people_of
from socsci_jax.evaluation.elsewhere.predicted import Read, read_predicted
from socsci_jax.evaluation.elsewhere.scales import TableScale, declared_for, read_scales
from socsci_jax.evaluation.elsewhere.shapes import Codes, people_of_counts, questions_in_columns, with_codes
from socsci_jax.evaluation.evaluate import evaluate
from socsci_jax.evaluation.result import Evaluation
from socsci_jax.evaluation.robustness import BASE
from socsci_jax.foreign_text import write_csv
from socsci_jax.studies.predictions import Predictions
from socsci_jax.studies.schema import VARIANT
from socsci_jax.studies.trained_on import UNSEEN
from socsci_jax.wording import counted, counted_of, first_listed


@dataclasses.dataclass(frozen=True)
class TableEvaluation:
    """The evaluation, and the rows of either table that could not be used, with reasons."""

    evaluation: Evaluation
    rejected: pl.DataFrame

    @property
    def table(self) -> pl.DataFrame:
        """The evaluation table, as that of `Evaluation`."""
        return self.evaluation.table

    def write(self, folder: str | Path) -> Path:
        """Writes what `Evaluation.write` writes, and rejects.csv next to it; returns the report's path."""
        page = self.evaluation.write(folder)
        write_csv(self.rejected, Path(folder) / "rejects.csv")
        return page


def judge_table(
    given: PlainTable,
    asked: PlainTable,
    people: TablePeople,
    *,
    id_column: str | None,
    seed: int,
    minimum_n: int,
    resample: str | None,
    also: Sequence[PlainTable],
) -> TableEvaluation:
    """Judges the predictions in `given` by the answers in `asked`, which `people_in` has read as `people`.

    Long tables have columns participant_id, outcome and value (and condition, study, weight where there are any); wide
    ones one row a person and a column of numbers for each question; people's may be counts (outcome, level, count).
    Predictions may also be probabilities (columns p_1, p_2, ..., or level and prob, or probs with JSON) or means with
    intervals (condition, outcome, mean or ate, pi_lower, pi_upper).  `also` are other predictors' tables, whose mean with
    this one is a row of every table of distributions and people.  Raises InputError where nothing can be matched; single
    rows that cannot be used are rejected and counted.
    """
    frame, turned = in_shape(given, people)
    answers = given.path
    notes = [
        "No split is known: nothing here says whether the predictor had seen these answers.",
        *_untold(given.frame),
    ]
    if turned:
        notes.append(f"{answers}: questions stand in rows and people in columns; the table was turned round.")
    if holds_means(frame):
        evaluation, bad = evaluate_means(
            frame, people, path=answers, seed=seed, minimum_n=minimum_n, resample=resample
        )
    else:
        read = predictions_in(frame, people, path=answers, id_column=id_column)
        bad = read.rejected
        notes += read.notes
        others = [_predictions_of(table, people, id_column=id_column) for table in also]
        evaluation = evaluate(
            read.predictions,
            people,
            people.labeled,
            seed=seed,
            minimum_n=minimum_n,
            resample=resample,
            also=[read.predictions for read in others],
        )
        for read in others:
            bad = bad + read.rejected
    notes += [*people.notes_on(judged_in(evaluation)), *_texts_in_both(frame, asked.frame, people)]
    every = unusable(people, bad, (asked, given, *also))
    if every.height:
        notes.append(
            f"{counted(every.height, 'row or cell', 'rows or cells')} could not be used and are listed in rejects.csv: {reasons(every)}."
        )
    metadata = {**evaluation.metadata, "predictions": {"table": str(answers)}}
    return TableEvaluation(
        dataclasses.replace(evaluation, notes=(*notes, *evaluation.notes), metadata=metadata), every
    )


def judged_in(evaluation: Evaluation) -> frozenset[str]:
    """The questions that an evaluation judges, by distributions or by means."""
    return frozenset(evaluation.background.items["outcome"]) | frozenset(
        evaluation.condition_means["outcome"]
    )


def unusable(people: TablePeople, bad: Rejected, given: Sequence[PlainTable]) -> pl.DataFrame:
    """All that could not be used: of people's answers, of predictions (`bad`), and rows of a file that do not fit its table."""
    return sum((table.rejected for table in given), people.rejected + bad).frame


def holds_means(frame: pl.DataFrame) -> bool:
    """Whether a table predicts means or effects, and not answers."""
    return bool(find(frame, MEAN) and find(frame, OUTCOME) and not find(frame, VALUE))


def in_shape(table: PlainTable, people: TablePeople) -> tuple[pl.DataFrame, bool]:
    """A table of predictions with questions in columns and codes for labels, and whether it was turned round."""
    _check_unseen(table.frame, table.path)
    turned = questions_in_columns(table.frame, people.questions)
    return with_codes(table.frame if turned is None else turned, people.codes), turned is not None


def _predictions_of(table: PlainTable, people: TablePeople, *, id_column: str | None) -> Read:
    """Predictions of one more predictor; raises InputError for means, of which no mean can be taken."""
    frame, _ = in_shape(table, people)
    if find(frame, MEAN) and not find(frame, VALUE):
        raise InputError(
            f"{table.path}: holds means; several predictors are averaged by draws or probabilities."
        )
    return _read_variants(frame, people, path=table.path, id_column=_own_id(frame, id_column))


def people_in(
    table: PlainTable, declared: str | Path | None, *, id_column: str | None, controls: Collection[str]
) -> TablePeople:
    """People's answers, with codes where the table has labels; `declared` is a file of scales."""
    scales: Mapping[str, TableScale] = read_scales(declared) if declared is not None else {}
    frame = people_of_counts(table.frame, table=str(table.path))
    outcome = find(frame, OUTCOME)
    questions = frame.columns if outcome is None else frame[outcome].drop_nulls().unique().to_list()
    stated = {name: scale for name in questions if (scale := declared_for(name, scales)) is not None}
    codes: Codes = {
        name: {label.lower(): code for code, label in table.labels.get(name, {}).items()}
        | dict(stated[name].codes if name in stated else {})
        for name in questions
    }
    long = as_long(
        with_codes(frame, codes), table=str(table.path), id_column=id_column, declared=stated.keys()
    )
    return people_of(
        long, path=table.path, scales=scales, controls=controls, labels=table.labels, codes=codes
    )


def _texts_in_both(predicted: pl.DataFrame, human: pl.DataFrame, people: TablePeople) -> list[str]:
    """A sentence on columns of few texts that both wide tables have, and that differ: they may be answers."""
    mine, theirs = person_of(predicted), person_of(human)
    if mine is None or theirs is None or find(human, OUTCOME) is not None:
        return []
    shared = [
        name
        for name in human.columns
        if name in predicted.columns and name not in {mine, theirs} | people.questions
    ]
    one, other = (
        frame.select(pl.col(person).alias("\nid"), *shared)
        for frame, person in ((human, theirs), (predicted, mine))
    )
    both = one.join(other, on="\nid", suffix="\n")
    differ = [
        name
        for name in shared
        if 2 <= human[name].n_unique() <= MOST_LABELS and (both[name] != both[f"{name}\n"]).any()
    ]
    if not differ:
        return []
    names = first_listed(list(map(repr, differ)))
    return [
        f"Not judged, as they hold texts: {names}. If these are answers, give their labels in their order in `scales=`, for "
        f"instance `{differ[0]}: [never, sometimes, always]`."
    ]


def predictions_in(frame: pl.DataFrame, people: TablePeople, *, path: Path, id_column: str | None) -> Read:
    """The predictions of a table in shape, without what is known of people and stands in both tables."""
    read = _read_variants(frame, people, path=path, id_column=_own_id(frame, id_column))
    kept, notes = without_carried(read.predictions.frame.drop("seen", "unseen", strict=False), people)
    predictions = dataclasses.replace(read.predictions, frame=kept)
    return dataclasses.replace(read, predictions=predictions, notes=(*read.notes, *notes))


def _read_variants(frame: pl.DataFrame, people: TablePeople, *, path: Path, id_column: str | None) -> Read:
    """The predictions, each variant of a table that has a column `variant` read by itself."""
    column = find(frame, (VARIANT,))
    if column is None:
        return read_predicted(frame, people, path=path, id_column=id_column)
    frames, bad, notes = [], Rejected.none(), dict[str, None]()
    rows = frame.with_row_index("_row", offset=1).with_columns(pl.col(column).fill_null(BASE))
    for (name,), own in rows.partition_by(column, as_dict=True, maintain_order=True).items():
        read = read_predicted(own.drop("_row", column), people, path=path, id_column=id_column)
        frames.append(read.predictions.frame.with_columns(pl.lit(str(name)).alias(VARIANT)))
        # Row numbers of the whole table again.
        at = pl.Series([0, *own["_row"].to_list()])
        bad = bad + Rejected(
            read.rejected.frame.with_columns(row=at.gather(read.rejected.frame["row"]).cast(pl.Int64))
        )
        notes |= dict.fromkeys(read.notes)
    return Read(Predictions(frame=pl.concat(frames)), bad, tuple(notes))


def _untold(frame: pl.DataFrame) -> list[str]:
    """A note where a table tells of some rows whether they were trained on, or could, and of others does not."""
    columns = [name for names in (("seen",), ("unseen",)) if (name := find(frame, names))]
    untold = frame.select(pl.all_horizontal(pl.col(columns).is_null())).to_series().sum() if columns else 0
    note = f"It is not known whether the answers of {untold:,} of {counted(frame.height, 'row')} were trained on."
    return [note] if untold else []


def _check_unseen(frame: pl.DataFrame, path: Path) -> None:
    """Raises InputError if the table itself says of rows that they were trained on."""
    told = []
    if name := find(frame, ("seen",)):
        told.append(yes(frame[name], str(path)))
    if name := find(frame, ("unseen",)):
        told.append(frame[name].str.strip_chars().str.to_lowercase() == UNSEEN[-1])
    seen = frame.filter(pl.any_horizontal(told)).height if told else 0
    if seen:
        raise InputError(
            f"{path}: {counted_of(seen, frame.height, 'row')} marked as seen in training; what was trained on says nothing "
            "of new answers. Remove these rows, and with them the answers that they are about."
        )


def _own_id(frame: pl.DataFrame, id_column: str | None) -> str | None:
    return id_column if id_column in frame.columns else None


def reasons(rejects: pl.DataFrame) -> str:
    counted = rejects.group_by("reason").len().sort("len", "reason", descending=[True, False])
    return ", ".join(f"{n:,} × {reason}" for reason, n in counted.iter_rows())
