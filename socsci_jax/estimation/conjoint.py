"""Conjoint experiments: what each level of an attribute does to the choice of a profile.

Sources: Hainmueller, Hopkins and Yamamoto, "Causal inference in conjoint analysis" (2014): average marginal
component effects (AMCE) and interactions; Leeper, Hobolt and Tilley, "Measuring subgroup preferences in conjoint
experiments" (2020): marginal means, and why subgroups are compared by them.
N profiles, G respondents; errors are clustered by respondent with the factor G / (G - 1) (N - 1) / (N - P).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np

from socsci_jax.errors import InputError
from socsci_jax.estimation.linear import Estimates, fit, sum_by_cluster, wald
from socsci_jax.estimation.sampling_weights import Weights, check_weights
from socsci_jax.wording import counted


@dataclasses.dataclass(frozen=True)
class Conjoint:
    """Profiles that respondents rated or chose from.

    `attributes` holds the level [N] of each attribute, `choice` [N] is 1 for the chosen profile and 0 for the other
    (or a rating), `respondent` [N] who answered, `weights` [N] the respondents' sampling weights.  `levels` puts the
    levels of an attribute in order, the baseline first; others are in the order of their names.
    """

    attributes: Mapping[str, np.ndarray]
    choice: np.ndarray
    respondent: np.ndarray
    weights: Weights = Weights()
    levels: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        choice, respondent = np.asarray(self.choice, float), np.asarray(self.respondent)
        if not self.attributes:
            raise InputError(
                "A conjoint without attributes; give the level of each attribute in each profile."
            )
        columns = {name: np.asarray(values).astype(str) for name, values in self.attributes.items()}
        for name, values in {**columns, "respondent": respondent}.items():
            if values.shape != choice.shape:
                raise InputError(
                    f"{name!r} has {values.shape} values for {choice.shape} choices; give one each."
                )
        if not np.isfinite(choice).all():
            raise InputError(
                f"{counted(int((~np.isfinite(choice)).sum()), 'profile has', 'profiles have')} no choice; exclude them."
            )
        for name in self.levels:
            if name not in columns:
                raise InputError(f"Levels of {name!r}, which is no attribute; there are {sorted(columns)}.")
        order = {name: self._order(name, values) for name, values in columns.items()}
        weights = np.ones(len(choice)) if self.weights is None else check_weights(self.weights, len(choice))
        checked = {
            "attributes": columns,
            "choice": choice,
            "respondent": respondent,
            "weights": weights,
            "levels": order,
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def _order(self, name: str, values: np.ndarray) -> tuple[str, ...]:
        observed = np.unique(values).tolist()
        order = tuple(map(str, self.levels.get(name, observed)))
        if missing := set(observed) - set(order):
            raise InputError(
                f"Attribute {name!r} has level {min(missing)!r}, which its levels do not list: {order}."
            )
        order = tuple(level for level in order if level in set(observed))
        if len(order) < 2:
            raise InputError(
                f"Attribute {name!r} has one level, {order[0]!r}, so that it has no effect; exclude it."
            )
        return order

    def rows(self, chosen: np.ndarray) -> Conjoint:
        """The profiles chosen by a mask or indices; levels that are not among them are dropped."""
        return Conjoint(
            {name: values[chosen] for name, values in self.attributes.items()},
            self.choice[chosen],
            self.respondent[chosen],
            self.weights[chosen],
            self.levels,
        )

    def dummies(self, name: str) -> np.ndarray:
        """Indicators [N, L] of the levels of one attribute, the baseline first."""
        return (self.attributes[name][:, None] == np.array(self.levels[name])).astype(float)


@dataclasses.dataclass(frozen=True)
class Components:
    """One estimate for each (attribute, level), in the order of `estimates`."""

    attribute: tuple[str, ...]
    level: tuple[str, ...]
    estimates: Estimates

    def __getitem__(self, key: tuple[str, str]) -> tuple[float, float]:
        """Estimate and standard error of an (attribute, level)."""
        at = list(zip(self.attribute, self.level)).index(key)
        return float(self.estimates.estimate[at]), float(self.estimates.se[at])


def components(
    keys: Sequence[tuple[str, str]], estimate: np.ndarray, covariance: np.ndarray, df: float
) -> Components:
    names = [f"{attribute}: {level}" for attribute, level in keys]
    attributes, levels = zip(*keys)
    return Components(attributes, levels, wald(estimate, covariance, names=names, df=df))


def amce(conjoint: Conjoint, *, restricted: Sequence[Sequence[str]] = ()) -> Components:
    """AMCE of each level against its attribute's baseline: OLS of choice on all attributes' dummies.

    `restricted` lists groups of attributes that the design does not combine freely. Within a group every allowed
    combination gets a dummy, and a level's effect is its mean over the combinations of the others that are allowed
    both with it and with the baseline; otherwise the regression would extrapolate to profiles nobody saw.
    """
    design = effect_design(conjoint, restricted)
    solved = fit(design.X, conjoint.choice, weights=conjoint.weights)
    covariance = solved.covariance("CR1", clusters=conjoint.respondent)
    return components(
        design.keys,
        design.contrasts @ solved.coefficients,
        design.contrasts @ covariance @ design.contrasts.T,
        _df(conjoint),
    )


@dataclasses.dataclass(frozen=True)
class EffectDesign:
    """Regression of AMCEs: X [N, P], the (attribute, level) of each effect, and the effects' contrasts [K, P]."""

    X: np.ndarray
    keys: list[tuple[str, str]]
    contrasts: np.ndarray


