"""A run that hangs ends with the stacks of its threads and a status of its own."""

import contextlib
import subprocess
import sys
import time

import pytest

from socsci_jax.distributed.peers import Peers
from socsci_jax.errors import STALLED
from socsci_jax.training import watchdog as module
from socsci_jax.training.clock import Clock
from socsci_jax.training.recipe_upkeep import WatchdogConfig
from socsci_jax.training.watchdog import FEWEST_STEPS, Watchdog

LIMITS = WatchdogConfig(slow_step=10, seconds=0.05, other_seconds=600)


@pytest.fixture
def ended(monkeypatch) -> list[tuple]:
    news: list[tuple] = []
    monkeypatch.setattr(module, "end_process", lambda *what: news.append(what))
    return news


def after_steps(tmp_path, *, seconds: float, limits: WatchdogConfig = LIMITS) -> Watchdog:
    dog = Watchdog(limits, peers=Peers(), stacks=tmp_path / "stacks.txt")
    for step in range(FEWEST_STEPS + 1):
        dog.step_done(step)
    dog._durations.extend([seconds] * 64)  # as if they had taken so long
    return dog


def test_a_step_may_take_a_multiple_of_the_median_and_never_less_than_so_many_seconds(tmp_path):
    assert after_steps(tmp_path, seconds=0.02).limit() == pytest.approx(0.2)
    assert after_steps(tmp_path, seconds=0.001).limit() == pytest.approx(0.05)


def test_before_there_is_a_median_and_during_other_work_the_limit_is_that_of_other_work(tmp_path):
    dog = Watchdog(LIMITS, peers=Peers(), stacks=tmp_path / "stacks.txt")
    assert dog.limit() == 600
    dog = after_steps(tmp_path, seconds=0.001)
    with dog.other("validation"):
        assert dog.limit() == 600
    assert dog.limit() < 1


def test_time_of_other_work_counts_for_no_step(tmp_path):
    dog = after_steps(tmp_path, seconds=0.001)
    clock = Clock(dog)
    with clock.spent_on("validation"):
        time.sleep(1)
    dog.step_done(99)
    assert max(dog._durations) < 1
    assert clock.seconds()["validation"] >= 1
    assert clock.seconds()["compute"] < 1


def test_a_step_that_hangs_ends_the_run_with_all_stacks(tmp_path, ended):
    dog = after_steps(tmp_path, seconds=0.001)
    with dog:
        deadline = time.monotonic() + 10
        while not ended and time.monotonic() < deadline:
            time.sleep(0.05)
    sentence, status, _ = ended[0]
    assert status == STALLED
    assert sentence.startswith(f"step {FEWEST_STEPS + 1} has taken ") and "this run hangs" in sentence
    written = (tmp_path / "stacks.txt").read_text()
    assert "Current thread" in written and "test_watchdog.py" in written


def test_a_run_that_goes_on_is_left_alone(tmp_path, ended):
    with after_steps(tmp_path, seconds=0.001, limits=LIMITS.model_copy(update={"seconds": 5.0})):
        time.sleep(0.8)
    assert ended == []


def test_stacks_are_written_where_another_process_hangs(tmp_path, ended):
    peers = Peers()
    with Watchdog(LIMITS, peers=peers, stacks=tmp_path / "stacks.txt"), contextlib.suppress(SystemExit):
        peers.on_end("step 9 hangs", STALLED, True)
    assert "step 9 hangs" in (tmp_path / "stacks.txt").read_text()
    assert ended == [("step 9 hangs", STALLED, False)]


def test_the_exit_status_is_that_of_a_stall(tmp_path):
    code = (
        "import time, pathlib\n"
        "from socsci_jax.distributed.peers import Peers\n"
        "from socsci_jax.training.recipe_upkeep import WatchdogConfig\n"
        "from socsci_jax.training.watchdog import Watchdog\n"
        "with Watchdog(WatchdogConfig(other_seconds=0.1), peers=Peers(), stacks=pathlib.Path('stacks.txt')):\n"
        "    time.sleep(60)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=50
    )
    assert done.returncode == STALLED
    assert "starting has taken" in done.stderr.splitlines()[-1]
