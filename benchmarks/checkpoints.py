"""How long a save keeps training waiting, compared with a save that is waited for, at the same size.

python -m benchmarks.checkpoints [--gigabytes 2] [--rounds 5] [--work DIR]

The state is random numbers, which do not compress.  Both sides write the same state to the same disk, in turn.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.options import options_of
from benchmarks.table import save
from socsci_jax.training.checkpoint_writer import CheckpointWriter
from socsci_jax.training.digest import device_digests

LEAVES = 16


def main() -> None:
    options = options_of(__doc__)
    options.add_argument("--gigabytes", type=float, default=2)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--work", type=Path, default=Path("runs/benchmarks/checkpoints"))
    a = options.parse_args()
    shape = (round(a.gigabytes * 1e9 / 4 / LEAVES / 1024), 1024)

    @jax.jit
    def drawn(key: jax.Array) -> dict[str, jax.Array]:
        return {f"{i:02d}": jax.random.normal(k, shape) for i, k in enumerate(jax.random.split(key, LEAVES))}

    change = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)
    state = jax.block_until_ready(drawn(jax.random.key(0)))
    jax.block_until_ready(device_digests(state))
    measured: dict[str, list[float]] = {"pause": [], "waited for": [], "of it the checksums": []}
    shutil.rmtree(a.work, ignore_errors=True)
    with CheckpointWriter(a.work, keep=1) as checkpoints:
        for number in range(2 * (a.rounds + 1)):
            clock = time.perf_counter()
            jax.block_until_ready(device_digests(state))
            digests = time.perf_counter() - clock
            clock = time.perf_counter()
            checkpoints.save(number, state=state, metadata={})
            if number % 2:
                checkpoints.wait()
            seconds = time.perf_counter() - clock
            # The next step takes the buffers, as in training.
            state = jax.block_until_ready(change(state))
            checkpoints.wait()
            if number > 1:  # the first of each is slower
                measured["waited for" if number % 2 else "pause"].append(seconds)
                measured["of it the checksums"].append(digests)
    shutil.rmtree(a.work)
    medians = {name: float(np.median(values)) for name, values in measured.items()}
    share = medians["pause"] / medians["waited for"]
    table = Table("", "seconds (median)", title=f"{a.gigabytes:g} GB")
    for name, value in medians.items():
        table.add_row(name, f"{value:.3f}")
    table.add_row("pause / waited for", f"{share:.1%}")
    Console(width=100).print(table)
    save("checkpoints", {"gigabytes": a.gigabytes, "seconds": measured, "share": share})


if __name__ == "__main__":
    main()
