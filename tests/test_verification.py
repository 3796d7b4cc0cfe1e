"""Comparing checkpoints: what is equal is reported as equal, and a single flipped bit is found and located."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from small import write_run_metadata
from tiny_models import huggingface_model, save

from socsci_jax.errors import InputError
from socsci_jax.models.huggingface import load_checkpoint
from socsci_jax.models.sharding import make_mesh
from socsci_jax.training.checkpoint_writer import CheckpointWriter
from socsci_jax.training.recipe_files import parse_recipe
from socsci_jax.training.run import RunFolder
from socsci_jax.verification import tensors
from socsci_jax.verification.compare import compare
from socsci_jax.verification.tensors import tensor_difference

torch = pytest.importorskip("torch")

NAME = "model.layers.1.mlp.up_proj.weight"


@pytest.fixture
def folder(tmp_path) -> Path:
    """A Hugging Face folder of float32 weights in one file."""
    source = save(huggingface_model("qwen3"), tmp_path / "a")
    (source / "tokenizer.json").write_text("{}")
    return source


def copied(folder: Path, **changes: np.ndarray | None) -> Path:
    """The folder again with other tensors; None leaves one out."""
    other = Path(shutil.copytree(folder, folder.parent / "b"))
    tensors = {**load_file(folder / "model.safetensors"), **changes}
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    save_file(kept, other / "model.safetensors", metadata={"format": "pt"})
    return other


def flipped(array: np.ndarray, index: tuple[int, ...]) -> np.ndarray:
    """The array with the lowest bit of one value flipped."""
    changed = array.copy()
    changed.view(np.uint32)[index] ^= 1
    return changed


def as_run(folder: Path, path: Path, *, change=lambda params: params) -> RunFolder:
    """A run whose checkpoints of steps 3 and 5 hold the folder's parameters, the newest one changed."""
    loaded = load_checkpoint(folder, mesh=make_mesh(data=2, fsdp=2, tensor=2))
    run = RunFolder(path)
    run.tokenizer.mkdir(parents=True)
    write_run_metadata(path)
    recipe = {
        "name": "verified",
        "hardware": "1xcpu",
        "output": path,
        "model": {"init_from": str(folder)},
        "data": {"store": "store", "split": "main"},
        "batch": {"rows": 1, "tokens_per_row": 64, "branches_per_tree": 1},
        "optimizer": {"epochs": 1, "learning_rate": 1e-3},
        "checkpoints": {"every_steps": 1},
    }
    (path / "recipe.yaml").write_text(parse_recipe(recipe, where="test").rendered())
    run.model_config.write_bytes(loaded.config_json)
    for name in ("tokenizer.json", "generation_config.json"):
        shutil.copyfile(folder / name, run.tokenizer / name)
    checkpoints = CheckpointWriter(run.checkpoints, keep=2)
    for step, params in ((3, loaded.params), (5, change(loaded.params))):
        state = {"params": params, "optimizer": jnp.zeros(3), "step": jnp.int32(step)}
        checkpoints.save(step, state=state, metadata={})
    checkpoints.close()
    return run


def test_a_sharded_copy_is_equal(folder, tmp_path):
    other = save(huggingface_model("qwen3"), tmp_path / "sharded", max_shard_size="8KB")
    shutil.copyfile(folder / "tokenizer.json", other / "tokenizer.json")
    assert len(list(other.glob("*.safetensors"))) > 1
    found = compare(str(folder), str(other))
    assert found.all_equal
    assert set(found.equal) == set(load_file(folder / "model.safetensors"))


def test_one_flipped_bit_is_found_and_located(folder):
    before = load_file(folder / "model.safetensors")[NAME]
    other = copied(folder, **{NAME: flipped(before, (40, 7))})
    found = compare(str(folder), str(other))
    [tensor] = found.different
    assert (tensor.name, tensor.differing, tensor.index) == (NAME, 1, (40, 7))
    assert tensor.values[0] == before[40, 7]
    assert tensor.largest == abs(tensor.values[0] - tensor.values[1]) > 0
    assert not found.all_equal and not found.files and not found.config


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_run_equals_the_folder_that_it_holds(tmp_path, dtype):
    folder = save(huggingface_model("llama"), tmp_path / "folder", dtype=dtype)
    (folder / "tokenizer.json").write_text("{}")
    run = as_run(folder, tmp_path / "run")
    assert compare(str(run.path), str(folder)).all_equal


def test_a_bit_flipped_in_a_run_is_located_where_hugging_face_has_it(folder, tmp_path):
    """Our maps are stacked and transposed: up_proj of layer 1 is [1, in, out] here and [out, in] there."""

    def change(params):
        changed = jax.tree.map(lambda leaf: leaf, params)
        up_proj = changed["model"]["layers"]["mlp"]["up_proj"]
        up_proj["weight"] = jax.device_put(
            flipped(np.asarray(up_proj["weight"]), (1, 7, 40)), up_proj["weight"].sharding
        )
        return changed

    run = as_run(folder, tmp_path / "run", change=change)
    [tensor] = compare(str(run.path), str(folder)).different
    assert (tensor.name, tensor.index) == (NAME, (40, 7))
    assert compare(str(run.checkpoints / "3"), str(folder)).all_equal
    assert len(compare(str(run.checkpoints / "3"), str(run.path)).different) == 1


