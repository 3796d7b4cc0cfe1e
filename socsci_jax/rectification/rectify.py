"""From predictions for many people and the answers of some to estimates with valid intervals, method by method."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import get_args

import numpy as np
import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.estimation.dip import Experiment, dip
from socsci_jax.estimation.dsl import dsl, dsl_over_splits
from socsci_jax.estimation.linear import Estimates, Family, fit
from socsci_jax.estimation.power import labels_needed, worth_of_regression
from socsci_jax.estimation.ppi import Sample, ppi
from socsci_jax.rectification.formula import Formula, design, parse_formula
from socsci_jax.rectification.tables import ARM_0, ARM_1, PREDICTION, Joined, join, reject_rows


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """How to estimate.  Columns: `probability` of being labeled, sampling `weights`, `clusters`, and the `treatment`
    (the formula's first variable if None) where both arms are predicted.

    `lam` None is fitted; `splits` above 0 recalibrates predictions for DSL over so many random splits; `half_width`
    asks how many answers it takes to get there.
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
    exclude_seen: bool = False
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Rectification:
    """`table`: method, term, estimate, se, lo, hi, p, n_labeled, n_predicted, lambda; `needed`: answers needed for
    the half width that was asked for; `rejects`: keys and reason of every excluded row."""

    table: pl.DataFrame
    needed: pl.DataFrame | None
    rejects: pl.DataFrame
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Data:
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


def rectify(
    predictions: pl.DataFrame,
    gold: pl.DataFrame,
    formula: str,
    settings: Settings | None = None,
    *,
    others: Sequence[pl.DataFrame] = (),
) -> Rectification:
    """Estimates a formula from predictions alone, from answers alone, and from both (DSL, PPI++, DiP).

    `predictions` has a row for everybody, `gold` the answers of those who were asked and any variables that the
    predictions lack; `others` are other models' predictions, from which those that have not seen a study are taken.
    Raises InputError for input that cannot be used; what one method cannot do is left out of the table and noted.
    """
    settings = settings or Settings()
    if settings.family not in get_args(Family):
        raise InputError(f"Family {settings.family!r}; choose one of {', '.join(get_args(Family))}.")
    parsed = parse_formula(formula)
    treatment = settings.treatment or (parsed.names[0] if parsed.names else None)
    joined = join(
        predictions,
        gold,
        keys=settings.keys,
        column=settings.column,
        treatment=treatment,
        others=others,
        exclude_seen=settings.exclude_seen,
    )
    data, joined = _prepare(joined, parsed, settings, treatment)
    notes = list(joined.notes)
    if settings.probability is None:
        share = data.labeled.mean()
        notes.append(
            f"everybody is taken to have been asked with the same probability, {share:.4g} (no column given)"
        )
    rows: list[dict] = []

    def add(method: str, estimate: Callable[[], list[dict]]) -> None:
        try:
            rows.extend({"method": method, **row} for row in estimate())
        except InputError as error:
            notes.append(f"{method} is left out: {error}")

    add("naive", lambda: _naive(data, settings))
    add("labels only", lambda: _labels_only(data, settings))
    add("DSL", lambda: _dsl(data, settings))
    add("PPI++", lambda: _ppi(data, settings))
    if joined.both_arms:
        add("DiP", lambda: _dip(data, parsed, treatment, settings))
    needed = None
    if settings.half_width is not None:
        needed = _needed(data, settings)
    schema = {
        "method": pl.String,
        "term": pl.String,
        **dict.fromkeys(("estimate", "se", "lo", "hi", "p"), pl.Float64),
    }
    schema |= {"n_labeled": pl.Int64, "n_predicted": pl.Int64, "lambda": pl.Float64}
    return Rectification(pl.DataFrame(rows, schema=schema), needed, joined.rejects, tuple(notes))


def _prepare(
    joined: Joined, formula: Formula, settings: Settings, treatment: str | None
) -> tuple[_Data, Joined]:
    """Excludes rows that cannot be used, with the reason, and builds the design."""
    columns = [settings.probability, settings.weights, settings.clusters]
    for name in (formula.outcome, *formula.names, *(name for name in columns if name)):
        if name not in joined.frame.columns:
            found = [column for column in joined.frame.columns if not column.startswith("socsci_jax:")]
            raise InputError(f"Neither table has a column {name!r}; together they have {found}.")
    if (
        not joined.frame[formula.outcome].dtype.is_numeric()
        and joined.frame[formula.outcome].dtype != pl.Boolean
    ):
        raise InputError(f"The answers {formula.outcome!r} are not numbers; code them before.")
    joined = dataclasses.replace(
        joined, frame=joined.frame.with_columns(pl.col(formula.outcome).cast(pl.Float64).fill_nan(None))
    )
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
    data = _Data(
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


def _both_arms(joined: Joined, formula: Formula, treatment: str | None) -> tuple[Joined, pl.DataFrame]:
    """Takes the prediction of each person's own arm; personas without an arm are kept apart, for DiP alone."""
    if treatment not in formula.names:
        raise InputError(
            f"Both arms are predicted, but the formula {formula.text!r} does not hold the treatment"
            f"{f' {treatment!r}' if treatment else ''}; add it, or name it (treatment)."
        )
    if not joined.frame[treatment].drop_nulls().is_in([0, 1]).all():
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


def _rows(data: _Data, found: Estimates, n: int, predicted: int, lam: float | None = None) -> list[dict]:
    return [
        {
            "term": term, "estimate": found.estimate[at], "se": found.se[at], "lo": found.lo[at], "hi": found.hi[at],
            "p": found.p[at], "n_labeled": n, "n_predicted": predicted, "lambda": lam,
        }
        for at, term in enumerate(found.names)
    ]  # fmt: skip


def _naive(data: _Data, settings: Settings) -> list[dict]:
    """Predictions taken for answers."""
    solved = fit(data.X, data.prediction, family=settings.family, weights=data.weights)
    kind = "HC2" if data.clusters is None else "CR1"
    return _rows(data, solved.estimates(kind, clusters=data.clusters, names=data.terms), 0, len(data.y))


def _labels_only(data: _Data, settings: Settings) -> list[dict]:
    on = data.sample(data.labeled, labeled=True)
    solved = fit(on.X, on.y, family=settings.family, weights=on.weights)
    kind = "HC2" if on.clusters is None else "CR1"
    return _rows(data, solved.estimates(kind, clusters=on.clusters, names=data.terms), len(on), 0)


def _dsl(data: _Data, settings: Settings) -> list[dict]:
    known = {
        "prediction": data.prediction, "y": data.y, "labeled": data.labeled, "probability": data.probability,
        "family": settings.family, "weights": data.weights, "clusters": data.clusters, "names": data.terms,
    }  # fmt: skip
    if settings.splits:
        found = dsl_over_splits(data.X, **known, splits=settings.splits, seed=settings.seed)
    else:
        found = dsl(data.X, **known)
    return _rows(data, found, int(data.labeled.sum()), len(data.y))


def _samples(data: _Data) -> tuple[Sample, Sample]:
    if data.labeled.all():
        raise InputError("every row has an answer, so that there is nothing to predict.")
    off = data.probability[~data.labeled]
    if data.varies and not ((off > 0) & (off < 1)).all():
        raise InputError(
            "it needs the labeling probability, above 0 and below 1, of people who were not asked too."
        )
    return data.sample(data.labeled, labeled=True), data.sample(~data.labeled, labeled=False)


def _ppi(data: _Data, settings: Settings) -> list[dict]:
    """Each coefficient with the weight of the predictions that is best for it."""
    on, off = _samples(data)
    rows = []
    for at in range(len(data.terms)):
        found = ppi(
            on,
            off,
            family=settings.family,
            lam=settings.lam,
            coefficient=at,
            seed=settings.seed,
            names=data.terms,
        )
        rows.append(_rows(data, found.estimates, len(on), len(on) + len(off), found.lam)[at])
    return rows


def _dip(data: _Data, formula: Formula, treatment: str, settings: Settings) -> list[dict]:
    if formula.single is None:
        raise InputError(f"it is for two arms alone, as in '{formula.outcome} ~ {treatment}'.")
    if settings.probability is not None:
        raise InputError("it takes everybody to be asked with the same probability.")
    if settings.family != "linear":
        raise InputError("it is a difference in means, not a logit.")
    on, frame = data.labeled, data.frame
    others = pl.concat(
        [frame.filter(~on).drop(PREDICTION), data.personas.select(frame.drop(PREDICTION).columns)]
    )
    if others.is_empty():
        raise InputError("every row has an answer, so that there is nothing to predict.")
    answered = frame.filter(on)
    weights = None
    if settings.weights is not None:
        if others[settings.weights].null_count():
            raise InputError(f"personas without an arm have no {settings.weights}.")
        weights = others[settings.weights].cast(pl.Float64).to_numpy()
    clusters = None
    if settings.clusters is not None:
        clusters = others[settings.clusters].cast(pl.String).to_numpy()
    experiment = Experiment(
        data.y[on],
        answered[treatment].cast(pl.Float64).to_numpy(),
        *(answered[arm].to_numpy() for arm in (ARM_0, ARM_1)),
        *(others[arm].to_numpy() for arm in (ARM_0, ARM_1)),
        None if weights is None else data.weights[on],
        weights,
        None if clusters is None else data.clusters[on],
        clusters,
    )
    found = dip(experiment, lam=settings.lam, seed=settings.seed)
    named = dataclasses.replace(found.estimates, names=(treatment,))
    return _rows(data, named, int(on.sum()), int(on.sum()) + others.height, found.lam)


def _needed(data: _Data, settings: Settings) -> pl.DataFrame:
    """How many answers give an interval of estimate +- half_width, with these predictions and without."""
    on, off = _samples(data)
    rows = []
    for at, term in enumerate(data.terms):
        worth = worth_of_regression(on, off, coefficient=at, family=settings.family)
        alone = dataclasses.replace(worth, mixed=0.0)
        sizes = [
            labels_needed(one, half_width=settings.half_width, others=len(off)) for one in (worth, alone)
        ]
        rows.append((term, settings.half_width, worth.correlation, *sizes))
    names = ("term", "half_width", "correlation", "answers_needed", "answers_needed_alone")
    return pl.DataFrame(rows, schema=list(names), orient="row")
