"""Runs both sides of a comparison in turn, each in a process of its own, and prints one table of medians."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.options import options_of

ROOT = Path(__file__).parent
RESULTS = ROOT / "results"


def parser(description: str | None) -> argparse.ArgumentParser:
    """What every comparison with the peers can be told."""
    options = options_of(description)
    options.add_argument(
        "--peers", required=True, help="python of the peers' environment (see benchmarks/peers)"
    )
    options.add_argument("--source", default="synthetic", help="a TESS archive, or synthetic")
    options.add_argument("--shape", default="tiny", choices=["tiny", "small"])
    options.add_argument("--tokenizer", type=Path, help="Qwen2.5's tokenizer files, for --shape small")
    options.add_argument("--work", type=Path, default=Path("runs/benchmarks"))
    options.add_argument("--rounds", type=int, default=3)
    return options


def with_interval(value: float | None, lo: float | None = None, hi: float | None = None) -> str:
    """A cell such as "0.172 [0.130, 0.214]"; "–" where there is no value."""
    if value is None:
        return "–"
    return f"{value:.3f}" if lo is None else f"{value:.3f} [{lo:.3f}, {hi:.3f}]"


def ours(*arguments: object) -> dict:
    """One run of `benchmarks.ours`, with large pages as the command line asks for them."""
    environment = {**os.environ, "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    return _json_of([sys.executable, "-m", "benchmarks.ours", *arguments], environment)


def peer(python: str, script: str, *arguments: object) -> dict:
    return _json_of([python, ROOT / "peers" / script, *arguments], dict(os.environ))


def _json_of(command: Sequence[object], environment: dict[str, str]) -> dict:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, env=environment, cwd=ROOT.parent
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def compare(name: str, sides: dict[str, list], *, rounds: int, baselines: Sequence[str]) -> None:
    """Runs every side `rounds` times in turn, so that a slow minute of the machine hits all, and shows the ratios.

    `sides`: label -> [function, *arguments]; `baselines` are labels that the others are divided by.
    """
    by_side: dict[str, list[dict]] = {label: [] for label in sides}
    for number in range(rounds):
        for label, (function, *arguments) in sides.items():
            by_side[label].append(function(*arguments))
            rate = by_side[label][-1]["responses_per_second"]
            print(f"round {number + 1}: {label}: {rate:.2f} responses/s", file=sys.stderr, flush=True)
    rate = {
        label: float(np.median([r["responses_per_second"] for r in runs])) for label, runs in by_side.items()
    }
    table = Table(
        "",
        "responses/s",
        *(f"× {label}" for label in baselines),
        "tokens/response",
        "× least",
        "peak MB",
        title=name,
    )
    for label, runs in by_side.items():
        table.add_row(
            label,
            f"{rate[label]:.2f}",
            *(f"{rate[label] / rate[base]:.2f}" for base in baselines),
            str(runs[0].get("tokens_per_response", "")),
            str(runs[0].get("times_least", "")),
            str(max(r["peak_rss_mb"] for r in runs)),
        )
    Console(width=120).print(table)
    save(name, {"runs": by_side})


def measured_once(name: str, settings: dict[str, Any], measure: Callable[[], dict]) -> dict:
    """What `measure` gives, or what results/NAME.json holds of it with the same settings.

    So a comparison of many sides grows over machines and days.  Raises SystemExit if the file was measured with others.
    """
    file = RESULTS / f"{name}.json"
    settings = json.loads(json.dumps(settings))
    if file.is_file():
        kept = json.loads(file.read_text())
        if kept["settings"] != settings:
            raise SystemExit(
                f"{file.relative_to(ROOT.parent)} was measured with {kept['settings']}, not {settings}"
            )
        return kept["measured"]
    found = measure()
    save(name, {"settings": settings, "measured": found})
    return found


def save(name: str, results: dict) -> None:
    """Keeps raw measurements with the command that is running and the machine."""
    (RESULTS / name).parent.mkdir(parents=True, exist_ok=True)
    # Where things lie on this machine is nobody's business.
    named = " ".join(Path(word).name if "/" in word else word for word in sys.orig_argv)
    machine = f"{os.cpu_count()} CPU cores, {platform.machine()}"
    content = {"command": named, "machine": machine, **results}
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
