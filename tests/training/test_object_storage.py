"""Checkpoints in object storage are written, read and quarantined as on a disk."""

import asyncio
import json
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import yaml
from bucket import BUCKET, bucket, failing
from etils import epath
from saved_arrays import abstract, arrays, flip_a_byte, placed
from several import TRAIN, start
from small import small_recipe, small_store

from socsci_jax.distributed.peers import Peers
from socsci_jax.errors import BAD_INPUT, STORAGE_FAILED, StorageFailed
from socsci_jax.training.checkpoint_reader import CheckpointReader
from socsci_jax.training.checkpoint_writer import CheckpointWriter


@pytest.fixture(scope="module")
def environment():
    with bucket() as found, pytest.MonkeyPatch.context() as patch:
        for name, value in found.items():
            patch.setenv(name, value)
        yield found


def names(folder: epath.Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.slow
def test_what_is_restored_is_what_was_saved_and_old_ones_go(environment):
    folder = epath.Path(f"gs://{BUCKET}/kept")
    with CheckpointWriter(folder, keep=2) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, state=placed(arrays(step)), metadata={"next_step": step})
    assert names(folder) == ["2", "2.json", "3", "3.json"]
    like = abstract(placed(arrays(), devices=2))
    found = CheckpointReader(folder).restore_newest(abstract_state=like, peers=Peers())
    assert found.step == 3 and found.metadata["next_step"] == 3
    jax.tree.map(np.testing.assert_array_equal, found.state, arrays(3))


@pytest.mark.slow
def test_a_damaged_newest_checkpoint_is_quarantined_for_the_one_before(environment):
    folder = epath.Path(f"gs://{BUCKET}/damaged")
    with CheckpointWriter(folder, keep=2) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, state=placed(arrays(step)), metadata={"next_step": step})
    of_arrays = folder / "2" / "state" / "d"
    flip_a_byte(max(of_arrays.iterdir(), key=lambda path: path.stat().length))
    like = abstract(placed(arrays()))
    found = CheckpointReader(folder).restore_newest(abstract_state=like, peers=Peers())
    assert found.step == 1 and f"gs://{BUCKET}/damaged/2: this checkpoint" in found.damaged[0]
    assert names(folder / "damaged") == ["2-0", "2-0.json", "2-0.txt"]


def test_a_folder_that_goes_away_between_two_looks_holds_nothing(environment, monkeypatch):
    """Another process has just taken away the only file in it."""
    checkpoints = CheckpointReader(f"gs://{BUCKET}/gone")
    monkeypatch.setattr(type(checkpoints.folder), "is_dir", lambda _: True)
    assert checkpoints.steps() == []


@pytest.mark.parametrize(
    "what",
    ["", *(pytest.param(part, marks=pytest.mark.slow) for part in (".json", "/d/"))],
    ids=["everything", "the metadata", "the arrays"],
)
def test_storage_that_fails_for_a_while_is_not_taken_for_a_damaged_checkpoint(environment, monkeypatch, what):
    import gcsfs.retry  # takes a second, and every worker imports this file

    # It tries again for half a minute.
    monkeypatch.setattr(gcsfs.retry, "asyncio", SimpleNamespace(sleep=lambda _: asyncio.sleep(0)))
    folder = epath.Path(f"gs://{BUCKET}/fails{len(what)}")
    with CheckpointWriter(folder, keep=2) as checkpoints:
        checkpoints.save(1, state=placed(arrays(1)), metadata={"next_step": 1})
    like = abstract(placed(arrays()))
    checkpoints = CheckpointWriter(folder, keep=2)
    with failing(environment, what):
        with pytest.raises(StorageFailed):
            checkpoints.save(2, state=placed(arrays(2)), metadata={"next_step": 2})
            checkpoints.wait()
        with pytest.raises(StorageFailed, match="does not answer as it should"):
            CheckpointReader(folder).restore_newest(abstract_state=like, peers=Peers())
    found = CheckpointReader(folder).restore_newest(abstract_state=like, peers=Peers())
    assert found.step == 1 and not found.damaged


@pytest.mark.slow
def test_two_processes_go_on_after_their_storage_failed(environment, tmp_path):
    """And end with the same bits as a run whose checkpoints are on a disk."""
    store = small_store(tmp_path / "store")

    def recipe(name: str, **checkpoints):
        checkpoints |= {"every_steps": 2, "keep": 2}
        blocks = {"optimizer": {"epochs": 4, "learning_rate": 1e-3}, "checkpoints": checkpoints}
        path = tmp_path / f"{name}.yaml"
        path.write_text(
            yaml.safe_dump(small_recipe(store, tmp_path / name, parallelism={"data": 2}, **blocks))
        )
        return path

    def run(path, name: str):
        return start([(*TRAIN, path)] * 2, tmp_path / f"{name}.log")

    def losses(name: str) -> list[float]:
        return [json.loads(line)["loss"] for line in (tmp_path / name / "metrics.jsonl").open()]

    assert [one.status for one in run(recipe("disk"), "disk").wait()] == [0, 0]
    path = recipe("stored", folder=f"gs://{BUCKET}/run")
    several = run(path, "first")
    checkpoints = CheckpointReader(f"gs://{BUCKET}/run")
    several.wait_for(lambda: checkpoints.latest() is not None)
    with failing(environment, "/d/"):
        ended = several.wait()
    assert [one.status for one in ended] == [STORAGE_FAILED] * 2, ended[0].errors
    assert all("a checkpoint could not be written (" in one.last_sentence for one in ended)
    stopped = checkpoints.latest()
    assert [one.status for one in run(path, "second").wait()] == [0, 0]
    assert stopped < checkpoints.latest()
    assert not (tmp_path / "stored" / "checkpoints").exists()
    on_disk = CheckpointReader(tmp_path / "disk" / "checkpoints")
    assert checkpoints.latest() == on_disk.latest()
    # Equal bits: the same sums of every array.
    of_both = [each.metadata(each.latest())["digests"] for each in (checkpoints, on_disk)]
    assert of_both[0] == of_both[1]
    assert losses("stored")[-1] == losses("disk")[-1]


@pytest.mark.slow
def test_a_bucket_that_is_not_there_is_one_sentence(environment, tmp_path):
    recipe = small_recipe(
        small_store(tmp_path / "store"),
        tmp_path / "run",
        checkpoints={"folder": "gs://nowhere/run", "every_steps": 2},
    )
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    [ended] = start([(*TRAIN, path)], tmp_path / "log").wait(60)
    assert ended.status == BAD_INPUT, ended.errors
    assert "gs://nowhere/run" in ended.last_sentence
