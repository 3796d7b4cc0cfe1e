"""How often 95 % intervals from predictions and few answers hold the truth, and how wide they are.

    python -m benchmarks.coverage             # 2,000 simulated studies of each design, a few minutes

Each study has 1,500 people, of whom 150 answered, and a predictor that is biased and understates every effect:
its own estimate is far off, with a narrow interval.  The truth is known: answers are drawn from it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import scipy.special

from benchmarks.options import options_of
from socsci_jax.estimation.dip import Experiment, dip
from socsci_jax.estimation.dsl import dsl, dsl_over_splits
from socsci_jax.estimation.linear import Estimates, fit
from socsci_jax.estimation.ppi import Sample, ppi

PEOPLE, SHARE = 1_500, 0.1


@dataclasses.dataclass(frozen=True)
class Draw:
    """One study: design [N, P], answers [N] (known to the simulation), predictions [N], who is labeled [N]."""

    X: np.ndarray
    y: np.ndarray
    prediction: np.ndarray
    labeled: np.ndarray
    clusters: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Design:
    """A way to draw studies, the coefficient that is looked at, and its true value."""

    name: str
    draw: Callable[[np.random.Generator], Draw]
    truth: float
    coefficient: int
    family: str = "linear"


def _people(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    treated = rng.integers(0, 2, PEOPLE).astype(float)
    return np.column_stack([np.ones(PEOPLE), treated, rng.normal(size=PEOPLE)]), rng.random(PEOPLE) < SHARE


def _mean(rng: np.random.Generator) -> Draw:
    _, labeled = _people(rng)
    taste = rng.normal(size=PEOPLE)
    y = 3 + taste + 0.6 * rng.normal(size=PEOPLE)
    return Draw(np.ones((PEOPLE, 1)), y, 3.3 + 0.8 * taste + 0.3 * rng.normal(size=PEOPLE), labeled)


def _effect(rng: np.random.Generator) -> Draw:
    X, labeled = _people(rng)
    taste = rng.normal(size=PEOPLE)
    y = 3 + 0.5 * X[:, 1] + taste + 0.6 * rng.normal(size=PEOPLE)
    prediction = 3.3 + 0.1 * X[:, 1] + 0.8 * taste + 0.3 * rng.normal(size=PEOPLE)
    return Draw(X[:, :2], y, prediction, labeled)


def _slope(rng: np.random.Generator) -> Draw:
    X, labeled = _people(rng)
    taste = rng.normal(size=PEOPLE)
    y = X @ [3, 0.5, 0.3] + taste + 0.6 * rng.normal(size=PEOPLE)
    return Draw(X, y, X @ [3.3, 0.1, -0.2] + 0.8 * taste + 0.3 * rng.normal(size=PEOPLE), labeled)


def _logit(rng: np.random.Generator) -> Draw:
    X, labeled = _people(rng)
    cut = rng.logistic(size=PEOPLE)
    y = (cut < X @ [-0.2, 0.8, 0.5]).astype(float)
    # The predictor knows much of what decides a person's answer, and little of the treatment.
    return Draw(X, y, scipy.special.expit(2 * (X @ [0.3, 0.1, 0.5] - cut)), labeled)


def _clusters(rng: np.random.Generator) -> Draw:
    """300 clusters of five people; treatment and part of the answer belong to the cluster."""
    cluster = np.repeat(np.arange(PEOPLE // 5), 5)
    treated = rng.integers(0, 2, PEOPLE // 5)[cluster].astype(float)
    shared = rng.normal(size=PEOPLE // 5)[cluster]
    taste = rng.normal(size=PEOPLE)
    y = 3 + 0.8 * treated + shared + taste
    prediction = 3.3 + 0.1 * treated + 0.8 * shared + 0.6 * taste + 0.3 * rng.normal(size=PEOPLE)
    labeled = (rng.random(PEOPLE // 5) < SHARE)[cluster]
    return Draw(np.column_stack([np.ones(PEOPLE), treated]), y, prediction, labeled, cluster)


DESIGNS = (
    Design("mean", _mean, 3.0, 0),
    Design("effect", _effect, 0.5, 1),
    Design("regression", _slope, 0.3, 2),
    Design("logit", _logit, 0.8, 1, "logit"),
    Design("clustered effect", _clusters, 0.8, 1),
)


def estimates(design: Design, draw: Draw) -> dict[str, Estimates]:
    """What each method makes of one study."""
    on, off = draw.labeled, ~draw.labeled
    family, clusters = design.family, draw.clusters
    kind = "HC0" if clusters is None else "CR0"

    def chosen(rows: np.ndarray) -> np.ndarray | None:
        return None if clusters is None else clusters[rows]

    # Predictions alone are a straight regression on what the model said, as if people had.
    alone = fit(draw.X, draw.prediction, family=family)
    answers = fit(draw.X[on], draw.y[on], family=family)
    known = {
        "prediction": draw.prediction, "y": draw.y, "labeled": on, "probability": SHARE,
        "family": family, "clusters": clusters,
    }  # fmt: skip
    return {
        "naive": alone.estimates(kind, clusters=clusters),
        "labels": answers.estimates(kind, clusters=chosen(on)),
        "DSL": dsl(draw.X, **known),
        "DSL, recalibrated": dsl_over_splits(draw.X, **known, splits=3),
        "PPI++": ppi(
            Sample(draw.X[on], draw.prediction[on], draw.y[on], None, chosen(on)),
            Sample(draw.X[off], draw.prediction[off], None, None, chosen(off)),
            family=family,
            coefficient=design.coefficient,
        ).estimates,
    }


def draw_experiment(rng: np.random.Generator) -> Experiment:
    """150 people in two arms and 1,350 personas, both arms predicted for each; the true effect is EFFECT."""
    taste = rng.normal(size=PEOPLE)
    own = 0.4 * rng.normal(size=PEOPLE)  # persons differ in how the treatment moves them
    s0 = 3.3 + 0.8 * taste + 0.3 * rng.normal(size=PEOPLE)
    s1 = s0 + 0.1 + 0.8 * own + 0.1 * rng.normal(size=PEOPLE)
    n = round(SHARE * PEOPLE)
    arm = rng.permutation(np.arange(n) % 2)
    y = 3 + taste[:n] + arm * (EFFECT + own[:n]) + 0.6 * rng.normal(size=n)
    return Experiment(y, arm, s0[:n], s1[:n], s0[n:], s1[n:])


EFFECT = 0.5


def experiment_estimates(experiment: Experiment) -> dict[str, Estimates]:
    """What each method makes of one experiment."""
    gain = experiment.u1 - experiment.u0
    return {
        "naive": fit(np.ones((len(gain), 1)), gain).estimates(),
        "labels": dip(experiment, lam=0.0).estimates,
        "DiP": dip(experiment).estimates,
    }


@dataclasses.dataclass(frozen=True)
class Coverage:
    """Share of intervals that hold the truth, their mean width, and the bias of the estimate in standard errors."""

    design: str
    method: str
    covered: float
    width: float
    bias: float
    runs: int


def measure(
    runs: int, *, seed: int = 0, designs: tuple[Design, ...] = DESIGNS, dips: bool = True
) -> list[Coverage]:
    """Coverage of every method in every design over `runs` simulated studies."""
    rows = []
    for design in designs:
        rng = np.random.default_rng(seed)
        estimated = [estimates(design, design.draw(rng)) for _ in range(runs)]
        rows += _summarize(design.name, estimated, design.coefficient, design.truth)
    if dips:
        rng = np.random.default_rng(seed)
        estimated = [experiment_estimates(draw_experiment(rng)) for _ in range(runs)]
        rows += _summarize("experiment, both arms predicted", estimated, 0, EFFECT)
    return rows


def _summarize(name: str, estimated: list[dict[str, Estimates]], at: int, truth: float) -> list[Coverage]:
    rows = []
    for method in estimated[0]:
        value, lo, hi = (
            np.array([getattr(one[method], field)[at] for one in estimated])
            for field in ("estimate", "lo", "hi")
        )
        rows.append(
            Coverage(
                design=name,
                method=method,
                covered=float(((lo <= truth) & (truth <= hi)).mean()),
                width=float((hi - lo).mean()),
                bias=float((value.mean() - truth) / value.std()),
                runs=len(estimated),
            )
        )
    return rows


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--runs", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print("| design | method | coverage | mean width | bias / sd |")
    print("|---|---|---|---|---|")
    for row in measure(options.runs, seed=options.seed):
        print(f"| {row.design} | {row.method} | {row.covered:.2%} | {row.width:.3f} | {row.bias:+.2f} |")


if __name__ == "__main__":
    main()
