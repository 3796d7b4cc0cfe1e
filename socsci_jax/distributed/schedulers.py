"""This process's place in a run of several, as arguments, variables or a scheduler say it.  Nothing here needs JAX."""

from __future__ import annotations

import dataclasses
import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from socsci_jax.distributed.place import (
    ALONE,
    COORDINATOR,
    LOCAL_DEVICES,
    NUM_PROCESSES,
    PROCESS_ID,
    Place,
    address_of,
    checked_address,
    explicit,
    make_place,
    need_all,
    own_device,
    whole_number,
)
from socsci_jax.distributed.slurm import slurm_place
from socsci_jax.distributed.tpu import PCI_DEVICES, tpu_place, tpu_vm_place
from socsci_jax.errors import InputError
from socsci_jax.hardware import Machine
from socsci_jax.wording import counted

logger = logging.getLogger(__name__)


OPEN_MPI_NEEDED = (
    "OMPI_COMM_WORLD_SIZE",
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_LOCAL_SIZE",
    "OMPI_COMM_WORLD_LOCAL_RANK",
)
COMPLETION_INDEX = "JOB_COMPLETION_INDEX"


def find_place(
    *,
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    local_devices: Sequence[int] | None = None,
    environment: Mapping[str, str] = os.environ,
    pci_devices: Path = PCI_DEVICES,
) -> Place | None:
    """The place that the first of these gives: the arguments, SOCSCI_JAX_*, Open MPI, a SLURM step, a TPU's worker, an
    indexed Job of Kubernetes, the metadata of a Cloud TPU VM.  None is a run of this process alone.

    SOCSCI_JAX_NUM_PROCESSES=1 alone says that, whatever a scheduler says; SOCSCI_JAX_COORDINATOR alone replaces a
    scheduler's.  `local_devices`, then SOCSCI_JAX_LOCAL_DEVICES, come before the scheduler's devices.  The metadata
    server is asked only where `pci_devices` shows TPU chips, so nothing waits elsewhere.

    Raises InputError for settings that are incomplete, malformed or contradict each other.
    """
    devices = _devices(local_devices, environment)
    settings = {"coordinator": coordinator, "num_processes": num_processes, "process_id": process_id}
    place = explicit(settings, origin="the arguments", said_by="arguments")
    place = place or _from_environment(environment, pci_devices)
    if place is None or place.num_processes == 1:
        return None
    return place if devices is None else dataclasses.replace(place, local_devices=devices)


def _from_environment(environment: Mapping[str, str], pci_devices: Path) -> Place | None:
    ours = {name: environment.get(name) for name in (COORDINATOR, NUM_PROCESSES, PROCESS_ID)}
    coordinator, number, own = ours.values()
    if (coordinator, number, own) == (None, "1", None):
        return None
    if own is None and number is not None and COMPLETION_INDEX in environment:
        return _kubernetes(environment)
    if own is None and number is None:
        place = _scheduled(environment, pci_devices)
        if place is not None and coordinator is not None:
            address = checked_address(coordinator, COORDINATOR, "the environment")
            place = dataclasses.replace(place, coordinator=address)
        if place is not None:
            return place
    return explicit(ours, origin="the environment", said_by="SOCSCI_JAX_*")


def _scheduled(environment: Mapping[str, str], pci_devices: Path) -> Place | None:
    return (
        # Before SLURM, whose variables mpirun's processes inherit from the daemons that srun started.
        _open_mpi(environment)
        or slurm_place(environment)
        or tpu_place(environment)
        or _kubernetes(environment)
        or tpu_vm_place(environment, pci_devices)
    )


def count_nodes(machine: Machine, per_node: int) -> int:
    """Nodes of `per_node` devices that a machine of a recipe takes; one where it has fewer.

    Raises InputError if they would not be full.
    """
    if per_node < 1 or (machine.devices > per_node and machine.devices % per_node):
        raise InputError(
            f"hardware {machine.name} is {counted(machine.devices, 'device')}, which do not fill nodes of {per_node}; say how "
            "many devices a node has with --devices-per-node."
        )
    return max(1, machine.devices // per_node)


def _devices(local_devices: Sequence[int] | None, environment: Mapping[str, str]) -> tuple[int, ...] | None:
    if local_devices is not None:
        return tuple(local_devices)
    if LOCAL_DEVICES not in environment:
        return None
    given = environment[LOCAL_DEVICES].split(",")
    if not all(number.isdecimal() for number in given) or len(set(given)) < len(given):
        raise InputError(
            f"{LOCAL_DEVICES} is {environment[LOCAL_DEVICES]!r}; give different whole numbers from 0, such as 0,1."
        )
    return tuple(map(int, given))


def _open_mpi(environment: Mapping[str, str]) -> Place | None:
    if not any(name in environment for name in OPEN_MPI_NEEDED):
        return None
    need_all(environment, OPEN_MPI_NEEDED, origin="Open MPI", remedy="start the run with mpirun")
    size, _, local_size, local_rank = (whole_number(name, environment[name]) for name in OPEN_MPI_NEEDED)
    if not 0 <= local_rank < local_size <= size:
        raise InputError(
            f"Open MPI: OMPI_COMM_WORLD_LOCAL_RANK is {local_rank}, OMPI_COMM_WORLD_LOCAL_SIZE {local_size} and "
            f"OMPI_COMM_WORLD_SIZE {size}; each is below the next one. Start the run with mpirun anew."
        )
    # The job's number and the address of mpirun's own host, which runs process 0 unless told otherwise.
    uri, name = environment.get("OMPI_MCA_orte_hnp_uri", ""), environment.get("PMIX_NAMESPACE", "")
    old = re.match(r"(\d+)\.\d+;(?:tcp://([^,:;]+)|tcp6://\[([^],]+))", uri)
    new = re.fullmatch(r"prterun-(.+)-(\d+)@\d+", name)
    # Open MPI numbers its jobs in multiples of 65536; the newer one takes the number of mpirun's process.
    job = int(old[1]) // 2**16 if old else int(new[2]) if new else 0
    host = "127.0.0.1" if size == local_size else old[2] or old[3] if old else new[1] if new else ""
    if not host and COORDINATOR not in environment:
        raise InputError(
            f"Open MPI: no host of process 0 can be read from OMPI_MCA_orte_hnp_uri ({uri!r}) or PMIX_NAMESPACE "
            f"({name!r}); give mpirun -x {COORDINATOR}=host:port, or set {ALONE}."
        )
    return make_place(
        coordinator=address_of(host, job),
        size=("OMPI_COMM_WORLD_SIZE", size),
        own=("OMPI_COMM_WORLD_RANK", environment["OMPI_COMM_WORLD_RANK"]),
        local_devices=own_device(environment, local_rank, local_size, per_process=None, origin="Open MPI"),
        said_by="Open MPI",
    )


def _kubernetes(environment: Mapping[str, str]) -> Place | None:
    if COMPLETION_INDEX not in environment:
        return None
    need_all(
        environment,
        (COORDINATOR, NUM_PROCESSES),
        origin="Kubernetes",
        remedy=f"{COMPLETION_INDEX} is {environment[COMPLETION_INDEX]}: set it in the Job's manifest as "
        "launch/kubernetes/render.py does",
    )
    names = (COORDINATOR, NUM_PROCESSES, COMPLETION_INDEX)
    return explicit({name: environment[name] for name in names}, origin="Kubernetes", said_by="Kubernetes")