def test_other_dtypes_are_said_and_the_values_compared(folder, tmp_path):
    model = huggingface_model("qwen3").to(torch.bfloat16)
    narrow = save(model, tmp_path / "narrow", dtype=torch.bfloat16)
    found = compare(str(folder), str(narrow))
    assert not found.equal
    assert {tensor.dtypes for tensor in found.different} == {("float32", "bfloat16")}
    for tensor in found.different:
        rounding = abs(tensor.values[0]) * 2**-8
        assert 0 < tensor.largest <= rounding
    wide = save(model, tmp_path / "wide", dtype=torch.float32)
    for tensor in compare(str(wide), str(narrow)).different:
        assert (tensor.differing, tensor.largest, tensor.index) == (0, 0.0, None)


def test_what_one_side_alone_has_or_has_in_another_shape(folder):
    other = copied(
        folder,
        **{
            NAME: np.zeros((48, 31), np.float32),
            "model.norm.weight": None,
            "extra.weight": np.zeros(3, np.float32),
        },
    )
    found = compare(str(folder), str(other))
    assert found.only == (("model.norm.weight",), ("extra.weight",))
    [tensor] = found.different
    assert tensor.shapes == ((48, 32), (48, 31)) and tensor.largest is None


def test_config_is_compared_key_by_key_and_files_by_their_content(folder):
    other = copied(folder)
    config = json.loads((folder / "config.json").read_text())
    config["rope_parameters"]["rope_theta"] = 5.0
    del config["hidden_act"]
    (other / "config.json").write_text(json.dumps(config, indent=7))
    (other / "tokenizer.json").write_text("{ }")
    (other / "vocab.json").write_text("{}")
    found = compare(str(folder), str(other))
    assert found.config == {
        "rope_parameters.rope_theta": ("1000000.0", "5.0"),
        "hidden_act": ('"silu"', None),
    }
    assert set(found.files) == {"tokenizer.json", "vocab.json"}
    assert found.files["vocab.json"][0] is None
    assert not found.different and not found.all_equal


def test_values_are_compared_by_their_bits(monkeypatch):
    monkeypatch.setattr(tensors, "PIECE", 4)
    a = np.array([[1, np.nan, np.inf], [0, -2, 3]], np.float32)
    assert tensor_difference("x", a, a.copy()) is None
    b = a.copy()
    b[1, 0] = -0.0
    found = tensor_difference("x", a, b)
    assert (found.differing, found.largest, found.index) == (1, 0.0, (1, 0))
    b[1, 2], b[1, 1] = 3.5, -2.25
    found = tensor_difference("x", a, b)
    assert (found.differing, found.largest, found.index) == (3, 0.5, (1, 2))
    b[0, 0] = np.nan
    found = tensor_difference("x", a, b)
    assert np.isnan(found.largest) and found.index == (0, 0)


def test_a_tensor_without_dimensions_is_compared(folder):
    other = copied(folder, scale=np.array(2, np.float32))
    shutil.copyfile(other / "model.safetensors", folder / "model.safetensors")
    assert compare(str(folder), str(other)).all_equal


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda b: shutil.rmtree(b), "no such folder"),
        (lambda b: (b / "model.safetensors").unlink(), "has neither model.safetensors nor"),
        (lambda b: (b / "model.safetensors").write_bytes(b"\x08"), "damaged or truncated"),
        (lambda b: (b / "config.json").write_text("{"), "not valid JSON"),
    ],
)
def test_a_side_that_is_no_checkpoint_is_named(folder, break_it, message):
    other = copied(folder)
    break_it(other)
    with pytest.raises(InputError, match=message):
        compare(str(folder), str(other))


def test_a_step_that_a_run_does_not_have_is_named(folder, tmp_path):
    run = as_run(folder, tmp_path / "run")
    with pytest.raises(InputError, match="no checkpoint of step 4; there are 3, 5"):
        compare(str(run.checkpoints / "4"), str(folder))


@pytest.mark.slow
def test_the_exit_status_says_whether_all_is_equal(folder, tmp_path):
    def verify(*arguments) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "socsci_jax", "verify", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True)

    same = verify(folder, folder)
    assert same.returncode == 0, same.stderr
    assert same.stdout.endswith("all equal\n")
    before = load_file(folder / "model.safetensors")[NAME]
    changed = before.copy()
    changed[40, 7] = np.inf
    other = copied(folder, **{NAME: changed})
    differs = verify(folder, other, "--json", tmp_path / "found.json")
    assert differs.returncode == 1, differs.stderr
    for told in (NAME, "1 of 1,536", "inf", "[40, 7]", "1 different", "not equal"):
        assert told in differs.stdout
    written = json.loads((tmp_path / "found.json").read_text(), parse_constant=pytest.fail)
    assert written["different"][0]["index"] == [40, 7]
    assert len(written["equal"]) == len(load_file(folder / "model.safetensors")) - 1
    wrong = verify(folder, tmp_path / "nowhere")
    assert wrong.returncode == 2 and "no such folder" in wrong.stderr
    assert "Traceback" not in wrong.stderr
