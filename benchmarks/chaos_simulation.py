"""One simulation, killed ten times and taken up again by other numbers of processes, compared with one that was left alone.

python -m benchmarks.chaos_simulation [--work runs/chaos] [--kills 10] [--seed 0]

Each attempt starts 1, 2 or 4 processes (the first one 2); after so many new chunks, drawn by the seed, a random one gets
SIGKILL, and a moment later the rest, as a scheduler would do. Exit status 1 if the tables differ or any finished chunk
was computed again.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.options import options_of

PATIENCE_SECONDS = 600


def main() -> None:
    a = _options()
    if a.worker:
        _work(a, process_id=int(a.worker[0]), num_processes=int(a.worker[1]), out=Path(a.worker[2]))
        return
    from benchmarks.table import save

    _make_world(a.work)
    alone, killed = (a.work / f"{name}.parquet" for name in ("alone", "killed"))
    for out in (alone, killed):
        for path in [out, *a.work.glob(f".{out.name}.chunks-*")]:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    chunks = len(_undisturbed(a, alone))
    print(f"uninterrupted: {chunks} chunks, SHA-256 {_sha256(alone)}", flush=True)
    drawn, attempts = random.Random(a.seed), []
    for number in range(a.kills + 1):
        count = 2 if number == 0 else drawn.choice([1, 2, 4])
        kill_after = drawn.randint(1, chunks // (a.kills + 1)) if number < a.kills else None
        attempts.append(_attempt(a, killed, drawn, processes=count, kill_after=kill_after))
        print(f"attempt {number + 1}: {attempts[-1]}", flush=True)

    again = sum(attempt["computed_again"] for attempt in attempts)
    equal = _sha256(killed) == _sha256(alone)
    print(f"killed {a.kills} times: SHA-256 {_sha256(killed)}")
    print(f"{'byte-identical' if equal else 'DIFFERENT'}; finished chunks computed again: {again}")
    save(
        "chaos-simulation",
        {"chunks": chunks, "attempts": attempts, "byte_identical": equal, "sha256": _sha256(alone)},
    )
    raise SystemExit(0 if equal and not again else 1)


def _options() -> argparse.Namespace:
    options = options_of(__doc__)
    options.add_argument("--work", type=Path, default=Path("runs/chaos"))
    options.add_argument("--kills", type=int, default=10)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--pairs-per-chunk", type=int, default=16)
    options.add_argument(
        "--worker", nargs=3, help=argparse.SUPPRESS
    )  # process id, number of processes, table
    return options.parse_args()


def _undisturbed(a: argparse.Namespace, out: Path) -> dict[str, tuple[int, int]]:
    """The chunks of one process that nobody kills."""
    [process], seen = _start(a, out, 1), {}
    while process.poll() is None:
        seen |= _chunks(out)
        time.sleep(0.01)
    if process.returncode:
        raise SystemExit(f"the uninterrupted simulation ended with status {process.returncode}")
    return seen


def _attempt(
    a: argparse.Namespace, out: Path, drawn: random.Random, *, processes: int, kill_after: int | None
) -> dict:
    """What one attempt did: killed after so many new chunks, a random process first, or left alone to its end."""
    before = _chunks(out)
    running = _start(a, out, processes)
    if kill_after is not None:
        _wait_for(out, len(before) + kill_after, running)
        ending = {"killed_first": _kill(running, drawn)}
        after = _chunks(out)
        if out.exists():
            raise SystemExit(
                f"the simulation ended before it was killed {a.kills} times; give fewer --pairs-per-chunk"
            )
    else:
        after = dict(before)
        while any(process.poll() is None for process in running):
            after |= _chunks(out)
            time.sleep(0.01)
        ending = {"statuses": [process.returncode for process in running]}
    again = sum(after.get(name) != place for name, place in before.items())
    counts = {"chunks_before": len(before), "chunks_after": len(after), "computed_again": again}
    return {"processes": processes, **ending, **counts}


def _kill(running: list[subprocess.Popen], drawn: random.Random) -> int:
    """Kills one of the processes and a moment later the rest; returns the first one's number."""
    time.sleep(drawn.uniform(0, 0.2))
    victim = drawn.randrange(len(running))
    running[victim].send_signal(signal.SIGKILL)
    time.sleep(drawn.uniform(0, 0.5))
    for process in running:
        process.send_signal(signal.SIGKILL)
        process.wait()
    return victim


