"""Damaged inputs for every reader: `python -m benchmarks.fuzz [READER ...] --minutes 10`.

A whole input is made, changed at random places, and read again and again.  Allowed is that it is read, or that it is
refused in one sentence with a status of `socsci_jax.errors`.  Printed for each reader are the number of inputs, how
many were refused, tracebacks, inputs that took more than ten seconds, and the process's peak memory; an input that
failed is kept in `--keep`.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gzip
import io
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
from pathlib import Path

from benchmarks.fuzz_deposits import DEPOSIT_READERS
from benchmarks.fuzz_models import MODEL_READERS
from benchmarks.fuzz_readers import TABLE_READERS, Reader
from benchmarks.options import options_of

READERS = {reader.name: reader for reader in (*MODEL_READERS, *TABLE_READERS, *DEPOSIT_READERS)}

LONGEST_SECONDS = 10  # of processor time
LONGEST_WAIT = 120  # by the clock
MOST_BYTES = 6 * 2**30  # beyond that an input counts as a traceback: MemoryError
TOKENS = [
    b"0", b"-1", b"1e999", b"NaN", b"9" * 30, b"2147483648", b"0.1", b"null", b"true", b'""', b"[]", b"{}", b"[[[[[[",
    b'"\\ud800"', b'"\\u0000"', b"\x00", b"\xff", b"\xef\xbb\xbf", b"\n", b",", b":", b"&a", b"*a", b"!!python/x", b"=1",
    b"\x1b[31m", b"$\\frac", b"[/b]", "\u202e".encode(), b"../../x", b"{{ x }}", b"{% for i in range(9999) %}", b"'" * 3,
]  # fmt: skip


@dataclasses.dataclass
class Outcome:
    """What became of the inputs of one reader."""

    inputs: int = 0
    refused: int = 0
    tracebacks: int = 0
    slow: int = 0


class TookTooLong(BaseException):
    """Passes every `except Exception`."""


def changed(content: bytes, rng: random.Random) -> bytes:
    """The bytes with one to four changes: cut, repeated, swapped, exchanged for bytes that have upset parsers."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(content) + 1)
        end = min(len(content), at + rng.choice((1, 1, 4, 20, 200)))
        kind = rng.randrange(7)
        if kind == 0:
            content = content[:at] + rng.choice(TOKENS) + content[end:]
        elif kind == 1:
            content = content[:at] + rng.randbytes(end - at) + content[end:]
        elif kind == 2:
            content = content[:at] + content[end:]
        elif kind == 3:
            content = content[:at] + content[at:end] * rng.choice((2, 3, 50)) + content[end:]
        elif kind == 4 and at < len(content):
            content = content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]
        elif kind == 5:
            content = content[:at]
        else:
            content = _with_another_value(content, rng)
    return content


def changed_file(content: bytes, rng: random.Random) -> bytes:
    """The file changed, or what is packed in it: checksums of archives would keep changes from their readers."""
    if rng.random() < 0.2:
        return changed(content, rng)
    if content[:2] == b"\x1f\x8b":
        return gzip.compress(changed(gzip.decompress(content), rng), compresslevel=1)
    if content[:2] != b"PK":
        return changed(content, rng)
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(packed, "w") as after:
        chosen = rng.choice(before.namelist())
        for name in before.namelist():
            member = before.read(name)
            after.writestr(name, changed(member, rng) if name == chosen else member)
    return packed.getvalue()


def _with_another_value(content: bytes, rng: random.Random) -> bytes:
    """One number, text or word of the content becomes another one, so that its form stays what it was."""
    values = list(re.finditer(rb'"[^"\n]*"|-?\d+\.?\d*|\b(?:true|false|null|yes|no)\b', content))
    if not values:
        return content
    chosen = rng.choice(values)
    value = rng.choice([*TOKENS, rng.choice(values)[0]])
    return content[: chosen.start()] + value + content[chosen.end() :]


