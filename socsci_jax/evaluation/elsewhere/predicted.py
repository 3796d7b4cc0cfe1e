"""Predictions of a plain table: draws for people or for nobody in particular, or probabilities."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.evaluation.elsewhere.columns import (
    CONDITION,
    LEVEL,
    OUTCOME,
    PERSON,
    PROB,
    PROBS,
    STUDY,
    Rejected,
    find,
    person_of,
    rejected,
    whole_ids,
)
from socsci_jax.evaluation.elsewhere.long import NO_CONDITION, PLACE, as_long, named_or
from socsci_jax.evaluation.elsewhere.people import TablePeople
from socsci_jax.evaluation.elsewhere.same_people import in_doubt
from socsci_jax.evaluation.elsewhere.unused import off_scale, texts
from socsci_jax.reading import parse_json
from socsci_jax.studies.prediction_checks import SUM_TOLERANCE
from socsci_jax.studies.predictions import Predictions
from socsci_jax.studies.schema import PREDICTIONS_SCHEMA
from socsci_jax.wording import counted

# What makes rows of levels one prediction.
_PREDICTION = ["item_id", "participant_id"]
_PROBABILITY_COLUMN = re.compile(r"^p(?:rob)?[_=](-?\d+(?:\.\d+)?)$")


@dataclasses.dataclass(frozen=True)
class Read:
    """Predictions in the project's form, and the rows that could not be used."""

    predictions: Predictions
    rejected: Rejected
    notes: tuple[str, ...] = ()


def read_predicted(
    frame: pl.DataFrame, people: TablePeople, *, path: Path, id_column: str | None = None
) -> Read:
    """Predictions of the questions that people answered, as draws or probabilities, from any of the known forms.

    People who are named in both tables are matched; predictions for others are for nobody in particular.  Raises
    InputError where no question of the two tables has the same name.
    """
    # A name that only people's table explains, explains the same column here.
    if id_column is None and person_of(frame) is None and people.person in frame.columns:
        id_column = people.person
    probability_columns = {
        name: float(m[1]) for name in frame.columns if (m := _PROBABILITY_COLUMN.match(name))
    }
    if probability_columns and find(frame, OUTCOME):
        return _probabilities(_melted(frame, probability_columns), people, path, id_column)
    packed = find(frame, PROBS)
    if packed and find(frame, OUTCOME):
        return _probabilities(_unpacked(frame, packed, people, path), people, path, id_column)
    if find(frame, LEVEL) and find(frame, PROB) and find(frame, OUTCOME):
        return _probabilities(frame, people, path, id_column)
    return _draws(frame, people, path, id_column)


def _placed(rows: pl.DataFrame, people: TablePeople, path: Path) -> tuple[pl.DataFrame, Rejected]:
    """The rows with their item; a question that people have no answers to is rejected.

    Where people's table has conditions and the predictions have none, or the other way round, nothing fits, unless it is
    one condition, which needs no name on the other side.
    """
    if rows.is_empty():
        raise InputError(
            f"{path}: not one prediction is a number; give values, or levels with probabilities."
        )
    known = people.item_ids
    conditions = known["condition"].unique()
    if (
        rows["condition"].n_unique() == 1
        and len(conditions) == 1
        and NO_CONDITION in (rows["condition"][0], conditions[0])
    ):
        rows = rows.with_columns(condition=pl.lit(conditions[0]))
    if rows["study"].n_unique() == 1 and known["study"].n_unique() == 1:
        rows = rows.with_columns(study=pl.lit(known["study"][0]))
    joined = rows.join(known, on=list(PLACE), how="left", maintain_order="left")
    missing = joined.filter(pl.col("item_id").is_null())
    kept = joined.filter(pl.col("item_id").is_not_null())
    if kept.is_empty():
        first, asked = rows.select(PLACE).row(0), known.select(PLACE).row(0)
        raise InputError(
            f"{path}: no prediction is of a question that {people.path} has answers to: predicted are for instance "
            f"{first}, answered {asked} (study, condition, outcome); give both tables the same names."
        )
    return kept, rejected(
        str(path), missing, reason="people have no answers to this question", value="outcome"
    )


def _matched(rows: pl.DataFrame, people: TablePeople) -> pl.DataFrame:
    """`participant_id` null where the person did not answer in people's table."""
    known = people.labeled.select("study_id", "participant_id").unique().with_columns(_known=pl.lit(True))
    joined = rows.join(
        known,
        left_on=["study", "participant_id"],
        right_on=["study_id", "participant_id"],
        how="left",
        maintain_order="left",
    )
    return joined.with_columns(participant_id=pl.when(pl.col("_known")).then("participant_id")).drop("_known")


