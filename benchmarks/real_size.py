"""SocSci210's size from deposit to evaluation: processor and clock time, peak memory and bytes on disk of each step.

python -m benchmarks.real_size --work FOLDER --tokenizer QWEN2.5 [--scale 0.0625 0.25 1] [--steps build shards ...]

Each step runs in a process of its own, over the invented deposit of `real_size_deposit`; memory is that of the step's
processes together.  `QWEN2.5` is a folder with Qwen2.5's tokenizer files.  The build by pandas has the same tables without
checks, rejects and hashes; scales are read by the same function.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from benchmarks.options import options_of
from benchmarks.real_size_steps import BOUND, STEPS, WRITES
from benchmarks.table import RESULTS, save

SECONDS_BETWEEN_LOOKS = 0.2


def main() -> None:
    options = options_of(__doc__)
    options.add_argument("--work", type=Path, required=True)
    options.add_argument(
        "--tokenizer", type=Path, required=True, help="folder with Qwen2.5's tokenizer files"
    )
    options.add_argument("--scale", type=float, nargs="+", default=[1 / 16])
    options.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    options.add_argument("--one", choices=STEPS, help=argparse.SUPPRESS)  # in a process of its own
    a = options.parse_args()
    if a.one:
        STEPS[a.one](a.work, a.tokenizer.resolve(), a.scale[0])
        return
    for scale in a.scale:
        folder = a.work / f"scale-{scale:g}"
        folder.mkdir(parents=True, exist_ok=True)
        print(f"\nscale {scale:g}\n")
        print("| step | processor s | clock s | peak MB | MB on disk | what bounds it |")
        print("|---|---|---|---|---|---|")
        name = f"real-size-{scale:g}"
        found = _earlier(RESULTS / f"{name}.json")
        for step in a.steps:
            found[step] = measured(step, folder, a.tokenizer, scale)
            cells = [step, *map("{:,.1f}".format, found[step].values()), BOUND[step]]
            print(f"| {' | '.join(cells)} |", flush=True)
            save(name, {"scale": scale, "measured": found})


def _earlier(results: Path) -> dict[str, dict[str, float]]:
    """What was measured at this scale before; steps that are not run again stay."""
    return json.loads(results.read_text())["measured"] if results.is_file() else {}


def measured(step: str, folder: Path, tokenizer: Path, scale: float) -> dict[str, float]:
    """Runs one step; raises SystemExit if it fails."""
    started, used = time.perf_counter(), os.times()
    module = [sys.executable, "-m", "benchmarks.real_size", "--one", step]
    options = ["--work", str(folder), "--tokenizer", str(tokenizer), "--scale", str(scale)]
    with (folder / f"{step}.log").open("w") as log:
        process = subprocess.Popen([*module, *options], stdout=log)
    peak = _Peak(process.pid)
    status = process.wait()
    most = peak.stop()
    now = os.times()
    if status:
        raise SystemExit(f"{step}: status {status}")
    processor = now.children_user + now.children_system - used.children_user - used.children_system
    return {
        "processor": processor,
        "clock": time.perf_counter() - started,
        "peak": most / 2**20,
        "disk": bytes_in(folder / WRITES[step]) / 2**20,
    }


class _Peak:
    """Watches the memory of a process and of all that it starts, together."""

    def __init__(self, pid: int):
        self._pid, self._most, self._stop = pid, 0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(SECONDS_BETWEEN_LOOKS):
            self._most = max(self._most, sum(map(_resident, _family(self._pid))))

    def stop(self) -> int:
        self._stop.set()
        self._thread.join()
        return self._most


def _family(pid: int) -> list[int]:
    found = [pid]
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += _family(int(child))
    except OSError:  # it has ended
        pass
    return found


def _resident(pid: int) -> int:
    """Bytes of a process; what it shares with others counts for each by its part."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
