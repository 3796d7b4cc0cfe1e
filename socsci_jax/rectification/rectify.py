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
from socsci_jax.estimation.linear import Estimates, Family, degrees, fit
from socsci_jax.estimation.power import curve, labels_needed, worth_of_regression
from socsci_jax.estimation.ppi import Sample, ppi
from socsci_jax.rectification.for_r import people_for_r
from socsci_jax.rectification.formula import Formula, baselines, parse_formula
from socsci_jax.rectification.predicted import ARM_0, ARM_1, PREDICTION
from socsci_jax.rectification.prepare import Prepared, Settings, prepare
from socsci_jax.rectification.tables import Joined, join
from socsci_jax.wording import counted

_NOTHING_PREDICTED = "every row has an answer, so that there is nothing to predict."


@dataclasses.dataclass(frozen=True)
class Rectification:
    """`table`: method, term, estimate, se, lo, hi, p, n_labeled, n_predicted, lambda; `needed`: answers needed for
    the half width that was asked for; `curve`: half widths and power over numbers of answers; `rejects`: keys and reason
    of every excluded row, and of rows of GOLD without an answer; `people`: the rows that were estimated from, as packages of R take them (`people_for_r`)."""

    table: pl.DataFrame
    needed: pl.DataFrame | None
    curve: pl.DataFrame | None
    rejects: pl.DataFrame
    people: pl.DataFrame
    notes: tuple[str, ...]


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
    Raises InputError for input that cannot be used; what one method cannot do is excluded from the table and noted.
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
    data, joined = prepare(joined, parsed, settings, treatment)
    rows, notes = _by_method(data, joined, parsed, treatment, settings)
    people = people_for_r(data, joined.keys, parsed, treatment)
    return Rectification(
        table=pl.DataFrame(rows, schema=_SCHEMA),
        needed=None if settings.half_width is None else _needed(data, settings),
        curve=None if settings.effect is None else _curve(data, settings),
        rejects=joined.rejects,
        people=people,
        notes=tuple(notes),
    )


_SCHEMA = {
    "method": pl.String,
    "term": pl.String,
    **dict.fromkeys(("estimate", "se", "lo", "hi", "p"), pl.Float64),
    "n_labeled": pl.Int64,
    "n_predicted": pl.Int64,
    "lambda": pl.Float64,
}


def _by_method(
    data: Prepared, joined: Joined, formula: Formula, treatment: str | None, settings: Settings
) -> tuple[list[dict], list[str]]:
    """Rows of every method that can be used, and notes: those of the tables, and why a method cannot."""
    notes = list(joined.notes)
    if settings.probability is None and not data.labeled.all():
        share = data.labeled.mean()
        notes.append(
            f"everybody is taken to have been asked with the same probability, {share:.4g} (no column given)"
        )
    rows: list[dict] = []

    def add(method: str, estimate: Callable[[], list[dict]]) -> None:
        try:
            rows.extend({"method": method, **row} for row in estimate())
        except InputError as error:
            notes.append(f"{method} is not computed: {error}")

    both_arms = joined.both_arms and formula.single is not None
    add("naive", lambda: _naive_difference(data, treatment) if both_arms else _naive(data, settings))
    add("labels only", lambda: _labels_only(data, settings))
    add("DSL", lambda: _dsl(data, settings))
    add("PPI++", lambda: _ppi(data, settings))
    if joined.both_arms:
        add("DiP", lambda: _dip(data, formula, treatment, settings))
    if not rows:
        raise InputError(f"No method can be used. {notes[-1]}")
    notes += [
        f"{name}: every other level is compared with {first!r}, the first in order"
        for name, first in baselines(formula, data.frame).items()
    ]
    if formula.names and not joined.both_arms:
        notes.append(
            "DiP (difference in predictions) is not computed: it needs predictions of both arms for every person, in columns "
            "S0 and S1 or in rows of one person with the treatment 0 and 1"
        )
    return rows, notes


def _rows(
    data: Prepared, estimates: Estimates, n: int, predicted: int, lam: float | None = None
) -> list[dict]:
    return [
        {
            "term": term, "estimate": estimates.estimate[at], "se": estimates.se[at], "lo": estimates.lo[at], "hi": estimates.hi[at],
            "p": estimates.p[at], "n_labeled": n, "n_predicted": predicted, "lambda": lam,
        }
        for at, term in enumerate(estimates.names)
    ]  # fmt: skip


def _naive(data: Prepared, settings: Settings) -> list[dict]:
    """Predictions taken for answers."""
    solved = fit(data.X, data.prediction, family=settings.family, weights=data.weights)
    kind = "HC2" if data.clusters is None else "CR1"
    return _rows(data, solved.estimates(kind, clusters=data.clusters, names=data.terms), 0, len(data.y))


def _naive_difference(data: Prepared, treatment: str) -> list[dict]:
    """Predictions taken for answers where both arms are predicted: everybody's difference between the two."""
    gain = pl.concat([data.frame.select(ARM_0, ARM_1), data.personas.select(ARM_0, ARM_1)])
    gain = (gain[ARM_1] - gain[ARM_0]).to_numpy()
    estimates = fit(np.ones((len(gain), 1)), gain).estimates("HC2", names=[treatment])
    return _rows(data, estimates, 0, len(gain))


