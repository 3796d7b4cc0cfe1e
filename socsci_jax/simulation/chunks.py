"""Finished chunks of a simulation on disk: memory stays bounded, any process may be stopped, and any number resume."""

from __future__ import annotations

import contextlib
import functools
import glob
import hashlib
import io
import json
import logging
import math
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from socsci_jax.data.prompt_table import PromptTable, sort_by_tokens
from socsci_jax.distributed.processes import Processes
from socsci_jax.errors import InputError
from socsci_jax.progress import progress
from socsci_jax.studies.predictions import read_metadata

logger = logging.getLogger(__name__)

# Chunks hold whole prefixes, so what a prefix shares is lost at no border; their results are some megabytes. How they
# are cut is the same for any number of processes; smaller ones would spread better over many, but fill fewer rows.
PAIRS_PER_CHUNK = 4096

# How long the other processes wait for the first to begin.
SECONDS_TO_BEGIN = 600.0
SECONDS_BETWEEN_LOOKS = 0.2
SECONDS_BETWEEN_SIGNS = 1.0
# The first batch of a large model takes a minute to compile.
SECONDS_WITHOUT_LIFE = 180.0


def chunks_of(table: PromptTable, *, pairs_per_chunk: int) -> list[np.ndarray]:
    """The pairs of `table` (indices, ascending within a chunk) in chunks of whole prefixes.

    Prefixes stand in the order of their tokens, so that those of one study come together.  A chunk ends with the
    prefix that fills it.
    """
    rank = sort_by_tokens(table.prefixes).rank[table.pair_prefix]
    order = np.argsort(rank, kind="stable")
    starts = np.flatnonzero(np.diff(rank[order], prepend=-1))
    cuts, begun = [], 0
    for start in starts[1:]:
        if start - begun >= pairs_per_chunk:
            cuts.append(start)
            begun = start
    return [np.sort(chunk) for chunk in np.split(order, cuts)]


