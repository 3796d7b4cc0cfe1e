"""Every command that writes for long, started twice at once on one output: `python -m benchmarks.two_writers`.

Each command is started, killed with SIGKILL while it holds the lock of its output and has begun its work, and then started
twice at once: one of the two must do the work, the other must end with status 2 and name the first, which waits (SIGSTOP)
until the other has ended, so that it does not matter how fast either is.  Ends with status 1 if any does not.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.options import options_of

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
STEP = "step"  # in a journal
# Name, arguments, output, and what shows that work has begun: files next to the output or in it, or a line of a run's journal.
# They are run in this order: each finds what those before it have written.
COMMANDS = (
    ("build", "data build synthetic demonstration built", "built", ".built.*"),
    ("train", f"train RECIPE {RECIPE} output=run", "run", STEP),
    ("simulate", "simulate run small -o p.parquet", "p.parquet", ".p.parquet.*chunks-*/*"),
    ("export", "export run exported", "exported", ".exported.*"),
    ("evaluate", "evaluate p.parquet small -o evaluation", "evaluation", ".evaluation.*"),
    ("sweep", f"sweep RECIPE {RECIPE} --over participants --shares 0.5 -o sweep", "sweep", STEP),
    ("forecast run", "forecast run experiment.yaml run --calibration built --past-people 2 --people people.csv", "forecast", None),
    ("forecast respondents", "forecast respondents experiment.yaml run --people people.csv -n 4", "respondents.csv", None),
)  # fmt: skip
BEFORE = {
    "train": ("data build synthetic small small", "data split small --conditions 0.3 --participants 0.3")
}
# Where nothing on the disk shows that work has begun: seconds of processor time after the lock.
WORKED = 0.5
# A command may end between two looks; then it is started again.
TRIES = 5


def main() -> None:
    """Prints for each command what became of the killed process and of the two that came after it."""
    arguments = options_of(__doc__)
    arguments.add_argument(
        "names", nargs="*", help="only these commands (their forerunners must be among them)"
    )
    names = arguments.parse_args().names
    failed = False
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        Path("experiment.yaml").write_text(EXPERIMENT)
        Path("people.csv").write_text("age,gender\n34,Female\n61,Male\n")
        print(f"{'command':<22}{'killed at':<26}  {'of two at once':<16} what the second says")
        for name, words, out, begun in COMMANDS:
            if names and name not in names:
                continue
            for before in BEFORE.get(name, ()):
                subprocess.run(command(before), check=True, capture_output=True)
            failed |= not shown(name, words, Path(out), begun)
    raise SystemExit(failed)


def command(words: str) -> list[str]:
    recipe = str(Path(__file__).resolve().parents[1] / "recipes" / "tiny.yaml")
    return [sys.executable, "-m", "socsci_jax", *words.replace("RECIPE", recipe).split()]


def shown(name: str, words: str, out: Path, begun: str | None) -> bool:
    """Whether it went as it must, after a line on it."""
    where = killed_at_work(words, out, begun)
    ended = two_at_once(words, out)
    statuses = sorted(process.returncode for _, process in ended)
    (worker,) = [p for _, p in ended if p.returncode == 0] or [None]
    told = next((text for text, process in ended if process.returncode == 2), "")
    named = re.search(r"is being written by process (\d+) on \S+, started [^;]+", told)
    right = statuses == [0, 2] and named is not None and int(named[1]) == worker.pid and out.exists()
    print(f"{name:<22}{where or 'ended before each kill':<26}  {' and '.join(map(str, statuses)):<16} {named[0] if named else told[-200:]!r}", flush=True)  # fmt: skip
    if not right:
        print("\n".join(text[-2000:] for text, _ in ended))
    return right and where is not None


def start(words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(command(words), stderr=subprocess.PIPE, text=True, stdout=subprocess.DEVNULL)


def killed_at_work(words: str, out: Path, begun: str | None) -> str | None:
    """Starts a command and kills it when it has its lock and has begun; what showed it, None if it ended before each time."""
    for _ in range(TRIES):
        process = subprocess.Popen(command(words), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        locked_at, where = None, None
        while process.poll() is None and where is None:
            if locked_at is None and holder_of(out) == process.pid:
                locked_at = processor_seconds(process.pid)
            if locked_at is not None:
                where = state(out, begun, worked=processor_seconds(process.pid) - locked_at)
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
        if process.wait() == -signal.SIGKILL:
            return where
        shutil.rmtree(out) if out.is_dir() else out.unlink(missing_ok=True)
    return None


def state(out: Path, begun: str | None, *, worked: float) -> str | None:
    """What shows that the holder of the lock of `out` has begun; None where nothing does yet."""
    if begun is None:
        return f"{worked:.1f} s after the lock" if worked >= WORKED else None
    if begun != STEP:
        lock = lock_of(out)
        there = next((path.name for path in out.parent.glob(begun) if path != lock), None)
        return there and f"{there[:22]}"
    for journal in out.rglob("process-00000.jsonl"):
        if steps := journal.read_text().count('"event": "step"'):
            return f"step {steps} in the journal"
    return None


def two_at_once(words: str, out: Path) -> list[tuple[str, subprocess.Popen[str]]]:
    """What two commands that are started at once say, with their processes; who gets the lock waits for the other's end."""
    both = (start(words), start(words))
    while all(process.poll() is None for process in both):
        holder = holder_of(out)
        for process, other in (both, both[::-1]):
            if holder == process.pid:
                os.kill(process.pid, signal.SIGSTOP)
                said = other.communicate()[1]
                os.kill(process.pid, signal.SIGCONT)
                return [(said, other), (process.communicate()[1], process)]
        time.sleep(0.001)
    return [(process.communicate()[1], process) for process in both]


def lock_of(out: Path) -> Path:
    return out.parent / f".{out.name}.lock"


def holder_of(out: Path) -> int | None:
    """The process that the lock of an output names."""
    with contextlib.suppress(OSError, ValueError):
        return int(json.loads(lock_of(out).read_text())["pid"])
    return None


def processor_seconds(pid: int) -> float:
    """Processor time of a process so far; 0 where it is gone."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


if __name__ == "__main__":
    main()
