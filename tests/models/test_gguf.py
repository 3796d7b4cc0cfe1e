"""GGUF files: the same model as `transformers` reads from them, in bounded memory; what is damaged or unknown is reported."""

from __future__ import annotations

import functools
from pathlib import Path

import gguf
import jax
import numpy as np
import pytest
import transformers
from gguf_files import write_gguf
from tiny_models import LLAMA3_ROPE, assert_logits_of_paths, huggingface_model, random_rows

from socsci_jax.errors import InputError
from socsci_jax.gguf_header import read_header
from socsci_jax.hub import is_gguf, resolve_folder
from socsci_jax.models import tensor_files
from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.decoder import read_hidden, unembedding
from socsci_jax.models.gguf_model import gguf_config
from socsci_jax.models.huggingface import load_checkpoint, locate_model, locate_tensors, read_config_json
from socsci_jax.models.modules import with_params
from socsci_jax.models.sharding import make_mesh

torch = pytest.importorskip("torch")

# Rows of quantized matrices are whole blocks of 32.
SIZES = {"hidden_size": 64, "intermediate_size": 96}
PLAIN_ROPE = {"rope_type": "default", "rope_theta": 500.0}


def model(family: str, **changes):
    # transformers ignores the file's factors of rotations and Qwen3's width of a head (128 in all of its models).
    sizes = SIZES | ({"head_dim": 128} if family == "qwen3" else {})
    return huggingface_model(family, **{"rope": PLAIN_ROPE, **sizes, **changes})


@pytest.fixture(scope="module")
def small_file(tmp_path_factory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "llama.gguf", model("llama"), quantization="Q8_0")


def load(path: Path, **settings):
    mesh = make_mesh(data=1, fsdp=1, tensor=1, devices=jax.devices()[:1])
    return load_checkpoint(path, mesh=mesh, **settings)


@functools.cache
def program(config: DecoderConfig):
    def logits(params, batch):
        decoder = with_params(config, params)
        return read_hidden(decoder, **batch) @ unembedding(decoder).T

    return jax.jit(logits)


def assert_logits_equal(loaded, reference) -> None:
    batch = random_rows(np.random.default_rng(3))
    logits = np.asarray(program(loaded.config)(loaded.params, batch))
    assert_logits_of_paths(logits, batch, reference, every=9)


FAMILIES, QUANTIZATIONS = ("llama", "qwen2", "qwen3"), ("Q4_1", "Q8_0", "F16")


@pytest.mark.parametrize(
    ("family", "quantization"),
    [
        # Two families and types; all combinations where there is time.
        pytest.param(family, quantization, marks=[] if f == q > 0 else pytest.mark.slow)
        for f, family in enumerate(FAMILIES)
        for q, quantization in enumerate(QUANTIZATIONS)
    ],
)
def test_logits_equal_those_of_transformers_reading_the_same_file(tmp_path, family, quantization):
    path = write_gguf(tmp_path / "model.gguf", model(family), quantization=quantization)
    reference = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file=path.name, dtype=torch.float32
    ).eval()
    assert_logits_equal(load(path, param_dtype=np.float32), reference)


def test_a_file_without_output_projection_has_its_embedding_for_it(tmp_path):
    reference = model("qwen3", tied=True)
    loaded = load(write_gguf(tmp_path / "tied.gguf", reference))
    assert loaded.config.tie_word_embeddings
    assert_logits_equal(loaded, reference)


def test_half_precision_and_quantized_matrices_become_what_they_can_hold(tmp_path):
    for quantization, dtype in (("F16", np.float16), ("BF16", "bfloat16"), ("Q4_1", np.float32)):
        path = write_gguf(tmp_path / f"{quantization}.gguf", model("qwen2"), quantization=quantization)
        layers = load(path).params["model"]["layers"]
        assert layers["mlp"]["up_proj"]["weight"].dtype == dtype
        assert layers["input_layernorm"]["weight"].dtype == np.float32


def test_llama_3s_rope_scaling_is_found_from_the_factors_that_the_file_holds(tmp_path):
    rope = LLAMA3_ROPE | {"rope_theta": 500_000.0, "original_max_position_embeddings": 8192}
    reference = model("llama", rope=rope)
    inverse = transformers.modeling_rope_utils.ROPE_INIT_FUNCTIONS["llama3"](reference.config, "cpu")[
        0
    ].numpy()
    plain = 500_000.0 ** -(np.arange(0, 16, 2, dtype=np.float32) / 16)
    factors = {"rope_freqs.weight": (plain / inverse).astype(np.float32)}
    loaded = load(write_gguf(tmp_path / "scaled.gguf", reference, extra_tensors=factors))
    assert loaded.config.rope_scaling.factor == pytest.approx(8.0)
    assert_logits_equal(loaded, reference)


def test_other_factors_of_rotations_are_refused(tmp_path):
    factors = {"rope_freqs.weight": np.linspace(1, 3, 8, dtype=np.float32)}
    path = write_gguf(tmp_path / "scaled.gguf", model("llama"), extra_tensors=factors)
    with pytest.raises(InputError, match=r"rope_freqs.weight does not hold Llama 3's scaling"):
        load(path)


def test_weights_put_together_from_small_pieces_equal_those_read_at_once(small_file, monkeypatch):
    whole = load(small_file).params
    # Three rows of a matrix at a time: less than a head, whose rows come in another order.
    monkeypatch.setattr(tensor_files, "PIECE_BYTES", 3 * 64 * 4)
    jax.tree.map(np.testing.assert_array_equal, whole, load(small_file).params)


