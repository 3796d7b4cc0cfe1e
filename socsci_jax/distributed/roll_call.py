"""Where the processes of a run meet: process 0 listens, the others call, and strangers are not listened to."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import queue
import socket
import threading
import time
from collections.abc import Iterator

from socsci_jax.distributed.links import Link
from socsci_jax.errors import InputError

# Callers that have not yet proved who they are; beyond these the one that is silent for the longest is sent away.
MOST_UNKNOWN = 256
_LOOPBACK = ("localhost", "ip6-localhost", "::1")


class Reception:
    """Takes calls at an address; `calls` gives (link, hello) of those who know the secret, in the order of their coming.

    Every caller has a thread and a time limit of its own, so one that says nothing holds up nobody.
    """

    def __init__(self, host: str, port: int, secret: bytes, *, expected: int):
        self.calls: queue.Queue[tuple[Link, dict]] = queue.Queue()
        self.bound_host, self._listener = _listen(host, port)
        self._secret = secret
        self._most = MOST_UNKNOWN + expected
        self._unknown: dict[int, socket.socket] = {}
        self._lock = threading.Lock()
        self._closed = False

    def __enter__(self) -> Reception:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._closed = True
            left = list(self._unknown.values())
        # `shutdown` wakes the thread that accepts; closing alone does not.
        for connection in (self._listener, *left):
            _end(connection)

    def next(self, *, until: float) -> tuple[Link, dict] | None:
        """The next caller; None if none came by `until`."""
        with contextlib.suppress(queue.Empty):
            return self.calls.get(timeout=max(0.0, until - time.monotonic()))
        return None

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError as error:
                if self._closed or error.errno in (errno.EBADF, errno.EINVAL):
                    return
                time.sleep(0.1)  # out of descriptors, or a caller that is gone already
                continue
            with self._lock:
                if self._closed:
                    _end(connection)
                    return
                self._unknown[id(connection)] = connection
                if len(self._unknown) > self._most:
                    _end(self._unknown.pop(next(iter(self._unknown))))
            threading.Thread(target=self._meet, args=(connection,), daemon=True).start()

    def _meet(self, connection: socket.socket) -> None:
        try:
            link = Link(connection, self._secret, listens=True)
            hello = link.receive()
        except OSError:
            hello = None
            _end(connection)
        with self._lock:
            self._unknown.pop(id(connection), None)
            if hello is not None and not self._closed:
                self.calls.put((link, hello))


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(OSError):
        connection.close()


def check_host(host: str) -> None:
    """Raises InputError for what can be the name of no machine."""
    try:
        host.encode("idna")
    except UnicodeError:
        raise InputError(
            f"{host[:80]!r} is no name of a machine; give host:port of process 0, such as 10.0.0.1:1234."
        ) from None


def _listen(host: str, port: int) -> tuple[str, socket.socket]:
    """Listens at the address that process 0 is told to listen at, and only there; returns it.

    Where that name leads to this machine alone (as /etc/hosts often has it), or is an address that is translated on
    the way here, all addresses of this machine are listened at: "".
    """
    for address, family in [*_addresses(host), ("", socket.AF_INET)]:
        try:
            return address, socket.create_server(
                (address, port), family=family, backlog=1024, reuse_port=False
            )
        except OSError as error:
            if address and error.errno == errno.EADDRNOTAVAIL:
                continue
            raise InputError(
                f"port {port} of {address or socket.gethostname()}, where the processes of this run are to meet, cannot "
                f"be listened at ({error.strerror}); give another port."
            ) from error
    raise AssertionError


def _addresses(host: str) -> Iterator[tuple[str, socket.AddressFamily]]:
    try:
        resolved = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return
    named = host in _LOOPBACK or host.startswith("127.")
    for family, _, _, _, address in resolved:
        is_own = ipaddress.ip_address(address[0].partition("%")[0]).is_loopback
        if is_own == named:
            yield address[0], family