def _draws(frame: pl.DataFrame, people: TablePeople, path: Path, id_column: str | None) -> Read:
    if id_column is None and person_of(frame) is None and find(frame, OUTCOME) is not None:
        frame = frame.with_columns(participant_id=pl.lit("nobody"))
        id_column = "participant_id"
    long = as_long(frame, table=str(path), id_column=id_column, declared=people.questions)
    rows, bad = _placed(long.answers, people, path)
    rows = _matched(rows, people)
    values = rows["value"].to_numpy().copy()
    for (study, outcome), scale in people.scales.items():
        if scale.rounded:
            of = ((rows["study"] == study) & (rows["outcome"] == outcome)).to_numpy()
            values[of] = scale.levels_of(values[of])
    rows = rows.with_columns(value=pl.Series(values)).with_columns(
        draw=pl.int_range(pl.len()).over("item_id", "participant_id").cast(pl.Int32)
    )
    notes = [*in_doubt(rows, people), *long.notes, *texts(frame, long, people), *off_scale(rows, people)]
    nobody = rows["participant_id"].null_count()
    if nobody == rows.height:
        notes.append(
            "No predicted person is one of those who answered: predictions stand for everybody alike."
        )
    elif nobody:
        notes.append(
            f"{counted(nobody, 'prediction')} of people who did not answer stand for everybody alike."
        )
    return Read(Predictions(frame=_filled(rows)), long.rejected + bad, tuple(notes))


def _melted(frame: pl.DataFrame, columns: dict[str, float]) -> pl.DataFrame:
    """Probabilities in one column for each level as one row each."""
    long = frame.with_row_index("_owner").unpivot(
        list(columns),
        index=["_owner", *(n for n in frame.columns if n not in columns)],
        variable_name="level",
        value_name="prob",
    )
    levels = {name: str(level) for name, level in columns.items()}
    return (
        long.with_columns(level=pl.col("level").replace_strict(levels))
        .sort("_owner", maintain_order=True)
        .drop("_owner")
    )


def _unpacked(frame: pl.DataFrame, column: str, people: TablePeople, path: Path) -> pl.DataFrame:
    """Probabilities that stand in one cell as JSON, `{"1": 0.2, ...}` or a list over the levels, as one row each.

    A cell that is neither is rejected; raises InputError for a list that has not one number for each level.
    """
    outcome = find(frame, OUTCOME)
    assert outcome is not None
    sizes = {name: scale.scale.levels for (_, name), scale in people.scales.items()}
    levels: list[list[str | None]] = []
    probs: list[list[str]] = []
    for row, (asked, text) in enumerate(frame.select(outcome, column).iter_rows(), start=1):
        where = f"{path}, row {row}, column {column!r}"
        try:
            content = None if text is None else parse_json(text, where=where)
        except InputError:
            content = text
        own = sizes.get(asked, ())
        if isinstance(content, list):
            if own and len(content) != len(own):
                raise InputError(
                    f"{where}: {counted(len(content), 'probability')} for {asked!r}, whose scale has {counted(len(own), 'level')}, {own[0]:g} to "
                    f'{own[-1]:g}; give one for each, or name the levels as in {{"1": 0.2, "2": 0.8}}.'
                )
            content = {str(level): p for level, p in zip(own, content, strict=False)}
        if content is not None and not isinstance(content, dict):
            # One row without a level, which is rejected with its text.
            levels.append([None])
            probs.append([text])
            continue
        codes = people.codes.get(asked, {})
        levels.append([codes.get(str(level).lower(), str(level)) for level in content or {}])
        probs.append([str(p) for p in (content or {}).values()])
    lists = pl.List(pl.String)
    return (
        frame.drop(column)
        .with_columns(level=pl.Series(levels, dtype=lists), prob=pl.Series(probs, dtype=lists))
        .explode("level", "prob")
    )


