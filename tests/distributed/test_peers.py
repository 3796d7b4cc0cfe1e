"""Processes of a run meet, agree, and end together, each with the same sentence; here they are threads."""

import json
import socket
import threading
import time

import pytest
from several import free_port, in_each, meet

from socsci_jax.distributed import peers as module
from socsci_jax.distributed.peers import Peers, differences
from socsci_jax.errors import LOST, InputError, ProcessLost


@pytest.fixture
def three():
    port = free_port()
    met = in_each(*(lambda i=i: meet(i, of=3, port=port) for i in range(3)))
    endings = {peers.process_id: [] for peers in met}
    for peers in met:
        peers.on_end = lambda *news, number=peers.process_id: endings[number].append(news)
    yield met, endings
    for peers in met:
        for link in peers._links.values():
            peers._leaving = True
            link.close()


@pytest.fixture(autouse=True)
def nobody_exits(monkeypatch):
    monkeypatch.setattr(module, "end_process", lambda *news: None)
    monkeypatch.setattr(module, "LAST_SECONDS", 0.1)


def eventually(condition) -> bool:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_a_run_of_one_process_waits_for_nobody():
    alone = Peers()
    assert alone.gather("mine", what="a test") == ["mine"]
    alone.agree(recipe="a")
    alone.tell_end("over", 1)
    alone.leave()


def test_all_get_one_id_and_know_each_other(three):
    met, _ = three
    assert len({peers.run_id for peers in met}) == 1
    assert all(sorted(peers.names) == [0, 1, 2] for peers in met)


def test_values_are_gathered_in_the_order_of_processes_and_of_calls(three):
    met, _ = three

    def twice(peers):
        return [peers.gather(f"{n}{peers.process_id}", what="a test") for n in "ab"]

    assert in_each(*(lambda p=p: twice(p) for p in met)) == [[["a0", "a1", "a2"], ["b0", "b1", "b2"]]] * 3


def test_the_odd_one_out_is_named_in_every_process(three):
    met, _ = three
    facts = ({"recipe": "A", "store": "S"}, {"recipe": "B", "store": "S"}, {"recipe": "A", "store": "S"})
    said = in_each(*(lambda p=p, f=f: p.agree(**f) for p, f in zip(met, facts)))
    assert all(isinstance(error, InputError) for error in said)
    assert len({str(error) for error in said}) == 1
    assert str(said[0]).startswith(f"{met[0].names[1]} has recipe B, the others have A; start all")


def test_of_two_that_differ_both_are_named():
    [sentence] = differences([{"store": "A"}, {"store": "B"}], {0: "process 0", 1: "process 1"})
    assert sentence == "process 1 has store B, process 0 has A; start all processes with the same."


def test_many_that_differ_are_counted():
    values = [{"code": "old"}] * 9 + [{"code": "new"}] * 20
    [sentence] = differences(values, {i: f"process {i}" for i in range(29)})
    assert sentence.startswith("process 0 and process 1 and process 2 and process 3 and 5 more has code old")


@pytest.mark.parametrize("gone", [0, 1])
def test_a_process_whose_connection_breaks_is_missed_by_all_others(three, gone):
    met, endings = three
    met[gone]._leaving = True  # the dead say nothing
    for link in met[gone]._links.values():
        link.close()  # as the system does for a process that is killed
    others = [i for i in range(3) if i != gone]
    assert eventually(lambda: all(endings[i] for i in others))
    for i in others:
        sentence, status, stacks = endings[i][0]
        assert sentence.startswith(f"{met[0].names[gone]} is gone: it was killed")
        assert status == LOST and not stacks


def test_a_process_that_falls_silent_is_missed():
    port = free_port()
    met = in_each(lambda: meet(0, of=2, port=port, silence=0.5), lambda: meet(1, of=2, port=port, silence=30))
    endings = []
    met[0].on_end = lambda *news: endings.append(news)
    assert eventually(lambda: endings)  # process 1 speaks every 30 / 4 seconds only
    assert "process 1 " in endings[0][0] and "has been silent for 0 s: it was stopped" in endings[0][0]
    assert endings[0][1] == LOST


