"""The multiverse of a forecast: the same effects under every way of asking, and what moved that should not have moved."""

from __future__ import annotations

import dataclasses

import polars as pl

from socsci_jax.forecasting.table import CHECKS, MULTIVERSE, VARIANTS


@dataclasses.dataclass(frozen=True, eq=False)
class Multiverse:
    """What variants of the prompt say of the effects of an experiment; empty tables where none are declared.

    `variants` is the specification curve (table.VARIANTS), `summary` a row for each effect (table.MULTIVERSE), `checks` what
    was tested of the model (table.CHECKS).
    """

    variants: pl.DataFrame
    summary: pl.DataFrame
    checks: pl.DataFrame

    @classmethod
    def none(cls) -> Multiverse:
        return cls(*(pl.DataFrame(schema=schema) for schema in (VARIANTS, MULTIVERSE, CHECKS)))
