"""Start-up of several processes: complete settings join a run, half-set ones are errors, none is one process."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from small import small_recipe, small_store

from socsci_jax import distributed
from socsci_jax.distributed import Processes, initialise
from socsci_jax.errors import InputError

LAUNCHER = Path(__file__).resolve().parent.parent / "launch" / "local.py"
free_port = runpy.run_path(str(LAUNCHER))["free_port"]
SLURM = {
    "SLURM_JOB_ID": "12345",
    "SLURM_STEP_NODELIST": "node[1-2]",
    "SLURM_NTASKS": "2",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
}


@pytest.fixture
def joined(monkeypatch) -> list[dict]:
    """What JAX is told, instead of telling it."""
    calls: list[dict] = []
    monkeypatch.setattr("jax.distributed.initialize", lambda **arguments: calls.append(arguments))
    return calls


def test_without_settings_the_run_is_this_process_alone(joined):
    assert initialise(environment={}) == Processes(num_processes=1, process_id=0)
    assert joined == []


def test_arguments_come_before_the_environment(joined):
    environment = {distributed.COORDINATOR: "other:1", distributed.NUM_PROCESSES: "8"}
    processes = initialise(
        coordinator="host:1", num_processes=2, process_id=1, local_devices=[3], environment=environment
    )
    assert processes == Processes(num_processes=2, process_id=1) and not processes.is_main
    assert joined == [
        {
            "coordinator_address": "host:1",
            "num_processes": 2,
            "process_id": 1,
            "local_device_ids": [3],
            "initialization_timeout": 300,
        }
    ]


def test_a_slurm_step_of_several_tasks_is_joined(joined):
    assert initialise(environment=SLURM, initialization_timeout=7) == Processes(num_processes=2, process_id=1)
    assert joined == [
        {"cluster_detection_method": "slurm", "local_device_ids": None, "initialization_timeout": 7}
    ]


def test_a_slurm_batch_script_that_was_not_started_by_srun_is_one_process(joined):
    assert initialise(environment=SLURM | {"SLURM_STEP_NUM_TASKS": "1"}) == Processes()
    assert joined == []


@pytest.mark.parametrize("absent", ["SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_PROCID", "SLURM_LOCALID"])
def test_a_half_set_slurm_environment_is_an_error(joined, absent):
    environment = {name: value for name, value in SLURM.items() if name != absent}
    with pytest.raises(InputError, match=f"SLURM_STEP_NUM_TASKS is 2, but {absent} is not set"):
        initialise(environment=environment)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_processes": 2}, "num_processes given without coordinator, process_id"),
        ({"coordinator": "h:1", "num_processes": 2}, "coordinator, num_processes given without process_id"),
        ({"coordinator": "h", "num_processes": 2, "process_id": 0}, "coordinator is 'h'; give host:port"),
        (
            {"coordinator": "h:1", "num_processes": 2, "process_id": 2},
            "process_id is 2 and num_processes is 2",
        ),
    ],
)
def test_incomplete_or_impossible_arguments_are_errors(joined, settings, message):
    with pytest.raises(InputError, match=message):
        initialise(**settings, environment={})
    assert joined == []


def test_a_variable_that_is_no_number_is_named(joined):
    environment = {
        distributed.COORDINATOR: "h:1",
        distributed.NUM_PROCESSES: "two",
        distributed.PROCESS_ID: "0",
    }
    with pytest.raises(InputError, match="SOCSCI_JAX_NUM_PROCESSES is 'two'; give a whole number"):
        initialise(environment=environment)


@pytest.mark.slow
def test_two_processes_on_this_machine_sum_over_both(tmp_path):
    script = tmp_path / "sum.py"
    script.write_text(
        "import pathlib, sys\n"
        "from socsci_jax.distributed import initialise\n"
        "me = initialise(initialization_timeout=90)\n"
        "import jax\n"
        "sums = jax.pmap(lambda x: jax.lax.psum(x, 'all'), axis_name='all')(jax.numpy.array([me.process_id + 1.0]))\n"
        "out = pathlib.Path(sys.argv[1], f'{me.process_id}-of-{me.num_processes}')\n"
        "out.write_text(f'{jax.device_count()} {float(sums.addressable_data(0).squeeze())}')\n"
    )
    done = subprocess.run(
        [sys.executable, LAUNCHER, "2", "--", sys.executable, script, tmp_path],
        timeout=120,
        env=os.environ | {"XLA_FLAGS": ""},  # one device a process, not the tests' eight
    )
    assert done.returncode == 0
    assert (tmp_path / "0-of-2").read_text() == (tmp_path / "1-of-2").read_text() == "2 3.0"


@pytest.mark.slow
def test_if_one_process_fails_the_launcher_ends_the_others_and_returns_its_status():
    code = "import os, sys, time; time.sleep(0 if os.environ['SOCSCI_JAX_PROCESS_ID'] == '1' else 60); sys.exit(3)"
    done = subprocess.run([sys.executable, LAUNCHER, "2", "--", sys.executable, "-c", code], timeout=30)
    assert done.returncode == 3


def test_the_launcher_names_a_command_that_does_not_exist():
    done = subprocess.run(
        [sys.executable, LAUNCHER, "2", "--", "no-such-command"], timeout=30, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "no-such-command: command not found" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_a_process_that_stays_alone_says_what_it_waits_for_and_stops(number):
    address = f"127.0.0.1:{free_port()}"
    code = (
        "from socsci_jax.distributed import initialise\n"
        f"initialise(coordinator={address!r}, num_processes=2, process_id={number}, initialization_timeout=2)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], timeout=60, capture_output=True, text=True)
    assert done.returncode != 0
    expected = f"still waiting for the other processes of this run (coordinator_address {address}"
    assert expected in done.stderr.splitlines()[0]


@pytest.mark.slow
def test_two_processes_train_as_one_does(tmp_path):
    """The same recipe on a mesh of two processes: same losses, the first process writes."""
    store = small_store(tmp_path / "store")
    losses = []
    for processes in (1, 2):
        output = tmp_path / f"run{processes}"
        recipe = tmp_path / f"{processes}.yaml"
        recipe.write_text(yaml.safe_dump(small_recipe(store, output, parallelism={"data": processes})))
        train = [sys.executable, "-m", "socsci_jax", "train", recipe]
        launched = [sys.executable, LAUNCHER, "2", "--", *train] if processes == 2 else train
        subprocess.run(launched, timeout=300, check=True, env=os.environ | {"XLA_FLAGS": ""})
        lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
        losses.append({line["step"]: line["loss"] for line in lines})
    assert losses[0].keys() == losses[1].keys()
    assert list(losses[0].values()) == pytest.approx(list(losses[1].values()), rel=1e-5)
