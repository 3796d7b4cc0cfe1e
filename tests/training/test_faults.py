"""What goes wrong in a run of several processes ends it within a minute, with one clear sentence on every process.

Nothing is lost: what was saved before is there, and the same command resumes from it.
"""

import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml
from several import ENVIRONMENT, TRAIN, start
from small import small_recipe, small_store

from socsci_jax.data.loader import PlannedRows
from socsci_jax.errors import BAD_INPUT, LOST, NON_FINITE, STALLED, InputError, NonFinite
from socsci_jax.training.checkpoint_reader import CheckpointReader
from socsci_jax.training.loop import train
from socsci_jax.training.recipe_files import parse_recipe
from socsci_jax.training.run import RunFolder

MINUTE = 60


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    return folder, small_store(folder / "store")


def recipe_of(world, name: str, *, processes: int = 1, **changes) -> dict:
    return small_recipe(world[1], world[0] / name, parallelism={"data": processes}, **changes)


def written(world, name: str, recipe: dict):
    path = world[0] / f"{name}.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def events(output) -> list[str]:
    path = output / "logs" / "process-00000.jsonl"
    if not path.is_file():
        return []
    # A full disk leaves its last line half written.
    return [json.loads(line)["event"] for line in path.read_text().splitlines(True) if line.endswith("\n")]


def assert_ended(ended, *, status: int, sentence: str) -> None:
    for one in ended:
        assert one.status == status, one.errors
        assert sentence in one.last_sentence, one.errors
        # Libraries may have reported in their own way before; the last word is the sentence.
        assert one.errors.splitlines()[-1] == f"error: {one.last_sentence}"


# --- before the first step --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_process_with_another_recipe(world):
    one = written(world, "one", recipe_of(world, "one", processes=2))
    other = written(world, "other", recipe_of(world, "one", processes=2, seed=1))
    ended = start([(*TRAIN, one), (*TRAIN, other)], world[0] / "recipes.log").wait(MINUTE)
    assert_ended(ended, status=BAD_INPUT, sentence=" has recipe ")
    assert "process 1 (pid " in ended[0].last_sentence and ended[0].last_sentence == ended[1].last_sentence
    assert not (world[0] / "one").exists()


@pytest.mark.slow
def test_a_process_that_dies_before_it_has_joined(world):
    path = written(world, "early", recipe_of(world, "early", processes=3))
    commands = [(*TRAIN, path), (*TRAIN, path), (sys.executable, "-c", "raise SystemExit(9)")]
    several = start(commands, world[0] / "early.log", environment={"SOCSCI_JAX_START_SECONDS": "25"})
    first, second, _ = several.wait(MINUTE)
    assert_ended(
        [first, second], status=LOST, sentence="2 of 3 processes came within 25 s; process 2 did not"
    )
    assert not (world[0] / "early").exists()


@pytest.mark.slow
def test_a_process_whose_clock_is_wrong(world):
    path = written(world, "clock", recipe_of(world, "clock", processes=2))
    late = f"import sys, time; now = time.time; time.time = lambda: now() - 5000; sys.argv[1:] = ['train', {str(path)!r}]"
    commands = [(*TRAIN, path), (sys.executable, "-c", f"{late}; from socsci_jax.cli import main; main()")]
    # The wrong clock is that of this very program, which must not be started anew.
    ended = start(commands, world[0] / "clock.log", environment={"GLIBC_TUNABLES": ""}).wait(MINUTE)
    assert_ended(ended, status=BAD_INPUT, sentence="5,000 s behind that of process 0")


@pytest.mark.slow
def test_an_output_folder_that_cannot_be_written(world):
    path = written(world, "readonly", recipe_of(world, "disk/readonly", processes=2))
    folder = world[0] / "disk"
    folder.mkdir()
    ended = on_own_disk(folder, "ro", path, log=world[0] / "readonly.log")
    assert_ended(ended, status=BAD_INPUT, sentence="this is read-only; give a folder that can be written")


