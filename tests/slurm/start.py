#!/usr/bin/env python
"""A SLURM of this machine's own: a controller and two node daemons, all in one folder, without systemd.

`python tests/slurm/start.py FOLDER` runs it until Ctrl-C. It needs Debian's slurm-wlm and munge, and root, because
node daemons start jobs for their users. Nodes are named by addresses of this machine, so that every name can be reached.
Two partitions: jobs in `high` preempt those in `low`, which get SIGTERM, a minute to end, and are requeued.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "sinfo", "scancel")
NODES = ("127.0.0.1", "127.0.0.2")

# A requeued job starts again when its credential has expired: by default after two minutes, at least 5 seconds.
CONFIGURATION = """\
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CryptoType=crypto/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
KillWait=30
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=bf_interval=2,sched_interval=2
NodeName=127.0.0.[1-2] NodeHostname=localhost Port=[{ports[1]}-{ports[2]}] CPUs=2 State=UNKNOWN
PartitionName=low Nodes=ALL Default=YES MaxTime=60 PriorityTier=1 GraceTime=60
PartitionName=high Nodes=ALL MaxTime=60 PriorityTier=2
"""


def missing() -> str | None:
    """Why SLURM cannot run here, if it cannot."""
    if os.geteuid() != 0:
        return "SLURM's node daemons need root"
    absent = [program for program in PROGRAMS if shutil.which(program, path=_path()) is None]
    return f"{', '.join(absent)} not installed (Debian: slurm-wlm, munge)" if absent else None


@contextlib.contextmanager
def slurm(folder: Path) -> Iterator[dict[str, str]]:
    """Runs SLURM in an empty folder; gives the environment in which its commands reach it."""
    environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": _path()}
    (folder / "state").mkdir(parents=True)
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(1024))
    (folder / "slurm.conf").write_text(
        CONFIGURATION.format(folder=folder, user=getpass.getuser(), ports=_free_ports())
    )
    munge = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket"]
    munge += [f"--{name}-file={folder}/munge.{name}" for name in ("pid", "seed")]
    running: list[subprocess.Popen] = []
    try:
        for command in (munge, ["slurmctld", "-D"], *(["slurmd", "-D", "-N", node] for node in NODES)):
            with open(folder / f"{command[0]}-{len(running)}.log", "w") as log:
                running.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
            time.sleep(0.5)
        _wait_until_idle(environment, folder)
        yield environment
        subprocess.run(["scancel", "--me"], env=environment, check=False)
        _wait_until_idle(environment, folder)
    finally:
        for process in reversed(running):
            process.terminate()
        for process in running:
            process.wait(timeout=30)


def _wait_until_idle(environment: dict[str, str], folder: Path, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        states = subprocess.run(
            ["sinfo", "--noheader", "--Node", "--partition=low", "--format=%T"],
            env=environment,
            capture_output=True,
            text=True,
        ).stdout.split()
        if states == ["idle"] * len(NODES):
            return
        time.sleep(0.5)
    logs = "\n".join(f"{log}:\n{log.read_text()[-2000:]}" for log in sorted(folder.glob("*.log")))
    raise TimeoutError(f"SLURM's nodes are {states} after {seconds:.0f} s\n{logs}")


def _free_ports() -> range:
    """Three neighboring ports that nobody listens at."""
    for first in range(27_800, 32_000, 3):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for port in range(first, first + 3):
                stack.enter_context(socket.socket()).bind(("", port))
            return range(first, first + 3)
    raise OSError("no three free ports between 27800 and 32000")


def _path() -> str:
    """The daemons lie where only root's PATH looks."""
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


if __name__ == "__main__":
    reason = missing()
    if reason is not None:
        sys.exit(reason)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with slurm(Path(sys.argv[1]).resolve()) as _environment, contextlib.suppress(KeyboardInterrupt):
        print(f"export SLURM_CONF={_environment['SLURM_CONF']}", flush=True)
        signal.pause()
