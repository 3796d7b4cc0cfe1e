"""What is known of people, in groups, and the baseline that predicts from it alone.

The baseline is an ordered logistic regression (McCullagh 1980, Journal of the Royal Statistical Society B 42):
P(y ≤ l) = σ(c_l − xβ).  Its cuts c are those of the outcome's answers in training, or of training items with as many
levels where the outcome was not asked there; β is common to all outcomes.  It knows who answers, and nothing of
stimuli or conditions.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import polars as pl
from scipy.optimize import minimize
from scipy.special import expit, logit

MOST_GROUPS = 8
AGE_BANDS = ((18, 29), (30, 44), (45, 59), (60, 200))
_YEARS = r"(?i)\s*(years?|yrs?|y)?[\s-]*(old)?\s*$"
# So many training answers are fitted; more would only take longer.
MOST_ANSWERS = 40_000
# A weak pull of β toward zero: groups of a handful of people have none to speak of.
RIDGE = 1.0
_PEOPLE_AT_A_TIME = 65_536


@dataclasses.dataclass(frozen=True)
class Attribute:
    """One attribute of people: its groups, and the group [P] of each person of `people`, -1 where unknown."""

    name: str
    groups: tuple[str, ...]
    code_p: np.ndarray

    @functools.cached_property
    def shares(self) -> np.ndarray:
        """Share of each group among those of whom it is known; counted once, for there may be a million people."""
        counts = np.bincount(self.code_p[self.code_p >= 0], minlength=len(self.groups))
        return counts / max(counts.sum(), 1)


@dataclasses.dataclass(frozen=True)
class Demographics:
    """Attributes with few groups, and the row of each (study, participant)."""

    row_of: dict[tuple[str, str], int]
    attributes: tuple[Attribute, ...]

    def rows(self, study: str, people: Sequence[str]) -> np.ndarray:
        """Row [N] of each person of a study, -1 for a stranger."""
        return np.array([self.row_of.get((study, person), -1) for person in people], dtype=int)

    def dummies(self, rows: np.ndarray) -> np.ndarray:
        """A column for each group of each attribute but its first [N, X]; unknown is the middle of all."""
        columns = []
        for attribute in self.attributes:
            code = np.where(rows >= 0, attribute.code_p[rows], -1)
            for group in range(1, len(attribute.groups)):
                columns.append(np.where(code >= 0, (code == group) - attribute.shares[group], 0.0))
        return np.stack(columns, axis=1) if columns else np.zeros((rows.size, 0))

    @classmethod
    def of(cls, participants: pl.DataFrame) -> Demographics:
        """From a store's participants; attributes of more than MOST_GROUPS values are left alone, but ages are banded."""
        keys = participants.select("study_id", "participant_id").iter_rows()
        row_of = {key: k for k, key in enumerate(keys)}
        attributes = []
        if "attributes" in participants.columns and participants.height:
            for name, values in participants["attributes"].struct.unnest().to_dict().items():
                values = banded(values) if name == "age" else values
                groups = tuple(sorted(values.drop_nulls().unique().to_list()))
                if 2 <= len(groups) <= MOST_GROUPS:
                    number = {group: k for k, group in enumerate(groups)}
                    codes = [number.get(value, -1) for value in values.to_list()]
                    attributes.append(Attribute(name, groups, np.array(codes)))
        return cls(row_of, tuple(attributes))


def banded(ages: pl.Series) -> pl.Series:
    """Ages in years as bands, "34 years" as 34; other texts as they are."""
    numbers = ages.cast(pl.String).str.replace(_YEARS, "").cast(pl.Float64, strict=False)
    if numbers.null_count() > ages.null_count():
        return ages

    def band(age: float | None) -> str | None:
        return next(
            (f"{lo}–{hi}" if hi < 200 else f"{lo}+" for lo, hi in AGE_BANDS if age and lo <= age < hi + 1),
            None,
        )

    return pl.Series([band(age) for age in numbers.to_list()], dtype=pl.String)


@dataclasses.dataclass(frozen=True)
class Regression:
    """The fitted β [X] and the people it is of."""

    beta: np.ndarray
    people: Demographics

    @functools.cached_property
    def _shift_p(self) -> np.ndarray:
        """xβ of every person; made once, for most people answer many items."""
        rows = np.arange(self.people.attributes[0].code_p.size)
        parts = np.array_split(rows, rows.size // _PEOPLE_AT_A_TIME + 1)
        return np.concatenate([self.people.dummies(part) @ self.beta for part in parts])

    def predict(self, marginal_l: np.ndarray, *, study: str, people: Sequence[str]) -> np.ndarray:
        """Probabilities [N, L] of people, around the distribution [L] of everybody."""
        rows = self.people.rows(study, people)
        shift = np.where(rows >= 0, self._shift_p[rows], 0.0)
        below = expit(_cuts(marginal_l)[None, :] - shift[:, None])
        edges = np.concatenate([np.zeros((rows.size, 1)), below, np.ones((rows.size, 1))], axis=1)
        probs = np.maximum(np.diff(edges, axis=1), 0)
        return probs / probs.sum(axis=1, keepdims=True)


def _cuts(marginal_l: np.ndarray) -> np.ndarray:
    return logit(np.clip(np.cumsum(marginal_l)[:-1], 1e-4, 1 - 1e-4))


def fit(
    answers: Sequence[tuple[str, Sequence[str], np.ndarray, np.ndarray]], people: Demographics
) -> Regression | None:
    """Fits β to training answers by outcome: (study, people [N], level indices [N], the outcome's distribution [L]).

    None where nothing is known of people or nothing was trained on.
    """
    if not people.attributes or not answers:
        return None
    rows, upper, lower = [], [], []
    for study, names, codes, marginal_l in answers:
        cuts = np.concatenate([[-np.inf], _cuts(marginal_l), [np.inf]])
        rows.append(people.rows(study, names))
        upper.append(cuts[codes + 1])
        lower.append(cuts[codes])
    x_nx = people.dummies(np.concatenate(rows))
    hi, lo = np.concatenate(upper), np.concatenate(lower)

    def loss(beta: np.ndarray) -> tuple[float, np.ndarray]:
        shift = x_nx @ beta
        above, below = expit(hi - shift), expit(lo - shift)
        mass = np.maximum(above - below, 1e-12)
        # dP/d(shift) = -(σ' at the upper cut − σ' at the lower one).
        slope = above * (1 - above) - below * (1 - below)
        gradient = x_nx.T @ (slope / mass) + RIDGE * beta
        return float(-np.log(mass).sum() + 0.5 * RIDGE * beta @ beta), gradient

    minimum = minimize(loss, np.zeros(x_nx.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 100})
    return Regression(minimum.x, people)
