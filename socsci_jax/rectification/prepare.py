"""What is estimated from what: settings, and the joined tables as arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.estimation.linear import Family
from socsci_jax.estimation.ppi import Sample
from socsci_jax.rectification.formula import Formula, design
from socsci_jax.rectification.predicted import ARM_0, ARM_1, PREDICTION, zero_or_one
from socsci_jax.rectification.tables import IN_GOLD, Joined, reject, reject_rows


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """How to estimate.  Columns: `probability` of being labeled, sampling `weights`, `clusters`, and the `treatment`
    (the formula's first variable if None) where both arms are predicted.

    `lam` None is fitted; `splits` above 0 recalibrates predictions for DSL over so many random splits; `half_width`
    asks how many answers it takes to get there, `effect` for the power to find one of this size.
    """

    family: Family = "linear"
    keys: Sequence[str] = ()
    column: str = "prediction"
    treatment: str | None = None
    probability: str | None = None
    weights: str | None = None
    clusters: str | None = None
    lam: float | None = None
    splits: int = 0
    half_width: float | None = None
    effect: float | None = None
    exclude_seen: bool = False
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Rows that a regression can use: all arrays [N]; `personas` are rows of which only both arms are known."""

    X: np.ndarray
    terms: tuple[str, ...]
    prediction: np.ndarray
    y: np.ndarray
    labeled: np.ndarray
    probability: np.ndarray
    varies: bool
    weights: np.ndarray
    clusters: np.ndarray | None
    frame: pl.DataFrame
    personas: pl.DataFrame

    def sample(self, rows: np.ndarray, *, labeled: bool) -> Sample:
        weights = self.weights[rows]
        if self.varies:
            weights = weights / (self.probability[rows] if labeled else 1 - self.probability[rows])
        clusters = None if self.clusters is None else self.clusters[rows]
        return Sample(
            self.X[rows], self.prediction[rows], self.y[rows] if labeled else None, weights, clusters
        )


def prepare(
    joined: Joined, formula: Formula, settings: Settings, treatment: str | None
) -> tuple[Prepared, Joined]:
    """Excludes rows that cannot be used, with the reason, and builds the design."""
    columns = [settings.probability, settings.weights, settings.clusters]
    for name in (formula.outcome, *formula.names, *(name for name in columns if name)):
        if name not in joined.frame.columns:
            known = [column for column in joined.frame.columns if not column.startswith("socsci_jax:")]
            raise InputError(f"Neither table has a column {name!r}; together they have {known}.")
    joined = _with_answers(joined, formula.outcome)
    personas = joined.frame.clear()
    if joined.both_arms:
        joined, personas = _both_arms(joined, formula, treatment)
    joined = reject_rows(joined, ~pl.col(PREDICTION).is_finite(), "its prediction is missing")
    for name in (*formula.names, *(name for name in (settings.weights, settings.clusters) if name)):
        missing = pl.col(name).is_null()
        if joined.frame[name].dtype.is_float():
            missing = missing | ~pl.col(name).is_finite()
        joined = reject_rows(joined, missing, f"{name} is missing")
    frame = joined.frame
    y = frame[formula.outcome].to_numpy().astype(float)
    labeled = np.isfinite(y)
    if not labeled.any():
        raise InputError(
            f"No row has both a prediction and an answer in {formula.outcome!r}; check that the keys are written alike."
        )
    built = design(formula, frame)
    prediction = frame[PREDICTION].to_numpy().astype(float)
    if settings.family == "logit":
        _check_probabilities(y[labeled], prediction)
    probability = np.full(len(y), labeled.mean())
    if settings.probability is not None:
        probability = frame[settings.probability].cast(pl.Float64).to_numpy().astype(float)
    data = Prepared(
        X=built.X,
        terms=built.terms,
        prediction=prediction,
        y=y,
        labeled=labeled,
        probability=probability,
        varies=settings.probability is not None,
        weights=np.ones(len(y))
        if settings.weights is None
        else frame[settings.weights].cast(pl.Float64).to_numpy(),
        clusters=None if settings.clusters is None else frame[settings.clusters].cast(pl.String).to_numpy(),
        frame=frame,
        personas=personas,
    )
    return data, joined


def _with_answers(joined: Joined, outcome: str) -> Joined:
    """The answers as numbers, null where there is none; rows of GOLD without one are listed among the rejects.

    Such a row counts as one that was not asked: its prediction stays.  Raises InputError for answers that are texts.
    """
    answers = joined.frame[outcome]
    if answers.dtype == pl.String:
        answers = answers.str.strip_chars()
        answers = answers.set(answers.str.to_lowercase().is_in(["", "nan"]), None)
    try:
        numbers = answers.cast(pl.Float64).fill_nan(None)
    except pl.exceptions.PolarsError:
        raise InputError(f"The answers {outcome!r} are not numbers; code them before.") from None
    joined = dataclasses.replace(joined, frame=joined.frame.with_columns(numbers.alias(outcome)))
    empty = joined.frame.filter(pl.col(IN_GOLD).fill_null(False) & pl.col(outcome).is_null())
    joined = dataclasses.replace(joined, frame=joined.frame.drop(IN_GOLD))
    if empty.is_empty():
        return joined
    told = reject(empty, joined.keys, f"GOLD has no value of {outcome} for it; it counts as not asked")
    note = f"{empty.height:,} of GOLD's rows have no value of {outcome}: they count as not asked, and stand among the rejects"
    return dataclasses.replace(joined, rejects=pl.concat([joined.rejects, told]), notes=(*joined.notes, note))


def _both_arms(joined: Joined, formula: Formula, treatment: str | None) -> tuple[Joined, pl.DataFrame]:
    """Takes the prediction of each person's own arm; personas without an arm are kept apart, for DiP alone."""
    if treatment not in formula.names:
        raise InputError(
            f"Both arms are predicted, but the formula {formula.text!r} does not hold the treatment"
            f"{f' {treatment!r}' if treatment else ''}; add it, or name it (treatment)."
        )
    if not zero_or_one(joined.frame[treatment]):
        raise InputError(
            f"Both arms are predicted, so that {treatment!r} must be 0 or 1 (control and treatment)."
        )
    known = pl.col(ARM_0).is_finite() & pl.col(ARM_1).is_finite()
    joined = reject_rows(joined, ~known, "one of its arms has no prediction")
    alone = pl.col(treatment).is_null() & pl.col(formula.outcome).is_null()
    personas = joined.frame.filter(alone)
    own = pl.when(pl.col(treatment) == 1).then(ARM_1).otherwise(ARM_0).alias(PREDICTION)
    return dataclasses.replace(joined, frame=joined.frame.filter(~alone).with_columns(own)), personas


def _check_probabilities(y: np.ndarray, prediction: np.ndarray) -> None:
    if not np.isin(y, (0, 1)).all():
        raise InputError("A logit is for answers of 0 and 1; use a linear model for others.")
    if prediction.min() < 0 or prediction.max() > 1:
        raise InputError(
            f"A logit needs predictions between 0 and 1, found {prediction.min():g} to {prediction.max():g}; "
            "give the predicted probability of the answer 1."
        )
