"""The replication archive of 49 randomized US survey experiments (TESS, and Coppock's replications).

Reads `conditions.csv` (arms), `outcomes.csv` (questions and scales) and `responses.csv.gz` (answers), and, where
it is present, `crosswalk_socsci210.csv`.  The archive has no participant ids: every row is its own participant,
numbered as the rows of `responses.csv.gz` from 1 on.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping
from pathlib import Path

import polars as pl

from data_pipelines.archives.tess_arms import Condition, read_conditions
from data_pipelines.archives.tess_outcomes import Outcome, read_outcomes
from data_pipelines.archives.tess_tables import (
    CONDITIONS,
    OUTCOMES,
    RESPONSES,
    plain_text,
    read_table,
    read_tables,
)
from data_pipelines.scales.nonresponse import USUAL_CODES
from socsci_jax.studies.answer_formats import answer_format
from socsci_jax.studies.attributes import attribute_text
from socsci_jax.studies.schema import SOCSCI210_ATTRIBUTES, Item
from socsci_jax.studies.store import StudyStore
from socsci_jax.studies.store_builder import StoreBuilder

SOURCE = (
    "Replication archive of 'Predicting results of social science experiments using large language models': "
    "TESS experiments and Coppock's replications"
)
LICENSE = "CC0-1.0"

CROSSWALK = "crosswalk_socsci210.csv"

ATTRIBUTE_COLUMNS = {
    "gender": "GENDER",
    "ethnicity": "race_4",
    "party_id": "pid_3",
    "age": "age_5",
    "education": "EDUC4",
    "ideology": "ideo_3",
}
# Attributes that are an outcome's own answers: they are not known of the people who were asked it.
TELLING = {("Howat1039", "Personal_ideology"): ("ideology",)}
ATTRIBUTES = tuple(name for name in SOCSCI210_ATTRIBUTES if name in ATTRIBUTE_COLUMNS)


def build(source: Path, out: Path, *, command: str, replace: bool = False) -> StudyStore:
    """Writes the study store of the archive in folder `source` to folder `out`.

    An item's stimulus is the text common to all arms (`blurb`) and the arm's own text; its question is the
    outcome's wording, empty where the arm's text holds it; its answer format is written from the codebook's
    scale.  Every row of the responses ends up as a response or in the rejects.
    Raises InputError for a missing file or column.
    """
    source = Path(source)
    builder = StoreBuilder(attributes=ATTRIBUTES, source=SOURCE, license=LICENSE, command=command)
    tables = read_tables(source, builder)
    for study, title in _titles(tables[CONDITIONS], tables[OUTCOMES]).items():
        builder.add_study(study, title=title)
    conditions = read_conditions(tables[CONDITIONS], builder)
    outcomes = read_outcomes(tables[OUTCOMES], tables[RESPONSES], builder)
    _add_answers(tables[RESPONSES], conditions, outcomes, builder)
    _note_socsci210_ids(source / CROSSWALK, builder)
    return builder.write(out, replace=replace)


def _titles(conditions: pl.DataFrame, outcomes: pl.DataFrame) -> dict[str, str]:
    titles: dict[str, str] = {}
    for study, title in pl.concat([t.select("study", "title") for t in (conditions, outcomes)]).iter_rows():
        if study is not None:
            titles[study] = titles.get(study) or plain_text(title)
    return titles


def _add_answers(
    responses: pl.DataFrame,
    conditions: Mapping[tuple[str, str], Condition],
    outcomes: Mapping[tuple[str, str], Outcome],
    builder: StoreBuilder,
) -> None:
    cells: dict[tuple[str, str, str], str] = {}
    parsed = responses.with_columns(value=pl.col("y").cast(pl.Float64, strict=False))
    for row in parsed.iter_rows(named=True):
        number = row["row"]
        study, condition, outcome = row["study"], row["condition.name"], row["outcome.name"]
        reason = _why_not(row, conditions.get((study, condition)), outcomes.get((study, outcome)))
        if reason:
            builder.reject(
                "response",
                place=f"{RESPONSES}, row {number + 1}",
                reason=reason,
                record={"study": study, "condition": condition, "outcome": outcome, "y": row["y"]},
            )
            continue
        cell = (study, condition, outcome)
        if cell not in cells:
            cells[cell] = builder.add_item(
                _item(study, conditions[study, condition], outcomes[study, outcome])
            )
        kept = builder.add_response(
            cells[cell],
            str(number),
            row["value"],
            sample_id=number,
            place=f"{RESPONSES}, row {number + 1}",
        )
        if kept:
            told = [name for name in ATTRIBUTES if name not in TELLING.get((study, outcome), ())]
            builder.add_participant(study, str(number), {name: row[ATTRIBUTE_COLUMNS[name]] for name in told})
    for (study, outcome), names in TELLING.items():
        if any((study, outcome) == (of, asked) for of, _, asked in cells):
            builder.notes.append(
                f"Study {study}, outcome {outcome!r}: {', '.join(names)} is what was asked, and is not known of these people."
            )
    _note_equal_texts(cells, conditions, outcomes, builder)


def _why_not(row: Mapping[str, object], condition: Condition | None, outcome: Outcome | None) -> str | None:
    """The reason for which a row of the responses cannot be kept; None if it can."""
    if attribute_text(row["y"]) is None:
        return "missing answer"
    if condition is None:
        return f"condition excluded or not in {CONDITIONS}"
    if outcome is None:
        return f"outcome excluded or not in {OUTCOMES}"
    value = row["value"]
    if value is None:
        return "answer is not a number"
    scale = outcome.scale
    off_scale = not scale.allows(value) and not scale.is_alternative(value)
    if scale.is_missing(value) or (off_scale and value in USUAL_CODES):
        return f"missing answer (code {value:g})"
    if not condition.stimulus and not outcome.question:
        return "neither the condition nor the outcome has a text"
    return None


def _item(study: str, condition: Condition, outcome: Outcome) -> Item:
    return Item(
        study_id=study,
        condition=condition.name,
        outcome=outcome.name,
        stimulus=condition.stimulus,
        question=outcome.question,
        answer_format=answer_format(outcome.scale),
        scale=outcome.scale,
        is_control=condition.is_control,
    )


def _note_equal_texts(
    cells: Iterable[tuple[str, str, str]],
    conditions: Mapping[tuple[str, str], Condition],
    outcomes: Mapping[tuple[str, str], Outcome],
    builder: StoreBuilder,
) -> None:
    """People who read the same words cannot be told apart by a model, whatever their conditions are called."""
    arms = collections.defaultdict(list)
    for study, condition, outcome in cells:
        arms[
            study, outcome, conditions[study, condition].stimulus + outcomes[study, outcome].question
        ].append(condition)
    for (study, outcome, _), names in arms.items():
        if len(names) > 1:
            builder.notes.append(
                f"Study {study}, outcome {outcome!r}: these conditions have the same text: {', '.join(names)}."
            )


def _note_socsci210_ids(path: Path, builder: StoreBuilder) -> None:
    """The same experiments are in SocSci210 under other ids, which a split across both must know."""
    if not path.is_file():
        return
    rows = read_table(path, builder).select("hewitt_study", "socsci210_study_id").iter_rows(named=True)
    pairs = ", ".join(f"{row['hewitt_study']} = {row['socsci210_study_id']}" for row in rows)
    builder.notes.append(f"Studies that SocSci210 holds too, with its ids: {pairs}.")
