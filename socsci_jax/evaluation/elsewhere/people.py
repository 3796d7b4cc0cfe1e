"""People's answers of a plain table as the evaluation takes them: items with scales, people, labeled answers."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.evaluation.elsewhere.columns import Rejected, rejected
from socsci_jax.evaluation.elsewhere.long import PLACE, LongTable
from socsci_jax.evaluation.elsewhere.scales import (
    TableScale,
    codes_of_no_answer,
    declared_for,
    observed_scale,
    stated_scale,
    unused,
)
from socsci_jax.evaluation.elsewhere.shapes import Codes
from socsci_jax.studies.schema import Item
from socsci_jax.wording import counted, first_listed

ANSWERED_BEFORE = "the person answered this question in an earlier row"
NO_ANSWER = "far from all other answers, as codes of no answer are (declare the scale to keep it)"
CONTROL_NAMES = ("control", "control group", "placebo")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TablePeople:
    """What `evaluate` needs of a study store, made from a table.

    `labeled` are the answers on their scales, all in one part; `item_ids` maps (study, condition, outcome) to items.
    `declared` are the questions whose scale somebody wrote down, `codes` what their labels stand for, `person` the name
    of the column that says who answered; `placed` tells of the scales of all columns, judged or not.
    """

    path: Path
    item_places: pl.DataFrame
    participants: pl.DataFrame
    item_by_id: Mapping[str, Item]
    labeled: pl.DataFrame
    item_ids: pl.DataFrame
    scales: Mapping[tuple[str, str], TableScale]
    rejected: Rejected
    notes: tuple[str, ...]
    placed: Placed
    declared: frozenset[str] = frozenset()
    codes: Codes = dataclasses.field(default_factory=dict)
    person: str = "participant_id"

    @property
    def questions(self) -> frozenset[str]:
        """The questions that people answered, on a scale or not."""
        return frozenset(outcome for _, outcome in self.scales)

    def notes_on(self, judged: Collection[str]) -> list[str]:
        """The notes, of scales only those of the questions `judged`."""
        return [*self.notes, *self.placed.notes(judged)]

    @property
    def content_hash(self) -> str:
        """Of the answers, in their order."""
        return hashlib.sha256(self.labeled.write_csv().encode()).hexdigest()


def people_of(
    human: LongTable,
    *,
    path: Path,
    scales: Mapping[str, TableScale],
    controls: Collection[str] = (),
    labels: Mapping[str, Mapping[str, str]] | None = None,
    codes: Codes | None = None,
) -> TablePeople:
    """Finds a scale for every outcome, and puts the answers on it; what fits no scale is rejected.

    `labels` are those of a file that has some: a question's codes from the least to the greatest are its scale.
    """
    answers, again = _first_answers(human.answers)
    if answers.is_empty():
        raise InputError(f"{path}: not one answer is a number; give people's answers as numbers.")
    bad = human.rejected + rejected(str(path), again, reason=ANSWERED_BEFORE, value="value")
    placed = Placed()
    for (study, outcome), rows in answers.partition_by(
        ["study", "outcome"], as_dict=True, maintain_order=True
    ).items():
        own_labels = (labels or {}).get(str(outcome), {})
        placed.add(rows, (str(study), str(outcome)), declared_for(str(outcome), scales), own_labels, path)
    on_scales = pl.concat(placed.kept) if placed.kept else answers.clear()
    if on_scales.is_empty():
        raise InputError(
            f"{path}: not one question has two different answers on a scale; declare the scales."
        )
    conditions = on_scales["condition"].unique().sort().to_list()
    if unknown := sorted(set(controls) - set(conditions)):
        raise InputError(f"{path}: there is no condition {unknown[0]!r}; found {conditions[:20]}.")
    items = _items(on_scales, placed.scales, frozenset(controls) or human.controls)
    item_by_id = {item.item_id: item for item in items}
    item_ids = pl.DataFrame(
        [(item.study_id, item.condition, item.outcome, item_id) for item_id, item in item_by_id.items()],
        schema=[*PLACE, "item_id"],
        orient="row",
    )
    labeled = on_scales.join(item_ids, on=list(PLACE), how="left", maintain_order="left").select(
        "item_id", "participant_id", "value", "condition", "outcome", study_id="study", part=pl.lit("all")
    )
    return TablePeople(
        path=path,
        item_places=item_ids.rename({"study": "study_id"}),
        participants=_participants(human),
        item_by_id=item_by_id,
        labeled=labeled,
        item_ids=item_ids,
        scales=placed.scales,
        rejected=bad + placed.rejected,
        notes=(*human.notes, *_of_no_question(scales, placed.scales)),
        placed=placed,
        declared=frozenset(outcome for _, outcome in placed.scales if declared_for(outcome, scales)),
        codes=codes or {},
        person=human.person,
    )


@dataclasses.dataclass
class Placed:
    """Answers put on their scales, question by question."""

    scales: dict[tuple[str, str], TableScale] = dataclasses.field(default_factory=dict)
    kept: list[pl.DataFrame] = dataclasses.field(default_factory=list)
    rejected: Rejected = dataclasses.field(default_factory=Rejected.none)
    # Which outcomes have a scale that was only seen in answers, by its ends.
    observed: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    quantities: dict[str, str] = dataclasses.field(default_factory=dict)

    def add(
        self,
        rows: pl.DataFrame,
        question: tuple[str, str],
        declared: TableScale | None,
        labels: Mapping[str, str],
        path: Path,
    ) -> None:
        """Puts the answers to one question (study, outcome) on the scale that is declared, stated by labels, or observed."""

        def reject(those: pl.DataFrame, reason: str) -> None:
            self.rejected = self.rejected + rejected(str(path), those, reason=reason, value="value")

        if declared is None:
            code = rows["value"].is_in(codes_of_no_answer(rows["value"]))
            reject(rows.filter(code), NO_ANSWER)
            rows = rows.filter(~code)
        stated = stated_scale(labels, rows["value"])
        scale = self.scales[question] = declared or stated or observed_scale(rows["value"])
        rows = rows.with_columns(value=pl.Series(scale.levels_of(rows["value"].to_numpy())))
        if scale.scale.kind != "levels":
            return reject(rows, "people gave one answer only: no scale")
        levels = np.asarray(scale.scale.levels, dtype=float)
        if declared is None and stated is None:
            self.observed.setdefault(f"{levels[0]:g} to {levels[-1]:g}", []).append(question[1])
        on_scale = pl.Series(np.isin(rows["value"].to_numpy(), levels))
        reject(rows.filter(~on_scale), "not on the scale")
        self.kept.append(rows.filter(on_scale))
        if scale.rounded:
            self.quantities[question[1]] = (
                f"Answers to {question[1]!r} are quantities: people's and predicted ones were put into "
                f"{counted(levels.size, 'level')}."
            )

    def notes(self, judged: Collection[str]) -> list[str]:
        """What became of the answers to these questions."""
        quantities = [note for name, note in self.quantities.items() if name in judged]
        by_ends = {ends: [name for name in names if name in judged] for ends, names in self.observed.items()}
        observed = {ends: names for ends, names in by_ends.items() if names}
        return [*quantities, *([_observed(observed)] if observed else [])]


def _of_no_question(
    declared: Mapping[str, TableScale], scales: Mapping[tuple[str, str], TableScale]
) -> list[str]:
    """A sentence on declared scales whose name no question has."""
    names = unused(declared, {outcome for _, outcome in scales})
    if not names:
        return []
    return [
        f"Scales are declared for {first_listed(list(map(repr, names)))}, but no question of people's table has this name."
    ]


def _first_answers(answers: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The first answer of each person to each question, and the later ones."""
    first = answers.select(pl.struct(*PLACE, "participant_id").is_first_distinct()).to_series()
    return answers.filter(first), answers.filter(~first)


