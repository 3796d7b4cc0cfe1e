#!/usr/bin/env python
"""Several processes of one run on this machine: `python launch/local.py 2 -- socsci-jax train recipe.yaml`.

The processes meet over CPU collectives; with `--gpus` each takes one GPU of its own. If one fails, the others are
ended and its exit status is returned. JAX_NUM_CPU_DEVICES=4 gives each process four simulated devices.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import time


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("processes", type=int, help="how many to start")
    parser.add_argument("--gpus", action="store_true", help="give process i the i-th GPU")
    parser.add_argument("command", nargs="+", help="after --: what each process runs")
    arguments = parser.parse_args()
    if arguments.processes < 1:
        parser.error(f"processes is {arguments.processes}; start at least 1")
    if shutil.which(arguments.command[0]) is None:
        parser.error(
            f"{arguments.command[0]}: command not found; give it after --, such as -- socsci-jax train"
        )

    shared = {
        "SOCSCI_JAX_COORDINATOR": f"127.0.0.1:{free_port()}",
        "SOCSCI_JAX_NUM_PROCESSES": str(arguments.processes),
    }
    running: list[subprocess.Popen] = []
    # A scheduler ends this process; its children must not outlive it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        for number in range(arguments.processes):
            own = {"SOCSCI_JAX_PROCESS_ID": str(number)}
            own |= {"SOCSCI_JAX_LOCAL_DEVICES": str(number)} if arguments.gpus else {"JAX_PLATFORMS": "cpu"}
            running.append(subprocess.Popen(arguments.command, env=os.environ | shared | own))
        return wait(running)
    finally:
        end(running)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait(running: list[subprocess.Popen]) -> int:
    """The status of the first process that fails, or 0 once all are done."""
    while True:
        states = [process.poll() for process in running]
        failed = [state for state in states if state not in (None, 0)]
        if failed:
            # A process ended by a signal has a negative state.
            return failed[0] if failed[0] > 0 else 128 - failed[0]
        if None not in states:
            return 0
        time.sleep(0.1)


def end(running: list[subprocess.Popen]) -> None:
    for process in running:
        if process.poll() is None:
            process.terminate()
    for process in running:
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()


if __name__ == "__main__":
    sys.exit(main())
