"""A run under a real SLURM, which preempts it: it is requeued, resumes from its checkpoint and ends as if undisturbed."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import quick_programs
import yaml
from slurm import start
from small import small_recipe, small_store

SUBMIT = Path(__file__).resolve().parent.parent.parent / "launch" / "submit.py"


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    reason = start.missing()
    if reason is not None:
        pytest.skip(reason)
    # The folder's name is short because a socket's path is.
    with start.slurm(tmp_path_factory.mktemp("slurm")) as environment:
        path = f"{Path(sys.executable).parent}:{environment['PATH']}"
        # One device a process, not the tests' eight.
        yield environment | {"PATH": path, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": quick_programs.FLAGS}


def submit(slurm, folder: Path, name: str) -> str:
    """Starts training of two processes on two nodes in folder/name; gives the job's number."""
    changes = {"parallelism": {"data": 2}, "hardware": "2xcpu", "checkpoints": {"every_steps": 5}}
    changes["optimizer"] = {"epochs": 24, "learning_rate": 1e-2}
    store = small_store(folder / name / "store")
    recipe = folder / name / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(small_recipe(store, folder / name / "run", **changes)))
    command = [sys.executable, SUBMIT, recipe, "--devices-per-node", "1", "--", "--parsable", "--time=30"]
    done = subprocess.run(
        [*command, "--partition=low", f"--chdir={folder / name}", f"--output={folder / name}/log"],
        env=slurm,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def job(slurm, number: str) -> dict[str, str]:
    shown = subprocess.run(
        ["scontrol", "show", "job", number], env=slurm, capture_output=True, text=True, check=True
    )
    return dict(field.split("=", 1) for field in shown.stdout.split() if "=" in field)


def wait_until(condition, what: str, log: Path, seconds: float = 600) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"{what}: not in {seconds:.0f} s\n{log.read_text()[-5000:]}"
        time.sleep(0.5)


def losses(folder: Path) -> dict[int, float]:
    lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_preempted_run_is_requeued_and_ends_as_an_undisturbed_one(slurm, tmp_path):
    log = tmp_path / "preempted" / "log"
    number = submit(slurm, tmp_path, "preempted")
    checkpoint = tmp_path / "preempted" / "run" / "checkpoints" / "5"
    wait_until(checkpoint.is_dir, "first checkpoint", log)
    urgent = ["sbatch", "--partition=high", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=true"]
    subprocess.run(urgent, env=slurm, check=True, capture_output=True)
    wait_until(lambda: job(slurm, number)["Restarts"] == "1", "requeue", log)
    wait_until(lambda: job(slurm, number)["JobState"] not in ("PENDING", "RUNNING", "COMPLETING"), "end", log)
    assert job(slurm, number)["JobState"] == "COMPLETED", log.read_text()
    assert "status 75, stopped after a checkpoint: requeued" in log.read_text()

    undisturbed = submit(slurm, tmp_path, "undisturbed")
    wait_until(
        lambda: job(slurm, undisturbed)["JobState"] == "COMPLETED", "end", tmp_path / "undisturbed" / "log"
    )
    # The step after which it was stopped is in the log as well.
    found, wanted = losses(tmp_path / "preempted"), losses(tmp_path / "undisturbed")
    assert {step: found[step] for step in wanted} == wanted
