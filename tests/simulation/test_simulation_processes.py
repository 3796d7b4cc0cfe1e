"""Simulation over several processes: any number of them, killed at any time, write the same bytes."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from conftest import REPOSITORY
from simulated_world import simulate_small, world_of

from socsci_jax.distributed.processes import Processes
from socsci_jax.errors import InputError
from socsci_jax.simulation import chunks as chunks_module
from socsci_jax.simulation import predict as predict_module
from socsci_jax.simulation.chunks import FinishedChunks
from socsci_jax.simulation.exact import exact_distributions
from socsci_jax.studies.predictions import write_predictions
from socsci_jax.studies.schema import PREDICTIONS_SCHEMA


def started(folder: Path, out: Path, *, number: int, of: int) -> subprocess.Popen:
    """A process of its own that takes its place among `of`."""
    code = (
        "from pathlib import Path\n"
        "from socsci_jax.distributed.processes import Processes\n"
        "from simulated_world import simulate_small\n"
        f"place = Processes(num_processes={of}, process_id={number})\n"
        f"simulate_small(Path({str(folder)!r}), Path({str(out)!r}), processes=place)\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests'}"}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL)


def finished_chunks(out: Path) -> dict[str, tuple[int, int]]:
    """Name of every finished chunk -> when it was written, and its place on the disk."""
    found = {}
    for path in out.parent.glob(f".{out.name}.chunks-*/chunk-*.parquet"):
        with contextlib.suppress(FileNotFoundError):  # gone when the table is written
            facts = path.stat()
            found[path.name] = (facts.st_mtime_ns, facts.st_ino)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("world")
    world_of(made)
    return made


@pytest.fixture(scope="module")
def whole(folder) -> bytes:
    """The table of one process that nobody stopped."""
    simulate_small(folder, folder / "whole.parquet", processes=Processes())
    return (folder / "whole.parquet").read_bytes()


def test_each_process_computes_its_chunks_and_the_first_writes_the_table(
    folder, whole, tmp_path, monkeypatch
):
    """Two processes after each other: the second has left its chunks when the first comes to wait for them."""
    out = tmp_path / "p.parquet"
    counted = []

    def counting(*arguments, **settings):
        counted.append(1)
        return exact_distributions(*arguments, **settings)

    monkeypatch.setattr(predict_module, "exact_distributions", counting)
    monkeypatch.setattr(FinishedChunks, "wait_for_begin", lambda chunks: chunks.begin() or True)
    simulate_small(folder, out, processes=Processes(num_processes=2, process_id=1))
    assert not out.exists()
    of_second = len(counted)
    simulate_small(folder, out, processes=Processes(num_processes=2, process_id=0))
    assert out.read_bytes() == whole
    assert of_second == len(counted) // 2 > 2
    assert [path.name for path in tmp_path.iterdir()] == ["p.parquet"]


def test_the_first_process_computes_what_a_silent_one_owes(folder, whole, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(chunks_module, "SECONDS_WITHOUT_LIFE", 0.0)
    out = tmp_path / "p.parquet"
    simulate_small(folder, out, processes=Processes(num_processes=3, process_id=0))
    assert out.read_bytes() == whole
    assert "process 1 shows no sign of life; chunk 1 is computed by process 0" in caplog.text


def test_a_process_that_is_alive_is_waited_for(tmp_path, monkeypatch):
    """Its chunks take longer than the silence that is borne."""
    monkeypatch.setattr(chunks_module, "SECONDS_WITHOUT_LIFE", 0.5)
    monkeypatch.setattr(chunks_module, "SECONDS_BETWEEN_LOOKS", 0.01)
    finished = FinishedChunks(tmp_path / "out.parquet", {})
    finished.begin()
    looks, computed = [], []

    def sleep(seconds):
        looks.append(1)
        finished.show_life(1)
        time_passed.append(0.4)
        if len(looks) == 10:
            finished.write(1, pl.DataFrame({"a": [1]}))

    time_passed = [0.0]
    monkeypatch.setattr(chunks_module.time, "sleep", sleep)
    monkeypatch.setattr(chunks_module.time, "monotonic", lambda: sum(time_passed))

    def compute(number, show):
        computed.append(number)
        finished.write(number, pl.DataFrame({"a": [1]}))

    chunks_module.compute_chunks(
        finished, [1, 1], compute, processes=Processes(num_processes=2, process_id=0)
    )
    assert computed == [0] and len(looks) == 10


def test_a_process_of_another_simulation_is_told_so(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(chunks_module, "SECONDS_TO_BEGIN", 0.0)
    FinishedChunks(tmp_path / "p.parquet", {"model_hash": "another"}).begin()
    with pytest.raises(
        InputError, match=r"process 0 has not begun this simulation .*found: \.p\.parquet\.chunks-"
    ):
        simulate_small(folder, tmp_path / "p.parquet", processes=Processes(num_processes=2, process_id=1))


def test_a_process_that_comes_when_all_is_done_has_nothing_to_do(tmp_path):
    metadata = {"model_hash": "one", "value": float("nan")}
    rows = pl.DataFrame({name: [] for name in PREDICTIONS_SCHEMA.names})
    write_predictions(tmp_path / "p.parquet", rows, metadata=metadata)
    assert not FinishedChunks(tmp_path / "p.parquet", metadata).wait_for_begin()


@pytest.mark.slow
def test_a_process_that_was_held_up_until_all_was_done_ends_well(folder, whole, tmp_path, monkeypatch):
    """As if it had been stopped while the first process computed its chunk and wrote the table."""
    out = tmp_path / "p.parquet"

    def held_up(*arguments, **settings):
        monkeypatch.undo()
        monkeypatch.setattr(chunks_module, "SECONDS_WITHOUT_LIFE", 0.0)
        simulate_small(folder, out, processes=Processes(num_processes=2, process_id=0))
        return exact_distributions(*arguments, **settings)

    monkeypatch.setattr(FinishedChunks, "wait_for_begin", lambda chunks: chunks.begin() or True)
    monkeypatch.setattr(predict_module, "exact_distributions", held_up)
    simulate_small(folder, out, processes=Processes(num_processes=2, process_id=1))
    assert out.read_bytes() == whole
    assert [path.name for path in tmp_path.iterdir()] == ["p.parquet"]


@pytest.mark.parametrize(
    ("error", "told"),
    [(errno.ENOSPC, "No space left on device"), (errno.EROFS, "Read-only file system")],
)
def test_where_nothing_can_be_written_one_sentence_says_so_and_chunks_are_kept(
    folder, whole, tmp_path, monkeypatch, error, told
):
    out = tmp_path / "p.parquet"
    replaced = []

    def fails_at_fourth(source, target):
        replaced.append(target)
        if len(replaced) == 4:  # after simulation.json and two parts
            raise OSError(error, os.strerror(error))
        return os.rename(source, target)

    monkeypatch.setattr(chunks_module.os, "replace", fails_at_fourth)
    with pytest.raises(InputError, match=rf"chunk-00002\.parquet: cannot be written \({told}\); mend this"):
        simulate_small(folder, out, processes=Processes())
    monkeypatch.undo()
    before = finished_chunks(out)
    assert len(before) == 2
    assert not list(tmp_path.glob(".*/partial-*"))
    simulate_small(folder, out, processes=Processes())
    assert out.read_bytes() == whole


def test_a_chunk_that_cannot_be_read_is_named(tmp_path):
    chunks = FinishedChunks(tmp_path / "p.parquet", {})
    chunks.begin()
    chunks.write(0, pl.DataFrame({"a": [1]}))
    [path] = chunks.folder.glob("chunk-*")
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(InputError, match=r"chunk-00000\.parquet: cannot be read .* remove this file"):
        list(chunks.read(1))


@pytest.mark.slow
@pytest.mark.parametrize("of", [2, 3])
def test_real_processes_write_the_table_of_one(folder, whole, tmp_path, of):
    out = tmp_path / "p.parquet"
    running = [started(folder, out, number=number, of=of) for number in range(of)]
    assert [process.wait(timeout=300) for process in running] == [0] * of
    assert out.read_bytes() == whole


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_killed_at_a_random_moment_and_started_with_another_number(folder, whole, tmp_path, seed):
    out = tmp_path / "p.parquet"
    drawn = random.Random(seed)
    running = [started(folder, out, number=number, of=2) for number in range(2)]
    deadline = time.monotonic() + 120
    wanted = drawn.randint(2, 6)
    while len(finished_chunks(out)) < wanted and time.monotonic() < deadline:
        time.sleep(0.005)
    for process in running:
        process.send_signal(signal.SIGKILL)
    assert [process.wait() for process in running] == [-signal.SIGKILL] * 2
    before = finished_chunks(out)
    assert len(before) >= wanted and not out.exists()

    of = drawn.choice([1, 3])
    running = [started(folder, out, number=number, of=of) for number in range(of)]
    last = {}
    while any(process.poll() is None for process in running):
        last |= finished_chunks(out)
        time.sleep(0.005)
    assert [process.returncode for process in running] == [0] * of
    assert out.read_bytes() == whole
    assert {name: last[name] for name in before} == before
