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
from socsci_jax.wording import counted

ANSWERED_BEFORE = "the person answered this question in an earlier row"
NO_ANSWER = "far from all other answers, as codes of no answer are (declare the scale to keep it)"
CONTROL_NAMES = ("control", "control group", "placebo")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TablePeople:
    """What `evaluate` needs of a study store, made from a table.

    `labeled` are the answers on their scales, all in one part; `item_ids` maps (study, condition, outcome) to items.
    `declared` are the questions whose scale somebody wrote down, `codes` what their labels stand for, `person` the name
    of the column that says who answered.
    """

    path: Path
    items: pl.DataFrame
    participants: pl.DataFrame
    item_by_id: Mapping[str, Item]
    labeled: pl.DataFrame
    item_ids: pl.DataFrame
    scales: Mapping[tuple[str, str], TableScale]
    rejected: Rejected
    notes: tuple[str, ...]
    declared: frozenset[str] = frozenset()
    codes: Codes = dataclasses.field(default_factory=dict)
    person: str = "participant_id"

    @property
    def questions(self) -> frozenset[str]:
        """The questions that people answered, on a scale or not."""
        return frozenset(outcome for _, outcome in self.scales)

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
    answers = human.answers
    if answers.is_empty():
        raise InputError(f"{path}: not one answer is a number; give people's answers as numbers.")
    by_outcome: dict[tuple[str, str], TableScale] = {}
    answers, again = _first_answers(answers)
    bad = human.rejected + rejected(str(path), again, reason=ANSWERED_BEFORE, value="value")
    kept, notes = [], list(human.notes)
    observed: dict[str, list[str]] = {}
    for (study, outcome), rows in answers.partition_by(
        ["study", "outcome"], as_dict=True, maintain_order=True
    ).items():
        declared = declared_for(str(outcome), scales)
        if declared is None:
            code = rows["value"].is_in(codes_of_no_answer(rows["value"]))
            bad = bad + rejected(str(path), rows.filter(code), reason=NO_ANSWER, value="value")
            rows = rows.filter(~code)
        stated = stated_scale((labels or {}).get(str(outcome), {}), rows["value"])
        scale = declared or stated or observed_scale(rows["value"])
        if declared is None and stated is None and scale.scale.kind == "levels":
            ends = f"{scale.scale.levels[0]:g} to {scale.scale.levels[-1]:g}"
            observed.setdefault(ends, []).append(str(outcome))
        by_outcome[str(study), str(outcome)] = scale
        rows = rows.with_columns(value=pl.Series(scale.levels_of(rows["value"].to_numpy())))
        if scale.scale.kind != "levels":
            bad = bad + rejected(
                str(path), rows, reason="people gave one answer only: no scale", value="value"
            )
            continue
        levels = np.asarray(scale.scale.levels, dtype=float)
        on_scale = pl.Series(np.isin(rows["value"].to_numpy(), levels))
        bad = bad + rejected(str(path), rows.filter(~on_scale), reason="not on the scale", value="value")
        kept.append(rows.filter(on_scale))
        if scale.rounded:
            notes.append(
                f"Answers to {outcome!r} are quantities: people's and predicted ones were put into {counted(levels.size, 'level')}."
            )
    on_scales = pl.concat(kept) if kept else answers.clear()
    if on_scales.is_empty():
        raise InputError(
            f"{path}: not one question has two different answers on a scale; declare the scales."
        )
    if observed:
        notes.append(_observed(observed))
    if of_no_question := unused(scales, {outcome for _, outcome in by_outcome}):
        notes.append(
            f"Scales are declared for {', '.join(map(repr, of_no_question[:5]))}"
            f"{' and others' if len(of_no_question) > 5 else ''}, but no question of people's table has this name."
        )
    names = frozenset(controls) or human.controls
    conditions = on_scales["condition"].unique().sort().to_list()
    if unknown := sorted(set(controls) - set(conditions)):
        raise InputError(f"{path}: there is no condition {unknown[0]!r}; found {conditions[:20]}.")
    items = _items(on_scales, by_outcome, names)
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
        items=item_ids.rename({"study": "study_id"}),
        participants=_participants(human),
        item_by_id=item_by_id,
        labeled=labeled,
        item_ids=item_ids,
        scales=by_outcome,
        rejected=bad,
        notes=tuple(notes),
        declared=frozenset(outcome for _, outcome in by_outcome if declared_for(outcome, scales)),
        codes=codes or {},
        person=human.person,
    )


def _first_answers(answers: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The first answer of each person to each question, and the later ones."""
    first = answers.select(pl.struct(*PLACE, "participant_id").is_first_distinct()).to_series()
    return answers.filter(first), answers.filter(~first)


def _observed(outcomes: Mapping[str, list[str]]) -> str:
    """Which scales were taken from the answers."""
    told = [
        f"{ends} for {', '.join(map(repr, names[:3]))}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
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
