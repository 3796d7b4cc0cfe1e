"""A process's place in a run of several, checked; the settings that say it, and ports that no two jobs share."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Mapping, Sequence

from socsci_jax.errors import InputError
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


def explicit(settings: Mapping[str, str | int | None], *, origin: str, said_by: str) -> Place | None:
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
    return make_place(
        coordinator=checked_address(str(coordinator), coordinator_name, origin),
        size=(size_name, size),
        own=(id_name, own),
        said_by=said_by,
        origin=origin,
    )


def checked_address(address: str, name: str, origin: str) -> str:
    match = re.fullmatch(r"\S+:(\d+)", address)
    if match is None or not 0 < int(match[1]) < 2**16:
        raise InputError(
            f"{origin}: {name} is {address!r}; give host:port of process 0, such as 10.0.0.1:1234."
        )
    return address


def own_device(
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


def make_place(
    *,
    coordinator: str,
    size: tuple[str, str | int],
    own: tuple[str, str | int],
    said_by: str,
    origin: str | None = None,
    local_devices: tuple[int, ...] | None = None,
) -> Place:
    """A place whose number and whose process's own number, each with the name of its setting, go together."""
    num_processes, process_id = whole_number(*size), whole_number(*own)
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


def address_of(host: str, number: int) -> str:
    return f"[{host}]:{port_of(number)}" if ":" in host else f"{host}:{port_of(number)}"


def port_of(number: int) -> int:
    """The port of a job that its scheduler gave this number."""
    return PORTS[number % len(PORTS)]


def need_all(environment: Mapping[str, str], names: Sequence[str], *, origin: str, remedy: str) -> None:
    for name in names:
        if name not in environment:
            raise InputError(f"{origin}: {name} is not set; {remedy}, or set {ALONE}.")


def whole_number(name: str, value: str | int) -> int:
    try:
        number = int(value)
    except ValueError as error:
        raise InputError(f"{name} is {str(value)[:80]!r}; give a whole number.") from error
    if abs(number) >= 2**63:
        raise InputError(f"{name} is a number of {len(str(value))} digits; give that of the scheduler.")
    return number