# --- while it runs ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_disk_that_fills_up_during_a_save(world):
    checkpoints = {"every_steps": 2, "keep": 1000}
    optimizer = {"epochs": 400, "learning_rate": 1e-3}
    recipe = recipe_of(world, "small/full", processes=2, checkpoints=checkpoints, optimizer=optimizer)
    path = written(world, "full", recipe)
    folder = world[0] / "small"
    folder.mkdir()
    # What was on the small disk is copied from it before it goes away.
    kept = world[0] / "kept"
    ended = on_own_disk(folder, "size=3m", path, log=world[0] / "full.log", copy_to=kept, wait=4 * MINUTE)
    assert_ended(ended, status=BAD_INPUT, sentence="there is no space left; free some")
    saved = CheckpointReader(kept / "full" / "checkpoints").steps()
    assert saved and f"the last complete checkpoint is that of step {saved[-1]}" in ended[0].last_sentence
    # With room again the run resumes.
    shutil.move(kept / "full", folder / "full")
    lines = len(events(folder / "full"))
    several = start([(*TRAIN, path)] * 2, world[0] / "again.log")
    several.wait_for(lambda: "step" in events(folder / "full")[lines:])
    several.running[0].terminate()
    assert [one.status for one in several.wait(MINUTE)] == [75, 75]
    begins = [
        json.loads(line)
        for line in (folder / "full" / "logs" / "process-00000.jsonl").read_text().splitlines()
        if '"begins"' in line
    ]
    assert begins[-1]["first_step"] == saved[-1]


def on_own_disk(folder, options: str, recipe, *, log, copy_to=None, wait: float = MINUTE):
    """Two processes for which a disk of its own is mounted at `folder`, in a namespace of theirs."""
    log.mkdir()
    copy = f"; cp -a {folder} {copy_to}" if copy_to else ""
    one = f"{sys.executable} -m socsci_jax train {recipe} > {log}/$i.out 2> {log}/$i.err"
    script = (
        f"mount -t tmpfs -o {options} none {folder} || exit 99; "
        f"for i in 0 1; do (SOCSCI_JAX_PROCESS_ID=$i {one}; echo $? > {log}/$i.status) & done; wait{copy}"
    )
    from several import Ended, free_port

    shared = {"SOCSCI_JAX_COORDINATOR": f"127.0.0.1:{free_port()}", "SOCSCI_JAX_NUM_PROCESSES": "2"}
    begun = time.monotonic()
    if shutil.which("unshare") is None:
        pytest.skip("no unshare: cannot mount a disk of its own for a test")
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script], env=os.environ | ENVIRONMENT | shared, timeout=wait
    )
    if done.returncode in (1, 99):
        pytest.skip("this system lets nobody mount a disk of its own")
    return [
        Ended(
            status=int((log / f"{i}.status").read_text()),
            output=(log / f"{i}.out").read_text(),
            errors=(log / f"{i}.err").read_text(),
            seconds=time.monotonic() - begun,
        )
        for i in (0, 1)
    ]


@pytest.mark.slow
def test_a_gradient_that_is_no_number(world):
    optimizer = {"epochs": 4, "learning_rate": 1e30}
    path = written(world, "nan", recipe_of(world, "nan", processes=2, optimizer=optimizer))
    ended = start([(*TRAIN, path)] * 2, world[0] / "nan.log").wait(4 * MINUTE)
    assert_ended(ended, status=NON_FINITE, sentence=" is not finite; its batch holds ")
    assert "the last good checkpoint is " in ended[0].last_sentence
    output = world[0] / "nan"
    [line] = [
        json.loads(line)
        for line in (output / "logs" / "process-00001.jsonl").read_text().splitlines()
        if '"not_finite"' in line
    ]
    assert line["ids"] and set(line["ids"]) <= world[1].item_by_id.keys()


