"""This process's place in a run of several, as arguments, variables or a scheduler say it.  Nothing here needs JAX."""

from __future__ import annotations

import dataclasses
import logging
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from socsci_jax import bounds
from socsci_jax.errors import InputError
from socsci_jax.hardware import Machine
from socsci_jax.wording import counted

logger = logging.getLogger(__name__)

# Set by launch/ and by hand where no scheduler does it.
COORDINATOR, NUM_PROCESSES, PROCESS_ID, LOCAL_DEVICES = (
    "SOCSCI_JAX_COORDINATOR",
    "SOCSCI_JAX_NUM_PROCESSES",
    "SOCSCI_JAX_PROCESS_ID",
    "SOCSCI_JAX_LOCAL_DEVICES",
)

# Ports of coordinators, below those that Linux gives to outgoing connections (from 32768), so that none is taken by
# chance.
PORTS = range(20_000, 32_000)

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
OPEN_MPI_NEEDED = (
    "OMPI_COMM_WORLD_SIZE",
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_LOCAL_SIZE",
    "OMPI_COMM_WORLD_LOCAL_RANK",
)
TPU_NEEDED = ("TPU_WORKER_ID", "TPU_WORKER_HOSTNAMES")
SLICES_NEEDED = ("MEGASCALE_NUM_SLICES", "MEGASCALE_SLICE_ID", "MEGASCALE_COORDINATOR_ADDRESS")
COMPLETION_INDEX = "JOB_COMPLETION_INDEX"

# How TPU chips show on the PCI bus: Google's vendor number, also that of its network cards, and the chips' own.
PCI_DEVICES = Path("/sys/bus/pci/devices")
GOOGLE_VENDOR = "0x1ae0"
TPU_CHIPS = {"0x0027", "0x0056", "0x005e", "0x0062", "0x0063", "0x006f", "0x0076"}
METADATA_SECONDS, METADATA_TRIES = 3, 3

ALONE = f"{NUM_PROCESSES}=1 for a run of this process alone"
OURS = f"{COORDINATOR}, {NUM_PROCESSES} and {PROCESS_ID}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """This process's place in a run of several processes, and who said so."""

    coordinator: str  # host:port at which process 0 is met
    num_processes: int
    process_id: int
    # Numbers of this machine's accelerators that are its own; None: all that it sees.
    local_devices: tuple[int, ...] | None
    said_by: str


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
    place = _explicit(settings, origin="the arguments", said_by="arguments")
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
            address = _checked_address(coordinator, COORDINATOR, "the environment")
            place = dataclasses.replace(place, coordinator=address)
        if place is not None:
            return place
    return _explicit(ours, origin="the environment", said_by="SOCSCI_JAX_*")


