"""A stranger at the port where a run's processes meet: the run continues as if he had not been there."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time

import pytest
from several import free_port, in_each, meet

from socsci_jax import bounds
from socsci_jax.distributed import links, roll_call
from socsci_jax.distributed import peers as module
from socsci_jax.distributed.links import Link
from socsci_jax.errors import InputError, ProcessLost

HELLO = json.dumps({"process": 1, "name": "evil", "of": 2, "time": time.time()}).encode() + b"\n"
SAYINGS = {
    "nothing": b"",
    "random bytes": os.urandom(4096),
    "a million bytes without end": b"x" * 10**6,
    "deep JSON": b"[" * 200_000 + b"\n",
    "a hello": HELLO,
    "a hello and an end": HELLO + b'{"end": "\\u001b[31mdone", "status": 0, "stacks": true}\n',
    "a hello of another run": HELLO.replace(b'"of": 2', b'"of": 3'),
}


@pytest.fixture(autouse=True)
def a_secret_and_nobody_exits(monkeypatch):
    monkeypatch.setenv(links.SECRET, "a secret of this run alone")
    monkeypatch.setattr(module, "end_process", lambda *news: None)
    monkeypatch.setattr(module, "LAST_SECONDS", 0.1)


def call(port: int) -> socket.socket:
    until = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=5)
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.01)


def run(port: int, *, at_the_port=lambda port: None) -> None:
    """A run of two processes from roll call to end, of which the second comes after `at_the_port` returned."""
    first: list = []
    thread = threading.Thread(target=lambda: first.extend(in_each(lambda: meet(0, of=2, port=port))))
    thread.start()
    at_the_port(port)
    second = meet(1, of=2, port=port)
    thread.join()
    met = [first[0], second]
    gathered = in_each(*(lambda p=p: p.gather(p.process_id, what="a test") for p in met))
    assert gathered == [[0, 1], [0, 1]]
    assert met[0].names[1] != "evil"
    assert in_each(*(p.leave for p in met)) == [None, None]


@pytest.mark.parametrize("saying", SAYINGS)
def test_a_stranger_during_the_roll_call_is_not_heard(saying):
    strangers = []

    def speak(port: int) -> None:
        strangers.append(call(port))
        with contextlib.suppress(OSError):  # was sent away
            strangers[0].sendall(SAYINGS[saying])

    run(free_port(), at_the_port=speak)


def test_a_stranger_who_says_one_byte_now_and_then_holds_up_nobody():
    def drip(port: int) -> None:
        stranger = call(port)

        def bytes_one_by_one() -> None:
            try:
                while True:
                    stranger.send(b"x")
                    time.sleep(0.1)
            except OSError:
                pass

        threading.Thread(target=bytes_one_by_one, daemon=True).start()

    began = time.monotonic()
    run(free_port(), at_the_port=drip)
    assert time.monotonic() - began < bounds.HANDSHAKE_SECONDS / 2


def test_a_stranger_who_says_nothing_in_time_is_sent_away(monkeypatch):
    monkeypatch.setattr(bounds, "HANDSHAKE_SECONDS", 0.3)
    with roll_call.Reception("127.0.0.1", port := free_port(), b"secret", expected=1):
        stranger = call(port)
        stranger.settimeout(5)
        while stranger.recv(100):
            pass


def test_many_strangers_do_not_fill_the_reception(monkeypatch):
    monkeypatch.setattr(roll_call, "MOST_UNKNOWN", 3)
    strangers = []
    run(free_port(), at_the_port=lambda port: strangers.extend(call(port) for _ in range(40)))


def test_after_the_roll_call_nobody_listens():
    port = free_port()
    met = in_each(*(lambda i=i: meet(i, of=2, port=port) for i in range(2)))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    in_each(*(p.leave for p in met))


def test_a_replayed_caller_is_not_heard():
    port = free_port()
    recorded: list[bytes] = []

    class Recorder:
        """A caller's socket that keeps what it sends."""

        def __init__(self, inner: socket.socket):
            self.inner = inner

        def __getattr__(self, name):
            return getattr(self.inner, name)

        def sendall(self, content: bytes) -> None:
            recorded.append(content)
            self.inner.sendall(content)

    with roll_call.Reception("127.0.0.1", port, b"secret", expected=1) as reception:
        Link(Recorder(call(port)), b"secret", listens=False).send({"process": 1})
        assert reception.next(until=time.monotonic() + 10)[1] == {"process": 1}
        stranger = call(port)
        stranger.sendall(b"".join(recorded))
        stranger.settimeout(5)
        heard = b""
        while part := stranger.recv(1000):
            heard += part
        assert len(heard) == 24  # the listener's greeting, and nothing after it
        assert reception.calls.empty()


def test_a_process_with_another_secret_is_told_so(monkeypatch):
    port = free_port()
    with roll_call.Reception("127.0.0.1", port, b"one secret", expected=1):
        monkeypatch.setenv(links.SECRET, "quite another secret")
        with pytest.raises(ProcessLost, match="secret"):
            meet(1, of=2, port=port, seconds=0.3)


def test_a_stranger_who_listens_in_the_place_of_process_0_is_not_believed():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def welcome() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                    connection.sendall(b"socsci1\n" + bytes(48) + b'{"welcome": "evil", "names": {}}\n')
                except OSError:
                    return

        threading.Thread(target=welcome, daemon=True).start()
        with pytest.raises(ProcessLost, match="does not know this run's secret"):
            meet(1, of=2, port=server.getsockname()[1], seconds=0.3)


def test_a_message_changed_on_its_way_ends_the_connection():
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    listener, caller = in_each(
        lambda: Link(Unix(ours), b"secret", listens=True),
        lambda: Link(Unix(theirs), b"secret", listens=False),
    )
    caller.send({"gather": 1})
    assert listener.receive() == {"gather": 1}
    content = b'{"end": 1}'
    theirs.sendall(len(content).to_bytes(4) + bytes(32) + content)
    assert listener.receive() is None


class Unix:
    """A socket without TCP's options."""

    def __init__(self, inner: socket.socket):
        self.inner = inner

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def setsockopt(self, *_) -> None:
        pass


def test_a_short_secret_is_bad_input():
    with pytest.raises(InputError, match="has 3 characters"):
        links.run_secret({links.SECRET: "abc"})


@pytest.mark.parametrize(
    ("name", "value"), [(module.START, "5m"), (module.SILENCE, "nan"), (module.START, "-1")]
)
def test_a_time_limit_that_is_none_names_its_variable(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=f"{name} is '{value}'"):
        module.Peers.meet(address="127.0.0.1:1", process_id=1, num_processes=2)


def test_a_host_that_is_none_is_bad_input():
    with pytest.raises(InputError, match=r"'a\.\.b' is no name of a machine"):
        module.Peers.meet(address="a..b:25002", process_id=1, num_processes=2, seconds=1)


def test_process_0_listens_where_it_is_told_to_be_met():
    host, listener = roll_call._listen("127.0.0.1", free_port())
    with listener:
        assert host == listener.getsockname()[0] == "127.0.0.1"
