"""A connection that only processes of one run can use: each side proves to the other that it knows the run's secret.

The listener sends 8 bytes that name this protocol and a nonce of 16; the caller its own nonce and an HMAC-SHA256 of
both under the secret; the listener an HMAC of its own.  All of it has a fixed length, so nothing that a stranger sends
is parsed.  Nonces are new each time: what was recorded earlier proves nothing.  From there on a message is its length,
an HMAC under a key of this connection over direction, number and content, and the content: JSON.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import socket
import threading
import time
from collections.abc import Mapping

from socsci_jax import bounds
from socsci_jax.errors import InputError
from socsci_jax.reading import parse_json_object
from socsci_jax.wording import counted

SECRET = "SOCSCI_JAX_SECRET"
SHORTEST_SECRET = 16
_PROTOCOL = b"socsci1\n"
_NONCE, _TAG, _LENGTH = 16, 32, 4


class NotOfThisRun(OSError):
    """The other side does not know the secret, or what came is not what was sent."""


def run_secret(environment: Mapping[str, str] = os.environ) -> bytes:
    """The secret that this process was started with; empty if there is none.  Raises InputError for one that is short."""
    secret = environment.get(SECRET, "")
    if secret and len(secret) < SHORTEST_SECRET:
        raise InputError(
            f"{SECRET} has {counted(len(secret), 'character')}; give all processes the same {SHORTEST_SECRET} or more, such as "
            "those of `openssl rand -hex 32`."
        )
    return secret.encode(errors="surrogateescape")


class Link:
    """One connection, over which JSON objects are exchanged once both sides are known to belong to this run."""

    def __init__(self, connection: socket.socket, secret: bytes, *, listens: bool):
        """Raises NotOfThisRun, or another OSError, if the other side does not prove itself in time."""
        self._socket = connection
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sending = threading.Lock()
        self._sent = self._received = 0
        self._own, self._others = (b"L", b"C") if listens else (b"C", b"L")
        deadline = time.monotonic() + bounds.HANDSHAKE_SECONDS
        try:
            nonces = self._exchange(secret, listens=listens, deadline=deadline)
        except BaseException:
            self.close()
            raise
        self._key = _tag(secret, b"messages", nonces)
        # The first message is to come in time as well.
        connection.settimeout(bounds.HANDSHAKE_SECONDS)

    def _exchange(self, secret: bytes, *, listens: bool, deadline: float) -> bytes:
        own = os.urandom(_NONCE)
        if listens:
            self._socket.sendall(_PROTOCOL + own)
            other = self._read(_NONCE, deadline)
            nonces = own + other
            self._verify(self._read(_TAG, deadline), _tag(secret, b"caller", nonces))
            self._socket.sendall(_tag(secret, b"listener", nonces))
        else:
            if self._read(len(_PROTOCOL), deadline) != _PROTOCOL:
                raise NotOfThisRun("something else listens there")
            nonces = self._read(_NONCE, deadline) + own
            self._socket.sendall(own + _tag(secret, b"caller", nonces))
            self._verify(self._read(_TAG, deadline), _tag(secret, b"listener", nonces))
        return nonces

    @staticmethod
    def _verify(given: bytes, needed: bytes) -> None:
        if not hmac.compare_digest(given, needed):
            raise NotOfThisRun(f"the other side does not know this run's secret ({SECRET})")

    def _read(self, size: int, deadline: float | None = None) -> bytes:
        """So many bytes, by `deadline` if there is one; else none may be waited for longer than `be_patient` says."""
        parts = bytearray()
        while len(parts) < size:
            if deadline is not None:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                self._socket.settimeout(left)
            part = self._socket.recv(min(size - len(parts), 1 << 16))
            if not part:
                raise (
                    NotOfThisRun("the other side hung up; it may know another secret")
                    if deadline
                    else EOFError
                )
            parts += part
        return bytes(parts)

    def be_patient(self, seconds: float) -> None:
        """Nothing for so long is taken for the end of the other side."""
        self._socket.settimeout(seconds)

    def send(self, message: dict) -> None:
        content = json.dumps(message).encode()
        if len(content) > bounds.MESSAGE_BYTES:
            raise ValueError(f"a message of {counted(len(content), 'byte')} is too long")
        # What cannot be sent is not lost news: the reader of this connection sees its end.
        with self._sending:
            tag = _tag(self._key, self._own, self._sent.to_bytes(8), content)
            self._sent += 1
            try:
                self._socket.sendall(len(content).to_bytes(_LENGTH) + tag + content)
            except OSError:
                self.close()

    def receive(self) -> dict | None:
        """The next message; None at the end, or if what comes is not of the other side."""
        try:
            size = int.from_bytes(self._read(_LENGTH))
            if size > bounds.MESSAGE_BYTES:
                return None
            tag, content = self._read(_TAG), self._read(size)
            self._verify(tag, _tag(self._key, self._others, self._received.to_bytes(8), content))
            self._received += 1
            return parse_json_object(content, where="message", finite=False)
        except (EOFError, NotOfThisRun, InputError):
            return None

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def _tag(key: bytes, *parts: bytes) -> bytes:
    return hmac.new(key, b"".join(parts), hashlib.sha256).digest()
