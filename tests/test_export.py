"""Exporting a run: streamed from its checkpoint, bit for bit, and taken up again wherever it was stopped."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
import transformers
from exported_runs import as_run, eight_devices, one_device, run_of_folder, save_step
from safetensors.numpy import load_file
from tiny_models import huggingface_model, save

from socsci_jax.errors import InputError
from socsci_jax.model_export import export_run
from socsci_jax.model_io import find_checkpoint, restore_params
from socsci_jax.models import huggingface_export, tensor_files
from socsci_jax.models.adapters import init_adapter
from socsci_jax.models.huggingface import load_checkpoint, stored_tensors
from socsci_jax.models.modules import init
from socsci_jax.training.checkpoint_writer import CheckpointWriter
from socsci_jax.training.optimizer import make_optimizer
from socsci_jax.training.recipe_files import parse_recipe
from socsci_jax.training.recipe_objective import OptimizerConfig
from socsci_jax.training.run import RunFolder
from socsci_jax.training.state import initial_state, state_shardings
from socsci_jax.training.stored import StoredParams, restore_state

torch = pytest.importorskip("torch")

HERE = Path(__file__).parent
# The tiny models' largest tensors have 12 KB.
SMALL_FILES = 13_000


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return save(huggingface_model("qwen3"), tmp_path_factory.mktemp("source") / "source")


@pytest.fixture(scope="module")
def trained(source, tmp_path_factory) -> RunFolder:
    """A run that tests only read."""
    return run_of_folder(source, tmp_path_factory.mktemp("trained") / "run")


@pytest.fixture(scope="module")
def whole(trained, tmp_path_factory) -> Path:
    """Its export, which nothing stopped."""
    out = tmp_path_factory.mktemp("whole") / "out"
    export_run(trained.path, out, max_shard_bytes=SMALL_FILES)
    return out


@pytest.fixture
def run(source, tmp_path) -> RunFolder:
    """A run that a test may change."""
    return run_of_folder(source, tmp_path / "run")


def tensors_of(folder: Path) -> dict[str, np.ndarray]:
    return {name: t for file in folder.glob("*.safetensors") for name, t in load_file(file).items()}


def assert_same_bits(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype and a[name].tobytes() == b[name].tobytes(), name


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def places(folder: Path) -> dict[str, tuple[int, int]]:
    """Name of every weights file -> where it lies and when it was written."""
    return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in folder.glob("*.safetensors")}


def stops_before(monkeypatch, number: int, error: BaseException) -> None:
    """Has the writing of the `number`-th tensor fail."""
    original = StoredParams.blocks
    begun = []

    def blocks(self, tensor, layer):
        begun.append(tensor)
        if len(begun) == number:
            raise error
        return original(self, tensor, layer)

    monkeypatch.setattr(StoredParams, "blocks", blocks)


@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.bfloat16, marks=pytest.mark.slow)])
@pytest.mark.parametrize("mesh", [one_device, eight_devices])
@pytest.mark.parametrize("family", ["qwen2", pytest.param("llama", marks=pytest.mark.slow)])
def test_an_export_has_every_bit_of_what_was_trained(tmp_path, monkeypatch, family, mesh, dtype):
    """From checkpoints of one device and of eight, read and written a few rows at a time."""
    source = save(huggingface_model(family), tmp_path / "source", dtype=dtype)
    run = run_of_folder(source, tmp_path / "run", mesh=mesh())
    monkeypatch.setattr(tensor_files, "PIECE_BYTES", 500)
    export_run(run.path, tmp_path / "out", max_shard_bytes=SMALL_FILES)
    assert_same_bits(tensors_of(tmp_path / "out"), tensors_of(source))
    assert (tmp_path / "out" / "tokenizer.model").read_bytes() == (
        run.tokenizer / "tokenizer.model"
    ).read_bytes()
    changed = {"dtype", "eos_token_id"}
    configs = [json.loads((folder / "config.json").read_text()) for folder in (tmp_path / "out", source)]
    assert len({json.dumps({k: v for k, v in c.items() if k not in changed}) for c in configs}) == 1
    assert json.loads((tmp_path / "out" / "socsci_jax.json").read_text())["step"] == 3
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(again[1].values())


@pytest.mark.slow
def test_a_run_is_restored_in_pieces_onto_any_mesh(trained, source, monkeypatch):
    wanted = load_checkpoint(source, mesh=one_device()).params
    for size in (100, 1100, 1 << 20):
        monkeypatch.setattr(tensor_files, "PIECE_BYTES", size)
        for mesh in (one_device(), eight_devices()):
            jax.tree.map(
                np.testing.assert_array_equal,
                restore_params(trained, find_checkpoint(trained, 3), mesh=mesh),
                wanted,
            )


@pytest.mark.slow
def test_a_whole_training_state_is_restored_in_pieces_as_orbax_restores_it(tmp_path, monkeypatch):
    """Moments, counters and parameters, from one device onto eight."""
    config = load_checkpoint(save(huggingface_model("qwen2"), tmp_path / "source"), mesh=one_device()).config
    optimizer = make_optimizer(OptimizerConfig(epochs=1, learning_rate=1e-2), total_steps=10)
    params = init(config, key=jax.random.key(0))
    states = []
    for mesh in (one_device(), eight_devices()):
        shardings = state_shardings(config, optimizer, jax.eval_shape(lambda: params), mesh)
        states.append(initial_state(jax.device_put(params, shardings.params), optimizer, shardings))
    drawn = jax.tree.map(lambda w: (w + 3).astype(w.dtype), states[0])
    checkpoints = CheckpointWriter(tmp_path / "checkpoints", keep=1)
    checkpoints.save(3, state=drawn.as_dict(), metadata={})
    checkpoints.close()
    abstract = jax.tree.map(
        lambda w: jax.ShapeDtypeStruct(w.shape, w.dtype, sharding=w.sharding), states[1].as_dict()
    )
    whole = ocp.args.PyTreeRestore(
        item=abstract, restore_args=ocp.checkpoint_utils.construct_restore_args(abstract)
    )
    wanted = ocp.PyTreeCheckpointHandler().restore(tmp_path / "checkpoints" / "3" / "state", args=whole)
    monkeypatch.setattr(tensor_files, "PIECE_BYTES", 1100)
    restored = restore_state(tmp_path / "checkpoints" / "3", abstract)
    assert jax.tree.structure(restored) == jax.tree.structure(wanted)
    jax.tree.map(np.testing.assert_array_equal, restored, wanted)
    assert jax.tree.map(lambda w: w.sharding, restored) == jax.tree.map(lambda w: w.sharding, wanted)


def test_another_dtype_is_that_of_numpy(trained, source, tmp_path):
    export_run(trained.path, tmp_path / "out", dtype="bfloat16")
    wanted = {name: tensor.astype(jnp.bfloat16) for name, tensor in tensors_of(source).items()}
    assert_same_bits(tensors_of(tmp_path / "out"), wanted)


def test_every_file_has_a_receipt(whole):
    receipts = [json.loads(path.read_text()) for path in (whole / "receipts").iterdir()]
    assert {receipt["file"] for receipt in receipts} == set(places(whole))
    assert len(receipts) > 3
    for receipt in receipts:
        content = (whole / receipt["file"]).read_bytes()
        assert receipt["bytes"] == len(content)
        assert receipt["sha256"] == hashlib.sha256(content).hexdigest()
        assert receipt["origin"]["step"] == 3


def test_an_export_that_was_stopped_goes_on_with_the_file_that_was_being_written(
    trained, whole, tmp_path, monkeypatch
):
    stops_before(monkeypatch, 18, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        export_run(trained.path, tmp_path / "out", max_shard_bytes=SMALL_FILES)
    monkeypatch.undo()
    assert not (tmp_path / "out").exists()
    before = places(tmp_path / ".out.partial")
    assert 2 < len(before) < len(places(whole))

    export_run(trained.path, tmp_path / "out", max_shard_bytes=SMALL_FILES)
    after = places(tmp_path / "out")
    assert {name: after[name] for name in before} == before
    assert contents(tmp_path / "out") == contents(whole)
    assert not (tmp_path / ".out.partial").exists()


def test_a_full_disk_is_one_sentence_and_loses_nothing_that_was_finished(
    trained, whole, tmp_path, monkeypatch
):
    """The write itself fails, in the middle of a file."""
    original, written = tensor_files.write_tensors, []

    def full(file, tensors):
        written.append(file)
        if len(written) == 4:
            file.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(file, tensors)

    monkeypatch.setattr(huggingface_export, "write_tensors", full)
    with pytest.raises(
        InputError, match=r"out: cannot be written \(the disk is full\); it takes 0\.0 GB in all"
    ):
        export_run(trained.path, tmp_path / "out", max_shard_bytes=SMALL_FILES)
    monkeypatch.undo()
    before = places(tmp_path / ".out.partial")
    export_run(trained.path, tmp_path / "out", max_shard_bytes=SMALL_FILES)
    after = places(tmp_path / "out")
    assert sum(after[name] == place for name, place in before.items()) == 3
    assert contents(tmp_path / "out") == contents(whole)


def test_a_file_that_could_not_be_finished_gives_its_place_back(tmp_path):
    def blocks():
        yield np.zeros((2, 4), np.float32)
        raise OSError(errno.ENOSPC, "No space left on device")

    tensor = tensor_files.TensorToWrite("a", np.dtype(np.float32), (4, 4), blocks)
    with pytest.raises(OSError, match="No space left"):
        tensor_files.write_tensors(tmp_path / "a.safetensors", [tensor])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "damage",
    [
        lambda file, receipt: file.write_bytes(file.read_bytes()[:-1] + b"?"),
        lambda file, receipt: file.write_bytes(file.read_bytes()[:-8]),
        lambda file, receipt: receipt.write_text(receipt.read_text()[:-9]),
        lambda file, receipt: receipt.write_text("[]"),
        lambda file, receipt: receipt.unlink(),
    ],
    ids=["a byte of a file", "a file cut off", "a receipt cut off", "no receipt at all", "a receipt lost"],
)
def test_what_is_damaged_is_written_again(trained, whole, tmp_path, monkeypatch, damage):
    stops_before(monkeypatch, 18, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        export_run(trained.path, tmp_path / "out", max_shard_bytes=SMALL_FILES)
    monkeypatch.undo()
    partial = tmp_path / ".out.partial"
    before = places(partial)
    file = sorted(partial.glob("*.safetensors"))[1]
    damage(file, partial / "receipts" / f"{file.name}.json")
    export_run(trained.path, tmp_path / "out", max_shard_bytes=SMALL_FILES)
    after = places(tmp_path / "out")
    kept = {name for name in before if after[name] == before[name]}
    assert kept == set(before) - {file.name}
    assert contents(tmp_path / "out") == contents(whole)


def test_files_of_another_checkpoint_are_not_taken_over(run, source, tmp_path, monkeypatch):
    """Neither of another step, nor of a run that was trained afresh to the same step."""
    loaded = load_checkpoint(source, mesh=one_device())
    doubled = jax.tree.map(lambda w: 2 * w, loaded.params)
    save_step(run, 5, doubled)
    wanted = {name: 2 * tensor for name, tensor in tensors_of(source).items()}
    for change in ({"step": 5}, None):
        stops_before(monkeypatch, 18, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            export_run(run.path, tmp_path / "out", step=3, max_shard_bytes=SMALL_FILES)
        monkeypatch.undo()
        if change is None:
            shutil.rmtree(run.checkpoints)
            save_step(run, 3, doubled)
        export_run(run.path, tmp_path / "out", **(change or {"step": 3}), max_shard_bytes=SMALL_FILES)
        assert_same_bits(tensors_of(tmp_path / "out"), wanted)
        shutil.rmtree(tmp_path / "out")


@pytest.mark.slow
def test_an_export_killed_in_the_middle_goes_on(trained, whole, tmp_path):
    code = (
        "import time; from pathlib import Path; import socsci_jax.model_export as export\n"
        "from socsci_jax.training.stored import StoredParams\n"
        "original = StoredParams.blocks\n"
        "def slow(self, tensor, layer):\n"
        "    time.sleep(0.1)\n"
        "    return original(self, tensor, layer)\n"
        "StoredParams.blocks = slow\n"
        f"export.export_run(Path({str(trained.path)!r}), Path({str(tmp_path / 'out')!r}), max_shard_bytes={SMALL_FILES})\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(HERE.parent)},
        stderr=subprocess.DEVNULL,
    )
    receipts = tmp_path / ".out.partial" / "receipts"
    deadline = time.monotonic() + 120
    while len(list(receipts.glob("*.json"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the export ended before it could be killed"
    finished = {path.name.removesuffix(".json") for path in receipts.iterdir()}
    before = {name: place for name, place in places(tmp_path / ".out.partial").items() if name in finished}
    export_run(trained.path, tmp_path / "out", max_shard_bytes=SMALL_FILES)
    after = places(tmp_path / "out")
    assert {name: after[name] for name in sorted(before)[:2]} == {n: before[n] for n in sorted(before)[:2]}
    assert contents(tmp_path / "out") == contents(whole)


@pytest.mark.parametrize("base", ["weights", "nf4"])
@pytest.mark.parametrize("start", ["folder", "random"])
def test_a_merged_adapter_is_what_the_run_computes(tmp_path, start, base):
    """Block by block the same as all at once, over a folder's weights or a random start, whole or in four bits."""
    # Four bits come in blocks of 64 inputs.
    sizes = {"hidden_size": 64, "intermediate_size": 128}
    config = transformers.Qwen2Config(
        vocab_size=96, num_hidden_layers=2, num_attention_heads=8, num_key_value_heads=2,
        max_position_embeddings=128, tie_word_embeddings=True, **sizes,
    )  # fmt: skip
    torch.manual_seed(0)
    folder = save(transformers.Qwen2ForCausalLM(config), tmp_path / "start")
    lora = {"rank": 4, "alpha": 8, "targets": ["q_proj", "down_proj"]} | (
        {"base": "nf4"} if base == "nf4" else {}
    )
    model = {"init_from": str(folder)}
    if start == "random":
        heads = {"num_hidden_layers": 2, "num_attention_heads": 8, "num_key_value_heads": 2}
        architecture = {"model_type": "qwen2", **heads, **sizes}
        model = {"init_from": "random", "tokenizer": "train", "vocab_size": 96, "architecture": architecture}
    loaded = load_checkpoint(folder, mesh=one_device())
    recipe = parse_recipe({**_lora_recipe(tmp_path), "model": model, "lora": lora}, where="test")
    adapted = dataclasses.replace(loaded.config, adapter=recipe.adapter)
    adapter = jax.tree.map(
        lambda w: w + jax.random.normal(jax.random.key(w.size), w.shape),
        init_adapter(adapted, key=jax.random.key(0)),
    )
    run = as_run(
        tmp_path / "run",
        adapter,
        start=folder,
        config_json=loaded.config_json,
        model=model,
        lora=lora,
    )
    export_run(run.path, tmp_path / "out")
    exported = load_checkpoint(tmp_path / "out", mesh=one_device()).params
    wanted = restore_params(run, find_checkpoint(run, 3), mesh=one_device())
    jax.tree.map(np.testing.assert_array_equal, exported, wanted)
    before = loaded.params["model"]["layers"]["mlp"]["down_proj"]["weight"]
    assert np.abs(exported["model"]["layers"]["mlp"]["down_proj"]["weight"] - before).max() > 0.1


