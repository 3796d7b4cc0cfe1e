"""One training run under random SIGKILL, SIGTERM and SIGSTOP, restarted on changing numbers of processes.

python -m benchmarks.chaos [--faults 30] [--on 1 2 4] [--seed 0]

It is proved from the journals that every batch that shaped the result is the planned one, none twice and none left
out, and the end is compared with that of an uninterrupted run: with `--on 4` alone bit for bit.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.options import options_of
from benchmarks.table import save
from data_pipelines import build
from socsci_jax.data.loader import PlannedRows
from socsci_jax.errors import START_AGAIN
from socsci_jax.studies.split_making import make_split
from socsci_jax.studies.store import StudyStore
from socsci_jax.training.prepare import prepare
from socsci_jax.training.program import batch_plan
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.recipe_files import parse_recipe
from socsci_jax.training.run import RunFolder
from socsci_jax.verification.compare import compare

PROCESSES = 4
SILENCE_SECONDS = 5
# A process that was killed or stopped has no status of its own.
EXPECTED = {*START_AGAIN, -signal.SIGKILL, -signal.SIGTERM}


def main() -> None:
    options = options_of(__doc__)
    options.add_argument("--faults", type=int, default=30)
    options.add_argument("--on", type=int, nargs="+", default=[1, 2, 4], help="processes of a restart")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--epochs", type=float, default=12)
    options.add_argument("--work", type=Path, default=Path("runs/benchmarks/chaos"))
    a = options.parse_args()
    shutil.rmtree(a.work, ignore_errors=True)
    a.work.mkdir(parents=True)
    build("synthetic", "small", a.work / "store", command="benchmark")
    store = StudyStore(a.work / "store")
    make_split(store, name="main", seed=0, conditions=0.25, participants=0.1).save()

    quiet, chaos = (_recipe(a, store, name) for name in ("quiet", "chaos"))
    statuses = _wait(_start(a, quiet, PROCESSES))
    if set(statuses) != {0}:
        sys.exit(f"the uninterrupted run ended with {statuses}")
    faults = _with_faults(a, chaos)
    proof = _proof(quiet, chaos)
    table = Table("fault", "signal", "to process", "of", "at", "statuses", "steps trained since the last")
    for number, fault in enumerate(faults, start=1):
        table.add_row(
            str(number), *(str(fault[key]) for key in ("signal", "to", "of", "at", "statuses", "steps"))
        )
    console = Console(width=120)
    console.print(table)
    for name, value in proof.items():
        console.print(f"{name}: {value}")
    name = f"chaos-on-{'-'.join(map(str, a.on))}"
    save(name, {"faults": faults, **proof})


def _recipe(a: argparse.Namespace, store: StudyStore, name: str) -> Recipe:
    tree = {
        "name": name,
        "output": str((a.work / name).resolve()),
        "hardware": "4xcpu",
        "model": {
            "init_from": "random",
            "tokenizer": "train",
            "vocab_size": 500,
            "architecture": {
                "model_type": "qwen3",
                "hidden_size": 32,
                "intermediate_size": 48,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
            },
        },
        "data": {"store": str(store.path.resolve()), "split": "main"},
        "batch": {"rows": 8, "tokens_per_row": 640, "branches_per_tree": 4},
        "optimizer": {"epochs": a.epochs, "learning_rate": 1e-3},
        "parallelism": {"data": PROCESSES},
        "checkpoints": {"every_steps": 3},
    }
    (a.work / f"{name}.yaml").write_text(yaml.safe_dump(tree))
    return parse_recipe(tree, where=name)


def _start(a: argparse.Namespace, recipe: Recipe, processes: int) -> list[subprocess.Popen]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {
        "JAX_PLATFORMS": "cpu",
        # Compiling is most of what a restart takes: not optimized, and emitted in the quicker of two ways.
        "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false",
        "SOCSCI_JAX_COORDINATOR": f"127.0.0.1:{port}",
        "SOCSCI_JAX_NUM_PROCESSES": str(processes),
        "SOCSCI_JAX_SILENCE_SECONDS": str(SILENCE_SECONDS),
        "SOCSCI_JAX_START_SECONDS": "60",
    }
    command = [sys.executable, "-m", "socsci_jax", "train", str(a.work / f"{recipe.name}.yaml")]
    running = []
    for number in range(processes):
        with (a.work / f"{recipe.name}-{number}.log").open("a") as log:
            own = {"SOCSCI_JAX_PROCESS_ID": str(number)}
            running.append(
                subprocess.Popen(
                    [*command, f"parallelism.data={processes}"],
                    env=os.environ | shared | own,
                    stdout=log,
                    stderr=log,
                )
            )
    return running


def _wait(running: list[subprocess.Popen]) -> list[int]:
    return [process.wait() for process in running]


def _with_faults(a: argparse.Namespace, recipe: Recipe) -> list[dict]:
    """Starts the run again and again until it is finished; what was done to it."""
    rng = random.Random(a.seed)
    faults: list[dict] = []
    processes = PROCESSES
    while True:
        running = _start(a, recipe, processes)
        trained = len(_lines(recipe, "step"))
        if len(faults) == a.faults:
            statuses = _wait(running)
            if set(statuses) != {0}:
                sys.exit(f"the last start ended with {statuses}")
            return faults
        early = rng.random() < 0.2
        if early:
            time.sleep(rng.uniform(0, 15))
        else:
            while len(_lines(recipe, "step")) == trained and _alive(running):
                time.sleep(0.05)
            time.sleep(rng.uniform(0.2, 4))
        if not all(process.poll() is None for process in running):
            statuses = _wait(running)
            if set(statuses) == {0}:
                sys.exit("the run finished before all faults had happened; give it more --epochs")
            sys.exit(f"the run ended by itself: {statuses}")
        victim, name = rng.randrange(processes), rng.choice(["SIGKILL", "SIGTERM", "SIGSTOP"])
        running[victim].send_signal(signal.Signals[name])
        statuses = _after(running, victim, name)
        # A single process that is stopped and resumes has nobody to miss it.
        unharmed = processes == 1 and name == "SIGSTOP"
        # If the first one is killed, JAX may be faster to abort the others than these are to end by themselves.
        expected = EXPECTED | ({-signal.SIGABRT} if victim == 0 and name == "SIGKILL" else set())
        if not unharmed and (set(statuses) - expected or 0 in statuses):
            sys.exit(f"{name} to process {victim} of {processes}: the statuses are {statuses}")
        faults.append(
            {
                "signal": name,
                "to": victim,
                "of": processes,
                "at": "start" if early else "steps",
                "statuses": " ".join(map(str, statuses)),
                "steps": (len(_lines(recipe, "step")) - trained),
            }
        )
        print(json.dumps(faults[-1]), file=sys.stderr, flush=True)
        processes = rng.choice(a.on)


def _after(running: list[subprocess.Popen], victim: int, name: str) -> list[int]:
    """The statuses, once all have ended; a stopped one is killed when the others have noticed."""
    if name != "SIGSTOP":
        return _wait(running)
    others = [process for process in running if process is not running[victim]]
    statuses = _wait(others)
    if not others:
        time.sleep(1)
    running[victim].kill()
    statuses.insert(victim, running[victim].wait())
    return statuses


def _alive(running: list[subprocess.Popen]) -> bool:
    return any(process.poll() is None for process in running)


def _lines(recipe: Recipe, event: str | None = None, *, process: int | str = 0) -> list[dict]:
    name = f"process-{process:05d}.jsonl" if isinstance(process, int) else "process-*.jsonl"
    lines = []
    for path in sorted(RunFolder(recipe.output).logs.glob(name)):
        for text in path.read_text().splitlines():
            try:
                line = json.loads(text)
            except ValueError:  # cut short by a kill
                continue
            if event in (None, line["event"]):
                lines.append(line)
    return lines


def _proof(quiet: Recipe, chaos: Recipe) -> dict:
    """What the journals of all processes prove; stops with the first thing that is not as promised."""
    planned = _planned(quiet)
    starts: dict[str, list[dict]] = collections.defaultdict(list)
    for line in sorted(_lines(chaos, process="*"), key=lambda line: line["time"]):
        starts[line["start"]].append(line)
    effective: dict[int, int] = {}
    trained = 0
    for lines in starts.values():
        begins = [line for line in lines if line["event"] == "begins"]
        if not begins:
            continue
        [first] = {line["first_step"] for line in begins}
        _must(
            first == 0 or first in effective, f"a start resumes from step {first}, which nobody had trained"
        )
        effective = {step: digest for step, digest in effective.items() if step <= first}
        fed: dict[int, list[int]] = collections.defaultdict(list)
        for line in lines:
            if line["event"] == "step":
                fed[line["step"]].append(int(line["digest"], 16))
        for number, step in enumerate(sorted(fed), start=first + 1):
            _must(step == number, f"step {step} follows step {number - 1}")
            if len(fed[step]) == lines[0]["of"]:
                digest = sum(fed[step]) % 2**64
                _must(
                    digest == planned[step], f"step {step} was trained on another batch than the planned one"
                )
                trained += 1
            else:
                # Killed between the lines of two processes; what came of the step was lost, or is in no checkpoint.
                digest = planned[step]
            effective[step] = digest
    _must(effective == planned, "the steps that shaped the result are not the planned ones")
    ends = [{line["step"]: line["loss"] for line in _lines(recipe, "step")} for recipe in (quiet, chaos)]
    last = max(planned)
    difference = abs(ends[0][last] - ends[1][last]) / abs(ends[0][last])
    _must(difference <= 1e-5, f"the final loss differs by {difference:.1e}")
    comparison = compare(str(quiet.output), str(chaos.output))
    largest = max((tensor.largest or 0.0 for tensor in comparison.different), default=0.0)
    return {
        "steps": last,
        "starts": len(starts),
        "steps trained in all, repeated ones included": trained,
        "every batch the planned one, none twice, none missing": True,
        "final loss, uninterrupted": ends[0][last],
        "final loss, with faults": ends[1][last],
        "relative difference": difference,
        "parameters": "equal bits" if not comparison.different else f"largest difference {largest:.2e}",
    }


def _planned(recipe: Recipe) -> dict[int, int]:
    """Digest of the whole batch of every step, by the plan alone."""
    one = recipe.model_copy(update={"parallelism": recipe.parallelism.model_copy(update={"data": 1})})
    shards = prepare(one).shards
    plan = batch_plan(recipe, shards.lengths)
    steps = plan.steps(recipe.optimizer.epochs)
    source = PlannedRows(shards, plan, steps=steps, micro_batches=1, own=slice(0, recipe.batch.rows))
    return {step + 1: source.digest(source[step]) for step in range(steps)}


def _must(holds: bool, otherwise: str) -> None:
    if not holds:
        sys.exit(f"NOT AS PROMISED: {otherwise}")


if __name__ == "__main__":
    main()
