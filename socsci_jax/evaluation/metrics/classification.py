"""How far two sides agree on labels without an order, from matrices of counts.

`counts` [..., L, L]: how often one side gave label r (rows) where the other gave label c (columns); shares and
expected counts will do as well.  Values are arrays [...], NaN where they are not defined.
"""

from __future__ import annotations

import numpy as np

from socsci_jax.evaluation.metric import LabelMetric

# Below this, chance agreement differs from certainty by nothing but rounding.
ZERO = 1e-12


def accuracy(counts: np.ndarray) -> np.ndarray:
    """Share of documents on the diagonal of `counts` [..., L, L]."""
    return _over(_diagonal(counts).sum(axis=-1), counts.sum(axis=(-2, -1)))


def macro_f1(counts: np.ndarray) -> np.ndarray:
    """Mean over labels of F1 = 2 tp / (2 tp + fp + fn) (van Rijsbergen 1979).

    The arithmetic mean of the labels' F1, not the F1 of mean precision and mean recall, which is another metric
    (Opitz and Burst 2019, arXiv:1911.03347).  A label that neither side gave has no F1 and takes no part.
    """
    given = counts.sum(axis=-1) + counts.sum(axis=-2)
    f1 = _over(2 * _diagonal(counts), given)
    return _over(np.nansum(f1, axis=-1), (given > 0).sum(axis=-1))


def cohen_kappa(counts: np.ndarray) -> np.ndarray:
    """κ = (p_o − p_e) / (1 − p_e), p_e = Σ_l p_l. p_.l (Cohen 1960, Educational and Psychological Measurement 20).

    NaN where both sides gave one and the same label throughout.
    """
    total = counts.sum(axis=(-2, -1))
    expected = _over((counts.sum(axis=-1) * counts.sum(axis=-2)).sum(axis=-1), total**2)
    return _over(accuracy(counts) - expected, np.where(expected < 1 - ZERO, 1 - expected, 0))


def krippendorff_alpha(coincidences: np.ndarray) -> np.ndarray:
    """Nominal α = 1 − D_o / D_e = 1 − (n − 1) Σ_{c≠k} o_ck / Σ_{c≠k} n_c n_k (Krippendorff 2011, "Computing
    Krippendorff's Alpha-Reliability"), from the coincidence matrix o [..., L, L].

    NaN where there is but one label.
    """
    n_l = coincidences.sum(axis=-1)
    n = n_l.sum(axis=-1)
    observed = n - _diagonal(coincidences).sum(axis=-1)
    expected = n**2 - (n_l**2).sum(axis=-1)
    return 1 - _over((n - 1) * observed, np.where(expected > ZERO, expected, 0))


def coincidences(labels_dl: np.ndarray) -> np.ndarray:
    """Coincidence matrices [D, L, L] of documents, from how often each was given each label [D, L].

    All ordered pairs of labels of one document, each weighing 1 / (m − 1) where m people labeled it, so that a
    document weighs as many labels as it has; zero where a document has a single label.
    """
    m = labels_dl.sum(axis=1)
    pairs = labels_dl[:, :, None] * labels_dl[:, None, :] - labels_dl[:, :, None] * np.eye(labels_dl.shape[1])
    return pairs / np.maximum(m - 1, 1)[:, None, None]


def _diagonal(counts: np.ndarray) -> np.ndarray:
    return np.diagonal(counts, axis1=-2, axis2=-1)


def _over(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(denominator != 0, numerator / denominator, np.nan)


METRICS = (
    LabelMetric(
        name="accuracy",
        title="accuracy",
        unit="share of labels",
        high=1.0,
        better="higher",
        citation="–",
        formula="Σ_l n_ll / n",
        trap="Always giving the most frequent label may come out high.",
        example="8 of 10 labels right: 0.8.",
        of=lambda counts, pairs: accuracy(counts),
    ),
    LabelMetric(
        name="macro_f1",
        title="macro F1",
        unit="F1",
        high=1.0,
        better="higher",
        citation="van Rijsbergen 1979; Opitz and Burst 2019, arXiv:1911.03347",
        formula="mean over labels of 2 tp / (2 tp + fp + fn)",
        trap="Not the F1 of mean precision and mean recall, which some programs give.",
        example="Counts (2, 1) and (1, 1): F1 of 4/6 and 2/4, so 0.583.",
        of=lambda counts, pairs: macro_f1(counts),
    ),
    LabelMetric(
        name="cohen_kappa",
        title="Cohen's κ",
        unit="κ",
        low=-1.0,
        high=1.0,
        better="higher",
        citation="Cohen 1960, Educational and Psychological Measurement 20",
        formula="(p_o − p_e) / (1 − p_e), p_e = Σ_l p_l. p_.l",
        trap="Low for rare labels even where nearly all agree.",
        example="p_o = 0.8, p_e = 0.5: 0.3 / 0.5 = 0.6.",
        of=lambda counts, pairs: cohen_kappa(counts),
    ),
    LabelMetric(
        name="krippendorff_alpha",
        title="Krippendorff's α",
        unit="α",
        low=-1.0,
        high=1.0,
        better="higher",
        citation='Krippendorff 2011, "Computing Krippendorff\'s Alpha-Reliability"',
        formula="1 − D_o / D_e from the coincidence matrix, nominal",
        trap="Undefined where there is but one label.",
        example="D_o = 0.2, D_e = 0.5: 0.6.",
        of=lambda counts, pairs: krippendorff_alpha(pairs),
    ),
)
