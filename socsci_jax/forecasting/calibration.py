"""What predicted effects have been worth: learned from studies that the model never saw, and from nothing else.

The expected effect is  a · directed + (b + c · features) · predicted,  and how far true effects lie from it depends on the
study (`mixture.py`) and on features.  Every coefficient is pulled to zero by how little is known of it: by the factor
max(0, 1 − se² / estimate²), the positive-part rule of empirical Bayes (Efron and Morris 1973, JASA 68).  Predictions that
give nothing are shrunk to the mean effect or to none, with intervals as wide as human effects are; predictions that point
the wrong way get no weight: they are not turned round.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import scipy.optimize

from socsci_jax.errors import InputError
from socsci_jax.forecasting.mixture import GRID, Rows, fit_mixture, rotate
from socsci_jax.forecasting.table import FEATURES, calibration_table
from socsci_jax.wording import counted

FEWEST_STUDIES = 10
# Beyond the range of what calibration has seen, by more than this share of it, there is no forecast.
SLACK = 0.1
# How much features may change the logarithm of the scale, for one standard deviation.
PULL = 0.1
CONVERGED = 150
# Of any number that was learned; what is larger comes from no calibration.
LARGEST = 1e9


@dataclasses.dataclass(frozen=True)
class Feature:
    """One feature as calibration studies had it: mean, standard deviation, least and most over contrasts; of sizes, least and
    most of the studies' largest."""

    name: str
    mean: float
    sd: float
    least: float
    most: float

    def standardized(self, values: np.ndarray) -> np.ndarray:
        """Standard deviations from the mean, no farther than calibration reached; 0 where it is not known."""
        at = np.clip(values, self.least, self.most)
        return np.where(np.isfinite(values), (at - self.mean) / self.sd, 0.0)

    def beyond(self, values: np.ndarray) -> np.ndarray:
        """Whether values are farther out than anything that calibration has seen."""
        slack = SLACK * (self.most - self.least)
        high = values > self.most + slack
        # Nothing is wrong with texts nearer, a spread smaller or a mass larger than known.
        low = values < self.least - slack
        never = np.zeros(len(values), bool)
        sides = {"spread": high, "distance": high, "size": high, "mass": low, "study_size": never}
        return sides.get(self.name, high | low)


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """What was learned: `coefficients` [P] of the design's columns with `covariance`, `scale` [F] of the features'
    logarithmic effect on the spread of true effects, `weights` [K] of GRID, the scales of studies."""

    features: tuple[Feature, ...]
    coefficients: np.ndarray
    covariance: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    studies: int
    contrasts: int

    @property
    def slope(self) -> float:
        """How much of a predicted effect is expected of people, where all features are at their means."""
        return float(self.coefficients[1])

    @property
    def mean_effect(self) -> float:
        """What is expected of a treatment, in percentage points, where nothing is predicted."""
        return float(self.coefficients[0])

    def design(self, table: pl.DataFrame) -> np.ndarray:
        """Columns directed, predicted, and predicted times each feature but the effect's own size [N, P]."""
        predicted = table["predicted"].to_numpy()
        directed = (~table["undirected"]).cast(pl.Float64).to_numpy()
        others = [
            f.standardized(values(table, f.name)) * predicted for f in self.features if f.name != "size"
        ]
        return np.column_stack([directed, predicted, *others])

    def slopes(self, table: pl.DataFrame) -> np.ndarray:
        """How much of each predicted effect is expected of people [N]; features may take all weight from a prediction, and
        never turn it round."""
        alone = self.design(table.with_columns(predicted=pl.lit(1.0)))
        return np.maximum(0.0, alone[:, 1:] @ self.coefficients[1:])

    def expected(self, table: pl.DataFrame) -> np.ndarray:
        """Expected effects [N]."""
        directed = self.design(table)[:, 0] * self.coefficients[0]
        return directed + self.slopes(table) * table["predicted"].to_numpy()

    def log_scale(self, table: pl.DataFrame) -> np.ndarray:
        """Features [N, F] on which the spread of true effects depends."""
        columns = [f.standardized(values(table, f.name)) for f in self.features]
        return np.column_stack(columns) if columns else np.zeros((table.height, 0))

    def why_not(self, table: pl.DataFrame) -> list[str]:
        """For each contrast what is far from all that calibration has seen; an empty text where nothing is."""
        far = {f.name: (f.beyond(values(table, f.name)), f) for f in self.features}
        return [
            "; ".join(
                f"{WORDS[name]} beyond {span(name, f.least, f.most)}"
                for name, (beyond, f) in far.items()
                if beyond[row]
            )
            for row in range(table.height)
        ]

    def never_abstaining(self) -> Calibration:
        """The same, but for experiments however far: what abstention is worth is judged against it."""
        free = tuple(dataclasses.replace(f, least=-1e9, most=1e9) for f in self.features)
        return dataclasses.replace(self, features=free)

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON."""
        arrays = {"coefficients", "covariance", "scale", "weights"}
        own = {name: getattr(self, name).tolist() for name in sorted(arrays)}
        features = [dataclasses.asdict(feature) for feature in self.features]
        return own | {
            "features": features,
            "grid": GRID.tolist(),
            "studies": self.studies,
            "contrasts": self.contrasts,
        }

    @classmethod
    def of_json(cls, content: Mapping[str, Any]) -> Calibration:
        arrays = {
            name: np.asarray(content[name], float)
            for name in ("coefficients", "covariance", "scale", "weights")
        }
        features = tuple(
            Feature(f["name"], *(float(f[end]) for end in ("mean", "sd", "least", "most")))
            for f in content["features"]
        )
        if unknown := [feature.name for feature in features if feature.name not in WORDS]:
            raise ValueError(f"there is no feature {unknown[0]!r}")
        p = 2 + sum(feature.name != "size" for feature in features)
        shapes = {
            "coefficients": (p,),
            "covariance": (p, p),
            "scale": (len(features),),
            "weights": GRID.shape,
        }
        for name, shape in shapes.items():
            if arrays[name].shape != shape or not (np.abs(arrays[name]) <= LARGEST).all():
                raise ValueError(f"{name} is not {shape} numbers of at most {LARGEST:g}")
        for feature in features:
            ends = (feature.mean, feature.sd, feature.least, feature.most)
            if not (feature.sd > 0 and feature.least <= feature.most and np.abs(ends).max() <= LARGEST):
                raise ValueError(f"feature {feature.name!r} has no range")
        return cls(
            features=features, studies=int(content["studies"]), contrasts=int(content["contrasts"]), **arrays
        )


_LOGARITHMIC = ("size", "options", "study_size")
WORDS = {
    "size": "predicted effect",
    "study_size": "size of all predicted effects",
    "spread": "spread over variants",
    "distance": "distance of the text",
    "options": "number of response options",
    "mass": "probability of valid answers",
}


def span(name: str, least: float, most: float) -> str:
    """The ends of a feature's values in words; sizes and numbers of options leave their logarithmic axis."""
    size = np.expm1 if name in _LOGARITHMIC else float
    return f"{size(least):.3g} to {size(most):.3g}"