def effect_design(conjoint: Conjoint, restricted: Sequence[Sequence[str]] = ()) -> EffectDesign:
    """The design behind `amce`, as it says there."""
    group_of = {name: group for group in map(tuple, restricted) for name in group}
    for name in group_of:
        if name not in conjoint.attributes:
            raise InputError(
                f"{name!r} is restricted, but is no attribute; there are {sorted(conjoint.attributes)}."
            )
    if sum(map(len, restricted)) > len(group_of):
        raise InputError(
            "An attribute stands in two restricted groups; put what is connected into one group."
        )
    columns = [np.ones((len(conjoint.choice), 1))]
    effects: dict[tuple[str, str], tuple[int, np.ndarray]] = {}
    width = 1
    for group in dict.fromkeys(group_of.get(name, (name,)) for name in conjoint.attributes):
        cells, combinations = _cells(conjoint, group)
        columns.append(cells[:, 1:])
        for name in group:
            baseline, *others = conjoint.levels[name]
            for level in others:
                effects[name, level] = width, _contrast(combinations, group.index(name), level, baseline)
        width += cells.shape[1] - 1
    contrasts = np.zeros((len(effects), width))
    for row, (first, contrast) in enumerate(effects.values()):
        contrasts[row, first : first + len(contrast)] = contrast
    return EffectDesign(np.hstack(columns), list(effects), contrasts)


def _cells(conjoint: Conjoint, group: tuple[str, ...]) -> tuple[np.ndarray, list[tuple[str, ...]]]:
    """Indicators [N, C] of the combinations of a group's levels that occur, and these combinations."""
    codes = np.stack([conjoint.dummies(name).argmax(axis=1) for name in group], axis=1)
    unique, at = np.unique(codes, axis=0, return_inverse=True)
    combinations = [tuple(conjoint.levels[name][code] for name, code in zip(group, row)) for row in unique]
    return np.eye(len(unique))[at.reshape(-1)], combinations


def _contrast(combinations: list[tuple[str, ...]], place: int, level: str, baseline: str) -> np.ndarray:
    """Weights [C - 1] of the cells, without the first, in the effect of a level."""
    with_level = {
        cell[:place] + cell[place + 1 :]: at for at, cell in enumerate(combinations) if cell[place] == level
    }
    with_base = {
        cell[:place] + cell[place + 1 :]: at
        for at, cell in enumerate(combinations)
        if cell[place] == baseline
    }
    shared = with_level.keys() & with_base.keys()
    if not shared:
        raise InputError(
            f"Level {level!r} and the baseline {baseline!r} never meet the same others; choose a baseline."
        )
    weight = np.zeros(len(combinations))
    for others in shared:
        weight[with_level[others]] += 1 / len(shared)
        weight[with_base[others]] -= 1 / len(shared)
    return weight[1:]


def marginal_means(conjoint: Conjoint) -> Components:
    """Mean choice of the profiles that have a level: OLS on the dummies of one attribute, without intercept."""
    keys, values, moved, factors = [], [], [], []
    groups, rows = len(np.unique(conjoint.respondent)), len(conjoint.choice)
    for name, levels in conjoint.levels.items():
        solved = fit(conjoint.dummies(name), conjoint.choice, weights=conjoint.weights)
        keys += [(name, level) for level in levels]
        values.append(solved.coefficients)
        moved.append(sum_by_cluster(solved.scores @ solved.inverse_hessian, conjoint.respondent))
        factors += [groups / (groups - 1) * (rows - 1) / (rows - len(levels))] * len(levels)
    influence = np.hstack(moved) * np.sqrt(factors)
    return components(keys, np.concatenate(values), influence.T @ influence, _df(conjoint))


def interactions(conjoint: Conjoint, first: str, second: str) -> Components:
    """How the AMCE of each level of `first` differs with each level of `second`, against both baselines.

    The product terms of OLS of choice on all attributes' dummies and the products of these two.
    """
    main = [conjoint.dummies(name)[:, 1:] for name in conjoint.attributes]
    a, b = conjoint.dummies(first)[:, 1:], conjoint.dummies(second)[:, 1:]
    products = np.einsum("na,nb->nab", a, b).reshape(len(a), -1)
    X = np.hstack([np.ones((len(a), 1)), *main, products])
    solved = fit(X, conjoint.choice, weights=conjoint.weights)
    last = slice(X.shape[1] - products.shape[1], None)
    keys = [
        (f"{first} x {second}", f"{one} x {other}")
        for one in conjoint.levels[first][1:]
        for other in conjoint.levels[second][1:]
    ]
    covariance = solved.covariance("CR1", clusters=conjoint.respondent)
    return components(keys, solved.coefficients[last], covariance[last, last], _df(conjoint))


def by_subgroup(
    conjoint: Conjoint, group: np.ndarray, estimate: Callable[[Conjoint], Components]
) -> dict[Hashable, Components]:
    """`estimate` (amce, marginal_means) within each group [N] of profiles, in the order of the groups' names."""
    group = np.asarray(group)
    return {name: estimate(conjoint.rows(group == name)) for name in np.unique(group).tolist()}


def difference(one: Components, other: Components) -> Components:
    """`one` - `other` for the levels that both have, for two sets of respondents that do not overlap.

    Compare groups by differences of marginal means: differences of AMCEs depend on the baseline.
    """
    keys = list(zip(one.attribute, one.level))
    others = {key: at for at, key in enumerate(zip(other.attribute, other.level))}
    shared = [key for key in keys if key in others]
    here, there = [keys.index(key) for key in shared], [others[key] for key in shared]
    covariance = (
        one.estimates.covariance[np.ix_(here, here)] + other.estimates.covariance[np.ix_(there, there)]
    )
    gap = one.estimates.estimate[here] - other.estimates.estimate[there]
    return components(shared, gap, covariance, min(one.estimates.df, other.estimates.df))


def _df(conjoint: Conjoint) -> float:
    return float(max(len(np.unique(conjoint.respondent)) - 1, 1))
