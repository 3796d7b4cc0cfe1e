"""Checkpoints are kept as the recipe says and trusted only if every array is as it was saved."""

import jax
import numpy as np
import pytest
from saved_arrays import abstract, arrays, flip_a_byte, placed

from socsci_jax.distributed.peers import Peers
from socsci_jax.errors import InputError
from socsci_jax.training import checkpoint_writer as module
from socsci_jax.training.checkpoint_reader import CheckpointReader
from socsci_jax.training.checkpoint_writer import CheckpointWriter
from socsci_jax.training.digest import device_digests, digest_texts, host_digest, to_text


def saved(folder, *, steps=(1, 2, 3), keep: int = 10, keep_every: int | None = None) -> CheckpointReader:
    with CheckpointWriter(folder, keep=keep, keep_every=keep_every) as checkpoints:
        for step in steps:
            checkpoints.save(step, state=placed(arrays(step)), metadata={"next_step": step})
            checkpoints.wait()
    return CheckpointReader(folder)


def largest_file(folder):
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def truncate(path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def restored(checkpoints, *, devices: int = 1):
    like = abstract(placed(arrays(), devices=devices))
    return checkpoints.restore_newest(abstract_state=like, peers=Peers())


# --- digests ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("devices", [2, 8])
def test_a_digest_does_not_depend_on_the_devices(devices):
    tree = {"a": np.arange(64, dtype=np.float32).reshape(16, 4), "b": np.ones(8, np.int32)}
    many, one = (digest_texts(device_digests(placed(tree, devices=n))) for n in (devices, 1))
    assert many == one


@pytest.mark.parametrize("name", ["matrix", "half", "step"])
def test_digests_of_parts_add_up_to_that_of_the_devices(name):
    array = np.asarray(arrays()[name])
    flat = array.reshape(-1)
    cut = flat.size // 3
    parts = host_digest(flat[:cut]) + host_digest(flat[cut:], first=cut)
    assert to_text(parts) == to_text(device_digests({name: array})[name])


def test_every_bit_and_every_place_counts():
    array = np.arange(1000, dtype=np.float32)
    whole = to_text(host_digest(array))
    bits = array.view(np.uint32)
    for place in (0, 500, 999):
        for bit in (0, 15, 31):
            other = bits.copy()
            other[place] ^= np.uint32(1 << bit)
            assert to_text(host_digest(other.view(np.float32))) != whole
    assert to_text(host_digest(array[[1, 0, *range(2, 1000)]])) != whole


# --- retention --------------------------------------------------------------------------------------------------------


def test_the_newest_are_kept_and_for_good_those_of_every_so_many_steps(tmp_path):
    assert saved(tmp_path / "c", steps=range(1, 8), keep=2, keep_every=3).steps() == [3, 6, 7]


def test_an_incomplete_removal_is_finished_by_the_next_run(tmp_path):
    folder = saved(tmp_path / "c", steps=(1, 2)).folder
    (folder / "1.json").rename(folder / f"1{module.REMOVED}")
    assert CheckpointReader(folder).steps() == [2]
    with CheckpointWriter(folder, keep=2):
        assert sorted(path.name for path in folder.iterdir()) == ["2", "2.json"]


def test_metadata_are_those_of_the_moment_of_the_save(tmp_path, monkeypatch):
    """A run adds to its metrics while they are written."""
    metadata = {"metrics": {"loss": 1.0}}
    original = module.metadata_hash

    def changed_meanwhile(of: dict) -> str:
        found = original(of)
        metadata["metrics"]["pause"] = 0.1
        return found

    with CheckpointWriter(tmp_path / "c", keep=2) as checkpoints:
        with monkeypatch.context() as patch:
            patch.setattr(module, "metadata_hash", changed_meanwhile)
            checkpoints.save(1, state=placed(arrays()), metadata=metadata)
            checkpoints.wait()
        assert checkpoints.reader.metadata(1)["metrics"] == {"loss": 1.0}


# --- damage -----------------------------------------------------------------------------------------------------------


def test_without_a_checkpoint_there_is_nothing_to_restore(tmp_path):
    assert restored(CheckpointReader(tmp_path / "c")) is None


@pytest.mark.parametrize("devices", [1, 8])
def test_what_is_restored_is_what_was_saved_on_any_mesh(tmp_path, devices):
    found = restored(saved(tmp_path / "c"), devices=devices)
    assert found.step == 3 and found.metadata["next_step"] == 3 and found.damaged == ()
    jax.tree.map(np.testing.assert_array_equal, found.state, arrays(3))


@pytest.mark.parametrize("damage", [flip_a_byte, truncate, lambda path: path.unlink()])
@pytest.mark.parametrize("part", ["3/state", "3.json"])
def test_a_damaged_newest_checkpoint_is_quarantined_for_the_one_before(tmp_path, damage, part):
    checkpoints = saved(tmp_path / "c")
    part = tmp_path / "c" / part
    damage(part if part.is_file() else largest_file(part))
    if not part.exists():  # without its metadata a checkpoint is not complete
        assert checkpoints.steps() == [1, 2]
        return
    found = restored(checkpoints)
    assert found.step == 2
    jax.tree.map(np.testing.assert_array_equal, found.state, arrays(2))
    [sentence] = found.damaged
    assert sentence.startswith(f"{tmp_path / 'c' / '3'}: this checkpoint ") and "damaged" in sentence
    assert checkpoints.steps() == [1, 2]
    quarantine = tmp_path / "c" / "damaged"
    assert {path.name for path in quarantine.iterdir()} == {"3-0", "3-0.json", "3-0.txt"}  # nothing is lost
    assert (quarantine / "3-0.txt").read_text() == f"{sentence}\n"


def test_an_array_that_reads_well_but_is_not_what_was_saved_is_damage(tmp_path):
    """As a disk, a network or a device that errs in silence would leave it."""
    checkpoints = saved(tmp_path / "c", steps=(1, 2))
    other = saved(tmp_path / "other", steps=(9,)).folder / "9" / "state"
    state = tmp_path / "c" / "2" / "state"
    state.rename(tmp_path / "was")
    other.rename(state)
    found = restored(checkpoints)
    assert found.step == 1
    assert "['half'] and 1 more is not as it was saved" in found.damaged[0]


def test_if_every_checkpoint_is_damaged_all_stay_where_they_are(tmp_path):
    checkpoints = saved(tmp_path / "c", steps=(1, 2))
    for step in (1, 2):
        flip_a_byte(largest_file(tmp_path / "c" / str(step) / "state"))
    with pytest.raises(InputError, match="no checkpoint of this run is whole"):
        restored(checkpoints)
    assert CheckpointReader(tmp_path / "c").steps() == [1, 2]


def test_parameters_that_are_not_as_they_were_saved_are_refused(tmp_path):
    params = placed(arrays())
    with CheckpointWriter(tmp_path / "c", keep=2) as checkpoints:
        checkpoints.save(1, state={"params": params}, metadata={})
    checkpoints = checkpoints.reader
    checkpoints.check_params(1, params)
    checkpoints.check_stored(1)
    with pytest.raises(InputError, match=r"\['params'\]\['half'\] and 1 more is not as it was saved"):
        checkpoints.check_params(1, placed(arrays(1)))
    flip_a_byte(largest_file(tmp_path / "c" / "1" / "state"))
    with pytest.raises(InputError, match="damaged"):
        checkpoints.check_stored(1)