def values(table: pl.DataFrame, name: str) -> np.ndarray:
    """A feature [N]; sizes and numbers of options on a logarithmic axis, NaN where it is not known."""
    if name == "size":
        return np.log1p(np.abs(table["predicted"].to_numpy()))
    column = table[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return np.log1p(column) if name in _LOGARITHMIC else column


def calibrate(table: pl.DataFrame) -> Calibration:
    """Learns from effects of people and predictions (`table.CALIBRATION`), a row for each contrast of each study.

    Raises InputError for fewer than FEWEST_STUDIES studies: intervals that cover cannot be learned from so few.
    """
    table = calibration_table(table)
    studies = table["study"].n_unique()
    if studies < FEWEST_STUDIES:
        raise InputError(
            f"calibration has {counted(studies, 'study')}; {FEWEST_STUDIES} are needed that the model was not trained on."
        )
    blank = Calibration(
        features=_features(table),
        coefficients=np.zeros(0),
        covariance=np.zeros((0, 0)),
        scale=np.zeros(0),
        weights=np.zeros(0),
        studies=studies,
        contrasts=table.height,
    )
    rows = _rows(table, blank.design(table))
    features = blank.log_scale(table)
    gamma = _scale_of_features(rows, features)
    rotated = rotate(rows, np.exp(features @ gamma))
    free = fit_mixture(rotated)
    b = _shrunken(free.b, np.diag(free.covariance))
    told = dataclasses.replace(blank, coefficients=b)
    left = dataclasses.replace(rows, human=rows.human - told.expected(table))
    final = fit_mixture(rotate(left, np.exp(features @ gamma)), b=np.zeros_like(b), iterations=CONVERGED)
    kept = (b != 0)[:, None] & (b != 0)[None, :]
    return dataclasses.replace(
        told,
        covariance=np.where(kept, free.covariance, 0.0),
        scale=gamma,
        weights=final.weights,
    )


def _features(table: pl.DataFrame) -> tuple[Feature, ...]:
    """Those that differ between contrasts."""
    features = []
    for name in ("size", *FEATURES):
        own = values(table, name)
        if np.isnan(own).all() or not np.nanstd(own) > 1e-9:
            continue
        seen = pl.DataFrame({"study": table["study"], "x": own}).drop_nans()
        if name == "size":  # every study has effects near zero: it is known by its largest
            seen = seen.group_by("study").agg(pl.col("x").max())
        ends = np.array([seen["x"].min(), seen["x"].max()], float)
        features.append(Feature(name, float(np.nanmean(own)), float(np.nanstd(own)), *map(float, ends)))
    return tuple(features)


def _rows(table: pl.DataFrame, design: np.ndarray) -> Rows:
    study = table["study"].rank("dense").to_numpy().astype(int) - 1
    outcome = table.select(pl.struct("study", "outcome", "reference").rank("dense")).to_series()
    return Rows(
        human=table["human"].to_numpy(),
        design=design,
        se=table["human_se"].to_numpy(),
        reference_se=table["reference_se"].to_numpy(),
        study=study,
        outcome=outcome.to_numpy().astype(int) - 1,
    )


def _scale_of_features(rows: Rows, features: np.ndarray) -> np.ndarray:
    """The most likely dependence of scales on features [F], pulled to none by a normal prior of width PULL."""
    if not features.shape[1]:
        return np.zeros(0)

    def loss(gamma: np.ndarray) -> float:
        fitted = fit_mixture(rotate(rows, np.exp(features @ gamma)), iterations=12)
        return -fitted.log_likelihood + 0.5 * float(gamma @ gamma) / PULL**2

    size = features.shape[1]
    minimum = scipy.optimize.minimize(
        loss,
        np.zeros(size),
        method="L-BFGS-B",
        bounds=[(-1, 1)] * size,
        options={"maxiter": 8, "eps": 1e-3, "ftol": 1e-6},
    )
    return minimum.x


def _shrunken(b: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Each coefficient pulled to zero; without a slope above zero, predictions are not used at all."""
    kept = np.maximum(0, 1 - variance / np.maximum(b**2, 1e-12))
    shrunken = kept * b
    if shrunken[1] <= 0:
        shrunken[1:] = 0
    return shrunken
