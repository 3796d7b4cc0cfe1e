"""What `socsci-jax conjoint` does: from a store or a table, with or without a simulation of the choices."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import polars as pl

from socsci_jax.evaluation.conjoint import Columns, conjoint_table, read_conjoint
from socsci_jax.evaluation.conjoint_agreement import agreement_table
from socsci_jax.evaluation.conjoint_store import profiles_of_store, simulated_profiles
from socsci_jax.studies.store import StudyStore

Restricted = Sequence[Sequence[str]]


def conjoint_of_store(
    store: StudyStore, predictions: pl.DataFrame | None, *, restricted: Restricted = (), seed: int = 0
) -> pl.DataFrame:
    """The tidy table of a store's conjoint; with a predictions table also of its simulation, and their agreement.

    People are then compared on the tasks that were predicted, and on these alone.
    """
    table, columns = profiles_of_store(store)
    if predictions is None:
        return conjoint_table(table, columns, restricted=restricted, seed=seed)
    simulated = simulated_profiles(table, predictions)
    return _both(table, simulated, columns, restricted, seed)


def conjoint_of_table(
    profiles: pl.DataFrame,
    simulated: pl.DataFrame | None,
    columns: Columns,
    *,
    restricted: Restricted = (),
    seed: int = 0,
) -> pl.DataFrame:
    """As `conjoint_of_store`, from tables of profiles with equal columns."""
    if simulated is None:
        return conjoint_table(profiles, columns, restricted=restricted, seed=seed)
    return _both(profiles, simulated, columns, restricted, seed)


def _both(
    human: pl.DataFrame, simulated: pl.DataFrame, columns: Columns, restricted: Restricted, seed: int
) -> pl.DataFrame:
    once = dataclasses.replace(columns, agrees=None)  # a simulation does not answer twice
    shared = ["item_id", "level", columns.respondent]
    compared = human
    if set(shared) <= set(human.columns):
        compared = human.join(simulated.select(shared), on=shared, how="semi", maintain_order="left")
    return pl.concat(
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
