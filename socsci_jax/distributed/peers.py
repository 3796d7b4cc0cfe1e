"""The other processes of a run: who is there, who is gone, and why.

Process 0 listens where the run's processes are told to meet; the others call it.  Nobody continues before all have come,
or a time limit has passed.  The connections then stay open: a process that ends says why, and one that is killed
closes them, so that the others end at once and with a sentence.  JAX itself would notice after its heartbeat's time,
and then abort.  No JAX here: all of it works before JAX starts and while its devices are busy.
"""

from __future__ import annotations

import collections
import faulthandler
import logging
import math
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from socsci_jax import bounds
from socsci_jax.distributed.links import SECRET, Link, run_secret
from socsci_jax.distributed.meeting import NOTICE_SECONDS, START, call, own_name, receive_all
from socsci_jax.distributed.roll_call import check_host
from socsci_jax.errors import LOST, InputError, ProcessesDiffer
from socsci_jax.foreign_text import for_terminal

logger = logging.getLogger(__name__)

SILENCE = "SOCSCI_JAX_SILENCE_SECONDS"
# For a process to end by itself when another has said that it ends.
GRACE_SECONDS = 2.0
# For all others to be gone when process 0 ends.
LAST_SECONDS = 10.0


class Peers:
    """The processes of one run; a run of one process has none, and everything here returns at once.

    `run_id` is the same in all of them and new each time that they meet.
    """

    def __init__(self, *, process_id: int = 0, num_processes: int = 1):
        self.process_id = process_id
        self.num_processes = num_processes
        self.run_id = uuid.uuid4().hex[:12]
        self.bound_host = ""  # where process 0 listens; "" are all addresses of its machine
        self.names = {process_id: own_name(process_id)}
        self.on_end: Callable[[str, int, bool], NoReturn] = end_process
        self._links: dict[int, Link] = {}
        self._left: set[int] = set()
        self._leaving = False
        self._ending = threading.Event()
        self._heard = threading.Event()
        self._changed = threading.Condition()
        self._gathers: dict[int, dict[int, Any]] = collections.defaultdict(dict)
        self._gathered: dict[int, list[Any]] = {}
        self._next_gather = 0

    @classmethod
    def meet(
        cls,
        *,
        address: str,
        process_id: int,
        num_processes: int,
        seconds: float | None = None,
        silence: float | None = None,
    ) -> Peers:
        """Waits for all processes of the run at `address` (host:port of process 0) for so many seconds.

        Raises ProcessLost, with the same sentence in every process that came, if some did not; InputError if two say
        that they are the same one, or their clocks are far apart.
        """
        seconds = _seconds(START, 300) if seconds is None else seconds
        silence = _seconds(SILENCE, 60) if silence is None else silence
        secret = run_secret()
        peers = cls(process_id=process_id, num_processes=num_processes)
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        check_host(host)
        if process_id == 0 and not secret:
            logger.warning(
                f"{SECRET} is not set: whoever reaches {host}:{port} could pose as a process of this run; launch/ sets it"
            )
        if process_id == 0:
            met = receive_all(host, int(port), secret, seconds=seconds, num_processes=num_processes)
        else:
            met = call(
                host,
                int(port),
                secret,
                seconds=seconds,
                process_id=process_id,
                num_processes=num_processes,
            )
        peers.run_id, peers.names, peers.bound_host = met.run_id, met.names, met.bound_host
        peers._watch(met.links, silence=silence)
        return peers

    def gather(self, value: Any, *, what: str) -> list[Any]:
        """The values (of JSON) that all processes give, in their order; waits until all have come to this line."""
        if self.num_processes == 1:
            return [value]
        with self._changed:
            number, self._next_gather = self._next_gather, self._next_gather + 1
        if self.process_id == 0:
            self._take(number, 0, value)
        else:
            self._links[0].send({"gather": number, "value": value})
        waited = 0.0
        with self._changed:
            while number not in self._gathered:
                if not self._changed.wait(NOTICE_SECONDS):
                    waited += NOTICE_SECONDS
                    missing = ", ".join(self._missing(number)) if self.process_id == 0 else "others"
                    logger.warning(f"{what}: waiting for {missing} for {waited:.0f} s")
            return self._gathered.pop(number)

    def agree(self, **values: str) -> None:
        """Compares values over all processes; raises, in every one of them, ProcessesDiffer, which names the odd one out."""
        for sentence in differences(self.gather(values, what="comparing what is to be run"), self.names):
            raise ProcessesDiffer(sentence)

    def tell_end(self, sentence: str, status: int, *, stacks: bool = False) -> None:
        """Has all other processes end with this sentence and status; with `stacks` they write those of their threads."""
        self._leaving = True
        self._ending.set()
        for link in self._links.values():
            link.send({"end": sentence, "status": status, "stacks": stacks})

    def let_others_explain(self) -> None:
        """For a moment; what fails here may fail because another process is gone, and then its end is this one's."""
        if self._heard.wait(GRACE_SECONDS if self.num_processes > 1 else 0):
            # A thread of the above is about to end this process.
            time.sleep(3 * LAST_SECONDS)

    def wait_for_the_others_to_end(self) -> None:
        """The service through which JAX's processes know each other lives in process 0: it goes last, or JAX aborts them."""
        if self.process_id == 0:
            with self._changed:
                self._changed.wait_for(lambda: self._left >= self._links.keys(), LAST_SECONDS)

    def leave(self) -> None:
        """Ends orderly: the others may leave later.  Process 0 stays until all have."""
        self._leaving = True
        for link in self._links.values():
            link.send({"leave": True})
        with self._changed:
            if self.process_id == 0:
                self._changed.wait_for(lambda: self._left >= self._links.keys())
        for link in self._links.values():
            link.close()

    # --- news from the others, each connection in a thread of its own -------------------------------------------------

    def _watch(self, links: dict[int, Link], *, silence: float) -> None:
        self._links = links
        for number, link in links.items():
            link.be_patient(silence)
            threading.Thread(target=self._listen, args=(number, link, silence), daemon=True).start()
        threading.Thread(target=self._ping, args=(silence / 4,), daemon=True).start()

    def _ping(self, seconds: float) -> None:
        while not self._leaving:
            for link in self._links.values():
                link.send({"ping": True})
            time.sleep(seconds)

    def _listen(self, number: int, link: Link, silence: float) -> None:
        while True:
            try:
                message = link.receive()
            except TimeoutError:
                self._lost(number, f"has been silent for {silence:.0f} s: it was stopped, or cut off")
                return
            except OSError:
                message = None
            if message is None:
                if number not in self._left:
                    self._lost(number, "is gone: it was killed, or its machine went away")
                return
            if not _is_message(message):
                self._lost(number, "sends what no process of this version does")
                return
            if "gather" in message:
                self._take(message["gather"], number, message["value"])
            elif "gathered" in message:
                with self._changed:
                    self._gathered[message["gathered"]] = message["values"]
                    self._changed.notify_all()
            elif "leave" in message:
                with self._changed:
                    self._left.add(number)
                    self._changed.notify_all()
            elif "end" in message and not self._leaving:
                self._heard.set()
                self._pass_on(message, besides=number)
                # What ends all of them at the same step is better said by each itself, which then tidies up.
                if not self._ending.wait(GRACE_SECONDS):
                    self.wait_for_the_others_to_end()
                    self.on_end(message["end"], message["status"], message["stacks"])

    def _lost(self, number: int, how: str) -> None:
        with self._changed:
            self._left.add(number)
            self._changed.notify_all()
        if self._leaving:
            return
        self._heard.set()
        sentence = (
            f"{self.names.get(number, f'process {number}')} {how}; this run ends, and resumes from its last "
            "checkpoint when all processes are started again."
        )
        message = {"end": sentence, "status": LOST, "stacks": False}
        self._pass_on(message, besides=number)
        self.wait_for_the_others_to_end()
        self.on_end(sentence, LOST, False)

    def _pass_on(self, message: dict, *, besides: int) -> None:
        self._leaving = True
        for number, link in self._links.items():
            if number != besides:
                link.send(message)

    def _take(self, number: int, process: int, value: Any) -> None:
        with self._changed:
            values = self._gathers[number]
            values[process] = value
            if len(values) < self.num_processes:
                return
            gathered = [values[i] for i in range(self.num_processes)]
            del self._gathers[number]
            self._gathered[number] = gathered
            self._changed.notify_all()
        for link in self._links.values():
            link.send({"gathered": number, "values": gathered})

    def _missing(self, number: int) -> list[str]:
        return [name for i, name in sorted(self.names.items()) if i not in self._gathers.get(number, {})]


