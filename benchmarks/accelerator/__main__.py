"""The first hour on a real accelerator, in one command that is run again and again.

python -m benchmarks.accelerator --minutes 9 --out results/h100        # the next measurements that are missing
python -m benchmarks.accelerator --list                                # all of them, with what is expected
python -m benchmarks.accelerator --tiny --out /tmp/tiny                # tiny shapes, to try the way on any machine

Each measurement runs in a process of its own with a limit of its time, and is written when it ends: a JSON file with
hardware, versions and command, or with the reason why nothing was found.  What is there is not measured again;
`--again NAME` does.  The command ends within its minutes, and nothing that it started outlives it.  Nothing is fetched
from a network; what is not installed is named.

Needs a checkout and `pip install -e '.[cuda]'` (or `[tpu]`); for the peers' rows `pip install -e '.[peers]'` as well, and
`flash-attn` if it is to be had.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.accelerator.catalog import MEASUREMENTS, Measurement
from benchmarks.accelerator.child import environment, in_a_process, measured
from benchmarks.accelerator.shown import file_of, show
from benchmarks.options import options_of

# A process starts, compiles, and builds its rows before it measures.
LEAST_SECONDS = 60


def main() -> None:
    options = options_of(__doc__)
    options.add_argument("--minutes", type=float, default=math.inf, help="stop after so many")
    options.add_argument("--out", type=Path, help="folder of the results; the same again to resume")
    options.add_argument("--only", nargs="*", help="names, or beginnings of names")
    options.add_argument("--again", nargs="*", default=[], help="measure these anew")
    options.add_argument("--tiny", action="store_true", help="tiny shapes: only the way is tried")
    options.add_argument("--list", action="store_true")
    options.add_argument("--one", help=argparse.SUPPRESS)
    options.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    a = options.parse_args()
    if a.one:
        print(json.dumps(measured(a.one, parent=a.parent, tiny=a.tiny)))
        return
    if a.list:
        for one in MEASUREMENTS:
            print(
                f"{one.name}: at most {one.seconds} s{'; expected: ' + one.expected if one.expected else ''}"
            )
        return
    if a.out is None:
        options.error("name the folder of the results: --out FOLDER")
    end = time.monotonic() + 60 * a.minutes
    if not a.tiny and (found := _backend()) == "cpu":
        options.error(
            f"JAX finds no accelerator here ({found}): pip install -e '.[cuda]' or '.[tpu]', or try the way with --tiny"
        )
    a.out.mkdir(parents=True, exist_ok=True)
    run(a.out, end=end, only=a.only, again=a.again, tiny=a.tiny)
    show(a.out)


def run(out: Path, *, end: float, only: list[str] | None, again: list[str], tiny: bool) -> None:
    """Measures what is missing until the time `end` of the monotonic clock, each for as long as it may, or is left."""
    first = True
    for one in _wanted(out, only, again):
        left = end - time.monotonic()
        if left < (LEAST_SECONDS if first else max(LEAST_SECONDS, one.seconds / 2)):
            print(f"{one.name}: not begun, {max(left, 0):.0f} s are left; the same command does", flush=True)
            continue
        replaced = one.replaced()
        without = f" (not installed: {', '.join(replaced)})" if replaced else ""
        print(f"{one.name}{without} ...", flush=True)
        found = in_a_process(one, seconds=min(one.seconds, left), tiny=tiny)
        if "cut off" in found and left < one.seconds and not first:
            print(f"{one.name}: time is over; the same command measures it anew", flush=True)
            continue
        results = {"measurement": one.name, "expected": one.expected, "not installed": replaced, **found}
        _write(file_of(out, one), results)
        first = False


def _wanted(out: Path, only: list[str] | None, again: list[str]) -> Iterator[Measurement]:
    """What is missing or asked for again, in the order of its value; says of the others why they are not measured."""
    for one in MEASUREMENTS:
        wanted = only is None or one.name.startswith(tuple(only))
        if not wanted or (file_of(out, one).is_file() and one.name not in again):
            continue
        if missing := one.missing():
            print(f"{one.name}: not measured: not installed: {', '.join(missing)}", flush=True)
            continue
        yield one


def _backend() -> str:
    """What JAX computes on here, asked by a process that ends, so that the device's memory is left to others."""
    code = "import jax; print(jax.default_backend())"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    return done.stdout.split()[-1]


def _write(path: Path, results: dict[str, Any]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(results, indent=1) + "\n")
    partial.replace(path)


if __name__ == "__main__":
    main()
