"""Models of simulated respondents' rows: linear regressions by formula, and mediation along a path."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.estimation.linear import fit
from socsci_jax.estimation.within_person import Mediation, mediation
from socsci_jax.forecasting.respondent_statistics import ordered_answers, table_of
from socsci_jax.rectification.formula import Formula, design, parse_formula
from socsci_jax.studies.schema import Item

CONDITION = "condition"


@dataclasses.dataclass(frozen=True)
class MediationPath:
    """A path of mediation: what is varied (`condition`, or an outcome), through what, and on what."""

    text: str
    cause: str
    mediator: str
    effect: str


def read_model(text: str) -> Formula | MediationPath:
    """A regression ("trust ~ condition + age") or a path ("condition -> mood -> trust"); InputError for anything else."""
    if "->" not in text:
        return parse_formula(text)
    names = [name.strip() for name in text.split("->")]
    if len(names) != 3 or not all(names) or len(set(names)) < 3:
        raise InputError(
            f"path {text!r}: write three names, as in 'condition -> mood -> trust' (what is varied, through what, on what)."
        )
    return MediationPath(" -> ".join(names), *names)


def check_models(
    models: Sequence[Formula | MediationPath],
    items: Sequence[Item],
    *,
    batteries: Sequence[str],
    columns: Sequence[str],
) -> None:
    """Raises InputError for names that are no column of the rows, or have no order where one is needed."""
    ordered = {*batteries, *(item.outcome for item in items if not item.scale.nominal)}
    for model in models:
        if isinstance(model, Formula):
            names, needed = [model.outcome, *model.names], [model.outcome]
        else:
            names = [model.cause, model.mediator, model.effect]
            needed = names[1:] if model.cause == CONDITION else names
        if absent := [name for name in names if name not in columns]:
            raise InputError(
                f"model {model.text!r}: {absent[0]!r} is no column of the rows; they have {', '.join(columns)}."
            )
        if without := [name for name in needed if name not in ordered]:
            raise InputError(
                f"model {model.text!r}: {without[0]!r} has no order, so it has no mean; name an outcome or a battery that has."
            )


def model_statistics(
    models: Sequence[Formula | MediationPath],
    arms: Mapping[str, tuple[Item, ...]],
    rows: pl.DataFrame,
    *,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Rows of STATISTICS for all models of the rows; answers outside a scale's order are missing, and their rows excluded."""
    items = next(iter(arms.values()))
    frame = ordered_answers(rows, items)
    nominal = [item.outcome for item in items if item.scale.nominal]
    table: list[dict[str, object]] = []
    for model in models:
        if isinstance(model, Formula):
            table += _regression(model, frame, nominal)
        else:
            table += _mediation(model, frame, list(arms), _reference(arms), rng)
    study = pl.lit(items[0].study_id, pl.String).alias("study")
    return table_of(table).with_columns(study)


def _regression(formula: Formula, frame: pl.DataFrame, nominal: Sequence[str]) -> list[dict[str, object]]:
    """Coefficients with 95 % intervals from HC2 standard errors; outcomes without an order enter as dummies."""
    own = frame.select(formula.outcome, *formula.names).drop_nulls()
    codes = [name for name in formula.names if name in nominal]
    own = own.with_columns(pl.col(codes).cast(pl.Int64, strict=False).cast(pl.String))
    made = design(formula, own)
    estimates = fit(made.X, own[formula.outcome].to_numpy()).estimates("HC2", names=made.terms)
    return [
        {
            "statistic": "coefficient",
            "outcome": formula.outcome,
            "other": term,
            "model": formula.text,
            "value": float(estimates.estimate[k]),
            "lo": float(estimates.lo[k]),
            "hi": float(estimates.hi[k]),
            "n": own.height,
            "source": "rows",
        }
        for k, term in enumerate(estimates.names)
    ]


def _mediation(
    path: MediationPath,
    frame: pl.DataFrame,
    arms: Sequence[str],
    reference: str,
    rng: np.random.Generator,
) -> list[dict[str, object]]:
    """a, b, indirect, direct and total; for the path from `condition`, of each arm against the reference."""
    names = [path.cause, path.mediator, path.effect]
    own = frame.select(CONDITION, *{*names} - {CONDITION}).drop_nulls()
    if path.cause != CONDITION:
        estimates = mediation(*(own[name].to_numpy() for name in names), rng=rng)
        return _rows_of(path, estimates, None, own.height)
    table: list[dict[str, object]] = []
    for arm in arms:
        if arm == reference:
            continue
        two = own.filter(pl.col(CONDITION).is_in([arm, reference]))
        treated = (two[CONDITION] == arm).cast(pl.Float64).to_numpy()
        estimates = mediation(treated, two[path.mediator].to_numpy(), two[path.effect].to_numpy(), rng=rng)
        table += _rows_of(path, estimates, f"{arm} − {reference}", two.height)
    return table


def _rows_of(
    path: MediationPath, estimates: Mediation, condition: str | None, n: int
) -> list[dict[str, object]]:
    return [
        {
            "statistic": field.name,
            "condition": condition,
            "outcome": path.effect,
            "other": path.mediator,
            "model": path.text,
            "value": getattr(estimates, field.name).estimate,
            "lo": getattr(estimates, field.name).lo,
            "hi": getattr(estimates, field.name).hi,
            "n": n,
            "source": "rows",
        }
        for field in dataclasses.fields(Mediation)
    ]


def _reference(arms: Mapping[str, tuple[Item, ...]]) -> str:
    """The control, or the first arm where none is marked."""
    controls = [arm for arm, items in arms.items() if items[0].is_control]
    return controls[0] if controls else next(iter(arms))