def _probabilities(frame: pl.DataFrame, people: TablePeople, path: Path, id_column: str | None) -> Read:
    rows = _rows_of_levels(frame, id_column)
    usable = (
        pl.col("_level").is_finite().fill_null(False)
        & (pl.col("_prob").is_finite() & (pl.col("_prob") >= 0)).fill_null(False)
        & pl.col("outcome").is_not_null()
    )
    rejects = rejected(str(path), rows.filter(~usable), reason="no level with a probability of 0 or more")
    placed, bad = _placed(rows.filter(usable), people, path)
    levels_of = {i: set(map(float, item.scale.levels)) for i, item in people.item_by_id.items()}
    matched = _matched(placed, people)
    kept, unsound = _sound(matched, levels_of, path)
    rejects = rejects + unsound
    if kept.is_empty():
        first = rejects.frame.row(0, named=True) if rejects.frame.height else None
        told = (
            "" if first is None else f" Of {first['column']!r}: {first['reason']} (found {first['value']})."
        )
        raise InputError(
            f"{path}: no prediction has probabilities that sum to 1 over the levels of its scale.{told}"
        )
    cleaned = [
        _on_scale(levels, probs, levels_of[item])
        for item, levels, probs in kept.select("item_id", "levels", "probs").iter_rows()
    ]
    frame = kept.select(_PREDICTION).with_columns(
        levels=pl.Series([levels for levels, _ in cleaned], dtype=pl.List(pl.Float64)),
        probs=pl.Series([probs for _, probs in cleaned], dtype=pl.List(pl.Float64)),
    )
    return Read(Predictions(frame=_filled(frame)), rejects + bad, tuple(in_doubt(matched, people)))


def _rows_of_levels(frame: pl.DataFrame, id_column: str | None) -> pl.DataFrame:
    """row, participant_id, study, condition, outcome, raw (the text of a probability), _level, _prob; empty cells are no rows."""
    person = id_column or find(frame, PERSON)
    study, condition = find(frame, STUDY), find(frame, CONDITION)
    outcome, level, prob = (find(frame, names) for names in (OUTCOME, LEVEL, PROB))
    assert outcome and level and prob
    return (
        frame.with_row_index("row", offset=1)
        .select(
            "row",
            (whole_ids(person) if person else pl.lit(None, pl.String)).alias("participant_id"),
            named_or(study, "study").alias("study"),
            named_or(condition, NO_CONDITION).alias("condition"),
            pl.col(outcome).alias("outcome"),
            pl.col(prob).alias("raw"),
            pl.col(level).str.strip_chars().cast(pl.Float64, strict=False).alias("_level"),
            pl.col(prob).cast(pl.Float64, strict=False).alias("_prob"),
        )
        .filter(pl.col("raw").is_not_null())
    )


def _sound(
    rows: pl.DataFrame, levels_of: Mapping[str, set[float]], path: Path
) -> tuple[pl.DataFrame, Rejected]:
    """A row for each prediction that sums to 1 over levels of its scale, with lists `levels` and `probs`."""
    on_scale = pl.Series(
        [level in levels_of[item] for item, level in rows.select("item_id", "_level").iter_rows()],
        dtype=pl.Boolean,
    )
    off = rows.filter(~on_scale & (rows["_prob"] > 0))
    grouped = rows.group_by(_PREDICTION, maintain_order=True).agg(
        pl.col("row").first(),
        pl.col("outcome").first(),
        pl.col("_level").alias("levels"),
        pl.col("_prob").alias("probs"),
        pl.col("_prob").sum().alias("total"),
        pl.col("_level").n_unique().alias("different"),
    )
    reasons = {
        "the probabilities do not sum to 1": grouped.filter((pl.col("total") - 1).abs() > SUM_TOLERANCE),
        "a level is given twice": grouped.filter(pl.col("different") < pl.col("levels").list.len()),
        "a level is not on the scale": grouped.join(
            off.select(_PREDICTION), on=_PREDICTION, how="semi", nulls_equal=True
        ),
    }
    rejects = Rejected.none()
    for reason, rows_of in reasons.items():
        rejects = rejects + rejected(str(path), rows_of, reason=reason, value="total")
    refused = pl.concat([rows_of.select(_PREDICTION) for rows_of in reasons.values()])
    return grouped.join(refused, on=_PREDICTION, how="anti", nulls_equal=True), rejects


def _on_scale(
    levels: list[float], probs: list[float], allowed: set[float]
) -> tuple[list[float], list[float]]:
    pairs = sorted((level, p) for level, p in zip(levels, probs, strict=True) if level in allowed)
    total = sum(p for _, p in pairs)
    return [level for level, _ in pairs], [p / total for _, p in pairs]


def _filled(frame: pl.DataFrame) -> pl.DataFrame:
    """The columns of a predictions table, the missing ones null."""
    empty = pl.from_arrow(PREDICTIONS_SCHEMA.empty_table())
    assert isinstance(empty, pl.DataFrame)
    known = [name for name in empty.columns if name in frame.columns]
    missing = [
        pl.lit(None, dtype=empty.schema[name]).alias(name) for name in empty.columns if name not in known
    ]
    return frame.with_columns(missing).select(pl.col(name).cast(empty.schema[name]) for name in empty.columns)