@pytest.mark.parametrize("teller", [0, 2])
def test_what_ends_one_process_is_told_to_all_others(three, teller, monkeypatch):
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.05)
    met, endings = three
    met[teller].tell_end("the disk is full", 2, stacks=True)
    others = [i for i in range(3) if i != teller]
    assert eventually(lambda: all(endings[i] for i in others))
    assert [endings[i][0] for i in others] == [("the disk is full", 2, True)] * 2
    assert endings[teller] == []


def test_who_ends_by_itself_is_not_ended_by_others(three, monkeypatch):
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.5)
    met, endings = three
    in_each(*(lambda p=p: p.tell_end("all stop after step 7", 75) for p in met))
    time.sleep(0.8)
    assert not any(endings.values())


def test_what_fails_because_another_process_is_gone_is_that_ones_end(three, monkeypatch):
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.5)
    met, endings = three
    met[1]._leaving = True
    for link in met[1]._links.values():
        link.close()
    met[2].let_others_explain()  # as when a collective fails
    assert met[2]._heard.is_set()
    assert eventually(lambda: endings[2]) and endings[2][0][1] == LOST


def test_leaving_is_no_loss_and_the_first_process_leaves_last(three):
    met, endings = three
    done = []
    first = threading.Thread(target=lambda: (met[0].leave(), done.append(0)))
    first.start()
    met[1].leave()
    time.sleep(0.1)
    assert not done
    met[2].leave()
    first.join(10)
    assert done == [0] and not any(endings.values())


def test_if_one_never_comes_those_that_came_say_which():
    port = free_port()
    said = in_each(lambda: meet(0, of=4, port=port, seconds=1), lambda: meet(2, of=4, port=port, seconds=1))
    assert all(isinstance(error, ProcessLost) for error in said)
    assert {str(error) for error in said} == {
        "2 of 4 processes came within 1 s; process 1, 3 did not: look at their logs, or give them longer "
        "(SOCSCI_JAX_START_SECONDS)."
    }


def test_if_the_first_one_never_comes_the_others_say_so():
    port = free_port()
    with pytest.raises(ProcessLost, match=rf"did not reach process 0 at 127.0.0.1:{port} within 0 s"):
        meet(1, of=2, port=port, seconds=0.4)


def test_two_with_one_number_are_told_apart():
    port = free_port()
    said = in_each(*(lambda i=i: meet(i, of=3, port=port, seconds=3) for i in (0, 1, 1)))
    assert all(isinstance(error, InputError) and "have the same number" in str(error) for error in said)


def test_another_number_of_processes_is_named():
    port = free_port()
    said = in_each(lambda: meet(0, of=2, port=port), lambda: meet(1, of=3, port=port))
    assert all(
        "was told of 3 processes" in str(error) and "of 2; tell all the same" in str(error) for error in said
    )


def test_clocks_that_are_far_apart_are_refused(monkeypatch):
    port = free_port()
    now = time.time
    monkeypatch.setattr(
        module.time, "time", lambda: now() + 3600 * (threading.current_thread().name == "late")
    )

    def late():
        threading.current_thread().name = "late"
        return meet(1, of=2, port=port)

    said = in_each(lambda: meet(0, of=2, port=port), late)
    assert all(isinstance(error, InputError) and "3,600 s ahead of" in str(error) for error in said)


def test_somebody_elses_connection_is_not_counted():
    port = free_port()

    def stranger():
        time.sleep(0.2)
        with socket.create_connection(("127.0.0.1", port)) as other:
            other.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with socket.create_connection(("127.0.0.1", port)) as other:
            other.sendall(json.dumps([1, 2]).encode() + b"\n")
        return meet(1, of=2, port=port)

    first, second = in_each(lambda: meet(0, of=2, port=port), stranger)
    assert first.run_id == second.run_id
    second.leave()
    first.leave()


def test_a_port_that_is_taken_is_named():
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"port {port} of .* cannot be listened at"):
            meet(0, of=2, port=port)