def _observed(outcomes: Mapping[str, list[str]]) -> str:
    """Which scales were taken from the answers."""
    told = [
        f"{ends} for {first_listed(list(map(repr, names)), most=3)}"
        for ends, names in list(outcomes.items())[:5]
    ]
    more = f"; and {len(outcomes) - 5} more scales" if len(outcomes) > 5 else ""
    return f"Scales are those of people's answers, as none were declared: {'; '.join(told)}{more}."


def _items(
    answers: pl.DataFrame, scales: Mapping[tuple[str, str], TableScale], controls: Collection[str]
) -> list[Item]:
    places = answers.select(PLACE).unique(maintain_order=True)
    return [
        Item(
            study_id=study,
            condition=condition,
            outcome=outcome,
            stimulus="",
            question=outcome,
            answer_format="",
            scale=scales[study, outcome].scale,
            is_control=condition in controls if controls else condition.lower() in CONTROL_NAMES,
        )
        for study, condition, outcome in places.iter_rows()
    ]


def _participants(human: LongTable) -> pl.DataFrame:
    columns = [pl.col(f"attribute {name}").alias(name) for name in human.attributes]
    attributes = pl.struct(columns).alias("attributes") if columns else pl.lit(None).alias("attributes")
    people = human.people.select(pl.col("study").alias("study_id"), "participant_id", "weight", attributes)
    return people if columns else people.drop("attributes")