def _scheduled(environment: Mapping[str, str], pci_devices: Path) -> Place | None:
    return (
        # Before SLURM, whose variables mpirun's processes inherit from the daemons that srun started.
        _open_mpi(environment)
        or _slurm(environment)
        or _tpu(environment)
        or _kubernetes(environment)
        or _tpu_vm(environment, pci_devices)
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


def _explicit(settings: Mapping[str, str | int | None], *, origin: str, said_by: str) -> Place | None:
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
    return _place(
        coordinator=_checked_address(str(coordinator), coordinator_name, origin),
        size=(size_name, size),
        own=(id_name, own),
        said_by=said_by,
        origin=origin,
    )


def _checked_address(address: str, name: str, origin: str) -> str:
    found = re.fullmatch(r"\S+:(\d+)", address)
    if found is None or not 0 < int(found[1]) < 2**16:
        raise InputError(
            f"{origin}: {name} is {address!r}; give host:port of process 0, such as 10.0.0.1:1234."
        )
    return address


def _open_mpi(environment: Mapping[str, str]) -> Place | None:
    if not any(name in environment for name in OPEN_MPI_NEEDED):
        return None
    _need(environment, OPEN_MPI_NEEDED, origin="Open MPI", remedy="start the run with mpirun")
    size, _, local_size, local_rank = (_whole_number(name, environment[name]) for name in OPEN_MPI_NEEDED)
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
    return _place(
        coordinator=_address(host, job),
        size=("OMPI_COMM_WORLD_SIZE", size),
        own=("OMPI_COMM_WORLD_RANK", environment["OMPI_COMM_WORLD_RANK"]),
        local_devices=_own_device(environment, local_rank, local_size, per_process=None, origin="Open MPI"),
        said_by="Open MPI",
    )


def _slurm(environment: Mapping[str, str]) -> Place | None:
    if SLURM_SIZE not in environment and "SLURM_STEP_NODELIST" not in environment:
        if environment.get("SLURM_NTASKS", "1") != "1":
            logger.warning(
                "SLURM gave this job %s tasks, but srun did not start this process: it runs alone.",
                environment["SLURM_NTASKS"],
            )
        return None
    _need(environment, (SLURM_SIZE,), origin="SLURM", remedy="start the run with srun")
    tasks = _whole_number(SLURM_SIZE, environment[SLURM_SIZE])
    if tasks == 1:
        return None
    remedy = f"{SLURM_SIZE} is {tasks}: start the run with srun"
    _need(environment, SLURM_NEEDED, origin="SLURM", remedy=remedy)
    job, step, node, local = (
        _whole_number(name, environment[name])
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
    return _place(
        # Neighboring jobs, and the first seven steps of each, have ports of their own.
        coordinator=_address(hosts[0], 7 * job + step),
        size=(SLURM_SIZE, tasks),
        own=("SLURM_PROCID", environment["SLURM_PROCID"]),
        local_devices=_own_device(
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
    found = re.fullmatch(r"([^\[]*)\[([^\]]*)\](.*)", entry)
    if found is None:
        return [entry]
    numbers = []
    for part in found[2].split(","):
        ends = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if ends is None or int(ends[2] or ends[1]) < int(ends[1]):
            raise InputError(
                f"SLURM: SLURM_STEP_NODELIST is {nodes!r}, in which [{found[2]}] is no list of numbers such as "
                f"[01-03,7]; set {OURS} by hand."
            )
        if int(ends[2] or ends[1]) - int(ends[1]) + len(numbers) >= bounds.PROCESSES:
            raise InputError(
                f"SLURM: SLURM_STEP_NODELIST is {nodes[:80]!r}, more than {bounds.PROCESSES:,} hosts."
            )
        numbers += [
            str(number).zfill(len(ends[1])) for number in range(int(ends[1]), int(ends[2] or ends[1]) + 1)
        ]
    return [found[1] + number + rest for number in numbers for rest in _expand(found[3], nodes)]


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


def _tpu(facts: Mapping[str, str]) -> Place | None:
    """A worker of a slice, or of several; GKE sets the variables."""
    if not any(name in facts for name in (*TPU_NEEDED, *SLICES_NEEDED)):
        return None
    remedy = "take both from the TPU's own environment, as GKE sets them"
    _need(facts, TPU_NEEDED, origin="TPU", remedy=remedy)
    hosts = [host.strip() for host in facts["TPU_WORKER_HOSTNAMES"].split(",")]
    worker = _whole_number("TPU_WORKER_ID", facts["TPU_WORKER_ID"])
    if not all(hosts) or not 0 <= worker < len(hosts):
        raise InputError(
            f"TPU: TPU_WORKER_ID is {worker} and TPU_WORKER_HOSTNAMES {facts['TPU_WORKER_HOSTNAMES']!r}, a list of "
            f"{len(hosts)}; workers are numbered from 0 in a list without gaps. Set {OURS} by hand, or {ALONE}."
        )
    slices, slice_id, first = 1, 0, hosts[0]
    if any(name in facts for name in SLICES_NEEDED):
        _need(facts, SLICES_NEEDED, origin="TPU", remedy="give all three for several slices, or none for one")
        slices, slice_id = (_whole_number(name, facts[name]) for name in SLICES_NEEDED[:2])
        first = facts["MEGASCALE_COORDINATOR_ADDRESS"].partition(":")[0]
        if not 0 <= slice_id < slices or not first:
            raise InputError(
                f"TPU: MEGASCALE_SLICE_ID is {slice_id}, MEGASCALE_NUM_SLICES {slices} and "
                f"MEGASCALE_COORDINATOR_ADDRESS {facts['MEGASCALE_COORDINATOR_ADDRESS']!r}; slices are numbered from "
                f"0 to MEGASCALE_NUM_SLICES - 1, and the address is the host of slice 0's worker 0."
            )
    return Place(
        coordinator=_address(first, 0),
        num_processes=len(hosts) * slices,
        process_id=worker + slice_id * len(hosts),
        local_devices=None,
        said_by="TPU",
    )


def _kubernetes(environment: Mapping[str, str]) -> Place | None:
    if COMPLETION_INDEX not in environment:
        return None
    _need(
        environment,
        (COORDINATOR, NUM_PROCESSES),
        origin="Kubernetes",
        remedy=f"{COMPLETION_INDEX} is {environment[COMPLETION_INDEX]}: set it in the Job's manifest as "
        "launch/kubernetes/render.py does",
    )
    names = (COORDINATOR, NUM_PROCESSES, COMPLETION_INDEX)
    return _explicit({name: environment[name] for name in names}, origin="Kubernetes", said_by="Kubernetes")


def _tpu_vm(environment: Mapping[str, str], pci_devices: Path) -> Place | None:
    """A Cloud TPU VM's worker, of which only its metadata server knows."""
    # The variable is Google's own for a machine with TPU chips that has no such server.
    if "TPU_SKIP_MDS_QUERY" in environment or not _has_tpu_chips(pci_devices):
        return None
    server = environment.get("GCE_METADATA_IP", "metadata.google.internal")
    worker = _metadata(server, "agent-worker-number")
    if worker is None:
        return None
    # Entries are hosts, or name:number:address.
    endpoints = _metadata(server, "worker-network-endpoints") or ""
    hosts = [
        endpoint.split(":")[2] if endpoint.count(":") == 2 else endpoint for endpoint in endpoints.split(",")
    ]
    # Lines such as MEGASCALE_NUM_SLICES: '2', there only where there are several slices.
    lines = re.findall(r"(?m)^\s*(MEGASCALE_\w+)\s*:\s*'?(.*?)'?\s*$", _metadata(server, "tpu-env") or "")
    slices = {name: value for name, value in lines if name in SLICES_NEEDED}
    slices |= {name: environment[name] for name in SLICES_NEEDED if name in environment}
    return _tpu({"TPU_WORKER_ID": worker, "TPU_WORKER_HOSTNAMES": ",".join(hosts)} | slices)


def _has_tpu_chips(pci_devices: Path) -> bool:
    return any(
        vendor.read_text().strip() == GOOGLE_VENDOR
        and (vendor.parent / "device").read_text().strip() in TPU_CHIPS
        for vendor in pci_devices.glob("*/vendor")
    )


def _metadata(server: str, key: str) -> str | None:
    """One attribute of this machine; None if the server says that there is none."""
    request = urllib.request.Request(
        f"http://{server}/computeMetadata/v1/instance/attributes/{key}", headers={"Metadata-Flavor": "Google"}
    )
    # No proxy knows this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for attempt in range(METADATA_TRIES):
        try:
            with opener.open(request, timeout=METADATA_SECONDS) as answer:
                return answer.read(bounds.MIB).decode(errors="replace")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            problem: Exception = error
        except OSError as error:
            problem = error
        time.sleep(0.5 * attempt)
    raise InputError(
        f"TPU: this machine has TPU chips, but its metadata server {server} does not tell {key} ({problem}); set "
        f"{OURS} by hand, or {ALONE}."
    )


def _own_device(
    environment: Mapping[str, str], local: int, count: int, *, per_process: str | None, origin: str
) -> tuple[int, ...] | None:
    """The GPU of process `local` of `count` on this machine; None if all that it sees are its own."""
    if count == 1:
        return None
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return (local,)
    seen = [device for device in visible.split(",") if device.strip() not in ("", "-1", "NoDevFiles")]
    # As in h100:1.
    bound = len(seen) <= 1 or (per_process is not None and per_process.rpartition(":")[2] == str(len(seen)))
    if bound:
        return None
    if len(seen) != count:
        raise InputError(
            f"{origin}: {counted(count, 'process')} of this run on this machine each see {counted(len(seen), 'GPU')} "
            f"(CUDA_VISIBLE_DEVICES is {visible!r}); start one process per GPU, one process per machine, or set "
            f"{LOCAL_DEVICES} for each."
        )
    return (local,)


def _place(
    *,
    coordinator: str,
    size: tuple[str, str | int],
    own: tuple[str, str | int],
    said_by: str,
    origin: str | None = None,
    local_devices: tuple[int, ...] | None = None,
) -> Place:
    """A place whose number and whose process's own number, each with the name of its setting, go together."""
    num_processes, process_id = _whole_number(*size), _whole_number(*own)
    if not 0 <= process_id < num_processes:
        raise InputError(
            f"{origin or said_by}: {own[0]} is {process_id} and {size[0]} is {num_processes}; processes are numbered "
            f"from 0 to {size[0]} - 1."
        )
    return Place(
        coordinator=coordinator,
        num_processes=num_processes,
        process_id=process_id,
        local_devices=local_devices,
        said_by=said_by,
    )


def _address(host: str, number: int) -> str:
    return f"[{host}]:{_port(number)}" if ":" in host else f"{host}:{_port(number)}"


def _port(number: int) -> int:
    """The port of a job that its scheduler gave this number."""
    return PORTS[number % len(PORTS)]


def _need(facts: Mapping[str, str], names: Sequence[str], *, origin: str, remedy: str) -> None:
    for name in names:
        if name not in facts:
            raise InputError(f"{origin}: {name} is not set; {remedy}, or set {ALONE}.")


def _whole_number(name: str, value: str | int) -> int:
    try:
        found = int(value)
    except ValueError as error:
        raise InputError(f"{name} is {str(value)[:80]!r}; give a whole number.") from error
    if abs(found) >= 2**63:
        raise InputError(f"{name} is a number of {len(str(value))} digits; give that of the scheduler.")
    return found