class FinishedChunks:
    """The folder next to a predictions table in which its chunks wait until all are there.

    It belongs to one simulation and is named after it (model, data, settings), so that no process, however late, can
    put a chunk of another simulation there.  The first process makes it, and discards those of other simulations.
    """

    def __init__(self, out: Path, metadata: dict, *, pairs_per_chunk: int = PAIRS_PER_CHUNK):
        """`metadata` is that of the table."""
        self._out, self._metadata = out, metadata
        self._identity = json.dumps({**metadata, "pairs_per_chunk": pairs_per_chunk}, sort_keys=True)
        name = hashlib.sha256(self._identity.encode()).hexdigest()[:12]
        self.folder = out.parent / f".{out.name}.chunks-{name}"

    def begin(self) -> None:
        """Makes the folder, if it is not there from an earlier time."""
        for folder in self._of_all_simulations():
            if folder != self.folder:
                # A process of the other simulation may still be writing there.
                shutil.rmtree(folder, ignore_errors=True)
        with self._told_if_it_fails(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        self._write("simulation.json", self._identity.encode())

    def wait_for_begin(self) -> bool:
        """Waits until the first process has begun this simulation; False if it has even ended.

        Raises InputError if it has not within SECONDS_TO_BEGIN.
        """
        deadline = time.monotonic() + SECONDS_TO_BEGIN
        while not (self.folder / "simulation.json").is_file():
            if self.table_is_written():
                return False
            if time.monotonic() > deadline:
                others = [folder.name for folder in self._of_all_simulations()]
                raise InputError(
                    f"{self.folder}: process 0 has not begun this simulation within {SECONDS_TO_BEGIN:.0f} s "
                    f"(found: {', '.join(others) or 'no other'}); give all processes the same command and a folder "
                    "that they share."
                )
            time.sleep(SECONDS_BETWEEN_LOOKS)
        return True

    def table_is_written(self) -> bool:
        """Whether the table is there, made by this simulation."""
        try:
            written = read_metadata(self._out)
        except InputError:
            return False
        # As texts, because a value that is not a number does not equal itself.
        return json.dumps(written, sort_keys=True) == json.dumps(self._metadata, sort_keys=True)

    def numbers(self) -> set[int]:
        """The chunks that are there."""
        return {int(path.stem.removeprefix("chunk-")) for path in self.folder.glob("chunk-*.parquet")}

    def write(self, number: int, rows: pl.DataFrame) -> None:
        """Raises InputError if the folder cannot be written to."""
        packed = io.BytesIO()
        rows.write_parquet(packed)
        # A copy of it: Python 3.12.0 and 3.12.1 crash where an exception keeps a view of a BytesIO (gh-111049).
        self._write(self._path(number).name, packed.getvalue())

    def show_life(self, process_id: int) -> None:
        """Lets the others see that this process is at work."""
        # If this cannot be written, the chunk cannot either, and that tells why.
        with contextlib.suppress(OSError):
            (self.folder / f"alive-{process_id:05d}").write_bytes(uuid.uuid4().bytes)

    def lives(self, *, but: int) -> dict[str, bytes]:
        """What changes as long as any other process than `but` is at work; clocks are not compared."""
        signs = {path.name: path.read_bytes() for path in self.folder.glob("alive-*")}
        signs.pop(f"alive-{but:05d}", None)
        return signs

    def read(self, count: int) -> Iterator[pl.DataFrame]:
        """The first `count` chunks in their order, one at a time; raises InputError if one cannot be read."""
        for number in range(count):
            path = self._path(number)
            try:
                yield pl.read_parquet(path)
            except (OSError, pl.exceptions.PolarsError) as error:
                raise InputError(
                    f"{path}: cannot be read ({str(error).splitlines()[0]}); remove this file and start the same "
                    "command again: only this chunk is computed again."
                ) from error

    def remove(self) -> None:
        # At once, so that whoever comes late never meets half of it.
        gone = self.folder.with_name(f"{self.folder.name}-{uuid.uuid4().hex[:8]}")
        self.folder.rename(gone)
        shutil.rmtree(gone)

    def _write(self, name: str, content: bytes) -> None:
        """The file appears under its name only when it is on the disk."""
        partial = self.folder / f"partial-{uuid.uuid4().hex}"
        with self._told_if_it_fails(self.folder / name):
            try:
                with open(partial, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(partial, self.folder / name)
            except OSError:
                # A full disk is not filled further.
                partial.unlink(missing_ok=True)
                raise

    @contextlib.contextmanager
    def _told_if_it_fails(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(
                f"{path}: cannot be written ({error.strerror}); mend this and start the same command again: chunks that "
                "are finished are not computed again."
            ) from error

    def _of_all_simulations(self) -> list[Path]:
        return sorted(self._out.parent.glob(f".{glob.escape(self._out.name)}.chunks-*"))

    def _path(self, number: int) -> Path:
        return self.folder / f"chunk-{number:05d}.parquet"


def compute_chunks(
    finished: FinishedChunks,
    sizes: Sequence[int],
    compute: Callable[[int, Callable[[int, int], None]], None],
    *,
    processes: Processes,
) -> None:
    """Has this process compute its chunks, and the first also see that the others' come; `sizes` are in pairs.

    `compute` takes the number of a chunk and what to tell (done, total) of it to, and writes the chunk.
    """
    last_shown = -math.inf

    def shown(number: int, done: int, total: int) -> None:
        nonlocal last_shown
        if time.monotonic() - last_shown < SECONDS_BETWEEN_SIGNS:
            return
        last_shown = time.monotonic()
        finished.show_life(processes.process_id)
        if report is not None:
            report.update(
                sum(sizes[n] for n in finished.numbers() - {number}) + round(done / total * sizes[number])
            )

    whole = progress("simulate", total=sum(sizes)) if processes.is_main else contextlib.nullcontext()
    with whole as report:
        for number in range(processes.process_id, len(sizes), processes.num_processes):
            if number not in finished.numbers():
                compute(number, functools.partial(shown, number))
        if report is None:
            return
        signs, since = None, 0.0
        while missing := sorted(set(range(len(sizes))) - finished.numbers()):
            now = finished.lives(but=processes.process_id)
            if now != signs:
                signs, since = now, time.monotonic()
            elif time.monotonic() - since > SECONDS_WITHOUT_LIFE:
                owner = missing[0] % processes.num_processes
                logger.warning(
                    f"process {owner} shows no sign of life; chunk {missing[0]} is computed by process 0."
                )
                compute(missing[0], functools.partial(shown, missing[0]))
            report.update(sum(sizes) - sum(sizes[n] for n in missing))
            time.sleep(SECONDS_BETWEEN_LOOKS)
        report.update(sum(sizes))
