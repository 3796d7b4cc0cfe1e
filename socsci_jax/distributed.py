"""Start-up of a run that spans several processes; a run in one process needs none of it."""

from __future__ import annotations

import dataclasses
import logging
import os
import re
import threading
from collections.abc import Mapping, Sequence

from socsci_jax.errors import InputError

logger = logging.getLogger(__name__)

NOTICE_SECONDS = 15

# Set by launch/local.py, and by hand where no scheduler does it.
COORDINATOR, NUM_PROCESSES, PROCESS_ID, LOCAL_DEVICES = (
    "SOCSCI_JAX_COORDINATOR",
    "SOCSCI_JAX_NUM_PROCESSES",
    "SOCSCI_JAX_PROCESS_ID",
    "SOCSCI_JAX_LOCAL_DEVICES",
)

# The first is 1 in the batch script itself and set by srun for each step, unlike SLURM_NTASKS, which also
# counts tasks that were never started.
SLURM_SIZE = "SLURM_STEP_NUM_TASKS"
SLURM_NEEDED = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Processes:
    """This process's place among those of the run; what is written once is written by `is_main`."""

    num_processes: int = 1
    process_id: int = 0

    @property
    def is_main(self) -> bool:
        return self.process_id == 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Flags:
    coordinator: str
    num_processes: int
    process_id: int


def initialise(
    *,
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    local_devices: Sequence[int] | None = None,
    initialization_timeout: int = 300,
    environment: Mapping[str, str] = os.environ,
) -> Processes:
    """Joins this process to the run. Call it once, before any other use of JAX.

    The first of these that says something counts: the arguments (`coordinator` is host:port of process 0); the
    variables SOCSCI_JAX_COORDINATOR, _NUM_PROCESSES, _PROCESS_ID; a SLURM step of several tasks. Otherwise the run
    is this process alone. `local_devices` are the numbers of this machine's accelerators that this process may use
    (default: SOCSCI_JAX_LOCAL_DEVICES, else JAX's choice). `initialization_timeout` is in seconds.

    Raises InputError for settings that are incomplete or contradict each other. If the processes do not all come
    together in time, JAX aborts them; a warning tells before that what is being waited for.
    """
    if local_devices is None and LOCAL_DEVICES in environment:
        local_devices = [_whole_number(LOCAL_DEVICES, part) for part in environment[LOCAL_DEVICES].split(",")]
    flags = _explicit(
        {"coordinator": coordinator, "num_processes": num_processes, "process_id": process_id},
        "the arguments",
    ) or _explicit(
        {name: environment.get(name) for name in (COORDINATOR, NUM_PROCESSES, PROCESS_ID)}, "the environment"
    )
    if flags is not None:
        if flags.num_processes == 1:
            return Processes()
        _join(
            initialization_timeout,
            coordinator_address=flags.coordinator,
            num_processes=flags.num_processes,
            process_id=flags.process_id,
            local_device_ids=local_devices,
        )
        return Processes(num_processes=flags.num_processes, process_id=flags.process_id)

    tasks = _whole_number(SLURM_SIZE, environment.get(SLURM_SIZE, "1"))
    if tasks == 1:
        return Processes()
    missing = [name for name in SLURM_NEEDED if name not in environment]
    if missing:
        raise InputError(
            f"environment: {SLURM_SIZE} is {tasks}, but {missing[0]} is not set; start the run with srun, or unset "
            f"{SLURM_SIZE} for a run in one process."
        )
    # JAX reads the rest of SLURM's variables itself.
    _join(initialization_timeout, cluster_detection_method="slurm", local_device_ids=local_devices)
    return Processes(
        num_processes=tasks, process_id=_whole_number("SLURM_PROCID", environment["SLURM_PROCID"])
    )


def _explicit(settings: Mapping[str, str | int | None], origin: str) -> _Flags | None:
    """The three settings (coordinator, number, own number), checked; None if none of them is there."""
    missing = [name for name, value in settings.items() if value is None]
    if len(missing) == len(settings):
        return None
    if missing:
        given = [name for name in settings if name not in missing]
        raise InputError(
            f"{origin}: {', '.join(given)} given without {', '.join(missing)}; give all three or none of them."
        )
    (coordinator_name, coordinator), (size_name, size), (id_name, own) = settings.items()
    if not re.fullmatch(r"\S+:\d+", str(coordinator)):
        raise InputError(
            f"{origin}: {coordinator_name} is {coordinator!r}; give host:port of process 0, such as 10.0.0.1:1234."
        )
    num_processes, process_id = _whole_number(size_name, size), _whole_number(id_name, own)
    if not 0 <= process_id < num_processes:
        raise InputError(
            f"{origin}: {id_name} is {process_id} and {size_name} is {num_processes}; processes are numbered from 0 "
            f"to {size_name} - 1."
        )
    return _Flags(coordinator=str(coordinator), num_processes=num_processes, process_id=process_id)


def _whole_number(name: str, value: str | int) -> int:
    try:
        return int(value)
    except ValueError as error:
        raise InputError(f"{name} is {value!r}; give a whole number.") from error


def _join(initialization_timeout: int, **arguments) -> None:
    import jax

    # When the time is up JAX aborts the whole process, which no exception can soften: say why before it does.
    notice = threading.Timer(
        min(NOTICE_SECONDS, initialization_timeout / 2),
        logger.warning,
        [
            "still waiting for the other processes of this run (%s); JAX aborts after %d seconds: check that every "
            "process was started and can reach process 0.",
            ", ".join(f"{name} {value}" for name, value in arguments.items() if value is not None),
            initialization_timeout,
        ],
    )
    notice.daemon = True
    notice.start()
    try:
        jax.distributed.initialize(initialization_timeout=initialization_timeout, **arguments)
    finally:
        notice.cancel()