def differences(values: Sequence[dict[str, str]], names: dict[int, str]) -> list[str]:
    """A sentence for each value that is not the same everywhere: who has what, those in the minority first."""
    sentences = []
    for key in values[0]:
        holders: dict[str, list[int]] = collections.defaultdict(list)
        for number, known in enumerate(values):
            holders[str(known.get(key))].append(number)
        if len(holders) == 1:
            continue
        *few, (common, many) = sorted(holders.items(), key=lambda item: (len(item[1]), -item[1][0]))
        odd = "; ".join(f"{_names(numbers, names)} has {key} {value}" for value, numbers in few)
        others = _names(many, names) if len(values) == 2 else "the others"
        sentences.append(
            f"{odd}, {others} {'has' if len(values) == 2 else 'have'} {common}; start all processes with the same."
        )
    return sentences


def end_process(sentence: str, status: int, stacks: bool) -> NoReturn:
    """Ends this process where it stands, also in the middle of a collective that will never return."""
    if stacks:
        faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
    logger.error(for_terminal(sentence))
    os._exit(status)


def _is_message(message: dict) -> bool:
    """Whether it is one of those that processes send each other, with all that belongs to it."""
    match message:
        case (
            {"ping": _} | {"leave": _} | {"gather": int(), "value": _} | {"gathered": int(), "values": list()}
        ):
            return True
        case {"end": str(), "status": int(status), "stacks": bool()}:
            return 0 < status < 256
    return False


def _seconds(name: str, default: float) -> float:
    """A time limit from the environment; raises InputError for what is none."""
    text = os.environ.get(name, str(default))
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= bounds.WAITING_SECONDS:
        raise InputError(
            f"{name} is {text[:40]!r}; give seconds, from above 0 to {bounds.WAITING_SECONDS:.0f}."
        )
    return seconds


def _names(numbers: Sequence[int], names: dict[int, str]) -> str:
    shown = [names.get(number, f"process {number}") for number in numbers[:4]]
    return " and ".join([*shown, f"{len(numbers) - 4} more"] if len(numbers) > 4 else shown)
