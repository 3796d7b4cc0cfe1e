"""How answers of simulated respondents hang together: correlations of pairs of outcomes, and reliability of batteries.

Where pairs of outcomes are asked by themselves, the joint distribution of their answers is known exactly for every persona,
and so are the correlations; everything else is computed from the drawn rows, and has their sampling error.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.estimation.within_person import (
    Covariances,
    alpha_of_rows,
    correlation,
    covariances,
    cramers_v,
    cronbach_alpha,
)
from socsci_jax.forecasting.population import Population
from socsci_jax.studies.chains import Chain, Joint
from socsci_jax.studies.schema import Item

# Tidy, a row a value.  `source` is "exact" (from joint distributions; no interval, because nothing is drawn), "rows" (of
# simulated respondents), or "people" (rows of people's own answers).
STATISTICS: dict[str, pl.DataType | type[pl.DataType]] = {
    **dict.fromkeys(("statistic", "study", "condition", "outcome", "other", "model"), pl.String),
    **dict.fromkeys(("value", "lo", "hi"), pl.Float64),
    "n": pl.Int64,  # rows used; personas, where exact
    "source": pl.String,
}
# A first question with more answers is not asked once for each of them: its pairs are those of the rows.
MOST_ANSWERS = 21
_Z95 = 1.959963984540054


@dataclasses.dataclass(frozen=True)
class Battery:
    """Several outcomes that measure one thing; `signs` are -1 for those that are reverse-coded.

    `ends` are lo + hi of each outcome's scale: a reverse-coded answer y becomes lo + hi − y.
    """

    name: str
    outcomes: tuple[str, ...]
    signs: tuple[int, ...]
    ends: tuple[float, ...]

    @property
    def written(self) -> list[str]:
        return [("-" if sign < 0 else "") + name for name, sign in zip(self.outcomes, self.signs)]

    def coded(self) -> list[pl.Expr]:
        """The answers to its outcomes, all in its direction."""
        return [
            pl.col(name) if sign > 0 else end - pl.col(name)
            for name, sign, end in zip(self.outcomes, self.signs, self.ends)
        ]


@dataclasses.dataclass(frozen=True)
class Pairs:
    """`table` has rows of STATISTICS; `exact` the covariances of (condition, outcome, other), where these are known, over so
    many `personas`."""

    table: pl.DataFrame
    personas: int
    exact: Mapping[tuple[str, str, str], Covariances]


def table_of(rows: Sequence[Mapping[str, object]]) -> pl.DataFrame:
    """Rows of STATISTICS; what a row does not name is null."""
    return pl.DataFrame([{**dict.fromkeys(STATISTICS), **row} for row in rows], schema=STATISTICS)


def read_batteries(
    declared: Mapping[str, Sequence[str]], items: Sequence[Item], *, columns: Sequence[str]
) -> list[Battery]:
    """Batteries as they are declared; raises InputError for outcomes that are not among `items` or have no order, and for
    names that one of the rows' `columns` has."""
    known = {item.outcome: item.scale for item in items}
    read = []
    for name, written in declared.items():
        outcomes = tuple(text.strip().removeprefix("-").strip() for text in written)
        if absent := [outcome for outcome in outcomes if outcome not in known]:
            raise InputError(f"battery {name!r}: {absent[0]!r} is no outcome; known are {', '.join(known)}.")
        if nominal := [outcome for outcome in outcomes if known[outcome].nominal]:
            raise InputError(f"battery {name!r}: the answers to {nominal[0]!r} have no order.")
        if name in columns or not name.isidentifier():
            raise InputError(
                f"battery {name!r}: name it by letters, digits and _, as no outcome or attribute is."
            )
        if len(outcomes) < 2 or len(set(outcomes)) < len(outcomes):
            raise InputError(f"battery {name!r}: give two outcomes or more, each once.")
        signs = tuple(-1 if text.strip().startswith("-") else 1 for text in written)
        ends = tuple(float(known[o].levels[0] + known[o].levels[-1]) for o in outcomes)
        read.append(Battery(name, outcomes, signs, ends))
    return read


def ordered_answers(rows: pl.DataFrame, items: Sequence[Item]) -> pl.DataFrame:
    """The rows with answers outside a scale ("don't know") as null."""
    return rows.with_columns(
        pl.when(pl.col(item.outcome).cast(pl.Float64).is_in(list(map(float, item.scale.levels))))
        .then(pl.col(item.outcome).cast(pl.Float64))
        .alias(item.outcome)
        for item in items
    )


def with_scores(rows: pl.DataFrame, batteries: Sequence[Battery], items: Sequence[Item]) -> pl.DataFrame:
    """The rows with the mean of each battery, null where one of its answers lies outside its scale."""
    answers = ordered_answers(rows, items)
    means = [pl.mean_horizontal(one.coded(), ignore_nulls=False).alias(one.name) for one in batteries]
    return rows.with_columns(answers.select(means)) if means else rows


