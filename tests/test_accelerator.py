"""The measurements for accelerators, tried to their end with tiny shapes; killed in between, they resume."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import REPOSITORY

ENVIRONMENT = os.environ | {"PYTHONPATH": str(REPOSITORY), "XLA_FLAGS": ""}
NAMES = ("ceiling", "step/0.5B/tree", "simulation/0.5B/generate")


def command(folder, *names: str) -> list[str]:
    out = folder / "results"
    return [sys.executable, "-m", "benchmarks.accelerator", "--tiny", "--out", str(out), "--only", *names]


@pytest.mark.slow
def test_what_was_measured_before_a_kill_is_kept_and_the_rest_is_measured(tmp_path):
    process = subprocess.Popen(
        command(tmp_path, *NAMES), cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE
    )
    first = tmp_path / "results" / "ceiling.json"
    while not first.is_file() and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = first.read_bytes()

    again = subprocess.run(
        command(tmp_path, *NAMES), cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert "ceiling ..." not in again.stdout and first.read_bytes() == kept
    facts = json.loads((tmp_path / "results" / "step.0.5B.tree.json").read_text())
    assert facts["device"] and facts["versions"] and facts["found"]["ms_per_row"] > 0, facts
    assert all(loss > 0 for loss in facts["found"]["losses"])
    if all(map(importlib.util.find_spec, ("torch", "transformers"))):
        peer = json.loads((tmp_path / "results" / "simulation.0.5B.generate.json").read_text())
        assert peer["found"]["responses_per_second"] > 0, peer


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
