"""What `socsci-jax conjoint` does: from a store or a table, with or without a simulation of the choices."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import polars as pl

from socsci_jax.evaluation.conjoint import Columns, conjoint_table, excluded_profiles, read_conjoint
from socsci_jax.evaluation.conjoint_agreement import agreement_table
from socsci_jax.evaluation.conjoint_store import profiles_of_store, simulated_profiles, unused_predictions
from socsci_jax.studies.store import StudyStore
from socsci_jax.wording import counted, counted_of

Restricted = Sequence[Sequence[str]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConjointResult:
    """The tidy table; the profiles in no estimate with source, row and reason; what a reader must know."""

    table: pl.DataFrame
    excluded: pl.DataFrame
    notes: tuple[str, ...]


def conjoint_of_store(
    store: StudyStore, predictions: pl.DataFrame | None, *, restricted: Restricted = (), seed: int = 0
) -> ConjointResult:
    """What a store's conjoint says; with a predictions table also its simulation, and their agreement.

    People are then compared on the tasks that were predicted, and on these alone.
    """
    table, columns = profiles_of_store(store)
    if predictions is None:
        return _one(table, columns, restricted, seed)
    simulated = simulated_profiles(table, predictions)
    result = _both(table, simulated, columns, restricted, seed)
    return dataclasses.replace(result, notes=(*result.notes, *unused_predictions(table, predictions)))


def conjoint_of_table(
    profiles: pl.DataFrame,
    simulated: pl.DataFrame | None,
    columns: Columns,
    *,
    restricted: Restricted = (),
    seed: int = 0,
) -> ConjointResult:
    """As `conjoint_of_store`, from tables of profiles with equal columns."""
    if simulated is None:
        return _one(profiles, columns, restricted, seed)
    return _both(profiles, simulated, columns, restricted, seed)


def _one(profiles: pl.DataFrame, columns: Columns, restricted: Restricted, seed: int) -> ConjointResult:
    excluded = _excluded({"human": profiles}, columns)
    return ConjointResult(
        table=conjoint_table(profiles, columns, restricted=restricted, seed=seed),
        excluded=excluded,
        notes=(*_exclusions(excluded, {"human": profiles}), *_without_subgroup(profiles, columns)),
    )


def _both(
    human: pl.DataFrame, simulated: pl.DataFrame, columns: Columns, restricted: Restricted, seed: int
) -> ConjointResult:
    once = dataclasses.replace(columns, agrees=None)  # a simulation does not answer twice
    shared = ["item_id", "level", columns.respondent]
    compared = human
    if set(shared) <= set(human.columns):
        compared = human.join(simulated.select(shared), on=shared, how="semi", maintain_order="left")
    sides = {"human": human, "simulated": simulated}
    excluded = _excluded(sides, columns)
    notes = [*_exclusions(excluded, sides), *_without_subgroup(human, columns)]
    if compared.height < human.height:
        notes.append(
            f"Compared on {counted_of(compared.height, human.height, 'profile', 'that was', 'that were')} predicted."
        )
    table = pl.concat(
        [
            conjoint_table(human, columns, restricted=restricted, seed=seed),
            conjoint_table(simulated, once, restricted=restricted, source="simulated", seed=seed),
            agreement_table(
                read_conjoint(compared, once)[0],
                read_conjoint(simulated, once)[0],
                restricted=restricted,
                seed=seed,
            ),
        ]
    )
    return ConjointResult(table=table, excluded=excluded, notes=tuple(notes))


def _excluded(sides: dict[str, pl.DataFrame], columns: Columns) -> pl.DataFrame:
    frames = [
        excluded_profiles(side, columns).select(pl.lit(name).alias("source"), pl.all().exclude("source"))
        for name, side in sides.items()
    ]
    return pl.concat(frames, how="diagonal")


def _exclusions(excluded: pl.DataFrame, sides: dict[str, pl.DataFrame]) -> list[str]:
    """How many profiles of each side are in no estimate, and why."""
    notes = []
    for name, side in sides.items():
        reasons = excluded.filter(pl.col("source") == name)["reason"].value_counts(sort=True)
        if not reasons.is_empty():
            why = "; ".join(f"{reason}: {count:,}" for reason, count in reasons.iter_rows())
            number = int(reasons["count"].sum())
            notes.append(f"{counted_of(number, side.height, f'{name} profile')} in no estimate ({why}).")
    return notes


def _without_subgroup(profiles: pl.DataFrame, columns: Columns) -> list[str]:
    if columns.by is None or not (nobody := profiles[columns.by].null_count()):
        return []
    return [
        f"{counted(nobody, 'profile has', 'profiles have')} no {columns.by!r}: in no subgroup, but in the whole."
    ]
