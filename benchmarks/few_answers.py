"""What PPI++ gains or costs, and how often its 95 % intervals hold the truth, where an arm has 10 to 40 answers.

    python -m benchmarks.few_answers             # 1,000 simulated experiments of each kind

Two arms, an effect of 0.5, 150 people more in each arm whose answers are only predicted.  The predictors: hardly
different between people but far from zero, useless, weak, good, opposite, and good in one arm alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from benchmarks.options import options_of
from socsci_jax.estimation.dip import Experiment, dip
from socsci_jax.estimation.linear import Estimates
from socsci_jax.estimation.ppi import Sample, ppi

EFFECT, OTHERS = 0.5, 150
# Answers in control and treatment.
SIZES = ((10, 10), (20, 20), (40, 40), (75, 10))
Predictor = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
# Predictions from the arm [N], what moves a person's answer [N], and noise [N].
PREDICTORS: dict[str, Predictor] = {
    "nearly constant": lambda arm, taste, noise: 3.15 + 0.02 * arm + 0.03 * noise,
    "useless": lambda arm, taste, noise: 3.15 + noise,
    "weak": lambda arm, taste, noise: 3.3 + 0.3 * taste + noise,
    "good": lambda arm, taste, noise: 3.3 + 0.1 * arm + 0.8 * taste + 0.3 * noise,
    "opposite": lambda arm, taste, noise: 3.3 - 0.5 * taste + 0.5 * noise,
    "good in one arm": lambda arm, taste, noise: 3.3 + np.where(arm == 1, noise, taste),
}


@dataclasses.dataclass(frozen=True)
class Gain:
    """Mean squared error of the effect over that of answers alone, and coverage and mean width of the intervals."""

    sizes: tuple[int, int]
    predictor: str
    method: str
    error: float
    covered: float
    width: float


def estimates(sizes: tuple[int, int], predictor: Predictor, rng: np.random.Generator) -> dict[str, Estimates]:
    """What each method makes of one experiment; DiP is told both arms of each person."""
    labeled = sum(sizes)
    arm = np.repeat([0.0, 1.0, 0.0, 1.0], [*sizes, OTHERS, OTHERS])
    taste, noise, own = rng.normal(size=(3, len(arm)))
    y = 3 + EFFECT * arm + taste + 0.6 * own
    s0, s1 = (predictor(np.full(len(arm), value), taste, noise) for value in (0.0, 1.0))
    prediction = np.where(arm == 1, s1, s0)
    X = np.column_stack([np.ones(len(arm)), arm])
    on = Sample(X[:labeled], prediction[:labeled], y[:labeled])
    off = Sample(X[labeled:], prediction[labeled:])
    people = Experiment(y[:labeled], arm[:labeled], s0[:labeled], s1[:labeled], s0[labeled:], s1[labeled:])
    return {
        "answers alone": ppi(on, off, lam=0.0).estimates,
        "PPI++": ppi(on, off, coefficient=1).estimates,
        "DiP": dip(people).estimates,
    }


def measure(runs: int, *, sizes: tuple[int, int], predictor: str, seed: int = 0) -> list[Gain]:
    """Gain of each method over `runs` simulated experiments."""
    rng = np.random.default_rng(seed)
    found = [estimates(sizes, PREDICTORS[predictor], rng) for _ in range(runs)]
    gains: list[Gain] = []
    alone = 0.0
    for method in found[0]:
        # The effect is the last coefficient of every method.
        value, lo, hi = (
            np.array([getattr(one[method], name)[-1] for one in found]) for name in ("estimate", "lo", "hi")
        )
        squared = float(((value - EFFECT) ** 2).mean())
        alone = alone or squared
        covered = float(((lo <= EFFECT) & (hi >= EFFECT)).mean())
        gains.append(Gain(sizes, predictor, method, squared / alone, covered, float((hi - lo).mean())))
    return gains


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print("| answers | predictor | method | error / answers alone | coverage | mean width |")
    print("|---|---|---|---|---|---|")
    for sizes in SIZES:
        for predictor in PREDICTORS:
            for row in measure(options.runs, sizes=sizes, predictor=predictor, seed=options.seed):
                print(
                    f"| {sizes[0]} + {sizes[1]} | {predictor} | {row.method} | {row.error:.2f} | {row.covered:.1%} | {row.width:.2f} |"
                )


if __name__ == "__main__":
    main()
