"""Hugging Face's config.json: both spellings are read, and what would be computed wrongly is refused."""

from __future__ import annotations

import json

import pytest
import transformers
from tiny_models import LLAMA3_ROPE, SIZES, huggingface_model

from socsci_jax.errors import InputError
from socsci_jax.models.config import DecoderConfig, RopeScaling
from socsci_jax.models.config_files import from_huggingface, to_huggingface

QWEN2 = {**{k: v for k, v in SIZES.items() if k != "pad_token_id"}, "model_type": "qwen2", "rope_theta": 1e6}


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "llama"])
def test_there_and_back_keeps_the_config(family):
    config = from_huggingface(huggingface_model(family).config.to_dict())
    assert config.model_type == family
    assert from_huggingface(to_huggingface(config)) == config


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "llama"])
def test_transformers_reads_the_written_config_alike(family):
    written = to_huggingface(from_huggingface(huggingface_model(family).config.to_dict()))
    read = transformers.AutoConfig.for_model(**written)
    wanted = huggingface_model(family).config
    for key in (*SIZES, "head_dim", "rms_norm_eps", "tie_word_embeddings", "rope_parameters"):
        if key != "pad_token_id":
            assert getattr(read, key, None) == getattr(wanted, key, None) or key == "head_dim", key


def test_old_and_new_spelling_of_the_rotary_settings_mean_the_same():
    rope = {key: value for key, value in LLAMA3_ROPE.items() if key != "rope_theta"}
    common = {**QWEN2, "model_type": "llama"}
    old = from_huggingface({**common, "rope_theta": 500.0, "rope_scaling": rope})
    new = from_huggingface({**common, "rope_theta": None, "rope_parameters": LLAMA3_ROPE})
    assert old == new
    assert old.rope_theta == 500.0
    assert old.rope_scaling == RopeScaling(
        factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64
    )


def test_defaults_are_those_of_each_family():
    qwen3 = from_huggingface({**QWEN2, "model_type": "qwen3"})
    assert (qwen3.head_dim, qwen3.qk_norm, qwen3.attention_bias) == (128, True, False)
    qwen2 = from_huggingface(QWEN2)
    assert (qwen2.head_dim, qwen2.qk_norm, qwen2.attention_bias) == (8, False, True)
    keys = {key: value for key, value in QWEN2.items() if key != "num_key_value_heads"}
    assert from_huggingface({**keys, "model_type": "llama"}).num_key_value_heads == 4


def test_several_ends_of_text_are_kept():
    assert from_huggingface({**QWEN2, "eos_token_id": [2, 5]}).eos_token_id == (2, 5)
    assert from_huggingface({**QWEN2, "eos_token_id": None}).eos_token_id == ()


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"model_type": "mamba"}, "model_type is 'mamba'"),
        ({"model_type": "qwen2_moe"}, "model_type is 'qwen2_moe'"),
        ({"use_sliding_window": True}, "use_sliding_window is True"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types"),
        ({"rope_scaling": {"type": "mrope", "mrope_section": [1]}}, "rope_scaling is of type 'mrope'"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "rope_scaling is of type 'yarn'"),
        ({"rope_parameters": {"rope_type": "linear", "factor": 4.0}}, "rope_parameters is of type 'linear'"),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 4.0}}, "has no low_freq_factor"),
        ({"model_type": "llama", "attention_bias": True}, "attention_bias is True"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"num_attention_heads": 3}, "num_attention_heads is 3"),
        ({"hidden_size": "32"}, "hidden_size is '32'"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0"),
    ],
)
def test_what_would_be_computed_wrongly_is_refused(tmp_path, keys, told):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**QWEN2, **keys}))
    with pytest.raises(InputError) as error:
        from_huggingface(path)
    assert told in str(error.value)


def test_a_missing_key_is_named(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({key: value for key, value in QWEN2.items() if key != "vocab_size"}))
    with pytest.raises(InputError, match=r"config\.json: has no vocab_size"):
        from_huggingface(tmp_path)


@pytest.mark.parametrize("content", ["not JSON", "[1]"])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match=r"config\.json: (not valid JSON|a JSON object was expected)"):
        from_huggingface(tmp_path)


def test_a_config_made_by_hand_is_checked_too():
    sizes = {key: value for key, value in SIZES.items() if not key.endswith("_id")}
    with pytest.raises(InputError, match="head_dim is 7"):
        DecoderConfig(model_type="llama", head_dim=7, **sizes)
