"""Whether a change of the code makes a training step slower here: processor seconds of a step, both sides in turn.

python -m benchmarks.step_time --before FOLDER      # another checkout

Processes of both sides alternate, so that a slow minute of the machine hits both; each takes the same steps from the same
start, and losses are compared.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.checkouts import python_in
from benchmarks.options import options_of
from benchmarks.table import ROOT, save
from socsci_jax.training.run import software_versions


def main() -> None:
    options = options_of(__doc__)
    options.add_argument("--before", type=Path, required=True, help="another checkout")
    options.add_argument("--rounds", type=int, default=3)
    a = options.parse_args()
    sides = {"before": a.before, "now": ROOT.parent}
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    for _ in range(a.rounds):
        for side, code in sides.items():
            printed = python_in(code, ROOT / "small_step.py", JAX_PLATFORMS="cpu", XLA_FLAGS="")
            runs[side].append(json.loads(printed.splitlines()[-1]))
    seconds = {side: float(np.median([run["seconds"] for run in of_side])) for side, of_side in runs.items()}
    apart = max(
        abs(x - y) / abs(x)
        for before, now in zip(runs["before"], runs["now"], strict=True)
        for x, y in zip(before["losses"], now["losses"], strict=True)
    )
    found = {**seconds, "ratio": seconds["now"] / seconds["before"], "losses_apart": apart}
    print(json.dumps(found))
    save("step-time", {"versions": software_versions(), **found, "runs": runs})


if __name__ == "__main__":
    main()
