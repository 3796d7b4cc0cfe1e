"""Evaluates predictions of a plain table against people's answers of another, without any store."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path

import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.evaluation.elsewhere.columns import MEAN, OUTCOME, VALUE, Rejected, find, read_table
from socsci_jax.evaluation.elsewhere.long import as_long, yes
from socsci_jax.evaluation.elsewhere.means import evaluate_means
from socsci_jax.evaluation.elsewhere.people import TablePeople, people_of
from socsci_jax.evaluation.elsewhere.predicted import Read, read_predicted
from socsci_jax.evaluation.elsewhere.scales import read_scales
from socsci_jax.evaluation.evaluate import evaluate
from socsci_jax.evaluation.result import Evaluation
from socsci_jax.evaluation.robustness import BASE
from socsci_jax.foreign_text import write_csv
from socsci_jax.studies.predictions import VARIANT, Predictions
from socsci_jax.studies.trained_on import UNSEEN


@dataclasses.dataclass(frozen=True)
class TableEvaluation:
    """The evaluation, and the rows of either table that could not be used, with reasons."""

    evaluation: Evaluation
    rejected: pl.DataFrame

    def write(self, folder: str | Path) -> Path:
        """Writes what `Evaluation.write` writes, and rejects.csv beside it; returns the report's path."""
        page = self.evaluation.write(folder)
        write_csv(self.rejected, Path(folder) / "rejects.csv")
        return page


def evaluate_tables(
    answers: str | Path,
    human: str | Path,
    *,
    scales: str | Path | None = None,
    id_column: str | None = None,
    controls: Collection[str] = (),
    seed: int = 0,
    minimum_n: int = 10,
    resample: str | None = None,
) -> TableEvaluation:
    """Judges the predictions in `answers` by the people in `human`.

    Both are CSV (also .gz) or Parquet.  Long tables have columns participant_id, outcome and value (and condition,
    study, weight where there are any); wide ones one row a person and a column of numbers for each question.
    Predictions may also be probabilities (columns p_1, p_2, ..., or level and prob) or means with intervals (condition,
    outcome, mean or ate, pi_lower, pi_upper).  `scales` is a YAML file (`question: 1 to 5`); without it scales are
    observed in people's answers.  `controls` names control conditions.  Raises InputError where nothing can be
    matched; single rows that cannot be used are rejected and counted.
    """
    answers, human = Path(answers), Path(human)
    declared = read_scales(scales) if scales is not None else {}
    people = people_of(
        as_long(read_table(human), table=str(human), id_column=id_column),
        path=human,
        scales=declared,
        controls=controls,
    )
    frame = read_table(answers)
    _check_unseen(frame, answers)
    notes = [
        "No split is known: nothing here says whether the predictor had seen these answers.",
        *people.notes,
    ]
    if find(frame, MEAN) and find(frame, OUTCOME) and not find(frame, VALUE):
        found, bad = evaluate_means(
            frame, people, path=answers, seed=seed, minimum_n=minimum_n, resample=resample
        )
    else:
        read = _read_variants(frame, people, path=answers, id_column=_own_id(frame, id_column))
        bad = read.rejected
        notes += read.notes
        frame = read.predictions.frame.drop("seen", "unseen", strict=False)
        known = dataclasses.replace(read.predictions, frame=frame)
        found = evaluate(known, people, people.labeled, seed=seed, minimum_n=minimum_n, resample=resample)
    every = (people.rejected + bad).frame
    if every.height:
        notes.append(
            f"{every.height:,} cells could not be used and are listed in rejects.csv: {_reasons(every)}."
        )
    metadata = {**found.metadata, "predictions": {"table": str(answers)}}
    return TableEvaluation(dataclasses.replace(found, notes=(*notes, *found.notes), metadata=metadata), every)


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
            f"{path}: {seen:,} of {frame.height:,} rows are marked as seen in training; what was trained on says nothing "
            "of new answers. Remove these rows, and with them the answers that they are about."
        )


def _own_id(frame: pl.DataFrame, id_column: str | None) -> str | None:
    return id_column if id_column in frame.columns else None


def _reasons(rejects: pl.DataFrame) -> str:
    counted = rejects.group_by("reason").len().sort("len", "reason", descending=[True, False])
    return ", ".join(f"{n:,} × {reason}" for reason, n in counted.iter_rows())
