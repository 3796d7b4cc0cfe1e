"""Checkpoints: bit for bit there and back, and every defect of a bad one named at once."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import transformers
from safetensors import safe_open
from tiny_models import huggingface_model, save

from socsci_jax.errors import InputError
from socsci_jax.models import tensor_files
from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.huggingface import COMPANIONS, load_checkpoint
from socsci_jax.models.huggingface_export import source_of, write_checkpoint
from socsci_jax.models.modules import init
from socsci_jax.models.sharding import make_mesh

torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")


def one_device():
    return make_mesh(data=1, fsdp=1, tensor=1, devices=jax.devices()[:1])


def eight_devices():
    return make_mesh(data=2, fsdp=2, tensor=2)


def tensor_hashes(folder: Path) -> dict[str, str]:
    hashes = {}
    for file in folder.glob("*.safetensors"):
        for name, tensor in safetensors_torch.load_file(file).items():
            content = tensor.contiguous().view(torch.uint8).numpy().tobytes()
            hashes[name] = hashlib.sha256(
                f"{tensor.dtype} {tuple(tensor.shape)}".encode() + content
            ).hexdigest()
    return hashes


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    return save(huggingface_model("llama"), tmp_path / "source")


@pytest.mark.parametrize("shard_size", ["1GB", "8KB"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("family", "tied", "mesh"),
    [("qwen2", True, one_device), ("qwen2", False, eight_devices), ("qwen3", True, eight_devices), ("llama", False, one_device)],
)  # fmt: skip
def test_there_and_back_gives_every_tensor_and_file_byte_for_byte(
    tmp_path, family, tied, mesh, dtype, shard_size
):
    source = save(
        huggingface_model(family, tied=tied), tmp_path / "in", dtype=dtype, max_shard_size=shard_size
    )
    for name in COMPANIONS:
        (source / name).write_bytes(f"the content of {name}\r\n".encode())
    (source / "secrets.txt").write_text("is not a file of a model")
    assert (len(list(source.glob("*.safetensors"))) > 1) == (shard_size == "8KB")

    loaded = load_checkpoint(source, mesh=mesh())
    write_checkpoint(
        source_of(loaded.params, loaded.config),
        loaded.config,
        tmp_path / "out",
        source_folder=source,
        config_json=loaded.config_json,
        max_shard_bytes=10**9 if shard_size == "1GB" else 8_000,
    )

    assert tensor_hashes(tmp_path / "out") == tensor_hashes(source)
    for name in ("config.json", *COMPANIONS):
        assert (tmp_path / "out" / name).read_bytes() == (source / name).read_bytes()
    assert (tmp_path / "out" / "model.safetensors.index.json").exists() == (shard_size == "8KB")
    assert not (tmp_path / "out" / "secrets.txt").exists()


@pytest.mark.parametrize("mesh", [pytest.param(one_device, marks=pytest.mark.slow), eight_devices])
def test_parameters_that_are_put_together_in_pieces_are_the_same(tmp_path, monkeypatch, mesh):
    """A few rows, or a layer, at a time; the last piece of a parameter is not a whole one."""
    source = save(huggingface_model("qwen2"), tmp_path / "in")
    whole = load_checkpoint(source, mesh=mesh()).params
    for size in (100, 1100, 5000):
        monkeypatch.setattr(tensor_files, "PIECE_BYTES", size)
        pieces = load_checkpoint(source, mesh=mesh()).params
        jax.tree.map(np.testing.assert_array_equal, pieces, whole)
        assert jax.tree.map(lambda w: w.sharding, pieces) == jax.tree.map(lambda w: w.sharding, whole)


def test_transformers_loads_the_export_and_computes_the_same(tmp_path):
    reference = huggingface_model("qwen3")
    source = save(reference, tmp_path / "in")
    loaded = load_checkpoint(source, mesh=eight_devices())
    write_checkpoint(
        source_of(loaded.params, loaded.config), loaded.config, tmp_path / "out", max_shard_bytes=9_000
    )
    with safe_open(next((tmp_path / "out").glob("*.safetensors")), framework="numpy") as file:
        assert file.metadata() == {"format": "pt"}
    again, report = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "out", output_loading_info=True
    )
    assert not any(report.values())
    ids = torch.arange(12)[None]
    with torch.inference_mode():
        assert torch.equal(again(ids).logits, reference(ids).logits)


def test_transformers_loads_a_model_made_from_scratch(tmp_path):
    config = DecoderConfig(
        model_type="qwen2", vocab_size=32, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=8, max_position_embeddings=64,
        tie_word_embeddings=True, eos_token_id=(3, 4),
    )  # fmt: skip
    params = init(config, key=jax.random.key(0), param_dtype=jnp.bfloat16)
    write_checkpoint(source_of(params, config), config, tmp_path / "out")
    model, report = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "out", output_loading_info=True
    )
    assert not any(report.values())
    assert model.dtype == torch.bfloat16
    again = load_checkpoint(tmp_path / "out", mesh=one_device())
    assert again.config == config
    jax.tree.map(np.testing.assert_array_equal, again.params, params)


def test_dtypes_change_only_when_asked(tmp_path):
    source = save(huggingface_model("llama"), tmp_path / "in", dtype=torch.bfloat16)
    wide = load_checkpoint(source, mesh=one_device(), param_dtype=jnp.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves(wide.params)} == {jnp.dtype(jnp.float32)}
    write_checkpoint(
        source_of(wide.params, wide.config),
        wide.config,
        tmp_path / "out",
        source_folder=source,
        dtype=jnp.bfloat16,
    )
    assert tensor_hashes(tmp_path / "out") == tensor_hashes(source)


def test_each_device_holds_only_its_part(checkpoint):
    weight = load_checkpoint(checkpoint, mesh=eight_devices()).params["model"]["layers"]["mlp"]["up_proj"][
        "weight"
    ]
    layers, embed, mlp = weight.shape
    assert {shard.data.shape for shard in weight.addressable_shards} == {(layers, embed // 2, mlp // 2)}


def test_a_tied_checkpoint_may_repeat_the_embedding_but_no_other_output(tmp_path):
    source = save(huggingface_model("qwen2", tied=True), tmp_path / "in")
    tensors = safetensors_torch.load_file(source / "model.safetensors")
    embedding = tensors["model.embed_tokens.weight"]
    safetensors_torch.save_file(
        {**tensors, "lm_head.weight": embedding.clone()}, source / "model.safetensors"
    )
    load_checkpoint(source, mesh=one_device())
    safetensors_torch.save_file({**tensors, "lm_head.weight": embedding + 1}, source / "model.safetensors")
    with pytest.raises(InputError, match=r"unexpected tensors: lm_head\.weight"):
        load_checkpoint(source, mesh=one_device())


def test_all_problems_are_told_at_once(checkpoint):
    tensors = safetensors_torch.load_file(checkpoint / "model.safetensors")
    del tensors["model.norm.weight"]
    tensors["model.layers.0.self_attn.rel_pos.weight"] = torch.zeros(3)
    tensors["model.layers.1.mlp.up_proj.weight"] = torch.zeros(48, 31)
    tensors["model.layers.0.mlp.up_proj.weight"] = tensors["model.layers.0.mlp.up_proj.weight"].to(torch.int8)
    safetensors_torch.save_file(tensors, checkpoint / "model.safetensors")
    with pytest.raises(InputError) as error:
        load_checkpoint(checkpoint, mesh=one_device())
    for part in (
        str(checkpoint),
        "missing tensors: model.norm.weight",
        "unexpected tensors: model.layers.0.self_attn.rel_pos.weight",
        "model.layers.1.mlp.up_proj.weight is [48, 31], not [48, 32]",
        "model.layers.0.mlp.up_proj.weight is I8, not one of F32, BF16, F16",
    ):
        assert part in str(error.value)


def test_a_truncated_file_is_named(checkpoint):
    file = checkpoint / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"model\.safetensors is damaged or truncated"):
        load_checkpoint(checkpoint, mesh=one_device())


def test_layers_of_different_dtypes_need_a_param_dtype(checkpoint):
    tensors = safetensors_torch.load_file(checkpoint / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    safetensors_torch.save_file(
        {**tensors, name: tensors[name].to(torch.bfloat16)}, checkpoint / "model.safetensors"
    )
    with pytest.raises(InputError, match=r"up_proj\.weight is BF16, unlike layer 0 \(give param_dtype\)"):
        load_checkpoint(checkpoint, mesh=one_device())
    load_checkpoint(checkpoint, mesh=one_device(), param_dtype=jnp.float32)


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("gone.safetensors", "gone.safetensors, which is absent"),
        ("../outside.safetensors", "'../outside.safetensors', which is not a plain file name"),
        ("/etc/outside.safetensors", "not a plain file name"),
        ("weights.bin", "not a plain file name ending in .safetensors"),
    ],
)
def test_an_index_may_name_only_files_of_its_folder(checkpoint, file, told):
    (checkpoint.parent / "outside.safetensors").write_bytes((checkpoint / "model.safetensors").read_bytes())
    index = {"weight_map": {"model.norm.weight": file}}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError) as error:
        load_checkpoint(checkpoint, mesh=one_device())
    assert told in str(error.value)


def test_pickled_weights_are_refused(checkpoint):
    (checkpoint / "model.safetensors").rename(checkpoint / "pytorch_model.bin")
    with pytest.raises(
        InputError, match=r"pytorch_model\.bin .* convert them with transformers' save_pretrained"
    ):
        load_checkpoint(checkpoint, mesh=one_device())


def test_an_export_never_overwrites(checkpoint):
    loaded = load_checkpoint(checkpoint, mesh=one_device())
    with pytest.raises(InputError, match="exists already"):
        write_checkpoint(source_of(loaded.params, loaded.config), loaded.config, checkpoint)


def test_an_export_that_fails_leaves_no_folder_of_that_name(checkpoint, tmp_path, monkeypatch):
    loaded = load_checkpoint(checkpoint, mesh=one_device())

    def full(*args, **settings):
        raise OSError("no space left on device")

    monkeypatch.setattr("socsci_jax.models.huggingface_export.write_tensors", full)
    with pytest.raises(InputError, match=r"cannot be written \(no space"):
        write_checkpoint(source_of(loaded.params, loaded.config), loaded.config, tmp_path / "out")
    assert not (tmp_path / "out").exists()
