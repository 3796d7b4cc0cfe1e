"""Every command that writes for long, started twice at once on one output: `python -m benchmarks.two_writers`.

Each command is started, killed with SIGKILL while it holds the lock of its output, and then started twice at once: one of
the two must do the work, the other must end with status 2 and name the first.  Ends with status 1 if any does not.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RECIPE = (
    "data.store=small data.split=main batch.rows=1 batch.branches_per_tree=8 batch.tokens_per_row=704 "
    "model.vocab_size=400 model.architecture.num_hidden_layers=1 optimizer.epochs=0.2 checkpoints.every_steps=2"
)
EXPERIMENT = """\
study: council
factors:
  frame:
    levels:
      plain: {text: The council met on Monday., control: true}
      praise: The council won a prize for honest work.
outcomes:
  trust: {question: How much do you trust the council?, scale: {lo: 1, hi: 5, labels: {1: not at all, 5: completely}}}
  hope: {question: How hopeful are you?, scale: {lo: 1, hi: 5, labels: {1: not at all, 5: very}}}
"""
# Name, arguments, output.  They are run in this order: each finds what those before it have written.
COMMANDS = (
    ("build", "data build synthetic small small", "small"),
    ("train", f"train RECIPE {RECIPE} output=run", "run"),
    ("simulate", "simulate run small -o p.parquet", "p.parquet"),
    ("export", "export run exported", "exported"),
    ("evaluate", "evaluate p.parquet small -o evaluation", "evaluation"),
    ("sweep", f"sweep RECIPE {RECIPE} --over participants --shares 0.5 -o sweep", "sweep"),
    ("forecast run", "forecast run experiment.yaml run --calibration other --past-people 2 --people people.csv", "forecast"),
    ("forecast respondents", "forecast respondents experiment.yaml run --people people.csv -n 4", "respondents.csv"),
)  # fmt: skip
BEFORE = {
    "train": "data split small --conditions 0.3 --participants 0.3",
    "forecast run": "data build synthetic demonstration other",
}


def main() -> None:
    """Prints for each command what became of the killed process and of the two that came after it."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument(
        "names", nargs="*", help="only these commands (their forerunners must be among them)"
    )
    names = arguments.parse_args().names
    failed = False
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        Path("experiment.yaml").write_text(EXPERIMENT)
        Path("people.csv").write_text("age,gender\n34,Female\n61,Male\n")
        print(f"{'command':<22}{'killed after':>13}  {'of two at once':<16} what the second says")
        for name, words, out in COMMANDS:
            if names and name not in names:
                continue
            if name in BEFORE:
                subprocess.run(command(BEFORE[name]), check=True, capture_output=True)
            failed |= not shown(name, words, Path(out))
    raise SystemExit(failed)


def command(words: str) -> list[str]:
    recipe = str(Path(__file__).resolve().parents[1] / "recipes" / "tiny.yaml")
    return [sys.executable, "-m", "socsci_jax", *words.replace("RECIPE", recipe).split()]


def shown(name: str, words: str, out: Path) -> bool:
    """Whether it went as it must, after a line on it."""
    seconds = killed_at_work(words, out)
    first, second = (subprocess.Popen(command(words), stderr=subprocess.PIPE, text=True, stdout=subprocess.DEVNULL) for _ in range(2))  # fmt: skip
    ended = [(process.communicate()[1], process) for process in (first, second)]
    statuses = sorted(process.returncode for _, process in ended)
    (worker,) = [p for _, p in ended if p.returncode == 0] or [None]
    told = next((text for text, process in ended if process.returncode == 2), "")
    named = re.search(r"is being written by process (\d+) on \S+, started [^;]+", told)
    right = statuses == [0, 2] and named is not None and int(named[1]) == worker.pid and out.exists()
    print(f"{name:<22}{seconds:>11.1f} s  {' and '.join(map(str, statuses)):<16} {named[0] if named else told[-200:]!r}", flush=True)  # fmt: skip
    if not right:
        print("\n".join(text[-2000:] for text, _ in ended))
    return right


def killed_at_work(words: str, out: Path) -> float:
    """Starts a command and kills it a moment after it took its lock; seconds until then."""
    lock = out.parent / f".{out.name}.lock"
    process, start = subprocess.Popen(command(words), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL), time.monotonic()  # fmt: skip
    while not lock.exists() and process.poll() is None:
        time.sleep(0.01)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=0.5)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return time.monotonic() - start


if __name__ == "__main__":
    main()
