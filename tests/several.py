"""Several real processes of one run on this machine, started as a scheduler would."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import quick_programs

from socsci_jax.distributed.peers import Peers

# One device a process, not the tests' eight; and programs that are compiled quickly.
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": quick_programs.FLAGS,
    "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
}
TRAIN = (sys.executable, "-m", "socsci_jax", "train")


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a process ended; None if it had to be killed."""

    status: int | None
    output: str
    errors: str
    seconds: float

    @property
    def last_sentence(self) -> str:
        """The last line that begins with `error: `, without that, or with `stopped`."""
        found = [line for line in self.errors.splitlines() if line.startswith(("error: ", "stopped "))]
        return found[-1].removeprefix("error: ") if found else ""


@dataclasses.dataclass
class Several:
    """Processes that were started together; their output goes to files in `folder`."""

    running: list[subprocess.Popen]
    folder: Path
    started: float

    def wait_for(self, condition: Callable[[], bool], *, seconds: float = 180) -> None:
        """Returns once it holds; none may end before."""
        deadline = time.monotonic() + seconds
        while not condition():
            if any(process.poll() is not None for process in self.running):
                raise AssertionError([(one.status, one.last_sentence) for one in self.wait()])
            assert time.monotonic() < deadline, "what was waited for did not happen"
            time.sleep(0.05)

    def wait(self, seconds: float = 240) -> list[Ended]:
        """How each ended; those that are left after so many seconds are killed."""
        ended: dict[int, float] = {}
        while len(ended) < len(self.running) and time.monotonic() - self.started < seconds:
            for i, process in enumerate(self.running):
                if i not in ended and process.poll() is not None:
                    ended[i] = time.monotonic() - self.started
            time.sleep(0.05)
        for process in self.running:
            if process.poll() is None:
                process.kill()
                process.wait()
        return [
            Ended(
                status=process.returncode if i in ended else None,
                output=(self.folder / f"{i}.out").read_text(),
                errors=(self.folder / f"{i}.err").read_text(),
                seconds=ended.get(i, seconds),
            )
            for i, process in enumerate(self.running)
        ]


def start(
    commands: Sequence[Sequence[str | Path]],
    folder: Path,
    *,
    environment: Mapping[str, str] | None = None,
) -> Several:
    """Process i of a run of len(commands) runs commands[i]."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    running = []
    for i, command in enumerate(commands):
        own = {
            "SOCSCI_JAX_COORDINATOR": f"127.0.0.1:{port}",
            "SOCSCI_JAX_NUM_PROCESSES": str(len(commands)),
            "SOCSCI_JAX_PROCESS_ID": str(i),
        }
        with (folder / f"{i}.out").open("w") as output, (folder / f"{i}.err").open("w") as errors:
            running.append(
                subprocess.Popen(
                    list(map(str, command)),
                    stdout=output,
                    stderr=errors,
                    env=os.environ | ENVIRONMENT | own | dict(environment or {}),
                )
            )
    return Several(running, folder, time.monotonic())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def in_each(*functions):
    """What each function gives or raises, all run at once."""

    def outcome(function):
        try:
            return function()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(functions)) as pool:
        return list(pool.map(outcome, functions))


def meet(number: int, *, of: int, port: int, seconds: float = 10, silence: float = 30) -> Peers:
    return Peers.meet(
        address=f"127.0.0.1:{port}", process_id=number, num_processes=of, seconds=seconds, silence=silence
    )
