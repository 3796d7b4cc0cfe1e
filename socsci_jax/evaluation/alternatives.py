"""Answers outside the order of a scale ("don't know"): how many people gave them, and what was predicted of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl

from socsci_jax.studies.scale import Scale


@dataclasses.dataclass(frozen=True, kw_only=True)
class Alternatives:
    """Shares of the alternatives of one item among all its answers, on the scale and outside it.

    `codes_a` [A] ascend; `observed_a` [A] are shares of the `people` who have a prediction, `predicted_a` [A] the
    means of what was predicted of the same people, 0 where a prediction leaves the alternative out.
    """

    codes_a: np.ndarray
    labels: tuple[str, ...]
    observed_a: np.ndarray
    predicted_a: np.ndarray
    people: int

    def share(self, shares_a: np.ndarray, label: str | None) -> float:
        """Sum of shares [A], or that of the alternative with this label; NaN where there is none."""
        if label is None:
            return float(shares_a.sum())
        return float(shares_a[self.labels.index(label)]) if label in self.labels else float("nan")

    @property
    def error(self) -> float:
        """Total variation between observed and predicted shares, all levels being one answer."""
        gap_a = self.predicted_a - self.observed_a
        return 0.5 * float(np.abs(gap_a).sum() + abs(gap_a.sum()))


def alternatives_of(
    scale: Scale, answers: pl.DataFrame, *, exact: pl.DataFrame | None, drawn: pl.DataFrame | None
) -> Alternatives | None:
    """Compares `answers` (participant_id, value) with the rows of the predictions table of their item.

    Exact rows come before draws where a person has both.  None for a scale without alternatives, and where nobody
    has a prediction.
    """
    if not scale.alternatives:
        return None
    codes = np.array(scale.alternatives, float)
    predicted_of = _shares_of_draws(scale, drawn) | _shares_of_probs(codes, exact)
    everybody = predicted_of.pop(None, None)
    observed, predicted = [], []
    for person, value in answers.select("participant_id", "value").iter_rows():
        share = predicted_of.get(person, everybody)
        if share is None or not (scale.allows(value) or scale.is_alternative(value)):
            continue
        observed.append(codes == value)
        predicted.append(share)
    if not observed:
        return None
    return Alternatives(
        codes_a=codes,
        labels=scale.alternative_labels,
        observed_a=np.mean(observed, axis=0),
        predicted_a=np.mean(predicted, axis=0),
        people=len(observed),
    )


def _shares_of_probs(codes: np.ndarray, exact: pl.DataFrame | None) -> dict[str | None, np.ndarray]:
    if exact is None:
        return {}
    shares = {}
    for person, levels, probs in exact.select("participant_id", "levels", "probs").iter_rows():
        given = dict(zip(levels, probs))
        shares[person] = np.array([given.get(code, 0.0) for code in codes.tolist()]) / sum(probs)
    return shares


def _shares_of_draws(scale: Scale, drawn: pl.DataFrame | None) -> dict[str | None, np.ndarray]:
    """Shares of valid draws; nothing of people without any."""
    if drawn is None:
        return {}
    codes = np.array(scale.alternatives, float)
    draws: dict[str | None, list[np.ndarray]] = {}
    for person, value in drawn.select("participant_id", "value").iter_rows():
        if value is not None and (scale.allows(value) or scale.is_alternative(value)):
            draws.setdefault(person, []).append(codes == value)
    return {person: np.mean(values, axis=0) for person, values in draws.items()}
