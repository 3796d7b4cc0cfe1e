"""Start-up and end of several processes: they agree before they begin, train as one would, and end as one."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest
import yaml
from several import TRAIN, start
from small import small_recipe, small_store

from socsci_jax.data.loader import PlannedRows
from socsci_jax.data.plan import BatchPlan
from socsci_jax.distributed import processes as distributed
from socsci_jax.distributed.peers import Peers
from socsci_jax.distributed.processes import Processes, StopSignals, initialize
from socsci_jax.errors import LOST, STOPPED, InputError, RunStopped, StorageFailed, ending
from socsci_jax.training.prepare import prepare
from socsci_jax.training.recipe_files import parse_recipe


@pytest.fixture
def joined(monkeypatch) -> list[dict]:
    """What JAX is told, instead of telling it."""
    calls: list[dict] = []
    monkeypatch.setattr("jax.distributed.initialize", lambda **arguments: calls.append(arguments))
    monkeypatch.setattr(Peers, "meet", lambda **place: Peers(process_id=place["process_id"]))
    return calls


def test_without_settings_the_run_is_this_process_alone(joined):
    assert initialize(environment={}) == Processes(num_processes=1, process_id=0)
    assert joined == []


def test_processes_join_jax_at_a_port_that_is_free_on_the_host_where_they_met(joined):
    processes = initialize(
        coordinator="host:1", num_processes=2, process_id=0, local_devices=[3], environment={}
    )
    assert processes == Processes(num_processes=2, process_id=0) and processes.is_main
    [arguments] = joined
    host, port = arguments["coordinator_address"].split(":")
    assert host == "host" and int(port) > 1024
    assert arguments["num_processes"] == 2 and arguments["process_id"] == 0
    assert list(arguments["local_device_ids"]) == [3]


def test_half_set_settings_are_an_error_before_anything_is_joined(joined):
    with pytest.raises(InputError, match="num_processes"):
        initialize(num_processes=2, environment={})
    assert joined == []


def test_two_checkouts_of_one_version_are_told_apart(monkeypatch, tmp_path):
    here = distributed.source_hash()
    (tmp_path / "a.py").write_text("x = 1")
    distributed.source_hash.cache_clear()
    monkeypatch.setattr(distributed, "__file__", str(tmp_path / "distributed.py"))
    assert distributed.source_hash() != here
    distributed.source_hash.cache_clear()


def test_a_signal_before_the_first_step_ends_the_run_at_once():
    with StopSignals(), pytest.raises(RunStopped, match="stopped by SIGTERM"):
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGINT"])
def test_a_signal_between_steps_is_remembered(name):
    with StopSignals() as signals:
        signals.deferred = True
        os.kill(os.getpid(), signal.Signals[name])
        assert signals.asked == name


def test_from_the_keyboard_a_second_signal_ends_at_once():
    with StopSignals() as signals:
        signals.deferred = True
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(
    ("error", "waits"), [(InputError("i"), True), (StorageFailed("s"), True), (RunStopped("r"), False)]
)
def test_what_may_fail_because_a_process_is_gone_lets_the_others_explain(monkeypatch, error, waits):
    called = []

    class Told:
        def __getattr__(self, name):
            return lambda *_: called.append(name)

    monkeypatch.setattr(os, "_exit", called.append)
    with pytest.raises(type(error)), Processes(num_processes=2, process_id=1, peers=Told()):
        raise error
    assert ("let_others_explain" in called) == waits
    assert called[-1] == ending(error)[1]


# --- real processes ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    return folder, small_store(folder / "store")


def recipe_file(world, name: str, *, processes: int, epochs: int = 2, **changes) -> Path:
    folder, store = world
    blocks = {"optimizer": {"epochs": epochs, "learning_rate": 1e-3}, **changes}
    recipe = small_recipe(store, folder / name, parallelism={"data": processes}, **blocks)
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def journal(output: Path, process: int = 0) -> list[dict]:
    path = output / "logs" / f"process-{process:05d}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def trained_steps(output: Path, processes: int) -> dict[int, tuple[float, int]]:
    """Of each step the loss, and the digest of what all processes fed."""
    found: dict[int, tuple[float, int]] = {}
    for process in range(processes):
        for line in journal(output, process):
            if line["event"] == "step":
                loss, digest = found.get(line["step"], (line["loss"], 0))
                assert loss == line["loss"]
                found[line["step"]] = loss, (digest + int(line["digest"], 16)) % 2**64
    return found


@pytest.mark.slow
def test_one_two_and_four_processes_train_and_simulate_alike(world):
    """Invariant 5: the same batches in the same order, and so the same losses."""
    found = {}
    for processes in (1, 2, 4):
        path = recipe_file(world, f"alike{processes}", processes=processes)
        ended = start([(*TRAIN, path)] * processes, world[0] / f"alike{processes}.log").wait()
        assert [one.status for one in ended] == [0] * processes, ended[0].errors
        assert [("trained:" in one.output) for one in ended] == [True] + [False] * (processes - 1)
        found[processes] = trained_steps(world[0] / f"alike{processes}", processes)
    for processes in (2, 4):
        assert found[processes].keys() == found[1].keys()
        for step, (loss, digest) in found[1].items():
            assert found[processes][step][0] == pytest.approx(loss, rel=1e-5)
            assert found[processes][step][1] == digest

    # And these are the batches of the plan.
    recipe = parse_recipe(yaml.safe_load((world[0] / "alike1.yaml").read_text()), where="test")
    shards = prepare(recipe).shards
    plan = BatchPlan(shards.lengths, rows=8, tokens_per_row=512, branches_per_tree=4, seed=0)
    source = PlannedRows(shards, plan, steps=plan.steps(2), micro_batches=1, own=slice(0, 8))
    planned = {step + 1: source.digest(source[step]) for step in range(len(source))}
    assert {step: digest for step, (_, digest) in found[1].items()} == planned

    # A model of one of these runs predicts the same with any number of processes.
    simulate = (sys.executable, "-m", "socsci_jax", "simulate", world[0] / "alike2", world[1].path)
    tables = []
    for processes in (1, 2):
        table = world[0] / "predictions.parquet"
        ended = start([(*simulate, "-o", table)] * processes, world[0] / f"simulate{processes}.log").wait()
        assert [one.status for one in ended] == [0] * processes, ended[0].errors
        tables.append(table.read_bytes())
        table.unlink()
    assert tables[0] == tables[1]


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_at_the_same_step_with_a_checkpoint(world):
    path = recipe_file(world, "asked", processes=2, epochs=200, checkpoints={"every_steps": 100})
    output = world[0] / "asked"
    run = start([(*TRAIN, path)] * 2, world[0] / "asked.log")
    run.wait_for(lambda: any(line["event"] == "step" for line in journal(output, 1)))
    run.running[1].send_signal(signal.SIGTERM)
    ended = run.wait()
    assert [one.status for one in ended] == [STOPPED, STOPPED], ended[0].errors
    last = {process: journal(output, process)[-2:] for process in (0, 1)}
    steps = {line["step"] for lines in last.values() for line in lines if line["event"] == "stopped"}
    assert len(steps) == 1
    [step] = steps
    assert f"stopped by a signal after step {step} of" in ended[0].last_sentence
    assert (output / "checkpoints" / str(step)).is_dir()


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_process_that_is_killed_is_named_by_the_others_at_once(world, killed):
    path = recipe_file(world, f"killed{killed}", processes=2, epochs=200)
    output = world[0] / f"killed{killed}"
    run = start([(*TRAIN, path)] * 2, world[0] / f"killed{killed}.log")
    run.wait_for(lambda: any(line["event"] == "step" for line in journal(output)))
    run.running[killed].kill()
    ended = run.wait()
    other = ended[1 - killed]
    assert other.status == LOST
    assert other.last_sentence.startswith(f"process {killed} (pid {run.running[killed].pid} on ")
    assert "is gone: it was killed" in other.last_sentence


@pytest.mark.slow
def test_two_processes_sum_over_both(tmp_path):
    script = tmp_path / "sum.py"
    script.write_text(
        "from socsci_jax.distributed.processes import initialize\n"
        "with initialize() as me:\n"
        "    import jax\n"
        "    add = jax.pmap(lambda x: jax.lax.psum(x, 'all'), axis_name='all')\n"
        "    total = add(jax.numpy.array([me.process_id + 1.0])).addressable_data(0).squeeze()\n"
        "    print(f'{me.process_id}-of-{me.num_processes}: {jax.device_count()} {float(total)}')\n"
    )
    ended = start([(sys.executable, script)] * 2, tmp_path).wait(120)
    assert [one.output.splitlines()[-1] for one in ended] == ["0-of-2: 2 3.0", "1-of-2: 2 3.0"]