def _make_world(folder: Path) -> None:
    """Invented studies, a tokenizer and random weights in the Hugging Face format; made once."""
    if (folder / "model").is_dir():
        return
    import jax

    from benchmarks.workload import SHAPES, model_config
    from data_pipelines.synthetic.designs import SyntheticConfig
    from data_pipelines.synthetic.studies import build
    from socsci_jax.data.sentencepiece_training import train_sentencepiece
    from socsci_jax.data.tokenizer_loading import load_tokenizer
    from socsci_jax.models.huggingface_export import source_of, write_checkpoint
    from socsci_jax.models.modules import init
    from socsci_jax.studies.split_making import make_split

    studies = SyntheticConfig(n_studies=12, participants_per_condition=(30, 40))
    store = build(folder / "store", config=studies, command="benchmark", replace=True)
    make_split(store, name="main", seed=0, studies=0.5, conditions=0.25, participants=0.1).save(replace=True)
    texts = [item.text for item in store.item_by_id.values()] + [str(number) for number in range(101)]
    tokenizer = load_tokenizer(train_sentencepiece(texts, folder / "tokenizer", vocab_size=1000))
    config = model_config(SHAPES["tiny"], tokenizer, vocab_size=1024)
    companions = {path.name: path.read_bytes() for path in (folder / "tokenizer").iterdir()}
    write_checkpoint(
        source_of(init(config, key=jax.random.key(0)), config),
        config,
        folder / "model",
        extra_files=companions,
    )


def _start(a: argparse.Namespace, out: Path, count: int) -> list[subprocess.Popen]:
    settings = ["--work", a.work, "--pairs-per-chunk", a.pairs_per_chunk]
    command = [sys.executable, "-m", "benchmarks.chaos_simulation", *settings, "--worker"]
    return [
        subprocess.Popen([*map(str, [*command, number, count, out])], stderr=subprocess.DEVNULL)
        for number in range(count)
    ]


def _chunks(out: Path) -> dict[str, tuple[int, int]]:
    """Name of every finished chunk -> when it was written, and where it lies on the disk."""
    chunks = {}
    for path in out.parent.glob(f".{out.name}.chunks-*/chunk-*.parquet"):
        with contextlib.suppress(FileNotFoundError):  # gone when the table is written
            status = path.stat()
            chunks[path.name] = (status.st_mtime_ns, status.st_ino)
    return chunks


def _wait_for(out: Path, chunks: int, running: list[subprocess.Popen]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (finished := len(_chunks(out))) < chunks:
        if time.monotonic() > deadline or any(process.poll() for process in running):
            raise SystemExit(f"{finished} chunks of {chunks}; statuses {[p.poll() for p in running]}")
        time.sleep(0.01)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _work(a: argparse.Namespace, *, process_id: int, num_processes: int, out: Path) -> None:
    """One process of the simulation."""
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(a.work / "cache"))
    import jax

    from socsci_jax.distributed.processes import Processes
    from socsci_jax.model_io import open_model
    from socsci_jax.models.sharding import make_mesh
    from socsci_jax.simulation.simulate import simulate
    from socsci_jax.studies.layouts import STUDY_FIRST
    from socsci_jax.studies.splits import Split
    from socsci_jax.studies.store import StudyStore

    store = StudyStore(a.work / "store")
    devices = jax.local_devices()
    simulate(
        open_model(
            str(a.work / "model"), mesh=make_mesh(data=len(devices), fsdp=1, tensor=1, devices=devices)
        ),
        store,
        Split.load(store, "main"),
        out=out,
        layout=STUDY_FIRST,
        processes=Processes(num_processes=num_processes, process_id=process_id),
        pairs_per_chunk=a.pairs_per_chunk,
    )


if __name__ == "__main__":
    main()
