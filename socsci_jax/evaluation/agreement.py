"""How far two sides agree on labels without an order, from matrices of counts.

`counts` [..., L, L]: how often one side gave label r (rows) where the other gave label c (columns); shares and
expected counts will do as well.  Figures are arrays [...], NaN where they are not defined.
"""

from __future__ import annotations

import numpy as np

METRICS = ("accuracy", "macro_f1", "cohen_kappa", "krippendorff_alpha")
# Below this, chance agreement differs from certainty by nothing but rounding.
ZERO = 1e-12


def accuracy(counts: np.ndarray) -> np.ndarray:
    """Share of documents on the diagonal of `counts` [..., L, L]."""
    return _over(_diagonal(counts).sum(axis=-1), counts.sum(axis=(-2, -1)))


def macro_f1(counts: np.ndarray) -> np.ndarray:
    """Mean over labels of F1 = 2 tp / (2 tp + fp + fn) (van Rijsbergen 1979).

    The arithmetic mean of the labels' F1, not the F1 of mean precision and mean recall, which is another figure
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


def agreement(counts: np.ndarray, coincidences: np.ndarray) -> dict[str, np.ndarray]:
    """All of METRICS from matrices [..., L, L]; α is the one that needs coincidences."""
    values = (
        accuracy(counts),
        macro_f1(counts),
        cohen_kappa(counts),
        krippendorff_alpha(coincidences),
    )
    return dict(zip(METRICS, values, strict=True))


def _diagonal(counts: np.ndarray) -> np.ndarray:
    return np.diagonal(counts, axis1=-2, axis2=-1)


def _over(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(denominator != 0, numerator / denominator, np.nan)
