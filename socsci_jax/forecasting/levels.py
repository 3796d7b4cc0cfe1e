"""How high people answer: means of arms, with the error that predicted means have had in other studies."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.wording import counted


@dataclasses.dataclass(frozen=True)
class Levels:
    """The expected mean is `mean` + `slope` (predicted − `predicted_mean`), in percentage points of the scale's range.

    `half_width` is the error that it kept below in 90 % of studies.
    """

    mean: float
    predicted_mean: float
    slope: float
    half_width: float

    def expected(self, predicted: np.ndarray) -> np.ndarray:
        """Expected means, within the scale."""
        return np.clip(self.mean + self.slope * (predicted - self.predicted_mean), 0, 100)

    def to_json(self) -> dict[str, float]:
        return dataclasses.asdict(self)

    @classmethod
    def of_json(cls, content: Mapping[str, Any]) -> Levels:
        return cls(**{field.name: float(content[field.name]) for field in dataclasses.fields(cls)})


def calibrate_levels(levels: pl.DataFrame, *, level: float = 0.9) -> Levels:
    """Learns from mean answers of people and predictions; columns study, predicted, human.

    The width is conformal by study: each study held out in turn gives its largest typical error, and the quantile of rank
    (S + 1) · level of these is kept (Vovk, Gammerman and Shafer 2005; the largest where there are too few).
    """
    by_study = [own for _, own in levels.group_by("study", maintain_order=True)]
    if len(by_study) < 3:
        raise InputError(f"there are means of {counted(len(by_study), 'study')}, too few to learn from.")
    errors = []
    for left_out in range(len(by_study)):
        rest = pl.concat([own for s, own in enumerate(by_study) if s != left_out])
        mean, predicted_mean, slope = _line(rest)
        own = by_study[left_out]
        expected = mean + slope * (own["predicted"].to_numpy() - predicted_mean)
        errors.append(float(np.quantile(np.abs(own["human"].to_numpy() - expected), level)))
    rank = min(int(np.ceil((len(errors) + 1) * level)), len(errors))
    return Levels(*_line(levels), half_width=float(np.sort(errors)[rank - 1]))


def _line(levels: pl.DataFrame) -> tuple[float, float, float]:
    """Mean of people, mean of predictions, and a slope pulled to zero by how little is known of it."""
    x, y = levels["predicted"].to_numpy(), levels["human"].to_numpy()
    study = levels["study"].rank("dense").to_numpy().astype(int) - 1
    dx, dy = x - x.mean(), y - y.mean()
    square = float(dx @ dx)
    if square < 1e-9:
        return float(y.mean()), float(x.mean()), 0.0
    slope = float(dx @ dy) / square
    scores = np.bincount(study, weights=dx * (dy - slope * dx))
    variance = float(scores @ scores) / square**2
    shrunken = max(0.0, 1 - variance / max(slope**2, 1e-12)) * slope
    return float(y.mean()), float(x.mean()), max(0.0, shrunken)