def pair_statistics(
    arms: Mapping[str, tuple[Item, ...]],
    rows: pl.DataFrame,
    *,
    joints: Callable[[Sequence[Chain]], list[Joint]] | None,
    population: Population,
) -> Pairs:
    """For each condition and pair of outcomes r, r_within, r_between, cramers_v and both_answered.

    Exact where `joints` is given and the first outcome has at most MOST_ANSWERS answers: the two outcomes are asked of every
    persona by themselves, in their order.  Else r, cramers_v and both_answered are of the rows.
    """
    personas = population.attributes
    wanted = [
        (arm, first, second)
        for arm, items in arms.items()
        for first, second in itertools.combinations(items, 2)
    ]
    exact = [pair for pair in wanted if joints is not None and len(pair[1].scale.levels) <= MOST_ANSWERS]
    chains = [Chain((first, second), persona) for _, first, second in exact for persona in personas]
    computed = iter(joints(chains)) if joints is not None and chains else iter(())
    table: list[dict[str, object]] = []
    known: dict[tuple[str, str, str], Covariances] = {}
    for arm, first, second in wanted:
        key = {"study": first.study_id, "condition": arm, "outcome": first.outcome, "other": second.outcome}
        if (arm, first, second) in exact:
            own = list(itertools.islice(computed, len(personas)))
            values, moments = _of_joints(own, first, second, population.weights)
            if moments is not None:
                known[arm, first.outcome, second.outcome] = moments
            table += [
                {**key, "statistic": name, "value": value, "n": len(personas), "source": "exact"}
                for name, value in values.items()
            ]
        else:
            of_arm = ordered_answers(rows.filter(condition=arm), (first, second))
            table += [{**key, **row, "source": "rows"} for row in _of_rows(of_arm, first, second)]
    return Pairs(table_of(table), len(personas), known)


def _of_joints(
    joints: Sequence[Joint], first: Item, second: Item, weights: np.ndarray
) -> tuple[dict[str, float | None], Covariances | None]:
    """Statistics of a pair from the joint distributions of all personas, over answers on both scales."""
    sizes = len(first.scale.levels), len(second.scale.levels)
    # Levels come first among the answers, alternatives after them.
    probs = np.stack([joint.probs[: sizes[0], : sizes[1]] for joint in joints])
    both = float(weights @ probs.sum((1, 2)))
    statistics: dict[str, float | None] = {}
    moments = None
    if not first.scale.nominal and not second.scale.nominal and both > 0:
        at = [np.asarray(scale.levels, float) for scale in (first.scale, second.scale)]
        moments = covariances(probs, at[0], at[1], weights)
        statistics = {
            "r": correlation(moments.total),
            "r_within": correlation(moments.within),
            "r_between": correlation(moments.between),
        }
    statistics["cramers_v"] = cramers_v(np.einsum("p,pab->ab", weights, probs)) if both > 0 else None
    return {**statistics, "both_answered": both}, moments


def _of_rows(rows: pl.DataFrame, first: Item, second: Item) -> list[dict[str, object]]:
    """The same of rows, with the interval of a correlation by Fisher's z."""
    own = rows.select(a=first.outcome, b=second.outcome).drop_nulls()
    share = own.height / rows.height
    table: list[dict[str, object]] = [{"statistic": "both_answered", "value": share, "n": rows.height}]
    if own.is_empty():
        return table
    a, b = (own[name].to_numpy() for name in "ab")
    levels = [np.asarray(item.scale.levels, float) for item in (first, second)]
    counts = np.zeros((len(levels[0]), len(levels[1])))
    np.add.at(counts, (np.searchsorted(levels[0], a), np.searchsorted(levels[1], b)), 1)
    table.insert(0, {"statistic": "cramers_v", "value": cramers_v(counts), "n": own.height})
    if not first.scale.nominal and not second.scale.nominal:
        r = correlation(np.cov(a, b)) if own.height > 3 else None
        lo, hi = (None, None) if r is None else _fisher(r, own.height)
        table.insert(0, {"statistic": "r", "value": r, "lo": lo, "hi": hi, "n": own.height})
    return table


def _fisher(r: float, n: int) -> tuple[float, float]:
    z, half = math.atanh(min(max(r, -1 + 1e-12), 1 - 1e-12)), _Z95 / math.sqrt(n - 3)
    return math.tanh(z - half), math.tanh(z + half)


def reliability(
    batteries: Sequence[Battery],
    arms: Mapping[str, tuple[Item, ...]],
    rows: pl.DataFrame,
    pairs: Pairs,
    *,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Cronbach's alpha of each battery in each condition: of the rows, and exactly where all its pairs are known."""
    table: list[dict[str, object]] = []
    for battery in batteries:
        for arm, items in arms.items():
            key = {
                "statistic": "alpha",
                "study": items[0].study_id,
                "condition": arm,
                "outcome": battery.name,
                "model": ", ".join(battery.written),
            }
            answers = ordered_answers(rows.filter(condition=arm), items).select(
                coded.alias(name) for coded, name in zip(battery.coded(), battery.outcomes)
            )
            complete = answers.drop_nulls().to_numpy()
            if len(complete) > 2:
                alpha = alpha_of_rows(complete, rng=rng)
                ends = {"lo": alpha.lo, "hi": alpha.hi}
                table.append({**key, "value": alpha.estimate, **ends, "n": len(complete), "source": "rows"})
            matrix = _covariance_matrix(battery, arm, pairs)
            if matrix is not None:
                table.append({**key, "value": cronbach_alpha(matrix), "n": pairs.personas, "source": "exact"})
    return table_of(table)


def _covariance_matrix(battery: Battery, arm: str, pairs: Pairs) -> np.ndarray | None:
    """Covariances [K, K] of a battery from its pairs; a variance is the mean over the pairs that an outcome is in."""
    size = len(battery.outcomes)
    matrix, variances = np.zeros((size, size)), np.zeros(size)
    for i, j in itertools.combinations(range(size), 2):
        one, other = battery.outcomes[i], battery.outcomes[j]
        forward, backward = (arm, one, other), (arm, other, one)
        covariances = pairs.exact.get(forward) or pairs.exact.get(backward)
        if covariances is None:
            return None
        total = covariances.total if forward in pairs.exact else covariances.total[::-1, ::-1]
        matrix[i, j] = matrix[j, i] = battery.signs[i] * battery.signs[j] * total[0, 1]
        variances[[i, j]] += np.diag(total) / (size - 1)
    return matrix + np.diag(variances)
