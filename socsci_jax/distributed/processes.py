"""Start-up of a run that spans several processes, and its orderly end; a run in one process needs none of it."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import logging
import os
import platform
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from socsci_jax import __version__
from socsci_jax.distributed.peers import Peers
from socsci_jax.distributed.schedulers import find_place
from socsci_jax.errors import ProcessesDiffer, RunEnded, RunStopped, StorageFailed, ending
from socsci_jax.foreign_text import for_terminal

logger = logging.getLogger(__name__)

# Peers are missed at once by their connections; JAX's own heartbeat, which can only abort, comes last.
HEARTBEAT_SECONDS = 600
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
SOFTWARE = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Processes:
    """This process's place among those of the run; what is written once is written by `is_main`.

    As a context it ends the run as one: whatever ends this process is reported to the others, and theirs to it, each with
    one sentence and the same exit status.
    """

    num_processes: int = 1
    process_id: int = 0
    peers: Peers = dataclasses.field(default_factory=Peers, compare=False)

    @property
    def is_main(self) -> bool:
        return self.process_id == 0

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self.num_processes == 1:
            return
        if error is None:
            self.peers.leave()
            return
        sentence, status = ending(error)
        # A save fails also because a process is gone without which it cannot be completed.
        if isinstance(error, StorageFailed) or not isinstance(error, RunEnded | ProcessesDiffer):
            self.peers.let_others_explain()
        logger.error(for_terminal(sentence), exc_info=error if status == 1 else None)
        whose = "" if isinstance(error, ProcessesDiffer) else f"process {self.process_id} ended: "
        self.peers.tell_end(f"{whose}{sentence}", status)
        sys.stdout.flush()
        self.peers.wait_for_the_others_to_end()
        # An orderly exit would have JAX wait for processes that will never come.
        os._exit(status)


def initialize(
    *,
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    local_devices: Sequence[int] | None = None,
    environment: Mapping[str, str] = os.environ,
    joins_jax: bool = True,
) -> Processes:
    """Joins this process to the run. Call it once, before any other use of JAX, and use what it gives as a context.

    Without `joins_jax` the processes meet, but JAX in each knows of its own devices only: for work that shares none.

    Arguments and environment as `find_place` reads them.  All processes meet, compare versions of code and libraries
    and their devices, and only then begin.  Raises InputError for settings that are incomplete or contradict each
    other, and for processes that differ, naming the odd one out; ProcessLost if some did not come in time.
    """
    place = find_place(
        coordinator=coordinator,
        num_processes=num_processes,
        process_id=process_id,
        local_devices=local_devices,
        environment=environment,
    )
    if place is None:
        return Processes()
    peers = Peers.meet(
        address=place.coordinator, process_id=place.process_id, num_processes=place.num_processes
    )
    processes = Processes(num_processes=place.num_processes, process_id=place.process_id, peers=peers)
    with _told_if_it_fails(processes):
        peers.agree(code=f"{__version__} ({source_hash()})", **_software())
        if joins_jax:
            host, _, _ = place.coordinator.rpartition(":")
            port = peers.gather(_free_port() if processes.is_main else None, what="start")[0]
            _join(f"{host}:{port}", processes, place.local_devices, bind=f"{_bound(peers)}:{port}")
        elif place.local_devices is not None:
            _see_only(place.local_devices)
        _agree_on_devices(peers)
    return processes


class StopSignals:
    """Signals that ask for an end.  While `deferred` they only set `asked`; else they end the run where it is.

    SIGTERM comes from schedulers and clouds before they take the machine away, SIGUSR1 and SIGUSR2 where a job asks
    for it (SLURM's --signal), SIGINT from a keyboard: given twice it ends at once.
    """

    def __init__(self) -> None:
        self.deferred = False
        self.asked: str | None = None

    def __enter__(self) -> StopSignals:
        # Python hears signals in its main thread only; who calls from another one hears them there.
        heard = STOP_SIGNALS if threading.current_thread() is threading.main_thread() else ()
        self._before = {number: signal.signal(number, self._heard) for number in heard}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if number == signal.SIGINT and self.asked:
            raise KeyboardInterrupt
        self.asked = name
        if not self.deferred:
            raise RunStopped(f"stopped by {name}; the same command resumes.")
        logger.warning(f"{name} was received: stopping with a checkpoint")


@functools.cache
def source_hash() -> str:
    """Of this package's own source, so that two checkouts of one version are told apart."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


class _told_if_it_fails:
    def __init__(self, processes: Processes):
        self._processes = processes

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self._processes.__exit__(kind, error, trace)


def _software() -> dict[str, str]:
    versions = {name: importlib.metadata.version(name) for name in SOFTWARE}
    return {"python": platform.python_version(), **versions}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


def _bound(peers: Peers) -> str:
    """Where JAX's coordinator is to listen: where process 0 does, else at all addresses."""
    host = peers.bound_host or "[::]"
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _join(address: str, processes: Processes, local_devices: Sequence[int] | None, *, bind: str) -> None:
    import jax

    # It would take SIGTERM for itself.
    jax.config.update("jax_enable_preemption_service", False)
    jax.distributed.initialize(
        coordinator_address=address,
        coordinator_bind_address=bind if processes.is_main else None,
        num_processes=processes.num_processes,
        process_id=processes.process_id,
        local_device_ids=local_devices,
        # All processes are there already: what is left takes seconds.
        initialization_timeout=120,
        heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        shutdown_timeout_seconds=60,
    )


def _see_only(devices: Sequence[int]) -> None:
    import jax

    jax.config.update("jax_cuda_visible_devices", ",".join(map(str, devices)))


def _agree_on_devices(peers: Peers) -> None:
    import jax

    kinds = sorted({device.device_kind for device in jax.local_devices()})
    peers.agree(devices=f"{jax.local_device_count()} x {' and '.join(kinds)}")
