"""How far predictions move with what should not matter: the order of options, wording, format of the persona.

A predictions table with a column `variant` holds the same predictions made several times.  Nothing here looks at people.
"""

from __future__ import annotations

import numpy as np

from socsci_jax.evaluation.metric import Metric
from socsci_jax.evaluation.metrics.distributions import positions, wasserstein

# Effects nearer to zero than this have no sign.
NO_SIGN = 1e-12


def spread(probs_vl: np.ndarray, *, levels_l: np.ndarray) -> float:
    """Standard deviation (V − 1) over variants of the mean position; NaN for one variant."""
    means = probs_vl @ positions(levels_l)
    return float(means.std(ddof=1)) if means.size > 1 else float("nan")


def distance(probs_vnl: np.ndarray, *, levels_l: np.ndarray) -> np.ndarray:
    """Mean Wasserstein distance [...] over the pairs of variants of `probs_vnl` [V, ..., L]."""
    one, other = np.triu_indices(len(probs_vnl), k=1)
    return wasserstein(probs_vnl[one], probs_vnl[other], levels_l=levels_l).mean(axis=0)


def survival_terms(effects_kv: np.ndarray) -> np.ndarray:
    """Terms [K, 2] of effects in V variants: mean product of two variants, mean square."""
    variants = effects_kv.shape[1]
    square = (effects_kv**2).sum(axis=1)
    product = (effects_kv.sum(axis=1) ** 2 - square) / (variants * (variants - 1))
    return np.stack([product, square / variants], axis=1)


def survival(sums: np.ndarray) -> np.ndarray:
    """Share [...] of the squared effects that two variants have in common, from sums of `survival_terms` [..., 2]."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(sums[..., 1] > 0, sums[..., 0] / sums[..., 1], np.nan)


def same_sign(effects_kv: np.ndarray) -> np.ndarray:
    """Whether each effect [K] has one sign in all variants, zero being none."""
    signs = np.where(np.abs(effects_kv) > NO_SIGN, np.sign(effects_kv), 0.0)
    return (np.abs(signs.sum(axis=1)) == effects_kv.shape[1]).astype(float)


METRICS = (
    Metric(
        name="variant_spread",
        title="Spread of the predicted mean over variants of the prompt",
        unit="range",
        better="lower",
        aggregation="items",
        citation="Tjuatja et al. 2024, TACL 12 (response biases under changes of prompts)",
        formula="standard deviation over variants (V − 1) of an item's predicted mean position",
        trap="From draws it contains the error of the draws. Swapped personas leave an item's mean as it is: look at "
        "variant_person_distance.",
        example="Levels 1 to 5, predicted means 3.0 and 3.4: positions 0.5 and 0.6, so 0.0707.",
    ),
    Metric(
        name="variant_distance",
        title="Distance between the variants' distributions",
        unit="range",
        high=1.0,
        better="lower",
        aggregation="items",
        citation="Vallender 1974, Theory of Probability and its Applications 18(4)",
        formula="mean over pairs of variants of the Wasserstein distance between an item's predicted distributions",
        trap="Small for a model that says the same to everything: compare with how far items are apart.",
        example="Levels 1 and 2, P(2) of 0.5 and 0.7: 0.2.",
    ),
    Metric(
        name="variant_person_distance",
        title="Distance between the variants' predictions of one person",
        unit="range",
        high=1.0,
        better="none",
        aggregation="items",
        citation="–",
        formula="mean over people and pairs of variants of the Wasserstein distance between a person's distributions",
        trap="For order and wording low is good. For swapped personas (variant `persona: swapped`) near 0 means that "
        "predictions do not use personas. Needs probabilities: one draw is never the other.",
        example="Person 1 moves by 0.1 of the range, person 2 by 0.3: 0.2.",
    ),
    Metric(
        name="variant_effect_survival",
        title="Share of predicted effects that survives a change of the prompt",
        unit="share of squared effects",
        low=-np.inf,
        high=1.0,
        better="higher",
        aggregation="sums",
        digits=2,
        citation="Intraclass correlation about zero: Shrout and Fleiss 1979, Psychological Bulletin 86(2)",
        formula="Σ_k mean over pairs of variants of l_kv · l_kw / Σ_k mean over variants of l_kv²",
        trap="1 for effects that are wrong in every variant alike; unstable where predicted effects are tiny.",
        example="One contrast, effects 0.1 and 0.3: 0.03 / 0.05 = 0.6.",
    ),
    Metric(
        name="variant_sign_agreement",
        title="Effects whose sign is the same in all variants",
        unit="share of contrasts",
        high=1.0,
        better="higher",
        aggregation="clusters",
        digits=2,
        citation="–",
        formula="mean over contrasts of 1[sign l_kv is the same for all v], 0 where one is zero",
        trap="By chance 2^(1 − V) with V variants; falls with the number of variants.",
        example="Two contrasts in two variants, (0.1, 0.2) and (0.1, −0.1): 0.5.",
    ),
)
