"""Simulated against human choices of a conjoint experiment: the metrics of effects, on AMCEs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.estimation.conjoint import Conjoint, EffectDesign, amce, effect_design
from socsci_jax.estimation.reliability import resampled_effects
from socsci_jax.evaluation.conjoint import SCHEMA
from socsci_jax.evaluation.metric import EffectMetric
from socsci_jax.evaluation.metrics import EFFECTS
from socsci_jax.evaluation.metrics.effects import correlation
from socsci_jax.evaluation.metrics.moments import moments

RESAMPLES = 2_000
HALVES = 200


def agreement_table(
    human: Conjoint,
    simulated: Conjoint,
    *,
    restricted: Sequence[Sequence[str]] = (),
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pl.DataFrame:
    """Every metric of effects between human and simulated AMCEs, as rows of the conjoint's table; n counts AMCEs.

    Besides them two references: the error of predicting no effect, and r of one half of the respondents with the other
    (at half their number).  Respondents are resampled, of both sides together where they are the same people; the
    interval is the value +- 1.96 standard deviations, for r on Fisher's scale.  (Percentiles would be off: resampled
    effects carry their sampling error twice.)
    """
    designs = effect_design(human, restricted), effect_design(simulated, restricted)
    if designs[0].keys != designs[1].keys:
        differ = set(designs[0].keys) ^ set(designs[1].keys)
        raise InputError(
            f"Human and simulated profiles do not have the same levels; {sorted(differ)[0]} is on one side alone."
        )
    people, at = np.unique(np.concatenate([human.respondent, simulated.respondent]), return_inverse=True)
    places = at[: len(human.respondent)], at[len(human.respondent) :]
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(len(people), np.full(len(people), 1 / len(people)), size=resamples)
    counts_br = np.vstack([np.ones((1, len(people))), counts])
    h, predicted = (
        resampled_effects(side, design, place, counts_br)
        for side, design, place in zip((human, simulated), designs, places)
    )
    se2 = amce(human, restricted=restricted).estimates.se ** 2
    rows = []
    for metric in EFFECTS:
        if isinstance(metric, EffectMetric):
            rows.append(_row(metric.name, *_interval(metric, h, predicted, se2), len(se2)))
            if metric.name == "effect_rmse":
                nothing = _interval(metric, h, np.zeros_like(h), se2)
                rows.append(_row("effect_rmse_of_no_effect", *nothing, len(se2)))
    halves = _half_correlation(human, designs[0], rng)
    rows.append(_row("effect_r_of_human_halves", halves, None, None, None, len(se2)))
    return pl.DataFrame(rows, schema=SCHEMA)


def _interval(
    metric: EffectMetric,
    h: np.ndarray,
    predicted: np.ndarray,
    se2: np.ndarray,
) -> tuple[float | None, float | None, float | None, float | None]:
    """Value, standard error, lo and hi, from effects [1 + B, K] of which the first row is the sample's."""
    # Resampled effects have their error twice, and so has what is taken out of them.
    errors = np.vstack([se2, np.broadcast_to(2 * se2, (len(h) - 1, len(se2)))])
    terms = metric.terms(h, predicted, errors, np.zeros(len(se2), bool))
    reduced = terms.mean(axis=1) if metric.aggregation == "clusters" else terms.sum(axis=1)
    values = np.asarray(metric.of(reduced), float)
    if not np.isfinite(values[0]):
        return None, None, None, None
    resampled = values[1:][np.isfinite(values[1:])]
    if len(resampled) < 0.9 * (len(values) - 1):  # often undefined: no interval is honest
        return float(values[0]), None, None, None
    if metric.transform == "fisher_z":
        edge = 1 - 1e-9
        z = np.arctanh(np.clip(resampled, -edge, edge)).std(ddof=1)
        middle = np.arctanh(np.clip(values[0], -edge, edge))
        lo, hi = np.tanh([middle - 1.96 * z, middle + 1.96 * z])
    else:
        half = 1.96 * resampled.std(ddof=1)
        lo, hi = max(values[0] - half, metric.low), min(values[0] + half, metric.high)
    return float(values[0]), float(resampled.std(ddof=1)), float(lo), float(hi)


def _half_correlation(human: Conjoint, design: EffectDesign, rng: np.random.Generator) -> float | None:
    """Mean r of the AMCEs of two random halves of the respondents, on Fisher's scale."""
    people, place = np.unique(human.respondent, return_inverse=True)
    half = np.stack([rng.permutation(len(people)) < len(people) / 2 for _ in range(HALVES)]).astype(float)
    one, other = (resampled_effects(human, design, place, counts) for counts in (half, 1 - half))
    r = correlation(moments(one, other).sum(axis=1))
    return (
        float(np.tanh(np.nanmean(np.arctanh(np.clip(r, -1 + 1e-9, 1 - 1e-9)))))
        if np.isfinite(r).any()
        else None
    )


def _row(
    name: str, value: float | None, se: float | None, lo: float | None, hi: float | None, n: int
) -> dict[str, object]:
    empty = dict.fromkeys(("group", "attribute", "level", "p"))
    return {
        "source": "agreement",
        "estimand": name,
        "estimate": value,
        "se": se,
        "lo": lo,
        "hi": hi,
        "n": n,
        **empty,
    }
