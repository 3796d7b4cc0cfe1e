"""A process's place among the workers of TPU slices: from variables, as GKE sets them, or a TPU VM's metadata server."""

from __future__ import annotations

import logging
import re
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from socsci_jax import bounds
from socsci_jax.distributed.place import (
    ALONE,
    OURS,
    Place,
    address_of,
    need_all,
    whole_number,
)
from socsci_jax.errors import InputError

logger = logging.getLogger(__name__)

TPU_NEEDED = ("TPU_WORKER_ID", "TPU_WORKER_HOSTNAMES")

SLICES_NEEDED = ("MEGASCALE_NUM_SLICES", "MEGASCALE_SLICE_ID", "MEGASCALE_COORDINATOR_ADDRESS")

# How TPU chips show on the PCI bus: Google's vendor number, also that of its network cards, and the chips' own.
PCI_DEVICES = Path("/sys/bus/pci/devices")

GOOGLE_VENDOR = "0x1ae0"

TPU_CHIPS = {"0x0027", "0x0056", "0x005e", "0x0062", "0x0063", "0x006f", "0x0076"}

METADATA_SECONDS, METADATA_TRIES = 3, 3


def tpu_place(environment: Mapping[str, str]) -> Place | None:
    """A worker of a slice, or of several; GKE sets the variables."""
    if not any(name in environment for name in (*TPU_NEEDED, *SLICES_NEEDED)):
        return None
    remedy = "take both from the TPU's own environment, as GKE sets them"
    need_all(environment, TPU_NEEDED, origin="TPU", remedy=remedy)
    hosts = [host.strip() for host in environment["TPU_WORKER_HOSTNAMES"].split(",")]
    worker = whole_number("TPU_WORKER_ID", environment["TPU_WORKER_ID"])
    if not all(hosts) or not 0 <= worker < len(hosts):
        raise InputError(
            f"TPU: TPU_WORKER_ID is {worker} and TPU_WORKER_HOSTNAMES {environment['TPU_WORKER_HOSTNAMES']!r}, a list of "
            f"{len(hosts)}; workers are numbered from 0 in a list without gaps. Set {OURS} by hand, or {ALONE}."
        )
    slices, slice_id, first = 1, 0, hosts[0]
    if any(name in environment for name in SLICES_NEEDED):
        need_all(
            environment,
            SLICES_NEEDED,
            origin="TPU",
            remedy="give all three for several slices, or none for one",
        )
        slices, slice_id = (whole_number(name, environment[name]) for name in SLICES_NEEDED[:2])
        first = environment["MEGASCALE_COORDINATOR_ADDRESS"].partition(":")[0]
        if not 0 <= slice_id < slices or not first:
            raise InputError(
                f"TPU: MEGASCALE_SLICE_ID is {slice_id}, MEGASCALE_NUM_SLICES {slices} and "
                f"MEGASCALE_COORDINATOR_ADDRESS {environment['MEGASCALE_COORDINATOR_ADDRESS']!r}; slices are numbered from "
                f"0 to MEGASCALE_NUM_SLICES - 1, and the address is the host of slice 0's worker 0."
            )
    return Place(
        coordinator=address_of(first, 0),
        num_processes=len(hosts) * slices,
        process_id=worker + slice_id * len(hosts),
        local_devices=None,
        said_by="TPU",
    )


def tpu_vm_place(environment: Mapping[str, str], pci_devices: Path) -> Place | None:
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
    return tpu_place({"TPU_WORKER_ID": worker, "TPU_WORKER_HOSTNAMES": ",".join(hosts)} | slices)


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
