"""The first hour on a real accelerator, in one command that is run again and again.

python -m benchmarks.accelerator --minutes 9 --out results/h100        # the next measurements that are missing
python -m benchmarks.accelerator --list                                # all of them, with what is expected
python -m benchmarks.accelerator --tiny --out /tmp/tiny                # tiny shapes, to try the way on any machine

Each measurement runs in a process of its own with a limit of its time, and is written when it ends: a JSON file with
hardware, versions and command.  What is there is not measured again; `--again NAME` does.  Nothing is fetched from a
network; what is not installed is named.  Needs the extra of the accelerator, for the peers' rows `torch`, `transformers`
and `trl` as well.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.accelerator.catalog import MEASUREMENTS, Measurement

# A process starts, compiles, and builds its rows before it measures.
LEAST_SECONDS = 60


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--minutes", type=float, default=math.inf, help="stop after about so many")
    options.add_argument("--out", type=Path, help="folder of the results; the same again to resume")
    options.add_argument("--only", nargs="*", help="names, or beginnings of names")
    options.add_argument("--again", nargs="*", default=[], help="measure these anew")
    options.add_argument("--tiny", action="store_true", help="tiny shapes: only the way is tried")
    options.add_argument("--list", action="store_true")
    options.add_argument("--one", help=argparse.SUPPRESS)
    a = options.parse_args()
    if a.one:
        print(json.dumps(_measured(a.one, tiny=a.tiny)))
        return
    if a.list:
        for one in MEASUREMENTS:
            print(
                f"{one.name}: at most {one.seconds} s{'; expected: ' + one.expected if one.expected else ''}"
            )
        return
    if a.out is None:
        options.error("name the folder of the results: --out FOLDER")
    run(a.out, minutes=a.minutes, only=a.only, again=a.again, tiny=a.tiny)


def run(out: Path, *, minutes: float, only: list[str] | None, again: list[str], tiny: bool) -> None:
    """Measures what is missing until the minutes are over, then shows all that is there."""
    out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * minutes
    for one in MEASUREMENTS:
        path = _file(out, one)
        wanted = only is None or one.name.startswith(tuple(only))
        if not wanted or (path.is_file() and one.name not in again):
            continue
        if missing := one.missing():
            print(f"{one.name}: not measured: not installed: {', '.join(missing)}", flush=True)
            continue
        left = end - time.monotonic()
        if left < LEAST_SECONDS:
            print("time is over; the same command resumes from here", flush=True)
            break
        replaced = one.replaced()
        without = f" (not installed: {', '.join(replaced)})" if replaced else ""
        print(f"{one.name}{without} ...", flush=True)
        measured = _in_a_process(one, seconds=min(one.seconds, left), tiny=tiny)
        if measured.get("cut off") and left < one.seconds:
            print("time is over; the same command measures this one anew", flush=True)
            break
        _write(
            path, {"measurement": one.name, "expected": one.expected, "not installed": replaced, **measured}
        )
    show(out)


def _in_a_process(one: Measurement, *, seconds: float, tiny: bool) -> dict[str, Any]:
    """What it found, or why it found nothing."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.accelerator",
        "--one",
        one.name,
        *(["--tiny"] if tiny else []),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return {"cut off": f"after {seconds:.0f} s"}
    if done.returncode:
        return {"failed": done.stderr.strip()[-2000:]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def _measured(name: str, *, tiny: bool) -> dict[str, Any]:
    import jax

    from socsci_jax.compilation import set_up_compiler
    from socsci_jax.training.run import software_versions

    set_up_compiler()
    [one] = [one for one in MEASUREMENTS if one.name == name]
    device = jax.devices()[0]
    return {
        "device": device.device_kind,
        "devices": jax.device_count(),
        "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}",
        "versions": software_versions(),
        "command": f"python -m benchmarks.accelerator --only '{name}'{' --tiny' if tiny else ''}",
        "tiny": tiny,
        "found": one.run(tiny),
    }


def _file(out: Path, one: Measurement) -> Path:
    return out / f"{one.name.replace('/', '.').replace(' ', '-')}.json"


def _write(path: Path, facts: dict[str, Any]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(facts, indent=1) + "\n")
    partial.replace(path)


def show(out: Path) -> None:
    """One line for each number that was found, with what is expected."""
    table = Table("measurement", "found", "expected", title=str(out.name))
    for one in MEASUREMENTS:
        path = _file(out, one)
        if path.is_file():
            facts = json.loads(path.read_text())
            found = facts.get("found") or {
                key: facts[key][-300:] for key in ("failed", "cut off") if key in facts
            }
            table.add_row(one.name, "\n".join(_lines(found)), one.expected)
    Console(width=140).print(table, markup=False)


def _lines(measured: dict[str, Any]) -> list[str]:
    lines = []
    for key, value in measured.items():
        if key == "runs":
            lines += [
                f"{row['rows']} {row['way']}: {row['ms']:.2f} ms, apart {row['apart']:.0e}" for row in value
            ]
        elif isinstance(value, float):
            lines.append(f"{key}: {value:.4g}")
        elif key not in ("losses", "versions"):
            lines.append(f"{key}: {value}")
    return lines


if __name__ == "__main__":
    main()
