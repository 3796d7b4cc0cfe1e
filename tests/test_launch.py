"""Launchers: what they start, when they start it again, and what status they return."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LAUNCH = Path(__file__).resolve().parent.parent / "launch"

# Each process appends a line for each start, then does what `{what}` says, knowing its number and which start it is.
SCRIPT = """
import os, pathlib, signal, sys, time
me = int(os.environ["SOCSCI_JAX_PROCESS_ID"])
log = pathlib.Path(sys.argv[1], str(me))
with log.open("a") as file:
    file.write(os.environ["SOCSCI_JAX_COORDINATOR"] + "\\n")
start = len(log.read_text().splitlines())
def on_sigterm(*_):
    time.sleep(0.5)
    (log.parent / f"checkpoint-{me}").touch()
    sys.exit(75)
"""


def local(folder: Path, what: str, *options: str) -> subprocess.Popen:
    command = [
        sys.executable,
        LAUNCH / "local.py",
        "2",
        *options,
        "--",
        sys.executable,
        "-c",
        SCRIPT + what,
        folder,
    ]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def started(folder: Path) -> list[int]:
    """How often each process was started."""
    return [len((folder / str(n)).read_text().splitlines()) for n in range(2)]


def wait_for(*paths: Path) -> None:
    until = time.monotonic() + 20
    while not all(path.exists() for path in paths):
        assert time.monotonic() < until, f"none of {paths} in 20 s"
        time.sleep(0.05)


def test_all_processes_done_is_status_0_and_one_start(tmp_path):
    assert local(tmp_path, "", "--restarts", "3").wait(timeout=30) == 0
    assert started(tmp_path) == [1, 1]


@pytest.mark.parametrize("status", [75, 76, 77, 134])
def test_a_status_that_asks_for_it_starts_all_processes_again(tmp_path, status):
    assert local(tmp_path, f"sys.exit({status} if start < 3 else 0)", "--restarts", "5").wait(timeout=60) == 0
    assert started(tmp_path) == [3, 3]


def test_all_are_started_again_at_most_so_often(tmp_path):
    assert local(tmp_path, "sys.exit(76)", "--restarts", "1").wait(timeout=30) == 76
    assert started(tmp_path) == [2, 2]


@pytest.mark.parametrize("status", [1, 2, 78])
def test_another_status_is_returned_at_once(tmp_path, status):
    assert local(tmp_path, f"sys.exit({status})", "--restarts", "3").wait(timeout=30) == status
    assert started(tmp_path) == [1, 1]


def test_a_killed_process_starts_all_again(tmp_path):
    what = "os.kill(os.getpid(), signal.SIGKILL) if start == 1 else None"
    assert local(tmp_path, what, "--restarts", "1").wait(timeout=30) == 0
    assert started(tmp_path) == [2, 2]


@pytest.mark.parametrize(
    ("statuses", "returned"),
    [
        ((76, 2), 2),
        ((76, 78), 78),
        ((134, 78), 78),
        ((0, 3), 3),
        ((76, 77), 77),
        ((137, 76), 76),
        ((0, 134), 134),
    ],
)
def test_the_status_that_says_most_is_returned(tmp_path, statuses, returned):
    assert local(tmp_path, f"sys.exit({statuses}[me])").wait(timeout=30) == returned


def test_the_others_may_end_by_themselves_after_one_failed(tmp_path):
    what = "time.sleep(3 * me)\n(log.parent / f'said-{me}').touch()\nsys.exit(76)"
    assert local(tmp_path, what).wait(timeout=30) == 76
    assert (tmp_path / "said-1").exists()


def test_sigterm_is_passed_on_and_the_checkpoint_waited_for(tmp_path):
    what = "signal.signal(signal.SIGTERM, on_sigterm)\n(log.parent / f'ready-{me}').touch()\ntime.sleep(60)"
    launcher = local(tmp_path, what, "--restarts", "3")
    wait_for(tmp_path / "ready-0", tmp_path / "ready-1")
    launcher.send_signal(signal.SIGTERM)
    assert launcher.wait(timeout=30) == 75
    assert (tmp_path / "checkpoint-0").exists() and (tmp_path / "checkpoint-1").exists()
    assert started(tmp_path) == [1, 1]


@pytest.mark.slow
def test_processes_that_do_not_end_in_their_grace_are_killed(tmp_path):
    what = "(log.parent / f'ready-{me}').write_text(str(os.getpid()))\n"
    what += "signal.signal(signal.SIGTERM, signal.SIG_IGN) if me else os.kill(os.getpid(), signal.SIGSTOP)\n"
    launcher = local(tmp_path, what + "time.sleep(60)", "--grace", "1")
    wait_for(tmp_path / "ready-0", tmp_path / "ready-1")
    time.sleep(0.5)
    launcher.send_signal(signal.SIGTERM)
    assert launcher.wait(timeout=30) == 137
    for number in range(2):
        assert not Path("/proc", (tmp_path / f"ready-{number}").read_text()).exists()


@pytest.mark.slow
def test_a_stopped_process_is_killed_after_the_others_have_ended(tmp_path):
    what = "(log.parent / f'pid-{me}').write_text(str(os.getpid()))\n"
    what += "os.kill(os.getpid(), signal.SIGSTOP) if me else None\nsys.exit(76)"
    assert local(tmp_path, what).wait(timeout=60) == 76
    assert not Path("/proc", (tmp_path / "pid-1").read_text()).exists()
