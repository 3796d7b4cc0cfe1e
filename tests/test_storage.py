"""Outputs: one writer for each, whole or not at all, and nothing of somebody else's is removed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from socsci_jax import locks
from socsci_jax.errors import InputError
from socsci_jax.locks import only_writer
from socsci_jax.storage import new_file, new_folder, writing

HOLD = (
    "import sys, time; from pathlib import Path; from socsci_jax.locks import only_writer\n"
    "with only_writer(Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(60)"
)


@pytest.fixture
def holder(tmp_path):
    """Another process that writes `tmp_path / "out"`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / "out"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_writer_is_told_who_holds_the_folder(tmp_path, holder):
    with (
        pytest.raises(InputError, match=rf"out: is being written by process {holder.pid} on .*, started 20"),
        only_writer(tmp_path / "out"),
    ):
        pass


def test_the_name_of_a_dead_holder_is_not_given_for_that_of_the_living(tmp_path, holder):
    """Whoever takes a lock over writes its name a moment later."""
    lock = tmp_path / ".out.lock"
    written = lock.read_text()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    lock.write_text(json.dumps(json.loads(written) | {"pid": gone.pid}))
    threading.Timer(0.2, lock.write_text, [written]).start()
    with pytest.raises(InputError, match=rf"by process {holder.pid} "), only_writer(tmp_path / "out"):
        pass


def test_another_name_of_the_same_folder_is_held_as_well(tmp_path, holder):
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to("out")
    with pytest.raises(InputError, match="is being written"), only_writer(tmp_path / "link"):
        pass


def test_the_lock_of_a_killed_holder_is_taken_over(tmp_path, holder, caplog):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with only_writer(tmp_path / "out"):
        assert f"taken over from process {holder.pid}" in caplog.text
    assert os.listdir(tmp_path) == []


def test_a_folder_is_free_again_after_its_writer(tmp_path):
    for _ in range(2):
        with only_writer(tmp_path / "out"):
            assert os.listdir(tmp_path) == [".out.lock"]
    assert os.listdir(tmp_path) == []


@pytest.fixture
def elsewhere(tmp_path):
    """A lock that a process of another machine left, of which this kernel knows nothing."""
    lock = tmp_path / ".out.lock"
    lock.write_text(json.dumps({"pid": 1, "host": "node7", "machine": "another", "since": "yesterday"}))
    return lock


def test_a_holder_on_another_machine_without_a_sign_of_life_is_dead(tmp_path, elsewhere):
    with only_writer(tmp_path / "out", patience=0.2):
        assert json.loads(elsewhere.read_text())["pid"] == os.getpid()


def test_a_holder_on_another_machine_that_shows_life_is_named(tmp_path, elsewhere):
    alive = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import os, time\nfor _ in range(300): os.utime({str(elsewhere)!r}); time.sleep(0.05)",
        ]
    )
    try:
        with (
            pytest.raises(InputError, match="process 1 on node7"),
            only_writer(tmp_path / "out", patience=10),
        ):
            pass
    finally:
        alive.kill()
        alive.wait()


def test_a_holder_shows_life(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "SIGN_SECONDS", 0.01)
    with only_writer(tmp_path / "out"):
        lock = tmp_path / ".out.lock"
        before, until = lock.stat().st_mtime_ns, time.monotonic() + 10
        while lock.stat().st_mtime_ns == before:
            assert time.monotonic() < until


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\x00" * 3000])
def test_a_damaged_lock_is_taken_over(tmp_path, content):
    (tmp_path / ".out.lock").write_bytes(content)
    with only_writer(tmp_path / "out", patience=0.1):
        pass


def test_a_folder_that_fails_is_not_there(tmp_path):
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "out") as partial:
        (partial / "a").write_text("a")
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


def test_a_replaced_folder_holds_only_the_new_and_what_is_kept(tmp_path):
    out = tmp_path / "out"
    (out / "splits").mkdir(parents=True)
    (out / "table").write_text("old")
    with new_folder(out, replaces=("table", "splits"), keeps=("splits",)) as partial:
        (partial / "table").write_text("new")
    assert (out / "table").read_text() == "new"
    assert sorted(os.listdir(out)) == ["splits", "table"]
    assert os.listdir(tmp_path) == ["out"]


def test_what_the_program_did_not_write_is_never_replaced(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("years")
    with pytest.raises(InputError, match=r"holds 'thesis\.tex'"), new_folder(out, replaces=("table",)):
        pass
    assert (out / "thesis.tex").read_text() == "years"


def test_a_file_that_fails_leaves_the_earlier_one(tmp_path):
    (tmp_path / "a").write_text("old")
    with pytest.raises(ZeroDivisionError), new_file(tmp_path / "a") as partial:
        partial.write_text("new")
        raise ZeroDivisionError
    assert (tmp_path / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        OSError("No space left on device (os error 28)"),
        RuntimeError("os_error_code='28' while writing"),
    ],
)
def test_a_full_disk_is_named_with_its_path_whoever_says_so(tmp_path, error):
    with pytest.raises(InputError, match=r"out: there is no space left"), writing(tmp_path / "out"):
        raise error


def test_what_is_no_fault_of_the_disk_stays_what_it_is(tmp_path):
    with pytest.raises(RuntimeError, match="else"), writing(tmp_path / "out"):
        raise RuntimeError("something else")
