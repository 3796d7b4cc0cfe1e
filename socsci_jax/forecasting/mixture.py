"""True effects around what is expected of them: normal within a study, with a scale that differs between studies.

Of the arms of one outcome, human effects h [A] against their reference are

    h = X b + tau_s D e + error,    cov(e) = (I + J) / 2,    cov(error) = diag(se_a²) + se_0² J

where J is all ones: arms and reference deviate alike, so effects against a common reference correlate by 1/2, and so do
their sampling errors.  D holds how the scale depends on features.  Rotated by the eigenvectors of the whitened covariance,
the rows are independent with variance 1 + tau_s² lambda.  The study's scale tau_s comes from a distribution over a grid,
estimated without a shape (Laird 1978, JASA 73: nonparametric maximum likelihood by EM).  One study of unknown scale is
added to those seen, as conformal prediction adds one rank: few studies give wide intervals.
"""

from __future__ import annotations

import dataclasses

import numpy as np

# Scales of true effects, in percentage points.
GRID = np.concatenate([[0.0], np.geomspace(0.25, 40, 24)])
# A study of unknown scale: every scale above half a point is equally likely on a logarithmic axis.
UNKNOWN = np.where(GRID >= 0.5, 1.0, 0.0) / (GRID >= 0.5).sum()
# A human effect is never known better than this, in percentage points.
LEAST_SE = 0.05
ITERATIONS = 40


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """Human effects [N] with design [N, P], errors and study [N] and outcome [N] numbers."""

    human: np.ndarray
    design: np.ndarray
    se: np.ndarray
    reference_se: np.ndarray
    study: np.ndarray
    outcome: np.ndarray

    @property
    def studies(self) -> int:
        return int(self.study.max()) + 1


@dataclasses.dataclass(frozen=True, eq=False)
class Rotated:
    """The same rows made independent: h [N], X [N, P], lambda [N], the study of each."""

    human: np.ndarray
    design: np.ndarray
    lam: np.ndarray
    study: np.ndarray


def rotate(rows: Rows, scale: np.ndarray, shared_part: float = 0.5) -> Rotated:
    """Makes rows independent; `scale` [N] is the diagonal of D."""
    human, design, lam = (np.empty_like(part) for part in (rows.human, rows.design, rows.human))
    order = np.argsort(rows.outcome, kind="stable")
    starts = np.flatnonzero(np.diff(rows.outcome[order], prepend=-1))
    groups = np.split(order, starts[1:])
    for size in {group.size for group in groups}:
        at = np.stack([group for group in groups if group.size == size])
        shared = np.maximum(rows.reference_se[at[:, 0]], LEAST_SE) ** 2
        own = np.maximum(rows.se[at] ** 2 - shared[:, None], LEAST_SE**2)
        error = own[:, :, None] * np.eye(size) + shared[:, None, None]
        true = (scale[at][:, :, None] * scale[at][:, None, :]) * (
            (1 - shared_part) * np.eye(size) + shared_part
        )
        root = np.linalg.inv(np.linalg.cholesky(error))
        values, vectors = np.linalg.eigh(root @ true @ root.transpose(0, 2, 1))
        turn = vectors.transpose(0, 2, 1) @ root
        human[at] = np.einsum("gij,gj->gi", turn, rows.human[at])
        design[at] = turn @ rows.design[at]
        lam[at] = np.maximum(values, 0)
    return Rotated(human, design, lam, rows.study)


@dataclasses.dataclass(frozen=True, eq=False)
class Mixture:
    """What is expected, b [P] with covariance [P, P], the weight [K] of each scale of GRID, and the log likelihood."""

    b: np.ndarray
    covariance: np.ndarray
    weights: np.ndarray
    log_likelihood: float


def fit_mixture(rows: Rotated, *, b: np.ndarray | None = None, iterations: int = ITERATIONS) -> Mixture:
    """Estimates the distribution of scales, and b unless it is given."""
    studies = int(rows.study.max()) + 1
    variance_nk = 1 + rows.lam[:, None] * GRID**2
    precision_nk = 1 / variance_nk
    weights = np.full(GRID.size, 1 / GRID.size)
    member = (rows.study[None, :] == np.arange(studies)[:, None]).astype(float)
    log_det_sk = member @ np.log(variance_nk)
    coefficients = np.zeros(rows.design.shape[1]) if b is None else b
    for _ in range(iterations):
        residual = rows.human - rows.design @ coefficients
        log_sk = -0.5 * (log_det_sk + (member * residual**2) @ precision_nk)
        joint = log_sk + np.log(np.maximum(weights, 1e-300))
        top = joint.max(axis=1, keepdims=True)
        share = np.exp(joint - top)
        total = share.sum(axis=1, keepdims=True)
        share /= total
        weights = (share.sum(axis=0) + UNKNOWN) / (studies + 1)
        precision = np.einsum("nk,nk->n", share[rows.study], precision_nk)
        if b is None:
            weighted = rows.design * precision[:, None]
            coefficients = np.linalg.solve(_regular(weighted.T @ rows.design), weighted.T @ rows.human)
    return Mixture(
        b=coefficients,
        covariance=_clustered(rows, rows.human - rows.design @ coefficients, precision, studies),
        weights=weights,
        log_likelihood=float((top + np.log(total)).sum()),
    )


def _clustered(rows: Rotated, residual: np.ndarray, precision: np.ndarray, studies: int) -> np.ndarray:
    """Covariance of b, clustered by study (Liang and Zeger 1986), with the factor S / (S − P)."""
    weighted = rows.design * precision[:, None]
    bread = np.linalg.inv(_regular(weighted.T @ rows.design))
    scores = np.zeros((studies, rows.design.shape[1]))
    np.add.at(scores, rows.study, weighted * residual[:, None])
    factor = studies / max(studies - rows.design.shape[1], 1)
    return factor * bread @ (scores.T @ scores) @ bread


def _regular(gram: np.ndarray) -> np.ndarray:
    """A column of zeros, such as of predictions without any effect, gets the coefficient 0."""
    return gram + np.eye(len(gram)) * 1e-9 * max(float(np.trace(gram)), 1e-9)