@pytest.mark.slow
def test_a_process_that_hangs(world):
    limits = {"slow_step": 10, "seconds": 5, "other_seconds": 120}
    optimizer = {"epochs": 20, "learning_rate": 1e-3}
    recipe = recipe_of(world, "hangs", processes=2, watchdog=limits, optimizer=optimizer)
    path = written(world, "hangs", recipe)
    hangs = (
        "import sys, time; from socsci_jax.data.loader import PlannedRows; read = PlannedRows.__getitem__; "
        "PlannedRows.__getitem__ = lambda rows, step: time.sleep(1000) if step == 20 else read(rows, step); "
        f"sys.argv[1:] = ['train', {str(path)!r}]; from socsci_jax.cli import main; main()"
    )
    ended = start([(*TRAIN, path), (sys.executable, "-c", hangs)], world[0] / "hangs.log").wait(2 * MINUTE)
    assert_ended(ended, status=STALLED, sentence="this run hangs and is ended")
    assert ended[0].last_sentence == ended[1].last_sentence
    logs = world[0] / "hangs" / "logs"
    stacks = [text.read_text() for text in sorted(logs.glob("*stacks*"))]
    assert len(stacks) == 2 and all(ended[0].last_sentence in text for text in stacks)
    # Those of the process at fault show where it stands.
    assert 'File "<string>", line 1 in <lambda>' in stacks[1] and "<lambda>" not in stacks[0]
    # Nothing is lost: every second step is saved, the 21st could not be taken.
    assert CheckpointReader(world[0] / "hangs" / "checkpoints").latest() in (18, 20)


# --- in one process ---------------------------------------------------------------------------------------------------


def poisoned(monkeypatch, *steps: int) -> None:
    """The weights of one answer in these steps (counted from 0) are not numbers."""
    original = PlannedRows.__getitem__

    def read(self, step):
        arrays = original(self, step)
        if step in steps:
            arrays["slot_weight"].reshape(-1)[0] = np.nan
        return arrays

    monkeypatch.setattr(PlannedRows, "__getitem__", read)


def metrics(output) -> list[dict]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_steps_that_are_not_finite_are_left_out_if_the_recipe_allows_so_many(world, monkeypatch):
    optimizer = {"epochs": 2, "learning_rate": 1e-2, "skip_nonfinite_steps": 1}
    recipe = parse_recipe(recipe_of(world, "skips", optimizer=optimizer), where="test")
    poisoned(monkeypatch, 2)
    train(recipe)
    last = metrics(world[0] / "skips")[-1]
    assert last["skipped_steps"] == 1 and np.isfinite(last["loss"])
    checkpoints = CheckpointReader(RunFolder(world[0] / "skips").checkpoints)
    assert checkpoints.metadata(checkpoints.latest())["skipped"] == [3]


@pytest.mark.slow
def test_one_step_more_than_allowed_ends_the_run_and_loses_nothing(world, monkeypatch):
    optimizer = {"epochs": 2, "learning_rate": 1e-2, "skip_nonfinite_steps": 1}
    recipe = parse_recipe(recipe_of(world, "skips2", optimizer=optimizer), where="test")
    poisoned(monkeypatch, 2, 4)
    with pytest.raises(NonFinite, match=r"step 5: the loss is not finite; its batch holds .*that of step 4"):
        train(recipe)


@pytest.mark.slow
def test_a_byte_that_is_flipped_in_a_training_shard(world):
    name = "flipped"
    recipe = parse_recipe(recipe_of(world, name, data=own_shards(world, name)), where="test")
    shards = sorted((world[0] / name / "store" / "shards").glob("shards-*"))
    assert shards == []
    train(recipe.model_copy(update={"output": world[0] / name / "first"}))
    [folder] = (world[0] / name / "store" / "shards").glob("shards-*")
    file = folder / "branches-00000.array_record"
    content = bytearray(file.read_bytes())
    of_records = np.flatnonzero(np.frombuffer(content, np.uint8))  # the rest is padding
    content[of_records[len(of_records) // 2]] ^= 1
    file.write_bytes(content)
    with pytest.raises(
        InputError, match=rf"{folder}: record \d+ of branches is damaged .*; delete this folder"
    ):
        train(recipe.model_copy(update={"output": world[0] / name / "second"}))


def own_shards(world, name: str) -> dict:
    store = world[0] / name / "store"
    store.parent.mkdir()
    shutil.copytree(world[1].path, store, ignore=shutil.ignore_patterns("shards"))
    return {"store": str(store), "split": "main"}