def fuzz(reader: Reader, *, seconds: float, most: int, seed: int, keep: Path | None) -> Outcome:
    """Reads changed inputs until the time is up, or `most` were read."""
    from socsci_jax.errors import ending

    rng, outcome = random.Random(seed), Outcome()
    with tempfile.TemporaryDirectory() as folder:
        place, whole = Path(folder, "input"), Path(folder, "whole")
        whole.mkdir()
        reader.make(whole)
        files = sorted(path for path in whole.glob(reader.changes) if path.is_file())
        shutil.copytree(whole, place)
        reader.read(place)  # what is whole is read
        until = time.monotonic() + seconds
        while time.monotonic() < until and outcome.inputs < most:
            shutil.rmtree(place)
            shutil.copytree(whole, place)
            file = place / rng.choice(files).relative_to(whole)
            file.write_bytes(changed_file(file.read_bytes(), rng))
            outcome.inputs += 1
            failed = None
            try:
                with _limited():
                    reader.read(place)
            except TookTooLong as error:
                outcome.slow += 1
                failed = "".join(traceback.format_exception(error))[-4000:]
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                sentence, status = ending(error)
                if status == 1 or len(sentence) > 20_000:
                    outcome.tracebacks += 1
                    failed = "".join(traceback.format_exception(error))[-4000:]
                else:
                    outcome.refused += 1
            if failed is not None and keep is not None:
                kept = keep / f"{reader.name}-{seed}-{outcome.inputs}"
                shutil.copytree(place, kept, dirs_exist_ok=True)
                (kept / "failure.txt").write_text(
                    f"{file.relative_to(place)}\n{failed}", errors="backslashreplace"
                )
    return outcome


@contextlib.contextmanager
def _limited():
    """Raises TookTooLong in or after what takes longer."""

    def stop(*_) -> None:
        raise TookTooLong

    timers = {
        signal.SIGPROF: (signal.ITIMER_PROF, LONGEST_SECONDS),
        signal.SIGALRM: (signal.ITIMER_REAL, LONGEST_WAIT),
    }
    before = {number: signal.signal(number, stop) for number in timers}
    children = _seconds_of_children()
    for timer, seconds in timers.values():
        signal.setitimer(timer, seconds)
    try:
        yield
        if _seconds_of_children() - children > LONGEST_SECONDS:
            raise TookTooLong
    finally:
        for number, (timer, _) in timers.items():
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])


def _seconds_of_children() -> float:
    """Processor time of the processes that this one started, running ones included, and of those that they waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    ticks = 0
    for children in Path("/proc/self/task").glob("*/children"):
        for child in children.read_text().split():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
                ticks += sum(map(int, fields[11:15]))
    return used.ru_utime + used.ru_stime + ticks / os.sysconf("SC_CLK_TCK")


def main() -> int:
    parser = options_of(__doc__)
    parser.add_argument("readers", nargs="*", help=f"by default all: {', '.join(READERS)}")
    parser.add_argument("--minutes", type=float, default=10, help="for each reader (default 10)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--keep", type=Path, default=Path("fuzz_failures"), help="folder for inputs that failed"
    )
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    unknown = set(arguments.readers) - set(READERS)
    if unknown:
        parser.error(f"{min(unknown)} is no reader; known are {', '.join(READERS)}")
    if not arguments.worker:
        print(f"{'reader':<22}{'inputs':>10}{'refused':>10}{'tracebacks':>12}{'over 10 s':>11}{'peak MB':>9}")
        common = [
            "--worker",
            "--minutes",
            str(arguments.minutes),
            "--seed",
            str(arguments.seed),
            "--keep",
            str(arguments.keep),
        ]
        failed = 0
        for name in arguments.readers or READERS:
            # A process for each, so that its memory is its own.
            failed |= subprocess.run(
                [sys.executable, "-m", "benchmarks.fuzz", name, *common], check=False
            ).returncode
        return failed
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    os.environ["JAX_PLATFORMS"] = "cpu"
    (name,) = arguments.readers
    counts = fuzz(
        READERS[name], seconds=60 * arguments.minutes, most=10**12, seed=arguments.seed, keep=arguments.keep
    )
    from data_pipelines.formats.isolated import READER

    READER.end()  # so that what it took counts among the children's
    used = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    peak = max(used) / 1024
    print(
        f"{name:<22}{counts.inputs:>10,}{counts.refused:>10,}{counts.tracebacks:>12}{counts.slow:>11}{peak:>9.0f}",
        flush=True,
    )
    return int(counts.tracebacks + counts.slow > 0)


if __name__ == "__main__":
    sys.exit(main())