def _lora_recipe(folder: Path) -> dict:
    return {
        "name": "merged",
        "hardware": "1xcpu",
        "output": str(folder / "run"),
        "data": {"store": "store", "split": "main"},
        "batch": {"rows": 1, "tokens_per_row": 64, "branches_per_tree": 1},
        "optimizer": {"epochs": 1, "learning_rate": 1e-3},
        "checkpoints": {"every_steps": 1},
    }


@pytest.mark.parametrize(
    "layout",
    [{}, {"shard_axes": (0,)}, {"chunk_byte_size": 1000}, {"shard_axes": (0,), "chunk_byte_size": 1000}],
    ids=["whole parameters", "layers", "pieces", "pieces of layers"],
)
def test_any_way_of_cutting_a_checkpoint_reads_the_same(source, tmp_path, monkeypatch, layout):
    loaded = load_checkpoint(source, mesh=one_device())
    arguments = jax.tree.map(lambda _: ocp.SaveArgs(**layout), {"params": loaded.params})
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        saved = ocp.args.PyTreeSave({"params": loaded.params}, save_args=arguments)
        checkpointer.save(tmp_path / "3" / "state", args=saved)
    monkeypatch.setattr(tensor_files, "PIECE_BYTES", 2000)
    stored = StoredParams(tmp_path / "3")
    stored.check(loaded.config)
    read = {
        name: np.concatenate(list(stored.blocks(tensor, layer)))
        for tensor in stored_tensors(loaded.config)
        for layer, name in enumerate(tensor.names)
    }
    assert_same_bits(read, tensors_of(source))


def test_a_checkpoint_that_cannot_be_read_is_named(run, tmp_path):
    for path in (run.checkpoints / "3" / "state").rglob("d/*"):
        path.write_bytes(b"?" * path.stat().st_size)
    with pytest.raises(InputError, match=r"checkpoints/3: this checkpoint cannot be read, it is damaged"):
        export_run(run.path, tmp_path / "out")


def test_a_checkpoint_of_another_architecture_is_named(run, tmp_path):
    config = json.loads(run.model_config.read_text()) | {"intermediate_size": 49}
    run.model_config.write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"down_proj\.weight is \[2, 48, 32\], \[2, 49, 32\] is needed"):
        export_run(run.path, tmp_path / "out")
