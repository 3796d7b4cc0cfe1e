"""Files of a model that are damaged or made to harm: one sentence, before anything is built from them."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace

import pytest

from socsci_jax import bounds
from socsci_jax.data import chat
from socsci_jax.data.sentencepiece_training import train_sentencepiece
from socsci_jax.data.tokenizer_loading import load_tokenizer
from socsci_jax.distributed.schedulers import find_place
from socsci_jax.errors import InputError
from socsci_jax.model_io import exported_metadata
from socsci_jax.models.adapters import base_of_adapter, read_adapter_config
from socsci_jax.models.config_files import from_huggingface
from socsci_jax.studies.layouts import STUDY_FIRST
from socsci_jax.studies.prompts import Layout

TEMPLATES = {
    "memory": "{{ 'x' * 10 ** 10 }}",
    "memory by doubling": "{% set n = namespace(x='x') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "time": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "output": "{% for i in range(99999) %}{{ 'x' * 1000 }}{% endfor %}",
    "width": "{{ '%1000000000s' | format('x') }}",
    "attributes": "{{ messages.__class__.__mro__ }}",
    "syntax": "{% if %}",
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_that_wants_too_much_is_one_sentence(name, monkeypatch):
    monkeypatch.setattr(bounds, "RENDER_SECONDS", 1)
    monkeypatch.setattr(bounds, "RENDER_BYTES", 256 * bounds.MIB)
    template = chat.ChatTemplate(source=TEMPLATES[name], tokens={}, origin="model")
    began = time.monotonic()
    with pytest.raises(InputError, match="model: the chat template failed"):
        template.around_user_text(system="")
    assert time.monotonic() - began < 30


def test_a_process_that_renders_nothing_says_why(tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text("import absent_library")
    monkeypatch.setattr(chat, "template_process", SimpleNamespace(__file__=tmp_path / "broken.py"))
    template = chat.ChatTemplate(source="never rendered", tokens={}, origin="model")
    with pytest.raises(InputError, match="No module named 'absent_library'"):
        template.around_user_text(system="")


CONFIG = {
    **{
        "model_type": "llama",
        "vocab_size": 64,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
    },
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512},
}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model_type", ["llama"]),
        ("num_hidden_layers", 2_000_000_000),
        ("num_hidden_layers", True),
        ("hidden_size", 2**40),
        ("rms_norm_eps", None),
        ("rms_norm_eps", "1e-6"),
        ("rope_theta", [1]),
        ("rope_theta", -1.0),
        ("rope_scaling", ["llama3"]),
        ("rope_scaling", {"rope_type": ["x"]}),
        ("eos_token_id", [{"a": 1}]),
        ("eos_token_id", 10**30),
        ("tie_word_embeddings", "yes"),
        ("layer_types", 5),
        ("layer_types", [["full_attention"]]),
    ],
)
def test_a_config_of_another_type_names_its_key(tmp_path, key, value):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | {key: value}))
    with pytest.raises(InputError, match=rf"config\.json: .*{key}"):
        from_huggingface(tmp_path)


ADAPTER = {
    "peft_type": "LORA",
    "r": 4,
    "lora_alpha": 8,
    "target_modules": ["q_proj"],
    "base_model_name_or_path": "a/b",
}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("r", None),
        ("r", 1.5),
        ("r", 10**9),
        ("lora_alpha", None),
        ("lora_alpha", True),
        ("target_modules", 3),
    ],
)
def test_an_adapter_of_another_type_names_its_key(tmp_path, key, value):
    (tmp_path / "adapter_config.json").write_text(json.dumps(ADAPTER | {key: value}))
    with pytest.raises(InputError, match=rf"adapter_config\.json: .*{key}"):
        read_adapter_config(tmp_path)


@pytest.mark.parametrize("value", [None, 5, "", "a\0b"])
def test_an_adapter_without_the_name_of_its_base_is_named(tmp_path, value):
    (tmp_path / "adapter_config.json").write_text(json.dumps(ADAPTER | {"base_model_name_or_path": value}))
    with pytest.raises(InputError, match="base_model_name_or_path"):
        base_of_adapter(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer_config.json", {"added_tokens_decoder": {"x": {"content": "<a>"}}}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"900": {"content": 5}}}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"900": []}}),
        ("tokenizer_config.json", {"added_tokens_decoder": [1]}),
        ("tokenizer_config.json", {"eos_token": 5}),
        ("tokenizer_config.json", {"chat_template": 5}),
        ("added_tokens.json", {"<a>": "x"}),
        ("added_tokens.json", {"": 900}),
    ],
)
def test_a_tokenizer_of_another_type_is_one_sentence(tmp_path, name, content):
    train_sentencepiece(["some words, and more words"], tmp_path / "t", vocab_size=300)
    (tmp_path / "t" / name).write_text(json.dumps(content))
    with pytest.raises(InputError):
        load_tokenizer(tmp_path / "t")


def test_a_panic_of_the_tokenizers_library_is_one_sentence(tmp_path):
    normalizer = {"type": "Precompiled", "precompiled_charsmap": "AAAA"}
    model = {"type": "BPE", "vocab": {"a": 0}, "merges": []}
    content = {"version": "1.0", "added_tokens": [], "normalizer": normalizer, "model": model}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"tokenizer\.json: not a tokenizer"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("own", 5),
        ("shared_by", "everybody"),
        ("extra", "x"),
        ("own", "{persona:1000000000}"),
        ("own", "{persona!r}"),
    ],
)
def test_a_layout_of_another_form_is_one_sentence(key, value):
    with pytest.raises(InputError):
        Layout.from_dict(STUDY_FIRST.to_dict() | {key: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("SLURM_STEP_NODELIST", "node[1-99999999999]"), ("SLURM_STEP_TASKS_PER_NODE", "1(x99999999999)")],
)
def test_a_list_of_hosts_is_not_written_out_without_end(name, value):
    environment = {
        **{"SLURM_STEP_NUM_TASKS": "2", "SLURM_JOB_ID": "1", "SLURM_STEP_ID": "0", "SLURM_NODEID": "0"},
        **{
            "SLURM_STEP_NODELIST": "a,b",
            "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
            "SLURM_PROCID": "0",
            "SLURM_LOCALID": "0",
        },
    }
    with pytest.raises(InputError, match=f"{name} is"):
        find_place(environment=environment | {name: value})


@pytest.mark.parametrize(
    "told",
    [
        {"recipe": [1]},
        {"recipe": {"data": 3}},
        {"recipe": {"data": {"rationales": True}}},
        {"attributes": 3},
        {"attributes": [1]},
        {"trained_studies": "a"},
        {"layout": "x"},
        {"metrics": []},
        {"step": "3"},
        {"store_hash": []},
    ],
)
def test_metadata_of_an_export_of_another_kind_are_one_sentence(told, tmp_path):
    path = tmp_path / "socsci_jax.json"
    path.write_text(json.dumps(told))
    with pytest.raises(InputError, match="restore the file as it was exported"):
        exported_metadata(path)
