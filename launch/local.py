#!/usr/bin/env python
"""Several processes of one run on this machine: `python launch/local.py 2 -- socsci-jax train recipe.yaml`.

The processes meet over CPU collectives; with `--gpus` each takes one GPU of its own. JAX_NUM_CPU_DEVICES=4 gives each
process four simulated devices. If one process ends with another status than 0, the others get a while to end by
themselves; returned is the status that says most. SIGTERM is passed on, and the processes' checkpoint waited for.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

from socsci_jax.errors import BAD_INPUT, LOST, NON_FINITE, STALLED, START_AGAIN, STOPPED, STORAGE_FAILED

# Longer than processes need to say that another one is gone, once they see it.
SECONDS_AFTER_A_FAILURE = 20
SECONDS_AFTER_SIGTERM = 5
KILLED = 128 + signal.SIGKILL  # by the kernel for its memory, or by hand


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("processes", type=int, help="how many to start")
    parser.add_argument("--gpus", action="store_true", help="give process i the i-th GPU")
    parser.add_argument(
        "--restarts", type=int, default=0, help="start all again so often if one is lost, stalls or is killed"
    )
    parser.add_argument(
        "--grace", type=float, default=120, help="seconds for a checkpoint after SIGTERM (default 120)"
    )
    parser.add_argument("command", nargs="+", help="after --: what each process runs")
    arguments = parser.parse_args()
    if arguments.processes < 1:
        parser.error(f"processes is {arguments.processes}; start at least 1")
    if shutil.which(arguments.command[0]) is None:
        parser.error(
            f"{arguments.command[0]}: command not found; give it after --, such as -- socsci-jax train"
        )

    asked_to_stop = False

    def stop(*_) -> None:
        nonlocal asked_to_stop
        asked_to_stop = True

    signal.signal(signal.SIGTERM, stop)
    left = arguments.restarts
    while True:
        running: list[subprocess.Popen] = []
        try:
            start(running, arguments.command, arguments.processes, gpus=arguments.gpus)
            status = wait(running, asked_to_stop=lambda: asked_to_stop, grace=arguments.grace)
        finally:
            end(running)
        if asked_to_stop or not left or status not in (*START_AGAIN, KILLED):
            return status
        left -= 1
        print(f"local.py: status {status}: all are started again ({left} restarts left)", file=sys.stderr)


def start(running: list[subprocess.Popen], command: list[str], processes: int, *, gpus: bool) -> None:
    """Adds the processes to `running` one by one, so that all are ended if one cannot be started."""
    shared = {
        "SOCSCI_JAX_COORDINATOR": f"127.0.0.1:{free_port()}",
        "SOCSCI_JAX_NUM_PROCESSES": str(processes),
        # By which the processes know each other.
        "SOCSCI_JAX_SECRET": secrets.token_hex(32),
    }
    for number in range(processes):
        own = {"SOCSCI_JAX_PROCESS_ID": str(number)}
        own |= {"SOCSCI_JAX_LOCAL_DEVICES": str(number)} if gpus else {"JAX_PLATFORMS": "cpu"}
        running.append(subprocess.Popen(command, env=os.environ | shared | own))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait(running: list[subprocess.Popen], *, asked_to_stop: Callable[[], bool], grace: float) -> int:
    """The status that says most, once all have ended or the time to do so is up."""
    until, passed_on = float("inf"), False
    while time.monotonic() < until:
        states = [process.poll() for process in running]
        if None not in states:
            break
        if asked_to_stop() and not passed_on:
            passed_on, until = True, time.monotonic() + grace
            for process in running:
                process.send_signal(signal.SIGTERM)
        elif any(states) and until == float("inf"):
            until = time.monotonic() + SECONDS_AFTER_A_FAILURE
        time.sleep(0.1)
    # A process that a signal ended has a negative state.
    ended = [128 - state if state < 0 else state for state in states if state is not None]
    return min(ended, key=_rank, default=KILLED)


def _rank(status: int) -> int:
    """Causes come before a lost process, which is what the others see of one, and that before mere signals."""
    known = (BAD_INPUT, NON_FINITE, STORAGE_FAILED, STALLED, LOST, STOPPED)
    if status in known:
        return 1 + known.index(status)
    return 8 if status == 0 else 7 if status > 128 else 0


def end(running: list[subprocess.Popen]) -> None:
    for process in running:
        process.terminate()
    until = time.monotonic() + SECONDS_AFTER_SIGTERM
    for process in running:
        try:
            process.wait(timeout=max(0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()  # also ends one that was stopped
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
