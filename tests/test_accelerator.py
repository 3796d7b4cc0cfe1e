"""The measurements for accelerators: what is kept, what resumes, what is said; some tried to their end with tiny shapes."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import REPOSITORY

from benchmarks.accelerator import __main__ as command_module
from benchmarks.accelerator import shown
from benchmarks.accelerator.catalog import Measurement
from benchmarks.accelerator.failures import failure
from benchmarks.accelerator.shown import file_of

ENVIRONMENT = os.environ | {"PYTHONPATH": str(REPOSITORY), "XLA_FLAGS": ""}
NAMES = ("ceiling", "step/0.5B/flat", "simulation/0.5B/generate")


def measurement(name: str, *, seconds: int = 100, needs: tuple[str, ...] = ()) -> Measurement:
    return Measurement(name=name, run=lambda tiny: {}, seconds=seconds, needs=needs)


@pytest.fixture
def measuring(monkeypatch, tmp_path):
    """Measures what is given within so many seconds; each takes what it `takes` and finds what it `finds`."""
    clock = [0.0]
    monkeypatch.setattr(command_module.time, "monotonic", lambda: clock[0])

    def run(*given: Measurement, minutes: float, takes: dict, finds: dict | None = None) -> list[str]:
        begun = []

        def in_a_process(one, *, seconds, tiny):
            begun.append(one.name)
            clock[0] += min(takes[one.name], seconds)
            if takes[one.name] > seconds:
                return {"cut off": f"after {seconds:.0f} s"}
            return (finds or {}).get(one.name, {"found": {"ms": 1.0}})

        for module in (command_module, shown):
            monkeypatch.setattr(module, "MEASUREMENTS", given)
        monkeypatch.setattr(command_module, "in_a_process", in_a_process)
        command_module.run(tmp_path, end=clock[0] + 60 * minutes, only=None, again=[], tiny=True)
        return begun

    run.out = tmp_path
    return run


def kept(out: Path, one: Measurement) -> dict | None:
    path = file_of(out, one)
    return json.loads(path.read_text()) if path.is_file() else None


def test_what_is_there_is_not_measured_again(measuring):
    one, other = measurement("one"), measurement("other")
    assert measuring(one, other, minutes=9, takes={"one": 5, "other": 5}) == ["one", "other"]
    assert measuring(one, other, minutes=9, takes={}) == []


def test_one_that_was_cut_off_for_want_of_time_is_measured_anew(measuring):
    one, other = measurement("one", seconds=400), measurement("other", seconds=400)
    assert measuring(one, other, minutes=9, takes={"one": 300, "other": 300}) == ["one", "other"]
    assert kept(measuring.out, other) is None
    assert measuring(one, other, minutes=9, takes={"other": 300}) == ["other"]
    assert kept(measuring.out, other)["found"] == {"ms": 1.0}


def test_one_that_takes_longer_than_any_command_may_does_not_keep_the_others_from_being_measured(measuring):
    one, other = measurement("one", seconds=600), measurement("other")
    takes = {"one": 10_000, "other": 5}
    assert measuring(one, other, minutes=9, takes=takes) == ["one"]
    assert kept(measuring.out, one)["cut off"] == "after 540 s"
    assert measuring(one, other, minutes=9, takes=takes) == ["other"]


def test_what_there_is_no_time_for_is_passed_over_for_what_there_is(measuring):
    long, short = measurement("long", seconds=500), measurement("short", seconds=100)
    first = measurement("first", seconds=400)
    takes = {"first": 350, "long": 400, "short": 10}
    assert measuring(first, long, short, minutes=9, takes=takes) == ["first", "short"]
    assert measuring(first, long, short, minutes=9, takes=takes) == ["long"]


def test_all_rows_are_shown_with_what_was_found_or_why_nothing_was(measuring, monkeypatch, capsys):
    names = ("ceiling", "step", "large", "peer")
    given = [measurement(name, needs=("no_such_module",) if name == "peer" else ()) for name in names]
    finds = {
        "ceiling": {"found": {"tflops_bfloat16": 100.0}},
        "step": {"found": {"tflops_by_formula": 60.0, "peak_bytes": 100, "planned_bytes": 95}},
        "large": {"out of memory": "RESOURCE_EXHAUSTED: 9 bytes"},
    }
    measuring(*given, minutes=9, takes=dict.fromkeys(names, 1), finds=finds)
    assert "peer: not measured: not installed: no_such_module" in capsys.readouterr().out
    shown.show(measuring.out)
    told = capsys.readouterr().out
    for line in (
        "share of the ceiling: 60%",
        "planned / peak: 0.95",
        "out of memory: RESOURCE_EXHAUSTED",
        "not installed",
    ):
        assert line in told


def test_too_little_memory_is_a_result_of_its_own():
    assert list(failure(RuntimeError("RESOURCE_EXHAUSTED: Out of memory"))) == ["out of memory"]
    ended = subprocess.CalledProcessError(1, ["peer"], stderr="torch.OutOfMemoryError: CUDA out of memory")
    assert list(failure(ended)) == ["out of memory"]
    assert list(failure(ValueError("no such option"))) == ["failed"]


def command(folder, *names: str) -> list[str]:
    out = folder / "results"
    return [sys.executable, "-m", "benchmarks.accelerator", "--tiny", "--out", str(out), "--only", *names]


def begun_by(parent: int) -> list[str]:
    """Processes that measure for a command, which may be gone."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode().split("\0")
        except OSError:
            continue
        if "--parent" in words and words[words.index("--parent") + 1] == str(parent):
            lines.append(" ".join(words))
    return lines


@pytest.mark.slow
def test_what_was_measured_before_a_kill_is_kept_and_the_rest_is_measured(tmp_path):
    process = subprocess.Popen(
        command(tmp_path, *NAMES), cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE
    )
    first = tmp_path / "results" / "ceiling.json"
    while not (first.is_file() and begun_by(process.pid)) and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = first.read_bytes()
    end = time.monotonic() + 60
    while begun_by(process.pid) and time.monotonic() < end:
        time.sleep(0.1)
    assert not begun_by(process.pid), "what a killed command began would keep the device's memory"

    again = subprocess.run(
        command(tmp_path, *NAMES), cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert "ceiling ..." not in again.stdout and first.read_bytes() == kept
    facts = json.loads((tmp_path / "results" / "step.0.5B.flat.json").read_text())
    assert facts["device"] and facts["versions"] and facts["found"]["ms_per_row"] > 0, facts
    assert all(loss > 0 for loss in facts["found"]["losses"])
    assert sum(share for _, _, share in facts["found"]["profile"]) == pytest.approx(1, abs=0.3)
    if all(map(importlib.util.find_spec, ("torch", "transformers"))):
        peer = json.loads((tmp_path / "results" / "simulation.0.5B.generate.json").read_text())
        assert peer["found"]["responses_per_second"] > 0 and peer["device"] == "cpu", peer


@pytest.mark.slow
def test_all_measurements_are_listed_with_what_is_expected():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.accelerator", "--list"],
        cwd=REPOSITORY,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "ceiling: at most" in done.stdout and "simulation/0.5B/generate" in done.stdout
