"""Predictions with people's answers as tables for other programs: long, and wide with labels (SPSS, R)."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.storage import new_file
from socsci_jax.studies.predictions import Predictions
from socsci_jax.studies.schema import NOTHING_KNOWN, Item
from socsci_jax.studies.seen import answers_seen
from socsci_jax.studies.store import StudyStore
from socsci_jax.wording import counted

KEY = ["study", "condition", "participant_id"]
PREDICTED, DRAWN = "_predicted", "_drawn"
_NO_NAME = re.compile(r"[^A-Za-z0-9_]")
# SPSS takes 64 bytes for a name and 255 for a label.
_LONGEST_NAME, _LONGEST_LABEL = 40, 255
# What SPSS's commands are made of cannot be a name.
_RESERVED = {"ALL", "AND", "BY", "EQ", "GE", "GT", "LE", "LT", "NE", "NOT", "OR", "TO", "WITH"}


def repeated_answers(predictions: Predictions, store: StudyStore) -> int:
    """How many answers of predicted items `long_table` excludes, because the person answered the item before."""
    asked = store.responses.join(predictions.frame.select("item_id").unique(), on="item_id", how="semi")
    return asked.height - asked.select("item_id", "participant_id").n_unique()


def long_table(predictions: Predictions, store: StudyStore, *, seed: int = 0) -> pl.DataFrame:
    """One row a predicted person and item: study, condition, outcome, participant_id, is_control, answer, predicted,
    drawn, seen, and a column for each attribute.

    `answer` is the first where a person answered an item several times (`repeated_answers` counts the others), null where
    they did not answer; `predicted` the mean over the scale's levels (null on scales
    without an order), `drawn` one answer drawn from the probabilities, or the first draw that is an allowed answer.
    """
    told = _told(predictions.frame, store.item_by_id, seed=seed)
    items = store.item_places.select(
        "item_id", "condition", "outcome", "is_control", study=pl.col("study_id")
    )
    answers = store.responses.select("item_id", "participant_id", answer="value").unique(
        ["item_id", "participant_id"], keep="first", maintain_order=True
    )
    people = store.participants.select(
        pl.col("study_id").alias("study"), "participant_id", *_weight(store), *_attributes(store)
    )
    return (
        told.join(items, on="item_id", how="left", maintain_order="left")
        .join(answers, on=["item_id", "participant_id"], how="left", maintain_order="left")
        .join(people, on=["study", "participant_id"], how="left", maintain_order="left")
        .select("study", "condition", "outcome", "participant_id", "is_control", "answer", "predicted", "drawn", "seen",
                *people.columns[2:])
    )  # fmt: skip


def _weight(store: StudyStore) -> list[str]:
    return ["weight"] if store.participants["weight"].count() else []


def _attributes(store: StudyStore) -> list[pl.Expr]:
    names = [name for name in store.attributes if name != NOTHING_KNOWN]
    return [pl.col("attributes").struct.field(name).alias(name) for name in names]


def _told(frame: pl.DataFrame, item_by_id: Mapping[str, Item], *, seed: int) -> pl.DataFrame:
    """item_id, participant_id, predicted, drawn, seen of each person and item."""
    rng = np.random.default_rng(seed)
    rows = []
    key = ["item_id", "participant_id"]
    named = frame.filter(pl.col("participant_id").is_not_null()).sort(*key, "draw", nulls_last=False)
    seen = answers_seen(named)
    for (item_id, person), own in named.partition_by(key, as_dict=True, maintain_order=True).items():
        scale = item_by_id[str(item_id)].scale
        exact = own.filter(pl.col("probs").is_not_null())
        if exact.height:
            levels, probs = (np.asarray(exact[name][0], dtype=float) for name in ("levels", "probs"))
            drawn = float(levels[np.searchsorted(np.cumsum(probs), rng.random() * probs.sum())])
            ordered = np.isin(levels, np.asarray(scale.levels, dtype=float))
            mass = probs[ordered].sum()
            mean = float(levels[ordered] @ probs[ordered] / mass) if mass > 0 else None
        else:
            values = [v for v in own["value"].drop_nulls() if scale.allows(v) or scale.is_alternative(v)]
            if not values:
                continue
            drawn = values[0]
            places = [v for v in values if not scale.is_alternative(v)]
            mean = float(np.mean(places)) if places else None
        rows.append((item_id, person, None if scale.nominal else mean, drawn, seen.get((item_id, person))))
    schema = {"item_id": pl.String, "participant_id": pl.String, "predicted": pl.Float64, "drawn": pl.Float64,
              "seen": pl.Boolean}  # fmt: skip
    if not rows:
        raise InputError(
            "not one prediction is for a named person; nothing can be put next to people's answers."
        )
    return pl.DataFrame(rows, schema=schema, orient="row")


def wide_table(long: pl.DataFrame, study: str | None = None) -> pl.DataFrame:
    """One row a person (and condition) of one study: attributes, and for each outcome its answer, OUTCOME_predicted and
    OUTCOME_drawn.

    Raises InputError if there are several studies and none is named, and where a person was asked an outcome in several
    texts of one condition, for which such a row has one place.
    """
    studies = long["study"].unique(maintain_order=True).to_list()
    if study is None and len(studies) > 1:
        raise InputError(
            f"predictions are of {counted(len(studies), 'study')}; name one (`study=`): {', '.join(studies[:10])}."
        )
    own = long.filter(pl.col("study") == (study or studies[0]))
    if own.is_empty():
        raise InputError(f"no prediction is of study {study!r}; found {', '.join(studies[:10])}.")
    again = own.filter(pl.struct(*KEY, "outcome").is_duplicated())
    if again.height:
        person, outcome = again.select("participant_id", "outcome").row(0)
        raise InputError(
            f"participant {person!r} was asked outcome {outcome!r} in several texts of one condition, for which a row a "
            "person has one place; write `form=long`."
        )
    outcomes = own["outcome"].unique(maintain_order=True).to_list()
    kinds = {"answer": "", "predicted": PREDICTED, "drawn": DRAWN}
    rest = [n for n in own.columns if n not in (*KEY, *kinds, "outcome", "seen", "is_control")]
    if clash := sorted(set(rest) & {outcome + end for outcome in outcomes for end in kinds.values()}):
        own = own.rename({name: f"attribute_{name}" for name in clash})
        rest = [f"attribute_{name}" if name in clash else name for name in rest]
    cells = [
        pl.col(kind).filter(pl.col("outcome") == outcome).first().alias(outcome + end)
        for outcome in outcomes
        for kind, end in kinds.items()
    ]
    return own.group_by(KEY, maintain_order=True).agg(*(pl.col(name).first() for name in rest), *cells)


@dataclasses.dataclass(frozen=True)
class Labels:
    """What a labeled file says of its columns: a text each, and a text for each of their values."""

    columns: Mapping[str, str]
    values: Mapping[str, Mapping[float, str]]
    missing: Mapping[str, list[Any]]


def labels_of(wide: pl.DataFrame, item_by_id: Mapping[str, Item]) -> Labels:
    """Questions and labels of levels, of the columns of a wide table; alternatives are user-defined missing values.

    Where arms word a question or its levels differently, the first arm's words stand.
    """
    study = wide["study"][0]
    columns: dict[str, str] = {}
    values: dict[str, Mapping[float, str]] = {}
    missing: dict[str, list[Any]] = {}
    for item in item_by_id.values():
        if item.study_id != study or item.outcome not in wide.columns or item.outcome in columns:
            continue
        question, scale = " ".join(item.question.split()) or item.outcome, item.scale
        told = dict(zip(map(float, scale.levels), scale.labels)) if scale.labels else {}
        told |= dict(zip(map(float, scale.alternatives), scale.alternative_labels))
        columns[item.outcome] = question
        columns[item.outcome + PREDICTED] = f"Predicted mean: {question}"
        columns[item.outcome + DRAWN] = f"Drawn from the prediction: {question}"
        for name in (item.outcome, item.outcome + DRAWN):
            values[name] = {value: text for value, text in told.items() if text}
            missing[name] = [float(value) for value in scale.alternatives]
    return Labels(columns, values, missing)


def write_sav(wide: pl.DataFrame, labels: Labels, path: Path) -> None:
    """Writes a wide table as SPSS's .sav, which `haven::read_sav` reads as labeled columns."""
    try:
        import pyreadstat
    except ImportError as error:
        raise InputError(
            f"{path}: SPSS files need the package pyreadstat; pip install 'socsci_jax[formats]'."
        ) from error
    names = sav_names(wide.columns)
    with new_file(path) as partial:
        pyreadstat.write_sav(
            wide.rename(names).to_pandas(),
            str(partial),
            column_labels={names[n]: _cut(labels.columns.get(n, n)) for n in wide.columns},
            variable_value_labels={
                names[n]: {v: t[:120] for v, t in of.items()} for n, of in labels.values.items() if of
            },
            # SPSS takes three codes for one column.
            missing_ranges={names[n]: of for n, of in labels.missing.items() if 0 < len(of) <= 3},
        )


def _cut(text: str) -> str:
    return text.encode()[:_LONGEST_LABEL].decode(errors="ignore")


def sav_names(columns: list[str]) -> dict[str, str]:
    """Names that SPSS takes: Latin letters, digits and _, a letter first, none twice in any case."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for column in columns:
        name = _NO_NAME.sub("_", column)[:_LONGEST_NAME].rstrip("_") or "v"
        if not name[0].isalpha() or name.upper() in _RESERVED:
            name = f"v_{name}"
        unique, k = name, 1
        while unique.lower() in taken:
            k += 1
            unique = f"{name}_{k}"
        taken.add(unique.lower())
        names[column] = unique
    return names
