"""Drawing a split: which studies, conditions, outcomes and participants are held out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from socsci_jax.errors import InputError
from socsci_jax.reading import read_json
from socsci_jax.studies.splits import SPLIT_SCHEMA, VALIDATION, Split, generator_for
from socsci_jax.studies.store import StudyStore
from socsci_jax.wording import counted


def make_split(
    store: StudyStore,
    *,
    name: str,
    seed: int,
    studies: float | Sequence[str] | None = None,
    conditions: float | None = None,
    outcomes: float | None = None,
    participants: float | None = None,
    validation: float | None = None,
) -> Split:
    """Draws held-out units, seeded; shares are between 0 and 1, `studies` may be a list of ids.

    Conditions and outcomes are drawn within each study that is not itself held out: the share, at least one,
    and never all; a study with a single one keeps it.  Participants are drawn within each study, those for `validation`
    from who is left in training.
    Raises InputError for a share out of range, an unknown study id, or a split that holds out nothing.
    """
    shares = {
        "studies": studies if isinstance(studies, float | int) else None,
        "conditions": conditions,
        "outcomes": outcomes,
        "participants": participants,
        "validation": validation,
    }
    for kind, share in shares.items():
        if share is not None and not 0 < share < 1:
            raise InputError(f"split {name!r}: share of {kind} must lie between 0 and 1, got {share}.")
    drawing = _Drawing(store, name, seed)
    if isinstance(studies, float | int):
        drawing.draw_studies(studies)
    elif studies is not None:
        drawing.take_studies(studies)
    if conditions is not None:
        drawing.draw_within("unseen_conditions", "condition", conditions, store.item_places)
    if outcomes is not None:
        drawing.draw_within("unseen_outcomes", "outcome", outcomes, store.item_places)
    if participants is not None:
        drawing.draw_within("unseen_participants", "participant_id", participants, store.participants)
    if validation is not None:
        drawing.draw_within(VALIDATION, "participant_id", validation, drawing.people_in_training())
    split = split_of_units(store, name=name, seed=seed, rows=drawing.rows, notes=drawing.notes)
    drawn = {kind: float(share) for kind, share in shares.items() if share is not None}
    return dataclasses.replace(split, shares=drawn)


@dataclasses.dataclass
class _Drawing:
    """The units that are held out so far (`split_of_units` takes them), and notes on what could not be drawn."""

    store: StudyStore
    name: str
    seed: int
    rows: list[dict[str, str]] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    _studies: list[str] = dataclasses.field(default_factory=list)

    def draw_studies(self, share: float) -> None:
        """Draws a share of all studies."""
        known = self._known()
        drawn = _draw(known, share=share, rng=generator_for(self.seed, "studies", ""))
        if not drawn:
            self.notes.append(f"no study could be held out: the store has {len(known)}")
        self._hold(drawn)

    def take_studies(self, wanted: Sequence[str]) -> None:
        """Holds out listed studies; raises InputError if the store has none of them."""
        known = self._known()
        unknown = sorted(set(wanted) - set(known))
        if unknown and len(unknown) == len(set(wanted)):
            raise InputError(
                f"split {self.name!r}: none of the {counted(len(unknown), 'study')} to hold out is in {self.store.path} "
                f"(the first is {unknown[0]!r}); known ids begin with {known[:3]}."
            )
        if unknown:
            listed = ", ".join(unknown[:10])
            self.notes.append(f"{len(unknown)} listed studies are not in the store: {listed}")
        self._hold(sorted(set(wanted) & set(known)))

    def draw_within(self, part: str, column: str, share: float, frame: pl.DataFrame) -> None:
        """Draws a share of the units of `column` within each study that is not itself held out."""
        units: dict[str, list[str]] = {}
        for study, unit in frame.select("study_id", column).unique().sort("study_id", column).iter_rows():
            units.setdefault(study, []).append(unit)
        single = []
        for study, values in units.items():
            if study in self._studies:
                continue
            drawn = _draw(values, share=share, rng=generator_for(self.seed, part, study))
            if not drawn:
                single.append(study)
            self.rows += [{"part": part, "study_id": study, column: unit} for unit in drawn]
        if single:
            listed = ", ".join(single[:10])
            self.notes.append(
                f"{part}: {counted(len(single), 'study has', 'studies have')} a single {column} and keep it: {listed}"
            )

    def people_in_training(self) -> pl.DataFrame:
        """The participants that are not held out."""
        taken = pl.DataFrame(
            [(row["study_id"], row["participant_id"]) for row in self.rows if "participant_id" in row],
            schema={"study_id": pl.String, "participant_id": pl.String},
            orient="row",
        )
        return self.store.participants.join(taken, on=["study_id", "participant_id"], how="anti")

    def _known(self) -> list[str]:
        return sorted(self.store.studies["study_id"])

    def _hold(self, studies: list[str]) -> None:
        self._studies = studies
        self.rows += [{"part": "unseen_studies", "study_id": study} for study in studies]


def split_of_units(
    store: StudyStore, *, name: str, seed: int, rows: Sequence[dict[str, str]], notes: Sequence[str] = ()
) -> Split:
    """A split from given held-out units: dicts with `part` and the columns that name the unit."""
    if not rows:
        raise InputError(f"split {name!r} of {store.path}: it would hold out nothing; name what to hold out.")
    frame = pl.DataFrame(pl.from_arrow(pa.Table.from_pylist(list(rows), schema=SPLIT_SCHEMA)))
    return Split(name=name, seed=seed, store=store, held_out=frame, notes=tuple(notes))


def _draw(units: Sequence[str], *, share: float, rng: np.random.Generator) -> list[str]:
    """The share of `units`, at least one, never all; none if there is only one."""
    if len(units) < 2:
        return []
    count = min(max(1, round(share * len(units))), len(units) - 1)
    return sorted(units[i] for i in rng.choice(len(units), size=count, replace=False))


def read_study_ids(path: Path) -> tuple[str, ...]:
    """Ids of unseen studies from a JSON file: a list, or a mapping with the key "unseen" (as published)."""
    content = read_json(path, hint="give a share such as 0.2 or a JSON file of study ids")
    ids = content.get("unseen") if isinstance(content, dict) else content
    if not isinstance(ids, list) or not all(isinstance(i, str) for i in ids):
        raise InputError(
            f"{path}: neither a list of study ids nor a mapping with such a list under 'unseen'."
        )
    return tuple(ids)