def test_pieces_of_a_tensor_are_read_apart(small_file, monkeypatch):
    monkeypatch.setattr(tensor_files, "PIECE_BYTES", 16 * 64 * 4)
    read = []

    def counted(path, offset, into):
        read.append(len(into))
        return exactly(path, offset, into)

    exactly = tensor_files.read_exactly
    monkeypatch.setattr("socsci_jax.models.gguf_model.read_exactly", counted)
    query = locate_tensors(small_file, [])["model.layers.0.self_attn.q_proj.weight"]
    rows = np.concatenate([block for _, block in query.blocks()])
    assert rows.shape == (64, 64)
    assert max(read) <= 16 * 68  # a head of Q8_0: 34 bytes for 32 values


def test_eight_devices_hold_what_one_does(small_file):
    eight = load_checkpoint(small_file, mesh=make_mesh(data=2, fsdp=2, tensor=2)).params
    jax.tree.map(np.testing.assert_array_equal, eight, load(small_file).params)


def test_a_model_split_over_files_is_read_whole(tmp_path, small_file):
    reader = gguf.GGUFReader(small_file)
    for number, part in enumerate((reader.tensors[:5], reader.tensors[5:])):
        writer = gguf.GGUFWriter(tmp_path / f"part-0000{number + 1}-of-00002.gguf", "llama")
        for field in reader.fields.values():
            if not field.name.startswith("GGUF.") and field.name != "general.architecture":
                writer.add_key_value(field.name, field.contents(), field.types[0])
        writer.add_key_value("split.count", 2, gguf.GGUFValueType.UINT16)
        writer.add_key_value("split.no", number, gguf.GGUFValueType.UINT16)
        for tensor in part:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    first, second = sorted(tmp_path.iterdir())
    jax.tree.map(np.testing.assert_array_equal, load(first).params, load(small_file).params)
    with pytest.raises(InputError, match=r"give the one that is called NAME-00001-of-00002\.gguf"):
        load(second)
    second.unlink()
    with pytest.raises(InputError, match=r"continues in part-00002-of-00002\.gguf, which is absent"):
        load(first)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"general.architecture": "gemma2"}, "architecture is 'gemma2', but only llama, qwen2, qwen3"),
        ({"llama.block_count": None}, "has no metadata llama.block_count"),
        ({"llama.expert_count": 8}, "llama.expert_count is 8, but only 0 is supported"),
        ({"llama.rope.scaling.type": "yarn"}, "llama.rope.scaling.type is yarn, but only none is supported"),
        ({"llama.rope.dimension_count": 8}, "rope.dimension_count is 8, but only 16 is supported"),
        ({"llama.logit_scale": 2.0}, "llama.logit_scale is not understood"),
        ({"llama.attention.head_count_kv": [2, 1]}, "num_key_value_heads is not a number for all layers"),
        ({"llama.block_count": 3}, "missing tensors: model.layers.2"),
        ({"llama.block_count": 1}, "unexpected tensors: blk.1"),
        ({"llama.feed_forward_length": 128}, r"wrong shapes: .* is \[96, 64\], not \[128, 64\]"),
    ],
)
def test_what_would_be_computed_differently_is_refused(tmp_path, metadata, message):
    path = write_gguf(tmp_path / "model.gguf", model("llama"), metadata=metadata)
    with pytest.raises(InputError, match=message):
        load(path)


def test_an_unknown_quantization_is_named(tmp_path, small_file):
    name = b"output.weight"
    # The last tensor, with room for larger blocks behind it.
    content = bytearray(small_file.read_bytes() + bytes(10_000))
    kind = content.rindex(name) + len(name) + 4 + 2 * 8
    assert content[kind : kind + 4] == (8).to_bytes(4, "little")
    for number, message in (
        (999, "quantization type 999, which the installed"),
        (9, "kept as Q8_1, which cannot"),
    ):
        content[kind : kind + 4] = number.to_bytes(4, "little")
        (tmp_path / "model.gguf").write_bytes(content)
        with pytest.raises(InputError, match=message):
            load(tmp_path / "model.gguf")


def everything_but_weights(path: Path) -> None:
    locate_model(path, gguf_config(read_header(path)), one_dtype=True)


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path, small_file):
    content = small_file.read_bytes()
    path = tmp_path / "model.gguf"
    for length in [*range(0, 1200, 7), *range(1200, len(content), 5003), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"damaged or truncated|not a GGUF file"):
            everything_but_weights(path)


@pytest.mark.parametrize("damage", [b"\xff" * 8, b"\x00" * 8])
def test_damaged_bytes_of_the_header_end_in_a_sentence_or_change_no_structure(tmp_path, small_file, damage):
    content = small_file.read_bytes()
    path = tmp_path / "model.gguf"
    refused = 0
    for at in range(4, 2000, 3):
        path.write_bytes(content[:at] + damage + content[at + len(damage) :])
        try:
            everything_but_weights(path)
        except InputError:
            refused += 1
    assert refused > 500


def test_other_versions_and_byte_orders_are_named(tmp_path, small_file):
    content = bytearray(small_file.read_bytes())
    for version, message in ((1, "of version 1"), (3 << 24, "of big-endian byte order")):
        content[4:8] = version.to_bytes(4, "little")
        (tmp_path / "model.gguf").write_bytes(content)
        with pytest.raises(InputError, match=message):
            load(tmp_path / "model.gguf")


def test_a_file_is_recognized_by_its_first_bytes_and_another_file_is_no_model(tmp_path, small_file):
    blob = tmp_path / "sha256-0123"
    blob.write_bytes(small_file.read_bytes())
    assert is_gguf(blob)
    assert read_config_json(blob) == read_config_json(small_file)
    (tmp_path / "notes.txt").write_text("no model")
    with pytest.raises(InputError, match="is a file, but not of the GGUF format"):
        resolve_folder(tmp_path / "notes.txt", allow_patterns=())
