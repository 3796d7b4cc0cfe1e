"""How the processes of a run come together: process 0 receives the calls of all others, and all of them go further or
none.  No JAX here: this happens before it starts."""

from __future__ import annotations

import dataclasses
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from typing import NoReturn

from socsci_jax.distributed.links import Link
from socsci_jax.distributed.roll_call import Reception
from socsci_jax.errors import BAD_INPUT, LOST, InputError, ProcessLost
from socsci_jax.wording import counted, first_listed

logger = logging.getLogger(__name__)

START = "SOCSCI_JAX_START_SECONDS"
NOTICE_SECONDS = 15.0
# What is between two clocks.  Nothing here goes by a clock, but logs, object storage and schedulers do.
MOST_SKEW_SECONDS = 120.0


@dataclasses.dataclass(frozen=True)
class Meeting:
    """All processes that came: names by number, and links (process 0's to all others, theirs to process 0).

    `run_id` is the same in all of them and new each time that they meet.
    """

    run_id: str
    names: dict[int, str]
    links: dict[int, Link]
    bound_host: str = ""  # where process 0 listens; "" are all addresses of its machine


def receive_all(host: str, port: int, secret: bytes, *, seconds: float, num_processes: int) -> Meeting:
    """Process 0: waits until all others have called.  Raises ProcessLost if they do not within so many seconds."""
    deadline = time.monotonic() + seconds
    links: dict[int, Link] = {}
    names = {0: own_name(0)}
    with (
        Reception(host, port, secret, expected=num_processes) as reception,
        _Notice(lambda: _absent(links, num_processes)),
    ):
        while len(links) < num_processes - 1:
            call = reception.next(until=deadline)
            if call is None:
                _refuse(
                    links,
                    f"{len(links) + 1} of {counted(num_processes, 'process')} came within {seconds:.0f} s; "
                    f"{_absent(links, num_processes)} did not: look at their logs, or give them longer ({START}).",
                    LOST,
                )
            link, hello = call
            if not _is_hello(hello):
                link.close()  # of another version of this program
                continue
            if problem := _problem(hello, links, names, num_processes):
                _refuse({**links, -1: link}, problem, BAD_INPUT)
            links[hello["process"]] = link
            names[hello["process"]] = hello["name"]
    run_id = uuid.uuid4().hex[:12]
    welcome = {"welcome": run_id, "names": {str(number): name for number, name in names.items()}}
    for link in links.values():
        link.send(welcome)
    return Meeting(run_id, names, links, reception.bound_host)


def call(
    host: str, port: int, secret: bytes, *, seconds: float, process_id: int, num_processes: int
) -> Meeting:
    """Another process: calls process 0 and waits for its answer.  Raises what process 0 raises."""
    deadline = time.monotonic() + seconds
    name = own_name(process_id)
    where = f"process 0 at {host}:{port}"
    with _Notice(lambda: where):
        while True:
            try:
                link = Link(socket.create_connection((host, port), timeout=5), secret, listens=False)
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise ProcessLost(
                        f"{name} did not reach {where} within {seconds:.0f} s ({error}); see whether it "
                        f"was started and can be reached, or give it longer ({START})."
                    ) from error
            time.sleep(0.2)
        hello = {"process": process_id, "name": name, "of": num_processes, "time": time.time()}
        link.send(hello)
        # Process 0 may have begun to wait later than this one, and its verdict is the better one.
        link.be_patient(2 * seconds + 10)
        try:
            answer = link.receive()
        except OSError:
            answer = None
    if answer is None or not (
        {"welcome", "names"} <= answer.keys() or {"refused", "status"} <= answer.keys()
    ):
        raise ProcessLost(f"{where} went away before all processes had come; start all of them again.")
    if "refused" in answer:
        raise (InputError if answer["status"] == BAD_INPUT else ProcessLost)(answer["refused"])
    names = {int(number): name for number, name in answer["names"].items()}
    return Meeting(answer["welcome"], names, {0: link})


def _is_hello(message: dict) -> bool:
    kinds = {"process": int, "name": str, "of": int, "time": float}
    return all(type(message.get(key)) is kind for key, kind in kinds.items())


def _problem(hello: dict, links: dict[int, Link], names: dict[int, str], num_processes: int) -> str | None:
    """Why the caller cannot be one of this run's processes."""
    number, name = hello["process"], hello["name"]
    if hello["of"] != num_processes:
        return f"{name} was told of {counted(hello['of'], 'process')}, {names[0]} of {num_processes}; tell all the same."
    if number in links or not 0 < number < num_processes:
        other = names.get(number, "nobody")
        return f"{name} and {other} have the same number; number processes from 0 to {num_processes - 1}."
    skew = hello["time"] - time.time()
    if abs(skew) > MOST_SKEW_SECONDS:
        return (
            f"the clock of {name} is {abs(skew):,.0f} s {'ahead of' if skew > 0 else 'behind'} that of "
            f"{names[0]}; set the clocks (NTP), logs and object storage go by them."
        )
    return None


def _refuse(links: dict[int, Link], sentence: str, status: int) -> NoReturn:
    for link in links.values():
        link.send({"refused": sentence, "status": status})
    raise (InputError if status == BAD_INPUT else ProcessLost)(sentence)


def _absent(links: dict[int, Link], num_processes: int) -> str:
    missing = [str(n) for n in range(1, num_processes) if n not in links]
    return f"process {first_listed(missing, 8)}"


def own_name(process_id: int) -> str:
    return f"process {process_id} (pid {os.getpid()} on {socket.gethostname()})"


class _Notice:
    """Says what is being waited for, while a block lasts long."""

    def __init__(self, what: Callable[[], str]):
        self._what = what
        self._done = threading.Event()

    def __enter__(self) -> None:
        threading.Thread(target=self._say, daemon=True).start()

    def _say(self) -> None:
        while not self._done.wait(NOTICE_SECONDS):
            logger.warning(f"still waiting for {self._what()} of this run")

    def __exit__(self, *_: object) -> None:
        self._done.set()