def _labels_only(data: Prepared, settings: Settings) -> list[dict]:
    on = data.sample(data.labeled, labeled=True)
    solved = fit(on.X, on.y, family=settings.family, weights=on.weights)
    kind = "HC2" if on.clusters is None else "CR1"
    # The t of PPI++, so that answers alone and lambda = 0 have the same interval.
    df = degrees(on.clusters, rows=len(on) - len(data.terms))
    return _rows(data, solved.estimates(kind, clusters=on.clusters, names=data.terms, df=df), len(on), 0)


def _dsl(data: Prepared, settings: Settings) -> list[dict]:
    if data.labeled.all():
        raise InputError(_NOTHING_PREDICTED)
    _check_asked(data)
    known = {
        "prediction": data.prediction, "y": data.y, "labeled": data.labeled, "probability": data.probability,
        "family": settings.family, "weights": data.weights, "clusters": data.clusters, "names": data.terms,
    }  # fmt: skip
    if settings.splits:
        estimates = dsl_over_splits(data.X, **known, splits=settings.splits, seed=settings.seed)
    else:
        estimates = dsl(data.X, **known)
    return _rows(data, estimates, int(data.labeled.sum()), len(data.y))


def _check_asked(data: Prepared) -> None:
    """Raises InputError if the answers are of too few people, or of one group alone, to correct each coefficient."""
    asked = data.X[data.labeled & (data.weights > 0)]
    size = np.sqrt((data.X**2).sum(axis=0))
    rank = 0 if asked.size == 0 else np.linalg.matrix_rank(asked / np.where(size > 0, size, 1))
    if len(asked) <= len(data.terms) or rank < len(data.terms):
        raise InputError(
            f"the {counted(len(asked), 'answer')} cannot tell {counted(len(data.terms), 'coefficient')} apart, so that predictions would stand "
            "uncorrected; ask people of every group."
        )


def _samples(data: Prepared) -> tuple[Sample, Sample]:
    if data.labeled.all():
        raise InputError(_NOTHING_PREDICTED)
    off = data.probability[~data.labeled]
    if data.varies and not ((off > 0) & (off < 1)).all():
        raise InputError(
            "it needs the labeling probability, above 0 and below 1, of people who were not asked too."
        )
    return data.sample(data.labeled, labeled=True), data.sample(~data.labeled, labeled=False)


def _ppi(data: Prepared, settings: Settings) -> list[dict]:
    """Each coefficient with the weight of the predictions that is best for it."""
    on, off = _samples(data)
    rows = []
    for at in range(len(data.terms)):
        result = ppi(
            on,
            off,
            family=settings.family,
            lam=settings.lam,
            coefficient=at,
            seed=settings.seed,
            names=data.terms,
        )
        rows.append(_rows(data, result.estimates, len(on), len(on) + len(off), result.lam)[at])
    return rows


def _dip(data: Prepared, formula: Formula, treatment: str, settings: Settings) -> list[dict]:
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
        raise InputError(_NOTHING_PREDICTED)
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
    result = dip(experiment, lam=settings.lam, seed=settings.seed)
    named = dataclasses.replace(result.estimates, names=(treatment,))
    return _rows(data, named, int(on.sum()), int(on.sum()) + others.height, result.lam)


def _needed(data: Prepared, settings: Settings) -> pl.DataFrame:
    """How many answers give an interval of estimate +- half_width, with these predictions and without."""
    on, off = _samples(data)
    rows = []
    for at, term in enumerate(data.terms):
        worth = worth_of_regression(on, off, coefficient=at, family=settings.family)
        alone = dataclasses.replace(worth, mixed=0.0)
        sizes = [
            labels_needed(one, half_width=settings.half_width, others=len(off), fewest=len(data.terms) + 1)
            for one in (worth, alone)
        ]
        rows.append((term, settings.half_width, worth.correlation, *sizes))
    names = ("term", "half_width", "correlation", "answers_needed", "answers_needed_alone")
    return pl.DataFrame(rows, schema=list(names), orient="row")


def _curve(data: Prepared, settings: Settings) -> pl.DataFrame:
    """term, answers, half_width and power with predictions and alone, and answers alone that give the same interval;
    from a quarter of the answers that there are to sixteen times as many."""
    on, off = _samples(data)
    n = np.unique(np.round(len(on) * 2.0 ** np.arange(-2, 4.5, 0.5)))
    n = n[n > len(data.terms)]
    frames = []
    for at, term in enumerate(data.terms):
        worth = worth_of_regression(on, off, coefficient=at, family=settings.family)
        points = curve(worth, n=n, others=len(off), effect=settings.effect)
        frames.append(
            pl.DataFrame(
                {
                    "term": [term] * len(n),
                    "answers": n.astype(int),
                    "half_width": points.half_width,
                    "half_width_alone": points.half_width_alone,
                    "equivalent_answers": points.equivalent,
                    "power": points.power,
                    "power_alone": points.power_alone,
                }
            )
        )
    return pl.concat(frames)
