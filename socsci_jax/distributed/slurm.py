"""A process's place in a step of SLURM, from the variables that srun sets."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

from socsci_jax import bounds
from socsci_jax.distributed.place import (
    ALONE,
    OURS,
    Place,
    address_of,
    make_place,
    need_all,
    own_device,
    whole_number,
)
from socsci_jax.errors import InputError
from socsci_jax.wording import counted

logger = logging.getLogger(__name__)

# SLURM_NTASKS also counts tasks that were never started; srun sets this one for each step.
SLURM_SIZE = "SLURM_STEP_NUM_TASKS"

SLURM_NEEDED = (
    "SLURM_JOB_ID",
    "SLURM_STEP_ID",
    "SLURM_STEP_NODELIST",
    "SLURM_STEP_TASKS_PER_NODE",
    "SLURM_NODEID",
    "SLURM_PROCID",
    "SLURM_LOCALID",
)


def slurm_place(environment: Mapping[str, str]) -> Place | None:
    if SLURM_SIZE not in environment and "SLURM_STEP_NODELIST" not in environment:
        if environment.get("SLURM_NTASKS", "1") != "1":
            logger.warning(
                "SLURM gave this job %s tasks, but srun did not start this process: it runs alone.",
                environment["SLURM_NTASKS"],
            )
        return None
    need_all(environment, (SLURM_SIZE,), origin="SLURM", remedy="start the run with srun")
    tasks = whole_number(SLURM_SIZE, environment[SLURM_SIZE])
    if tasks == 1:
        return None
    remedy = f"{SLURM_SIZE} is {tasks}: start the run with srun"
    need_all(environment, SLURM_NEEDED, origin="SLURM", remedy=remedy)
    job, step, node, local = (
        whole_number(name, environment[name])
        for name in ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_NODEID", "SLURM_LOCALID")
    )
    hosts = expand_hosts(environment["SLURM_STEP_NODELIST"])
    by_node = _tasks_by_node(environment["SLURM_STEP_TASKS_PER_NODE"])
    if len(hosts) != len(by_node) or sum(by_node) != tasks:
        raise InputError(
            f"SLURM: SLURM_STEP_NODELIST ({environment['SLURM_STEP_NODELIST']}) names {counted(len(hosts), 'node')} and "
            f"SLURM_STEP_TASKS_PER_NODE ({environment['SLURM_STEP_TASKS_PER_NODE']}) {counted(sum(by_node), 'task')} on "
            f"{len(by_node)}, but {SLURM_SIZE} is {tasks}; start the run with srun anew, or set {ALONE}."
        )
    if not (0 <= node < len(hosts) and 0 <= local < by_node[node]):
        raise InputError(
            f"SLURM: SLURM_NODEID is {node} and SLURM_LOCALID {local}, but SLURM_STEP_TASKS_PER_NODE is "
            f"{environment['SLURM_STEP_TASKS_PER_NODE']}; start the run with srun anew, or set {ALONE}."
        )
    return make_place(
        # Neighboring jobs, and the first seven steps of each, have ports of their own.
        coordinator=address_of(hosts[0], 7 * job + step),
        size=(SLURM_SIZE, tasks),
        own=("SLURM_PROCID", environment["SLURM_PROCID"]),
        local_devices=own_device(
            environment,
            local,
            by_node[node],
            per_process=environment.get("SLURM_GPUS_PER_TASK"),
            origin="SLURM",
        ),
        said_by="SLURM",
    )


def expand_hosts(nodes: str) -> list[str]:
    """The hosts of SLURM's list: `node[01-03,7],gpu-a` are node01, node02, node03, node7 and gpu-a."""
    entries = re.findall(r"(?:[^\[\],\s]|\[[\d,-]+\])+", nodes)
    if not nodes or ",".join(entries) != nodes:
        raise InputError(
            f"SLURM: SLURM_STEP_NODELIST is {nodes!r}; expected hosts such as node[01-03,7],gpu-a."
        )
    return [host for entry in entries for host in _expand(entry, nodes)]


def _expand(entry: str, nodes: str) -> list[str]:
    """One entry, whose first bracket is written out and the rest by itself."""
    match = re.fullmatch(r"([^\[]*)\[([^\]]*)\](.*)", entry)
    if match is None:
        return [entry]
    numbers = []
    for part in match[2].split(","):
        ends = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if ends is None or int(ends[2] or ends[1]) < int(ends[1]):
            raise InputError(
                f"SLURM: SLURM_STEP_NODELIST is {nodes!r}, in which [{match[2]}] is no list of numbers such as "
                f"[01-03,7]; set {OURS} by hand."
            )
        if int(ends[2] or ends[1]) - int(ends[1]) + len(numbers) >= bounds.PROCESSES:
            raise InputError(
                f"SLURM: SLURM_STEP_NODELIST is {nodes[:80]!r}, more than {bounds.PROCESSES:,} hosts."
            )
        numbers += [
            str(number).zfill(len(ends[1])) for number in range(int(ends[1]), int(ends[2] or ends[1]) + 1)
        ]
    return [match[1] + number + rest for number in numbers for rest in _expand(match[3], nodes)]


def _tasks_by_node(text: str) -> list[int]:
    """`2(x3),1` are three nodes of two tasks and one of one."""
    parts = [re.fullmatch(r"([1-9]\d*)(?:\(x([1-9]\d*)\))?", part) for part in text.split(",")]
    if None in parts:
        raise InputError(
            f"SLURM: SLURM_STEP_TASKS_PER_NODE is {text!r}; expected numbers of tasks such as 8(x2),4."
        )
    if sum(min(int(part[2] or 1), bounds.PROCESSES + 1) for part in parts) > bounds.PROCESSES:
        raise InputError(
            f"SLURM: SLURM_STEP_TASKS_PER_NODE is {text[:80]!r}, more than {bounds.PROCESSES:,} nodes."
        )
    return [int(part[1]) for part in parts for _ in range(int(part[2] or 1))]
